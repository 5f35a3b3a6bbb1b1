/* SPDX-License-Identifier: Apache-2.0 */
/* IRET in all modes: SDM vol. 2 (IRET), vol. 3B 20.3.3.4 (VME). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "far_rig.h"

#define TARGET 0x1234
#define STATUS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define ALL                                                                                 \
	(STATUS | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | \
	 RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)

/* Puts values of size bytes on the stack, the first on top. */
static void push(struct far_rig *r, unsigned size, unsigned count, const uint64_t *values)
{
	uint64_t base = r->cpu->mode == CPU_LONG ? 0 : r->cpu->seg[SEG_SS].base;

	r->cpu->gpr[GPR_RSP] -= count * size;
	for (unsigned i = 0; i < count; i++)
		fr_put(r, base + r->cpu->gpr[GPR_RSP] + i * size, size, values[i]);
}

#define PUSH(r, size, ...)                                                        \
	push(r, size, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), \
	     (const uint64_t[]){__VA_ARGS__})

struct level_case {
	const char *what;
	enum fr_mode mode;
	unsigned cpl;
	uint16_t cs, ss;
	int vector;
	uint32_t error;
};

static const struct level_case levels[] = {
	{"same level", FR_PROTECTED, 0, FR_CODE0, 0, FR_FINE, 0},
	{"outer level", FR_PROTECTED, 0, FR_CODE3 | 3, FR_DATA3 | 3, FR_FINE, 0},
	{"inner level", FR_PROTECTED, 3, FR_CODE0, FR_DATA0, VECTOR_GP, FR_CODE0},
	{"null code", FR_PROTECTED, 0, 0, 0, VECTOR_GP, 0},
	{"data", FR_PROTECTED, 0, FR_DATA0, 0, VECTOR_GP, FR_DATA0},
	{"DPL is not RPL", FR_PROTECTED, 0, FR_CODE3, FR_DATA3, VECTOR_GP, FR_CODE3},
	{"conforming", FR_PROTECTED, 0, FR_CONFORMING0 | 3, FR_DATA3 | 3, FR_FINE, 0},
	{"absent", FR_PROTECTED, 0, FR_ABSENT_CODE0, 0, VECTOR_NP, FR_ABSENT_CODE0},
	{"null stack", FR_PROTECTED, 0, FR_CODE3 | 3, 0, VECTOR_GP, 0},
	{"stack's RPL", FR_PROTECTED, 0, FR_CODE3 | 3, FR_DATA3, VECTOR_GP, FR_DATA3},
	{"stack absent", FR_PROTECTED, 0, FR_CODE3 | 3, FR_ABSENT_DATA3 | 3, VECTOR_SS,
	 FR_ABSENT_DATA3},
	{"64, same level", FR_64, 0, FR_LONG0, FR_DATA0, FR_FINE, 0},
	{"64, same level, null stack", FR_64, 0, FR_LONG0, 0, FR_FINE, 0},
	{"64, same level, stack of another", FR_64, 0, FR_LONG0, FR_DATA3, VECTOR_GP, FR_DATA3},
	{"64, level 3", FR_64, 0, FR_LONG3 | 3, FR_DATA3 | 3, FR_FINE, 0},
	{"64, level 3, null stack", FR_64, 0, FR_LONG3 | 3, 3, VECTOR_GP, 0},
	{"64 to compat", FR_64, 0, FR_CODE3 | 3, FR_DATA3 | 3, FR_FINE, 0},
	{"64 to compat, same level", FR_64, 0, FR_CODE0, FR_DATA0, FR_FINE, 0},
	{"64 to compat, null stack", FR_64, 0, FR_CODE0, 0, VECTOR_GP, 0},
	{"64, user to user", FR_64, 3, FR_LONG3 | 3, FR_DATA3 | 3, FR_FINE, 0},
	{"64, L and D", FR_64, 0, FR_LONG_BIG, FR_DATA0, VECTOR_GP, FR_LONG_BIG},
	{"compat, same level", FR_COMPAT, 0, FR_CODE0, 0, FR_FINE, 0},
	{"compat to 64", FR_COMPAT, 0, FR_LONG0, 0, FR_FINE, 0},
};

static void check_level(const struct level_case *c)
{
	struct far_rig *r = fr_new(c->mode, c->cpl);
	bool stack = c->mode == FR_64 || (c->cs & 3) > c->cpl;
	unsigned size = c->mode == FR_64 ? 8 : 4;
	uint64_t rsp;
	int vector;

	r->cpu->nmi_masked = true;
	r->cpu->amd = true;
	PUSH(r, size, TARGET, c->cs, RFLAGS_FIXED | RFLAGS_CF, 0x7777, c->ss);
	rsp = r->cpu->gpr[GPR_RSP];
	vector = size == 8 ? FR_EXEC(r, 0x48, 0xcf) : FR_EXEC(r, 0xcf);
	if (vector != c->vector)
		print_message("%s: vector %d\n", c->what, vector);
	assert_int_equal(vector, c->vector);
	if (vector != FR_FINE) {
		assert_int_equal(r->cpu->exception.error, c->error);
		assert_int_equal(r->cpu->gpr[GPR_RSP], rsp);
		assert_int_equal(r->cpu->cpl, c->cpl);
		assert_int_equal(r->cpu->rflags, RFLAGS_FIXED);
		assert_true(r->cpu->nmi_masked); /* as on AMD's processors */
	} else {
		assert_int_equal(r->cpu->rip, TARGET);
		assert_int_equal(r->cpu->cpl, c->cs & 3);
		assert_int_equal(r->cpu->seg[SEG_CS].selector, c->cs);
		assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
		assert_int_equal(r->cpu->gpr[GPR_RSP], stack ? 0x7777 : rsp + 12);
		assert_false(r->cpu->nmi_masked);
		if (stack)
			assert_int_equal(r->cpu->seg[SEG_SS].selector, c->ss);
	}
	fr_free(r);
}

static void levels_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(levels); i++)
		check_level(&levels[i]);
}

static void targets_are_checked(void **state)
{
	struct far_rig *r = fr_new(FR_64, 0);

	(void)state;
	PUSH(r, 8, 0x800000000000, FR_LONG3 | 3, RFLAGS_FIXED, 0, FR_DATA3 | 3);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	PUSH(r, 8, 0x100000, FR_CODE3 | 3, RFLAGS_FIXED, 0, FR_DATA3 | 3);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), VECTOR_GP);
	PUSH(r, 8, 0x100000, FR_LONG3 | 3, RFLAGS_FIXED, 0xfffff00000000000, FR_DATA3 | 3);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 0xfffff00000000000); /* checked when it is used */
	fr_free(r);
}

struct flags_case {
	enum fr_mode mode;
	unsigned cpl, iopl, size;
	uint64_t changes;
};

/* What IRET changes of RFLAGS, by mode, CPL, IOPL and operand size. */
static const struct flags_case flags_cases[] = {
	{FR_PROTECTED, 0, 0, 4, ALL},
	{FR_PROTECTED, 0, 0, 2, ALL & 0xffff},
	{FR_PROTECTED, 3, 0, 4, ALL & ~(RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP)},
	{FR_PROTECTED, 3, 3, 4, ALL & ~(RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP)},
	{FR_PROTECTED, 1, 1, 2, ALL & 0xffff & ~RFLAGS_IOPL},
	{FR_PROTECTED, 1, 0, 2, ALL & 0xffff & ~(RFLAGS_IOPL | RFLAGS_IF)},
	{FR_64, 0, 0, 8, ALL},
	{FR_64, 3, 0, 8, ALL & ~(RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP)},
	{FR_REAL, 0, 0, 4, ALL & ~(RFLAGS_VIF | RFLAGS_VIP)},
	{FR_REAL, 0, 0, 2, ALL & 0xffff},
	{FR_VM86, 3, 3, 4, ALL & ~(RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP)},
	{FR_VM86, 3, 3, 2, ALL & 0xffff & ~RFLAGS_IOPL},
};

static void check_flags(const struct flags_case *c, bool set)
{
	struct far_rig *r = fr_new(c->mode, c->cpl);
	uint64_t iopl = (uint64_t)c->iopl << RFLAGS_IOPL_SHIFT;
	uint64_t before = (set ? iopl : (ALL & ~(RFLAGS_NT | RFLAGS_IOPL)) | iopl) | RFLAGS_FIXED;
	uint64_t image = set ? ALL : 0;
	uint64_t vm = c->mode == FR_VM86 ? RFLAGS_VM : 0;
	int vector;

	cpu_set_rflags(r->cpu, before);
	PUSH(r, c->size, TARGET, r->cpu->seg[SEG_CS].selector, image, FR_STACK3,
	     r->cpu->seg[SEG_SS].selector);
	if (c->size == 8)
		vector = FR_EXEC(r, 0x48, 0xcf);
	else if ((c->size == 2) == (r->cpu->decode != DECODE_32))
		vector = FR_EXEC(r, 0xcf);
	else
		vector = FR_EXEC(r, 0x66, 0xcf);
	assert_int_equal(vector, FR_FINE);
	assert_int_equal(r->cpu->rflags,
			 (image & c->changes) | (before & ~c->changes) | RFLAGS_FIXED | vm);
	fr_free(r);
}

static void flags_change_by_privilege(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(flags_cases); i++) {
		check_flags(&flags_cases[i], true);
		check_flags(&flags_cases[i], false);
	}
}

static void to_virtual_8086_mode(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 0);

	(void)state;
	PUSH(r, 4, 0x8765, 0x1234, ALL | RFLAGS_VM, 0x1ffe0, 0x2000, 0xabcd0001, 2, 3, 4);
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_VM86);
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(r->cpu->rip, 0x8765);
	assert_int_equal(r->cpu->rflags, ALL | RFLAGS_VM | RFLAGS_FIXED);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 0x1ffe0);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0x12340);
	assert_int_equal(r->cpu->seg[SEG_SS].base, 0x20000);
	assert_int_equal(r->cpu->seg[SEG_ES].selector, 1);
	assert_int_equal(r->cpu->seg[SEG_DS].selector, 2);
	assert_int_equal(r->cpu->seg[SEG_FS].selector, 3);
	assert_int_equal(r->cpu->seg[SEG_GS].base, 0x40);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(r->cpu->seg[i].limit, 0xffff);
		assert_int_equal(r->cpu->seg[i].attr, 0xf3);
	}
	fr_free(r);

	/* From level 3, or by 16 bits, VM means nothing. */
	r = fr_new(FR_PROTECTED, 3);
	PUSH(r, 4, TARGET, FR_CODE3 | 3, RFLAGS_VM);
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_PROTECTED);
	fr_free(r);
	r = fr_new(FR_64, 0);
	PUSH(r, 8, TARGET, FR_LONG0, RFLAGS_VM, FR_STACK0, FR_DATA0);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_LONG);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED);
	fr_free(r);
}

static void in_virtual_8086_mode(void **state)
{
	struct far_rig *r = fr_new(FR_VM86, 3);

	(void)state;
	r->cpu->nmi_masked = true;
	PUSH(r, 2, TARGET, 0x2000, RFLAGS_IF | RFLAGS_CF);
	assert_int_equal(FR_EXEC(r, 0xcf), VECTOR_GP); /* IOPL 0 */
	assert_int_equal(r->cpu->exception.error, 0);
	assert_false(r->cpu->nmi_masked); /* as on Intel's processors */
	/* VME: IF of the image is VIF, IF and IOPL stay. */
	r->cpu->cr4 |= CR4_VME;
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->rip, TARGET);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0x20000);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_VM | RFLAGS_VIF | RFLAGS_CF);
	PUSH(r, 2, TARGET, 0x2000, RFLAGS_IOPL);
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_VM);
	/* An interrupt that waits, a trap, 32 bits. */
	r->cpu->rflags |= RFLAGS_VIP;
	PUSH(r, 2, TARGET, 0x2000, RFLAGS_IF);
	assert_int_equal(FR_EXEC(r, 0xcf), VECTOR_GP);
	r->cpu->rflags &= ~RFLAGS_VIP;
	PUSH(r, 2, TARGET, 0x2000, RFLAGS_TF);
	assert_int_equal(FR_EXEC(r, 0xcf), VECTOR_GP);
	PUSH(r, 4, TARGET, 0x2000, 0);
	assert_int_equal(FR_EXEC(r, 0x66, 0xcf), VECTOR_GP);
	fr_free(r);
}

static void in_real_mode(void **state)
{
	struct far_rig *r = fr_new(FR_REAL, 0);

	(void)state;
	PUSH(r, 2, TARGET, 0xf000, RFLAGS_IF);
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->rip, TARGET);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0xf0000);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_IF);
	PUSH(r, 4, 0x10000, 0xf000, 0);
	assert_int_equal(FR_EXEC(r, 0x66, 0xcf), VECTOR_GP);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0xf0000);
	fr_free(r);
}

static void nested_tasks_do_not_exist_in_ia32e_mode(void **state)
{
	struct far_rig *r = fr_new(FR_64, 0);

	(void)state;
	PUSH(r, 8, TARGET, FR_LONG0, RFLAGS_FIXED, FR_STACK0, FR_DATA0);
	cpu_set_rflags(r->cpu, RFLAGS_NT);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	fr_free(r);
}

/* The bases of FS and GS, which user space has set by other means, live through a return. */
static void null_segments_keep_their_bases(void **state)
{
	struct far_rig *r = fr_new(FR_64, 0);

	(void)state;
	r->cpu->seg[SEG_FS] = segment_null();
	r->cpu->seg[SEG_FS].base = 0x7f0012345000;
	PUSH(r, 8, TARGET, FR_LONG3 | 3, RFLAGS_FIXED, FR_STACK3, FR_DATA3 | 3);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->seg[SEG_FS].base, 0x7f0012345000);
	assert_int_equal(r->cpu->seg[SEG_DS].selector, 0); /* of level 0 before */
	fr_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(levels_are_checked),
		cmocka_unit_test(targets_are_checked),
		cmocka_unit_test(flags_change_by_privilege),
		cmocka_unit_test(to_virtual_8086_mode),
		cmocka_unit_test(in_virtual_8086_mode),
		cmocka_unit_test(in_real_mode),
		cmocka_unit_test(nested_tasks_do_not_exist_in_ia32e_mode),
		cmocka_unit_test(null_segments_keep_their_bases),
	};

	return cmocka_run_group_tests_name("bt_iret", tests, NULL, NULL);
}
