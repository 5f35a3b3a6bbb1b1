/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The task switch.
 *
 *	check the new TSS's limit; probe all that is going to be read and written
 *	old TSS <- registers; NT clear for IRET      busy of the old task: cleared by JMP, IRET
 *	new TSS <- back link, by CALL and events     busy of the new task: set but by IRET
 *	registers <- new TSS                         NT set by CALL and events
 *	-- committed: what is raised from here on belongs to the new task --
 *	CR3, LDTR, segments; the T flag's debug trap
 *
 * Events (interrupts, exceptions) switch as CALL does. There are no task switches in IA-32e mode.
 * An instruction that switches is not single-stepped: TF of the old task does not count, that of
 * the new one does from its first instruction on.
 *
 * Sources: Intel SDM vol. 3A 7.2 and 7.6 (the TSS), 7.3 (the steps, and table 7-1 of what is
 * checked), 4.4.1 (PAE); vol. 3B 18.3.1.4, 18.3.1.5, 18.4.3 (its footnote: no single step); vol. 2
 * (JMP, CALL, INT n, IRET).
 */
#include "engine/bt/interp/task.h"

#include "engine/bt/interp/frame.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/target.h"

/* Where things lie in a TSS: general registers and selectors are in the order of their numbers. */
struct layout {
	uint8_t size;  /* of a general register, and between two */
	uint8_t limit; /* at least */
	uint8_t ip, flags, gpr, seg, ldt;
	uint8_t segs; /* ES, CS, SS, DS, and here also FS, GS */
};

static const struct layout layout16 = {2, 0x2b, 14, 16, 18, 34, 42, 4};
static const struct layout layout32 = {4, 0x67, 32, 36, 40, 72, 96, 6};

#define TSS32_CR3  28
#define TSS32_TRAP 100
#define TASK_GPRS  8

/* DR7's local breakpoints and LE, which end with the task. */
#define DR7_LOCAL (DR7_L(0) | DR7_L(1) | DR7_L(2) | DR7_L(3) | DR7_LE)

#define RFLAGS_KNOWN                                                                           \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | RFLAGS_IF |   \
	 RFLAGS_DF | RFLAGS_OF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | \
	 RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)

/* A switch under way. */
struct task {
	enum task_source source;
	uint32_t ext;
	uint64_t rip; /* of the old task, to go on there */
	uint64_t rflags;
	struct descriptor tss; /* the new one */
	struct segment tr;     /* what TR will be */
	const struct layout *layout;
};

/* What is read from the new TSS. */
struct task_state {
	uint32_t cr3, eip, eflags;
	uint32_t gpr[TASK_GPRS];
	uint16_t seg[SEG_COUNT];
	uint16_t ldt;
	bool trap;
};

static const struct layout *layout_of(const struct segment *tr)
{
	return tr->attr & 8 ? &layout32 : &layout16;
}

static uint64_t old_descriptor(const struct cpu *cpu)
{
	return cpu->gdt.base + (cpu->tr.selector & ~7u);
}

/* All that may fault before the commit point does so here. */
static void check(struct cpu *cpu, const struct task *t)
{
	const struct layout *old = layout_of(&cpu->tr);
	unsigned first = old->ip;
	unsigned end = old->seg + old->size * old->segs;

	if (t->tr.limit < t->layout->limit)
		raise_selector(cpu, VECTOR_TS, t->tr.selector, t->ext);
	if ((cpu->tr.attr & SEG_ATTR_UNUSABLE) || cpu->tr.limit < end - 1)
		raise_selector(cpu, VECTOR_TS, cpu->tr.selector, t->ext);
	mmu_system_probe(cpu, t->tr.base, t->layout->limit + 1, false);
	mmu_system_probe(cpu, cpu->tr.base + first, end - first, true);
	if (t->source == TASK_CALL)
		mmu_system_probe(cpu, t->tr.base, 2, true);
	else
		mmu_system_probe(cpu, old_descriptor(cpu) + 5, 1, true);
	if (t->source != TASK_IRET)
		mmu_system_probe(cpu, t->tss.linear + 5, 1, true);
}

static void save_old(struct cpu *cpu, const struct task *t)
{
	const struct layout *l = layout_of(&cpu->tr);
	uint64_t base = cpu->tr.base;
	uint64_t rflags = t->rflags & (t->source == TASK_IRET ? ~RFLAGS_NT : UINT64_MAX);

	mmu_system_write(cpu, base + l->ip, l->size, size_cut(t->rip, l->size));
	mmu_system_write(cpu, base + l->flags, l->size, size_cut(rflags, l->size));
	for (unsigned n = 0; n < TASK_GPRS; n++)
		mmu_system_write(cpu, base + l->gpr + n * l->size, l->size,
				 size_cut(cpu->gpr[n], l->size));
	for (unsigned n = 0; n < l->segs; n++)
		mmu_system_write(cpu, base + l->seg + n * l->size, 2, cpu->seg[n].selector);
}

static void mark(struct cpu *cpu, const struct task *t)
{
	if (t->source == TASK_CALL)
		mmu_system_write(cpu, t->tr.base, 2, cpu->tr.selector);
	else
		descriptor_set_busy(cpu, old_descriptor(cpu), false);
	if (t->source != TASK_IRET)
		descriptor_set_busy(cpu, t->tss.linear, true);
}

static void read_new(struct cpu *cpu, const struct task *t, struct task_state *s)
{
	const struct layout *l = t->layout;
	uint64_t base = t->tr.base;

	*s = (struct task_state){0};
	s->eip = mmu_system_read(cpu, base + l->ip, l->size);
	s->eflags = mmu_system_read(cpu, base + l->flags, l->size);
	for (unsigned n = 0; n < TASK_GPRS; n++) {
		s->gpr[n] = mmu_system_read(cpu, base + l->gpr + n * l->size, l->size);
		if (l->size == 2) /* what processors leave in the upper halves */
			s->gpr[n] |= 0xffff0000;
	}
	for (unsigned n = 0; n < l->segs; n++)
		s->seg[n] = mmu_system_read(cpu, base + l->seg + n * l->size, 2);
	s->ldt = mmu_system_read(cpu, base + l->ldt, 2);
	if (l->size == 4) {
		s->cr3 = mmu_system_read(cpu, base + TSS32_CR3, 4);
		s->trap = mmu_system_read(cpu, base + TSS32_TRAP, 1) & 1;
	}
}

/* The commit point: the processor is in the new task, its segments not loaded yet. */
static void become(struct cpu *cpu, const struct task *t, const struct task_state *s)
{
	uint64_t rflags = s->eflags & RFLAGS_KNOWN;

	if (t->source == TASK_CALL)
		rflags |= RFLAGS_NT;
	cpu->tr = t->tr;
	cpu->cr0 |= CR0_TS;
	cpu_set_dr7(cpu, cpu->dr7 & ~DR7_LOCAL);
	cpu->rip = s->eip;
	cpu->next_rip = s->eip;
	for (unsigned n = 0; n < TASK_GPRS; n++)
		cpu->gpr[n] = s->gpr[n];
	for (unsigned n = 0; n < SEG_COUNT; n++) {
		cpu->seg[n] = segment_null();
		cpu->seg[n].selector = s->seg[n];
	}
	cpu->ldtr = segment_null();
	cpu->ldtr.selector = s->ldt;
	cpu->rflags = (cpu->rflags & ~RFLAGS_VM) | (rflags & RFLAGS_VM);
	cpu_set_rflags(cpu, rflags);
	cpu->cpl = rflags & RFLAGS_VM ? 3 : s->seg[SEG_CS] & SELECTOR_RPL;
	cpu_update_mode(cpu);
	if (t->source == TASK_IRET)
		cpu_unmask_nmi(cpu);
}

static void load_cr3(struct cpu *cpu, uint32_t cr3)
{
	const struct mmu_control old = {cpu->cr0, cpu->cr3, cpu->cr4, cpu->efer};

	if (!(cpu->cr0 & CR0_PG) || cr3 == cpu->cr3)
		return;
	if ((cpu->cr4 & CR4_PAE) && !mmu_load_pdptr(cpu, cr3, cpu->pdptr))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	cpu->cr3 = cr3;
	mmu_control_changed(cpu, &old, false);
}

static void load_ldt(struct cpu *cpu, uint16_t selector, uint32_t ext)
{
	struct descriptor d;

	if (selector & SELECTOR_LOCAL)
		raise_selector(cpu, VECTOR_TS, selector, ext);
	if (selector_null(selector))
		return;
	descriptor_get(cpu, selector, VECTOR_TS, ext, &d);
	if (descriptor_is_segment(&d) || descriptor_type(&d) != SYSTEM_LDT ||
	    !descriptor_present(&d))
		raise_selector(cpu, VECTOR_TS, selector, ext);
	cpu->ldtr = descriptor_segment(&d);
}

static void load_code(struct cpu *cpu, uint16_t selector, uint32_t ext)
{
	unsigned rpl = selector & SELECTOR_RPL;
	struct descriptor d;
	bool allowed;

	descriptor_get(cpu, selector, VECTOR_TS, ext, &d);
	allowed = descriptor_conforming(&d) ? descriptor_dpl(&d) <= rpl : descriptor_dpl(&d) == rpl;
	if (!descriptor_is_code(&d) || !allowed)
		raise_selector(cpu, VECTOR_TS, selector, ext);
	if (!descriptor_present(&d))
		raise_selector(cpu, VECTOR_NP, selector, ext);
	descriptor_set_accessed(cpu, &d);
	cpu->seg[SEG_CS] = descriptor_segment(&d);
}

static void load_segments(struct cpu *cpu, const struct task_state *s, uint32_t ext)
{
	static const uint8_t data_segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};
	struct descriptor d;

	load_code(cpu, s->seg[SEG_CS], ext);
	cpu_update_mode(cpu);
	descriptor_get_stack(cpu, s->seg[SEG_SS], cpu->cpl, VECTOR_TS, ext, &d);
	descriptor_set_accessed(cpu, &d);
	cpu->seg[SEG_SS] = descriptor_segment(&d);
	cpu_update_mode(cpu);
	for (unsigned n = 0; n < ARRAY_LEN(data_segs); n++) {
		uint16_t selector = s->seg[data_segs[n]];

		if (selector_null(selector))
			continue;
		descriptor_get_data(cpu, selector, cpu->cpl, VECTOR_TS, ext, &d);
		descriptor_set_accessed(cpu, &d);
		cpu->seg[data_segs[n]] = descriptor_segment(&d);
	}
}

/* In the new task: what its TSS names is loaded. */
static void load_new(struct cpu *cpu, const struct task *t, const struct task_state *s)
{
	if (t->layout->size == 4)
		load_cr3(cpu, s->cr3);
	load_ldt(cpu, s->ldt, t->ext);
	if (cpu->rflags & RFLAGS_VM) {
		for (unsigned n = 0; n < SEG_COUNT; n++)
			segment_load_real(cpu, n, s->seg[n]);
		cpu_update_mode(cpu);
	} else {
		load_segments(cpu, s, t->ext);
	}
}

/* The error code of the exception that the new task is to handle. */
static void push_error(struct cpu *cpu, const struct task *t, uint32_t error)
{
	struct frame f;

	frame_on_current(&f, cpu, t->layout->size, t->ext);
	frame_push(&f, error);
	frame_check(cpu, &f);
	frame_probe(cpu, &f);
	frame_write(cpu, &f);
	cpu->gpr[GPR_RSP] = frame_rsp(&f, cpu->gpr[GPR_RSP]);
}

/* The traps of an instruction that has switched: the new task's T flag, and data breakpoints that
 * it met. The loop is left, since it goes by the old task's TF. */
static void trap(struct cpu *cpu, const struct task *t, bool task_trap)
{
	uint64_t hits = cpu->debug_hits | (task_trap ? DR6_BT : 0);

	if (!hits && !(t->rflags & RFLAGS_TF))
		return;
	cpu_count(&cpu->instructions);
	if (hits)
		cpu_raise_debug(cpu, hits, true);
	cpu_restart(cpu);
}

/* t->tss is checked; event: NULL for instructions. */
static void switch_task(struct cpu *cpu, struct task *t, const struct task_event *event)
{
	struct task_state s;

	t->tr = descriptor_segment(&t->tss);
	t->tr.attr |= 2; /* busy */
	t->layout = layout_of(&t->tr);
	check(cpu, t);
	save_old(cpu, t);
	mark(cpu, t);
	read_new(cpu, t, &s);

	become(cpu, t, &s);
	load_new(cpu, t, &s);
	if (event && event->has_error)
		push_error(cpu, t, event->error);
	if (cpu->rip > cpu->seg[SEG_CS].limit)
		cpu_raise_error(cpu, VECTOR_GP, t->ext);
	if (!event)
		trap(cpu, t, s.trap);
	else if (s.trap)
		cpu_raise_debug(cpu, DR6_BT, true);
}

/* The descriptor of a TSS in the GDT that is available (or busy): bad where it is not, #NP where
 * it is not present. */
static void get_tss(struct cpu *cpu, uint16_t selector, bool busy, uint8_t bad, struct task *t)
{
	unsigned type;

	if (selector & SELECTOR_LOCAL)
		raise_selector(cpu, bad, selector, t->ext);
	descriptor_get(cpu, selector, bad, t->ext, &t->tss);
	type = descriptor_type(&t->tss) & ~8u;
	if (descriptor_is_segment(&t->tss) || type != (busy ? SYSTEM_TSS16_BUSY : SYSTEM_TSS16))
		raise_selector(cpu, bad, selector, t->ext);
	if (!descriptor_present(&t->tss))
		raise_selector(cpu, VECTOR_NP, selector, t->ext);
}

static struct task task_here(const struct cpu *cpu, enum task_source source)
{
	return (struct task){.source = source, .rip = cpu->next_rip, .rflags = cpu->rflags};
}

/* DPL is a task gate's or TSS's; of its selector. */
static void check_privilege(struct cpu *cpu, const struct descriptor *d)
{
	unsigned rpl = d->selector & SELECTOR_RPL;

	if (descriptor_dpl(d) < cpu->cpl || descriptor_dpl(d) < rpl)
		raise_selector(cpu, VECTOR_GP, d->selector, 0);
}

void task_by_selector(struct cpu *cpu, const struct descriptor *tss, enum task_source source)
{
	struct task t = task_here(cpu, source);

	check_privilege(cpu, tss);
	get_tss(cpu, tss->selector, false, VECTOR_GP, &t);
	switch_task(cpu, &t, NULL);
}

void task_by_gate(struct cpu *cpu, const struct descriptor *gate, enum task_source source)
{
	struct task t = task_here(cpu, source);

	check_privilege(cpu, gate);
	if (!descriptor_present(gate))
		raise_selector(cpu, VECTOR_NP, gate->selector, 0);
	get_tss(cpu, gate->low >> 16, false, VECTOR_GP, &t);
	switch_task(cpu, &t, NULL);
}

void task_return(struct cpu *cpu)
{
	struct task t = task_here(cpu, TASK_IRET);

	get_tss(cpu, mmu_system_read(cpu, cpu->tr.base, 2), true, VECTOR_TS, &t);
	switch_task(cpu, &t, NULL);
}

void task_by_event(struct cpu *cpu, uint16_t selector, const struct task_event *event)
{
	struct task t = {
		.source = TASK_CALL,
		.ext = event->ext,
		.rip = event->rip,
		.rflags = event->rflags,
	};

	get_tss(cpu, selector, false, VECTOR_GP, &t);
	switch_task(cpu, &t, event);
}
