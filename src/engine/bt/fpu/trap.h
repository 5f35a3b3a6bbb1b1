/* SPDX-License-Identifier: Apache-2.0 */
/* Exceptions of the host's processor in stubs: SIGFPE of unmasked SIMD ones, SIGILL. */
#ifndef LODGE_ENGINE_BT_FPU_TRAP_H
#define LODGE_ENGINE_BT_FPU_TRAP_H

#include "engine/bt/fpu/fpu.h"

/* Between the two, a trap in a stub of fpu ends the stub and sets fpu->trapped to the signal.
 * unmasked: the stub may raise SIMD exceptions. This thread. */
void trap_catch(struct fpu *fpu, bool unmasked);
void trap_done(void);

#endif
