/* SPDX-License-Identifier: Apache-2.0 */
/*
 * REP MOVS and REP STOS, as kernels and C libraries copy and fill: where all of it lies in one page
 * on each side and goes upwards, the host's own instruction does it, at the host's addresses. It
 * moves unit by unit like the guest's, so that it does not matter whether the two overlap. All else
 * is the handler's (interp/string.c), from the same place in the block:
 *
 *	      DF set, or RCX over a page     -> handler
 *	      RCX is 0                       -> next
 *	      source, one byte of it, then the rest of the page; the same of the destination
 *	                                     -> handler where it does not fit
 *	      RSI, RDI to the host's addresses; rep movs; RSI, RDI to the guest's
 *	      jmp next
 *	handler:
 *	next:
 *
 * The destination comes last: nothing may come between its look-up and the write.
 */
#include "core/mem.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

#define REP       0xf3
#define PREFIX_16 0x66
#define REX_W     0x48

/* Its opcode of bytes is the even one. */
#define OPCODE_MOVS 0xa4
#define OPCODE_STOS 0xaa

#define DF_AT  (CTX(rflags) + 1)
#define DF_BIT (RFLAGS_DF >> 8)

#define SLOW_MAX 4

struct string {
	bool moves;
	unsigned shift; /* of the size */
	unsigned slow_count;
	uint8_t *slow[SLOW_MAX]; /* distances of jumps to the handler */
};

static void slow_if(struct lower *l, struct string *s, unsigned cond)
{
	s->slow[s->slow_count++] = emit_jcc(l->e, cond);
}

static void check_direction(struct lower *l, struct string *s)
{
	static const uint8_t test_byte[] = {0x65, 0xf6, 0x04, 0x25};

	emit_bytes(l->e, test_byte, sizeof(test_byte));
	emit_le(l->e, 4, (uint32_t)DF_AT);
	emit_byte(l->e, DF_BIT);
	slow_if(l, s, EMIT_NOT_EQUAL);
}

/* HOST_SPARE = [base + bytes that are left]. */
static void add_left(struct lower *l, const struct string *s, unsigned base)
{
	emit_lea(l->e, l->word, HOST_SPARE, &(struct emit_address){base, GPR_RCX, s->shift, 0});
}

/* From the address in reg on to the host's, in HOST_ADDRESS. Host and guest have the same offset in
 * the page. */
static void reach(struct lower *l, struct string *s, unsigned reg, bool write)
{
	struct emit *e = l->e;

	address_stack(l, reg, 0);
	address_check(l, 1, write);
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, GUEST_PAGE_SIZE - 1);
	add_left(l, s, HOST_SPARE);
	emit_imm(e, EMIT_CMP_IMM, 4, HOST_SPARE, GUEST_PAGE_SIZE);
	slow_if(l, s, EMIT_ABOVE);
}

/* The guest's register as it will be, to its place in struct cpu. */
static void foresee(struct lower *l, const struct string *s, unsigned reg)
{
	add_left(l, s, reg);
	emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, ctx_gpr(reg));
}

static void put(struct emit *e, const struct string *s)
{
	emit_byte(e, REP);
	if (s->shift == 1)
		emit_byte(e, PREFIX_16);
	if (s->shift == 3)
		emit_byte(e, REX_W);
	emit_byte(e, (s->moves ? OPCODE_MOVS : OPCODE_STOS) | (s->shift != 0));
}

static void by_host(struct lower *l, const struct string *s)
{
	struct emit *e = l->e;

	foresee(l, s, GPR_RDI);
	if (s->moves) {
		foresee(l, s, GPR_RSI);
		emit_ctx(e, EMIT_MOV, 8, GPR_RSI, CTX(native.scratch));
	}
	emit_reg(e, EMIT_MOV, 8, GPR_RDI, HOST_ADDRESS);
	put(e, s);
	emit_ctx(e, EMIT_MOV, 8, GPR_RDI, ctx_gpr(GPR_RDI));
	if (s->moves)
		emit_ctx(e, EMIT_MOV, 8, GPR_RSI, ctx_gpr(GPR_RSI));
}

void lower_string(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	struct string s = {.moves = insn->op >= OP_MOVSB && insn->op <= OP_MOVSQ};
	struct emit *e = l->e;
	uint8_t *nothing, *done;
	bool saved;

	s.shift = insn->op - (s.moves ? OP_MOVSB : OP_STOSB);
	flags_clobber(l, flags_live_before(l));
	check_direction(l, &s);
	emit_imm(e, EMIT_CMP_IMM, 8, GPR_RCX, (int32_t)(GUEST_PAGE_SIZE >> s.shift));
	slow_if(l, &s, EMIT_ABOVE);
	emit_reg(e, EMIT_TEST, 8, GPR_RCX, GPR_RCX);
	nothing = emit_jcc(e, EMIT_EQUAL);
	if (s.moves) {
		reach(l, &s, GPR_RSI, false);
		emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.scratch));
	}
	reach(l, &s, GPR_RDI, true);
	by_host(l, &s);
	done = emit_jmp(e);
	for (unsigned n = 0; n < s.slow_count; n++)
		emit_patch(e, s.slow[n]);
	saved = l->flags_saved;
	lower_handler(l);
	l->flags_saved = saved;
	emit_patch(e, done);
	emit_patch(e, nothing);
}
