/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What executes a case in lodge's world, chosen by name: the interpreter, or, of 64- and 32-bit
 * code, the translator with it. Each is a line of the table in execute.c.
 */
#ifndef LODGE_TESTS_INSN_EXECUTE_H
#define LODGE_TESTS_INSN_EXECUTE_H

#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "insn.h"

/* Where a case ends well: at an address of its own code segment, or at EXIT_ADDR in 64-bit mode. */
struct ending {
	bool has_rip;
	uint64_t rip;
	uint16_t cs;
};

/* Whether the vCPU stands there, in user mode. */
bool execute_ended(const struct cpu *cpu, const struct ending *e);

/* Executes until execute_ended, until an exception's handler has halted (INTERP_HALTED; also a page
 * fault at EXIT_ADDR, where a case ends well), or for so long that it is enough (INTERP_BUDGET; or
 * INTERP_KICKED). The vCPU is loaded, and inside exclusive_enter. */
typedef enum interp_exit (*execute_fn)(struct cpu *cpu, const struct ending *e);

/* By name; NULL: there is none. The first is "interp". */
execute_fn execute_by(const char *name);

/* What the vCPU's instructions depend on, of the host's CPUID. */
void host_cpuid(struct cpuid_table *t);

#endif
