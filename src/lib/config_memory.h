/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that can be plugged while a VM runs: max=SIZE[,size=SIZE][,block=SIZE][,slot=SIZE]. */
#ifndef LODGE_LIB_CONFIG_MEMORY_H
#define LODGE_LIB_CONFIG_MEMORY_H

#include "base/err.h"
#include "machine/machine.h"

/* Sets it: 0 or -EINVAL with e set. */
int config_memory_set(struct machine_memory *memory, const char *value, struct err *e);

#endif
