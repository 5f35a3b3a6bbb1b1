/* SPDX-License-Identifier: Apache-2.0 */
/* Unmasked SIMD floating-point exceptions of stubs: SIGFPE. */
#ifndef LODGE_ENGINE_BT_FPU_TRAP_H
#define LODGE_ENGINE_BT_FPU_TRAP_H

#include "engine/bt/fpu/fpu.h"

/* Between the two, a trap in a stub of fpu ends the stub and sets fpu->trapped. This thread. */
void trap_catch(struct fpu *fpu);
void trap_done(void);

#endif
