/* SPDX-License-Identifier: Apache-2.0 */
/* The registers of msr.c's table that are more than a value kept: called through it only. Check
 * functions may change the value; false: #GP(0). */
#ifndef LODGE_ENGINE_BT_INTERP_MSR_INT_H
#define LODGE_ENGINE_BT_INTERP_MSR_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bt/interp/msr.h"
#include "engine/bt/kvmclock.h"

/* msr_memory.c: memory types. */
bool msr_mtrrcap_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_mtrr_variable_check(const struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_mtrr_fixed_check(const struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_mtrr_def_type_check(const struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_pat_check(const struct cpu *cpu, uint32_t index, uint64_t *value);

/* tsc.c */
bool msr_tsc_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_tsc_write(struct cpu *cpu, uint32_t index, uint64_t value);
bool msr_tsc_adjust_write(struct cpu *cpu, uint32_t index, uint64_t value);
bool msr_deadline_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_deadline_write(struct cpu *cpu, uint32_t index, uint64_t value);

/* msr_apic.c: the local APIC. */
bool msr_apic_base_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_apic_base_write(struct cpu *cpu, uint32_t index, uint64_t value);
bool msr_x2apic_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_x2apic_write(struct cpu *cpu, uint32_t index, uint64_t value);

/* control.c */
bool msr_efer_read(struct cpu *cpu, uint32_t index, uint64_t *value);
bool msr_efer_write(struct cpu *cpu, uint32_t index, uint64_t value);

#endif
