/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gates to code, of calls and interrupts, and the stack of an inner level that they
 * lead to.
 *
 * Private to the far transfers; errors and ext as in target.h.
 *
 * Sources: Intel SDM vol. 3A 5.8.3 to 5.8.5 (call gates, stack switching), 6.11, 6.12, 6.14.
 */
#ifndef LODGE_ENGINE_BT_INTERP_GATE_H
#define LODGE_ENGINE_BT_INTERP_GATE_H

#include "engine/bt/interp/frame.h"
#include "engine/bt/interp/target.h"

struct gate {
	uint16_t selector;
	uint64_t offset;
	uint8_t type;
	uint8_t dpl;
	uint8_t size; /* bytes of what it pushes: 2, 4 or 8 */
	uint8_t ist;  /* of interrupts in IA-32e mode */
	uint8_t params;
	bool present;
};

/* From the descriptor's 8 bytes, and the second 8 in IA-32e mode. */
struct gate gate_parse(uint64_t low, uint64_t high, bool ia32e);

/* The code segment and entry point behind a gate: code that is at least as privileged as CPL.
 * t->cpl is its level. target_check_code is still to come. */
void gate_get_code(struct cpu *cpu, const struct gate *g, uint32_t ext, struct target *t);

struct inner_stack {
	struct descriptor ss; /* not in IA-32e mode */
	struct segment segment;
	struct frame frame; /* on it, empty; its size is the caller's to set */
};

/* The stack that the TSS has for level cpl; in IA-32e mode that of ist, if not 0. */
void inner_stack_get(struct cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext,
		     struct inner_stack *s);

/* Loads SS and RSP, below the frame. Before target_commit. */
void inner_stack_commit(struct cpu *cpu, const struct inner_stack *s);

/* JMP or CALL through a call gate. */
void gate_transfer(struct cpu *cpu, struct descriptor *d, bool call);

#endif
