/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control registers: CR0 to CR8, XCR0 and EFER.
 *
 * Each setter checks all that the manuals forbid, loads the PAE page-directory
 * pointers where the new value makes paging use them, and only then changes
 * anything; #GP(0) leaves all as it was. Long mode is entered and left here:
 * EFER.LMA follows CR0.PG where EFER.LME is set.
 *
 * Sources: Intel SDM vol. 2 "MOV - Move to/from Control Registers", LMSW, SMSW,
 * XSETBV, vol. 3A 2.5, 4.1, 4.4.1 and 9.8.5; AMD APM vol. 2 3.1 and 14.6.
 */
#include "base/bits.h"
#include "core/x86/segment.h"
#include "engine/bt/interp/msr_int.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/system_int.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define CR0_DEFINED                                                                                \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
	 CR0_PG)

static _Noreturn void refuse(struct cpu *cpu)
{
	cpu_raise_error(cpu, VECTOR_GP, 0);
}

static struct mmu_control control_of(const struct cpu *cpu)
{
	return (struct mmu_control){
		.cr0 = cpu->cr0,
		.cr3 = cpu->cr3,
		.cr4 = cpu->cr4,
		.efer = cpu->efer,
	};
}

static bool uses_pdptr(const struct mmu_control *c)
{
	return c->cr0 & CR0_PG && c->cr4 & CR4_PAE && !(c->efer & EFER_LMA);
}

/* Makes the new values those of the processor. load: where they mean PAE paging, its four
 * pointers are loaded. */
static void commit(struct cpu *cpu, const struct mmu_control *new, bool load, bool keep)
{
	struct mmu_control old = control_of(cpu);
	uint64_t pdptr[4];

	if (load && uses_pdptr(new)) {
		if (!mmu_load_pdptr(cpu, new->cr3, pdptr))
			refuse(cpu);
		for (unsigned i = 0; i < 4; i++)
			cpu->pdptr[i] = pdptr[i];
	}
	cpu->cr0 = new->cr0;
	cpu->cr3 = new->cr3;
	cpu->cr4 = new->cr4;
	cpu->efer = new->efer;
	mmu_control_changed(cpu, &old, keep);
	if ((old.cr0 ^ new->cr0) & CR0_PE || (old.efer ^ new->efer) & EFER_LMA)
		cpu_update_mode(cpu);
}

/* --- CR0 ------------------------------------------------------------------------------------- */

/* Switching paging on with EFER.LME enters long mode, in compatibility mode. */
static void enable_paging(struct cpu *cpu, struct mmu_control *new)
{
	bool tss16 = !(cpu->tr.attr & SEG_ATTR_UNUSABLE) &&
		     (cpu->tr.attr & SEG_ATTR_TYPE) == SEG_TYPE_TSS16_BUSY;

	if (!(new->efer &EFER_LME))
		return;
	if (!(new->cr4 &CR4_PAE) || cpu->seg[SEG_CS].attr & SEG_ATTR_L || (tss16 && !cpu->amd))
		refuse(cpu);
	new->efer |= EFER_LMA;
}

static void disable_paging(struct cpu *cpu, struct mmu_control *new)
{
	if (cpu->mode == CPU_LONG || new->cr4 & CR4_PCIDE)
		refuse(cpu);
	new->efer &= ~EFER_LMA;
}

static void set_cr0(struct cpu *cpu, uint64_t value)
{
	struct mmu_control new = control_of(cpu);
	uint64_t changed;

	if (value >> 32)
		refuse(cpu);
	value = (value & CR0_DEFINED) | CR0_ET;
	if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		refuse(cpu);
	changed = value ^ new.cr0;
	new.cr0 = value;
	if (changed & value & CR0_PG)
		enable_paging(cpu, &new);
	else if (changed & CR0_PG)
		disable_paging(cpu, &new);
	commit(cpu, &new, changed & (CR0_CD | CR0_NW | CR0_PG), false);
}

/* --- the others ------------------------------------------------------------------------------ */

static void set_cr3(struct cpu *cpu, uint64_t value)
{
	struct mmu_control new = control_of(cpu);
	bool keep = false;

	if (cpu->cr4 & CR4_PCIDE) {
		keep = value & CR3_NOFLUSH;
		value &= ~CR3_NOFLUSH;
	}
	if (cpu_long_active(cpu) && value & ~MASK(cpu->phys_bits))
		refuse(cpu);
	new.cr3 = value;
	commit(cpu, &new, true, keep);
}

static void set_cr4(struct cpu *cpu, uint64_t value)
{
	const uint64_t reload = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP;
	struct mmu_control new = control_of(cpu);
	uint64_t changed = value ^ new.cr4;

	if (value & ~cpu->msrs->cr4_allowed)
		refuse(cpu);
	if (cpu_long_active(cpu)) {
		if (!(value & CR4_PAE) || changed & CR4_LA57)
			refuse(cpu);
	} else if (value & CR4_PCIDE) {
		refuse(cpu);
	}
	if (changed & value & CR4_PCIDE && cpu->cr3 & CR3_PCID)
		refuse(cpu);
	new.cr4 = value;
	commit(cpu, &new, changed & reload, false);
}

static void set_cr8(struct cpu *cpu, uint64_t value)
{
	const struct engine_env *env = cpu->vm->env;

	if (value >> 4)
		refuse(cpu);
	env->lapic->set_cr8(env->opaque, cpu->id, (uint8_t)value);
}

static uint64_t get_cr(struct cpu *cpu, unsigned n)
{
	const struct engine_env *env = cpu->vm->env;

	switch (n) {
	case 0:
		return cpu->cr0;
	case 2:
		return cpu->cr2;
	case 3:
		return cpu->cr3;
	case 4:
		return cpu->cr4;
	case 8:
		return env->lapic->get_cr8(env->opaque, cpu->id);
	default:
		cpu_raise(cpu, VECTOR_UD);
	}
}

static void set_cr(struct cpu *cpu, unsigned n, uint64_t value)
{
	switch (n) {
	case 0:
		set_cr0(cpu, value);
		break;
	case 2:
		cpu->cr2 = value;
		break;
	case 3:
		set_cr3(cpu, value);
		break;
	case 4:
		set_cr4(cpu, value);
		break;
	case 8:
		set_cr8(cpu, value);
		break;
	default:
		cpu_raise(cpu, VECTOR_UD);
	}
}

static bool exists(unsigned n)
{
	return n == 0 || (n >= 2 && n <= 4) || n == 8;
}

/* The operands are of 8 bytes in 64-bit mode and of 4 elsewhere, whatever the prefixes say. */
void system_mov_cr(struct cpu *cpu, const struct insn *insn)
{
	bool to = insn->operand[0].kind == OPERAND_CR;
	unsigned cr = insn->operand[!to].reg, gpr = insn->operand[to].reg;
	unsigned size = cpu->mode == CPU_LONG ? 8 : 4;

	if (!exists(cr))
		cpu_raise(cpu, VECTOR_UD);
	system_require_cpl0(cpu);
	if (to)
		set_cr(cpu, cr, reg_read(cpu, gpr, size, false));
	else
		reg_write(cpu, gpr, size, false, get_cr(cpu, cr));
}

void system_clts(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	system_require_cpl0(cpu);
	cpu->cr0 &= ~CR0_TS;
}

/* Changes PE, MP, EM and TS; PE can be set, not cleared. */
void system_lmsw(struct cpu *cpu, const struct insn *insn)
{
	uint64_t word;

	system_require_cpl0(cpu);
	word = operand_read(cpu, insn, 0) & (CR0_PE | CR0_MP | CR0_EM | CR0_TS);
	set_cr0(cpu, (cpu->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | word);
}

void system_smsw(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *to = &insn->operand[0];

	if (cpu->cr4 & CR4_UMIP)
		system_require_cpl0(cpu);
	if (to->kind == OPERAND_MEM)
		operand_write(cpu, insn, 0, cpu->cr0 & 0xffff);
	else
		reg_write(cpu, to->reg, insn->op_size, false, cpu->cr0);
}

/* --- EFER ------------------------------------------------------------------------------------ */

bool msr_efer_read(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = cpu->efer;
	return true;
}

bool msr_efer_write(struct cpu *cpu, uint32_t index, uint64_t value)
{
	struct mmu_control new = control_of(cpu);

	(void)index;
	if (value & ~cpu->msrs->efer_allowed)
		return false;
	if (cpu->cr0 & CR0_PG && (value ^ cpu->efer) & EFER_LME)
		return false;
	new.efer = (value & ~EFER_LMA) | (cpu->efer & EFER_LMA);
	commit(cpu, &new, false, false);
	return true;
}

/* --- XCR0 ------------------------------------------------------------------------------------ */

static void require_osxsave(struct cpu *cpu)
{
	if (!(cpu->cr4 & CR4_OSXSAVE))
		cpu_raise(cpu, VECTOR_UD);
}

/* With ECX of 1: the components that XSAVEOPT would find not to be in their initial state. */
void system_xgetbv(struct cpu *cpu, const struct insn *insn)
{
	uint32_t index = (uint32_t)cpu->gpr[GPR_RCX];
	uint64_t value;

	(void)insn;
	require_osxsave(cpu);
	if (index == 0)
		value = cpu->xcr0;
	else if (index == 1 && cpu->features[FEATURE_XGETBV1])
		value = cpu->xcr0 & fpu_in_use(&cpu->fpu);
	else
		refuse(cpu);
	cpu->gpr[GPR_RAX] = (uint32_t)value;
	cpu->gpr[GPR_RDX] = value >> 32;
}

void system_xsetbv(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = (uint32_t)cpu->gpr[GPR_RAX] | cpu->gpr[GPR_RDX] << 32;

	(void)insn;
	require_osxsave(cpu);
	system_require_cpl0(cpu);
	if ((uint32_t)cpu->gpr[GPR_RCX] != 0 || !msr_xcr0_valid(cpu, value))
		refuse(cpu);
	cpu->xcr0 = value;
}
