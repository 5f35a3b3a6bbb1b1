/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's processor is good at. Any thread. */
#ifndef LODGE_ENGINE_BT_RUNTIME_HOST_H
#define LODGE_ENGINE_BT_RUNTIME_HOST_H

#include <stdbool.h>

/* It has PEXT, and not in microcode: AMD's family 17h and Hygon's 18h take some twenty cycles and
 * more for it (AMD, Software Optimization Guide for family 19h, 2.10.2). */
bool host_has_fast_pext(void);

#endif
