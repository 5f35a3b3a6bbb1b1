/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way into a stub and back.
 *
 * The guest's vector registers are loaded all, which costs less than to find out which
 * are needed. Everything is addressed by RDI, which a stub leaves alone, as it does R8 up.
 * The C code around owns no vector register across these functions (all are clobbered), and
 * the upper halves of YMM are left clear, as the ABI wants them. What is
 * callee-saved of the rest is MXCSR and the x87 control word; the x87 stack is left empty,
 * without a pending exception, by FNINIT, which unlike a waiting instruction does
 * not fault where the guest's state has one.
 *
 * A stub whose instruction met an unmasked exception comes back by the same way
 * (trap.c).
 */
#include "core/x86/regs.h"
#include "engine/bt/fpu/enter.h"

#define EACH(X) \
	X("0")  \
	X("1")  \
	X("2")  \
	X("3")  \
	X("4") X("5") X("6") X("7") X("8") X("9") X("10") X("11") X("12") X("13") X("14") X("15")

#define LOAD_XMM(n)  "movaps %c[xmm] + 16 * " n "(%%rdi), %%xmm" n "\n\t"
#define STORE_XMM(n) "movaps %%xmm" n ", %c[xmm] + 16 * " n "(%%rdi)\n\t"

#define LOAD_YMM(n)                                           \
	"vmovaps %c[xmm] + 16 * " n "(%%rdi), %%xmm" n "\n\t" \
	"vinsertf128 $1, %c[ymm] + 16 * " n "(%%rdi), %%ymm" n ", %%ymm" n "\n\t"
#define STORE_YMM(n)                                          \
	"vmovaps %%xmm" n ", %c[xmm] + 16 * " n "(%%rdi)\n\t" \
	"vextractf128 $1, %%ymm" n ", %c[ymm] + 16 * " n "(%%rdi)\n\t"

/* The red zone of the function around lies where CALL pushes. */
#define CALL                                  \
	"movq %c[gpr](%%rdi), %%rax\n\t"      \
	"movq %c[gpr] + 8(%%rdi), %%rcx\n\t"  \
	"movq %c[gpr] + 16(%%rdi), %%rdx\n\t" \
	"movq %c[gpr] + 24(%%rdi), %%rbx\n\t" \
	"leaq %c[operand](%%rdi), %%rsi\n\t"  \
	"leaq -128(%%rsp), %%rsp\n\t"         \
	"call *%%r8\n\t"                      \
	"leaq 128(%%rsp), %%rsp\n\t"          \
	"movq %%rax, %c[gpr](%%rdi)\n\t"      \
	"movq %%rcx, %c[gpr] + 8(%%rdi)\n\t"  \
	"movq %%rdx, %c[gpr] + 16(%%rdi)\n\t" \
	"movq %%rbx, %c[gpr] + 24(%%rdi)\n\t"

#define HOST_MXCSR_OUT "stmxcsr %c[host_mxcsr](%%rdi)\n\t"
#define HOST_MXCSR_IN  "ldmxcsr %c[host_mxcsr](%%rdi)\n\t"
#define MXCSR_IN       "ldmxcsr %c[mxcsr](%%rdi)\n\t"
#define MXCSR_OUT      "stmxcsr %c[mxcsr](%%rdi)\n\t"

#define OFFSETS                                                                               \
	[xmm] "i"(offsetof(struct fpu, area) + XSAVE_XMM),                                    \
		[ymm] "i"(offsetof(struct fpu, area) + FPU_YMM_HI),                           \
		[mxcsr] "i"(offsetof(struct fpu, area) + XSAVE_MXCSR),                        \
		[area] "i"(offsetof(struct fpu, area)), [gpr] "i"(offsetof(struct fpu, gpr)), \
		[operand] "i"(offsetof(struct fpu, operand)),                                 \
		[host_mxcsr] "i"(offsetof(struct fpu, host_mxcsr)),                           \
		[host_fcw] "i"(offsetof(struct fpu, host_fcw))

#define CLOBBERS                                                                                   \
	"rax", "rcx", "rdx", "rbx", "rsi", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", \
		"xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",        \
		"xmm14", "xmm15"

#define X87_CLOBBERS                                                                              \
	"st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "mm0", "mm1", "mm2", \
		"mm3", "mm4", "mm5", "mm6", "mm7"

void enter_sse(struct fpu *fpu, const void *stub)
{
	register const void *r8 __asm__("r8") = stub;

	__asm__ volatile(HOST_MXCSR_OUT MXCSR_IN EACH(LOAD_XMM) CALL EACH(STORE_XMM)
				 MXCSR_OUT HOST_MXCSR_IN
			 :
			 : "D"(fpu), "r"(r8), OFFSETS
			 : CLOBBERS);
}

void enter_avx(struct fpu *fpu, const void *stub)
{
	register const void *r8 __asm__("r8") = stub;

	__asm__ volatile(HOST_MXCSR_OUT MXCSR_IN EACH(LOAD_YMM)
				 CALL EACH(STORE_YMM) "vzeroupper\n\t" MXCSR_OUT HOST_MXCSR_IN
			 :
			 : "D"(fpu), "r"(r8), OFFSETS
			 : CLOBBERS);
}

#define X87_IN                           \
	HOST_MXCSR_OUT                   \
	"fnstcw %c[host_fcw](%%rdi)\n\t" \
	"fxrstor64 %c[area](%%rdi)\n\t"

#define X87_OUT                        \
	"fxsave64 %c[area](%%rdi)\n\t" \
	"fninit\n\t"                   \
	"fldcw %c[host_fcw](%%rdi)\n\t" HOST_MXCSR_IN

void enter_x87(struct fpu *fpu, const void *stub)
{
	register const void *r8 __asm__("r8") = stub;

	__asm__ volatile(X87_IN CALL X87_OUT
			 :
			 : "D"(fpu), "r"(r8), OFFSETS
			 : CLOBBERS, X87_CLOBBERS);
}

void enter_nothing(struct fpu *fpu)
{
	__asm__ volatile(X87_IN X87_OUT : : "D"(fpu), OFFSETS : CLOBBERS, X87_CLOBBERS);
}
