/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast ways into a kernel and back, and the bases that go with them.
 *
 * Intel has SYSCALL in 64-bit mode only, AMD everywhere; Intel has SYSENTER in long
 * mode, AMD does not. SYSRET of AMD leaves SS's attributes alone. Segments are loaded
 * with fixed contents, no descriptor is read.
 *
 * Sources: Intel SDM vol. 2 SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, WRFSBASE;
 * AMD APM vol. 3, the same names.
 */
#include "base/bits.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/system_int.h"

#define ATTR_FLAT    (SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G)
#define ATTR_CODE    (ATTR_FLAT | 0xb) /* execute, read; accessed */
#define ATTR_STACK   (ATTR_FLAT | SEG_ATTR_DB | 0x3)
#define ATTR_USER    (3u << SEG_ATTR_DPL_SHIFT)
#define RPL_MASK     3u
#define SYSRET_FLAGS 0x3c7fd7ULL /* what SYSRET takes from R11 */

static struct segment flat(uint32_t selector, uint32_t attr)
{
	return (struct segment){
		.selector = (uint16_t)selector,
		.attr = attr,
		.limit = UINT32_MAX,
	};
}

static uint32_t code_width(bool wide)
{
	return wide ? SEG_ATTR_L : SEG_ATTR_DB;
}

/* CS and SS of ring 0 from a selector; 64-bit code where wide. */
static void enter_kernel(struct cpu *cpu, uint32_t selector, bool wide)
{
	selector &= ~RPL_MASK;
	cpu->seg[SEG_CS] = flat(selector, ATTR_CODE | code_width(wide));
	cpu->seg[SEG_SS] = flat(selector + 8, ATTR_STACK);
	cpu->cpl = 0;
}

static void enter_user(struct cpu *cpu, uint32_t selector, bool wide)
{
	cpu->seg[SEG_CS] = flat(selector | RPL_MASK, ATTR_CODE | ATTR_USER | code_width(wide));
	cpu->cpl = 3;
}

/* RFLAGS anew, VM cleared too where it is not in the value. */
static void set_flags(struct cpu *cpu, uint64_t rflags)
{
	cpu->rflags &= ~RFLAGS_VM;
	cpu_set_rflags(cpu, rflags);
	cpu_update_mode(cpu);
}

/*
 * Whether SYSCALL and SYSRET single-step is for the TF that they leave to say, not for the one
 * before, by which the loop goes: a kernel entered with TF masked is not stepped into, and a
 * program that is stepped gets its trap at the instruction after SYSCALL.
 */
static void settle_step(struct cpu *cpu, bool before)
{
	bool after = cpu->rflags & RFLAGS_TF;

	if (after == before)
		return;
	cpu->rip = cpu->next_rip;
	cpu_count(&cpu->instructions);
	if (after)
		cpu_raise_debug(cpu, DR6_BS, true);
	cpu_restart(cpu);
}

static void require_syscall(struct cpu *cpu)
{
	if (!(cpu->efer & EFER_SCE) || (!cpu->amd && cpu->mode != CPU_LONG))
		cpu_raise(cpu, VECTOR_UD);
}

void system_syscall(struct cpu *cpu, const struct insn *insn)
{
	const struct cpu_msrs *m = cpu->msrs;
	uint32_t selector = (uint16_t)(m->star >> 32);
	uint64_t rflags = cpu->rflags & ~RFLAGS_RF;

	(void)insn;
	require_syscall(cpu);
	if (!cpu_long_active(cpu)) {
		cpu->gpr[GPR_RCX] = (uint32_t)cpu->next_rip;
		cpu->next_rip = (uint32_t)m->star;
		enter_kernel(cpu, selector, false);
		set_flags(cpu, rflags & ~RFLAGS_IF);
		return; /* TF stays */
	}
	cpu->gpr[GPR_RCX] = cpu->next_rip;
	cpu->gpr[11] = rflags;
	cpu->next_rip = cpu->mode == CPU_LONG ? m->lstar : m->cstar;
	enter_kernel(cpu, selector, true);
	set_flags(cpu, rflags & ~m->fmask);
	settle_step(cpu, rflags & RFLAGS_TF);
}

/* SS after SYSRET. Its DPL is the CPL, wherever the rest comes from. */
static void sysret_stack(struct cpu *cpu, uint32_t selector)
{
	if (cpu->amd) {
		cpu->seg[SEG_SS].selector = (uint16_t)(selector | RPL_MASK);
		cpu->seg[SEG_SS].attr |= ATTR_USER;
	} else {
		cpu->seg[SEG_SS] = flat(selector | RPL_MASK, ATTR_STACK | ATTR_USER);
	}
}

void system_sysret(struct cpu *cpu, const struct insn *insn)
{
	uint32_t selector = (uint16_t)(cpu->msrs->star >> 48);
	bool from64 = cpu->mode == CPU_LONG, to64 = from64 && insn->op_size == 8;
	uint64_t rip = cpu->gpr[GPR_RCX];
	uint64_t rflags = (cpu->gpr[11] & SYSRET_FLAGS) | RFLAGS_FIXED;
	bool step = cpu->rflags & RFLAGS_TF;

	require_syscall(cpu);
	system_require_cpl0(cpu);
	if (!(cpu->cr0 & CR0_PE) || (to64 && !cpu->amd && !linear_canonical(cpu, rip)))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	cpu->next_rip = to64 ? rip : (uint32_t)rip;
	enter_user(cpu, to64 ? selector + 16 : selector, to64);
	sysret_stack(cpu, selector + 8);
	set_flags(cpu, from64 ? rflags : cpu->rflags | RFLAGS_IF);
	settle_step(cpu, step);
}

static void require_sysenter(struct cpu *cpu)
{
	if (cpu->amd && cpu_long_active(cpu))
		cpu_raise(cpu, VECTOR_UD);
	if (!(cpu->cr0 & CR0_PE))
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

static void require_sysenter_cs(struct cpu *cpu)
{
	if (!(cpu->msrs->sysenter_cs & 0xfffc))
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

void system_sysenter(struct cpu *cpu, const struct insn *insn)
{
	const struct cpu_msrs *m = cpu->msrs;
	bool wide = cpu_long_active(cpu);

	(void)insn;
	require_sysenter(cpu);
	require_sysenter_cs(cpu);
	cpu->gpr[GPR_RSP] = wide ? m->sysenter_esp : (uint32_t)m->sysenter_esp;
	cpu->next_rip = wide ? m->sysenter_eip : (uint32_t)m->sysenter_eip;
	enter_kernel(cpu, (uint16_t)m->sysenter_cs, wide);
	set_flags(cpu, cpu->rflags & ~(RFLAGS_IF | RFLAGS_RF));
}

void system_sysexit(struct cpu *cpu, const struct insn *insn)
{
	uint32_t selector = (uint16_t)cpu->msrs->sysenter_cs | RPL_MASK;
	uint64_t rip = cpu->gpr[GPR_RDX], rsp = cpu->gpr[GPR_RCX];
	bool wide = cpu->mode == CPU_LONG && insn->op_size == 8;

	/* AMD's processors look at the level before they look at the mode. */
	if (cpu->amd)
		system_require_cpl0(cpu);
	require_sysenter(cpu);
	system_require_cpl0(cpu);
	require_sysenter_cs(cpu);
	if (wide && (!linear_canonical(cpu, rip) || !linear_canonical(cpu, rsp)))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	cpu->gpr[GPR_RSP] = wide ? rsp : (uint32_t)rsp;
	cpu->next_rip = wide ? rip : (uint32_t)rip;
	selector += wide ? 32 : 16;
	enter_user(cpu, selector, wide);
	cpu->seg[SEG_SS] = flat(selector + 8, ATTR_STACK | ATTR_USER);
	cpu_update_mode(cpu);
}

void system_swapgs(struct cpu *cpu, const struct insn *insn)
{
	uint64_t base = cpu->seg[SEG_GS].base;

	(void)insn;
	if (cpu->mode != CPU_LONG)
		cpu_raise(cpu, VECTOR_UD);
	system_require_cpl0(cpu);
	cpu->seg[SEG_GS].base = cpu->msrs->kernel_gs_base;
	cpu->msrs->kernel_gs_base = base;
}

static void require_fsgsbase(struct cpu *cpu)
{
	if (cpu->mode != CPU_LONG || !(cpu->cr4 & CR4_FSGSBASE))
		cpu_raise(cpu, VECTOR_UD);
}

static unsigned based(const struct insn *insn)
{
	return insn->op == OP_RDFSBASE || insn->op == OP_WRFSBASE ? SEG_FS : SEG_GS;
}

void system_rdfsbase(struct cpu *cpu, const struct insn *insn)
{
	require_fsgsbase(cpu);
	operand_write(cpu, insn, 0, cpu->seg[based(insn)].base);
}

void system_wrfsbase(struct cpu *cpu, const struct insn *insn)
{
	uint64_t base;

	require_fsgsbase(cpu);
	base = operand_read(cpu, insn, 0);
	if (!msr_canonical(base, cpu->msrs->canonical_bits))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	cpu->seg[based(insn)].base = base;
}
