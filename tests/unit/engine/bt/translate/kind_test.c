/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the translator takes for granted of the flags of copied instructions, asked of the host:
 * random encodings on registers are executed twice, from states that differ in status flags that
 * the instruction is said not to read. Then registers are the same, and so are the flags that it is
 * said to write; and what it is said not to touch stays.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../fpu/native.h"
#include "../interp/integer_rig.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/region.h"

#define CASES 200000

static struct integer_rig *rig;

/* Some encoding on registers: prefixes, opcode, ModRM, an immediate. */
static void make(uint8_t bytes[INSN_BYTES_MAX])
{
	static const uint8_t prefixes[] = {0x66, 0xf2, 0xf3};
	uint64_t r = native_random();
	unsigned n = 0;

	for (unsigned i = 0; i < INSN_BYTES_MAX; i++)
		bytes[i] = (uint8_t)native_random();
	if (r & 0x100) {
		bytes[n++] = 0xc4; /* VEX: BMI */
		bytes[n] = (bytes[n] & 0xe0) | (1 + (bytes[n] & 3) % 3);
		n++;
		bytes[n++] &= 0xfb;
		n++; /* opcode */
	} else {
		if (!(r & 7))
			bytes[n++] = prefixes[(r >> 3) % sizeof(prefixes)];
		if (r & 0x40)
			bytes[n++] = 0x40 | (r >> 9 & 15);
		if (r & 0x80)
			bytes[n++] = 0x0f;
		if (r & 0x80 && !(r & 0xf0000))
			bytes[n++] = 0x38;
		n++; /* opcode */
	}
	bytes[n] |= 0xc0; /* ModRM */
	if (r & 0x100000)
		bytes[n + 1] &= 3; /* a small count */
}

/* Copied, and on registers that are not the test's own. */
static bool usable(const struct insn *insn)
{
	if (kind_of(rig->cpu, insn) != KIND_COPY || insn->has_mem)
		return false;
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == OPERAND_GPR && insn->operand[i].reg == GPR_RSP &&
		    !insn->operand[i].high)
			return false;
	return true;
}

static void print_bytes(const struct insn *insn)
{
	for (unsigned i = 0; i < insn->len; i++)
		print_error("%02x ", insn->bytes[i]);
}

/* Runs it with the flags of n, and with others; false: it is not as it is said to be. */
static bool holds(const struct insn *insn)
{
	const unsigned read = kind_flags_read(insn), written = kind_flags_written(insn);
	struct native n, other;
	uint64_t before;

	native_randomise(&n, false, 0x1f80);
	if (native_random() & 1)
		n.gpr[GPR_RCX] = native_random() & 0x21; /* counts of 0, 1, 32 */
	other = n;
	other.rflags ^= native_random() & FLAGS_STATUS & ~read;
	before = n.rflags;
	native_run(&n, insn->bytes, insn->len);
	native_run(&other, insn->bytes, insn->len);
	if (n.vector >= 0)
		return n.vector == other.vector;
	if (memcmp(n.gpr, other.gpr, sizeof(n.gpr)) != 0)
		return false;
	if ((n.rflags ^ other.rflags) & written)
		return false;
	return kind_changes_flags(insn) || !((n.rflags ^ before) & FLAGS_STATUS);
}

static void flags_are_read_and_written_as_it_is_said(void **state)
{
	unsigned tried = 0, wrong = 0;

	(void)state;
	if (!native_possible()) {
		print_message("skipped: this host has no AVX2 or no FMA\n");
		skip();
	}
	native_catch();
	for (unsigned i = 0; i < CASES; i++) {
		uint8_t bytes[INSN_BYTES_MAX];
		struct insn insn;

		make(bytes);
		if (decode(rig->vm.decoder, DECODE_64, bytes, sizeof(bytes), &insn) != DECODE_OK ||
		    !usable(&insn))
			continue;
		tried++;
		if (holds(&insn))
			continue;
		wrong++;
		print_bytes(&insn);
		print_error("reads %#x, writes %#x\n", kind_flags_read(&insn),
			    kind_flags_written(&insn));
	}
	assert_true(tried > CASES / 20);
	assert_int_equal(wrong, 0);
}

/* Of what the host may do for the guest, nothing reaches beyond its operands. */
static void what_is_never_copied(void **state)
{
	static const struct {
		const char *name;
		uint8_t bytes[INSN_BYTES_MAX];
	} cases[] = {
		{"RDMSR", {0x0f, 0x32}},
		{"WRMSR", {0x0f, 0x30}},
		{"HLT", {0xf4}},
		{"IN AL, DX", {0xec}},
		{"OUT DX, AL", {0xee}},
		{"CPUID", {0x0f, 0xa2}},
		{"SYSCALL", {0x0f, 0x05}},
		{"SYSRETQ", {0x48, 0x0f, 0x07}},
		{"INT 0x80", {0xcd, 0x80}},
		{"INT3", {0xcc}},
		{"IRETQ", {0x48, 0xcf}},
		{"MOV CR3, RAX", {0x0f, 0x22, 0xd8}},
		{"MOV RAX, CR0", {0x0f, 0x20, 0xc0}},
		{"MOV DR7, RAX", {0x0f, 0x23, 0xf8}},
		{"WRGSBASE RAX", {0xf3, 0x48, 0x0f, 0xae, 0xd8}},
		{"WRFSBASE RAX", {0xf3, 0x48, 0x0f, 0xae, 0xd0}},
		{"SWAPGS", {0x0f, 0x01, 0xf8}},
		{"MOV FS, EAX", {0x8e, 0xe0}},
		{"MOV GS, EAX", {0x8e, 0xe8}},
		{"POP GS", {0x0f, 0xa9}},
		{"LGDT", {0x0f, 0x01, 0x10}},
		{"XRSTOR", {0x0f, 0xae, 0x28}},
		{"XSETBV", {0x0f, 0x01, 0xd1}},
		{"VPGATHERDD", {0xc4, 0xe2, 0x6d, 0x90, 0x04, 0x8b}},
		{"BT [RAX], RBX", {0x48, 0x0f, 0xa3, 0x18}},
		{"RDTSCP", {0x0f, 0x01, 0xf9}},
		{"UD2", {0x0f, 0x0b}},
		{"PREFETCHW", {0x0f, 0x0d, 0x08}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct insn insn;
		enum kind kind;

		if (decode(rig->vm.decoder, DECODE_64, cases[i].bytes, sizeof(cases[i].bytes),
			   &insn) != DECODE_OK)
			continue;
		kind = kind_of(rig->cpu, &insn);
		if (kind == KIND_COPY || kind == KIND_VECTOR)
			fail_msg("%s is copied", cases[i].name);
	}
}

static int group_setup(void **state)
{
	(void)state;
	rig = ir_new(IR_64);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	ir_free(rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_are_read_and_written_as_it_is_said),
		cmocka_unit_test(what_is_never_copied),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
