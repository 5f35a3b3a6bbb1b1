/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/step.h"

#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/context.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/hot.h"
#include "engine/bt/runtime/saved_flags.h"
#include "engine/bt/runtime/tandem.h"

/* Runs translated code from far on, and does what it was left for, but for the interpreter's
 * instruction: true, then. */
static bool run(struct cpu *cpu, const uint8_t *far)
{
	struct translator *t = cpu->translator;

	cpu->repeat_at = 0; /* what comes is another instruction */
	saved_flags_out(cpu);
	for (;;) {
		struct left left = gates_enter(t, far);
		struct block_exit *exit;

		saved_flags_in(cpu);
		cpu_count(&cpu->stats.entries);
		if (left.reason == EXIT_PLAIN) {
			cpu->rip = left.number;
			far = blocks_find(t, cpu->rip, context_now(cpu) + BLOCK_PLAIN);
			if (!far || far == t->gates.interpret)
				return true;
			continue;
		}
		if (left.reason != EXIT_LINK) {
			cpu->rip = left.number;
			if (atomic_load_explicit(&cpu->native.poll, memory_order_relaxed))
				hot_sample(t, cpu->rip, context_now(cpu));
			return left.reason == EXIT_INTERPRET;
		}
		exit = (struct block_exit *)(uintptr_t)left.number;
		cpu->rip = exit->target;
		/* New code may come for ever, without a branch that asks. */
		if (atomic_load_explicit(&cpu->native.poll, memory_order_relaxed) ||
		    atomic_load(&t->stale.some))
			return false;
		if (cpu->journal)
			return false;
		far = blocks_link(t, exit);
		if (!far)
			return true;
	}
}

static bool disturbed(const struct cpu *cpu)
{
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed) ||
	       atomic_load_explicit(&cpu->native.poll, memory_order_relaxed);
}

/* The instruction at RIP; if what comes then is cold, or that is, up to a branch. */
static void interpret(struct cpu *cpu, struct translator *t)
{
	bool cold = t->is_cold;
	uint64_t rip;

	do {
		rip = cpu->rip;
		cold = cold && rip != t->cold; /* still to come */
		interp_execute(cpu);
	} while (t->is_cold && !disturbed(cpu) &&
		 (cpu->rip - rip - 1 < INSN_BYTES_MAX || (cold && cpu->rip == t->cold)));
}

void translated_step(struct cpu *cpu)
{
	struct translator *t = cpu->translator;

	do {
		enum block_context context = context_now(cpu);
		const uint8_t *far = NULL;

		t->is_cold = false;
		if (atomic_load_explicit(&t->stale.some, memory_order_relaxed))
			blocks_forget_stale(t);
		if (cpu->native.remapped)
			blocks_remapped(t);
		if (context != BLOCK_NONE)
			far = blocks_find(t, cpu->rip, context);
		if (far && far != t->gates.interpret && cpu->journal && tandem_due(t)) {
			uint64_t rip = cpu->rip;

			tandem(cpu, far);
			if (cpu->rip != rip)
				continue;
			far = NULL;
		}
		if (!far || far == t->gates.interpret || run(cpu, far))
			interpret(cpu, t);
	} while (!disturbed(cpu));
}
