/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function that emits an instruction, for all registers and for values at the edges of
 * encodings: what Zydis reads of the bytes is the one instruction that was asked for. It is
 * compared as text, in Intel's notation.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "base/dynlib.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/emit/emit.h"

#define REGS 16u
#define ROOM 64

#define CALLS(X)                  \
	X(ZydisDecoderInit)       \
	X(ZydisDecoderDecodeFull) \
	X(ZydisFormatterInit) X(ZydisFormatterSetProperty) X(ZydisFormatterFormatInstruction)
static struct {
	CALLS(DYNLIB_MEMBER)
} zydis;
static ZydisDecoder decoder;
static ZydisFormatter formatter;

/* It is executed at another address than it is written at. */
static uint8_t room[ROOM];
static const uint8_t elsewhere[0x20000], *const executed = elsewhere + 0x8000;
static struct emit e;

static void begin(void)
{
	memset(room, 0xcc, sizeof(room));
	e = (struct emit){.at = room, .end = room + sizeof(room), .shift = executed - room};
}

/* One instruction was emitted, and it reads so. Absolute branch targets are relative to room. */
static void reads(const char *format, ...)
{
	char want[128], got[128];
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	va_list args;

	va_start(args, format);
	vsnprintf(want, sizeof(want), format, args);
	va_end(args);
	assert_false(e.full);
	assert_true(ZYAN_SUCCESS(
		zydis.ZydisDecoderDecodeFull(&decoder, room, sizeof(room), &insn, operands)));
	assert_true(ZYAN_SUCCESS(zydis.ZydisFormatterFormatInstruction(
		&formatter, &insn, operands, insn.operand_count_visible, got, sizeof(got),
		ZYDIS_RUNTIME_ADDRESS_NONE, NULL)));
	for (char *p = got; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
	assert_string_equal(got, want);
	assert_int_equal(insn.length, e.at - room);
	begin();
}

static const char *name(unsigned reg, unsigned size)
{
	static const char *const wide[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					   "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
	static const char *const middle[] = {"eax",  "ecx",  "edx",  "ebx", "esp",  "ebp",
					     "esi",  "edi",  "r8d",  "r9d", "r10d", "r11d",
					     "r12d", "r13d", "r14d", "r15d"};
	static const char *const narrow[] = {"ax",   "cx",   "dx",   "bx",  "sp",   "bp",
					     "si",   "di",   "r8w",  "r9w", "r10w", "r11w",
					     "r12w", "r13w", "r14w", "r15w"};
	static const char *const bytes[] = {"al", "cl", "dl", "bl"};

	switch (size) {
	case 8:
		return wide[reg];
	case 4:
		return middle[reg];
	case 2:
		return narrow[reg];
	default:
		return bytes[reg];
	}
}

static const char *width(unsigned size)
{
	return size == 8 ? "qword" : size == 4 ? "dword" : size == 2 ? "word" : "byte";
}

/* A signed number as it is written behind something: "+0x12", "-0x12". */
static const char *plus(int32_t v)
{
	static char text[16];

	snprintf(text, sizeof(text), "%c0x%x", v < 0 ? '-' : '+',
		 v < 0 ? 0u - (unsigned)v : (unsigned)v);
	return text;
}

/* An immediate, sign-extended to the operand. */
static const char *number(int32_t v, unsigned size)
{
	static char text[24];

	snprintf(text, sizeof(text), "0x%llx",
		 size == 8 ? (unsigned long long)(int64_t)v : (unsigned long long)(uint32_t)v);
	return text;
}

/* The address of [disp]. */
static const char *absolute(int32_t disp)
{
	static char text[24];

	snprintf(text, sizeof(text), "0x%llx", (unsigned long long)(int64_t)disp);
	return text;
}

static const struct {
	enum emit_op op;
	const char *name;
	bool to; /* the register is the source */
} ops[] = {
	{EMIT_ADD, "add", false},  {EMIT_OR, "or", false},     {EMIT_AND, "and", false},
	{EMIT_SUB, "sub", false},  {EMIT_XOR, "xor", false},   {EMIT_CMP, "cmp", false},
	{EMIT_MOV, "mov", false},  {EMIT_MOV_TO, "mov", true}, {EMIT_XCHG, "xchg", true},
	{EMIT_TEST, "test", true},
};
static const int32_t disps[] = {0,     1,     0x7f,       0x80,      -1,
				-0x80, -0x81, 0x12345678, INT32_MAX, INT32_MIN};

static void register_and_register(void **state)
{
	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(ops) * 2 * REGS * REGS; n++) {
		unsigned size = n % 2 ? 8 : 4, reg = n / 2 % REGS, rm = n / 2 / REGS % REGS;
		size_t o = n / 2 / REGS / REGS;
		unsigned a = ops[o].to ? rm : reg, b = ops[o].to ? reg : rm;

		emit_reg(&e, ops[o].op, size, reg, rm);
		reads("%s %s, %s", ops[o].name, name(a, size), name(b, size));
	}
}

/* OP REG, MEM or OP MEM, REG. */
static void reads_memory(size_t o, unsigned size, unsigned reg, const char *memory)
{
	if (ops[o].to)
		reads("%s %s ptr %s, %s", ops[o].name, width(size), memory, name(reg, size));
	else
		reads("%s %s, %s ptr %s", ops[o].name, name(reg, size), width(size), memory);
}

static void register_and_context(void **state)
{
	char memory[64];

	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(ops) * 2 * REGS * ARRAY_LEN(disps); n++) {
		unsigned size = n % 2 ? 8 : 4, reg = n / 2 % REGS;
		size_t o = n / 2 / REGS % ARRAY_LEN(ops);
		int32_t disp = disps[n / 2 / REGS / ARRAY_LEN(ops)];

		snprintf(memory, sizeof(memory), "gs:[%s]", absolute(disp));
		emit_ctx(&e, ops[o].op, size, reg, disp);
		reads_memory(o, size, reg, memory);
		for (unsigned index = 0; index < REGS; index++) {
			if ((index & 7) == GPR_RSP)
				continue; /* emit.h */
			snprintf(memory, sizeof(memory), "gs:[%s%s]", name(index, 8),
				 disp ? plus(disp) : "");
			emit_ctx_index(&e, ops[o].op, size, reg, index, disp);
			reads_memory(o, size, reg, memory);
		}
		for (unsigned index = 0; index < REGS; index++) {
			if (index == GPR_RSP)
				continue; /* there is none */
			snprintf(memory, sizeof(memory), "gs:[%s*8%s]", name(index, 8),
				 disp ? plus(disp) : "");
			emit_ctx_scaled(&e, ops[o].op, size, reg, index, disp);
			reads_memory(o, size, reg, memory);
		}
	}
	for (unsigned reg = 0; reg < GPR_RSP; reg++) {
		emit_ctx(&e, EMIT_MOV_TO, 1, reg, 0x123);
		reads("mov byte ptr gs:[0x123], %s", name(reg, 1));
		emit_ctx(&e, EMIT_MOV_TO, 2, reg, 0x123);
		reads("mov word ptr gs:[0x123], %s", name(reg, 2));
	}
}

static void rorx(void **state)
{
	(void)state;
	for (unsigned n = 0; n < REGS * REGS; n++) {
		unsigned reg = n % REGS, rm = n / REGS;

		emit_rorx(&e, reg, rm, 12);
		reads("rorx %s, %s, 0xc", name(reg, 4), name(rm, 4));
	}
}

static void register_and_memory(void **state)
{
	char memory[16];

	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(ops) * 2 * REGS * REGS; n++) {
		unsigned size = n % 2 ? 8 : 4, reg = n / 2 % REGS, base = n / 2 / REGS % REGS;
		size_t o = n / 2 / REGS / REGS;

		if ((base & 7) == GPR_RSP || (base & 7) == GPR_RBP)
			continue; /* emit.h */
		snprintf(memory, sizeof(memory), "[%s]", name(base, 8));
		emit_mem(&e, ops[o].op, size, reg, base);
		reads_memory(o, size, reg, memory);
	}
}

static void immediates_of(enum emit_group op, const char *text, unsigned size)
{
	for (size_t d = 0; d < ARRAY_LEN(disps); d++) {
		int32_t imm = disps[d], disp = disps[ARRAY_LEN(disps) - 1 - d];

		for (unsigned reg = 0; reg < REGS; reg++) {
			emit_imm(&e, op, size, reg, imm);
			reads("%s %s, %s", text, name(reg, size), number(imm, size));
		}
		emit_ctx_imm32(&e, op, size, disp, imm);
		assert_memory_equal(e.at - 4, &imm, 4); /* so that it can be changed */
		reads("%s %s ptr gs:[%s], %s", text, width(size), absolute(disp),
		      number(imm, size));
		emit_ctx_set(&e, size, disp, imm);
		reads("mov %s ptr gs:[%s], %s", width(size), absolute(disp), number(imm, size));
	}
}

static void immediates(void **state)
{
	static const struct {
		enum emit_group op;
		const char *name;
	} groups[] = {{EMIT_ADD_IMM, "add"},
		      {EMIT_OR_IMM, "or"},
		      {EMIT_AND_IMM, "and"},
		      {EMIT_SUB_IMM, "sub"},
		      {EMIT_CMP_IMM, "cmp"}};

	(void)state;
	for (size_t n = 0; n < 2 * ARRAY_LEN(groups); n++)
		immediates_of(groups[n / 2].op, groups[n / 2].name, n % 2 ? 8 : 4);
}

/* In whatever form: what the register holds after it. */
static void sets(unsigned reg, uint64_t value)
{
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	bool wide;

	emit_set(&e, reg, value);
	assert_true(ZYAN_SUCCESS(
		zydis.ZydisDecoderDecodeFull(&decoder, room, sizeof(room), &insn, operands)));
	assert_int_equal(insn.length, e.at - room);
	assert_int_equal(insn.mnemonic, ZYDIS_MNEMONIC_MOV);
	wide = operands[0].size == 64;
	assert_true(wide || operands[0].size == 32); /* which clears the rest */
	assert_int_equal(operands[0].reg.value,
			 (wide ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX) + reg);
	assert_int_equal(wide ? operands[1].imm.value.u : (uint32_t)operands[1].imm.value.u, value);
	begin();
}

static void constants_are_the_whole_register(void **state)
{
	static const uint64_t edges[] = {
		0, BIT(7), BIT(31), BIT(32), BIT(63), 0xffffffff80000000, 0x123456789abcdef};

	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(edges) * REGS; n++) {
		sets(n % REGS, edges[n / REGS] - 1);
		sets(n % REGS, edges[n / REGS]);
		sets(n % REGS, edges[n / REGS] + 1);
	}
}

static void shifts(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 2 * REGS * 64; n++) {
		unsigned size = n % 2 ? 8 : 4, reg = n / 2 % REGS, count = n / 2 / REGS;

		if (!count || count >= size * 8)
			continue;
		emit_shift(&e, true, size, reg, count);
		reads("shl %s, 0x%x", name(reg, size), count);
		emit_shift(&e, false, size, reg, count);
		reads("shr %s, 0x%x", name(reg, size), count);
	}
}

static void reads_lea(unsigned size, unsigned reg, const struct emit_address *a)
{
	char text[64] = "", part[32];

	if (a->base != EMIT_NONE)
		snprintf(text, sizeof(text), "%s", name(a->base, 8));
	if (a->index != EMIT_NONE) {
		snprintf(part, sizeof(part), "%s%s*%u", *text ? "+" : "", name(a->index, 8),
			 1u << a->shift);
		strcat(text, part);
	}
	if (!*text)
		strcat(text, absolute(a->disp));
	else if (a->disp)
		strcat(text, plus(a->disp));
	reads("lea %s, [%s]", name(reg, size), text);
}

static void addresses(void **state)
{
	(void)state;
	for (size_t n = 0; n < 2 * 4 * (REGS + 1) * (REGS + 1) * ARRAY_LEN(disps); n++) {
		unsigned size = n % 2 ? 8 : 4, shift = n / 2 % 4;
		unsigned base = n / 8 % (REGS + 1), index = n / 8 / (REGS + 1) % (REGS + 1);
		unsigned reg = (base + index * 3 + shift) % REGS;
		struct emit_address a = {
			.base = base < REGS ? base : EMIT_NONE,
			.index = index < REGS ? index : EMIT_NONE,
			.shift = index < REGS ? shift : 0,
			.disp = disps[n / 8 / (REGS + 1) / (REGS + 1)],
		};

		if (index == GPR_RSP)
			continue; /* there is none */
		emit_lea(&e, size, reg, &a);
		reads_lea(size, reg, &a);
		if (base == REGS)
			continue;
		emit_lea_disp(&e, size, reg, base, a.disp);
		a.index = EMIT_NONE;
		reads_lea(size, reg, &a);
	}
}

static void jumps(void **state)
{
	static const struct {
		enum emit_cond cond;
		const char *name;
	} conds[] = {{EMIT_BELOW, "jb"},
		     {EMIT_EQUAL, "jz"},
		     {EMIT_NOT_EQUAL, "jnz"},
		     {EMIT_NOT_ABOVE, "jbe"},
		     {EMIT_ABOVE, "jnbe"}};
	uint8_t *distance;

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(conds); c++) {
		distance = emit_jcc(&e, conds[c].cond);
		assert_ptr_equal(distance, e.at - 4);
		emit_patch(&e, distance); /* to the next */
		reads("%s +0x6", conds[c].name);
		distance = emit_jcc(&e, conds[c].cond);
		emit_patch_to(distance, e.shift, executed - 0x100);
		reads("%s -0x100", conds[c].name);
	}
	distance = emit_jmp(&e);
	emit_patch_to(distance, e.shift, executed + 0x12345);
	reads("jmp +0x12345");
	emit_jmp_to(&e, executed);
	reads("jmp +0x0");
	assert_ptr_equal(emit_here(&e), executed);
	for (unsigned index = 0; index < REGS; index++) {
		if ((index & 7) == GPR_RSP)
			continue;
		emit_jmp_ctx_index(&e, index, -0x1234);
		reads("jmp qword ptr gs:[%s-0x1234]", name(index, 8));
	}
}

/* Nothing is written behind the end, whatever comes, and that it was wanted shows. */
static void the_end_is_kept(void **state)
{
	uint8_t *distance;

	(void)state;
	for (size_t left = 0; left < 20; left++) {
		begin();
		e.end = room + left;
		emit_set(&e, GPR_RAX, 0x123456789abcdef);
		assert_true(e.full == (left < 15)); /* the longest there may be */
		distance = emit_jmp(&e);
		emit_patch(&e, distance);
		emit_jmp_to(&e, executed);
		assert_true(e.full);
		for (size_t n = left; n < sizeof(room); n++)
			assert_int_equal(room[n], 0xcc);
	}
}

static void set_up(void)
{
	static const char *const names[] = {CALLS(DYNLIB_NAME)};
	static const struct {
		ZydisFormatterProperty property;
		ZyanUPointer value;
	} properties[] = {
		{ZYDIS_FORMATTER_PROP_FORCE_SIZE, ZYAN_TRUE},
		{ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED},
		{ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE, ZYDIS_PADDING_DISABLED},
		{ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED},
		{ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED},
		{ZYDIS_FORMATTER_PROP_IMM_SIGNEDNESS, ZYDIS_SIGNEDNESS_UNSIGNED},
	};
	void *library = dynlib_open("libZydis.so.4.0", names, ARRAY_LEN(names), &zydis);

	assert_non_null(library);
	assert_true(ZYAN_SUCCESS(zydis.ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
							ZYDIS_STACK_WIDTH_64)));
	assert_true(
		ZYAN_SUCCESS(zydis.ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL)));
	for (size_t i = 0; i < ARRAY_LEN(properties); i++)
		assert_true(ZYAN_SUCCESS(zydis.ZydisFormatterSetProperty(
			&formatter, properties[i].property, properties[i].value)));
}

static int test_setup(void **state)
{
	(void)state;
	begin();
	return 0;
}

static int group_setup(void **state)
{
	(void)state;
	set_up();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(register_and_register, test_setup),
		cmocka_unit_test_setup(register_and_context, test_setup),
		cmocka_unit_test_setup(register_and_memory, test_setup),
		cmocka_unit_test_setup(rorx, test_setup),
		cmocka_unit_test_setup(immediates, test_setup),
		cmocka_unit_test_setup(constants_are_the_whole_register, test_setup),
		cmocka_unit_test_setup(shifts, test_setup),
		cmocka_unit_test_setup(addresses, test_setup),
		cmocka_unit_test_setup(jumps, test_setup),
		cmocka_unit_test_setup(the_end_is_kept, test_setup),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
