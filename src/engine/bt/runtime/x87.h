/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's x87 and MMX registers as the host's own, while translated code runs: as vectors.h,
 * but apart from the vectors, since few programs have both and the state takes long to load.
 *
 *	block   wants them for the first time: gates.x87 loads them, and sets VECTORS_X87
 *	fill    leaves them where they are: what it calls uses no x87 instruction
 *	leave   they are stored
 *
 * Loaded only where the instructions may be executed, and with all exceptions masked. The x87's
 * pointers stay in cpu->fpu.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_X87_H
#define LODGE_ENGINE_BT_RUNTIME_X87_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/bt/emit/emit.h"

struct cpu;

/* Pieces of code: cpu->fpu to the host's registers; and back, after which these are empty. RAX,
 * RCX, RDX, RSI and RDI are changed. */
void x87_emit_load(struct emit *e);
void x87_emit_store(struct emit *e);

/* A piece of code that asks whether they may be loaded: jumps at two places (distance[]) where not.
 * RAX is changed. */
#define X87_REFUSALS 2
void x87_emit_ask(struct emit *e, uint8_t *distance[X87_REFUSALS]);

#endif
