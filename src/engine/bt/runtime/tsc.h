/* SPDX-License-Identifier: Apache-2.0 */
/* The rate of the host's time stamp counter. */
#ifndef LODGE_ENGINE_BT_RUNTIME_TSC_H
#define LODGE_ENGINE_BT_RUNTIME_TSC_H

#include <stdint.h>

/* The rate in kHz: as the processor or the hypervisor tells it, else measured, which takes some
 * milliseconds. Not 0. Any thread. */
uint32_t tsc_khz(void);

#endif
