/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of a stub with the guest's registers, and those of the host as before afterwards. */
#ifndef LODGE_ENGINE_BT_FPU_ENTER_H
#define LODGE_ENGINE_BT_FPU_ENTER_H

#include "engine/bt/fpu/fpu.h"

void enter_sse(struct fpu *fpu, const void *stub); /* XMM and MXCSR */
void enter_avx(struct fpu *fpu, const void *stub); /* YMM and MXCSR */
void enter_x87(struct fpu *fpu, const void *stub); /* x87, MMX, XMM and MXCSR */

/* enter_x87 without a stub: loads the state and stores it again. */
void enter_nothing(struct fpu *fpu);

#endif
