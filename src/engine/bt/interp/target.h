/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a far transfer goes: checked step by step, then committed. And the way back
 * of RET and IRET, which leave for the same or an outer level.
 *
 * Private to the far transfers. What fails raises, with nothing changed; ext as in
 * descriptor.h.
 *
 * Sources: Intel SDM vol. 2 (CALL, JMP, RET, IRET), vol. 3A 5.8.
 */
#ifndef LODGE_ENGINE_BT_INTERP_TARGET_H
#define LODGE_ENGINE_BT_INTERP_TARGET_H

#include "engine/bt/interp/descriptor.h"

struct target {
	struct descriptor code;
	uint64_t rip;
	uint8_t cpl; /* after the transfer */
};

static inline bool target_is_long(const struct cpu *cpu, const struct target *t)
{
	return cpu_long_active(cpu) && descriptor_long(&t->code);
}

/* What every code segment needs at the end of its checks: L and D not both, #GP; present, #NP. */
void target_check_code(struct cpu *cpu, const struct target *t, uint32_t ext);

/* rip lies within the new code segment: #GP(ext). */
void target_check_rip(struct cpu *cpu, const struct target *t, uint32_t ext);

/* Loads CS, CPL and next_rip; changes the mode. The accessed bit is set by then. */
void target_commit(struct cpu *cpu, const struct target *t);

/* The code segment that RET or IRET returns to: t->code, t->cpl. */
void return_get_code(struct cpu *cpu, uint16_t selector, struct target *t);

/* The stack that it returns to. */
struct return_stack {
	bool null; /* no segment: in 64-bit mode */
	uint16_t selector;
	struct descriptor ss;
	uint64_t rsp;
};

/* Checks selector as the stack segment of t. */
void return_get_stack(struct cpu *cpu, uint16_t selector, const struct target *t,
		      struct return_stack *s);

/* After target_commit: loads SS and RSP; the level was from before, and data segments that the new
 * one may not use become null. */
void return_commit(struct cpu *cpu, const struct return_stack *s, unsigned from);

#endif
