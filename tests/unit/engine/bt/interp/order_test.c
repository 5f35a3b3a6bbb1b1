/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which comes first where an instruction meets several exceptions. Found on an AMD EPYC by
 * tests/insn where no manual is named.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "../system_rig.h"
#include "engine/bt/decode/decode.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/interp.h"

#define CODE 0x10000UL
#define DATA 0x11000UL

static struct rig rig;

/* Ring 3 of 64-bit mode without an IDT: an exception is a shutdown, after it has set DR6 or CR2. */
static struct cpu *begin(const void *code, size_t len)
{
	struct cpu *cpu = &rig.cpu[0];

	rig_long_mode(cpu);
	rig_ring3(cpu);
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	cpu->exception.pending = false;
	cpu->idt.limit = 0;
	cpu->dr6 = DR6_RESET;
	cpu->cr2 = 0;
	cpu->rip = CODE;
	cpu_set_rflags(cpu, RFLAGS_FIXED);
	memcpy(mem_ptr_rw(&rig.mem, CODE, len), code, len);
	pages_written(&rig.vm.pages, CODE, len);
	return cpu;
}

/* SDM vol. 2, VGATHERDPS: traps of the elements that were loaded come in lieu of the fault of
 * another. */
static void test_gather_traps(void **state)
{
	static const uint8_t vpgatherdd[] = {0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0b};
	uint8_t *xmm = rig.cpu[0].fpu.area + XSAVE_XMM;

	(void)state;
	for (unsigned n = 0; n < 4; n++) {
		bool step = n & 1, loaded = n & 2;
		struct cpu *cpu = begin(vpgatherdd, sizeof(vpgatherdd));

		cpu_set_rflags(cpu, RFLAGS_FIXED | (step ? RFLAGS_TF : 0));
		cpu->gpr[GPR_RBX] = DATA;
		store_le(mem_ptr_rw(&rig.mem, DATA + 8, 4), 4, 0x12345678);
		store_le(xmm, 8, 0);
		store_le(xmm + 16, 8, 0x7000000000000008);                          /* indexes */
		store_le(xmm + 32, 8, 0x8000000000000000 | (uint64_t)loaded << 31); /* masks */
		assert_int_equal(interp_run(cpu, 10), INTERP_SHUTDOWN);
		assert_int_equal(cpu->dr6 & DR6_BS, step && loaded ? DR6_BS : 0);
		assert_int_equal(cpu->cr2, step && loaded ? 0 : DATA + 0x70000000);
		assert_int_equal(cpu->rip, CODE);
		assert_int_equal(load_le(xmm, 8), loaded ? 0x12345678 : 0);
		assert_int_equal(load_le(xmm + 32, 8), 0x8000000000000000);
	}
}

/* The exception of CMPXCHG16B [rbp + 0]. */
static uint8_t cmpxchg16b_raises(uint64_t rbp)
{
	static const uint8_t bytes[] = {0x48, 0x0f, 0xc7, 0x4d, 0x00};
	struct cpu *cpu = begin(bytes, sizeof(bytes));
	struct insn insn;

	cpu->gpr[GPR_RBP] = rbp;
	assert_int_equal(decode(rig.vm.decoder, cpu->decode, bytes, sizeof(bytes), &insn),
			 DECODE_OK);
	if (!_setjmp(cpu->unwind)) {
		interp_handler(cpu, &insn)(cpu, &insn);
		fail();
	}
	return rig.cpu[0].exception.vector;
}

/* AMD's: that it is not aligned comes before that it is not canonical (#SS). */
static void test_cmpxchg16b(void **state)
{
	(void)state;
	assert_int_equal(cmpxchg16b_raises(0x7ffffffffffb), VECTOR_GP);
	assert_int_equal(cmpxchg16b_raises(0x800000000001), VECTOR_GP);
	assert_int_equal(cmpxchg16b_raises(0x800000000000), VECTOR_SS);
}

/* SDM vol. 3A, 18.3.1.1: a step between two repetitions pushes RF as set; AMD's as clear. */
static void test_stepped_string(void **state)
{
	static const uint8_t rep_stosb[] = {0xf3, 0xaa};
	bool amd = rig.cpu[0].amd;

	(void)state;
	for (unsigned as_amd = 0; as_amd < 2; as_amd++) {
		struct cpu *cpu = begin(rep_stosb, sizeof(rep_stosb));

		cpu->amd = as_amd;
		cpu->gpr[GPR_RDI] = DATA;
		cpu->gpr[GPR_RCX] = 2;
		cpu_set_rflags(cpu, RFLAGS_FIXED | RFLAGS_TF);
		assert_int_equal(interp_run(cpu, 10), INTERP_SHUTDOWN);
		assert_int_equal(cpu->gpr[GPR_RCX], 1);
		assert_int_equal(cpu->dr6 & DR6_BS, DR6_BS);
		assert_int_equal(cpu->rflags & RFLAGS_RF, as_amd ? 0 : RFLAGS_RF);
	}
	rig.cpu[0].amd = amd;
}

/* An undefined instruction that CS's limit cuts off: #GP(0), as of any other that leaves CS. What
 * is beyond the limit says nothing about it. */
static void test_undefined_at_the_limit(void **state)
{
	static const uint8_t code[] = {0xc6, 0xad, 0xb1, 0x12, 0x45, 0x00, 0x00}; /* C6 /5 */

	(void)state;
	for (unsigned most = 1; most <= sizeof(code); most += sizeof(code) - 1) {
		struct cpu *cpu = begin(code, sizeof(code));
		struct segment cs = cpu->seg[SEG_CS];

		cpu->seg[SEG_CS].attr &= ~SEG_ATTR_L;
		cpu->seg[SEG_CS].attr |= SEG_ATTR_DB;
		cpu->seg[SEG_CS].limit = CODE + most - 1;
		cpu_update_mode(cpu);
		if (!_setjmp(cpu->unwind)) {
			code_fetch_slow(cpu, CODE);
			fail();
		}
		assert_int_equal(cpu->exception.vector, most == 1 ? VECTOR_GP : VECTOR_UD);
		cpu->seg[SEG_CS] = cs;
		cpu_update_mode(cpu);
	}
}

static int set_up(void **state)
{
	(void)state;
	system_rig_init(&rig);
	rig.vm.decoder = decoder_new(rig.vm.amd, NULL);
	return rig.vm.decoder ? code_cache_init(&rig.cpu[0]) : -1;
}

static int tear_down(void **state)
{
	(void)state;
	code_cache_release(&rig.cpu[0]);
	decoder_free(rig.vm.decoder);
	system_rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cmpxchg16b),
		cmocka_unit_test(test_gather_traps),
		cmocka_unit_test(test_stepped_string),
		cmocka_unit_test(test_undefined_at_the_limit),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
