/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that the interpreter's handler does, called from within the block
 * (runtime/handle.c):
 *
 *	lea r11, [site]      which handler, and the decoded instruction
 *	jmp gate
 *	next:                mostly; else to another block, or out
 *
 * All registers are in struct cpu meanwhile, so that it costs some fifty host instructions beside
 * the handler's; leaving translated code for it, and finding the block behind it, costs three times
 * as much.
 */
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

void lower_handler(struct lower *l)
{
	static const uint8_t lea_r11[] = {0x4c, 0x8d, 0x1d};
	struct handled *h = &l->handled[l->handled_count++];

	flags_save(l);
	emit_bytes(l->e, lea_r11, sizeof(lea_r11));
	emit_le(l->e, 4, 0);
	h->distance = l->e->at - 4;
	h->i = l->i;
	emit_jmp_to(l->e, l->t->gates.handler);
	h->next = l->i->kind == KIND_HANDLER_GO ? NULL : emit_here(l->e);
	l->flags_saved = true;
	l->flags_host = false;
	l->vectors = 0; /* they have been stored */
}

void lower_handler_sites(struct lower *l)
{
	struct emit *e = l->e;

	for (unsigned n = 0; n < l->handled_count; n++) {
		const struct handled *h = &l->handled[n];
		struct handler_site site = {
			.fn = interp_handler(l->t->cpu, &h->i->insn),
			.rip = h->i->linear,
			.next = h->next,
			.context = l->b->context % BLOCK_PLAIN,
			.insn = h->i->insn,
		};

		while ((uintptr_t)e->at % HANDLER_SITE)
			emit_byte(e, 0);
		emit_patch(e, h->distance);
		emit_bytes(e, &site, sizeof(site));
	}
}
