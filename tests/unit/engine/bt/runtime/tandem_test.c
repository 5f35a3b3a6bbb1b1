/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That bt,check finds mistakes: a byte of a block's host code is changed before the block runs, and
 * lodge has to end, with what the guest's code is and both states in its last words. Each guest
 * runs in a process of its own, for that end is abort().
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/blocks.h"
#include "../interp/integer_rig.h"

#define CODE_MAX 48

struct mistake {
	const char *name;
	uint8_t guest[CODE_MAX]; /* HLT behind it */
	unsigned len;
	/* In the host's code these bytes, which are there once, become those; none: nothing. */
	uint8_t right[8], wrong[8];
	unsigned size;
};

#define LISTEN_MAX 65536
#define DEVICE     0x180000 /* linear */

static void put_guest(struct integer_rig *r, const struct mistake *m)
{
	memcpy(ir_ram(r, IR_CODE), m->guest, m->len);
	*ir_ram(r, IR_CODE + m->len) = 0xf4;
	r->cpu->rip = IR_CODE;
	r->cpu->gpr[GPR_RAX] = 0x1111;
	r->cpu->gpr[GPR_RBX] = IR_DATA;
	r->cpu->gpr[GPR_RCX] = 0x2222;
	store_le(r->cpu->fpu.area + XSAVE_XMM, 8, 0x3ff0000000000000);      /* 1.0 */
	store_le(r->cpu->fpu.area + XSAVE_XMM + 16, 8, 0x4000000000000000); /* 2.0 */
}

/* Changes the block's code in the memory that it is written through; exits where it cannot. */
static void plant(struct translator *t, const struct mistake *m)
{
	uint8_t *found = NULL;

	for (uint8_t *p = t->part[0].code; m->size && p + m->size <= t->emit.at; p++) {
		if (memcmp(p, m->right, m->size) != 0)
			continue;
		if (found)
			_exit(3);
		found = p;
	}
	if (m->size && !found)
		_exit(4);
	if (found)
		memcpy(found, m->wrong, m->size);
}

/* In the child: 0 when the guest comes to its HLT. */
static _Noreturn void run(const struct mistake *m)
{
	static const struct rlimit no_core = {0, 0};
	struct integer_rig *r = ir_new(IR_64);
	struct cpu *cpu = r->cpu;

	setrlimit(RLIMIT_CORE, &no_core);
	signal(SIGABRT, SIG_DFL);
	if (code_cache_init(cpu) || msr_init(cpu) || fpu_init(&cpu->fpu, NULL))
		_exit(2);
	cpu->msrs->canonical_bits = 48;
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
	cpu->journal = calloc(1, sizeof(*cpu->journal));
	ir_map(r, DEVICE, 0x40000000 | PTE_P | PTE_RW);
	ir_translate(r, MIB(1));
	ir_set_cpl(r, 0); /* writes look for the journal from now on */
	put_guest(r, m);
	if (!blocks_find(cpu->translator, IR_CODE, (enum block_context)tlb_context(cpu, cpu->cpl)))
		_exit(5);
	plant(cpu->translator, m);
	_exit(interp_run(cpu, 0) == INTERP_HALTED ? 0 : 6);
}

/* The child's wait status; text: what it has said. */
static int listen_to(const struct mistake *m, char *text)
{
	int pipes[2], status;
	size_t len = 0;
	ssize_t got;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(pipes[1], STDERR_FILENO);
		run(m);
	}
	close(pipes[1]);
	while ((got = read(pipes[0], text + len, LISTEN_MAX - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = 0;
	close(pipes[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void mistakes_are_found(void **state)
{
	static const struct mistake mistakes[] = {
		/* ADD RAX, RCX became SUB: a register and flags */
		{"a register", {0x48, 0x01, 0xc8}, 3, {0x48, 0x01, 0xc8}, {0x48, 0x29, 0xc8}, 3},
		/* MOV EDX, imm; another number */
		{"a constant",
		 {0xba, 0x44, 0x33, 0x22, 0x11},
		 5,
		 {0xba, 0x44, 0x33, 0x22},
		 {0xba, 0x44, 0x33, 0x23},
		 4},
		/* CMP RAX, RCX; JMP RDX: the interpreter's, where flags are live. TEST instead. */
		{"flags alone",
		 {0x48, 0x39, 0xc8, 0x0f, 0xa2},
		 5,
		 {0x48, 0x39, 0xc8},
		 {0x48, 0x85, 0xc8},
		 3},
		/* ADDPD XMM0, XMM1; MULPD */
		{"a vector",
		 {0x66, 0x0f, 0x58, 0xc1},
		 4,
		 {0x0f, 0x58, 0xc1},
		 {0x0f, 0x59, 0xc1},
		 3},
		/* MOV DWORD [RBX], imm: another number is written */
		{"memory",
		 {0xc7, 0x03, 0x44, 0x33, 0x22, 0x11},
		 6,
		 {0x44, 0x33, 0x22, 0x11},
		 {0x44, 0x33, 0x22, 0x12},
		 4},
	};
	static char text[LISTEN_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		int status = listen_to(m, text);
		char code[8];

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
			fail_msg("%s: ended with %#x: %s", m->name, status, text);
		snprintf(code, sizeof(code), "%02x %02x", m->guest[0], m->guest[1]);
		assert_non_null(strstr(text, "translated code and the interpreter differ"));
		assert_true(!!strstr(text, "in memory") == !strcmp(m->name, "memory"));
		assert_non_null(strstr(text, "0000000000001000")); /* where the block is */
		assert_non_null(strstr(text, code));
		assert_non_null(strstr(text, "before"));
		assert_non_null(strstr(text, "interpreter"));
		assert_non_null(strstr(text, "translated"));
	}
}

/* Without a mistake, or with one that changes nothing, nobody says a word. */
static void right_code_is_not_complained_of(void **state)
{
	static const struct mistake none[] = {
		{"none", {0x48, 0x01, 0xc8, 0x48, 0x11, 0xc8, 0x0f, 0xa2}, 8, {0}, {0}, 0},
		/* MOV EBX, DEVICE; CMP RAX, RCX; JZ over AND EDX, 4 to IMUL RAX, [RBX], 24,
		 * where the block is left; then NOPs, beyond where the jump looks; ADD EAX, EAX.
		 * What AND leaves as flags nobody reads. */
		{"left where a jump leads to",
		 {0xbb, 0,    0,    0x18, 0,    0x48, 0x39, 0xc8, 0x74, 0x03, 0x83,
		  0xe2, 0x04, 0x48, 0x6b, 0x03, 0x18, 0x90, 0x90, 0x90, 0x90, 0x90,
		  0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x01, 0xc0},
		 31,
		 {0},
		 {0},
		 0},
		/* OR RAX, RCX: what they have in common is nothing, and ADD gives the same */
		{"equal",
		 {0x48, 0x09, 0xc8, 0x31, 0xc0},
		 5,
		 {0x48, 0x09, 0xc8},
		 {0x48, 0x01, 0xc8},
		 3},
	};
	static char text[LISTEN_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(none); i++) {
		int status = listen_to(&none[i], text);

		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			fail_msg("%s: ended with %#x: %s", none[i].name, status, text);
		assert_string_equal(text, "");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mistakes_are_found),
		cmocka_unit_test(right_code_is_not_complained_of),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
