/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter: every instruction of the CPU models, in every mode.
 *
 * It is the reference for all else in this engine. An instruction is one call of
 * its handler, chosen when it is decoded (interp/dispatch.c).
 */
#ifndef LODGE_ENGINE_BT_INTERP_INTERP_H
#define LODGE_ENGINE_BT_INTERP_INTERP_H

#include "engine/bt/cpu.h"
#include "engine/bt/decode/insn.h"

/* Executes insn at cpu->rip; next_rip is the instruction after it unless it branches. Raises what
 * the instruction raises. */
typedef void (*interp_fn)(struct cpu *cpu, const struct insn *insn);

/* The handler of a decoded instruction on this vCPU; one that raises #UD where the vCPU's model or
 * mode does not have it. Depends only on the instruction, cpu->features and the decode mode, so
 * that it may be cached with the page. Never NULL. */
interp_fn interp_handler(const struct cpu *cpu, const struct insn *insn);

/*
 * Executes instructions, takes interrupts and delivers exceptions until something outside has to
 * be asked: a kick, a halt, shutdown, or (budget not 0) until budget instructions and exceptions
 * have been executed, for tests. Sets nothing but the vCPU. On the vCPU's thread, inside
 * exclusive_enter.
 */
enum interp_exit {
	INTERP_GOES_ON, /* never returned */
	INTERP_KICKED,
	INTERP_HALTED,
	INTERP_SHUTDOWN, /* triple fault; cpu->exception and cpu->delivering tell of what */
	INTERP_BUDGET,
};
enum interp_exit interp_run(struct cpu *cpu, uint64_t budget);

/* Executes the instruction at cpu->rip, and nothing else: for cpu->step. Raises what it raises. */
void interp_execute(struct cpu *cpu);

/*
 * interp/deliver.c: makes the processor go to the handler of an interrupt or exception, through
 * the IDT, IVT, gates, stack and task switches: rip and next_rip are the handler's then. Faults in
 * doing so are raised (cpu_raise), with no register changed; interp_run makes a double fault or
 * shutdown of them. (A fault after a task gate's task switch was committed belongs to the new task:
 * cpu->rip is its first instruction.)
 *
 * The caller has written CR2 or DR6 and masks NMIs. RF is pushed as set for faults; for #DB, traps,
 * aborts and interrupts as it stands in rflags, but for interrupts between two repetitions of a
 * string instruction, which push it as set.
 */
enum deliver_kind {
	DELIVER_EXCEPTION, /* a fault, trap or abort, which returns to rip */
	DELIVER_INTERRUPT, /* external, and NMI: the same */
	DELIVER_SOFT, /* INT n, INT3, INTO: return address is next_rip, gate's DPL is checked */
	DELIVER_SOFT_DEBUG, /* INT1: as SOFT, DPL not checked */
};
void interp_deliver(struct cpu *cpu, enum deliver_kind kind, uint8_t vector, bool has_error,
		    uint32_t error);

#endif
