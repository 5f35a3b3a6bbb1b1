/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When vector instructions may execute at all, and what depends on the privilege level: by
 * the manuals, since the host's user mode cannot show it. SDM vol. 3A 2.5 (table 2-2), 9.6,
 * 12.1, 13.1, 6.15; vol. 1 13.13; vol. 2A under each instruction; AMD APM vol. 2 11.4.4.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../system_rig.h"
#include "engine/bt/decode/decode.h"

#define NONE RIG_NO_FAULT
#define DATA 0x10000UL

static struct rig rig;
static struct decoder *decoder;

struct code {
	const char *name;
	uint8_t bytes[8];
	uint8_t len;
};

/* Memory operands are [RBX]. */
static const struct code fld1 = {"fld1", {0xd9, 0xe8}, 2};
static const struct code fwait_ = {"fwait", {0x9b}, 1};
static const struct code fnstsw = {"fnstsw", {0xdf, 0xe0}, 2};
static const struct code fninit = {"fninit", {0xdb, 0xe3}, 2};
static const struct code fnclex = {"fnclex", {0xdb, 0xe2}, 2};
static const struct code fldcw = {"fldcw", {0xd9, 0x2b}, 2};
static const struct code fnstenv = {"fnstenv", {0xd9, 0x33}, 2};
static const struct code frstor = {"frstor", {0xdd, 0x23}, 2};
static const struct code paddb_mm = {"paddb mm", {0x0f, 0xfc, 0xc1}, 3};
static const struct code emms = {"emms", {0x0f, 0x77}, 2};
static const struct code addps = {"addps", {0x0f, 0x58, 0xc1}, 3};
static const struct code divps = {"divps", {0x0f, 0x5e, 0xc1}, 3};
static const struct code cvtpi2ps = {"cvtpi2ps", {0x0f, 0x2a, 0xc1}, 3};
static const struct code cvtpi2ps_m = {"cvtpi2ps m64", {0x0f, 0x2a, 0x03}, 3};
static const struct code cvtpi2ps_m8 = {"cvtpi2ps m64, xmm8", {0x44, 0x0f, 0x2a, 0x03}, 4};
static const struct code cvtpi2pd_m = {"cvtpi2pd m64", {0x66, 0x0f, 0x2a, 0x03}, 4};
static const struct code cvtsi2ss_m = {"cvtsi2ss m32", {0xf3, 0x0f, 0x2a, 0x03}, 4};
static const struct code ldmxcsr = {"ldmxcsr", {0x0f, 0xae, 0x13}, 3};
static const struct code vaddps = {"vaddps", {0xc5, 0xf4, 0x58, 0xc1}, 4};
static const struct code fxsave = {"fxsave", {0x0f, 0xae, 0x03}, 3};
static const struct code fxrstor = {"fxrstor", {0x0f, 0xae, 0x0b}, 3};
static const struct code xsave = {"xsave", {0x0f, 0xae, 0x23}, 3};
static const struct code xsaves = {"xsaves", {0x0f, 0xc7, 0x2b}, 3};
static const struct code xrstors = {"xrstors", {0x0f, 0xc7, 0x1b}, 3};
static const struct code movups_ss = {"movups (%rsp)", {0x0f, 0x10, 0x04, 0x24}, 4};
static const struct code movups = {"movups", {0x0f, 0x10, 0x03}, 3};

static uint8_t *memory(void)
{
	return mem_ptr_rw(&rig.mem, DATA, 4096);
}

static void begin(void)
{
	struct cpu *cpu = &rig.cpu[0];

	rig_long_mode(cpu);
	cpu->cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	fpu_reset(&cpu->fpu);
	fpu_fninit(&cpu->fpu);
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	cpu->gpr[GPR_RBX] = DATA;
	memset(memory(), 0, 4096);
}

static unsigned run(const struct code *c)
{
	struct cpu *cpu = &rig.cpu[0];
	struct insn insn;

	assert_int_equal(decode(decoder, cpu->decode, c->bytes, c->len, &insn), DECODE_OK);
	cpu->exception.pending = false;
	if (_setjmp(cpu->unwind))
		return cpu->exception.vector;
	cpu->next_rip = cpu->rip + insn.len;
	interp_handler(cpu, &insn)(cpu, &insn);
	cpu->rip = cpu->next_rip;
	return NONE;
}

static void expect(const struct code *c, unsigned vector)
{
	unsigned got = run(c);

	if (got != vector)
		fail_msg("%s: vector %u, not %u", c->name, got, vector);
}

static void test_control_bits(void **state)
{
	static const struct {
		const struct code *code;
		uint64_t cr0_set, cr4_clear;
		unsigned vector;
	} cases[] = {
		{&fld1, 0, 0, NONE},
		{&fld1, CR0_EM, 0, VECTOR_NM},
		{&fld1, CR0_TS, 0, VECTOR_NM},
		{&fld1, CR0_MP, 0, NONE},
		{&fnstsw, CR0_EM, 0, VECTOR_NM},
		{&fninit, CR0_TS, 0, VECTOR_NM},
		{&fnstenv, CR0_TS, 0, VECTOR_NM},
		{&fwait_, CR0_EM, 0, NONE},
		{&fwait_, CR0_TS, 0, NONE},
		{&fwait_, CR0_MP, 0, NONE},
		{&fwait_, CR0_MP | CR0_TS, 0, VECTOR_NM},
		{&paddb_mm, CR0_EM, 0, VECTOR_UD},
		{&paddb_mm, CR0_TS, 0, VECTOR_NM},
		{&paddb_mm, CR0_EM | CR0_TS, 0, VECTOR_UD},
		{&paddb_mm, 0, CR4_OSFXSR, NONE},
		{&emms, CR0_EM, 0, VECTOR_UD},
		{&addps, 0, 0, NONE},
		{&addps, CR0_EM, 0, VECTOR_UD},
		{&addps, CR0_TS, 0, VECTOR_NM},
		{&addps, 0, CR4_OSFXSR, VECTOR_UD},
		{&addps, CR0_TS, CR4_OSFXSR, VECTOR_UD},
		{&cvtpi2ps, 0, CR4_OSFXSR, VECTOR_UD},
		{&ldmxcsr, CR0_EM, 0, VECTOR_UD},
		{&ldmxcsr, CR0_TS, 0, VECTOR_NM},
		{&vaddps, 0, 0, NONE},
		{&vaddps, CR0_EM, 0, NONE},
		{&vaddps, CR0_TS, 0, VECTOR_NM},
		{&vaddps, 0, CR4_OSXSAVE, VECTOR_UD},
		{&vaddps, CR0_TS, CR4_OSXSAVE, VECTOR_UD},
		{&vaddps, 0, CR4_OSFXSR, NONE},
		{&fxsave, CR0_EM, 0, VECTOR_NM},
		{&fxsave, CR0_TS, 0, VECTOR_NM},
		{&fxsave, 0, CR4_OSFXSR, NONE},
		{&fxrstor, CR0_TS, 0, VECTOR_NM},
		{&xsave, CR0_EM, 0, NONE},
		{&xsave, CR0_TS, 0, VECTOR_NM},
		{&xsave, 0, CR4_OSXSAVE, VECTOR_UD},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin();
		rig.cpu[0].cr0 |= cases[i].cr0_set;
		rig.cpu[0].cr4 &= ~cases[i].cr4_clear;
		expect(cases[i].code, cases[i].vector);
	}
}

static void test_avx_wants_xcr0(void **state)
{
	(void)state;
	begin();
	rig.cpu[0].xcr0 = XSTATE_X87 | XSTATE_SSE;
	expect(&vaddps, VECTOR_UD);
	expect(&addps, NONE);
}

/* Zero-divide unmasked, and met. */
static void begin_pending(void)
{
	begin();
	store_le(rig.cpu[0].fpu.area + XSAVE_FCW, 2, 0x37b);
	store_le(rig.cpu[0].fpu.area + XSAVE_FSW, 2, 0x8084);
	store_le(memory() + XSAVE_MXCSR, 4, MXCSR_RESET);
}

/* SDM vol. 2, CVTPI2PS: it goes over to MMX state whatever its operand is, and meets what is
 * pending there; CVTPI2PD: not with memory. AMD's does with an MMX register only (tests/insn). */
static void test_pending_of_conversions(void **state)
{
	bool amd = rig.cpu[0].amd;

	(void)state;
	for (unsigned as_amd = 0; as_amd < 2; as_amd++) {
		unsigned vector = as_amd ? NONE : VECTOR_MF;

		begin_pending();
		rig.cpu[0].amd = as_amd;
		expect(&cvtpi2ps_m, vector);
		expect(&cvtpi2ps_m8, vector);
		expect(&cvtpi2pd_m, NONE);
		expect(&cvtsi2ss_m, NONE);
		expect(&cvtpi2ps, VECTOR_MF);
	}
	rig.cpu[0].amd = amd;
}

/* SDM vol. 1, 8.6: waiting instructions, MMX's among them, meet the pending exception. */
static void test_pending(void **state)
{
	static const struct {
		const struct code *code;
		unsigned vector;
	} cases[] = {
		{&fld1, VECTOR_MF},     {&fwait_, VECTOR_MF},   {&fldcw, VECTOR_MF},
		{&frstor, VECTOR_MF},   {&paddb_mm, VECTOR_MF}, {&emms, VECTOR_MF},
		{&cvtpi2ps, VECTOR_MF}, {&fnstsw, NONE},        {&fninit, NONE},
		{&fnclex, NONE},        {&fnstenv, NONE},       {&addps, NONE},
		{&fxsave, NONE},        {&fxrstor, NONE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		begin_pending();
		expect(cases[i].code, cases[i].vector);
	}
}

/* The vCPU's own SIGFPE handler is installed here, by the first unmasked exception. */
static void test_simd_exception(void **state)
{
	struct cpu *cpu = &rig.cpu[0];

	(void)state;
	for (unsigned allowed = 0; allowed < 2; allowed++) {
		begin();
		store_le(cpu->fpu.area + XSAVE_XMM, 8, 0x3f8000003f800000); /* 1 / 0 */
		store_le(cpu->fpu.area + XSAVE_MXCSR, 4, 0x1d80);
		if (!allowed)
			cpu->cr4 &= ~CR4_OSXMMEXCPT;
		expect(&divps, allowed ? VECTOR_XM : VECTOR_UD);
		assert_int_equal(load_le(cpu->fpu.area + XSAVE_XMM, 8), 0x3f8000003f800000);
		assert_int_equal(load_le(cpu->fpu.area + XSAVE_MXCSR, 4) & 0x3f, 0x05);
	}
}

static void test_addresses(void **state)
{
	struct cpu *cpu = &rig.cpu[0];

	(void)state;
	begin();
	cpu->gpr[GPR_RBX] = BIT(47);
	expect(&movups, VECTOR_GP);
	expect(&fxsave, VECTOR_GP);
	expect(&xsave, VECTOR_GP);
	cpu->gpr[GPR_RSP] = BIT(47);
	expect(&movups_ss, VECTOR_SS);
	cpu->gpr[GPR_RBX] = BIT(40);
	expect(&movups, VECTOR_PF);
	expect(&fnstenv, VECTOR_PF);
	assert_int_equal(load_le(cpu->fpu.area + XSAVE_FCW, 2), 0x37f);
}

static void test_fast_fxsave(void **state)
{
	struct cpu *cpu = &rig.cpu[0];

	(void)state;
	for (unsigned ring3 = 0; ring3 < 2; ring3++) {
		begin();
		if (ring3)
			rig_ring3(cpu);
		cpu->efer |= EFER_FFXSR;
		memset(cpu->fpu.area + XSAVE_XMM, 0x11, 256);
		memset(memory(), 0x22, 512);
		expect(&fxsave, NONE);
		assert_int_equal(memory()[XSAVE_XMM], ring3 ? 0x11 : 0x22);
		assert_int_equal(load_le(memory() + XSAVE_MXCSR, 4), MXCSR_RESET);
		memset(memory() + XSAVE_XMM, 0x33, 256);
		expect(&fxrstor, NONE);
		assert_int_equal(cpu->fpu.area[XSAVE_XMM], ring3 ? 0x33 : 0x11);
	}
}

static void test_supervisor_saves(void **state)
{
	struct cpu *cpu = &rig.cpu[0];

	(void)state;
	begin();
	if (!cpu->features[FEATURE_XSAVES]) {
		print_message("skipped: this host has no XSAVES\n");
		skip();
	}
	memset(cpu->fpu.area + XSAVE_XMM, 0x11, 256);
	memset(cpu->fpu.area + FPU_YMM_HI, 0x22, 256);
	cpu->gpr[GPR_RAX] = UINT32_MAX;
	cpu->gpr[GPR_RDX] = UINT32_MAX;
	expect(&xsaves, NONE);
	/* x87 is as FNINIT leaves it with registers of zeros: not in use. */
	assert_int_equal(load_le(memory() + XSAVE_XSTATE_BV, 8), XSTATE_SSE | XSTATE_AVX);
	assert_int_equal(load_le(memory() + XSAVE_XCOMP_BV, 8), BIT(63) | 7);
	memset(cpu->fpu.area + XSAVE_XMM, 0, 256);
	memset(cpu->fpu.area + FPU_YMM_HI, 0, 256);
	expect(&fld1, NONE);
	expect(&xrstors, NONE);
	assert_int_equal(fpu_in_use(&cpu->fpu), XSTATE_SSE | XSTATE_AVX);
	assert_int_equal(cpu->fpu.area[XSAVE_XMM + 255], 0x11);
	assert_int_equal(cpu->fpu.area[FPU_YMM_HI + 255], 0x22);
	store_le(memory() + XSAVE_XCOMP_BV, 8, 0); /* the standard format */
	expect(&xrstors, VECTOR_GP);
	rig_ring3(cpu);
	expect(&xsaves, VECTOR_GP);
	expect(&xrstors, VECTOR_GP);
}

/* SDM vol. 1, figures 8-9 to 8-12: pointers are linear addresses in real mode. */
static void test_environments(void **state)
{
	static const uint8_t real_16[14] = {0x7f, 0x03, 0x00, 0x38, 0xff, 0x3f, 0xb8,
					    0x79, 0x44, 0x15, 0x11, 0xbb, 0x00, 0xa0};
	static const uint8_t protected_16[14] = {0x7f, 0x03, 0x00, 0x38, 0xff, 0x3f, 0x78,
						 0x56, 0x34, 0x12, 0x01, 0x11, 0x00, 0xaa};
	struct fpu *fpu = &rig.cpu[0].fpu;
	uint8_t image[FPU_ENV_MAX];

	(void)state;
	begin();
	expect(&fld1, NONE);
	fpu->host.selectors = true;
	store_le(fpu->area + XSAVE_FOP, 2, 0x544);
	store_le(fpu->area + XSAVE_FIP, 8, 0x5678);
	store_le(fpu->area + XSAVE_FDP, 8, 0x11101);
	fpu->fcs = 0x1234;
	fpu->fds = 0xaa00;
	fpu_store_image(fpu, FPU_PROTECTED_16, false, image);
	assert_memory_equal(image, protected_16, sizeof(protected_16));
	store_le(fpu->area + XSAVE_FDP, 8, 0x1b11);
	fpu_store_image(fpu, FPU_REAL_16, false, image);
	assert_memory_equal(image, real_16, sizeof(real_16));
	fpu_store_image(fpu, FPU_REAL_32, false, image);
	assert_int_equal(load_le(image + 12, 2), 0x79b8);
	assert_int_equal(load_le(image + 16, 4), 1 << 12 | 0x544);
	assert_int_equal(load_le(image + 20, 2), 0xbb11);
	assert_int_equal(load_le(image + 24, 4), 0xa << 12);
	fpu_load_image(fpu, FPU_REAL_32, false, image);
	assert_int_equal(load_le(fpu->area + XSAVE_FIP, 8), 0x179b8);
	assert_int_equal(load_le(fpu->area + XSAVE_FOP, 2), 0x544);
}

static int set_up(void **state)
{
	(void)state;
	system_rig_init(&rig);
	decoder = decoder_new(rig.vm.amd, NULL);
	return decoder ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	decoder_free(decoder);
	system_rig_release(&rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_control_bits),
		cmocka_unit_test(test_avx_wants_xcr0),
		cmocka_unit_test(test_pending_of_conversions),
		cmocka_unit_test(test_pending),
		cmocka_unit_test(test_simd_exception),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_fast_fxsave),
		cmocka_unit_test(test_supervisor_saves),
		cmocka_unit_test(test_environments),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
