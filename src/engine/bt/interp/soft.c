/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts that a program asks for: INT n, INT3, INT1, INTO.
 *
 * In virtual-8086 mode INT n alone depends on IOPL, and with CR4.VME the TSS has a bit for
 * each vector that says whether the task's own real-mode handler gets it.
 *
 * Source: Intel SDM vol. 2 (INT n), vol. 3B 20.3.3 (table 20-2: the six methods).
 */
#include "engine/bt/interp/descriptor.h"
#include "engine/bt/interp/far.h"
#include "engine/bt/interp/frame.h"
#include "engine/bt/interp/operand.h"

#define TSS_IO_MAP        102
#define REDIRECTION_BYTES 32 /* the bitmap lies below the I/O map */

/* Whether the redirection bitmap leaves the vector to the 8086 program (a clear bit). */
static bool redirected(struct cpu *cpu, uint8_t vector)
{
	unsigned offset;

	if (!(cpu->cr4 & CR4_VME))
		return false;
	if (cpu->tr.limit < TSS_IO_MAP + 1)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	offset = mmu_system_read(cpu, cpu->tr.base + TSS_IO_MAP, 2);
	if (offset < REDIRECTION_BYTES)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	offset += vector / 8 - REDIRECTION_BYTES;
	if (offset > cpu->tr.limit)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	return !(mmu_system_read(cpu, cpu->tr.base + offset, 1) >> vector % 8 & 1);
}

/* The handler begins without a single-step trap, even if the instruction had TF set: RFLAGS.TF is
 * clear when the trap would be due (SDM vol. 3A, 6.8.3 and 17.3.1.4). The loop is left, since it
 * goes by TF as it was. */
static void arrive(struct cpu *cpu, bool stepped)
{
	if (!stepped)
		return;
	cpu->rip = cpu->next_rip;
	cpu_count(&cpu->instructions);
	cpu_restart(cpu);
}

static void deliver(struct cpu *cpu, enum deliver_kind kind, uint8_t vector)
{
	bool stepped = cpu->rflags & RFLAGS_TF;

	interp_deliver(cpu, kind, vector, false, 0);
	arrive(cpu, stepped);
}

/* To the handler in the task's own IVT at linear address 0, staying in virtual-8086 mode. Below
 * IOPL 3 the program sees VIF as its IF. */
static void redirect(struct cpu *cpu, uint8_t vector)
{
	uint16_t ip = mmu_system_read(cpu, vector * 4, 2);
	uint16_t selector = mmu_system_read(cpu, vector * 4 + 2, 2);
	bool virtual_if = cpu_iopl(cpu) < 3;
	bool stepped = cpu->rflags & RFLAGS_TF;
	uint64_t pushed = cpu->rflags;
	struct frame f;

	if (virtual_if) {
		pushed = (pushed & ~RFLAGS_IF) | RFLAGS_IOPL;
		if (pushed & RFLAGS_VIF)
			pushed |= RFLAGS_IF;
	}
	frame_on_current(&f, cpu, 2, 0);
	frame_push(&f, pushed);
	frame_push(&f, cpu->seg[SEG_CS].selector);
	frame_push(&f, cpu->next_rip);
	frame_check(cpu, &f);
	frame_probe(cpu, &f);
	frame_write(cpu, &f);

	cpu->gpr[GPR_RSP] = frame_rsp(&f, cpu->gpr[GPR_RSP]);
	segment_load_real(cpu, SEG_CS, selector);
	cpu_update_mode(cpu);
	cpu->next_rip = ip;
	cpu_set_rflags(cpu, cpu->rflags & ~(RFLAGS_TF | RFLAGS_RF |
					    (virtual_if ? RFLAGS_VIF : RFLAGS_IF)));
	arrive(cpu, stepped);
}

void interp_int(struct cpu *cpu, const struct insn *insn)
{
	uint8_t vector = insn->imm;

	if (cpu->mode == CPU_VM86) {
		if (redirected(cpu, vector)) {
			redirect(cpu, vector);
			return;
		}
		if (cpu_iopl(cpu) < 3)
			cpu_raise_error(cpu, VECTOR_GP, 0);
	}
	deliver(cpu, DELIVER_SOFT, vector);
}

void interp_int1(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	deliver(cpu, DELIVER_SOFT_DEBUG, VECTOR_DB);
}

void interp_int3(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	deliver(cpu, DELIVER_SOFT, VECTOR_BP);
}

void interp_into(struct cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (cpu->rflags & RFLAGS_OF)
		deliver(cpu, DELIVER_SOFT, VECTOR_OF);
}
