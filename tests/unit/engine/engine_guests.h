/* SPDX-License-Identifier: Apache-2.0 */
/* Guests that stop in the middle (BOX_STOP) with much state, and whose second half depends on it:
 * for engine_state_test. */
#ifndef LODGE_TESTS_UNIT_ENGINE_ENGINE_GUESTS_H
#define LODGE_TESTS_UNIT_ENGINE_ENGINE_GUESTS_H

#include "engine_box.h"

struct guest_case {
	const char *name;
	/* RAM, and the state to begin with. */
	void (*prepare)(struct box *b, struct vcpu_state *s);
	/* NULL: nothing. Makes of the state at the stop another that the guest is to go on from. */
	void (*alter)(struct vcpu_state *s);
	unsigned tells; /* values that the guest tells in all */
	bool avx;       /* needs AVX */
	/* Bits of a byte in RAM that may differ. */
	uint64_t excused;
	uint8_t excused_bits;
	bool not_to_kvm; /* what is to go on, the lab's processor cannot do */
};

extern const struct guest_case guest_cases[];
extern const unsigned guest_case_count;

#endif
