/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look-up in hot code, which tries the page of this site's last access first:
 *
 *	      lea   r10, [operand]         linear address
 *	      mov   r11, r10
 *	      sub   r11, [site.page]
 *	      cmp   r11, [site.limit]
 *	      jae   beside
 *	      add   r10, [site.delta]      the host's
 *	done:
 *
 * From the address to the host's it takes two cycles, since all that the site knows is at
 * a constant place, where the look-up in the TLB takes some ten. Beside the block, where
 * it is another page, is that look-up, and what it finds goes into the site:
 *
 *	retry:...                              r11, the entry, as in address.c
 *	      sub   r10, [tags + r11 * 8]
 *	      cmp   r10, 4096 - size
 *	      ja    miss
 *	      ...                              page, limit, delta; entry and chunk are marked
 *	      dec   [site.left]
 *	      jnz   done
 *
 * A site whose page changes all the time has soon nothing left. Then translated code is left, and
 * the block is translated again with a plain look-up there (runtime/hot.c).
 */
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/translate/lower.h"

#define SITE(l, m, member)                                                                  \
	((l)->t->sites_at +                                                                 \
	 (int32_t)(offsetof(struct tlb_sites, site) + (m)->site * sizeof(struct tlb_site) + \
		   offsetof(struct tlb_site, member)))

/* Of a loop that is there several times, the turns have the same sites. */
static bool take_as_before(struct lower *l, struct missing_access *m)
{
	for (const struct missing_access *b = l->missing; l->r->turn && b < m; b++) {
		if (!b->sited || b->rip != m->rip || b->access != m->access)
			continue;
		m->site = b->site;
		m->sited = true;
		return true;
	}
	return false;
}

bool site_take(struct lower *l, struct missing_access *m)
{
	struct hot *h = &l->t->hot;

	if (take_as_before(l, m))
		return true;
	if (!l->b->hot || h->sites == TLB_SITES ||
	    hot_is(h->wanders, hot_bit(l->i->linear, l->b->context)))
		return false;
	m->site = (uint16_t)h->sites++;
	m->sited = true;
	l->t->cpu->tlb->sites->site[m->site] = (struct tlb_site){.left = SITE_MISSES};
	h->owner[m->site] = (struct site_owner){
		.block = l->b->linear,
		.gpa = l->b->gpa,
		.rip = l->i->linear,
		.context = l->b->context,
	};
	return true;
}

void site_look_up(struct lower *l, struct missing_access *m)
{
	struct emit *e = l->e;

	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_SUB, 8, HOST_SPARE, SITE(l, m, page));
	emit_ctx(e, EMIT_CMP, 8, HOST_SPARE, SITE(l, m, limit));
	m->distance = emit_jcc(e, EMIT_NOT_BELOW);
	emit_ctx(e, EMIT_ADD, 8, HOST_ADDRESS, SITE(l, m, delta));
	m->done = emit_here(e);
}

/* MOV byte gs:[disp], 1 */
static void set_byte(struct emit *e, int32_t disp)
{
	static const uint8_t mov_byte[] = {0x65, 0xc6, 0x04, 0x25};

	emit_bytes(e, mov_byte, sizeof(mov_byte));
	emit_le(e, 4, (uint32_t)disp);
	emit_byte(e, 1);
}

/* The TLB's entry, whose number is in HOST_SPARE, and the site's chunk are marked. */
static void mark(struct lower *l, const struct missing_access *m)
{
	static const uint8_t entry[] = {0x65, 0x41, 0xc6, 0x83}; /* mov byte gs:[r11 + disp], imm */
	const size_t set = block_access(l->b->context) * sizeof(((struct tlb_sites *)0)->filled[0]);
	struct emit *e = l->e;

	emit_bytes(e, entry, sizeof(entry));
	emit_le(e, 4, (uint32_t)(l->tlb + (int32_t)offsetof(struct tlb_set, sited)));
	emit_byte(e, 1);
	set_byte(e, l->t->sites_at + (int32_t)(offsetof(struct tlb_sites, filled) + set +
					       m->site / TLB_SITES_CHUNK));
}

void site_beside(struct lower *l, struct missing_access *m)
{
	const int32_t host = l->tlb + (int32_t)offsetof(struct tlb_set, host);
	const int32_t tag = address_tag(l, m->access & ACCESS_WRITE);
	const int32_t size = m->access & ACCESS_SIZE;
	struct emit *e = l->e;

	emit_patch(e, m->distance);
	m->retry = emit_here(e);
	m->distance = address_find_entry(l, m->access, HOST_ADDRESS);
	mark(l, m);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.missed)); /* the offset */
	emit_ctx_scaled(e, EMIT_MOV, 8, HOST_ADDRESS, HOST_SPARE, tag);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, SITE(l, m, page));
	emit_ctx_scaled(e, EMIT_MOV, 8, HOST_ADDRESS, HOST_SPARE, host);
	emit_ctx_scaled(e, EMIT_SUB, 8, HOST_ADDRESS, HOST_SPARE, tag);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, SITE(l, m, delta));
	emit_ctx_set(e, 8, SITE(l, m, limit), (int32_t)GUEST_PAGE_SIZE - size + 1);
	emit_ctx(e, EMIT_MOV, 8, HOST_ADDRESS, CTX(native.missed));
	emit_ctx_scaled(e, EMIT_ADD, 8, HOST_ADDRESS, HOST_SPARE, host);
	emit_ctx_imm32(e, EMIT_SUB_IMM, 4, SITE(l, m, left), 1);
	emit_jcc_to(e, EMIT_NOT_EQUAL, m->done);
	set_byte(e, l->t->sites_at + (int32_t)offsetof(struct tlb_sites, wandering));
	set_byte(e, CTX(native.poll));
	emit_jmp_to(e, m->done);
}
