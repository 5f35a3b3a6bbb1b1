/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delivery of interrupts and exceptions.
 *
 *	real mode: the vector's four bytes in the IVT; FLAGS, CS and IP are pushed
 *	protected: its gate in the IDT
 *	    task gate -> task.c
 *	    same level          EFLAGS CS EIP [error] on the current stack
 *	    inner level         SS ESP EFLAGS CS EIP [error] on the TSS's stack
 *	    from virtual-8086   GS FS DS ES before them; level 0; the four become null
 *	IA-32e: as inner level always, on the stack of TSS or IST, or the current one, aligned
 *	        to 16 bytes
 *
 * Error codes of faults on the way name the selector or vector (bit 1: of the IDT), with EXT unless
 * a program asked by INT n, INT3 or INTO.
 *
 * Sources: Intel SDM vol. 2 (INT n: its pseudo-code has all of this), vol. 3A 6.11 to 6.14, 18.3.1
 * (RF), 20.1.4 (real mode), 20.3.1 (virtual-8086).
 */
#include "engine/bt/interp/gate.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/task.h"

struct event {
	uint8_t vector;
	bool checked; /* the gate's DPL counts */
	bool has_error;
	uint32_t error;
	uint32_t ext;
	uint64_t rip;    /* to return to */
	uint64_t rflags; /* as pushed */
};

/* RF is pushed as set by faults. Of the traps, #BP and #OF come as software interrupts; #DB is a
 * fault with RF only where a debug register was touched. SDM vol. 3A, 18.3.1.1. */
static bool sets_rf(const struct cpu *cpu, uint8_t vector)
{
	switch (vector) {
	case VECTOR_DB:
		return !cpu->delivering.trap && (cpu->exception.payload & DR6_BD);
	case VECTOR_NMI:
	case VECTOR_BP:
	case VECTOR_OF:
	case VECTOR_DF:
	case VECTOR_MC:
		return false;
	default:
		return true;
	}
}

/* Raises vector for the IDT's entry. */
static _Noreturn void raise_idt(struct cpu *cpu, uint8_t vector, const struct event *e)
{
	cpu_raise_error(cpu, vector, (uint32_t)e->vector << 3 | 2 | e->ext);
}

static void write_frame(struct cpu *cpu, const struct frame *f)
{
	frame_probe(cpu, f);
	frame_write(cpu, f);
}

static void arrive(struct cpu *cpu, uint64_t clear_flags)
{
	cpu->rip = cpu->next_rip;
	cpu_set_rflags(cpu, cpu->rflags & ~clear_flags);
}

static void deliver_real(struct cpu *cpu, const struct event *e)
{
	unsigned offset = e->vector * 4;
	uint64_t linear = cpu->idt.base + offset;
	uint16_t selector, ip;
	struct frame f;

	if (offset + 3 > cpu->idt.limit)
		cpu_raise(cpu, VECTOR_GP);
	ip = mmu_system_read(cpu, linear, 2);
	selector = mmu_system_read(cpu, linear + 2, 2);
	frame_on_current(&f, cpu, 2, 0);
	frame_push(&f, e->rflags);
	frame_push(&f, cpu->seg[SEG_CS].selector);
	frame_push(&f, e->rip);
	frame_check(cpu, &f);
	write_frame(cpu, &f);

	cpu->gpr[GPR_RSP] = frame_rsp(&f, cpu->gpr[GPR_RSP]);
	segment_load_real(cpu, SEG_CS, selector);
	cpu_update_mode(cpu);
	cpu->next_rip = ip;
	arrive(cpu, RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
}

static bool gate_type_known(const struct cpu *cpu, unsigned type)
{
	if (type == SYSTEM_INTERRUPT || type == SYSTEM_TRAP)
		return true;
	return !cpu_long_active(cpu) &&
	       (type == SYSTEM_INTERRUPT16 || type == SYSTEM_TRAP16 || type == SYSTEM_TASK_GATE);
}

static void read_gate(struct cpu *cpu, const struct event *e, struct gate *g)
{
	bool ia32e = cpu_long_active(cpu);
	unsigned size = ia32e ? 16 : 8;
	unsigned offset = e->vector * size;
	uint64_t low, high = 0;

	if (offset + size - 1 > cpu->idt.limit)
		raise_idt(cpu, VECTOR_GP, e);
	low = mmu_system_read(cpu, cpu->idt.base + offset, 8);
	if (ia32e)
		high = mmu_system_read(cpu, cpu->idt.base + offset + 8, 8);
	*g = gate_parse(low, high, ia32e);
	if ((low >> 44 & 1) || !gate_type_known(cpu, g->type))
		raise_idt(cpu, VECTOR_GP, e);
	if (e->checked && g->dpl < cpu->cpl)
		raise_idt(cpu, VECTOR_GP, e);
	if (!g->present)
		raise_idt(cpu, VECTOR_NP, e);
}

/* What every frame ends with. */
static void push_return(struct frame *f, const struct cpu *cpu, const struct event *e)
{
	frame_push(f, e->rflags);
	frame_push(f, cpu->seg[SEG_CS].selector);
	frame_push(f, e->rip);
	if (e->has_error)
		frame_push(f, e->error);
}

static void enter(struct cpu *cpu, const struct gate *g, const struct target *t)
{
	bool interrupt = !(g->type & 1);

	cpu->rflags &= ~RFLAGS_VM;
	target_commit(cpu, t);
	arrive(cpu, RFLAGS_TF | RFLAGS_RF | RFLAGS_NT | (interrupt ? RFLAGS_IF : 0));
}

static void enter_same(struct cpu *cpu, const struct gate *g, const struct target *t,
		       const struct event *e)
{
	struct frame f;

	frame_on_current(&f, cpu, g->size, e->ext);
	push_return(&f, cpu, e);
	frame_check(cpu, &f);
	target_check_rip(cpu, t, e->ext);
	descriptor_set_accessed(cpu, &t->code);
	write_frame(cpu, &f);
	cpu->gpr[GPR_RSP] = frame_rsp(&f, cpu->gpr[GPR_RSP]);
	enter(cpu, g, t);
}

static void enter_inner(struct cpu *cpu, const struct gate *g, const struct target *t,
			const struct event *e)
{
	static const uint8_t data_segs[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};
	bool vm86 = cpu->mode == CPU_VM86;
	struct inner_stack s;

	inner_stack_get(cpu, t->cpl, 0, e->ext, &s);
	s.frame.size = g->size;
	for (unsigned i = 0; vm86 && i < ARRAY_LEN(data_segs); i++)
		frame_push(&s.frame, cpu->seg[data_segs[i]].selector);
	frame_push(&s.frame, cpu->seg[SEG_SS].selector);
	frame_push(&s.frame, cpu->gpr[GPR_RSP]);
	push_return(&s.frame, cpu, e);
	frame_check(cpu, &s.frame);
	target_check_rip(cpu, t, e->ext);
	descriptor_set_accessed(cpu, &t->code);
	descriptor_set_accessed(cpu, &s.ss);
	write_frame(cpu, &s.frame);

	for (unsigned i = 0; vm86 && i < ARRAY_LEN(data_segs); i++)
		segment_load_null(cpu, data_segs[i], 0);
	inner_stack_commit(cpu, &s);
	enter(cpu, g, t);
}

/* IA-32e mode: SS and RSP are pushed always, by eight bytes each. Without a change of level SS
 * stays. */
static void enter_long(struct cpu *cpu, const struct gate *g, const struct target *t,
		       const struct event *e)
{
	bool inner = t->cpl != cpu->cpl;
	struct inner_stack s;

	if (inner || g->ist)
		inner_stack_get(cpu, t->cpl, g->ist, e->ext, &s);
	else
		frame_on_flat(&s.frame, cpu->gpr[GPR_RSP], t->cpl, e->ext);
	if (!inner)
		s.segment = cpu->seg[SEG_SS];
	s.frame.sp &= ~15ULL;
	frame_push(&s.frame, cpu->seg[SEG_SS].selector);
	frame_push(&s.frame, cpu->gpr[GPR_RSP]);
	push_return(&s.frame, cpu, e);
	frame_check(cpu, &s.frame);
	target_check_rip(cpu, t, e->ext);
	descriptor_set_accessed(cpu, &t->code);
	write_frame(cpu, &s.frame);

	inner_stack_commit(cpu, &s);
	enter(cpu, g, t);
}

static void deliver_protected(struct cpu *cpu, const struct event *e)
{
	struct target t;
	struct gate g;

	read_gate(cpu, e, &g);
	if (g.type == SYSTEM_TASK_GATE) {
		task_by_event(cpu, g.selector,
			      &(struct task_event){
				      .rip = e->rip,
				      .rflags = e->rflags,
				      .ext = e->ext,
				      .has_error = e->has_error,
				      .error = e->error,
			      });
		return;
	}
	gate_get_code(cpu, &g, e->ext, &t);
	target_check_code(cpu, &t, e->ext);
	/* Virtual-8086 mode is left for level 0 only. */
	if (cpu->mode == CPU_VM86 && t.cpl != 0)
		raise_selector(cpu, VECTOR_GP, g.selector, e->ext);
	if (cpu_long_active(cpu))
		enter_long(cpu, &g, &t, e);
	else if (t.cpl == cpu->cpl)
		enter_same(cpu, &g, &t, e);
	else
		enter_inner(cpu, &g, &t, e);
}

void interp_deliver(struct cpu *cpu, enum deliver_kind kind, uint8_t vector, bool has_error,
		    uint32_t error)
{
	bool soft = kind == DELIVER_SOFT || kind == DELIVER_SOFT_DEBUG;
	struct event e = {
		.vector = vector,
		.checked = kind == DELIVER_SOFT,
		.has_error = has_error,
		.error = error,
		.ext = kind != DELIVER_SOFT,
		.rip = soft ? cpu->next_rip : cpu->rip,
		.rflags = cpu->rflags,
	};

	if ((kind == DELIVER_EXCEPTION && sets_rf(cpu, vector)) ||
	    (kind == DELIVER_INTERRUPT && cpu_repeating(cpu)))
		e.rflags |= RFLAGS_RF;
	cpu->repeat_at = 0; /* the handler's first instruction is another */
	if (cpu->mode == CPU_REAL)
		deliver_real(cpu, &e);
	else
		deliver_protected(cpu, &e);
}
