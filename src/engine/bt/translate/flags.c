/* SPDX-License-Identifier: Apache-2.0 */
/* Where the guest's status flags are. Saved ones have the form that LAHF and SETO give, which is
 * the cheapest to make, and to take back by ADD and SAHF. */
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

static const uint8_t lahf_seto_al[] = {0x9f, 0x0f, 0x90, 0xc0};
/* OF becomes 1 where AL is 1; then the others. */
static const uint8_t add_al_sahf[] = {0x04, 0x7f, 0x9e};

void flags_save(struct lower *l)
{
	struct emit *e = l->e;

	if (l->flags_saved || !l->flags_host)
		return;
	lower_spoilt(l, HOST_SPARE);
	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, GPR_RAX);
	emit_bytes(e, lahf_seto_al, sizeof(lahf_seto_al));
	emit_ctx(e, EMIT_MOV_TO, 4, GPR_RAX, CTX(native.flags));
	emit_reg(e, EMIT_MOV, 8, GPR_RAX, HOST_SPARE);
	l->flags_saved = true;
}

void flags_clobber(struct lower *l, unsigned live)
{
	if (live)
		flags_save(l);
	l->flags_host = false;
}

void flags_need(struct lower *l)
{
	struct emit *e = l->e;

	if (l->flags_host || !l->flags_saved)
		return;
	lower_spoilt(l, HOST_SPARE);
	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, GPR_RAX);
	emit_ctx(e, EMIT_MOV, 4, GPR_RAX, CTX(native.flags));
	emit_bytes(e, add_al_sahf, sizeof(add_al_sahf));
	emit_reg(e, EMIT_MOV, 8, GPR_RAX, HOST_SPARE);
	l->flags_host = true;
}

bool flags_wanted(const struct lower *l)
{
	const struct insn *insn = &l->i->insn;

	return kind_flags_read(insn) ||
	       (kind_changes_flags(insn) && l->i->live & ~kind_flags_written(insn));
}

void flags_before_copy(struct lower *l)
{
	if (flags_wanted(l))
		flags_need(l);
}

void flags_after_copy(struct lower *l)
{
	if (!kind_changes_flags(&l->i->insn))
		return;
	l->flags_host = true;
	l->flags_saved = false;
}

unsigned flags_live_before(const struct lower *l)
{
	return region_live_before(l->i);
}
