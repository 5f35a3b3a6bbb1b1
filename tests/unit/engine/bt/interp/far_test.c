/* SPDX-License-Identifier: Apache-2.0 */
/* Far JMP, CALL and RET, call gates: by the pseudo-code of the instructions in the SDM, vol. 2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "far_rig.h"

#define OFFSET 0x1234

#define GATE(t, d, s, o)                                        \
	{                                                       \
		.type = t, .dpl = d, .selector = s, .offset = o \
	}

/* jmp and call ptr16:32 */
static int jump(struct far_rig *r, bool call, uint16_t selector, uint32_t offset)
{
	return FR_EXEC(r, call ? 0x9a : 0xea, offset & 0xff, offset >> 8 & 0xff,
		       offset >> 16 & 0xff, offset >> 24, selector & 0xff, selector >> 8);
}

/* The same by a pointer in memory, which 64-bit mode has: rbx holds its address. */
static int jump_memory(struct far_rig *r, bool call, uint16_t selector, uint32_t offset)
{
	fr_put(r, FR_DATA, 4, offset);
	fr_put(r, FR_DATA + 4, 2, selector);
	r->cpu->gpr[GPR_RBX] = FR_DATA;
	return FR_EXEC(r, 0xff, call ? 0x1b : 0x2b);
}

struct jump_case {
	const char *what;
	enum fr_mode mode;
	unsigned cpl;
	uint16_t selector;
	uint32_t offset;
	int vector;
	uint32_t error;
};

static const struct jump_case jumps[] = {
	{"same level", FR_PROTECTED, 0, FR_CODE0, OFFSET, FR_FINE, 0},
	{"null", FR_PROTECTED, 0, 3, OFFSET, VECTOR_GP, 0},
	{"beyond the table", FR_PROTECTED, 0, FR_GDT_END, OFFSET, VECTOR_GP, FR_GDT_END},
	{"data", FR_PROTECTED, 0, FR_DATA0, OFFSET, VECTOR_GP, FR_DATA0},
	{"RPL above CPL", FR_PROTECTED, 0, FR_CODE0 | 1, OFFSET, VECTOR_GP, FR_CODE0},
	{"outer level", FR_PROTECTED, 0, FR_CODE3 | 3, OFFSET, VECTOR_GP, FR_CODE3},
	{"inner level", FR_PROTECTED, 3, FR_CODE0, OFFSET, VECTOR_GP, FR_CODE0},
	{"RPL below CPL", FR_PROTECTED, 3, FR_CODE3, OFFSET, FR_FINE, 0},
	{"conforming", FR_PROTECTED, 3, FR_CONFORMING0 | 3, OFFSET, FR_FINE, 0},
	{"absent", FR_PROTECTED, 0, FR_ABSENT_CODE0, OFFSET, VECTOR_NP, FR_ABSENT_CODE0},
	{"absent, inner level", FR_PROTECTED, 3, FR_ABSENT_CODE0, OFFSET, VECTOR_GP,
	 FR_ABSENT_CODE0},
	{"beyond the segment", FR_PROTECTED, 0, FR_CODE16, 0x10000, VECTOR_GP, 0},
	{"an LDT", FR_PROTECTED, 0, FR_LDT_SELECTOR, OFFSET, VECTOR_GP, FR_LDT_SELECTOR},
	{"a busy TSS", FR_PROTECTED, 0, FR_TSS_SELECTOR, OFFSET, VECTOR_GP, FR_TSS_SELECTOR},
	{"to 64-bit code", FR_COMPAT, 0, FR_LONG0, OFFSET, FR_FINE, 0},
	{"L without IA-32e mode", FR_PROTECTED, 0, FR_LONG0, OFFSET, FR_FINE, 0},
	{"L and D", FR_COMPAT, 0, FR_LONG_BIG, OFFSET, VECTOR_GP, FR_LONG_BIG},
	{"a TSS in IA-32e mode", FR_COMPAT, 0, FR_TSS2_SELECTOR, OFFSET, VECTOR_GP,
	 FR_TSS2_SELECTOR},
	{"64: to compatibility mode", FR_64, 0, FR_CODE0, OFFSET, FR_FINE, 0},
	{"64: same", FR_64, 3, FR_LONG3 | 3, OFFSET, FR_FINE, 0},
	{"64: beyond the compatibility segment", FR_64, 0, FR_CODE0, 0x100000, VECTOR_GP, 0},
	{"64: no limit", FR_64, 0, FR_LONG0, 0x100000, FR_FINE, 0},
};

static void check_jump(const struct jump_case *c, bool call)
{
	struct far_rig *r = fr_new(c->mode, c->cpl);
	uint16_t cs = r->cpu->seg[SEG_CS].selector;
	uint64_t rsp = r->cpu->gpr[GPR_RSP];
	unsigned len = c->mode == FR_64 ? 2 : 7;
	int vector = c->mode == FR_64 ? jump_memory(r, call, c->selector, c->offset)
				      : jump(r, call, c->selector, c->offset);

	if (vector != c->vector)
		print_message("%s: vector %d\n", c->what, vector);
	assert_int_equal(vector, c->vector);
	if (vector != FR_FINE) {
		assert_int_equal(r->cpu->exception.error, c->error);
		assert_int_equal(r->cpu->seg[SEG_CS].selector, cs);
		assert_int_equal(r->cpu->gpr[GPR_RSP], rsp);
		assert_int_equal(r->cpu->rip, FR_CODE);
		fr_free(r);
		return;
	}
	assert_int_equal(r->cpu->rip, c->offset);
	assert_int_equal(r->cpu->cpl, c->cpl);
	assert_int_equal(r->cpu->seg[SEG_CS].selector, (c->selector & ~3) | c->cpl);
	assert_int_equal(fr_get(r, FR_GDT + (c->selector & ~7) + 5, 1) & 1, 1);
	assert_int_equal(r->cpu->gpr[GPR_RSP], rsp - (call ? 8 : 0));
	if (call) {
		assert_int_equal(fr_get(r, rsp - 8, 4), FR_CODE + len);
		assert_int_equal(fr_get(r, rsp - 4, 4), cs);
	}
	fr_free(r);
}

static void code_segments_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
		check_jump(&jumps[i], false);
		check_jump(&jumps[i], true);
	}
}

static void jumps_change_the_mode(void **state)
{
	struct far_rig *r = fr_new(FR_64, 0);

	(void)state;
	assert_int_equal(jump_memory(r, false, FR_CODE0, OFFSET), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_COMPAT);
	assert_int_equal(r->cpu->decode, DECODE_32);
	assert_int_equal(jump(r, false, FR_CODE16, OFFSET), FR_FINE);
	assert_int_equal(r->cpu->decode, DECODE_16);
	assert_int_equal(FR_EXEC(r, 0xea, 0, 0x10, FR_LONG0, 0), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_LONG);
	assert_int_equal(r->cpu->rip, 0x1000);
	fr_free(r);
}

/* m16:64 exists on Intel's processors; AMD's take 32 bits of offset. */
static void offsets_of_64_bits_are_vendor_specific(void **state)
{
	struct far_rig *r = fr_new(FR_64, 0);

	(void)state;
	r->cpu->gpr[GPR_RBX] = FR_DATA;
	fr_put(r, FR_DATA, 8, 0xffff800012345678);
	fr_put(r, FR_DATA + 8, 2, FR_LONG0);
	assert_int_equal(FR_EXEC(r, 0x48, 0xff, 0x2b), FR_FINE);
	assert_int_equal(r->cpu->rip, 0xffff800012345678);
	fr_put(r, FR_DATA, 8, 0x0000800012345678);
	assert_int_equal(FR_EXEC(r, 0x48, 0xff, 0x2b), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	r->cpu->amd = true;
	fr_put(r, FR_DATA + 4, 2, FR_LONG0);
	assert_int_equal(FR_EXEC(r, 0x48, 0xff, 0x2b), FR_FINE);
	assert_int_equal(r->cpu->rip, 0x12345678);
	fr_free(r);
}

static void real_mode_transfers(void **state)
{
	struct far_rig *r = fr_new(FR_REAL, 0);

	(void)state;
	r->cpu->seg[SEG_CS].attr |= SEG_ATTR_AVL; /* stays */
	assert_int_equal(FR_EXEC(r, 0x9a, 0x34, 0x12, 0x00, 0x20), FR_FINE);
	assert_int_equal(r->cpu->seg[SEG_CS].selector, 0x2000);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0x20000);
	assert_true(r->cpu->seg[SEG_CS].attr & SEG_ATTR_AVL);
	assert_int_equal(r->cpu->rip, 0x1234);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 4);
	assert_int_equal(fr_top(r, 0, 2), 5);
	assert_int_equal(fr_top(r, 1, 2), FR_CODE >> 4);
	assert_int_equal(FR_EXEC(r, 0xca, 0x06, 0x00), FR_FINE); /* retf 6 */
	assert_int_equal(r->cpu->rip, 5);
	assert_int_equal(r->cpu->seg[SEG_CS].base, FR_CODE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 + 6);
	/* An offset of 32 bits beyond the limit; no room for the whole frame. */
	assert_int_equal(FR_EXEC(r, 0x66, 0xea, 0, 0, 1, 0, 0, 0x20), VECTOR_GP);
	r->cpu->gpr[GPR_RSP] = 0x10003;
	assert_int_equal(FR_EXEC(r, 0x9a, 0x34, 0x12, 0x00, 0x20), VECTOR_SS);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 0x10003);
	/* SP wraps, the rest of ESP stays. */
	r->cpu->gpr[GPR_RSP] = 0x10002;
	assert_int_equal(FR_EXEC(r, 0x9a, 0x34, 0x12, 0x00, 0x20), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 0x1fffe);
	fr_free(r);
}

struct gate_case {
	const char *what;
	enum fr_mode mode;
	unsigned cpl;
	struct fr_gate gate;
	unsigned rpl; /* of the gate's selector */
	int call, jump;
	uint32_t error;
};

static const struct gate_case gates[] = {
	{"same level", FR_PROTECTED, 0, GATE(12, 0, FR_CODE0, OFFSET), 0, FR_FINE, FR_FINE, 0},
	{"offset's upper half", FR_PROTECTED, 0, GATE(12, 0, FR_CODE0, 0x98765), 0, FR_FINE,
	 FR_FINE, 0},
	{"inner level", FR_PROTECTED, 3, GATE(12, 3, FR_CODE0, OFFSET), 3, FR_FINE, VECTOR_GP,
	 FR_CODE0},
	{"conforming", FR_PROTECTED, 3, GATE(12, 3, FR_CONFORMING0, OFFSET), 3, FR_FINE, FR_FINE,
	 0},
	{"gate's DPL", FR_PROTECTED, 3, GATE(12, 0, FR_CODE0, OFFSET), 0, VECTOR_GP, VECTOR_GP,
	 FR_GATE},
	{"gate's RPL", FR_PROTECTED, 0, GATE(12, 0, FR_CODE0, OFFSET), 1, VECTOR_GP, VECTOR_GP,
	 FR_GATE},
	{"gate absent",
	 FR_PROTECTED,
	 0,
	 {.type = 12, .selector = FR_CODE0, .absent = true},
	 0,
	 VECTOR_NP,
	 VECTOR_NP,
	 FR_GATE},
	{"null code", FR_PROTECTED, 0, GATE(12, 0, 0, OFFSET), 0, VECTOR_GP, VECTOR_GP, 0},
	{"outer code", FR_PROTECTED, 0, GATE(12, 0, FR_CODE3, OFFSET), 0, VECTOR_GP, VECTOR_GP,
	 FR_CODE3},
	{"data", FR_PROTECTED, 0, GATE(12, 0, FR_DATA0, OFFSET), 0, VECTOR_GP, VECTOR_GP, FR_DATA0},
	{"absent code", FR_PROTECTED, 0, GATE(12, 0, FR_ABSENT_CODE0, OFFSET), 0, VECTOR_NP,
	 VECTOR_NP, FR_ABSENT_CODE0},
	{"beyond the segment", FR_PROTECTED, 0, GATE(12, 0, FR_CODE0, 0x100000), 0, VECTOR_GP,
	 VECTOR_GP, 0},
	{"an interrupt gate", FR_PROTECTED, 0, GATE(14, 0, FR_CODE0, OFFSET), 0, VECTOR_GP,
	 VECTOR_GP, FR_GATE},
	{"64", FR_64, 0, GATE(12, 0, FR_LONG0, OFFSET), 0, FR_FINE, FR_FINE, 0},
	{"64, inner level", FR_64, 3, GATE(12, 3, FR_LONG0, OFFSET), 3, FR_FINE, VECTOR_GP,
	 FR_LONG0},
	{"compat to 64", FR_COMPAT, 3, GATE(12, 3, FR_LONG0, OFFSET), 3, FR_FINE, VECTOR_GP,
	 FR_LONG0},
	{"64, not to 64-bit code", FR_64, 0, GATE(12, 0, FR_CODE0, OFFSET), 0, VECTOR_GP, VECTOR_GP,
	 FR_CODE0},
	{"64, L and D", FR_64, 0, GATE(12, 0, FR_LONG_BIG, OFFSET), 0, VECTOR_GP, VECTOR_GP,
	 FR_LONG_BIG},
	{"64, not canonical", FR_64, 0, GATE(12, 0, FR_LONG0, 0x800000000000), 0, VECTOR_GP,
	 VECTOR_GP, 0},
	{"64, a 16-bit gate", FR_64, 0, GATE(4, 0, FR_LONG0, OFFSET), 0, VECTOR_GP, VECTOR_GP,
	 FR_GATE},
};

static void check_gate(const struct gate_case *c, bool call)
{
	struct far_rig *r = fr_new(c->mode, c->cpl);
	int expected = call ? c->call : c->jump;
	uint16_t cs = r->cpu->seg[SEG_CS].selector;
	uint16_t selector = FR_GATE | c->rpl;
	int vector;

	fr_put_gate(r, FR_GDT + FR_GATE, &c->gate);
	vector = c->mode == FR_64 ? jump_memory(r, call, selector, 0) : jump(r, call, selector, 0);
	if (vector != expected)
		print_message("%s: vector %d\n", c->what, vector);
	assert_int_equal(vector, expected);
	if (vector == FR_FINE) {
		assert_int_equal(r->cpu->rip, c->gate.offset);
		assert_int_equal(r->cpu->seg[SEG_CS].selector, c->gate.selector | r->cpu->cpl);
	} else {
		assert_int_equal(r->cpu->exception.error, c->error);
		assert_int_equal(r->cpu->seg[SEG_CS].selector, cs);
	}
	fr_free(r);
}

static void call_gates_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(gates); i++) {
		check_gate(&gates[i], true);
		check_gate(&gates[i], false);
	}
}

static void a_call_gate_copies_parameters_and_retf_releases_them(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 3);

	(void)state;
	fr_put_gate(
		r, FR_GDT + FR_GATE,
		&(struct fr_gate){
			.type = 12, .dpl = 3, .selector = FR_CODE0, .offset = OFFSET, .params = 2});
	r->cpu->gpr[GPR_RSP] = FR_STACK3 - 8;
	fr_put(r, FR_STACK3 - 8, 4, 0x11111111);
	fr_put(r, FR_STACK3 - 4, 4, 0x22222222);
	assert_int_equal(jump(r, true, FR_GATE | 3, 0), FR_FINE);
	assert_int_equal(r->cpu->cpl, 0);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, FR_DATA0);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 24);
	assert_int_equal(fr_top(r, 0, 4), FR_CODE + 7);
	assert_int_equal(fr_top(r, 1, 4), FR_CODE3 | 3);
	assert_int_equal(fr_top(r, 2, 4), 0x11111111);
	assert_int_equal(fr_top(r, 3, 4), 0x22222222);
	assert_int_equal(fr_top(r, 4, 4), FR_STACK3 - 8);
	assert_int_equal(fr_top(r, 5, 4), FR_DATA3 | 3);

	/* Data segments of the inner level become null on the way out; conforming code stays. */
	fr_load(r, SEG_ES, FR_DATA0);
	fr_load(r, SEG_FS, FR_CONFORMING0);
	assert_int_equal(FR_EXEC(r, 0xca, 8, 0), FR_FINE);
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(r->cpu->rip, FR_CODE + 7);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, FR_DATA3 | 3);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3);
	assert_int_equal(r->cpu->seg[SEG_ES].selector, 0);
	assert_true(r->cpu->seg[SEG_ES].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(r->cpu->seg[SEG_FS].selector, FR_CONFORMING0);
	assert_int_equal(r->cpu->seg[SEG_DS].selector, FR_DATA3 | 3);
	fr_free(r);
}

static void a_16_bit_call_gate_pushes_words(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 3);

	(void)state;
	fr_put_gate(r, FR_GDT + FR_GATE,
		    &(struct fr_gate){.type = 4,
				      .dpl = 3,
				      .selector = FR_CODE0,
				      .offset = 0xffff1234,
				      .params = 1});
	r->cpu->gpr[GPR_RSP] = FR_STACK3 - 2;
	fr_put(r, FR_STACK3 - 2, 2, 0x3333);
	assert_int_equal(jump(r, true, FR_GATE | 3, 0), FR_FINE);
	assert_int_equal(r->cpu->rip, 0x1234);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 10);
	assert_int_equal(fr_top(r, 0, 2), (FR_CODE + 7) & 0xffff);
	assert_int_equal(fr_top(r, 2, 2), 0x3333);
	assert_int_equal(fr_top(r, 3, 2), FR_STACK3 - 2);
	fr_free(r);
}

static void a_64_bit_call_gate_gives_a_null_stack_segment(void **state)
{
	struct far_rig *r = fr_new(FR_64, 3);

	(void)state;
	fr_put_gate(r, FR_GDT + FR_GATE,
		    &(struct fr_gate)GATE(12, 3, FR_LONG1, 0xffff800000001234));
	assert_int_equal(jump_memory(r, true, FR_GATE | 3, 0), FR_FINE);
	assert_int_equal(r->cpu->cpl, 1);
	assert_int_equal(r->cpu->rip, 0xffff800000001234);
	assert_int_equal(r->cpu->seg[SEG_SS].selector, 1);
	assert_true(r->cpu->seg[SEG_SS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK1 - 32);
	assert_int_equal(fr_top(r, 0, 8), FR_CODE + 2);
	assert_int_equal(fr_top(r, 1, 8), FR_LONG3 | 3);
	assert_int_equal(fr_top(r, 2, 8), FR_STACK3);
	assert_int_equal(fr_top(r, 3, 8), FR_DATA3 | 3);
	assert_int_equal(FR_EXEC(r, 0x48, 0xcb), FR_FINE); /* retfq */
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3);
	assert_int_equal(r->cpu->rip, FR_CODE + 2);
	fr_free(r);
}

struct stack_case {
	const char *what;
	uint16_t ss;
	uint32_t esp;
	unsigned limit; /* of the TSS */
	int vector;
	uint32_t error;
};

static const struct stack_case stacks[] = {
	{"good", FR_DATA0, FR_STACK0, 0x67, FR_FINE, 0},
	{"beyond the TSS", FR_DATA0, FR_STACK0, 8, VECTOR_TS, FR_TSS_SELECTOR},
	{"at the TSS's end", FR_DATA0, FR_STACK0, 9, FR_FINE, 0},
	{"null", 0, FR_STACK0, 0x67, VECTOR_TS, 0},
	{"beyond the table", FR_GDT_END, FR_STACK0, 0x67, VECTOR_TS, FR_GDT_END},
	{"RPL", FR_DATA0 | 1, FR_STACK0, 0x67, VECTOR_TS, FR_DATA0},
	{"DPL", FR_DATA3, FR_STACK0, 0x67, VECTOR_TS, FR_DATA3},
	{"code", FR_CODE0, FR_STACK0, 0x67, VECTOR_TS, FR_CODE0},
	{"absent", FR_ABSENT_DATA0, FR_STACK0, 0x67, VECTOR_SS, FR_ABSENT_DATA0},
	{"no room", FR_DATA16, 0x10002, 0x67, FR_FINE, 0}, /* SP wraps within 64 KiB */
	{"a value across the end", FR_DATA16, 0x10003, 0x67, VECTOR_SS, FR_DATA16},
};

static void inner_stacks_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
		const struct stack_case *c = &stacks[i];
		struct far_rig *r = fr_new(FR_PROTECTED, 3);
		struct fr_gate gate = GATE(12, 3, FR_CODE0, OFFSET);
		int vector;

		if (i == 9)
			gate.type = 4; /* words fit at an even SP */
		fr_put_gate(r, FR_GDT + FR_GATE, &gate);
		fr_put(r, FR_TSS + 4, 4, c->esp);
		fr_put(r, FR_TSS + 8, 2, c->ss);
		r->cpu->tr.limit = c->limit;
		vector = jump(r, true, FR_GATE | 3, 0);
		if (vector != c->vector)
			print_message("%s: vector %d\n", c->what, vector);
		assert_int_equal(vector, c->vector);
		if (vector != FR_FINE) {
			assert_int_equal(r->cpu->exception.error, c->error);
			assert_int_equal(r->cpu->cpl, 3);
			assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK3);
		}
		fr_free(r);
	}
}

struct return_case {
	const char *what;
	enum fr_mode mode;
	unsigned cpl;
	uint16_t cs, ss;
	uint32_t rip;
	int vector;
	uint32_t error;
};

static const struct return_case returns[] = {
	{"same level", FR_PROTECTED, 0, FR_CODE0, 0, OFFSET, FR_FINE, 0},
	{"outer level", FR_PROTECTED, 0, FR_CODE3 | 3, FR_DATA3 | 3, OFFSET, FR_FINE, 0},
	{"inner level", FR_PROTECTED, 3, FR_CODE0, 0, OFFSET, VECTOR_GP, FR_CODE0},
	{"null code", FR_PROTECTED, 0, 0, 0, OFFSET, VECTOR_GP, 0},
	{"data", FR_PROTECTED, 0, FR_DATA0, 0, OFFSET, VECTOR_GP, FR_DATA0},
	{"beyond", FR_PROTECTED, 0, FR_GDT_END, 0, OFFSET, VECTOR_GP, FR_GDT_END},
	{"DPL is not RPL", FR_PROTECTED, 0, FR_CODE3, 0, OFFSET, VECTOR_GP, FR_CODE3},
	{"conforming", FR_PROTECTED, 0, FR_CONFORMING0 | 3, FR_DATA3 | 3, OFFSET, FR_FINE, 0},
	{"absent", FR_PROTECTED, 0, FR_ABSENT_CODE0, 0, OFFSET, VECTOR_NP, FR_ABSENT_CODE0},
	{"beyond the segment", FR_PROTECTED, 0, FR_CODE0, 0, 0x100000, VECTOR_GP, 0},
	{"null stack", FR_PROTECTED, 0, FR_CODE3 | 3, 0, OFFSET, VECTOR_GP, 0},
	{"stack's RPL", FR_PROTECTED, 0, FR_CODE3 | 3, FR_DATA3, OFFSET, VECTOR_GP, FR_DATA3},
	{"stack's DPL", FR_PROTECTED, 0, FR_CODE3 | 3, FR_DATA0 | 3, OFFSET, VECTOR_GP, FR_DATA0},
	{"stack read-only", FR_PROTECTED, 0, FR_CODE3 | 3, FR_READ_ONLY3 | 3, OFFSET, VECTOR_GP,
	 FR_READ_ONLY3},
	{"stack absent", FR_PROTECTED, 0, FR_CODE3 | 3, FR_ABSENT_DATA3 | 3, OFFSET, VECTOR_SS,
	 FR_ABSENT_DATA3},
	{"64 to 64", FR_64, 0, FR_LONG3 | 3, FR_DATA3 | 3, OFFSET, FR_FINE, 0},
	{"64 to compat", FR_64, 0, FR_CODE3 | 3, FR_DATA3 | 3, OFFSET, FR_FINE, 0},
	{"64 to 64, null stack", FR_64, 0, FR_LONG1 | 1, 1, OFFSET, FR_FINE, 0},
	{"64 to 64, null stack at level 3", FR_64, 0, FR_LONG3 | 3, 3, OFFSET, VECTOR_GP, 0},
	{"64 to compat, null stack", FR_64, 0, FR_CODE1 | 1, 1, OFFSET, VECTOR_GP, 0},
	{"L and D", FR_64, 0, FR_LONG_BIG, 0, OFFSET, VECTOR_GP, FR_LONG_BIG},
};

static void far_returns_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(returns); i++) {
		const struct return_case *c = &returns[i];
		struct far_rig *r = fr_new(c->mode, c->cpl);
		uint64_t rsp = r->cpu->gpr[GPR_RSP] -= 16;
		bool outer = (c->cs & 3) > c->cpl;
		int vector;

		fr_put(r, rsp, 4, c->rip);
		fr_put(r, rsp + 4, 4, c->cs);
		fr_put(r, rsp + 8, 4, FR_STACK3 - 0x20);
		fr_put(r, rsp + 12, 4, c->ss);
		vector = FR_EXEC(r, 0xcb);
		if (vector != c->vector)
			print_message("%s: vector %d\n", c->what, vector);
		assert_int_equal(vector, c->vector);
		if (vector != FR_FINE) {
			assert_int_equal(r->cpu->exception.error, c->error);
			assert_int_equal(r->cpu->gpr[GPR_RSP], rsp);
			assert_int_equal(r->cpu->cpl, c->cpl);
		} else {
			assert_int_equal(r->cpu->rip, c->rip);
			assert_int_equal(r->cpu->cpl, c->cs & 3);
			assert_int_equal(r->cpu->seg[SEG_CS].selector, c->cs);
			assert_int_equal(r->cpu->gpr[GPR_RSP], outer ? FR_STACK3 - 0x20 : rsp + 8);
			if (outer)
				assert_int_equal(r->cpu->seg[SEG_SS].selector, c->ss);
		}
		fr_free(r);
	}
}

/* A stack segment of 16 bits takes SP alone: the rest of RSP shows through. */
static void a_return_to_a_small_stack_changes_sp_only(void **state)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 0);

	(void)state;
	fr_descriptor(r, FR_GATE, 0xf2, 0, 0xffff);
	r->cpu->gpr[GPR_RSP] = FR_STACK0 - 16 + 0x70000;
	fr_put(r, FR_STACK0 - 16 + 0x70000, 4, OFFSET);
	fr_put(r, FR_STACK0 - 12 + 0x70000, 4, FR_CODE3 | 3);
	fr_put(r, FR_STACK0 - 8 + 0x70000, 4, 0x1111b000);
	fr_put(r, FR_STACK0 - 4 + 0x70000, 4, FR_GATE | 3);
	assert_int_equal(FR_EXEC(r, 0xcb), FR_FINE);
	assert_int_equal(r->cpu->gpr[GPR_RSP], 0x7b000);
	assert_int_equal(r->cpu->sp_mask, 0xffff);
	fr_free(r);
}

/* AMD APM vol. 3, "CALL (Far)": the return address is pushed before the offset is looked at; SDM
 * vol. 2 has it the other way round. */
static void what_a_call_has_pushed_when_its_offset_faults(void **state)
{
	(void)state;
	for (int amd = 0; amd < 2; amd++) {
		struct far_rig *r = fr_new(FR_64, 0);

		r->cpu->amd = amd;
		fr_put(r, FR_STACK0 - 8, 8, 0x5a5a5a5a5a5a5a5a);
		assert_int_equal(jump_memory(r, true, FR_CODE0, 0x100000), VECTOR_GP);
		assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0);
		assert_int_equal(fr_get(r, FR_STACK0 - 4, 4), amd ? FR_LONG0 : 0x5a5a5a5a);
		assert_int_equal(fr_get(r, FR_STACK0 - 8, 4), amd ? FR_CODE + 2 : 0x5a5a5a5a);
		fr_free(r);
	}
}

/* The same: CS is loaded before, so that AMD's push by the stack of the new mode. */
static void a_call_between_modes_pushes_on_the_stack_of(void **state)
{
	(void)state;
	for (int amd = 0; amd < 2; amd++) {
		struct far_rig *r = fr_new(FR_COMPAT, 0);
		const uint64_t at = FR_STACK0 - 4 + (amd ? 0 : 0x1000);

		r->cpu->amd = amd;
		r->cpu->seg[SEG_SS].base = 0x1000;
		assert_int_equal(jump(r, true, FR_LONG0, OFFSET), FR_FINE);
		assert_int_equal(r->cpu->mode, CPU_LONG);
		assert_int_equal(r->cpu->gpr[GPR_RSP], FR_STACK0 - 8);
		assert_int_equal(fr_get(r, at, 4), FR_CODE0);
		fr_free(r);
	}
}

/* #AC of a stack that is not aligned comes before #PF, as of all accesses (found by tests/insn). */
static void a_call_checks_alignment_before_pages(void **state)
{
	static const struct {
		uint64_t rsp;
		int vector;
	} cases[] = {
		{FR_STACK3, FR_FINE},
		{FR_STACK3 + 2, VECTOR_AC},
		{FR_RAM + 0x1000, VECTOR_PF},
		{FR_RAM + 0x1002, VECTOR_AC},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		struct far_rig *r = fr_new(FR_COMPAT, 3);

		r->cpu->amd = i & 1;
		r->cpu->cr0 |= CR0_AM;
		cpu_set_rflags(r->cpu, r->cpu->rflags | RFLAGS_AC);
		r->cpu->gpr[GPR_RSP] = cases[i / 2].rsp;
		assert_int_equal(jump(r, true, FR_CODE3 | 3, OFFSET), cases[i / 2].vector);
		fr_free(r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_segments_are_checked),
		cmocka_unit_test(what_a_call_has_pushed_when_its_offset_faults),
		cmocka_unit_test(a_call_between_modes_pushes_on_the_stack_of),
		cmocka_unit_test(a_call_checks_alignment_before_pages),
		cmocka_unit_test(jumps_change_the_mode),
		cmocka_unit_test(offsets_of_64_bits_are_vendor_specific),
		cmocka_unit_test(real_mode_transfers),
		cmocka_unit_test(call_gates_are_checked),
		cmocka_unit_test(a_call_gate_copies_parameters_and_retf_releases_them),
		cmocka_unit_test(a_16_bit_call_gate_pushes_words),
		cmocka_unit_test(a_64_bit_call_gate_gives_a_null_stack_segment),
		cmocka_unit_test(inner_stacks_are_checked),
		cmocka_unit_test(far_returns_are_checked),
		cmocka_unit_test(a_return_to_a_small_stack_changes_sp_only),
	};

	return cmocka_run_group_tests_name("bt_far", tests, NULL, NULL);
}
