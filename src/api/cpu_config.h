/* SPDX-License-Identifier: Apache-2.0 */
/* The section "cpu-config": bits of CPUID and of MSRs that guests are to see otherwise. */
#ifndef LODGE_API_CPU_CONFIG_H
#define LODGE_API_CPU_CONFIG_H

#include <jansson.h>

#include "api/fields.h"
#include "base/err.h"
#include "lodge/lodge.h"

/* {kvm_capabilities, cpuid_modifiers, msr_modifiers, vcpu_features, reg_modifiers} */
extern const struct field cpu_config_fields[];

/* Sets what the section, which may be NULL, says. 0, or -errno with e or the VM's own error set. */
int cpu_config_apply(lodge_vm *vm, const json_t *section, struct err *e);

#endif
