/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A block's entries, with the flags where each has them. What comes behind them wants the flags in
 * one place, which is that of their first use:
 *
 *	an instruction reads them        far: takes them from native.flags
 *	                                 near:
 *
 *	a look-up would clobber them     near: saves them
 *	                                 far:
 */
#include "core/mem.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

/* Does host code for instruction i save flags that are live before it, or after it if it is the
 * last and the block ends towards another one? */
static bool saves(const struct lower *l, const struct region_insn *i)
{
	const struct insn *insn = &i->insn;

	switch (i->kind) {
	case KIND_HANDLER:
	case KIND_HANDLER_ONCE:
	case KIND_HANDLER_GO:
	case KIND_STRING:
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
	case KIND_PUSHF:
	case KIND_CALL:
	case KIND_RET:
	case KIND_CLI:
	case KIND_STI:
		return true;
	case KIND_JMP: /* to another page */
		return insn->operand[0].kind != OPERAND_REL ||
		       ((i->linear + insn->len + insn->imm) ^ l->r->linear) >> GUEST_PAGE_SHIFT;
	case KIND_LEA:
	case KIND_NOP:
		return false;
	default:
		return insn->has_mem;
	}
}

/* Whether the first use of the flags is that they are saved. */
static bool saves_first(const struct lower *l)
{
	for (unsigned n = 0; n < l->r->count; n++) {
		const struct region_insn *i = &l->r->insn[n];
		unsigned read = kind_flags_read(&i->insn);
		unsigned kept = i->live & ~kind_flags_written(&i->insn);

		if (!(read | kept))
			return false;
		if (saves(l, i))
			return true;
		if (read || (kind_changes_flags(&i->insn) && kept))
			return false;
	}
	return false;
}

void lower_entries(struct lower *l)
{
	struct block *b = l->b;

	l->flags_saved = l->flags_host = false;
	if (l->r->live && saves_first(l)) {
		b->near = emit_here(l->e);
		l->flags_host = true;
		flags_save(l);
		b->far = emit_here(l->e);
		l->flags_host = false;
		return;
	}
	b->far = emit_here(l->e);
	if (l->r->live) {
		l->flags_saved = true;
		flags_need(l);
	}
	l->flags_saved = false;
	l->flags_host = l->r->live;
	b->near = emit_here(l->e);
}
