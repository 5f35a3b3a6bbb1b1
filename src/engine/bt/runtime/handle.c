/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As in the interpreter's loop, an instruction may change anything. The block goes on if what comes
 * next is behind it, in the same context, from the same page, and nothing waits to be looked at.
 * Where it leads elsewhere (a system call, say) the next block is looked for here, as
 * translated_step would.
 */
#include "engine/bt/runtime/handle.h"

#include "engine/bt/cpu.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/context.h"
#include "engine/bt/runtime/saved_flags.h"
#include "engine/bt/translate/lower.h"

const uint8_t *handle(struct cpu *cpu, const struct handler_site *site)
{
	struct translator *t = cpu->translator;
	enum block_context context;
	const uint8_t *far;
	uint64_t next;

	saved_flags_in(cpu);
	cpu->repeat_at = 0; /* what comes is another instruction */
	cpu->rip = site->rip;
	next = (site->rip + site->insn.len) & cpu->rip_mask;
	cpu->next_rip = next;
	if (cpu->journal && cpu->journal->stops && cpu->journal->stop == site->rip)
		return NULL;
	site->fn(cpu, &site->insn);
	cpu->rip = cpu->next_rip;
	cpu_count(&cpu->instructions);
	saved_flags_out(cpu);
	if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) || cpu->native.remapped ||
	    atomic_load_explicit(&t->stale.some, memory_order_relaxed))
		return NULL;
	context = context_now(cpu);
	if (site->next && cpu->rip == next && context == site->context)
		return site->next;
	if (context == BLOCK_NONE || cpu->journal)
		return NULL;
	far = blocks_find(t, cpu->rip, context);
	return far == t->gates.interpret ? NULL : far;
}
