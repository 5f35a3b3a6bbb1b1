/* SPDX-License-Identifier: Apache-2.0 */
#include "execute.h"

#include <string.h>

#include "base/bits.h"
#include "engine/bt/runtime/gates.h"

#define BUDGET 70000 /* steps that a case may take: a LOOP of CX to itself ends, too */

bool execute_ended(const struct cpu *cpu, const struct ending *e)
{
	if (cpu->cpl != 3 || cpu->rflags & RFLAGS_TF)
		return false;
	if (e->has_rip && cpu->rip == e->rip && cpu->seg[SEG_CS].selector == e->cs)
		return true;
	return cpu->rip == EXIT_ADDR && cpu->mode == CPU_LONG;
}

static enum interp_exit interpret(struct cpu *cpu, const struct ending *e)
{
	enum interp_exit exit = INTERP_BUDGET;

	for (unsigned i = 0; i < BUDGET && exit == INTERP_BUDGET && !execute_ended(cpu, e); i++)
		exit = interp_run(cpu, 1);
	return exit;
}

/* At EXIT_ADDR stands what leaves the host's side, by way of a page that lodge's side does not
 * have: a page fault there is the end. */
static enum interp_exit translate(struct cpu *cpu, const struct ending *e)
{
	if (cpu->decode == DECODE_16)
		return interpret(cpu, e);
	gates_set_base(cpu);
	return interp_run(cpu, 0);
}

static const struct {
	const char *name;
	execute_fn fn;
} executors[] = {
	{"interp", interpret},
	{"translate", translate},
};

execute_fn execute_by(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(executors); i++)
		if (!strcmp(executors[i].name, name))
			return executors[i].fn;
	return NULL;
}
