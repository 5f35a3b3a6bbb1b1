/* SPDX-License-Identifier: Apache-2.0 */
/* Delivery of interrupts and exceptions: SDM vol. 2 (INT n), vol. 3A chapter 6, 20.1.4 and 20.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "far_rig.h"

#define HANDLER 0x4321
#define VECTOR  0x21

#define GATE(t, d, s, o)                                        \
	{                                                       \
		.type = t, .dpl = d, .selector = s, .offset = o \
	}

static void put_idt(struct far_rig *r, unsigned vector, const struct fr_gate *g)
{
	fr_put_gate(r, FR_IDT + vector * (r->cpu->efer & EFER_LMA ? 16 : 8), g);
}

struct gate_case {
	const char *what;
	enum fr_mode mode;
	unsigned cpl;
	struct fr_gate gate;
	int interrupt, soft; /* vectors */
	uint32_t error;      /* without EXT */
};

#define IDT_ERROR (VECTOR << 3 | 2)

static const struct gate_case gates[] = {
	{"same level", FR_PROTECTED, 0, GATE(14, 0, FR_CODE0, HANDLER), FR_FINE, FR_FINE, 0},
	{"inner level", FR_PROTECTED, 3, GATE(14, 3, FR_CODE0, HANDLER), FR_FINE, FR_FINE, 0},
	{"gate's DPL", FR_PROTECTED, 3, GATE(14, 0, FR_CODE0, HANDLER), FR_FINE, VECTOR_GP,
	 IDT_ERROR},
	{"conforming", FR_PROTECTED, 3, GATE(15, 3, FR_CONFORMING0, HANDLER), FR_FINE, FR_FINE, 0},
	{"call gate", FR_PROTECTED, 0, GATE(12, 0, FR_CODE0, HANDLER), VECTOR_GP, VECTOR_GP,
	 IDT_ERROR},
	{"absent gate",
	 FR_PROTECTED,
	 0,
	 {.type = 14, .absent = true},
	 VECTOR_NP,
	 VECTOR_NP,
	 IDT_ERROR},
	{"null code", FR_PROTECTED, 0, GATE(14, 0, 0, HANDLER), VECTOR_GP, VECTOR_GP, 0},
	{"data", FR_PROTECTED, 0, GATE(14, 0, FR_DATA0, HANDLER), VECTOR_GP, VECTOR_GP, FR_DATA0},
	{"outer code", FR_PROTECTED, 0, GATE(14, 0, FR_CODE3, HANDLER), VECTOR_GP, VECTOR_GP,
	 FR_CODE3},
	{"absent code", FR_PROTECTED, 0, GATE(14, 0, FR_ABSENT_CODE0, HANDLER), VECTOR_NP,
	 VECTOR_NP, FR_ABSENT_CODE0},
	{"beyond the table", FR_PROTECTED, 0, GATE(14, 0, FR_GDT_END, HANDLER), VECTOR_GP,
	 VECTOR_GP, FR_GDT_END},
	{"beyond the segment", FR_PROTECTED, 0, GATE(14, 0, FR_CODE0, 0x100000), VECTOR_GP,
	 VECTOR_GP, 0},
	{"64", FR_64, 3, GATE(14, 3, FR_LONG0, 0xffffffff80001000), FR_FINE, FR_FINE, 0},
	{"64, from compat", FR_COMPAT, 3, GATE(15, 3, FR_LONG0, HANDLER), FR_FINE, FR_FINE, 0},
	{"64, 32-bit code", FR_64, 0, GATE(14, 0, FR_CODE0, HANDLER), VECTOR_GP, VECTOR_GP,
	 FR_CODE0},
	{"64, 16-bit gate", FR_64, 0, GATE(6, 0, FR_LONG0, HANDLER), VECTOR_GP, VECTOR_GP,
	 IDT_ERROR},
	{"64, task gate", FR_64, 0, GATE(5, 0, FR_TSS2_SELECTOR, 0), VECTOR_GP, VECTOR_GP,
	 IDT_ERROR},
	{"64, not canonical", FR_64, 0, GATE(14, 0, FR_LONG0, 0x800000000000), VECTOR_GP, VECTOR_GP,
	 0},
	{"64, DPL", FR_64, 3, GATE(14, 0, FR_LONG0, HANDLER), FR_FINE, VECTOR_GP, IDT_ERROR},
};

static void check_gate(const struct gate_case *c, bool soft)
{
	struct far_rig *r = fr_new(c->mode, c->cpl);
	uint64_t rsp = r->cpu->gpr[GPR_RSP];
	int expected = soft ? c->soft : c->interrupt;
	int vector;

	put_idt(r, VECTOR, &c->gate);
	vector = soft ? FR_EXEC(r, 0xcd, VECTOR)
		      : fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0);
	if (vector != expected)
		print_message("%s: vector %d\n", c->what, vector);
	assert_int_equal(vector, expected);
	if (vector == FR_FINE) {
		assert_int_equal(r->cpu->rip, c->gate.offset);
		assert_int_equal(r->cpu->next_rip, c->gate.offset);
		assert_int_equal(r->cpu->seg[SEG_CS].selector, c->gate.selector | r->cpu->cpl);
		assert_int_equal(r->cpu->cpl, c->gate.selector == FR_CONFORMING0 ? c->cpl : 0);
	} else {
		assert_int_equal(r->cpu->exception.error, c->error | !soft);
		assert_int_equal(r->cpu->gpr[GPR_RSP], rsp);
		assert_int_equal(r->cpu->cpl, c->cpl);
		assert_int_equal(r->cpu->rip, FR_CODE);
	}
	fr_free(r);
}

static void gates_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(gates); i++) {
		check_gate(&gates[i], false);
		check_gate(&gates[i], true);
	}
}

static void the_tables_limit_counts(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 0);

	(void)state;
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	r->cpu->idt.limit = VECTOR * 8 + 6;
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, IDT_ERROR | 1);
	/* An exception is external to the program, too; INT1 is no INT n. */
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_UD, false, 0), VECTOR_GP);
	r->cpu->idt.limit = 0;
	assert_int_equal(FR_EXEC(r, 0xf1), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, VECTOR_DB << 3 | 2 | 1);
	assert_int_equal(FR_EXEC(r, 0xcc), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, VECTOR_BP << 3 | 2);
	fr_free(r);

	r = fr_new(FR_64, 0);
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 0, FR_LONG0, HANDLER));
	r->cpu->idt.limit = VECTOR * 16 + 14;
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), VECTOR_GP);
	r->cpu->idt.limit = VECTOR * 16 + 15;
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), FR_FINE);
	fr_free(r);
}

static void frames_of_32_bit_gates(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 3);
	const uint64_t flags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_AC |
			       RFLAGS_CF;

	(void)state;
	put_idt(r, VECTOR_GP, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	cpu_set_rflags(r->cpu, flags);
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_GP, true, 0x1238), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 24);
	assert_int_equal(fr_top(r, 0, 4), 0x1238);
	assert_int_equal(fr_top(r, 1, 4), FR_CODE);
	assert_int_equal(fr_top(r, 2, 4), FR_CODE3 | 3);
	assert_int_equal(fr_top(r, 3, 4), flags | RFLAGS_RF);
	assert_int_equal(fr_top(r, 4, 4), FR_STACK3);
	assert_int_equal(fr_top(r, 5, 4), FR_DATA3 | 3);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, FR_DATA0);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_AC | RFLAGS_CF);

	/* Same level: no stack switch. A trap gate leaves IF. */
	put_idt(r, VECTOR, &(struct fr_gate)GATE(15, 0, FR_CODE0, HANDLER + 1));
	cpu_set_rflags(r->cpu, flags);
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 36);
	assert_int_equal(fr_top(r, 0, 4), HANDLER);
	assert_int_equal(fr_top(r, 1, 4), FR_CODE0);
	assert_int_equal(fr_top(r, 2, 4), flags);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_AC | RFLAGS_CF | RFLAGS_IF);
	fr_free(r);
}

static void frames_of_16_bit_gates(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 3);

	(void)state;
	put_idt(r, VECTOR_GP, &(struct fr_gate)GATE(6, 0, FR_CODE0, 0x99994321));
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_GP, true, 0x1238), FR_FINE);
	assert_int_equal(r->cpu->rip, 0x4321);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 12);
	assert_int_equal(fr_top(r, 0, 2), 0x1238);
	assert_int_equal(fr_top(r, 1, 2), FR_CODE & 0xffff);
	assert_int_equal(fr_top(r, 2, 2), FR_CODE3 | 3);
	assert_int_equal(fr_top(r, 3, 2), RFLAGS_FIXED);
	assert_int_equal(fr_top(r, 4, 2), FR_STACK3);
	fr_free(r);
}

static void check_long_frame(struct far_rig *r, uint64_t sp, uint64_t old_rsp, uint16_t old_ss)
{
	assert_int_equal(r->cpu->gpr[GPR_RSP], sp - 48);
	assert_int_equal(fr_top(r, 0, 8), 0x5);
	assert_int_equal(fr_top(r, 1, 8), FR_CODE);
	assert_int_equal(fr_top(r, 3, 8), RFLAGS_FIXED | RFLAGS_RF);
	assert_int_equal(fr_top(r, 4, 8), old_rsp);
	assert_int_equal(fr_top(r, 5, 8), old_ss);
}

static void frames_of_64_bit_gates(void **state)
{
	struct far_rig *r = fr_new(FR_64, 3);

	(void)state;
	put_idt(r, VECTOR_PF, &(struct fr_gate)GATE(14, 0, FR_LONG0, HANDLER));
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_PF, true, 5), FR_FINE);
	check_long_frame(r, FR_STACK0, FR_STACK3, FR_DATA3 | 3);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, 0);
	assert_true(r->cpu->seg[SEG_SS].attr & SEG_ATTR_UNUSABLE);
	fr_free(r);

	/* Same level: aligned to 16 bytes, SS as it was. */
	r = fr_new(FR_64, 0);
	put_idt(r, VECTOR_PF, &(struct fr_gate)GATE(14, 0, FR_LONG0, HANDLER));
	r->cpu->gpr[GPR_RSP] = FR_STACK0 - 7;
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_PF, true, 5), FR_FINE);
	check_long_frame(r, FR_STACK0 - 16, FR_STACK0 - 7, FR_DATA0);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, FR_DATA0);
	fr_free(r);

	/* The interrupt stack table, at any level; it is aligned, too. */
	for (unsigned cpl = 0; cpl <= 3; cpl += 3) {
		struct fr_gate ist = GATE(14, 0, FR_LONG0, HANDLER);

		ist.params = 1;
		r = fr_new(FR_64, cpl);
		put_idt(r, VECTOR_PF, &ist);
		assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_PF, true, 5), FR_FINE);
		check_long_frame(r, FR_IST & ~15, cpl ? FR_STACK3 : FR_STACK0,
				 cpl ? FR_DATA3 | 3 : FR_DATA0);
		assert_int_equal(r->cpu->seg[SEG_SS].selector, cpl ? 0 : FR_DATA0);
		fr_free(r);
	}
}

static void bad_stacks_of_64_bit_mode(void **state)
{
	struct far_rig *r = fr_new(FR_64, 3);

	(void)state;
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 3, FR_LONG0, HANDLER));
	fr_put(r, FR_TSS + 4, 8, 0x800000000000);
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), VECTOR_SS);
	assert_int_equal(r->cpu->exception.error, 1);
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_SS);
	assert_int_equal(r->cpu->exception.error, 0);
	r->cpu->tr.limit = 10;
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_TS);
	assert_int_equal(r->cpu->exception.error, FR_TSS_SELECTOR);
	/* An unmapped stack: the first value pushed faults, nothing else has happened. */
	r->cpu->tr.limit = 0x67;
	fr_put(r, FR_TSS + 4, 8, 0x40000010);
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_PF);
	assert_int_equal(r->cpu->exception.payload, 0x40000008);
	assert_int_equal(r->cpu->exception.error, PFERR_W);
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3);
	fr_free(r);
}

static void return_addresses(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 0);

	(void)state;
	put_idt(r, VECTOR_BP, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	put_idt(r, VECTOR_DB, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	put_idt(r, VECTOR_OF, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	assert_int_equal(FR_EXEC(r, 0xcc), FR_FINE);
	assert_int_equal(fr_top(r, 0, 4), FR_CODE + 1);
	assert_int_equal(fr_top(r, 2, 4), RFLAGS_FIXED); /* a trap: RF is clear */
	assert_int_equal(r->cpu->rip, HANDLER);
	assert_int_equal(FR_EXEC(r, 0xf1), FR_FINE);
	assert_int_equal(fr_top(r, 0, 4), HANDLER + 1);
	r->cpu->rip = FR_CODE;
	assert_int_equal(FR_EXEC(r, 0xce), FR_FINE); /* into, no overflow */
	assert_int_equal(r->cpu->rip, FR_CODE + 1);
	cpu_set_rflags(r->cpu, RFLAGS_OF);
	assert_int_equal(FR_EXEC(r, 0xce), FR_FINE);
	assert_int_equal(r->cpu->rip, HANDLER);
	assert_int_equal(fr_top(r, 0, 4), FR_CODE + 2);
	fr_free(r);

	/* INT1 does not ask for the gate's DPL, INT3 does. */
	r = fr_new(FR_PROTECTED, 3);
	put_idt(r, VECTOR_BP, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	put_idt(r, VECTOR_DB, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
	assert_int_equal(FR_EXEC(r, 0xcc), VECTOR_GP);
	assert_int_equal(FR_EXEC(r, 0xf1), FR_FINE);
	fr_free(r);
}

static void rf_is_pushed_for_faults(void **state)
{
	static const struct {
		uint8_t vector;
		bool rf;
	} cases[] = {
		{VECTOR_DE, true},  {VECTOR_DB, false}, {VECTOR_UD, true},
		{VECTOR_DF, false}, {VECTOR_PF, true},  {VECTOR_MC, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct far_rig *r = fr_new(FR_PROTECTED, 0);

		put_idt(r, cases[i].vector, &(struct fr_gate)GATE(14, 0, FR_CODE0, HANDLER));
		assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, cases[i].vector, false, 0),
				 FR_FINE);
		assert_int_equal(!!(fr_top(r, 2, 4) & RFLAGS_RF), cases[i].rf);
		/* Whoever interrupted a string instruction set RF. */
		cpu_set_rflags(r->cpu, RFLAGS_RF);
		assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, cases[i].vector, false, 0),
				 FR_FINE);
		assert_true(fr_top(r, 2, 4) & RFLAGS_RF);
		assert_false(r->cpu->rflags & RFLAGS_RF);
		fr_free(r);
	}
}

static void real_mode_uses_the_vector_table(void **state)
{
	struct far_rig *r = fr_new(FR_REAL, 0);
	const uint64_t flags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_CF;

	(void)state;
	r->cpu->idt = (struct descriptor_table){.base = 0x800, .limit = 0x3ff};
	r->cpu->rip = 0x77;
	fr_put(r, 0x800 + VECTOR * 4, 2, HANDLER);
	fr_put(r, 0x800 + VECTOR * 4 + 2, 2, 0xf000);
	cpu_set_rflags(r->cpu, flags);
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), FR_FINE);
	assert_int_equal(r->cpu->rip, HANDLER);
	assert_int_equal(r->cpu->seg[SEG_CS].selector, 0xf000);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0xf0000);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 6);
	assert_int_equal(fr_top(r, 0, 2), 0x79);
	assert_int_equal(fr_top(r, 1, 2), FR_CODE >> 4);
	assert_int_equal(fr_top(r, 2, 2), flags & 0xffff);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
	/* No error codes. */
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR, true, 0x9999), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 12);
	assert_int_equal(fr_top(r, 0, 2), HANDLER);
	r->cpu->idt.limit = VECTOR * 4 + 2;
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_GP);
	r->cpu->idt.limit = 0x3ff;
	r->cpu->gpr[GPR_RSP] = 5;
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_SS);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 5);
	fr_free(r);
}

static struct far_rig *vm86(unsigned iopl)
{
	struct far_rig *r = fr_new(FR_VM86, 3);
	static const uint8_t segs[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned i = 0; i < ARRAY_LEN(segs); i++)
		r->cpu->seg[segs[i]].selector = 0x1111 * (i + 1);
	cpu_set_rflags(r->cpu, RFLAGS_IF | iopl << RFLAGS_IOPL_SHIFT);
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 3, FR_CODE0, HANDLER));
	return r;
}

static void virtual_8086_mode_is_left_for_level_0(void **state)
{
	struct far_rig *r = vm86(3);

	(void)state;
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_PROTECTED);
	assert_int_equal(r->cpu->cpl, 0);
	assert_int_equal(r->cpu->rip, HANDLER);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 36);
	assert_int_equal(fr_top(r, 0, 4), 2);
	assert_int_equal(fr_top(r, 1, 4), FR_CODE >> 4);
	assert_int_equal(fr_top(r, 2, 4), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VM);
	assert_int_equal(fr_top(r, 3, 4), FR_STACK3);
	assert_int_equal(fr_top(r, 4, 4), 0);
	assert_int_equal(fr_top(r, 5, 4), 0x1111); /* ES, DS, FS, GS */
	assert_int_equal(fr_top(r, 6, 4), 0x2222);
	assert_int_equal(fr_top(r, 7, 4), 0x3333);
	assert_int_equal(fr_top(r, 8, 4), 0x4444);
	assert_int_equal(r->cpu->seg[SEG_DS].selector, 0);
	assert_true(r->cpu->seg[SEG_GS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_IOPL);
	fr_free(r);

	/* Below IOPL 3 INT n is for the monitor, INT3 is not. */
	r = vm86(0);
	put_idt(r, VECTOR_BP, &(struct fr_gate)GATE(14, 3, FR_CODE0, HANDLER));
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	assert_int_equal(FR_EXEC(r, 0xcc), FR_FINE);
	assert_int_equal(r->cpu->cpl, 0);
	fr_free(r);

	/* To no other level. */
	r = vm86(3);
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 3, FR_CODE1, HANDLER));
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, FR_CODE1);
	put_idt(r, VECTOR, &(struct fr_gate)GATE(14, 3, FR_CONFORMING0, HANDLER));
	assert_int_equal(FR_EXEC(r, 0xcd, VECTOR), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, FR_CONFORMING0);
	fr_free(r);
}

/* CR4.VME: a clear bit in the TSS leaves INT n to the 8086 program. SDM vol. 3B, table 20-2. */
static void vme_redirects_software_interrupts(void **state)
{
	(void)state;
	for (unsigned iopl = 0; iopl <= 3; iopl += 3)
		for (unsigned bit = 0; bit < 2; bit++) {
			struct far_rig *r = vm86(iopl);
			const uint64_t before = r->cpu->rflags | RFLAGS_VIF;
			int vector;

			r->cpu->cr4 |= CR4_VME;
			r->cpu->rflags = before;
			fr_put(r, FR_TSS + 102, 2, 0x68 + 32 - 8);
			r->cpu->tr.limit = 0x68 + 32 + 8;
			fr_put(r, FR_TSS + 0x68 - 8 + VECTOR / 8, 1, bit << VECTOR % 8);
			fr_put(r, VECTOR * 4, 4, 0x12340056);
			vector = FR_EXEC(r, 0xcd, VECTOR);
			if (bit) {
				assert_int_equal(vector, iopl == 3 ? FR_FINE : VECTOR_GP);
				assert_int_equal(r->cpu->cpl, iopl == 3 ? 0 : 3);
			} else {
				const uint64_t cleared = iopl == 3 ? RFLAGS_IF : RFLAGS_VIF;

				assert_int_equal(vector, FR_FINE);
				assert_int_equal(r->cpu->mode, CPU_VM86);
				assert_int_equal(r->cpu->rip, 0x56);
				assert_int_equal(r->cpu->seg[SEG_CS].base, 0x12340);
				assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3 - 6);
				assert_int_equal(fr_top(r, 0, 2), 2);
				assert_int_equal(fr_top(r, 2, 2),
						 RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL);
				assert_int_equal(r->cpu->rflags, before & ~cleared);
			}
			fr_free(r);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gates_are_checked),
		cmocka_unit_test(the_tables_limit_counts),
		cmocka_unit_test(frames_of_32_bit_gates),
		cmocka_unit_test(frames_of_16_bit_gates),
		cmocka_unit_test(frames_of_64_bit_gates),
		cmocka_unit_test(bad_stacks_of_64_bit_mode),
		cmocka_unit_test(return_addresses),
		cmocka_unit_test(rf_is_pushed_for_faults),
		cmocka_unit_test(real_mode_uses_the_vector_table),
		cmocka_unit_test(virtual_8086_mode_is_left_for_level_0),
		cmocka_unit_test(vme_redirects_software_interrupts),
	};

	return cmocka_run_group_tests_name("bt_deliver", tests, NULL, NULL);
}
