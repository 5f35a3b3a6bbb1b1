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
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/saved_flags.h"
#include "engine/bt/translate/lower.h"

_Static_assert((int)BLOCK_SUPERVISOR == TLB_SUPERVISOR && (int)BLOCK_USER == TLB_USER &&
		       (int)BLOCK_SUPERVISOR_ANY == TLB_SUPERVISOR_ANY,
	       "a block's context begins with that of its accesses");

enum block_context handle_context(const struct cpu *cpu)
{
	bool alignment = cpu->cr0 & CR0_AM && cpu->rflags & RFLAGS_AC;

	if (cpu->mode != CPU_LONG || (cpu->cpl == 3 && alignment) || cpu->cpl == 1 || cpu->cpl == 2)
		return BLOCK_NONE;
	return (enum block_context)tlb_context(cpu, cpu->cpl);
}

const uint8_t *handle(struct cpu *cpu, const struct handler_site *site)
{
	struct translator *t = cpu->translator;
	enum block_context context;
	const uint8_t *far;

	saved_flags_in(cpu);
	cpu->repeat_at = 0; /* what comes is another instruction */
	cpu->rip = site->rip;
	cpu->next_rip = site->rip + site->insn.len;
	if (cpu->journal && cpu->journal->stops && cpu->journal->stop == site->rip)
		return NULL;
	site->fn(cpu, &site->insn);
	cpu->rip = cpu->next_rip;
	cpu_count(&cpu->instructions);
	saved_flags_out(cpu);
	if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) || cpu->native.remapped ||
	    atomic_load_explicit(&t->stale.some, memory_order_relaxed))
		return NULL;
	context = handle_context(cpu);
	if (site->next && cpu->rip == site->rip + site->insn.len && context == site->context)
		return site->next;
	if (context == BLOCK_NONE || cpu->journal)
		return NULL;
	far = blocks_find(t, cpu->rip, context);
	return far == t->gates.interpret ? NULL : far;
}
