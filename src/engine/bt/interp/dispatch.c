/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bits.h"
#include "engine/bt/interp/handlers.h"

/* An instruction that this processor does not have. */
static void undefined(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	cpu_raise(cpu, VECTOR_UD);
}

interp_fn interp_find(const struct interp_entry *entries, unsigned count, unsigned op)
{
	for (unsigned i = 0; i < count; i++)
		if (entries[i].op == op)
			return entries[i].fn;
	return NULL;
}

interp_fn interp_handler(const struct cpu *cpu, const struct insn *insn)
{
	interp_fn (*const groups[])(const struct insn *) = {
		interp_move,    interp_arithmetic, interp_branch, interp_bit,
		interp_atomic,  interp_string,     interp_port,   interp_far,
		interp_segment, interp_system,     interp_vector,
	};

	if (!cpu->features[insn->feature])
		return undefined;
	for (unsigned i = 0; i < ARRAY_LEN(groups); i++) {
		interp_fn fn = groups[i](insn);

		if (fn)
			return fn;
	}
	return undefined;
}
