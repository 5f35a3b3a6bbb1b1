/* SPDX-License-Identifier: Apache-2.0 */
/* The x87 state in its memory images: what image.c and fpu.c share. */
#ifndef LODGE_ENGINE_BT_FPU_IMAGE_H
#define LODGE_ENGINE_BT_FPU_IMAGE_H

#include "engine/bt/fpu/fpu.h"

#define FCW_INIT 0x37fu

/* Makes register number top the top of stack: only FSW.TOP, each register keeps its value. The area
 * holds registers as seen from the top, so they change places there. */
void image_set_top(struct fpu *fpu, unsigned top);

#endif
