/* SPDX-License-Identifier: Apache-2.0 */
/* Values that instructions find interesting. */
#ifndef LODGE_TESTS_INSN_VALUES_H
#define LODGE_TESTS_INSN_VALUES_H

#include "insn.h"
#include "random.h"

/* A general register's value. */
uint64_t value_gpr(struct rng *r);

/* size bytes, a multiple of 8, for a vector register or memory: of one kind throughout. */
void value_lanes(struct rng *r, uint8_t *out, unsigned size);

/* The XSAVE image of a case: x87, MXCSR, XMM and YMM. calm: no exception is unmasked. */
void value_xsave(struct rng *r, uint8_t area[XSAVE_AREA], bool calm);

/* An 80-bit number. */
void value_f80(struct rng *r, uint8_t out[10]);

#endif
