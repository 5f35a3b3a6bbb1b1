/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operations that the interpreter tells apart, by Zydis's mnemonics.
 *
 * Integer and system instructions each have one. Of x87, MMX, SSE and AVX instructions
 * only those have one that do more than compute on their operands (saving state,
 * masked and gathered memory accesses, control words); all others are OP_NATIVE: the
 * host's processor executes them on the guest's values.
 *
 * Where one mnemonic stands for different things, they have an operation each:
 *   MOV     MOV, MOV_SEG, MOV_CR, MOV_DR
 *   PUSH    PUSH, PUSH_SEG (and POP)
 *   CALL    CALL (near), CALL_FAR (and JMP, RET)
 *   MOVSD   MOVSD (the string one; SSE's is OP_NATIVE), and CMPSD
 *   NOP     NOP: with a ModRM too, PREFETCH*, ENDBR*, RDSSP, CLDEMOTE, BND*: all that does nothing
 * and where several differ by size or condition only, they share one:
 *   CMOVCC, SETCC, JCC by insn->cond
 *   FXSAVE64, XSAVE64 and the like are FXSAVE, XSAVE with op_size 8
 *   VLDMXCSR and VSTMXCSR are LDMXCSR and STMXCSR with unit UNIT_AVX; VMASKMOVDQU MASKMOVDQU
 *   MONITORX and MWAITX are not there
 */
#ifndef LODGE_ENGINE_BT_DECODE_OPS_H
#define LODGE_ENGINE_BT_DECODE_OPS_H

/* clang-format off */
#define INSN_OPS(X) INSN_OPS_ZYDIS(X) INSN_OPS_OWN(X)

/* Named as in Zydis. */
#define INSN_OPS_ZYDIS(X) \
	/* arithmetic and logic; SHL is SAL too */ \
	X(ADD) X(OR) X(ADC) X(SBB) X(AND) X(SUB) X(XOR) X(CMP) X(TEST) X(NOT) X(NEG) X(INC) X(DEC) \
	X(MUL) X(IMUL) X(DIV) X(IDIV) X(ADCX) X(ADOX) \
	X(ROL) X(ROR) X(RCL) X(RCR) X(SHL) X(SHR) X(SAR) X(SHLD) X(SHRD) \
	X(AAA) X(AAD) X(AAM) X(AAS) X(DAA) X(DAS) \
	/* moves */ \
	X(MOV) X(MOVZX) X(MOVSX) X(MOVSXD) X(MOVBE) X(XCHG) X(BSWAP) X(LEA) X(XLAT) \
	X(CBW) X(CWDE) X(CDQE) X(CWD) X(CDQ) X(CQO) X(MOVNTI) X(MOVDIRI) X(MOVDIR64B) \
	X(PUSH) X(POP) X(PUSHA) X(PUSHAD) X(POPA) X(POPAD) X(PUSHF) X(PUSHFD) X(PUSHFQ) X(POPF) \
	X(POPFD) X(POPFQ) X(ENTER) X(LEAVE) \
	X(LAHF) X(SAHF) X(CLC) X(STC) X(CMC) X(CLD) X(STD) X(SALC) X(NOP) X(PAUSE) \
	/* bits; LZCNT and TZCNT have FEATURE_BASE: without the feature they are BSR and BSF */ \
	X(BT) X(BTS) X(BTR) X(BTC) X(BSF) X(BSR) X(LZCNT) X(TZCNT) X(POPCNT) X(CRC32) \
	X(ANDN) X(BEXTR) X(BLSI) X(BLSMSK) X(BLSR) X(BZHI) X(MULX) X(PDEP) X(PEXT) X(RORX) X(SARX) \
	X(SHLX) X(SHRX) \
	/* read-modify-write */ \
	X(XADD) X(CMPXCHG) X(CMPXCHG8B) X(CMPXCHG16B) \
	/* near branches */ \
	X(JMP) X(CALL) X(RET) X(LOOP) X(LOOPE) X(LOOPNE) X(JCXZ) X(JECXZ) X(JRCXZ) \
	/* strings */ \
	X(MOVSB) X(MOVSW) X(MOVSD) X(MOVSQ) X(CMPSB) X(CMPSW) X(CMPSD) X(CMPSQ) X(SCASB) X(SCASW) \
	X(SCASD) X(SCASQ) X(LODSB) X(LODSW) X(LODSD) X(LODSQ) X(STOSB) X(STOSW) X(STOSD) X(STOSQ) \
	/* ports */ \
	X(IN) X(OUT) X(INSB) X(INSW) X(INSD) X(OUTSB) X(OUTSW) X(OUTSD) \
	/* far transfers and interrupts */ \
	X(IRET) X(IRETD) X(IRETQ) X(INT) X(INT1) X(INT3) X(INTO) \
	X(BOUND) X(UD0) X(UD1) X(UD2) \
	/* segments and tables */ \
	X(LDS) X(LES) X(LFS) X(LGS) X(LSS) X(LAR) X(LSL) X(VERR) \
	X(VERW) X(ARPL) X(LGDT) X(LIDT) X(LLDT) X(LTR) X(SGDT) X(SIDT) X(SLDT) X(STR) X(SWAPGS) \
	X(RDFSBASE) X(RDGSBASE) X(WRFSBASE) X(WRGSBASE) \
	/* system */ \
	X(CLTS) X(LMSW) X(SMSW) X(CLI) X(STI) X(HLT) X(CLAC) X(STAC) \
	X(SYSCALL) X(SYSRET) X(SYSENTER) X(SYSEXIT) X(RSM) X(CPUID) X(RDMSR) X(WRMSR) X(RDTSC) \
	X(RDTSCP) X(RDPMC) X(RDPID) X(RDRAND) X(RDSEED) X(INVD) X(WBINVD) \
	X(INVLPG) X(INVPCID) X(CLFLUSH) X(CLFLUSHOPT) X(CLWB) X(CLZERO) X(LFENCE) X(MFENCE) \
	X(SFENCE) X(SERIALIZE) X(MONITOR) X(MWAIT) X(XGETBV) X(XSETBV) X(RDPKRU) X(WRPKRU) \
	X(VMCALL) X(VMMCALL) \
	/* vector state and memory by elements */ \
	X(FXSAVE) X(FXRSTOR) X(XSAVE) X(XSAVEC) X(XSAVEOPT) X(XSAVES) X(XRSTOR) X(XRSTORS) \
	X(LDMXCSR) X(STMXCSR) X(FLDENV) X(FNSTENV) X(FNSAVE) X(FRSTOR) X(FLDCW) X(FNSTCW) \
	X(FNSTSW) X(FNINIT) X(FNCLEX) X(FWAIT) X(EMMS) X(VZEROALL) X(VZEROUPPER) \
	X(MASKMOVQ) X(MASKMOVDQU) X(VMASKMOVPS) X(VMASKMOVPD) X(VPMASKMOVD) X(VPMASKMOVQ) \
	X(VGATHERDPD) X(VGATHERDPS) X(VGATHERQPD) X(VGATHERQPS) \
	X(VPGATHERDD) X(VPGATHERDQ) X(VPGATHERQD) X(VPGATHERQQ)

/* Named by us. */
#define INSN_OPS_OWN(X) \
	X(MOV_SEG) X(MOV_CR) X(MOV_DR) X(PUSH_SEG) X(POP_SEG) X(JMP_FAR) X(CALL_FAR) X(RET_FAR) \
	X(CMOVCC) X(SETCC) X(JCC) X(WBNOINVD)
/* clang-format on */

enum insn_op {
	OP_NATIVE,
#define X(name) OP_##name,
	INSN_OPS(X)
#undef X
		OP_COUNT
};

/* What a CPU model has or has not, as far as instructions depend on it. A processor without the
 * feature gives #UD. Which CPUID bit says so: feature.h. */
enum insn_feature {
	FEATURE_BASE,  /* every x86-64 processor */
	FEATURE_NEVER, /* none of ours: the decoder gives DECODE_INVALID itself */
	FEATURE_CX8,
	FEATURE_CMOV,
	FEATURE_SYSENTER,
	FEATURE_SYSCALL,
	FEATURE_FXSR,
	FEATURE_CLFLUSH,
	FEATURE_MMX,
	FEATURE_SSE,
	FEATURE_SSE2,
	FEATURE_SSE3,
	FEATURE_SSSE3,
	FEATURE_SSE4_1,
	FEATURE_SSE4_2,
	FEATURE_SSE4A,
	FEATURE_AES,
	FEATURE_PCLMUL,
	FEATURE_SHA,
	FEATURE_GFNI,
	FEATURE_AVX,
	FEATURE_AVX2,
	FEATURE_FMA,
	FEATURE_F16C,
	FEATURE_VAES,    /* the 256-bit forms */
	FEATURE_VPCLMUL, /* the 256-bit forms */
	FEATURE_AVX_AES, /* VEX.128: AVX and AES */
	FEATURE_AVX_PCLMUL,
	FEATURE_AVX_GFNI,
	FEATURE_AVX_VNNI,
	FEATURE_MOVBE,
	FEATURE_POPCNT,
	FEATURE_LZCNT, /* not in insn->feature: for the handlers of LZCNT ... */
	FEATURE_BMI1,  /* ... and of TZCNT */
	FEATURE_BMI2,
	FEATURE_ADX,
	FEATURE_RDRAND,
	FEATURE_RDSEED,
	FEATURE_RDTSCP,
	FEATURE_RDPID,
	FEATURE_FSGSBASE,
	FEATURE_INVPCID,
	FEATURE_SMAP,
	FEATURE_UMIP, /* no instruction of its own */
	FEATURE_PKU,
	FEATURE_XSAVE,
	FEATURE_XSAVEOPT,
	FEATURE_XSAVEC,
	FEATURE_XSAVES,
	FEATURE_XGETBV1, /* XGETBV with ECX of 1: for its handler */
	FEATURE_CX16,
	FEATURE_LAHF64, /* LAHF and SAHF in 64-bit mode */
	FEATURE_CLFLUSHOPT,
	FEATURE_CLWB,
	FEATURE_CLZERO,
	FEATURE_WBNOINVD, /* without it WBNOINVD is WBINVD: for its handler */
	FEATURE_MONITOR,
	FEATURE_MOVDIRI,
	FEATURE_MOVDIR64B,
	FEATURE_SERIALIZE,
	FEATURE_COUNT
};

#endif
