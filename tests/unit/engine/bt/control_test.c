/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 "MOV - Move to/from Control Registers", LMSW, SMSW, XSETBV; vol. 3A 2.5, 4.1. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/x86/segment.h"
#include "system_rig.h"

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];

static int setup(void **state)
{
	(void)state;
	system_rig_init(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

#define set_cr(n, value) rig_mov_to(cpu, OP_MOV_CR, n, value)

static uint64_t cr(unsigned n)
{
	uint64_t value = 0;

	assert_int_equal(rig_mov_from(cpu, OP_MOV_CR, n, &value), RIG_NO_FAULT);
	return value;
}

static void long_mode_is_entered_and_left(void **state)
{
	uint8_t *ram = mem_ptr_rw(&r.mem, 0, RIG_RAM);
	uint64_t efer;

	(void)state;
	store_le(ram + 0x1000, 8, 0);
	assert_int_equal(set_cr(0, CR0_PE), RIG_NO_FAULT);
	assert_int_equal(cpu->mode, CPU_PROTECTED);
	assert_int_equal(rig_wrmsr(cpu, MSR_IA32_EFER, EFER_LME), RIG_NO_FAULT);
	assert_int_equal(set_cr(3, 0x1000), RIG_NO_FAULT);
	/* Without PAE: #GP, and nothing has changed. */
	assert_int_equal(set_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	assert_int_equal(cr(0), CR0_PE | CR0_ET);
	assert_int_equal(set_cr(4, CR4_PAE), RIG_NO_FAULT);
	/* From a code segment that would be 64-bit code at once: #GP. */
	cpu->seg[SEG_CS].attr |= SEG_ATTR_L;
	assert_int_equal(set_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	cpu->seg[SEG_CS].attr &= ~SEG_ATTR_L;
	assert_int_equal(set_cr(0, CR0_PE | CR0_PG), RIG_NO_FAULT);
	assert_int_equal(cpu->mode, CPU_COMPAT);
	assert_int_equal(rig_rdmsr(cpu, MSR_IA32_EFER, &efer), RIG_NO_FAULT);
	assert_int_equal(efer, EFER_LME | EFER_LMA);
	/* LME cannot change under paging; LMA is not written. */
	assert_int_equal(rig_wrmsr(cpu, MSR_IA32_EFER, 0), VECTOR_GP);
	assert_int_equal(rig_wrmsr(cpu, MSR_IA32_EFER, EFER_LME | EFER_SCE), RIG_NO_FAULT);
	assert_int_equal(cpu->efer, EFER_LME | EFER_LMA | EFER_SCE);
	/* PAE is part of long mode. */
	assert_int_equal(set_cr(4, 0), VECTOR_GP);
	/* PCIDE keeps paging on. */
	assert_int_equal(set_cr(4, CR4_PAE | CR4_PCIDE), RIG_NO_FAULT);
	assert_int_equal(set_cr(0, CR0_PE), VECTOR_GP);
	assert_int_equal(set_cr(4, CR4_PAE), RIG_NO_FAULT);
	/* Not from 64-bit code. */
	cpu->seg[SEG_CS] = segment_flat_code64(0x10);
	cpu_update_mode(cpu);
	assert_int_equal(set_cr(0, CR0_PE), VECTOR_GP);
	cpu->seg[SEG_CS] = segment_flat_code32(0x10);
	cpu_update_mode(cpu);
	assert_int_equal(set_cr(0, CR0_PE), RIG_NO_FAULT);
	assert_int_equal(cpu->mode, CPU_PROTECTED);
	assert_int_equal(cpu->efer, EFER_LME | EFER_SCE);
	assert_int_equal(set_cr(0, 0), RIG_NO_FAULT);
	assert_int_equal(cpu->mode, CPU_REAL);
}

static void cr0_refuses_what_cannot_be(void **state)
{
	(void)state;
	assert_int_equal(set_cr(0, CR0_PG), VECTOR_GP);
	assert_int_equal(set_cr(0, CR0_NW), VECTOR_GP);
	/* Reserved bits of the low half are ignored, ET reads as one. */
	assert_int_equal(set_cr(0, CR0_PE | BIT(6) | BIT(17)), RIG_NO_FAULT);
	assert_int_equal(cr(0), CR0_PE | CR0_ET);
	rig_long_mode(cpu);
	assert_int_equal(set_cr(0, cpu->cr0 | BIT(32)), VECTOR_GP);
	assert_int_equal(set_cr(0, cpu->cr0 | CR0_TS), RIG_NO_FAULT);
	assert_int_equal(rig_op(cpu, OP_CLTS), RIG_NO_FAULT);
	assert_false(cr(0) & CR0_TS);
}

static void pae_paging_loads_its_pointers(void **state)
{
	uint8_t *ram = mem_ptr_rw(&r.mem, 0, RIG_RAM);

	(void)state;
	store_le(ram + 0x1000, 8, 0x5000 | PTE_P);
	store_le(ram + 0x1008, 8, 0x6000 | PTE_P | PTE_RW); /* bit 1 is reserved here */
	assert_int_equal(set_cr(3, 0x1000), RIG_NO_FAULT);
	assert_int_equal(set_cr(4, CR4_PAE), RIG_NO_FAULT);
	assert_int_equal(set_cr(0, CR0_PE | CR0_PG), VECTOR_GP);
	assert_int_equal(cpu->cr0 & CR0_PG, 0);
	store_le(ram + 0x1008, 8, 0);
	assert_int_equal(set_cr(0, CR0_PE | CR0_PG), RIG_NO_FAULT);
	assert_int_equal(cpu->pdptr[0], 0x5001);
	/* A MOV to CR3 that is refused leaves CR3 and the pointers. */
	store_le(ram + 0x1020, 8, BIT(62) | PTE_P);
	assert_int_equal(set_cr(3, 0x1020), VECTOR_GP);
	assert_int_equal(cr(3), 0x1000);
	assert_int_equal(cpu->pdptr[0], 0x5001);
}

static void cr3_has_as_many_bits_as_addresses(void **state)
{
	(void)state;
	rig_long_mode(cpu);
	assert_int_equal(set_cr(3, cpu->cr3 | BIT(cpu->phys_bits)), VECTOR_GP);
	assert_int_equal(set_cr(3, cpu->cr3 | CR3_NOFLUSH), VECTOR_GP);
	assert_int_equal(set_cr(4, cpu->cr4 | CR4_PCIDE), RIG_NO_FAULT);
	assert_int_equal(set_cr(3, cpu->cr3 | CR3_NOFLUSH | 5), RIG_NO_FAULT);
	assert_int_equal(cr(3) & (CR3_NOFLUSH | CR3_PCID), 5);
	/* PCIDE may only be set while the PCID is 0. */
	assert_int_equal(set_cr(4, cpu->cr4 & ~CR4_PCIDE), RIG_NO_FAULT);
	assert_int_equal(set_cr(4, cpu->cr4 | CR4_PCIDE), VECTOR_GP);
}

static void cr4_has_the_bits_of_the_model(void **state)
{
	const uint64_t given = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE |
			       CR4_PGE | CR4_PCE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |
			       CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP | CR4_SMAP;

	(void)state;
	rig_long_mode(cpu);
	assert_int_equal(set_cr(4, given), RIG_NO_FAULT);
	assert_int_equal(cr(4), given);
	assert_int_equal(set_cr(4, given | CR4_VMXE), VECTOR_GP);
	assert_int_equal(set_cr(4, given | CR4_PKE), VECTOR_GP);
	assert_int_equal(set_cr(4, given | CR4_CET), VECTOR_GP);
	assert_int_equal(set_cr(4, given | BIT(15)), VECTOR_GP);
	assert_int_equal(set_cr(4, given | BIT(32)), VECTOR_GP);
	/* The number of levels is chosen before long mode is entered. */
	assert_int_equal(set_cr(4, given | CR4_LA57), VECTOR_GP);
	assert_int_equal(cr(4), given);
}

static void cr8_is_the_local_apic_s(void **state)
{
	(void)state;
	rig_long_mode(cpu);
	assert_int_equal(set_cr(8, 9), RIG_NO_FAULT);
	assert_int_equal(r.lapic[0].cr8, 9);
	r.lapic[0].cr8 = 4;
	assert_int_equal(cr(8), 4);
	assert_int_equal(set_cr(8, 0x10), VECTOR_GP);
}

static void who_may_and_which_exist(void **state)
{
	uint64_t value;

	(void)state;
	rig_long_mode(cpu);
	for (unsigned n = 0; n < 16; n++) {
		bool exists = n == 0 || n == 2 || n == 3 || n == 4 || n == 8;

		assert_int_equal(rig_mov_from(cpu, OP_MOV_CR, n, &value),
				 exists ? RIG_NO_FAULT : VECTOR_UD);
	}
	rig_ring3(cpu);
	assert_int_equal(set_cr(0, 0), VECTOR_GP);
	assert_int_equal(rig_mov_from(cpu, OP_MOV_CR, 0, &value), VECTOR_GP);
	assert_int_equal(rig_mov_from(cpu, OP_MOV_CR, 1, &value), VECTOR_UD);
	assert_int_equal(rig_op(cpu, OP_CLTS), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_HLT), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_WBINVD), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_STAC), VECTOR_UD);
	assert_int_equal(rig_wrmsr(cpu, MSR_IA32_EFER, 0), VECTOR_GP);
}

static unsigned lmsw(uint64_t value)
{
	cpu->gpr[GPR_RBX] = value;
	return rig_run(cpu, &(struct insn){.op = OP_LMSW,
					   .len = 3,
					   .operands = 1,
					   .operand = {{OPERAND_GPR, GPR_RBX, 2, 0, 0, 0}}});
}

static unsigned smsw(unsigned size, uint64_t *value)
{
	unsigned vector;

	cpu->gpr[GPR_RBX] = UINT64_MAX;
	vector = rig_run(
		cpu, &(struct insn){.op = OP_SMSW,
				    .len = 3,
				    .op_size = (uint8_t)size,
				    .operands = 1,
				    .operand = {{OPERAND_GPR, GPR_RBX, (uint8_t)size, 0, 0, 0}}});
	*value = cpu->gpr[GPR_RBX];
	return vector;
}

static void machine_status_word(void **state)
{
	uint64_t value;

	(void)state;
	assert_int_equal(lmsw(CR0_PE | CR0_TS), RIG_NO_FAULT);
	assert_int_equal(cpu->mode, CPU_PROTECTED);
	assert_int_equal(lmsw(CR0_MP), RIG_NO_FAULT); /* PE cannot be cleared so */
	assert_int_equal(cpu->cr0 & 0xf, CR0_PE | CR0_MP);
	rig_long_mode(cpu);
	assert_int_equal(smsw(2, &value), RIG_NO_FAULT);
	assert_int_equal(value, 0xffffffffffff0000 | (cpu->cr0 & 0xffff));
	assert_int_equal(smsw(4, &value), RIG_NO_FAULT);
	assert_int_equal(value, cpu->cr0);
	rig_ring3(cpu);
	assert_int_equal(smsw(4, &value), RIG_NO_FAULT);
	cpu->cr4 |= CR4_UMIP;
	assert_int_equal(smsw(4, &value), VECTOR_GP);
	assert_int_equal(lmsw(0), VECTOR_GP);
}

static unsigned xsetbv(uint32_t index, uint64_t value)
{
	cpu->gpr[GPR_RCX] = index;
	cpu->gpr[GPR_RAX] = (uint32_t)value;
	cpu->gpr[GPR_RDX] = value >> 32;
	return rig_op(cpu, OP_XSETBV);
}

static void xcr0(void **state)
{
	(void)state;
	rig_long_mode(cpu);
	assert_int_equal(xsetbv(0, XSTATE_X87), VECTOR_UD); /* CR4.OSXSAVE */
	assert_int_equal(rig_op(cpu, OP_XGETBV), VECTOR_UD);
	cpu->cr4 |= CR4_OSXSAVE;
	assert_int_equal(xsetbv(0, XSTATE_X87 | XSTATE_SSE), RIG_NO_FAULT);
	assert_int_equal(xsetbv(0, XSTATE_SSE), VECTOR_GP);
	assert_int_equal(xsetbv(0, XSTATE_X87 | XSTATE_AVX), VECTOR_GP);
	assert_int_equal(xsetbv(0, XSTATE_X87 | XSTATE_SSE | XSTATE_PKRU), VECTOR_GP);
	assert_int_equal(xsetbv(0, XSTATE_X87 | BIT(63)), VECTOR_GP);
	assert_int_equal(xsetbv(1, XSTATE_X87), VECTOR_GP);
	cpu->gpr[GPR_RCX] = 0;
	assert_int_equal(rig_op(cpu, OP_XGETBV), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], XSTATE_X87 | XSTATE_SSE);
	assert_int_equal(cpu->gpr[GPR_RDX], 0);
	cpu->gpr[GPR_RCX] = 2;
	assert_int_equal(rig_op(cpu, OP_XGETBV), VECTOR_GP);
	rig_ring3(cpu);
	assert_int_equal(xsetbv(0, XSTATE_X87), VECTOR_GP);
}

#define set_dr(n, value) rig_mov_to(cpu, OP_MOV_DR, n, value)

static uint64_t dr(unsigned n)
{
	uint64_t value = 0;

	assert_int_equal(rig_mov_from(cpu, OP_MOV_DR, n, &value), RIG_NO_FAULT);
	return value;
}

/* SDM vol. 2 "MOV - Move to/from Debug Registers", vol. 3B 18.2. */
static void debug_registers(void **state)
{
	uint64_t value;

	(void)state;
	rig_long_mode(cpu);
	assert_int_equal(set_dr(0, 0xdeadbeefdeadbeef), RIG_NO_FAULT); /* any address */
	assert_int_equal(dr(0), 0xdeadbeefdeadbeef);
	assert_int_equal(set_dr(6, 0), RIG_NO_FAULT);
	assert_int_equal(dr(6), 0xffff0ff0);
	assert_int_equal(set_dr(6, 0xffffffff), RIG_NO_FAULT);
	assert_int_equal(dr(6), 0xffffefff); /* bit 12 is reserved, and 0 */
	assert_int_equal(set_dr(6, BIT(32)), VECTOR_GP);
	assert_int_equal(set_dr(7, BIT(32)), VECTOR_GP);
	assert_int_equal(set_dr(7, DR7_L(0)), RIG_NO_FAULT);
	assert_int_equal(dr(7), 0x401);
	assert_true(cpu->attention & ATTENTION_TRACE);
	assert_int_equal(set_dr(5, 0), RIG_NO_FAULT); /* another name of DR7 */
	assert_int_equal(dr(7), 0x400);
	assert_false(cpu->attention & ATTENTION_TRACE);
	assert_int_equal(dr(4), 0xffffefff);
	cpu->cr4 |= CR4_DE;
	assert_int_equal(set_dr(5, 0), VECTOR_UD);
	assert_int_equal(rig_mov_from(cpu, OP_MOV_DR, 4, &value), VECTOR_UD);
	assert_int_equal(rig_mov_from(cpu, OP_MOV_DR, 8, &value), VECTOR_UD);
	assert_int_equal(set_dr(7, DR7_GD), RIG_NO_FAULT);
	assert_int_equal(set_dr(0, 1), VECTOR_DB);
	assert_int_equal(cpu->exception.payload, DR6_BD);
	assert_false(cpu->exception.trap);
	assert_int_equal(cpu->dr[0], 0xdeadbeefdeadbeef);
	/* The privilege comes before the guard, what does not exist before both. */
	rig_ring3(cpu);
	assert_int_equal(set_dr(0, 1), VECTOR_GP);
	assert_int_equal(set_dr(4, 1), VECTOR_UD);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(long_mode_is_entered_and_left),
		TEST(cr0_refuses_what_cannot_be),
		TEST(pae_paging_loads_its_pointers),
		TEST(cr3_has_as_many_bits_as_addresses),
		TEST(cr4_has_the_bits_of_the_model),
		TEST(cr8_is_the_local_apic_s),
		TEST(who_may_and_which_exist),
		TEST(machine_status_word),
		TEST(xcr0),
		TEST(debug_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
