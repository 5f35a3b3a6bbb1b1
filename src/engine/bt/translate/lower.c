/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/translate/lower.h"

#include <assert.h>
#include <string.h>

#include "engine/bt/translate/kind.h"

/* A generous bound of what one guest instruction becomes, with all that lies beside it. */
#define BYTES_PER_INSN 256
#define BYTES_MORE     512

typedef void (*lower_fn)(struct lower *l);

static void lower_nothing(struct lower *l)
{
	(void)l;
}

static lower_fn lower_of(enum kind kind)
{
	switch (kind) {
	case KIND_NOP:
		return lower_nothing;
	case KIND_LEA:
		return lower_lea;
	case KIND_DIVIDE:
		return lower_divide;
	case KIND_BIT:
		return lower_bit;
	case KIND_VECTOR:
		return lower_vector;
	case KIND_X87:
		return lower_x87;
	case KIND_STRING:
		return lower_string;
	case KIND_PUSH:
		return lower_push;
	case KIND_POP:
		return lower_pop;
	case KIND_LEAVE:
		return lower_leave;
	case KIND_CLI:
		return lower_cli;
	case KIND_STI:
		return lower_sti;
	case KIND_PUSHF:
		return lower_pushf;
	case KIND_RDTSC:
		return lower_rdtsc;
	case KIND_RDTSCP:
		return lower_rdtscp;
	case KIND_CLD:
		return lower_cld;
	case KIND_STD:
		return lower_std;
	case KIND_POPF:
		return lower_popf;
	case KIND_SWAPGS:
		return lower_swapgs;
	case KIND_AC:
		return lower_ac;
	case KIND_HANDLER:
	case KIND_HANDLER_ONCE:
	case KIND_HANDLER_GO:
		return lower_handler;
	case KIND_JMP:
		return lower_jmp;
	case KIND_JCC:
		return lower_jcc;
	case KIND_CALL:
		return lower_call;
	case KIND_RET:
		return lower_ret;
	default:
		return lower_copy;
	}
}

/* Kinds that know what they have in R10 and R11 (struct lower, loaded). */
static bool keeps_loaded(enum kind kind)
{
	return kind == KIND_COPY || kind == KIND_LEA || kind == KIND_NOP || kind == KIND_JCC;
}

static void lower_insn(struct lower *l, enum kind kind)
{
	if (!keeps_loaded(kind))
		l->loaded = 0;
	lower_of(kind)(l);
	if (!keeps_loaded(kind))
		l->loaded = 0;
}

static void lower_end(struct lower *l)
{
	uint64_t next = lower_wrap(l, l->r->linear + l->r->bytes);

	if (l->r->branches)
		return;
	if (l->r->count == REGION_MAX || (next ^ l->r->linear) & ~MASK(12))
		lower_fall(l);
	else
		lower_interpret(l, next);
}

bool lower_region(struct translator *t, const struct region *r, struct block *b)
{
	struct emit e = t->emit;
	unsigned sites = t->hot.sites;
	struct lower l;

	memset(&l, 0, offsetof(struct lower, accesses));
	l.t = t;
	l.e = &e;
	l.r = r;
	l.b = b;
	l.narrow = block_narrow(b->context);
	l.word = l.narrow ? 4 : 8;
	l.tlb = t->tlb_at[b->context];
	l.jumps = t->jumps_at[b->context % BLOCK_PLAIN];
	if (e.end - e.at < (ptrdiff_t)(r->count * BYTES_PER_INSN + BYTES_MORE))
		return false;
	access_analyse(t->cpu, r, b->context >= BLOCK_PLAIN, &l.accesses);
	lower_entries(&l);
	for (unsigned n = 0; n < r->count; n++) {
		l.i = &r->insn[n];
		if (r->crosses && n + 1 == r->count) {
			lower_crossing(&l);
			l.loaded = 0;
		}
		lower_insn(&l, (enum kind)l.i->kind);
	}
	assert(l.accessed == l.accesses.count);
	lower_end(&l);
	lower_beside(&l);
	if (e.full) {
		t->hot.sites = sites;
		return false;
	}
	t->emit = e;
	return true;
}
