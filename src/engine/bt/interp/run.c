/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter's loop.
 *
 *	    +--------------------------------------------------------------+
 *	    v                                                              |
 *	boundary: exception to deliver, attention (kick, traps,            |
 *	    |     NMI, interrupt) -- in the order of SDM vol. 3A table 6-2 |
 *	    v                                                              |
 *	fetch (code_cache.h) -> handler -> rip = next_rip -----------------+
 *
 * A raised exception comes back through setjmp at the top and is delivered at the next
 * boundary. While it is delivered, cpu->delivering holds what it is, so that a second one
 * raised meanwhile makes a double fault or shutdown of the two (SDM vol. 3A table 6-5).
 *
 * Where TF, RF or a debug register is in use, an instruction takes the careful way
 * (execute_traced): breakpoints before it, traps after it.
 */
#include <assert.h>

#include "core/x86/msr.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define NO_BUDGET       UINT64_MAX
#define DR6_BREAKPOINTS (DR6_B(0) | DR6_B(1) | DR6_B(2) | DR6_B(3))

/* SDM vol. 3A table 6-4; page faults stand by themselves. */
static bool contributory(uint8_t vector)
{
	return vector == VECTOR_DE || (vector >= VECTOR_TS && vector <= VECTOR_GP) ||
	       vector == VECTOR_CP;
}

/* What first and second together are: second itself, a double fault, or shutdown (false). */
static bool combine(const struct cpu_delivery *first, struct cpu_exception *second)
{
	bool second_grave = contributory(second->vector) || second->vector == VECTOR_PF;
	bool together = false;

	if (first->kind != DELIVER_EXCEPTION)
		return true;
	if (first->vector == VECTOR_DF && second_grave)
		return false;
	if (contributory(first->vector))
		together = contributory(second->vector);
	else if (first->vector == VECTOR_PF)
		together = second_grave;
	if (together)
		*second = (struct cpu_exception){
			.pending = true,
			.vector = VECTOR_DF,
			.has_error = true,
		};
	return true;
}

static void deliver_interrupt(struct cpu *cpu, uint8_t vector)
{
	cpu->halted = false;
	cpu->delivering = (struct cpu_delivery){
		.active = true,
		.kind = DELIVER_INTERRUPT,
		.vector = vector,
	};
	cpu_count(&cpu->stats.interrupts);
	interp_deliver(cpu, DELIVER_INTERRUPT, vector, false, 0);
	cpu->delivering.active = false;
}

/* Delivers the exception that was raised; false: shutdown. */
static bool deliver_exception(struct cpu *cpu)
{
	struct cpu_exception x = cpu->exception;

	cpu->exception.pending = false;
	if (x.interrupt) {
		deliver_interrupt(cpu, x.vector);
		return true;
	}
	if (x.vector == VECTOR_PF)
		cpu->cr2 = x.payload;
	if (x.vector == VECTOR_DB)
		cpu->dr6 = (cpu->dr6 & ~(x.payload ? DR6_BREAKPOINTS : 0)) | x.payload;
	cpu->halted = false; /* HLT that was single-stepped */
	if (cpu->delivering.active && !combine(&cpu->delivering, &x)) {
		cpu->exception = x; /* for whoever tells of the shutdown */
		return false;
	}
	cpu->delivering = (struct cpu_delivery){
		.active = true,
		.kind = DELIVER_EXCEPTION,
		.vector = x.vector,
		.trap = x.trap,
	};
	cpu_count(&cpu->stats.exceptions);
	if (cpu->budget != NO_BUDGET && cpu->budget > cpu->instructions)
		cpu->budget--; /* a handler that faults at once executes no instruction */
	/* A debugger's handler is not to be debugged by the breakpoint that called it. */
	if (x.vector == VECTOR_DB) {
		cpu_set_dr7(cpu, cpu->dr7 & ~DR7_GD);
		cpu->msrs->debugctl &= ~DEBUGCTL_BTF; /* it is set anew for each step */
	}
	interp_deliver(cpu, DELIVER_EXCEPTION, x.vector, x.has_error, x.error);
	cpu->delivering.active = false;
	return true;
}

/* Other threads' wishes that have nothing to do with guest state. */
static void serve_others(struct cpu *cpu, uint32_t attention)
{
	if (!(attention & ATTENTION_EXCLUSIVE))
		return;
	atomic_fetch_and(&cpu->attention, ~ATTENTION_EXCLUSIVE);
	exclusive_leave(cpu);
	exclusive_enter(cpu);
}

/* NMI, then maskable interrupts; whether one was taken. */
static bool take_interrupt(struct cpu *cpu)
{
	const struct engine_env *env = cpu->vm->env;
	uint32_t attention = atomic_load(&cpu->attention);

	if (cpu->shadow_mov_ss)
		return false;
	if (attention & ATTENTION_NMI) {
		atomic_fetch_and(&cpu->attention, ~ATTENTION_NMI);
		cpu->nmi_pending = true; /* while masked: until cpu_unmask_nmi */
	}
	if (cpu->nmi_pending && !cpu->nmi_masked) {
		cpu->nmi_pending = false;
		cpu->nmi_masked = true;
		deliver_interrupt(cpu, VECTOR_NMI);
		return true;
	}
	if ((attention & ATTENTION_INTR) && (cpu->rflags & RFLAGS_IF) && !cpu->shadow_sti) {
		deliver_interrupt(cpu, env->intack(env->opaque, cpu->id));
		return true;
	}
	return false;
}

/* The processor is in a state that no instruction leaves. */
static bool waits(struct cpu *cpu)
{
	if (cpu->halted && atomic_exchange(&cpu->unhalted, false))
		cpu->halted = false;
	return cpu->halted || cpu->activity == VCPU_WAIT_INIT || cpu->activity == VCPU_WAIT_SIPI;
}

/* Instructions go on after what stands in attention; else why not. */
static enum interp_exit attend(struct cpu *cpu, uint32_t attention)
{
	serve_others(cpu, attention);
	if (attention & ATTENTION_KICK) {
		atomic_fetch_and(&cpu->attention, ~ATTENTION_KICK);
		return INTERP_KICKED;
	}
	if (cpu->activity != VCPU_WAIT_INIT && cpu->activity != VCPU_WAIT_SIPI &&
	    take_interrupt(cpu))
		return INTERP_GOES_ON;
	if (waits(cpu))
		return INTERP_HALTED;
	atomic_fetch_and(&cpu->attention, ~ATTENTION_HALT);
	/* The shadow was for this boundary. */
	if (attention & ATTENTION_SHADOW) {
		atomic_fetch_and(&cpu->attention, ~ATTENTION_SHADOW);
		cpu->shadow_held = cpu->shadow_mov_ss;
		cpu->shadow_sti = false;
		cpu->shadow_mov_ss = false;
	}
	return INTERP_GOES_ON;
}

/* Instruction breakpoints at rip: DR6 bits. */
static uint64_t code_breakpoints(const struct cpu *cpu)
{
	uint64_t linear = cpu->rip + (cpu->mode == CPU_LONG ? 0 : cpu->seg[SEG_CS].base);
	uint64_t hits = 0;

	if (cpu->mode != CPU_LONG)
		linear = (uint32_t)linear;
	for (unsigned n = 0; n < 4; n++) {
		bool enabled = cpu->dr7 & (DR7_L(n) | DR7_G(n));
		unsigned type = cpu->dr7 >> (16 + 4 * n) & 3;

		if (enabled && type == 0 && cpu->dr[n] == linear)
			hits |= DR6_B(n);
	}
	return hits;
}

static inline const struct insn *execute(struct cpu *cpu)
{
	const struct code *code = code_fetch(cpu);

	cpu->next_rip = (cpu->rip + code->insn.len) & cpu->rip_mask;
	code->fn(cpu, &code->insn);
	cpu->rip = cpu->next_rip;
	cpu_count(&cpu->instructions);
	return &code->insn;
}

/* Whether the instruction, executed at rip, was a branch that was taken. (A conditional one to the
 * instruction after it counts as not taken.) */
static bool branched(const struct cpu *cpu, const struct insn *insn, uint64_t rip)
{
	switch (insn->op) {
	case OP_JMP:
	case OP_CALL:
	case OP_RET:
	case OP_JMP_FAR:
	case OP_CALL_FAR:
	case OP_RET_FAR:
	case OP_IRET:
	case OP_IRETD:
	case OP_IRETQ:
	case OP_SYSCALL:
	case OP_SYSRET:
	case OP_SYSENTER:
	case OP_SYSEXIT:
		return true;
	case OP_JCC:
	case OP_LOOP:
	case OP_LOOPE:
	case OP_LOOPNE:
	case OP_JCXZ:
	case OP_JECXZ:
	case OP_JRCXZ:
		return cpu->rip != ((rip + insn->len) & cpu->rip_mask);
	default:
		return false; /* INT n and the like leave the loop, with TF clear */
	}
}

void interp_execute(struct cpu *cpu)
{
	execute(cpu);
}

/* One instruction with breakpoints before it and traps after it. */
static void execute_traced(struct cpu *cpu)
{
	bool step = cpu->rflags & RFLAGS_TF;
	bool by_branches = cpu->msrs->debugctl & DEBUGCTL_BTF;
	uint64_t hits, rip = cpu->rip;
	const struct insn *insn;

	if (!(cpu->rflags & RFLAGS_RF)) {
		hits = code_breakpoints(cpu);
		/* MOV SS holds breakpoints of the next instruction off, too. */
		if (hits && !cpu->shadow_held)
			cpu_raise_debug(cpu, hits, false);
	}
	if (!cpu->shadow_held) /* else they are of MOV SS */
		cpu->debug_hits = 0;
	cpu->shadow_held = false;
	cpu_set_rflags(cpu, cpu->rflags & ~RFLAGS_RF);
	insn = execute(cpu);
	if (by_branches)
		step = step && branched(cpu, insn, rip);
	hits = cpu->debug_hits | (step ? DR6_BS : 0);
	cpu->debug_hits = 0;
	if (hits && cpu->shadow_mov_ss)
		cpu->debug_hits = hits & ~DR6_BS; /* data breakpoints come with the next */
	else if (hits)
		cpu_raise_debug(cpu, hits, true);
}

/* Traps of the part of an instruction that was executed come in lieu of the fault of the rest (SDM
 * vol. 2, VGATHERDPS). */
static void trap_partly(struct cpu *cpu)
{
	bool step = cpu->rflags & RFLAGS_TF && !(cpu->msrs->debugctl & DEBUGCTL_BTF);
	uint64_t hits = cpu->debug_hits | (step ? DR6_BS : 0);

	cpu->partly = false;
	cpu->debug_hits = 0;
	if (cpu->exception.pending && hits)
		cpu_raise_debug(cpu, hits, true);
}

/* What others want, as of now. Translated code has been left for it. */
static uint32_t attention_now(struct cpu *cpu)
{
	if (atomic_load_explicit(&cpu->native.poll, memory_order_relaxed))
		atomic_exchange(&cpu->native.poll, 0); /* before attention is read */
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed);
}

static enum interp_exit loop(struct cpu *cpu)
{
	const bool translated = cpu->step && cpu->budget == NO_BUDGET;

	if (cpu->partly)
		trap_partly(cpu);
	if (cpu->exception.pending && !deliver_exception(cpu))
		return INTERP_SHUTDOWN;
	for (;;) {
		uint32_t attention = attention_now(cpu);

		if (cpu->instructions >= cpu->budget)
			return INTERP_BUDGET;
		if (!attention) {
			if (translated)
				cpu->step(cpu);
			else
				execute(cpu);
			continue;
		}
		if (attention & ~ATTENTION_TRACE) {
			enum interp_exit exit = attend(cpu, attention);

			if (exit != INTERP_GOES_ON)
				return exit;
		}
		if (atomic_load(&cpu->attention) & ATTENTION_TRACE)
			execute_traced(cpu);
		else if (translated && !(attention & ATTENTION_SHADOW)) /* one, after a shadow */
			cpu->step(cpu);
		else
			execute(cpu);
	}
}

enum interp_exit interp_run(struct cpu *cpu, uint64_t budget)
{
	cpu->budget = budget ? cpu->instructions + budget : NO_BUDGET;
	cpu->delivering.active = false;
	/* Raised exceptions come back here, with cpu->exception telling of them; an abandoned
	 * instruction leaves nothing in a local variable that loop() would need. */
	_setjmp(cpu->unwind);
	return loop(cpu);
}
