/* SPDX-License-Identifier: Apache-2.0 */
/* Port I/O: who may, what INS does before it asks a device, and POPF, which decides by IOPL too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "integer_rig.h"

#define IOPL(n) ((uint64_t)(n) << RFLAGS_IOPL_SHIFT)
#define MAP     0x68 /* where the bitmap begins in the TSS */

static void set_bitmap(struct integer_rig *r, unsigned port, bool denied)
{
	uint8_t *byte = ir_ram(r, IR_TSS + MAP + port / 8);

	ir_put(r, IR_TSS + 0x66, 2, MAP);
	*byte = denied ? *byte | 1 << port % 8 : *byte & ~(1 << port % 8);
}

static void privilege_level(void **state)
{
	struct integer_rig *r = ir_new(IR_32);

	(void)state;
	ir_put(r, IR_TSS + 0x66, 2, MAP);
	r->cpu->tr.limit = MAP - 1; /* no bitmap */
	r->cpu->gpr[GPR_RDX] = IR_PORT;
	ir_set_cpl(r, 3);
	assert_int_equal(IR_EXEC(r, 0xec), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	assert_int_equal(r->port_reads, 0);
	cpu_set_rflags(r->cpu, IOPL(3));
	assert_int_equal(IR_EXEC(r, 0xec), IR_FINE);
	assert_int_equal(r->port_reads, 1);
	ir_free(r);
}

/* All bits of an access must be clear; two bytes are read, which the limit must hold. */
static void bitmap(void **state)
{
	struct integer_rig *r = ir_new(IR_32);

	(void)state;
	ir_set_cpl(r, 3);
	set_bitmap(r, IR_PORT + 9, true);
	r->cpu->gpr[GPR_RDX] = IR_PORT + 6;
	assert_int_equal(IR_EXEC(r, 0x66, 0xed), IR_FINE); /* 6 and 7 */
	assert_int_equal(IR_EXEC(r, 0xed), VECTOR_GP);     /* 6 to 9 */
	r->cpu->gpr[GPR_RDX] = IR_PORT + 8;
	assert_int_equal(IR_EXEC(r, 0xee), IR_FINE);
	r->cpu->tr.limit = MAP + (IR_PORT + 8) / 8;
	assert_int_equal(IR_EXEC(r, 0xee), VECTOR_GP);
	r->cpu->tr.limit++;
	assert_int_equal(IR_EXEC(r, 0xee), IR_FINE);
	/* A 16-bit TSS has none. */
	r->cpu->tr.attr = SEG_ATTR_P | 3;
	assert_int_equal(IR_EXEC(r, 0xee), VECTOR_GP);
	ir_free(r);
}

/* Virtual-8086 mode asks the bitmap whatever the IOPL. */
static void virtual_8086(void **state)
{
	struct integer_rig *r = ir_new(IR_VM86);

	(void)state;
	cpu_set_rflags(r->cpu, IOPL(3));
	set_bitmap(r, IR_PORT, true);
	r->cpu->gpr[GPR_RDX] = IR_PORT;
	assert_int_equal(IR_EXEC(r, 0xec), VECTOR_GP);
	set_bitmap(r, IR_PORT, false);
	assert_int_equal(IR_EXEC(r, 0xec), IR_FINE);
	ir_free(r);
}

/* The device is not asked when the memory cannot take what it says. */
static void ins_faults_first(void **state)
{
	struct integer_rig *r = ir_new(IR_64);

	(void)state;
	ir_map(r, 0x61000, 0);
	for (unsigned i = 0; i < sizeof(r->ports); i++)
		r->ports[i] = (uint8_t)(i + 1);
	r->cpu->gpr[GPR_RDX] = IR_PORT;
	r->cpu->gpr[GPR_RCX] = 4;
	r->cpu->gpr[GPR_RDI] = 0x60ffa;
	assert_int_equal(IR_REPEAT(r, NULL, 0xf3, 0x6d), VECTOR_PF);
	assert_int_equal(r->port_reads, 1);
	assert_int_equal(r->cpu->gpr[GPR_RCX], 3);
	assert_int_equal(r->cpu->gpr[GPR_RDI], 0x60ffe);
	assert_int_equal(ir_get(r, 0x60ffa, 4), 0x04030201);
	ir_free(r);
}

/* Nor when it is not aligned and alignment is checked. */
static void ins_checks_alignment_first(void **state)
{
	struct integer_rig *r = ir_new(IR_64);

	(void)state;
	ir_set_cpl(r, 3);
	r->cpu->cr0 |= CR0_AM;
	cpu_set_rflags(r->cpu, IOPL(3) | RFLAGS_AC);
	mmu_flush(r->cpu, true);
	r->cpu->gpr[GPR_RDX] = IR_PORT;
	r->cpu->gpr[GPR_RDI] = 0x60002;
	assert_int_equal(IR_EXEC(r, 0x6d), VECTOR_AC);
	assert_int_equal(r->port_reads, 0);
	assert_int_equal(r->cpu->gpr[GPR_RDI], 0x60002);
	assert_int_equal(IR_EXEC(r, 0x66, 0x6d), IR_FINE);
	assert_int_equal(r->port_reads, 1);
	ir_free(r);
}

/* SDM vol. 3A table 20-2: PUSHF and POPF with IOPL below 3. */
static void flags_in_vm86(void **state)
{
	struct integer_rig *r = ir_new(IR_VM86);

	(void)state;
	assert_int_equal(IR_EXEC(r, 0x9c), VECTOR_GP);
	assert_int_equal(IR_EXEC(r, 0x9d), VECTOR_GP);
	r->cpu->cr4 |= CR4_VME;
	assert_int_equal(IR_EXEC(r, 0x66, 0x9c), VECTOR_GP); /* only of 16 bits */
	cpu_set_rflags(r->cpu, RFLAGS_VIF | RFLAGS_CF);
	assert_int_equal(IR_EXEC(r, 0x9c), IR_FINE);
	assert_int_equal(ir_get(r, IR_STACK + IR_SP - 2, 2), 0x3000 | RFLAGS_IF | 3);
	/* POPF: IF goes to VIF, IF and IOPL stay. */
	ir_put(r, IR_STACK + IR_SP - 2, 2, RFLAGS_ZF);
	assert_int_equal(IR_EXEC(r, 0x9d), IR_FINE);
	assert_int_equal(r->cpu->rflags, RFLAGS_VM | RFLAGS_FIXED | RFLAGS_ZF);
	assert_int_equal(r->cpu->gpr[GPR_RSP], IR_SP);
	cpu_set_rflags(r->cpu, RFLAGS_VIP);
	ir_put(r, IR_STACK + IR_SP, 2, RFLAGS_IF);
	assert_int_equal(IR_EXEC(r, 0x9d), VECTOR_GP);
	assert_int_equal(r->cpu->gpr[GPR_RSP], IR_SP);
	ir_put(r, IR_STACK + IR_SP, 2, RFLAGS_TF);
	assert_int_equal(IR_EXEC(r, 0x9d), VECTOR_GP);
	ir_free(r);
}

/* SDM vol. 2 "POPF": IOPL by CPL 0 only, IF by CPL up to IOPL. */
static void popf_by_level(void **state)
{
	struct integer_rig *r = ir_new(IR_32);
	const uint64_t all = IOPL(3) | RFLAGS_IF | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_VM | RFLAGS_RF;

	(void)state;
	ir_put(r, IR_STACK + IR_SP, 4, all);
	assert_int_equal(IR_EXEC(r, 0x9d), IR_FINE);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | IOPL(3) | RFLAGS_IF);
	r->cpu->gpr[GPR_RSP] = IR_SP;
	ir_set_cpl(r, 3);
	ir_put(r, IR_STACK + IR_SP, 4, 0);
	assert_int_equal(IR_EXEC(r, 0x9d), IR_FINE);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | IOPL(3));
	r->cpu->gpr[GPR_RSP] = IR_SP;
	cpu_set_rflags(r->cpu, IOPL(2));
	ir_put(r, IR_STACK + IR_SP, 4, all);
	assert_int_equal(IR_EXEC(r, 0x9d), IR_FINE);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | IOPL(2));
	ir_free(r);
}

/* An address by RSP is formed after the pop; a pop that cannot be written leaves RSP. */
static void pop_to_memory(void **state)
{
	struct integer_rig *r = ir_new(IR_64);
	const uint64_t sp = IR_STACK + IR_SP;

	(void)state;
	ir_put(r, sp, 8, 0x1122334455667788);
	assert_int_equal(IR_EXEC(r, 0x8f, 0x44, 0x24, 0x10), IR_FINE); /* POP [RSP + 16] */
	assert_int_equal(ir_get(r, sp + 0x18, 8), 0x1122334455667788);
	assert_int_equal(r->cpu->gpr[GPR_RSP], sp + 8);
	ir_map(r, 0x60000, 0);
	r->cpu->gpr[GPR_RAX] = 0x60000;
	assert_int_equal(IR_EXEC(r, 0x8f, 0x00), VECTOR_PF);
	assert_int_equal(r->cpu->gpr[GPR_RSP], sp + 8);
	/* A call beyond the canonical addresses pushes nothing. */
	ir_put(r, sp, 8, 0);
	r->cpu->gpr[GPR_RAX] = 0x800000000000;
	assert_int_equal(IR_EXEC(r, 0xff, 0xd0), VECTOR_GP);
	assert_int_equal(r->cpu->gpr[GPR_RSP], sp + 8);
	assert_int_equal(ir_get(r, sp, 8), 0);
	ir_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(privilege_level), cmocka_unit_test(bitmap),
		cmocka_unit_test(virtual_8086),    cmocka_unit_test(ins_faults_first),
		cmocka_unit_test(flags_in_vm86),   cmocka_unit_test(popf_by_level),
		cmocka_unit_test(pop_to_memory),   cmocka_unit_test(ins_checks_alignment_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
