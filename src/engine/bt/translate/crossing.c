/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An instruction across the end of the page, at the end of a block.
 *
 * All that blocks rely on (their place among the blocks of a page, links within the page) is
 * about one page. So the second page is looked at each time: the TLB's entry for it has to let code
 * be fetched, from the same place as when the instruction was decoded, and nothing may have been
 * written there since. Its linear address is known, so the entry is, too. What has changed
 * makes the instruction the interpreter's.
 */
#include <string.h>

#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"
#include "engine/bt/vm.h"

void region_cross(struct cpu *cpu, struct region *r, const uint8_t *first, unsigned len)
{
	struct region_insn *i = &r->insn[r->count];
	uint64_t linear = (r->linear | PAGE_OFFSET) + 1, gpa;
	uint8_t bytes[INSN_BYTES_MAX];
	struct page *page;
	const uint8_t *host;
	uint32_t generation;

	if (linear & ~cpu->rip_mask || !linear_canonical(cpu, linear) ||
	    !mmu_fill_code(cpu, linear, &gpa))
		return;
	host = pages_host(&cpu->vm->pages, gpa, &page);
	if (!host)
		return;
	memcpy(bytes, first, len);
	memcpy(bytes + len, host, sizeof(bytes) - len);
	i->linear = r->linear + r->bytes;
	if (decode(cpu->vm->decoder, (enum decode_mode)cpu->decode, bytes, sizeof(bytes),
		   &i->insn) != DECODE_OK ||
	    i->insn.len <= len || !region_takes(cpu, i))
		return;
	/* As in region_read: marked first, then compared. Others may have been waited for. */
	generation = mmu_protect_code(cpu, gpa, i->insn.len - len);
	if (pages_host(&cpu->vm->pages, gpa, &page) != host ||
	    memcmp(bytes + len, host, i->insn.len - len) != 0)
		return;
	r->crossing = (struct region_crossing){linear, (uintptr_t)host, page, generation};
	r->crosses = true;
	r->branches = i->kind >= KIND_JMP;
	r->bytes += i->insn.len;
	r->count++;
}

/* CMP gs:[disp], value (64 bits); what differs leaves. */
static void check(struct lower *l, int32_t disp, uint64_t value)
{
	emit_set(l->e, HOST_SPARE, value);
	emit_ctx(l->e, EMIT_CMP, 8, HOST_SPARE, disp);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
}

void lower_crossing(struct lower *l)
{
	const struct region_crossing *c = &l->r->crossing;
	size_t n = tlb_index(c->linear);

	l->held = NULL;
	flags_clobber(l, flags_live_before(l));
	check(l, l->tlb + (int32_t)offsetof(struct tlb_set, entry[n].exec), c->linear);
	check(l, l->tlb + (int32_t)offsetof(struct tlb_set, host[n]), c->host);
	emit_set(l->e, HOST_ADDRESS, (uintptr_t)&c->page->generation);
	emit_set(l->e, HOST_SPARE, c->generation);
	emit_mem(l->e, EMIT_CMP, 4, HOST_SPARE, HOST_ADDRESS);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
}
