/* SPDX-License-Identifier: Apache-2.0 */
/* What the host's processor has. Any thread. */
#ifndef LODGE_ENGINE_BT_RUNTIME_HOST_H
#define LODGE_ENGINE_BT_RUNTIME_HOST_H

#include <stdbool.h>

bool host_has_bmi2(void);

#endif
