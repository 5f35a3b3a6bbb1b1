/* SPDX-License-Identifier: Apache-2.0 */
/* What vector_test executes: assembler text, X() each. */
#ifndef LODGE_TESTS_UNIT_ENGINE_BT_INTERP_VECTOR_SEQUENCES_H
#define LODGE_TESTS_UNIT_ENGINE_BT_INTERP_VECTOR_SEQUENCES_H

/* clang-format off */

#define COMPUTING(X) \
	X("addps 32(%r13), %xmm12") \
	X("addsd 1000(%r13), %xmm12") \
	X("divsd (%r13), %xmm2") \
	X("addps 4(%r13), %xmm1") \
	X("movaps %xmm3, 8(%r13)") \
	X("movups 7(%r13), %xmm3") \
	X("cvtsi2sd %r10, %xmm3") \
	X("cvtsi2sd 16(%r13), %xmm3") \
	X("cvtsi2sdq 16(%r13), %xmm3") \
	X("cvttsd2si %xmm5, %rcx") \
	X("cvtss2si (%r13), %edx") \
	X("movmskps %xmm14, %r10d") \
	X("movd %eax, %xmm9") \
	X("movq %xmm9, %rdx") \
	X("movd %xmm1, 4(%r13)") \
	X("pinsrw $5, %ecx, %xmm9") \
	X("pextrw $3, %xmm9, %ebx") \
	X("pextrw $3, %xmm9, (%r13)") \
	X("pextrb $3, %xmm9, %eax") \
	X("pinsrq $1, (%r13), %xmm13") \
	X("extractps $2, %xmm13, %r9d") \
	X("pcmpestri $0x0c, (%r13), %xmm3") \
	X("pcmpistri $0x1a, 3(%r13), %xmm3") \
	X("ptest %xmm5, %xmm13") \
	X("ucomisd 8(%r13), %xmm8") \
	X("comiss %xmm1, %xmm8") \
	X("sha256rnds2 %xmm0, %xmm1, %xmm2") \
	X("sha1rnds4 $2, 16(%r13), %xmm2") \
	X("gf2p8mulb (%r13), %xmm2") \
	X("aesdeclast (%r13), %xmm2") \
	X("pclmulqdq $1, %xmm3, %xmm2") \
	X("movntps %xmm3, 64(%r13)") \
	X("movntdqa 64(%r13), %xmm3") \
	X("lddqu 1(%r13), %xmm3") \
	X("movlhps %xmm3, %xmm4") \
	X("movhlps %xmm3, %xmm4") \
	X("movhps (%r13), %xmm4") \
	X("movlps %xmm4, 3(%r13)") \
	X("movddup 3(%r13), %xmm4") \
	X("movq 3(%r13), %xmm4") \
	X("pslldq $3, %xmm14") \
	X("psllw $3, %mm4") \
	X("paddb %mm3, %mm4") \
	X("paddb 9(%r13), %mm4") \
	X("movd %mm4, %r8d") \
	X("movq %mm4, %r8") \
	X("pinsrw $1, (%r13), %mm4") \
	X("pmovmskb %mm4, %r8d") \
	X("cvtpi2ps %mm1, %xmm3") \
	X("cvtpi2pd (%r13), %xmm3") \
	X("cvttps2pi %xmm3, %mm1") \
	X("cvtpd2pi (%r13), %mm1") \
	X("movq2dq %mm1, %xmm9") \
	X("movdq2q %xmm9, %mm5") \
	X("emms") \
	X("movntq %mm1, 8(%r13)") \
	X("pshufw $27, (%r13), %mm2") \
	X("extrq $3, $9, %xmm3") \
	X("insertq $4, $7, %xmm3, %xmm9") \
	X("movntsd %xmm3, 1(%r13)") \
	X("vaddps 4(%r13), %ymm3, %ymm14") \
	X("vmovaps 16(%r13), %ymm3") \
	X("vmovaps %xmm9, 16(%r13)") \
	X("vmovntdqa 32(%r13), %ymm3") \
	X("vcvtsi2sd %rax, %xmm3, %xmm9") \
	X("vcvtsd2si %xmm3, %rax") \
	X("vmovmskpd %ymm3, %ecx") \
	X("vmovd %edx, %xmm9") \
	X("vpextrw $2, %xmm9, %r10d") \
	X("vpinsrq $1, %rbx, %xmm9, %xmm11") \
	X("vblendvps %ymm12, (%r13), %ymm9, %ymm11") \
	X("vblendvpd %xmm2, 3(%r13), %xmm9, %xmm11") \
	X("vpblendvb %ymm12, %ymm1, %ymm9, %ymm11") \
	X("vtestps %xmm9, %xmm11") \
	X("vpcmpestri $3, 5(%r13), %xmm11") \
	X("vperm2f128 $0x21, (%r13), %ymm9, %ymm11") \
	X("vextracti128 $1, %ymm9, 3(%r13)") \
	X("vbroadcastss (%r13), %ymm9") \
	X("vpbroadcastb 3(%r13), %ymm9") \
	X("vbroadcastf128 3(%r13), %ymm9") \
	X("vpmovzxbw 3(%r13), %ymm9") \
	X("vfmadd213ps (%r13), %ymm9, %ymm10") \
	X("vfnmsub231sd (%r13), %xmm9, %xmm10") \
	X("vcvtph2ps 4(%r13), %ymm10") \
	X("vcvtps2ph $3, %ymm10, 4(%r13)") \
	X("vzeroall") \
	X("vzeroupper") \
	X("vaesenc (%r13), %ymm9, %ymm10") \
	X("vpclmulqdq $1, %ymm3, %ymm9, %ymm10") \
	X("vgf2p8affineqb $3, (%r13), %ymm9, %ymm10") \
	X("vmovss %xmm1, %xmm2, %xmm3") \
	X("vmovhlps %xmm1, %xmm2, %xmm13") \
	X("vdpps $0xf1, %ymm1, %ymm2, %ymm13") \
	X("ldmxcsr (%r13)") \
	X("stmxcsr 5(%r13)") \
	X("vstmxcsr 4(%r13)") \
	X("movl $0x1f80, (%r13); vldmxcsr (%r13); divps %xmm1, %xmm2") \
	X("movups 17(%r12), %xmm1") \
	X("vmovups %ymm1, 1(%r12)") \
	X("movss 29(%r12), %xmm3") \
	X("fstpt 24(%r12)") \
	X("pcmpistri $2, 24(%r12), %xmm1")

#define X87(X) \
	X("fld1; fnstenv (%r13)") \
	X("fldl 8(%r13); fld1; fnstenv 64(%r13)") \
	X("fldl 8(%r13); fnstenv 64(%r13)") \
	X("data16 fnstenv (%r13)") \
	X("data16 fnsave (%r13)") \
	X("flds 8(%r13); fnsave 64(%r13)") \
	X("fnsave (%r13); frstor (%r13)") \
	X("frstor (%r13)") \
	X("fldenv (%r13)") \
	X("data16 fldenv (%r13)") \
	X("data16 frstor (%r13)") \
	X("fldenv (%r13); fnstenv 64(%r13)") \
	X("frstor (%r13); fnsave 128(%r13)") \
	X("fninit") \
	X("fninit; fld1; fldpi; fxch; fnstenv (%r13)") \
	X("fnop; fnstenv (%r13)") \
	X("ffree %st(3); fnstenv (%r13)") \
	X("fincstp; fnstenv (%r13)") \
	X("fnclex; fnstenv (%r13)") \
	X(".byte 0xdb, 0xe0; fnstenv (%r13)") \
	X("fldcw (%r13); fnstenv 16(%r13)") \
	X("fwait; fnstcw (%r13)") \
	X("fnstsw %ax") \
	X("fnstsw (%r13)") \
	X("fcomi %st(2)") \
	X("fucomip %st(3)") \
	X("fcmovb %st(2), %st") \
	X("fcmovnu %st(2), %st; fnstenv (%r13)") \
	X("fbstp (%r13)") \
	X("fistpq 3(%r13)") \
	X("fisttps (%r13)") \
	X("fstpt 1(%r13)") \
	X("fldt 3(%r13)") \
	X("ds fldl 8(%r13); fnstenv 64(%r13)") \
	X("data16 fld1; fnstenv (%r13)") \
	X("fldl (%r13); fadds 16(%r13); fsts 20(%r13)") \
	X("fdivl (%r13); fsqrt; fstpl 16(%r13)") \
	X("fninit; fldl (%r13); fadd %st(0); paddb %mm1, %mm2; fnstenv 16(%r13)") \
	X("fyl2x; fsin; fptan") \
	X("fprem; fxtract; f2xm1; fxam; fnstsw %ax") \
	X("fldcw (%r13); fsqrt; fwait") \
	X("movw $0x340, (%r13); fldcw (%r13); fld1; fdivl 8(%r13); fwait") \
	X("movw $0x340, (%r13); fldcw (%r13); fldl 8(%r13); fstps 16(%r13); fldl 32(%r13)") \
	X("movw $0x300, (%r13); fldcw (%r13); fistpl 16(%r13); fnstenv 64(%r13); fwait") \
	X("movw $0x340, (%r13); fldcw (%r13); fldt 8(%r13); fstpl 16(%r13); fnsave 64(%r13)") \
	X("movw $0x340, (%r13); fldcw (%r13); fsqrt; fxsave 64(%r13); paddb %mm1, %mm2") \
	X("movw $0x340, (%r13); fldcw (%r13); faddl 8(%r13); fxsave64 64(%r13); fnclex; fwait") \
	X("movw $0x340, (%r13); fldcw (%r13); fmull 8(%r13); fnstenv 64(%r13); fwait; emms") \
	X("movw $0x340, (%r13); fldcw (%r13); faddl 8(%r13); fxsave64 64(%r13); fninit; " \
	  "fxrstor64 64(%r13); fnstenv 1024(%r13)") \
	X("fldl 8(%r13); fxsave64 64(%r13); fninit; fxrstor 64(%r13); fnstenv 1024(%r13)")

#define STATE(X) \
	X("fxsave (%r13)") \
	X("fxsave64 (%r13)") \
	X("fxsave 8(%r13)") \
	X("fxsave 2(%r13)") \
	X("fxrstor (%r13)") \
	X("andl $0xffff, 24(%r13); fxrstor (%r13); fxsave 512(%r13)") \
	X("movl $0x1f80, 24(%r13); fxrstor64 (%r13); fxsave64 512(%r13); fnstenv 1024(%r13)") \
	X("movl $0x1f80, 24(%r13); fxrstor (%r13); fnsave 1024(%r13)") \
	X("fxrstor 4(%r13)") \
	X("fxrstor 1(%r13)") \
	X("mov $0x7ffffffffff6, %rdi; maskmovdqu %xmm1, %xmm2") /* #PF before #GP */ \
	X("fxsave -32(%r12)") \
	X("mov $0xffff7ffffffffffe, %rbp; fxsave (%rbp)") /* #SS before alignment */ \
	X("mov $0x7ffffffffffe, %rbp; fxrstor (%rbp)") \
	X("mov $0x7ffffffffff0, %rbp; fxrstor (%rbp)") \
	X("mov $0x7ffffffffff1, %rcx; fxsave (%rcx)") /* #AC before the end */ \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13)") \
	X("mov $3, %eax; xor %edx, %edx; xsave64 (%r13)") \
	X("mov $1, %eax; xor %edx, %edx; xsave64 (%r13)") \
	X("mov $2, %eax; xor %edx, %edx; xsave64 (%r13)") \
	X("mov $4, %eax; xor %edx, %edx; xsave64 (%r13)") \
	X("mov $0, %eax; xor %edx, %edx; xsave64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave 32(%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsaveopt (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13)") \
	X("mov $5, %eax; xor %edx, %edx; xsavec64 (%r13)") \
	X("mov $4, %eax; xor %edx, %edx; xsavec64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); vzeroall; fninit; xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); vzeroall; fninit; xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); mov $3, %eax; vzeroall; xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movq $1, 512(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movq $0, 512(%r13); xrstor64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movq $4, 512(%r13); mov $6, %eax; " \
	  "xrstor64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); movq $4, 512(%r13); xrstor64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); movq $1, 512(%r13); " \
	  "mov $2, %eax; xrstor64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); movq $2, 512(%r13); " \
	  "mov $5, %eax; xrstor64 (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movq $8, 512(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movb $1, 520(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movb $1, 528(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movb $1, 536(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movb $1, 575(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); movb $1, 575(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%r13); movb $3, 520(%r13); xrstor (%r13)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%r13); movl $-1, 24(%r13); xrstor (%r13)") \
	X("mov $1, %eax; xor %edx, %edx; xsave (%r13); movl $-1, 24(%r13); xrstor (%r13)") \
	X("mov $4, %eax; xor %edx, %edx; xsave (%r13); movl $-1, 24(%r13); xrstor (%r13)") \
	X("mov $2, %eax; xor %edx, %edx; xsavec (%r13); movl $-1, 24(%r13); " \
	  "movq $0, 512(%r13); xrstor (%r13)") \
	X("mov $1, %eax; xor %edx, %edx; xsave (%r13); movw $0, (%r13); xrstor (%r13); fwait")

#define MASKED(X) \
	X("lea 5(%r13), %rdi; maskmovdqu %xmm1, %xmm2") \
	X("lea 5(%r13), %rdi; maskmovq %mm1, %mm2") \
	X("lea 24(%r12), %rdi; pxor %xmm1, %xmm1; mov $0x80, %eax; movd %eax, %xmm1; " \
	  "maskmovdqu %xmm1, %xmm2") \
	X("lea 24(%r12), %rdi; pxor %xmm1, %xmm1; maskmovdqu %xmm1, %xmm2") \
	X("lea 28(%r12), %rdi; pxor %mm1, %mm1; maskmovq %mm1, %mm2") \
	X("lea 28(%r12), %rdi; maskmovq %mm1, %mm2") \
	X("paddb 28(%r12), %mm2") \
	X("movq %mm2, 28(%r12)") \
	X("movntq %mm2, 28(%r12)") \
	X("mov %r13, %rdi; vmaskmovdqu %xmm1, %xmm2") \
	X("vmaskmovps 3(%r13), %ymm1, %ymm2") \
	X("vmaskmovps %ymm1, %ymm2, 3(%r13)") \
	X("vmaskmovpd 3(%r13), %xmm1, %xmm2") \
	X("vmaskmovpd %ymm1, %ymm2, 3(%r13)") \
	X("vpmaskmovd 3(%r13), %xmm1, %xmm2") \
	X("vpmaskmovd %ymm1, %ymm2, (%r13)") \
	X("vpmaskmovq 3(%r13), %ymm1, %ymm2") \
	X("vpmaskmovq %xmm1, %xmm2, (%r13)") \
	X("vpmaskmovd 20(%r12), %ymm1, %ymm2") \
	X("vpmaskmovd %ymm1, %ymm2, 20(%r12)") \
	X("vmaskmovpd 16(%r12), %xmm1, %xmm2") \
	X("vmaskmovpd %ymm1, %ymm2, 16(%r12)")
#define INDEXES "vpsrld $20, %ymm3, %ymm3; "
#define QINDEXES "vpsrlq $52, %ymm3, %ymm3; "

#define GATHERS(X) \
	X(INDEXES "vgatherdps %ymm1, (%r13,%ymm3,2), %ymm2") \
	X(INDEXES "vgatherdps %xmm1, 3(%r13,%xmm3,1), %xmm2") \
	X(INDEXES "vgatherdpd %ymm1, 3(%r13,%xmm3,1), %ymm2") \
	X(INDEXES "vgatherdpd %xmm11, 3(%r13,%xmm3,1), %xmm2") \
	X(QINDEXES "vgatherqps %xmm1, 3(%r13,%ymm3,1), %xmm2") \
	X(QINDEXES "vgatherqps %xmm1, 3(%r13,%xmm3,1), %xmm2") \
	X(QINDEXES "vgatherqpd %ymm1, 3(%r13,%ymm3,2), %ymm12") \
	X(QINDEXES "vgatherqpd %xmm1, 3(%r13,%xmm3,2), %xmm12") \
	X(INDEXES "vpgatherdd %ymm1, (%r13,%ymm3,2), %ymm2") \
	X(INDEXES "vpgatherdq %ymm1, (%r13,%xmm3,2), %ymm2") \
	X(QINDEXES "vpgatherqd %xmm1, (%r13,%ymm3,2), %xmm2") \
	X(QINDEXES "vpgatherqq %xmm1, (%r13,%xmm3,2), %xmm2") \
	X("vpgatherqq %xmm1, (%r13,%xmm3,2), %xmm2") \
	X(INDEXES "vpgatherdd %ymm1, -12000(%r12,%ymm3,4), %ymm2") \
	X(INDEXES "vgatherdpd %ymm1, -12000(%r12,%xmm3,4), %ymm2") \
	X(QINDEXES "vpgatherqd %xmm1, -12000(%r12,%ymm3,4), %xmm2") \
	X(".byte 0xc4, 0xc2, 0xf1, 0x91, 0x4c, 0x1d, 0") \
	X(INDEXES "vpgatherdd %ymm1, (,%ymm3,2), %ymm2")

/* 32-bit code: EBX points at data. */
#define IN_32_BITS(X) \
	X("addps 32(%ebx), %xmm2") \
	X("addps 4(%ebx), %xmm2") \
	X("movd %ecx, %xmm3") \
	X("movd %xmm3, %edx") \
	X("cvtsi2sd %ecx, %xmm3") \
	X("cvttsd2si 8(%ebx), %eax") \
	X("pinsrw $3, %ecx, %xmm3") \
	X("pextrd $3, %xmm3, %ecx") \
	X("pcmpestri $12, (%ebx), %xmm3") \
	X("vaddps 4(%ebx), %ymm3, %ymm4") \
	X(".byte 0xc4, 0xe1, 0xf9, 0x6e, 0xc1") /* VMOVD %ecx, with VEX.W */ \
	X(".byte 0xc4, 0xe1, 0xf9, 0x7e, 0xc1") \
	X(".byte 0xc4, 0xe1, 0xf9, 0x6e, 0x03") \
	X(".byte 0xc4, 0xe1, 0xf9, 0x7e, 0x03") \
	X(".byte 0xc4, 0xe1, 0xe3, 0x2a, 0xc1") /* VCVTSI2SD */ \
	X(".byte 0xc4, 0xe1, 0xe3, 0x2a, 0x03") \
	X(".byte 0xc4, 0xe1, 0xfb, 0x2d, 0xc1") \
	X(".byte 0xc4, 0xe3, 0xf9, 0x16, 0xc1, 0x03") /* VPEXTRD */ \
	X(".byte 0xc4, 0xe3, 0xe1, 0x22, 0xc1, 0x03") \
	X(".byte 0xc4, 0xe3, 0xe1, 0x22, 0x03, 0x03") \
	X(".byte 0xc4, 0xc1, 0x60, 0x58, 0xe2") /* VADDPS, VEX.B */ \
	X(".byte 0xc4, 0xe1, 0x20, 0x58, 0xe2") /* ... the highest bit of VEX.vvvv */ \
	X(".byte 0xc4, 0xe3, 0x71, 0x4a, 0xd3, 0xc0") /* VBLENDVPS, of its register */ \
	X("mov $-3, %eax; mov $7, %edx; .byte 0xc4, 0xe3, 0xf9, 0x60, 0xd9, 0x0c") \
	X("mov $7, %eax; mov $-3, %edx; .byte 0xc4, 0xe3, 0xf9, 0x61, 0xd9, 0x0c") \
	X("vfmadd213pd (%ebx), %ymm1, %ymm2") \
	X("vpextrw $2, %xmm2, %ecx") \
	X("vzeroall") \
	X("paddb 9(%ebx), %mm2") \
	X("fldl 8(%ebx); fnstenv 64(%ebx)") \
	X("data16 fnstenv (%ebx)") \
	X("data16 fnsave (%ebx)") \
	X("fld1; fldl 8(%ebx); fnsave 64(%ebx); frstor 64(%ebx)") \
	X("frstor (%ebx); fnstenv 256(%ebx)") \
	X("data16 fldenv (%ebx); fnstenv 256(%ebx)") \
	X("fldl 8(%ebx); fnstsw %ax; fcomi %st(1)") \
	X("movw $0x340, (%ebx); fldcw (%ebx); faddl 8(%ebx); fxsave 64(%ebx); fwait") \
	X("fxsave (%ebx)") \
	X("mov $0xfffffff0, %ebp; fxsave (%ebp)") /* its first page, or the last byte's? */ \
	X("mov $0xfffffffd, %ebp; fxrstor (%ebp)") \
	X("fxsave %cs:3(%ebx)") \
	X("mov $0xffffff80, %edx; xsave %ss:(%edx)") \
	X("movl $0x1f80, 24(%ebx); fxrstor (%ebx); fnsave 1024(%ebx)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%ebx)") \
	X("mov $7, %eax; xor %edx, %edx; xsavec (%ebx)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%ebx); movl $0, 512(%ebx); xrstor (%ebx)") \
	X("mov $7, %eax; xor %edx, %edx; xsave (%ebx); movw $0, 192(%ebx); movl $7, 512(%ebx); " \
	  "xrstor (%ebx)") \
	X("lea 5(%ebx), %edi; maskmovdqu %xmm1, %xmm2") \
	X("vmaskmovps 3(%ebx), %ymm1, %ymm2") \
	X("vpsrld $20, %ymm3, %ymm3; vpgatherdd %ymm1, (%ebx,%ymm3,2), %ymm2") \
	X("vpsrlq $52, %ymm3, %ymm3; vpgatherqq %ymm1, (%ebx,%ymm3,2), %ymm2") \
	X(".byte 0x66, 0x66, 0x0f, 0x6f, 0x03") \
	X("es movups (%ebx), %xmm3")
/* clang-format on */

#endif
