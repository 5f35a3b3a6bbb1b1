/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions about caches, and fences. Of the processor's caches a guest sees the
 * TLB only; the host's data caches are coherent, and its own fences order the guest's
 * accesses.
 *
 * Source: Intel SDM vol. 2 INVLPG, INVPCID, INVD, CLFLUSH, MFENCE; AMD APM vol. 3 CLZERO.
 */
#include <stdatomic.h>

#include "base/bits.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/interp/system_int.h"

#define LINE_SIZE 64

/* No limit or type is checked, and an address that is not canonical has no translation. */
void system_invlpg(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_ea(cpu, insn);

	system_require_cpl0(cpu);
	if (cpu->mode != CPU_LONG)
		linear = (uint32_t)(linear + cpu->seg[insn->mem.seg].base);
	else if (insn->mem.seg >= SEG_FS)
		linear += cpu->seg[insn->mem.seg].base;
	if (linear_canonical(cpu, linear) || cpu->mode != CPU_LONG)
		mmu_invlpg(cpu, linear);
}

enum { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL_GLOBAL, INVPCID_ALL };

void system_invpcid(struct cpu *cpu, const struct insn *insn)
{
	uint64_t type, descriptor[2];

	system_require_cpl0(cpu);
	type = reg_read(cpu, insn->operand[0].reg, cpu->mode == CPU_LONG ? 8 : 4, false);
	mmu_read_bytes(cpu, operand_linear(cpu, insn, sizeof(descriptor), SEG_READ), descriptor,
		       sizeof(descriptor));
	if (type > INVPCID_ALL || descriptor[0] & ~CR3_PCID)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (type <= INVPCID_CONTEXT && !(cpu->cr4 & CR4_PCIDE) && descriptor[0])
		cpu_raise_error(cpu, VECTOR_GP, 0);
	if (type == INVPCID_ADDRESS && !linear_canonical(cpu, descriptor[1]))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	mmu_invpcid(cpu, (unsigned)type, descriptor[0], descriptor[1]);
}

/* INVD too: to lose what is only in the caches would be to lose nothing certain. */
void system_wbinvd(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	system_require_cpl0(cpu);
}

/* Faults as a load of the byte does, but that the segment may be one to execute only (SDM vol. 2,
 * CLFLUSH). */
void system_clflush(struct cpu *cpu, const struct insn *insn)
{
	mmu_probe(cpu, operand_linear(cpu, insn, 1, SEG_ANY), 1, false);
}

/* A line of zeroes; the address is rAX, its low bits are ignored. */
void system_clzero(struct cpu *cpu, const struct insn *insn)
{
	static const uint8_t zeroes[LINE_SIZE];
	uint64_t ea = size_cut(cpu->gpr[GPR_RAX], insn->addr_size) & ~(uint64_t)(LINE_SIZE - 1);
	unsigned seg = insn->has_mem ? insn->mem.seg : SEG_DS;

	mmu_write_bytes(cpu, seg_linear(cpu, seg, ea, LINE_SIZE, SEG_WRITE), zeroes, LINE_SIZE);
}

void system_fence(struct cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
	atomic_thread_fence(memory_order_seq_cst);
}
