/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU in the form in which the software engine works on it.
 *
 * Between two instructions the architectural state is whole here: rflags has every
 * flag, rip is the next instruction. While one executes, rip is still its own address
 * and next_rip the one after; a handler that branches changes next_rip. cpu_raise
 * abandons the instruction: the handler must have changed nothing by then that the
 * architecture wants unchanged.
 *
 * Everything belongs to the vCPU's thread, but attention and what stands under it.
 */
#ifndef LODGE_ENGINE_BT_CPU_H
#define LODGE_ENGINE_BT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/x86/cpuid.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode.h"
#include "engine/bt/fpu/fpu.h"

struct vm;
struct tlb;
struct code_cache;
struct translator;
struct journal;
struct decode_memo;

/* How code is interpreted; from CR0.PE, RFLAGS.VM, EFER.LMA and CS. */
enum cpu_mode {
	CPU_REAL,
	CPU_VM86,
	CPU_PROTECTED, /* IA-32 protected mode, 16- or 32-bit code */
	CPU_COMPAT,    /* IA-32e compatibility mode */
	CPU_LONG,      /* 64-bit mode */
};

/* Why the loop has something to look at before the next instruction. */
#define ATTENTION_INTR      (1u << 0) /* the interrupt request of the local APIC is high */
#define ATTENTION_NMI       (1u << 1)
#define ATTENTION_KICK      (1u << 2) /* run() is to return */
#define ATTENTION_EXCLUSIVE (1u << 3) /* runtime/exclusive.h */
/* Set by the vCPU itself: */
#define ATTENTION_SHADOW (1u << 8)  /* interrupts are held off for one instruction */
#define ATTENTION_TRACE  (1u << 9)  /* TF, or a debug register in use: the careful loop */
#define ATTENTION_HALT   (1u << 10) /* HLT, or a state that does not execute */

/* The exception that abandoned an instruction, or is to be delivered. */
struct cpu_exception {
	bool pending;
	uint8_t vector;
	bool has_error;
	uint32_t error;
	uint64_t payload; /* CR2 for #PF; the bits to set in DR6 for #DB */
	bool trap;        /* #DB after the instruction: RF is pushed as it is */
	bool interrupt;   /* none, but an interrupt or NMI whose delivery is begun again */
};

/* What is being delivered: a second exception meanwhile is judged by it. */
struct cpu_delivery {
	bool active;
	uint8_t kind; /* enum deliver_kind, interp/interp.h */
	uint8_t vector;
	bool trap; /* as in struct cpu_exception */
};

/* Events counted. Written by the vCPU's thread (cpu_count), read by any (cpu_counted). */
struct cpu_stats {
	uint64_t exceptions;
	uint64_t interrupts;
	uint64_t halts;
	uint64_t port_accesses;
	uint64_t mmio_accesses;
	uint64_t tlb_fills;
	uint64_t tlb_flushes;
	uint64_t blocks;  /* translated */
	uint64_t links;   /* from one to another */
	uint64_t entries; /* into translated code */
};

/* Which translations are not what they were. */
#define REMAPPED_PAGE  1u /* cpu->native.remapped_page */
#define REMAPPED_LOCAL 2u /* those that are not global */
#define REMAPPED_LOWER 4u /* all of the lower half of the addresses */
#define REMAPPED_UPPER 8u
#define REMAPPED_CODE  16u /* none, but code is to be looked at anew: CR4 */

#define NATIVE_WINDOWS 6
#define NATIVE_BOUNCE  64 /* the longest access */

/* What translated code reads and writes besides the registers (translate/). */
struct cpu_native {
	uint64_t host_sp; /* the stack of who entered translated code */
	uint64_t scratch; /* of one guest instruction */
	uint64_t site; /* the memory access that missed the TLB, and its address: runtime/gates.c */
	uint64_t missed;
	uint32_t epoch[4];    /* of the translations that jumps to other pages rely on: enum
			       * block_zone */
	uint32_t flags;       /* guest flags that are not in the host's: LAHF's AH, and OF in AL;
			       * above these, anything. Stored and loaded with the same width, so
			       * that a load need not wait until a store has reached the cache */
	_Atomic uint8_t poll; /* translated code is to be left; after attention was set */
	uint8_t remapped;     /* REMAPPED_*: addresses may have other translations now */
	uint8_t vectors;      /* VECTORS_*; 0: all of fpu is there, nothing in the host's */
	uint8_t whole; /* BIT(SEG_FS), BIT(SEG_GS): written data segments of 4 GiB, to 32-bit code
			*/
	uint64_t remapped_page;
	uint64_t window[NATIVE_WINDOWS];   /* addresses of the host: translate/access.h */
	uint8_t bounce[2 * NATIVE_BOUNCE]; /* what was read from two pages: runtime/gates.c */
};

/* The guest's vector registers and MXCSR are the host's, as long as translated code runs
 * (runtime/vectors.h), and instructions of that unit may be executed. */
#define VECTORS_SSE   (1u << 0)
#define VECTORS_AVX   (1u << 1)
#define VECTORS_UPPER (1u << 2) /* when they were loaded, upper halves of YMM were not zero */
/* The same of x87 and MMX registers, by themselves (runtime/x87.h). */
#define VECTORS_X87 (1u << 3)
#define VECTORS_XMM (VECTORS_SSE | VECTORS_AVX)

struct cpu {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t next_rip;
	uint64_t rflags;
	_Atomic uint32_t attention;
	struct cpu_native native;

	struct segment seg[SEG_COUNT];
	uint8_t mode;      /* enum cpu_mode */
	uint8_t cpl;       /* 0 in real mode, 3 in virtual-8086 mode */
	uint8_t decode;    /* enum decode_mode */
	uint64_t rip_mask; /* 0xffff, 0xffffffff or all ones */
	uint64_t sp_mask;  /* what part of RSP is the stack pointer: by SS.B, all in 64-bit mode */
	bool amd;          /* behaves as AMD's where the vendors differ */
	bool null_keeps; /* a null selector leaves base and limit of its register: features_apply */
	uint8_t phys_bits; /* MAXPHYADDR */

	jmp_buf unwind; /* cpu_raise goes here */
	struct cpu_exception exception;
	struct cpu_delivery delivering;
	struct tlb *tlb;
	void *tlb_room; /* where the TLB's sets are to lie, or NULL: mmu_init */
	struct code_cache *code;
	uint64_t code_linear; /* page whose instructions code->current has: cpu_forget_code */
	struct vm *vm;
	unsigned id; /* APIC id */

	/* Instead of executing one instruction in the interpreter: translated code
	 * (runtime/step.h). NULL: there is no translator. Called where an instruction would be
	 * executed and nothing traces it. */
	void (*step)(struct cpu *cpu);
	struct translator *translator;
	struct decode_memo *memo; /* NULL: instructions are decoded without */
	struct journal *journal;  /* NULL: nobody asks for one */

	struct segment ldtr;
	struct segment tr;
	struct descriptor_table gdt;
	struct descriptor_table idt;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t pdptr[4];
	uint64_t dr[4], dr6, dr7;
	uint64_t apic_base;
	struct cpu_msrs *msrs; /* the others: interp/msr.h */

	bool shadow_sti;    /* the last instruction held interrupts off */
	bool shadow_mov_ss; /* ... and debug traps too */
	bool shadow_held;   /* MOV SS was the instruction before the one under way */
	bool nmi_pending;   /* taken over from ATTENTION_NMI */
	bool nmi_masked;
	bool halted;
	_Atomic bool unhalted; /* the next HLT is over at once, or the one under way is: a
				* hypercall of another vCPU's, interp/hypercall.c */
	struct {
		uint64_t last, since; /* host TSC: the last PAUSE, and the first of its loop */
	} paused;
	bool partly;           /* part of the instruction under way has been executed for good */
	uint8_t activity;      /* enum vcpu_activity, beside halted */
	uint64_t debug_hits;   /* DR6 bits of data breakpoints that this instruction met */
	uint64_t tsc_offset;   /* guest TSC = host TSC + this */
	uint64_t instructions; /* executed, for statistics and tests: a counter as in stats */
	uint64_t budget;       /* interp_run returns when instructions is this */
	uint64_t repeat_at;    /* cpu_repeating; 0: none */
	struct cpu_stats stats;

	struct cpuid_table cpuid;
	bool features[FEATURE_COUNT]; /* by enum insn_feature, from cpuid */

	struct fpu fpu;
};

/* Abandons the instruction with an exception: a fault, at cpu->rip. Only inside interp_run. */
_Noreturn void cpu_raise(struct cpu *cpu, uint8_t vector);
_Noreturn void cpu_raise_error(struct cpu *cpu, uint8_t vector, uint32_t error);
_Noreturn void cpu_raise_page_fault(struct cpu *cpu, uint64_t linear, uint32_t error);
/* #DB, which sets these bits in DR6; trap: the instruction was done, cpu->rip is past it. */
_Noreturn void cpu_raise_debug(struct cpu *cpu, uint64_t dr6, bool trap);
/* Abandons the instruction without an exception: it is executed again, or, if the handler has set
 * cpu->rip, what is there. */
_Noreturn void cpu_restart(struct cpu *cpu);

/* Sets mode, decode and the masks from the registers; after every change of CS, SS,
 * RFLAGS.VM, CR0.PE or EFER.LMA. cpl is the caller's to set, before. */
void cpu_update_mode(struct cpu *cpu);

/* Sets ATTENTION_TRACE as RFLAGS.TF, RFLAGS.RF and DR7 ask for; after every change of these. */
void cpu_update_trace(struct cpu *cpu);

/* DR7 anew; bits that read as fixed are the caller's. */
void cpu_set_dr7(struct cpu *cpu, uint64_t dr7);

/* The whole of RFLAGS anew, whoever may change it: calls cpu_update_trace where TF changed.
 * RFLAGS.VM is not changed here. */
void cpu_set_rflags(struct cpu *cpu, uint64_t rflags);

/* To and from the engine-neutral state. While the vCPU does not run. 0, or -EINVAL with e set for
 * a state that no processor can be in. */
void cpu_get_state(struct cpu *cpu, struct vcpu_state *state);
int cpu_set_state(struct cpu *cpu, const struct vcpu_state *state, struct err *e);

static inline unsigned cpu_iopl(const struct cpu *cpu)
{
	return (unsigned)(cpu->rflags >> RFLAGS_IOPL_SHIFT & 3);
}

/* Raises attention bits of a vCPU; any thread. */
static inline void cpu_attention(struct cpu *cpu, uint32_t bits)
{
	atomic_fetch_or_explicit(&cpu->attention, bits, memory_order_seq_cst);
	atomic_store_explicit(&cpu->native.poll, 1, memory_order_release);
}

/* Whether the next instruction is a string instruction whose first repetitions have been executed:
 * then an interrupt pushes RF as set (SDM vol. 3B, 18.3.1.1; AMD APM vol. 2, 3.1.6), so that its
 * breakpoint does not come again. */
static inline bool cpu_repeating(const struct cpu *cpu)
{
	return cpu->repeat_at && cpu->repeat_at == cpu->instructions;
}

/* Sets a number of the vCPU's that others read by cpu_counted: whole at any time. */
static inline void cpu_publish(uint64_t *number, uint64_t value)
{
	__atomic_store_n(number, value, __ATOMIC_RELAXED);
}

/* One more of what others count on: no locked instruction. */
static inline void cpu_count(uint64_t *counter)
{
	cpu_publish(counter, *counter + 1);
}

static inline uint64_t cpu_counted(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* IRET: NMIs are taken again, one that came meanwhile at the next boundary. */
static inline void cpu_unmask_nmi(struct cpu *cpu)
{
	cpu->nmi_masked = false;
	if (cpu->nmi_pending)
		cpu_attention(cpu, ATTENTION_NMI);
}

/* The next instruction is looked up by its address anew: after whatever may change where code comes
 * from, or who may execute it: a flush, a change of CPL, mode, CS or paging. */
static inline void cpu_forget_code(struct cpu *cpu)
{
	cpu->code_linear = 1; /* no page begins there */
}

static inline bool cpu_long_active(const struct cpu *cpu)
{
	return cpu->efer & EFER_LMA;
}

#endif
