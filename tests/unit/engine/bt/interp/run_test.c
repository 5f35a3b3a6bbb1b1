/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: what happens between two instructions. Real mode, handlers of the guest's own in
 * the IVT. Expectations from Intel SDM vol. 3A 6.7.1 (NMI), 6.8.3 (MOV SS), 18.3.1 (RF, debug
 * exceptions).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../system_rig.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/interp.h"

#define CODE    0x1000
#define HANDLER 0x2000
#define STACK   0x8000
#define VECTORS 4 /* bytes of one in the IVT */

struct bench {
	struct rig rig;
	struct cpu *cpu;
	uint8_t *ram;
};

static void put(struct bench *b, uint64_t gpa, const void *bytes, size_t len)
{
	memcpy(b->ram + gpa, bytes, len);
	pages_written(&b->rig.vm.pages, gpa, len);
}

#define PUT(b, gpa, ...) \
	put(b, gpa, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int setup(void **state)
{
	struct bench *b = aligned_alloc(64, align_up(sizeof(*b), 64));
	struct cpu *cpu;

	if (!b)
		return -1;
	system_rig_init(&b->rig);
	cpu = b->cpu = &b->rig.cpu[0];
	b->ram = mem_ptr_rw(&b->rig.mem, 0, RIG_RAM);
	b->rig.vm.decoder = decoder_new(b->rig.vm.amd, NULL);
	if (!b->rig.vm.decoder || code_cache_init(cpu))
		return -1;
	for (unsigned n = 0; n < 256; n++)
		store_le(b->ram + n * VECTORS, 4, HANDLER + n * 16);
	for (unsigned n = 0; n < SEG_COUNT; n++) {
		cpu->seg[n].selector = 0;
		cpu->seg[n].base = 0;
	}
	cpu->rip = CODE;
	cpu->gpr[GPR_RSP] = STACK;
	cpu_update_mode(cpu);
	exclusive_enter(cpu);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	exclusive_leave(b->cpu);
	code_cache_release(b->cpu);
	decoder_free(b->rig.vm.decoder);
	system_rig_release(&b->rig);
	free(b);
	return 0;
}

static uint64_t handler(unsigned vector)
{
	return HANDLER + vector * 16;
}

static void test_halt_is_stepped(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0xf4, 0x90);               /* HLT */
	PUT(b, handler(VECTOR_DB), 0x90, 0xf4); /* NOP; HLT */
	cpu_set_rflags(b->cpu, b->cpu->rflags | RFLAGS_TF);
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->rip, handler(VECTOR_DB) + 2);
}

static void test_breakpoint_on_jump_to_itself(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0xeb, 0xfe); /* JMP $ */
	PUT(b, handler(VECTOR_DB), 0xf4);
	b->cpu->dr[0] = CODE;
	cpu_set_dr7(b->cpu, DR7_RESET | DR7_G(0));
	cpu_set_rflags(b->cpu, b->cpu->rflags | RFLAGS_RF); /* once it passes */
	assert_int_equal(interp_run(b->cpu, 5), INTERP_HALTED);
	assert_int_equal(b->cpu->instructions, 2); /* one JMP, one HLT */
	assert_true(b->cpu->dr6 & DR6_B(0));
}

static void test_breakpoint_on_string(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0xf3, 0xaa, 0xf4); /* REP STOSB; HLT */
	PUT(b, handler(VECTOR_DB), 0xf4);
	b->cpu->dr[0] = CODE;
	cpu_set_dr7(b->cpu, DR7_RESET | DR7_G(0));
	cpu_set_rflags(b->cpu, b->cpu->rflags | RFLAGS_RF);
	b->cpu->gpr[GPR_RCX] = 3;
	b->cpu->gpr[GPR_RDI] = 0x9000;
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->rip, CODE + 3);
	assert_int_equal(b->cpu->gpr[GPR_RCX], 0);
}

/* Between two repetitions: the trap belongs to the one before. */
static void test_stepped_string(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0xf3, 0xaa, 0xf4);
	PUT(b, handler(VECTOR_DB), 0xf4);
	b->cpu->gpr[GPR_RCX] = 2;
	b->cpu->gpr[GPR_RDI] = 0x9000;
	cpu_set_rflags(b->cpu, b->cpu->rflags | RFLAGS_TF);
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->gpr[GPR_RCX], 1);
	assert_int_equal(load_le(b->ram + STACK - 6, 2), CODE);
}

static void test_nmi_waits_for_iret(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0x90, 0x90, 0xf4);
	PUT(b, handler(VECTOR_NMI), 0x90, 0xcf); /* NOP; IRET */
	cpu_attention(b->cpu, ATTENTION_NMI);
	assert_int_equal(interp_run(b->cpu, 1), INTERP_BUDGET); /* NOP */
	cpu_attention(b->cpu, ATTENTION_NMI);                   /* a second one, meanwhile */
	assert_int_equal(interp_run(b->cpu, 1), INTERP_BUDGET); /* IRET */
	assert_int_equal(b->cpu->rip, CODE);
	PUT(b, handler(VECTOR_NMI), 0xf4);
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->rip, handler(VECTOR_NMI) + 1);
	assert_int_equal(load_le(b->ram + b->cpu->gpr[GPR_RSP], 2), CODE);
}

static void test_nmi_waits_for_mov_ss(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0x8e, 0xd0, 0x90, 0x90, 0xf4); /* MOV SS, AX; NOP; NOP; HLT */
	PUT(b, handler(VECTOR_NMI), 0xf4);
	b->cpu->gpr[GPR_RAX] = 0;
	assert_int_equal(interp_run(b->cpu, 1), INTERP_BUDGET);
	cpu_attention(b->cpu, ATTENTION_NMI);
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->rip, handler(VECTOR_NMI) + 1);
	assert_int_equal(load_le(b->ram + b->cpu->gpr[GPR_RSP], 2), CODE + 3);
}

/* A data breakpoint that MOV SS met traps after the instruction that follows. */
static void test_breakpoint_of_mov_ss(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0x8e, 0x16, 0x00, 0x90, 0x90, 0x90, 0xf4); /* MOV SS, [0x9000]; NOP; NOP */
	PUT(b, handler(VECTOR_DB), 0xf4);
	b->cpu->dr[0] = 0x9000;
	cpu_set_dr7(b->cpu, DR7_RESET | DR7_G(0) | 0x30000); /* read or written, a byte */
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->rip, handler(VECTOR_DB) + 1);
	assert_int_equal(load_le(b->ram + b->cpu->gpr[GPR_RSP], 2), CODE + 5);
	assert_int_equal(b->cpu->dr6, DR6_RESET | DR6_B(0));
}

/* DR6's B0 to B3 are of the last debug exception (AMD APM vol. 2, 13.1.1.3). */
static void test_dr6_tells_of_the_last(void **state)
{
	struct bench *b = *state;

	PUT(b, CODE, 0x90, 0x90);
	PUT(b, handler(VECTOR_DB), 0xf4);
	b->cpu->dr6 = DR6_RESET | DR6_B(3);
	b->cpu->dr[0] = CODE;
	cpu_set_dr7(b->cpu, DR7_RESET | DR7_G(0));
	assert_int_equal(interp_run(b->cpu, 0), INTERP_HALTED);
	assert_int_equal(b->cpu->dr6, DR6_RESET | DR6_B(0));
}

static size_t code_memory(const struct code_cache *c)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < CODE_HASH_SIZE; i++)
		for (const struct code_page *p = c->hash[i]; p; p = p->next)
			bytes += sizeof(*p) + p->room * sizeof(*p->code);
	return bytes;
}

/* Pages that hold no valid instruction cost memory, too. */
static void test_code_memory_is_bounded(void **state)
{
	struct bench *b = *state;
	struct cpu *cpu = b->cpu;
	size_t most = 0;

	PUT(b, handler(VECTOR_UD), 0xf4);
	for (unsigned n = 0; n < 4 * RIG_RAM / CODE_PAGE_SIZE; n++) {
		uint64_t page = n % (RIG_RAM / CODE_PAGE_SIZE);

		if (page < 16)
			continue;
		b->ram[page * CODE_PAGE_SIZE] = 0x0f;
		b->ram[page * CODE_PAGE_SIZE + 1] = 0x0b; /* UD2 */
		cpu->seg[SEG_CS].base = page * CODE_PAGE_SIZE;
		cpu->rip = 0;
		cpu->halted = false;
		cpu->decode = (uint8_t)(n * CODE_PAGE_SIZE / RIG_RAM);
		cpu_forget_code(cpu);
		cpu->code->memory_max = MIB(1);
		interp_run(cpu, 0);
		most = MAX(most, code_memory(cpu->code));
	}
	assert_in_range(most, 1, MIB(1) + KIB(64));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_halt_is_stepped),        TEST(test_breakpoint_on_jump_to_itself),
		TEST(test_breakpoint_on_string),   TEST(test_stepped_string),
		TEST(test_nmi_waits_for_iret),     TEST(test_nmi_waits_for_mov_ss),
		TEST(test_breakpoint_of_mov_ss),   TEST(test_dr6_tells_of_the_last),
		TEST(test_code_memory_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
