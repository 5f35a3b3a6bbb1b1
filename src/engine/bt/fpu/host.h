/* SPDX-License-Identifier: Apache-2.0 */
/* How the host's processor does what is left to each processor. */
#ifndef LODGE_ENGINE_BT_FPU_HOST_H
#define LODGE_ENGINE_BT_FPU_HOST_H

#include "engine/bt/fpu/fpu.h"

/* Asks and tries. Leaves the x87 state initialised; any thread. */
void host_learn(struct fpu_host *host);

#endif
