/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a far transfer or an interrupt pushes: collected first, checked as a whole,
 * then written, on the current stack or on one that is not loaded yet.
 */
#ifndef LODGE_ENGINE_BT_INTERP_FRAME_H
#define LODGE_ENGINE_BT_INTERP_FRAME_H

#include "engine/bt/cpu.h"

#define FRAME_MAX 36 /* a call gate's 31 parameters, SS, RSP, CS and RIP; room for one more */

struct frame {
	struct segment ss;
	uint64_t sp;    /* before anything is pushed */
	uint64_t mask;  /* the part of RSP that is the stack pointer */
	bool flat;      /* of 64-bit mode: no segment */
	uint8_t cpl;    /* with whose rights it is written */
	uint8_t size;   /* bytes that a value takes: 2, 4 or 8 */
	uint8_t count;  /* values */
	uint32_t error; /* error code of #SS where there is no room */
	uint64_t value[FRAME_MAX];
};

/* A frame of size-byte values on the current stack; on that of 64-bit mode at rsp; on the stack
 * that ss:esp will be. */
void frame_on_current(struct frame *f, const struct cpu *cpu, unsigned size, uint32_t error);
void frame_on_flat(struct frame *f, uint64_t rsp, unsigned cpl, uint32_t error);
void frame_on_segment(struct frame *f, const struct segment *ss, uint32_t esp, uint32_t error);

/* A frame on the current stack is to be one of 64-bit mode (flat), or of compatibility mode. */
void frame_change_mode(struct frame *f, bool flat);

void frame_push(struct frame *f, uint64_t value);

/* Raises #SS where the stack has no room; #PF where it cannot be written. Changes nothing. */
void frame_check(struct cpu *cpu, const struct frame *f);
void frame_probe(struct cpu *cpu, const struct frame *f);

/* Writes it: after both of the above. */
void frame_write(struct cpu *cpu, const struct frame *f);

/* Both of the current stack, after frame_check: #AC and #PF, and the values. AMD's processors write
 * each value before the next one's faults, so that some may stand there where another faults. */
void frame_write_current(struct cpu *cpu, const struct frame *f);

/* RSP with the frame pushed; rsp is what it was, whose upper part a 16-bit stack leaves alone. */
uint64_t frame_rsp(const struct frame *f, uint64_t rsp);

#endif
