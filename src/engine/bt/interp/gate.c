/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/interp/gate.h"

#include "engine/bt/interp/operand.h"

/* Offsets in a TSS (SDM vol. 3A figures 7-2, 7-10 and 7-11). */
#define TSS16_SP(level) (2 + 4 * (level))
#define TSS32_SP(level) (4 + 8 * (level))
#define TSS64_SP(level) (4 + 8 * (level))
#define TSS64_IST(n)    (0x24 + 8 * ((n)-1))

struct gate gate_parse(uint64_t low, uint64_t high, bool ia32e)
{
	struct gate g = {
		.selector = low >> 16,
		.offset = (low & 0xffff) | (low >> 48) << 16,
		.type = low >> 40 & 0xf,
		.dpl = low >> 45 & 3,
		.size = 4,
		.params = low >> 32 & 0x1f,
		.present = low >> 47 & 1,
	};

	if (ia32e) {
		g.offset |= high << 32;
		g.size = 8;
		g.ist = low >> 32 & 7;
		g.params = 0;
	} else if (!(g.type & 8)) {
		g.offset &= 0xffff;
		g.size = 2;
	}
	return g;
}

void gate_get_code(struct cpu *cpu, const struct gate *g, uint32_t ext, struct target *t)
{
	if (selector_null(g->selector))
		cpu_raise_error(cpu, VECTOR_GP, ext);
	descriptor_get(cpu, g->selector, VECTOR_GP, ext, &t->code);
	if (!descriptor_is_code(&t->code) || descriptor_dpl(&t->code) > cpu->cpl)
		raise_selector(cpu, VECTOR_GP, g->selector, ext);
	/* In IA-32e mode gates lead to 64-bit code only. */
	if (cpu_long_active(cpu) && !descriptor_long(&t->code))
		raise_selector(cpu, VECTOR_GP, g->selector, ext);
	t->rip = g->offset;
	t->cpl = descriptor_conforming(&t->code) ? cpu->cpl : descriptor_dpl(&t->code);
}

/* Whether the TSS has len bytes at offset, else #TS. */
static uint64_t tss_linear(struct cpu *cpu, unsigned offset, unsigned len, uint32_t ext)
{
	if ((cpu->tr.attr & SEG_ATTR_UNUSABLE) || offset + len - 1 > cpu->tr.limit)
		raise_selector(cpu, VECTOR_TS, cpu->tr.selector, ext);
	return cpu->tr.base + offset;
}

static void inner_stack_long(struct cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext,
			     struct inner_stack *s)
{
	unsigned offset = ist ? TSS64_IST(ist) : TSS64_SP(cpl);
	uint64_t rsp = mmu_system_read(cpu, tss_linear(cpu, offset, 8, ext), 8);

	if (!linear_canonical(cpu, rsp))
		cpu_raise_error(cpu, VECTOR_SS, ext);
	frame_on_flat(&s->frame, rsp, cpl, ext);
	s->segment = segment_null_stack(cpl, cpl);
}

static void inner_stack_legacy(struct cpu *cpu, unsigned cpl, uint32_t ext, struct inner_stack *s)
{
	bool wide = cpu->tr.attr & 8;
	uint16_t selector;
	uint64_t linear;
	uint32_t esp;

	if (wide) {
		linear = tss_linear(cpu, TSS32_SP(cpl), 6, ext);
		esp = mmu_system_read(cpu, linear, 4);
		selector = mmu_system_read(cpu, linear + 4, 2);
	} else {
		linear = tss_linear(cpu, TSS16_SP(cpl), 4, ext);
		esp = mmu_system_read(cpu, linear, 2);
		selector = mmu_system_read(cpu, linear + 2, 2);
	}
	if (selector_null(selector))
		cpu_raise_error(cpu, VECTOR_TS, ext);
	descriptor_get_stack(cpu, selector, cpl, VECTOR_TS, ext, &s->ss);
	s->segment = descriptor_segment(&s->ss);
	frame_on_segment(&s->frame, &s->segment, esp, (selector & ~SELECTOR_RPL) | ext);
}

void inner_stack_get(struct cpu *cpu, unsigned cpl, unsigned ist, uint32_t ext,
		     struct inner_stack *s)
{
	if (cpu_long_active(cpu))
		inner_stack_long(cpu, cpl, ist, ext, s);
	else
		inner_stack_legacy(cpu, cpl, ext, s);
}

void inner_stack_commit(struct cpu *cpu, const struct inner_stack *s)
{
	cpu->gpr[GPR_RSP] = frame_rsp(&s->frame, cpu->gpr[GPR_RSP]);
	cpu->seg[SEG_SS] = s->segment;
}

/* CALL to the same level, or JMP. */
static void transfer_same(struct cpu *cpu, const struct gate *g, const struct target *t, bool call)
{
	struct frame f;

	if (call) {
		if (g->size == 8)
			frame_on_flat(&f, cpu->gpr[GPR_RSP], cpu->cpl, 0);
		else
			frame_on_current(&f, cpu, g->size, 0);
		frame_push(&f, cpu->seg[SEG_CS].selector);
		frame_push(&f, cpu->next_rip);
		frame_check(cpu, &f);
	}
	target_check_rip(cpu, t, 0);
	descriptor_set_accessed(cpu, &t->code);
	if (call) {
		frame_probe(cpu, &f);
		frame_write(cpu, &f);
		cpu->gpr[GPR_RSP] = frame_rsp(&f, cpu->gpr[GPR_RSP]);
	}
	target_commit(cpu, t);
}

/* CALL to an inner level: parameters move from the old stack to the new one. */
static void transfer_inner(struct cpu *cpu, const struct gate *g, const struct target *t)
{
	struct inner_stack s;
	struct frame *f = &s.frame;

	inner_stack_get(cpu, t->cpl, 0, 0, &s);
	f->size = g->size;
	frame_push(f, cpu->seg[SEG_SS].selector);
	frame_push(f, cpu->gpr[GPR_RSP]);
	for (unsigned n = g->params; n > 0; n--)
		frame_push(f, stack_peek(cpu, (n - 1) * g->size, g->size));
	frame_push(f, cpu->seg[SEG_CS].selector);
	frame_push(f, cpu->next_rip);
	frame_check(cpu, f);
	target_check_rip(cpu, t, 0);
	descriptor_set_accessed(cpu, &t->code);
	if (g->size != 8)
		descriptor_set_accessed(cpu, &s.ss);
	frame_probe(cpu, f);
	frame_write(cpu, f);
	inner_stack_commit(cpu, &s);
	target_commit(cpu, t);
}

void gate_transfer(struct cpu *cpu, struct descriptor *d, bool call)
{
	bool ia32e = cpu_long_active(cpu);
	unsigned rpl = d->selector & SELECTOR_RPL;
	struct target t;
	struct gate g;

	if (ia32e && !descriptor_extend(cpu, d))
		raise_selector(cpu, VECTOR_GP, d->selector, 0);
	g = gate_parse(d->low, d->high, ia32e);
	if (g.dpl < cpu->cpl || g.dpl < rpl)
		raise_selector(cpu, VECTOR_GP, d->selector, 0);
	if (!g.present)
		raise_selector(cpu, VECTOR_NP, d->selector, 0);
	gate_get_code(cpu, &g, 0, &t);
	if (!call && t.cpl != cpu->cpl) /* JMP changes no level */
		raise_selector(cpu, VECTOR_GP, g.selector, 0);
	target_check_code(cpu, &t, 0);
	if (t.cpl == cpu->cpl)
		transfer_same(cpu, &g, &t, call);
	else
		transfer_inner(cpu, &g, &t);
}
