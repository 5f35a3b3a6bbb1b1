/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/translate/kind.h"

#include "engine/bt/cpu.h"
#include "engine/bt/translate/narrow.h"
#include "engine/bt/translate/region.h"

/* clang-format off */
#define COPY(name)    [OP_##name] = KIND_COPY
#define HANDLER(name) [OP_##name] = KIND_HANDLER
#define ONCE(name)    [OP_##name] = KIND_HANDLER_ONCE
#define GO(name)      [OP_##name] = KIND_HANDLER_GO

static const uint8_t kinds[OP_COUNT] = {
	COPY(ADD), COPY(OR), COPY(ADC), COPY(SBB), COPY(AND), COPY(SUB), COPY(XOR), COPY(CMP),
	COPY(TEST), COPY(NOT), COPY(NEG), COPY(INC), COPY(DEC), COPY(MUL), COPY(IMUL),
	COPY(ADCX), COPY(ADOX),
	COPY(ROL), COPY(ROR), COPY(RCL), COPY(RCR), COPY(SHL), COPY(SHR), COPY(SAR), COPY(SHLD),
	COPY(SHRD),
	COPY(MOV), COPY(MOVZX), COPY(MOVSX), COPY(MOVSXD), COPY(MOVBE), COPY(XCHG), COPY(BSWAP),
	COPY(CBW), COPY(CWDE), COPY(CDQE), COPY(CWD), COPY(CDQ), COPY(CQO), COPY(MOVNTI),
	COPY(LAHF), COPY(SAHF), COPY(CLC), COPY(STC), COPY(CMC),
	COPY(BT), COPY(BTS), COPY(BTR), COPY(BTC), COPY(BSF), COPY(BSR), COPY(LZCNT), COPY(TZCNT),
	COPY(POPCNT), COPY(CRC32), COPY(ANDN), COPY(BEXTR), COPY(BLSI), COPY(BLSMSK), COPY(BLSR),
	COPY(BZHI), COPY(MULX), COPY(PDEP), COPY(PEXT), COPY(RORX), COPY(SARX), COPY(SHLX),
	COPY(SHRX),
	COPY(XADD), COPY(CMPXCHG), COPY(CMPXCHG8B), COPY(CMPXCHG16B), COPY(CMOVCC), COPY(SETCC),
	COPY(LFENCE), COPY(MFENCE), COPY(SFENCE),
	[OP_NATIVE] = KIND_VECTOR, [OP_VZEROALL] = KIND_VECTOR, [OP_VZEROUPPER] = KIND_VECTOR,
	[OP_LDMXCSR] = KIND_VECTOR, [OP_STMXCSR] = KIND_VECTOR,
	[OP_EMMS] = KIND_X87, [OP_FLDCW] = KIND_X87, [OP_FNSTCW] = KIND_X87,
	[OP_FNSTSW] = KIND_X87, [OP_FNCLEX] = KIND_X87, [OP_FWAIT] = KIND_X87,
	[OP_DIV] = KIND_DIVIDE, [OP_IDIV] = KIND_DIVIDE,
	[OP_NOP] = KIND_NOP, [OP_LEA] = KIND_LEA,
	[OP_PUSH] = KIND_PUSH, [OP_POP] = KIND_POP, [OP_LEAVE] = KIND_LEAVE,
	[OP_CLI] = KIND_CLI, [OP_STI] = KIND_STI, [OP_PUSHFQ] = KIND_PUSHF, [OP_RDTSC] = KIND_RDTSC,
	[OP_RDTSCP] = KIND_RDTSCP, [OP_CLD] = KIND_CLD, [OP_STD] = KIND_STD, [OP_POPFQ] = KIND_POPF,
	[OP_PUSHFD] = KIND_PUSHF, [OP_POPFD] = KIND_POPF,
	[OP_SWAPGS] = KIND_SWAPGS, [OP_STAC] = KIND_AC, [OP_CLAC] = KIND_AC,
	[OP_SERIALIZE] = KIND_NOP, /* code that is written is seen at once */
	HANDLER(XLAT), HANDLER(ENTER), HANDLER(PUSHF), HANDLER(PUSH_SEG),
	HANDLER(RDPID), HANDLER(PAUSE), HANDLER(CPUID), HANDLER(XGETBV),
	[OP_MOVSB] = KIND_STRING, [OP_MOVSW] = KIND_STRING, [OP_MOVSD] = KIND_STRING,
	[OP_MOVSQ] = KIND_STRING, [OP_STOSB] = KIND_STRING, [OP_STOSW] = KIND_STRING,
	[OP_STOSD] = KIND_STRING, [OP_STOSQ] = KIND_STRING,
	HANDLER(CMPSB), HANDLER(CMPSW), HANDLER(CMPSD), HANDLER(CMPSQ), HANDLER(SCASB),
	HANDLER(SCASW), HANDLER(SCASD), HANDLER(SCASQ), HANDLER(LODSB), HANDLER(LODSW),
	HANDLER(LODSD), HANDLER(LODSQ),
	HANDLER(LAR), HANDLER(LSL), HANDLER(VERR), HANDLER(VERW), HANDLER(SGDT), HANDLER(SIDT),
	HANDLER(SLDT), HANDLER(STR), HANDLER(SMSW), HANDLER(RDFSBASE), HANDLER(RDGSBASE),
	HANDLER(CLFLUSH), HANDLER(CLFLUSHOPT), HANDLER(CLWB), HANDLER(CLZERO),
	HANDLER(VMASKMOVPS), HANDLER(VMASKMOVPD), HANDLER(VPMASKMOVD), HANDLER(VPMASKMOVQ),
	HANDLER(VGATHERDPD), HANDLER(VGATHERDPS), HANDLER(VGATHERQPD), HANDLER(VGATHERQPS),
	HANDLER(VPGATHERDD), HANDLER(VPGATHERDQ), HANDLER(VPGATHERQD), HANDLER(VPGATHERQQ),
	ONCE(POPF), ONCE(MOV_SEG), ONCE(POP_SEG), ONCE(MOV_CR), ONCE(CLTS),
	ONCE(WRFSBASE), ONCE(WRGSBASE), ONCE(RDMSR),
	ONCE(WRMSR), ONCE(INVLPG), ONCE(INVPCID), ONCE(WBINVD), ONCE(IN), ONCE(OUT),
	ONCE(INSB), ONCE(INSW), ONCE(INSD), ONCE(OUTSB), ONCE(OUTSW), ONCE(OUTSD),
	ONCE(RDRAND), ONCE(RDSEED), ONCE(XSETBV),
	ONCE(FXSAVE), ONCE(FXRSTOR), ONCE(XSAVE), ONCE(XSAVEC), ONCE(XSAVEOPT), ONCE(XSAVES),
	ONCE(XRSTOR), ONCE(XRSTORS), ONCE(FLDENV), ONCE(FNSTENV), ONCE(FNSAVE), ONCE(FRSTOR),
	HANDLER(FNINIT), HANDLER(MASKMOVQ), HANDLER(MASKMOVDQU),
	GO(SYSCALL), GO(SYSRET), GO(IRETQ), GO(IRETD), GO(INT), GO(INT3), GO(UD2), GO(RET_FAR),
	GO(CALL_FAR), GO(JMP_FAR), GO(LOOP), GO(LOOPE), GO(LOOPNE), GO(JRCXZ), GO(JECXZ),
	/* Not in 64-bit code. */
	HANDLER(PUSHA), HANDLER(PUSHAD), HANDLER(POPA), HANDLER(POPAD), HANDLER(AAA), HANDLER(AAD),
	HANDLER(AAM), HANDLER(AAS), HANDLER(DAA), HANDLER(DAS), HANDLER(SALC), HANDLER(BOUND),
	HANDLER(ARPL), ONCE(LDS), ONCE(LES), ONCE(LFS), ONCE(LGS), ONCE(LSS),
	GO(IRET), GO(INTO), GO(JCXZ), GO(SYSENTER), GO(SYSEXIT),
	[OP_JMP] = KIND_JMP, [OP_JCC] = KIND_JCC, [OP_CALL] = KIND_CALL, [OP_RET] = KIND_RET,
};
/* clang-format on */

static bool stolen(unsigned reg)
{
	return reg == GPR_R8 + 2 || reg == GPR_R8 + 3; /* translate/lower.h */
}

/* A memory operand and two different registers that the host needs for itself, or one that cannot
 * be named beside R10. */
static bool too_many_registers(const struct insn *insn)
{
	unsigned one = MEM_REG_NONE;

	for (unsigned i = 0; i < insn->operands; i++) {
		const struct insn_operand *o = &insn->operand[i];

		if (o->kind != OPERAND_GPR)
			continue;
		if (o->high)
			return true;
		if (!stolen(o->reg))
			continue;
		if (one != MEM_REG_NONE && one != o->reg)
			return true;
		one = o->reg;
	}
	return false;
}

/* BT and its kin, whose bit may be far from the operand. */
static bool is_far_bit(const struct insn *insn)
{
	switch (insn->op) {
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
		return insn->has_mem && insn->operand[1].kind == OPERAND_GPR;
	default:
		return false;
	}
}

/* The bit's offset is part of the effective address, so that is all there may be to it. */
static enum kind kind_of_far_bit(const struct insn *insn, unsigned word)
{
	bool plain = insn->addr_size == word && insn->mem.seg < SEG_FS;

	if (insn->op == OP_BT && insn->prefixes & INSN_LOCK)
		return KIND_HANDLER; /* #UD */
	return plain ? KIND_BIT : KIND_HANDLER;
}

static bool copies(const struct insn *insn)
{
	const struct insn_operand *first = &insn->operand[0];

	if (insn->prefixes & INSN_LOCK && !(insn->has_mem && first->kind == OPERAND_MEM))
		return false;
	/* The copy of one with memory may have a prefix more. MOV moffs has no ModRM: where its
	 * offset has 64 bits, it is the interpreter's. */
	return !insn->has_mem ||
	       ((insn->at.modrm || insn->addr_size == 4) && insn->len < INSN_BYTES_MAX &&
		!insn->mem.vsib && !too_many_registers(insn));
}

/* CVTPI2PS of memory, which Intel's has clear the x87 stack, and CVTPI2PD. */
static bool converts_from_mmx(const struct insn *insn)
{
	unsigned at = insn->at.opcode;

	if (insn->unit != UNIT_SSE || insn->bytes[at] != 0x2a || insn->bytes[at - 1] != 0x0f)
		return false;
	for (unsigned i = 0; i < at - 1; i++)
		if (insn->bytes[i] == 0xf2 || insn->bytes[i] == 0xf3)
			return false; /* CVTSI2SD, CVTSI2SS */
	return true;
}

static bool has_mmx(const struct insn *insn)
{
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == OPERAND_MMX)
			return true;
	return converts_from_mmx(insn);
}

/* FENI, FDISI and FSETPM, which do nothing. */
static bool is_obsolete(const struct insn *insn)
{
	uint8_t modrm = insn->bytes[insn->at.modrm];

	return insn->unit == UNIT_X87 && insn->bytes[insn->at.opcode] == 0xdb &&
	       (modrm == 0xe0 || modrm == 0xe1 || modrm == 0xe4);
}

/* Of what is copied with registers loaded. The x87's are by XRSTOR, which goes with AVX. */
static enum kind kind_of_loaded(const struct cpu *cpu, const struct insn *insn)
{
	bool sse = insn->unit == UNIT_SSE || insn->unit == UNIT_AVX;

	if (!copies(insn))
		return KIND_HANDLER;
	if (sse && !has_mmx(insn))
		return KIND_VECTOR;
	return cpu->fpu.host.avx && !is_obsolete(insn) ? KIND_X87 : KIND_HANDLER;
}

/* With operands of a word, as nearly all branches and stack accesses have. */
static bool is_word(const struct insn *insn, unsigned word)
{
	const struct insn_operand *o = &insn->operand[0];

	if (insn->op_size != word)
		return false;
	switch (insn->op) {
	case OP_POP:
		return o->kind == OPERAND_GPR;
	case OP_PUSH:
	case OP_JMP:
	case OP_CALL:
		return o->kind != OPERAND_MEM || insn->operand[0].size == word;
	default:
		return true;
	}
}

/* By its handler; blocks that are run twice (runtime/tandem.h) have but what can be. Repetitions
 * may stop anywhere. */
static enum kind by_handler(const struct cpu *cpu, const struct insn *insn, enum kind kind)
{
	bool repeats = insn->prefixes & (INSN_REP | INSN_REPNE);

	return cpu->journal && (kind != KIND_HANDLER || repeats) ? KIND_NONE : kind;
}

/* What repeats, with registers of a word and no segment's base. */
static enum kind kind_of_string(const struct cpu *cpu, const struct insn *insn, unsigned word)
{
	bool repeats = insn->prefixes & (INSN_REP | INSN_REPNE);
	bool plain = insn->addr_size == word && insn->mem.seg < SEG_FS;

	return repeats && plain && !cpu->journal ? KIND_STRING
						 : by_handler(cpu, insn, KIND_HANDLER);
}

/* What depends on the ring and more. Where SMAP is on, AC is known by the context. */
static enum kind kind_of_system(const struct cpu *cpu, const struct insn *insn, enum kind kind)
{
	bool here = cpu->cpl == 0;

	switch (kind) {
	case KIND_AC:
		here = here && cpu->cr4 & CR4_SMAP;
		if (here && !(cpu->rflags & RFLAGS_AC) != (insn->op == OP_STAC))
			return KIND_NOP;
		break;
	case KIND_RDTSC: /* twice, it gives two results */
	case KIND_RDTSCP:
		here = (here || !(cpu->cr4 & CR4_TSD)) && !cpu->journal;
		break;
	case KIND_POPF:   /* taken back, it may have set a trap */
	case KIND_SWAPGS: /* cannot be taken back */
		here = here && !cpu->journal;
		break;
	default:
		break;
	}
	return here ? kind : by_handler(cpu, insn, KIND_HANDLER_ONCE);
}

/* Of an instruction that is not done in the block itself. */
static enum kind handler_instead(enum kind kind)
{
	switch (kind) {
	case KIND_NONE:
	case KIND_HANDLER:
	case KIND_HANDLER_ONCE:
	case KIND_HANDLER_GO:
		return kind;
	default:
		return kind >= KIND_JMP ? KIND_HANDLER_GO : KIND_HANDLER;
	}
}

enum kind kind_of(const struct cpu *cpu, const struct insn *insn)
{
	enum kind kind = kinds[insn->op];
	bool narrow = cpu->mode != CPU_LONG;
	unsigned word = narrow ? 4 : 8;

	if (!cpu->features[insn->feature])
		return KIND_NONE;
	if (narrow && !narrow_takes(insn))
		return by_handler(cpu, insn, handler_instead(kind));
	switch (kind) {
	case KIND_COPY:
		if (is_far_bit(insn))
			return kind_of_far_bit(insn, word);
		return copies(insn) ? kind : KIND_HANDLER;
	case KIND_VECTOR:
	case KIND_X87:
		return kind_of_loaded(cpu, insn);
	case KIND_LEA:
		return insn->op_size >= 4 ? kind : KIND_HANDLER;
	case KIND_CLI:
	case KIND_STI:
	case KIND_RDTSC:
	case KIND_RDTSCP:
	case KIND_POPF:
	case KIND_SWAPGS:
	case KIND_AC:
		return kind_of_system(cpu, insn, kind);
	case KIND_PUSH:
	case KIND_POP:
	case KIND_LEAVE:
		return is_word(insn, word) ? kind : KIND_HANDLER;
	case KIND_JMP:
	case KIND_JCC:
	case KIND_CALL:
	case KIND_RET:
		return is_word(insn, word) ? kind : by_handler(cpu, insn, KIND_HANDLER_GO);
	case KIND_STRING:
		return kind_of_string(cpu, insn, word);
	case KIND_HANDLER:
	case KIND_HANDLER_ONCE:
	case KIND_HANDLER_GO:
		return by_handler(cpu, insn, kind);
	default:
		return kind;
	}
}

unsigned kind_flags_read(const struct insn *insn)
{
	bool all = insn->op == OP_PUSHF || kinds[insn->op] == KIND_PUSHF ||
		   kinds[insn->op] == KIND_HANDLER_GO; /* SYSCALL */

	return all ? FLAGS_STATUS : insn->flags_read;
}

/* A count of 0 leaves the flags alone; what goes elsewhere leaves them to who comes next. */
static bool may_do_nothing(const struct insn *insn)
{
	const struct insn_operand *last = &insn->operand[insn->operands ? insn->operands - 1 : 0];
	unsigned bits = insn->operand[0].size == 8 ? 63 : 31;

	if (insn->prefixes & (INSN_REP | INSN_REPNE) || kinds[insn->op] == KIND_HANDLER_GO)
		return true;
	switch (insn->op) {
	case OP_ROL:
	case OP_ROR:
	case OP_RCL:
	case OP_RCR:
	case OP_SHL:
	case OP_SHR:
	case OP_SAR:
	case OP_SHLD:
	case OP_SHRD:
		return last->kind != OPERAND_IMM || !(insn->imm & bits);
	default:
		return false;
	}
}

/* Gives each flag that it touches a value which does not depend on what the flag was: also those
 * whose value the manuals leave open. tests/insn finds a processor on which that is not so, as
 * AMD's are of MUL. */
static bool replaces_all(const struct insn *insn)
{
	switch (insn->op) {
	case OP_AND:
	case OP_OR:
	case OP_XOR:
	case OP_TEST:
	case OP_SHL:
	case OP_SHR:
	case OP_SAR:
	case OP_SHLD:
	case OP_SHRD:
		return true;
	default:
		return false;
	}
}

unsigned kind_flags_written(const struct insn *insn)
{
	if (may_do_nothing(insn))
		return 0;
	return replaces_all(insn) ? insn->flags_touched : insn->flags_written;
}

bool kind_changes_flags(const struct insn *insn)
{
	return insn->flags_touched;
}
