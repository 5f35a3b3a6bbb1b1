/* SPDX-License-Identifier: Apache-2.0 */
/* What an instruction is, from Zydis's mnemonic and instruction set: tables. */
#include "base/bits.h"
#include "engine/bt/decode/decode_int.h"

/* clang-format off */
#define OP(mnemonic, op)    [ZYDIS_MNEMONIC_##mnemonic] = OP_##op
#define SAME(mnemonic)      OP(mnemonic, mnemonic),
#define CONDITIONS(name, op) \
	OP(name##O, op), OP(name##NO, op), OP(name##B, op), OP(name##NB, op), OP(name##Z, op), \
	OP(name##NZ, op), OP(name##BE, op), OP(name##NBE, op), OP(name##S, op), OP(name##NS, op), \
	OP(name##P, op), OP(name##NP, op), OP(name##L, op), OP(name##NL, op), OP(name##LE, op), \
	OP(name##NLE, op)

static const uint16_t ops[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
	INSN_OPS_ZYDIS(SAME)
	CONDITIONS(J, JCC), CONDITIONS(SET, SETCC), CONDITIONS(CMOV, CMOVCC),
	OP(PREFETCH, NOP), OP(PREFETCHNTA, NOP), OP(PREFETCHT0, NOP), OP(PREFETCHT1, NOP),
	OP(PREFETCHT2, NOP), OP(PREFETCHW, NOP), OP(PREFETCHWT1, NOP),
	OP(FXSAVE64, FXSAVE), OP(FXRSTOR64, FXRSTOR), OP(XSAVE64, XSAVE), OP(XSAVEC64, XSAVEC),
	OP(XSAVEOPT64, XSAVEOPT), OP(XSAVES64, XSAVES), OP(XRSTOR64, XRSTOR),
	OP(XRSTORS64, XRSTORS), OP(VLDMXCSR, LDMXCSR), OP(VSTMXCSR, STMXCSR),
	OP(VMASKMOVDQU, MASKMOVDQU),
};

/* Instruction sets that are not here are in none of our models. */
#define HAS(set, name) [ZYDIS_ISA_SET_##set] = {true, FEATURE_##name}

static const struct {
	bool known;
	uint8_t feature;
} sets[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
	HAS(I86, BASE), HAS(I186, BASE), HAS(I286PROTECTED, BASE), HAS(I286REAL, BASE),
	HAS(I386, BASE), HAS(I486, BASE), HAS(I486REAL, BASE), HAS(PENTIUMREAL, BASE),
	HAS(PPRO, BASE), HAS(LONGMODE, BASE), HAS(AMD, BASE), HAS(X87, BASE), HAS(FCMOV, BASE),
	HAS(FAT_NOP, BASE), HAS(PAUSE, BASE), HAS(PREFETCH_NOP, BASE), HAS(PREFETCHWT1, BASE),
	HAS(SSE_PREFETCH, BASE), HAS(RDPMC, BASE), HAS(LAHF, BASE),
	HAS(LZCNT, BASE), /* without the feature it is BSR */
	HAS(CMOV, CMOV), HAS(FXSAVE, FXSR), HAS(FXSAVE64, FXSR), HAS(CLFSH, CLFLUSH),
	HAS(PENTIUMMMX, MMX), HAS(SSE, SSE), HAS(SSEMXCSR, SSE), HAS(SSE2, SSE2),
	HAS(SSE2MMX, SSE2), HAS(SSE3, SSE3), HAS(SSE3X87, SSE3), HAS(SSSE3, SSSE3),
	HAS(SSSE3MMX, SSSE3), HAS(SSE4, SSE4_1), HAS(SSE42, SSE4_2), HAS(SSE4A, SSE4A),
	HAS(AES, AES), HAS(PCLMULQDQ, PCLMUL), HAS(SHA, SHA), HAS(GFNI, GFNI),
	HAS(AVX, AVX), HAS(AVX2, AVX2), HAS(AVX2GATHER, AVX2), HAS(FMA, FMA), HAS(F16C, F16C),
	HAS(AVXAES, AVX_AES), HAS(AVX_GFNI, AVX_GFNI), HAS(AVX_VNNI, AVX_VNNI), HAS(VAES, VAES),
	HAS(VPCLMULQDQ, VPCLMUL), HAS(MOVBE, MOVBE), HAS(POPCNT, POPCNT), HAS(BMI1, BMI1),
	HAS(BMI2, BMI2), HAS(ADOX_ADCX, ADX), HAS(RDRAND, RDRAND), HAS(RDSEED, RDSEED),
	HAS(RDTSCP, RDTSCP), HAS(RDPID, RDPID), HAS(RDWRFSGS, FSGSBASE), HAS(INVPCID, INVPCID),
	HAS(SMAP, SMAP), HAS(PKU, PKU), HAS(XSAVE, XSAVE), HAS(XSAVEOPT, XSAVEOPT),
	HAS(XSAVEC, XSAVEC), HAS(XSAVES, XSAVES), HAS(CMPXCHG16B, CX16),
	HAS(CLFLUSHOPT, CLFLUSHOPT), HAS(CLWB, CLWB), HAS(CLZERO, CLZERO), HAS(MONITOR, MONITOR),
	HAS(SERIALIZE, SERIALIZE),
};
/* clang-format on */

/* MOVSD and CMPSD are a string instruction's name and an SSE instruction's. */
bool operation_string(const struct zydis *z)
{
	uint8_t opcode = z->insn.opcode;

	return z->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       z->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       ((opcode & 0xfc) == 0xa4 || (opcode >= 0xaa && opcode <= 0xaf) ||
		(opcode & 0xfc) == 0x6c);
}

static bool has_register(const struct zydis *z, ZydisRegister first, ZydisRegister last)
{
	for (unsigned i = 0; i < z->insn.operand_count_visible; i++) {
		const ZydisDecodedOperand *o = &z->operands[i];

		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->reg.value >= first &&
		    o->reg.value <= last)
			return true;
	}
	return false;
}

unsigned operation_of(const struct zydis *z)
{
	unsigned op = ops[z->insn.mnemonic];
	bool far_branch = z->insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
	bool segment = has_register(z, ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS);

	switch (op) {
	case OP_JMP:
		return far_branch ? OP_JMP_FAR : op;
	case OP_CALL:
		return far_branch ? OP_CALL_FAR : op;
	case OP_RET:
		return far_branch ? OP_RET_FAR : op;
	case OP_PUSH:
		return segment ? OP_PUSH_SEG : op;
	case OP_POP:
		return segment ? OP_POP_SEG : op;
	case OP_MOV:
		if (segment)
			return OP_MOV_SEG;
		if (has_register(z, ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15))
			return OP_MOV_CR;
		return has_register(z, ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15) ? OP_MOV_DR : op;
	case OP_MOVSD:
	case OP_CMPSD:
		return operation_string(z) ? op : OP_NATIVE;
	default:
		return op;
	}
}

unsigned operation_feature(const struct zydis *z, enum decode_mode mode)
{
	switch (z->insn.mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL:
	case ZYDIS_MNEMONIC_SYSRET:
		return FEATURE_SYSCALL;
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_SYSEXIT:
		return FEATURE_SYSENTER;
	case ZYDIS_MNEMONIC_CMPXCHG8B:
		return FEATURE_CX8;
	case ZYDIS_MNEMONIC_TZCNT: /* without the feature it is BSF; Zydis has one by VEX, too */
		if (z->insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY)
			return FEATURE_NEVER;
		return FEATURE_BASE;
	case ZYDIS_MNEMONIC_VMCALL:
	case ZYDIS_MNEMONIC_VMMCALL:
		return FEATURE_BASE;
	case ZYDIS_MNEMONIC_LAHF:
	case ZYDIS_MNEMONIC_SAHF:
		return mode == DECODE_64 ? FEATURE_LAHF64 : FEATURE_BASE;
	case ZYDIS_MNEMONIC_MOVDIRI:
		return FEATURE_MOVDIRI;
	case ZYDIS_MNEMONIC_MOVDIR64B:
		return FEATURE_MOVDIR64B;
	case ZYDIS_MNEMONIC_VPCLMULQDQ:
		if (z->insn.meta.isa_set == ZYDIS_ISA_SET_AVX)
			return FEATURE_AVX_PCLMUL;
		break;
	default:
		break;
	}
	if (!sets[z->insn.meta.isa_set].known ||
	    z->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return FEATURE_NEVER;
	return sets[z->insn.meta.isa_set].feature;
}

/* SSE instructions whose XMM operand may be memory, while the MMX register is there. */
static bool converts_to_mmx(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_CVTPS2PI || mnemonic == ZYDIS_MNEMONIC_CVTTPS2PI ||
	       mnemonic == ZYDIS_MNEMONIC_CVTPD2PI || mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI;
}

unsigned operation_unit(const struct zydis *z)
{
	const ZydisDecodedInstruction *zi = &z->insn;

	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
		bool general = zi->meta.isa_set == ZYDIS_ISA_SET_BMI1 ||
			       zi->meta.isa_set == ZYDIS_ISA_SET_BMI2;

		return general ? UNIT_INTEGER : UNIT_AVX;
	}
	if (zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT)
		return (zi->opcode & 0xf8) == 0xd8 || zi->opcode == 0x9b ? UNIT_X87 : UNIT_INTEGER;
	if (has_register(z, ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_XMM15) ||
	    zi->meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR || converts_to_mmx(zi->mnemonic))
		return UNIT_SSE;
	if (has_register(z, ZYDIS_REGISTER_MM0, ZYDIS_REGISTER_MM7) ||
	    zi->mnemonic == ZYDIS_MNEMONIC_EMMS)
		return UNIT_MMX;
	/* Conversions from memory to a general register show no XMM register. */
	return ops[zi->mnemonic] == OP_NATIVE ? UNIT_SSE : UNIT_INTEGER;
}
