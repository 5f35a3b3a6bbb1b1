/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a case finds: segments, registers, memory. In this order: scene_code_segment,
 * scene_segments, scene_registers; then, the code's place being known, the others.
 */
#ifndef LODGE_TESTS_INSN_SCENE_H
#define LODGE_TESTS_INSN_SCENE_H

#include "encode.h"

/* A case in the making. */
struct work {
	struct test_case *c;
	struct rng r;
	struct encoding e;
	struct head h;
	bool stepped; /* length unknown: TF */
	bool ldt;     /* segments of ours may be used */
};

/* CS, which says where the code's offsets count from; the other segments; registers but vectors. */
void scene_code_segment(struct work *w);
void scene_segments(struct work *w);
void scene_registers(struct work *w);

/* Linear addresses: to work on; to jump to. */
uint64_t scene_target(struct work *w);
uint64_t scene_code(struct work *w);

/* Makes the memory operand's address be t, as far as it lies in registers and displacement. */
void scene_aim(struct work *w, uint64_t t);

/* What stands at an address that the case is going to use, and on its stack. */
void scene_fill(struct work *w, uint64_t linear);
void scene_stack(struct work *w);

#endif
