/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/interp/target.h"

#include "engine/bt/interp/operand.h"

void target_check_code(struct cpu *cpu, const struct target *t, uint32_t ext)
{
	if (target_is_long(cpu, t) && descriptor_big(&t->code))
		raise_selector(cpu, VECTOR_GP, t->code.selector, ext);
	if (!descriptor_present(&t->code))
		raise_selector(cpu, VECTOR_NP, t->code.selector, ext);
}

void target_check_rip(struct cpu *cpu, const struct target *t, uint32_t ext)
{
	bool fits = target_is_long(cpu, t) ? linear_canonical(cpu, t->rip)
					   : t->rip <= descriptor_segment(&t->code).limit;

	if (!fits)
		cpu_raise_error(cpu, VECTOR_GP, ext);
}

void target_commit(struct cpu *cpu, const struct target *t)
{
	cpu->seg[SEG_CS] = descriptor_segment(&t->code);
	cpu->seg[SEG_CS].selector = (t->code.selector & ~SELECTOR_RPL) | t->cpl;
	cpu->cpl = t->cpl;
	cpu->next_rip = t->rip;
	cpu_update_mode(cpu);
}

void return_get_code(struct cpu *cpu, uint16_t selector, struct target *t)
{
	unsigned rpl = selector & SELECTOR_RPL;
	unsigned dpl;
	bool allowed;

	if (selector_null(selector))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	descriptor_get(cpu, selector, VECTOR_GP, 0, &t->code);
	dpl = descriptor_dpl(&t->code);
	allowed = descriptor_conforming(&t->code) ? dpl <= rpl : dpl == rpl;
	if (!descriptor_is_code(&t->code) || rpl < cpu->cpl || !allowed)
		raise_selector(cpu, VECTOR_GP, selector, 0);
	target_check_code(cpu, t, 0);
	t->cpl = rpl;
}

void return_get_stack(struct cpu *cpu, uint16_t selector, const struct target *t,
		      struct return_stack *s)
{
	s->selector = selector;
	s->null = selector_null(selector);
	if (!s->null)
		descriptor_get_stack(cpu, selector, t->cpl, VECTOR_GP, 0, &s->ss);
	else if (!target_is_long(cpu, t) || t->cpl == 3)
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* A data segment of an inner level must not stay usable further out. */
static void drop_inner_segments(struct cpu *cpu)
{
	static const uint8_t segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned i = 0; i < ARRAY_LEN(segs); i++) {
		const struct segment *s = &cpu->seg[segs[i]];
		bool conforming = (s->attr & 0xc) == 0xc;

		if (!(s->attr & SEG_ATTR_UNUSABLE) && !conforming &&
		    (s->attr >> SEG_ATTR_DPL_SHIFT & 3) < cpu->cpl)
			segment_load_null(cpu, segs[i], 0);
	}
}

void return_commit(struct cpu *cpu, const struct return_stack *s, unsigned from)
{
	if (s->null)
		cpu->seg[SEG_SS] = segment_null_stack(s->selector, cpu->cpl);
	else
		cpu->seg[SEG_SS] = descriptor_segment(&s->ss);
	cpu_update_mode(cpu);
	stack_set(cpu, s->rsp);
	if (cpu->cpl > from)
		drop_inner_segments(cpu);
}
