/* SPDX-License-Identifier: Apache-2.0 */
/* The encodings of instructions: which there are, and how to write one. */
#ifndef LODGE_TESTS_INSN_ENCODE_H
#define LODGE_TESTS_INSN_ENCODE_H

#include "insn.h"
#include "random.h"

/* What an instruction is to be; its prefixes and addressing are drawn. */
struct form {
	unsigned map; /* as in struct head, 0 to 3, or 4 + n for VEX */
	uint8_t opcode;
	unsigned prefix; /* a class of prefixes, below FORM_PREFIXES */
	bool w;          /* REX.W or VEX.W */
	uint8_t mod, reg;
	uint8_t pp; /* VEX */
	bool l;
};

#define FORM_PREFIXES 16

/* An instruction as written. */
struct encoding {
	unsigned at, len;        /* in the case's code */
	bool memory;             /* ModRM names memory: */
	unsigned addr_size, seg; /* 2, 4, 8; the segment register in effect */
	int base, index;         /* general registers, or -1; base 16: RIP */
	unsigned shift;
	unsigned disp_at, disp_size;
	bool vsib;
	unsigned moffs_at;         /* of an address in the code, of addr_size bytes; 0: none */
	unsigned rel_at, rel_size; /* of a branch's distance; 0: none */
	unsigned imm_at;
};

/* Streams of forms; each runs through all its forms, in an order of its own. */
enum {
	FORMS_BASE,
	FORMS_0F38,
	FORMS_VEX,
	FORMS_X87,
	FORMS_VEX_KNOWN,
	FORMS_0F38_KNOWN,
	FORMS_CHOSEN,
	FORMS
};
void form_at(struct form *f, unsigned stream, uint64_t n, struct rng *r);
/* How many forms a stream has. */
uint64_t form_count(unsigned stream);

/* Appends an instruction of that form to c->code. */
void encode(struct encoding *e, struct test_case *c, const struct form *f, struct rng *r);

#endif
