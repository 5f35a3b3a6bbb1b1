/* SPDX-License-Identifier: Apache-2.0 */
/* An instruction's operands, from Zydis's. */
#include "base/bits.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode_int.h"

/* Registers by ranges of Zydis's numbers: what they are to us. */
struct range {
	uint16_t first, last;
	uint8_t kind;
	uint8_t size; /* 0: as Zydis says */
};

/* clang-format off */
#define RANGE(first, last, kind, size) \
	{ZYDIS_REGISTER_##first, ZYDIS_REGISTER_##last, OPERAND_##kind, size}

static const struct range ranges[] = {
	RANGE(EAX, R15D, GPR, 4), RANGE(RAX, R15, GPR, 8), RANGE(AX, R15W, GPR, 2),
	RANGE(AL, BL, GPR, 1), RANGE(AH, BH, GPR, 1), RANGE(SPL, R15B, GPR, 1),
	RANGE(XMM0, XMM15, VECTOR, 16), RANGE(YMM0, YMM15, VECTOR, 32), RANGE(ES, GS, SEG, 2),
	RANGE(MM0, MM7, MMX, 8), RANGE(ST0, ST7, X87, 10), RANGE(CR0, CR15, CR, 0),
	RANGE(DR0, DR15, DR, 0),
};
/* clang-format on */

static const struct range *range_of(ZydisRegister reg)
{
	for (unsigned i = 0; i < ARRAY_LEN(ranges); i++)
		if (reg >= ranges[i].first && reg <= ranges[i].last)
			return &ranges[i];
	return NULL;
}

/* SPL to R15B, which need a REX, are numbers 4 to 15. */
static uint8_t number_of(ZydisRegister reg, const struct range *r)
{
	return reg - r->first + (r->first == ZYDIS_REGISTER_SPL ? 4 : 0);
}

static bool fill_register(struct insn_operand *o, const ZydisDecodedOperand *from)
{
	const struct range *r = range_of(from->reg.value);

	if (!r)
		return false;
	o->kind = r->kind;
	o->reg = number_of(from->reg.value, r);
	o->high = r->first == ZYDIS_REGISTER_AH;
	if (r->size)
		o->size = r->size;
	return true;
}

static uint8_t address_register(ZydisRegister reg)
{
	const struct range *r;

	if (reg == ZYDIS_REGISTER_NONE)
		return MEM_REG_NONE;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return MEM_REG_RIP;
	r = range_of(reg);
	return r ? number_of(reg, r) : MEM_REG_NONE;
}

/* SS where the address is formed from the stack or frame pointer, else DS; an override counts
 * instead. */
static uint8_t segment_of(const struct insn_mem *mem, const struct prefixes *p)
{
	if (p->segment != SEG_NONE)
		return p->segment;
	return mem->base == GPR_RSP || mem->base == GPR_RBP ? SEG_SS : SEG_DS;
}

static void fill_memory(struct insn *insn, const ZydisDecodedOperandMem *from,
			const struct prefixes *p)
{
	struct insn_mem *mem = &insn->mem;

	mem->base = address_register(from->base);
	mem->index = address_register(from->index);
	mem->shift = from->scale > 1 ? __builtin_ctz(from->scale) : 0;
	mem->vsib = from->type == ZYDIS_MEMOP_TYPE_VSIB;
	mem->disp = from->disp.value;
	if (!insn->at.modrm && insn->addr_size < 8)
		mem->disp &= MASK(8 * insn->addr_size); /* MOV moffs: no distance, an address */
	mem->seg = segment_of(mem, p);
	insn->has_mem = true;
}

static bool fill_operand(struct insn *insn, unsigned n, const ZydisDecodedOperand *from,
			 const struct prefixes *p)
{
	struct insn_operand *o = &insn->operand[n];

	o->size = from->size / 8 > UINT8_MAX ? 0 : from->size / 8;
	o->read = from->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	o->write = from->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	switch (from->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return fill_register(o, from);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		o->kind = OPERAND_MEM;
		if (from->mem.type == ZYDIS_MEMOP_TYPE_AGEN || insn->op == OP_INVLPG)
			o->size = 0;
		fill_memory(insn, &from->mem, p);
		return true;
	case ZYDIS_OPERAND_TYPE_POINTER:
		o->kind = OPERAND_FAR;
		insn->imm = from->ptr.offset;
		insn->imm2 = from->ptr.segment;
		return true;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		o->kind = from->imm.is_relative ? OPERAND_REL : OPERAND_IMM;
		if (n > 0 && insn->operand[n - 1].kind == OPERAND_IMM)
			insn->imm2 = from->imm.value.u;
		else
			insn->imm = from->imm.value.u;
		insn->imm_signed = from->imm.is_signed || from->imm.is_relative;
		return true;
	default:
		return false;
	}
}

/* Memory that the instruction uses without naming it, but whose segment can be overridden. */
static void fill_hidden(struct insn *insn, const struct prefixes *p)
{
	uint8_t base;

	switch (insn->op) {
	case OP_XLAT:
		base = GPR_RBX;
		break;
	case OP_MASKMOVQ:
	case OP_MASKMOVDQU:
		base = GPR_RDI;
		break;
	case OP_MONITOR:
	case OP_CLZERO:
		base = GPR_RAX;
		break;
	default:
		return;
	}
	insn->mem.base = base;
	insn->mem.seg = p->segment == SEG_NONE ? SEG_DS : p->segment;
	insn->has_mem = true;
}

/* A SIB byte without a base: Zydis 4.0 takes R13D for it where there are a 67 prefix and REX.B, and
 * forgets the displacement. */
static void drop_base(struct insn *insn, const ZydisDecodedInstruction *zi,
		      const struct prefixes *p)
{
	if (!insn->has_mem || !(zi->attributes & ZYDIS_ATTRIB_HAS_SIB) || zi->raw.modrm.mod ||
	    (zi->raw.sib.base & 7) != 5)
		return;
	insn->mem.base = MEM_REG_NONE;
	insn->mem.disp = zi->raw.disp.value;
	insn->mem.seg = segment_of(&insn->mem, p);
}

bool operands_fill(struct insn *insn, const struct zydis *z, const struct prefixes *p)
{
	unsigned count = z->insn.operand_count_visible;

	insn->mem.base = MEM_REG_NONE;
	insn->mem.index = MEM_REG_NONE;
	insn->mem.seg = p->segment == SEG_NONE ? SEG_DS : p->segment;
	if (operation_string(z))
		return true;
	if (count > INSN_OPERANDS_MAX)
		return false;
	insn->operands = count;
	for (unsigned i = 0; i < count; i++)
		if (!fill_operand(insn, i, &z->operands[i], p))
			return false;
	drop_base(insn, &z->insn, p);
	fill_hidden(insn, p);
	return true;
}

static bool may_be_unaligned(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS:
	case ZYDIS_MNEMONIC_MOVUPD:
	case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI:
	case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return true;
	default:
		return false;
	}
}

static unsigned memory_size(const struct insn *insn)
{
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == OPERAND_MEM)
			return insn->operand[i].size;
	return 0;
}

unsigned operand_alignment(const struct insn *insn, const struct zydis *z)
{
	unsigned size = memory_size(insn);

	if (!insn->has_mem)
		return 0;
	switch (insn->op) {
	case OP_FXSAVE:
	case OP_FXRSTOR:
	case OP_CMPXCHG16B:
		return 16;
	case OP_XSAVE:
	case OP_XSAVEC:
	case OP_XSAVEOPT:
	case OP_XSAVES:
	case OP_XRSTOR:
	case OP_XRSTORS:
		return 64;
	default:
		break;
	}
	if (insn->unit == UNIT_SSE)
		return size == 16 && !may_be_unaligned(z->insn.mnemonic) ? 16 : 0;
	if (insn->unit == UNIT_AVX && z->insn.meta.exception_class == ZYDIS_EXCEPTION_CLASS_AVX1)
		return size;
	return 0;
}
