/* SPDX-License-Identifier: Apache-2.0 */
/* The ways between C and translated code. */
#ifndef LODGE_ENGINE_BT_RUNTIME_GATES_H
#define LODGE_ENGINE_BT_RUNTIME_GATES_H

#include "engine/bt/translate/translator.h"

/* Emits them, at the beginning of code memory. */
void gates_emit(struct translator *t);

struct left {
	uint64_t reason; /* enum translated_exit */
	uint64_t number;
};

/* Runs translated code from its far entry until it is left. All guest registers are in struct cpu
 * before and after; what goes with RIP and flags is the caller's. The thread's GS base is struct
 * cpu. */
struct left gates_enter(const struct translator *t, const uint8_t *far);

/* Sets the thread's GS base to struct cpu. */
void gates_set_base(struct cpu *cpu);

#endif
