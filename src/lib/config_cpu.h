/* SPDX-License-Identifier: Apache-2.0 */
/* What vCPUs have otherwise than their model: settings "cpuid" and "msr". */
#ifndef LODGE_LIB_CONFIG_CPU_H
#define LODGE_LIB_CONFIG_CPU_H

#include "base/err.h"
#include "machine/machine.h"

#define CONFIG_CPU_EDITS_MAX 512 /* of each kind */

/*
 * Adds one: "LEAF[.SUBLEAF]:REGISTER=BITS", "NUMBER=BITS". Numbers are 0x... or 0b...; BITS is
 * 0b with up to 32 or 64 of '0', '1' and 'x' (stays as it is), and '_' between them; a shorter one
 * is of the lowest. 0, or -errno with e set.
 */
int config_cpu_add_cpuid(struct machine_cpu_edits *edits, const char *value, struct err *e);
int config_cpu_add_msr(struct machine_cpu_edits *edits, const char *value, struct err *e);
void config_cpu_release(struct machine_cpu_edits *edits);

#endif
