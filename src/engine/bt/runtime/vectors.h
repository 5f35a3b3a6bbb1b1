/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's vector registers and MXCSR as the host's own, while translated code runs.
 *
 *	block   wants them for the first time: gates.vectors loads them, cpu->native.vectors is set
 *	fill    they are stored before C is called, and loaded again when the block goes on
 *	leave   they are stored, cpu->native.vectors is cleared
 *
 * x87 and MMX registers are a matter of their own (x87.h), and stored and loaded here with them.
 *
 * So C always finds them in cpu->fpu, and translated code without vector instructions pays for
 * them with one comparison where it is left. They are loaded only where the instructions may be
 * executed, which nothing but the interpreter changes, and where MXCSR masks all exceptions.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_VECTORS_H
#define LODGE_ENGINE_BT_RUNTIME_VECTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bt/emit/emit.h"

struct cpu;

/* What gates call by CALL, on the host's stack: cpu->fpu to the host's registers, by
 * cpu->native.vectors, and back. R10 and R11 are not changed; by those of XMM and YMM alone no
 * general register is. */
struct vectors_code {
	const uint8_t *load, *store;
	const uint8_t *load_xmm, *store_xmm; /* where there is one of VECTORS_XMM */
};
/* Emits: a jump, whose distance is returned, where none of the units (VECTORS_*) is there. */
uint8_t *vectors_emit_test(struct emit *e, uint8_t units);
void vectors_emit(struct emit *e, const struct cpu *cpu, struct vectors_code *code);

/* Whether instructions of the unit (VECTORS_SSE or VECTORS_AVX) may be executed with the registers
 * loaded; cpu->native.vectors is set, then, for the loading. */
bool vectors_enable(struct cpu *cpu, uint32_t unit);

/* Before they are loaded again: whether upper halves are zero. */
void vectors_look(struct cpu *cpu);

#endif
