/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fpu_run against the host executing the same instruction directly, over random
 * register and memory values: all of x87, MMX, SSE and AVX registers, MXCSR, flags, the memory
 * operand, and whether an unmasked exception was raised.
 *
 * Instructions stand as assembler text, by which the test also knows what they use: a
 * memory operand is based on R13, an explicit general register is R10.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/fpu/fpu.h"
#include "native.h"

#define ROUNDS 300
#define FLAGS  0x8d5u

#define SAMPLES(X)                                   \
	X("addps %xmm9, %xmm3")                      \
	X("addps 32(%r13), %xmm12")                  \
	X("addsd 1000(%r13,%r14,8), %xmm12")         \
	X("ds addsd 8(%r13), %xmm2")                 \
	X("divps %xmm1, %xmm2")                      \
	X("divsd (%r13), %xmm2")                     \
	X("sqrtpd %xmm1, %xmm15")                    \
	X("mulss %xmm4, %xmm4")                      \
	X("minps %xmm6, %xmm7")                      \
	X("rcpps %xmm6, %xmm7")                      \
	X("rsqrtss (%r13), %xmm7")                   \
	X("cmpps $5, (%r13), %xmm7")                 \
	X("ucomisd %xmm1, %xmm8")                    \
	X("comiss (%r13), %xmm8")                    \
	X("cvtps2pd (%r13), %xmm8")                  \
	X("cvtpd2ps %xmm3, %xmm8")                   \
	X("cvtdq2ps %xmm3, %xmm8")                   \
	X("cvttps2dq %xmm3, %xmm8")                  \
	X("cvtsi2sd %r10, %xmm3")                    \
	X("cvtsi2ss %r10d, %xmm11")                  \
	X("cvttsd2si %xmm5, %r10")                   \
	X("cvtss2si (%r13), %r10d")                  \
	X("movmskps %xmm14, %r10d")                  \
	X("pmovmskb %xmm1, %r10d")                   \
	X("movd %r10d, %xmm9")                       \
	X("movq %r10, %xmm9")                        \
	X("movq %xmm9, %r10")                        \
	X("movd %xmm1, %r10d")                       \
	X("movd %xmm1, 4(%r13)")                     \
	X("movq %xmm1, 4(%r13)")                     \
	X("movaps %xmm1, (%r13)")                    \
	X("movhps %xmm9, (%r13)")                    \
	X("movlpd (%r13), %xmm9")                    \
	X("movups 3(%r13), %xmm9")                   \
	X("movss (%r13), %xmm9")                     \
	X("movss %xmm3, %xmm9")                      \
	X("movntps %xmm3, (%r13)")                   \
	X("pinsrw $5, %r10d, %xmm9")                 \
	X("pinsrw $5, (%r13), %xmm9")                \
	X("pextrw $3, %xmm9, %r10d")                 \
	X("pextrw $3, %xmm9, (%r13)")                \
	X("pextrd $3, %xmm9, %r10d")                 \
	X("pextrq $1, %xmm9, %r10")                  \
	X("pextrb $7, %xmm9, (%r13)")                \
	X("pinsrq $1, %r10, %xmm13")                 \
	X("pinsrb $1, %r10d, %xmm13")                \
	X("extractps $2, %xmm13, %r10d")             \
	X("shufps $0x1b, 16(%r13), %xmm13")          \
	X("pshufb %xmm8, %xmm13")                    \
	X("palignr $5, (%r13), %xmm13")              \
	X("blendvps %xmm0, %xmm5, %xmm13")           \
	X("ptest %xmm5, %xmm13")                     \
	X("roundsd $4, %xmm5, %xmm13")               \
	X("dpps $0x71, %xmm5, %xmm13")               \
	X("mpsadbw $3, (%r13), %xmm13")              \
	X("phminposuw (%r13), %xmm13")               \
	X("pcmpestri $0x0c, (%r13), %xmm3")          \
	X("pcmpestrm $0x40, %xmm4, %xmm3")           \
	X("pcmpistri $0x1a, %xmm4, %xmm3")           \
	X("pcmpistrm $0x1a, %xmm4, %xmm3")           \
	X("aesenc %xmm4, %xmm3")                     \
	X("aeskeygenassist $5, %xmm4, %xmm3")        \
	X("pclmulqdq $0x11, (%r13), %xmm3")          \
	X("haddps %xmm4, %xmm3")                     \
	X("addsubpd %xmm4, %xmm3")                   \
	X("lddqu 5(%r13), %xmm3")                    \
	X("psadbw %xmm4, %xmm3")                     \
	X("pslldq $3, %xmm3")                        \
	X("psrlw $3, %xmm9")                         \
	X("paddb %mm3, %mm4")                        \
	X("paddb 8(%r13), %mm4")                     \
	X("movq %r10, %mm4")                         \
	X("movd %mm5, %r10d")                        \
	X("pinsrw $1, %r10d, %mm4")                  \
	X("pmovmskb %mm4, %r10d")                    \
	X("psllw $3, %mm4")                          \
	X("pshufw $3, %mm4, %mm1")                   \
	X("movntq %mm1, (%r13)")                     \
	X("cvtpi2ps %mm1, %xmm3")                    \
	X("cvtpi2ps (%r13), %xmm3")                  \
	X("cvttps2pi %xmm9, %mm3")                   \
	X("movq2dq %mm1, %xmm9")                     \
	X("movdq2q %xmm9, %mm5")                     \
	X("emms")                                    \
	X("fld1")                                    \
	X("fldpi")                                   \
	X("fldl (%r13)")                             \
	X("fldt (%r13)")                             \
	X("flds 4(%r13)")                            \
	X("fildq (%r13)")                            \
	X("fbld (%r13)")                             \
	X("fbstp (%r13)")                            \
	X("fstpt (%r13)")                            \
	X("fsts (%r13)")                             \
	X("fistpq (%r13)")                           \
	X("fisttps (%r13)")                          \
	X("fadd %st(3)")                             \
	X("faddp")                                   \
	X("fdivl (%r13)")                            \
	X("fidivrl (%r13)")                          \
	X("fsqrt")                                   \
	X("fsin")                                    \
	X("fpatan")                                  \
	X("f2xm1")                                   \
	X("fyl2x")                                   \
	X("fprem1")                                  \
	X("fscale")                                  \
	X("fxtract")                                 \
	X("frndint")                                 \
	X("fxam")                                    \
	X("ftst")                                    \
	X("fucompp")                                 \
	X("fcomi %st(2)")                            \
	X("fucomip %st(3)")                          \
	X("fcmovb %st(2), %st")                      \
	X("fcmovnu %st(2), %st")                     \
	X("fcmovne %st(5), %st")                     \
	X("fxch %st(4)")                             \
	X("fincstp")                                 \
	X("ffree %st(1)")                            \
	X("fnclex")                                  \
	X("fnstsw %ax")                              \
	X("fnstsw (%r13)")                           \
	X("fnstcw (%r13)")                           \
	X("fldcw (%r13)")                            \
	X("vaddps %ymm9, %ymm3, %ymm14")             \
	X("vaddps 32(%r13), %ymm3, %ymm14")          \
	X("vaddpd %xmm9, %xmm3, %xmm4")              \
	X("vaddsd 1000(%r13,%r14,8), %xmm3, %xmm4")  \
	X("vsqrtps %ymm9, %ymm3")                    \
	X("vcvtsi2sd %r10, %xmm3, %xmm9")            \
	X("vcvtsd2si %xmm3, %r10")                   \
	X("vcvttss2si (%r13), %r10d")                \
	X("vmovmskpd %ymm3, %r10d")                  \
	X("vpmovmskb %ymm13, %r10d")                 \
	X("vmovd %r10d, %xmm9")                      \
	X("vmovq %xmm9, %r10")                       \
	X("vpextrw $2, %xmm9, %r10d")                \
	X("vpextrd $2, %xmm9, %r10d")                \
	X("vpinsrq $1, %r10, %xmm9, %xmm11")         \
	X("vpinsrd $1, (%r13,%r14), %xmm9, %xmm11")  \
	X("vblendvps %ymm12, (%r13), %ymm9, %ymm11") \
	X("vpblendvb %ymm12, %ymm1, %ymm9, %ymm11")  \
	X("vptest %ymm9, %ymm11")                    \
	X("vtestps %xmm9, %xmm11")                   \
	X("vucomiss %xmm9, %xmm11")                  \
	X("vpcmpestri $3, %xmm9, %xmm11")            \
	X("vperm2f128 $0x21, (%r13), %ymm9, %ymm11") \
	X("vpermd %ymm8, %ymm9, %ymm11")             \
	X("vpsllvd (%r13), %ymm9, %ymm11")           \
	X("vextracti128 $1, %ymm9, (%r13)")          \
	X("vinserti128 $1, (%r13), %ymm9, %ymm1")    \
	X("vbroadcastss (%r13), %ymm9")              \
	X("vpbroadcastb %xmm3, %ymm9")               \
	X("vpmovzxbw %xmm3, %ymm9")                  \
	X("vmovups %ymm9, 7(%r13)")                  \
	X("vmovntdq %ymm9, 32(%r13)")                \
	X("vfmadd213ps (%r13), %ymm9, %ymm10")       \
	X("vfnmsub231sd %xmm2, %xmm9, %xmm10")       \
	X("vfmaddsub132pd %ymm2, %ymm9, %ymm10")     \
	X("vcvtph2ps (%r13), %ymm10")                \
	X("vcvtps2ph $3, %ymm10, (%r13)")            \
	X("vcvtps2ph $0, %ymm10, %xmm3")             \
	X("vzeroall")                                \
	X("vzeroupper")                              \
	X("vaesdec %xmm1, %xmm9, %xmm10")            \
	X("vpsrad $3, %ymm9, %ymm10")

/* Each is assembled into read-only data, between two addresses. */
#define ADDRESS(insn) "1: " insn "\n2:\n.pushsection .data.rel.ro\n.quad 1b, 2b\n.popsection\n"
__asm__(".pushsection .data.rel.ro\n.balign 8\nsample_addresses:\n.popsection\n"
	".pushsection .rodata\n" SAMPLES(ADDRESS) ".popsection\n");
extern const uint8_t *const sample_addresses[][2] __attribute__((visibility("hidden")));

#define TEXT(insn) insn,
static const char *const texts[] = {SAMPLES(TEXT)};

static struct fpu fpu;
static uint8_t *const data = (uint8_t *)NATIVE_DATA;

/* Offsets within a sample's bytes, as the decoder would give them. */
static void parse(struct fpu_insn *insn, const uint8_t *b, size_t len)
{
	size_t i = 0, modrm;
	uint8_t rm;

	while (memchr("\x66\x67\xf2\xf3\x3e", b[i], 5) || (b[i] & 0xf0) == 0x40)
		i++;
	if (insn->vex)
		i += b[i] == 0xc5 ? 2 : 3;
	else if (b[i] == 0x0f)
		i += b[i + 1] == 0x38 || b[i + 1] == 0x3a ? 2 : 1;
	insn->opcode = i;
	insn->bytes = b;
	insn->len = len;
	insn->tail = len;
	modrm = i + 1;
	if (modrm >= len)
		return;
	insn->modrm = modrm;
	rm = b[modrm];
	insn->tail = modrm + 1;
	if (rm < 0xc0) {
		insn->tail += (rm & 7) == 4;
		insn->tail += rm >> 6 == 1 ? 1 : rm >> 6 == 2 ? 4 : 0;
	}
}

/* Where the memory operand of a sample lies in data. */
static size_t operand_offset(const char *text)
{
	const char *paren = strstr(text, "(%r13"), *p = paren;

	while (p > text && p[-1] >= '0' && p[-1] <= '9')
		p--;
	return p < paren ? strtoul(p, NULL, 10) : 0;
}

static void compare(const char *text, const struct native *n, size_t offset,
		    const struct fpu_insn *insn)
{
	uint8_t area[FPU_AREA_SIZE];

	memcpy(area, fpu.area, sizeof(area));
	memcpy(area + XSAVE_FOP, n->xsave + XSAVE_FOP, 18); /* not fpu_run's */
	memcpy(area + XSAVE_MXCSR_MASK, n->xsave + XSAVE_MXCSR_MASK, 4);
	memcpy(area + 416, n->xsave + 416, FPU_YMM_HI - 416);
	if (!insn->x87) /* not loaded */
		memcpy(area, n->xsave, 6);
	for (size_t i = 0; i < sizeof(area); i++)
		if (area[i] != n->xsave[i])
			fail_msg("%s: state differs at offset %zu: %02x, host %02x", text, i,
				 area[i], n->xsave[i]);
	if (insn->memory && memcmp(fpu.operand, data + offset, 32))
		fail_msg("%s: memory differs", text);
	if (insn->gpr && fpu.gpr[3] != n->gpr[10])
		fail_msg("%s: R10 is %lx, host %lx", text, fpu.gpr[3], n->gpr[10]);
	if (!insn->gpr && fpu.gpr[3] != n->gpr[GPR_RBX])
		fail_msg("%s: RBX differs", text);
	for (unsigned i = 0; i < 3; i++)
		if (fpu.gpr[i] != n->gpr[i])
			fail_msg("%s: register %u is %lx, host %lx", text, i, fpu.gpr[i],
				 n->gpr[i]);
	if ((fpu.rflags ^ n->rflags) & FLAGS)
		fail_msg("%s: flags %lx, host %lx", text, fpu.rflags, n->rflags & FLAGS);
}

static void run_sample(const char *text, const struct fpu_insn *insn, uint32_t mxcsr)
{
	size_t offset = insn->memory ? operand_offset(text) : 0;
	enum fpu_result result;
	struct native n;

	native_randomise(&n, insn->x87 && native_random() & 1, mxcsr);
	n.gpr[13] = NATIVE_DATA;
	n.gpr[14] = 0;
	memcpy(fpu.area, n.xsave, sizeof(fpu.area));
	for (unsigned i = 0; i < 4; i++)
		fpu.gpr[i] = n.gpr[i];
	if (insn->gpr)
		fpu.gpr[3] = n.gpr[10];
	fpu.rflags = n.rflags;
	memcpy(fpu.operand, data + offset, sizeof(fpu.operand));
	result = fpu_run(&fpu, insn);
	native_run(&n, insn->bytes, insn->len);
	assert_int_equal(result, n.vector >= 0 ? FPU_SIMD_EXCEPTION : FPU_DONE);
	compare(text, &n, offset, insn);
}

static void run_all(uint32_t (*mxcsr)(void))
{
	if (!native_possible()) {
		print_message("skipped: this host has no AVX2 or no FMA\n");
		skip();
	}
	assert_int_equal(fpu_init(&fpu, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *text = texts[i];
		struct fpu_insn insn = {
			.vex = *text == 'v',
			.long_mode = true,
			.x87 = *text == 'f' || strstr(text, "%mm") || !strcmp(text, "emms"),
			.memory = strstr(text, "(%r13") != NULL,
			.gpr = strstr(text, "%r10") != NULL,
		};

		parse(&insn, sample_addresses[i][0],
		      sample_addresses[i][1] - sample_addresses[i][0]);
		for (unsigned round = 0; round < ROUNDS; round++)
			run_sample(text, &insn, mxcsr());
	}
	fpu_release(&fpu);
}

static uint32_t masked(void)
{
	return 0x1f80 | (native_random() & 0xe07f);
}

static uint32_t unmasked(void)
{
	return native_random() & 0xffff & ~(native_random() & 0x1f80);
}

/* What the decoder took for an instruction and the host's processor does not. The first test:
 * cmocka takes SIGILL for the others. */
static void test_undefined(void **state)
{
	static const uint8_t ud2[] = {0x0f, 0x0b}, addps[] = {0x0f, 0x58, 0xc0};
	struct fpu_insn insn = {.bytes = ud2, .len = 2, .opcode = 1, .tail = 2, .long_mode = true};

	(void)state;
	assert_int_equal(fpu_init(&fpu, NULL), 0);
	assert_int_equal(fpu_run(&fpu, &insn), FPU_UNDEFINED);
	insn.x87 = true;
	assert_int_equal(fpu_run(&fpu, &insn), FPU_UNDEFINED);
	insn = (struct fpu_insn){.bytes = addps, .len = 3, .opcode = 1, .modrm = 2, .tail = 3};
	assert_int_equal(fpu_run(&fpu, &insn), FPU_DONE);
	fpu_release(&fpu);
}

static void test_masked(void **state)
{
	(void)state;
	run_all(masked);
}

static void test_unmasked(void **state)
{
	(void)state;
	native_catch(); /* the software engine's hands on to it */
	run_all(unmasked);
}

/* More instructions than the cache has room for, twice: PSHUFD with all registers and orders. */
static void test_many_stubs(void **state)
{
	(void)state;
	assert_int_equal(fpu_init(&fpu, NULL), 0);
	for (unsigned i = 0; i < 2 * 64 * 256; i++) {
		unsigned dst = i >> 8 & 7, src = i >> 11 & 7, order = i & 255;
		const uint8_t bytes[] = {0x66, 0x0f, 0x70, 0xc0 | dst << 3 | src, order};
		const uint32_t *registers = (const uint32_t *)(fpu.area + XSAVE_XMM);
		uint32_t expected[4];

		native_fill(fpu.area + XSAVE_XMM, 128);
		for (unsigned n = 0; n < 4; n++)
			expected[n] = registers[4 * src + (order >> 2 * n & 3)];
		fpu_run(&fpu, &(struct fpu_insn){
				      .bytes = bytes,
				      .len = 5,
				      .opcode = 2,
				      .modrm = 3,
				      .tail = 4,
				      .long_mode = true,
			      });
		assert_memory_equal(registers + 4 * dst, expected, 16);
	}
	fpu_release(&fpu);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_undefined),
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_unmasked),
		cmocka_unit_test(test_many_stubs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
