/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves between registers and memory, and what only rearranges bits.
 *
 * Sources: Intel SDM vol. 2 by mnemonic.
 */
#include "engine/bt/interp/alu.h"

static void mov(struct cpu *cpu, const struct insn *insn)
{
	operand_write(cpu, insn, 0, operand_read(cpu, insn, 1));
}

/* The common forms of MOV, of 4 and 8 bytes. */
static void mov_rr_4(struct cpu *cpu, const struct insn *insn)
{
	cpu->gpr[insn->operand[0].reg] = (uint32_t)cpu->gpr[insn->operand[1].reg];
}

static void mov_rr_8(struct cpu *cpu, const struct insn *insn)
{
	cpu->gpr[insn->operand[0].reg] = cpu->gpr[insn->operand[1].reg];
}

static void mov_ri_4(struct cpu *cpu, const struct insn *insn)
{
	cpu->gpr[insn->operand[0].reg] = (uint32_t)insn->imm;
}

static void mov_ri_8(struct cpu *cpu, const struct insn *insn)
{
	cpu->gpr[insn->operand[0].reg] = insn->imm;
}

static void mov_rm_4(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_linear(cpu, insn, 4, SEG_READ);

	cpu->gpr[insn->operand[0].reg] = (uint32_t)mmu_read(cpu, linear, 4);
}

static void mov_rm_8(struct cpu *cpu, const struct insn *insn)
{
	uint64_t linear = operand_linear(cpu, insn, 8, SEG_READ);

	cpu->gpr[insn->operand[0].reg] = mmu_read(cpu, linear, 8);
}

static interp_fn choose_mov(const struct insn *insn)
{
	const struct insn_operand *dst = &insn->operand[0];
	const struct insn_operand *src = &insn->operand[1];

	if (dst->kind != OPERAND_GPR || (dst->size != 4 && dst->size != 8))
		return mov;
	switch (src->kind) {
	case OPERAND_GPR:
		return dst->size == 4 ? mov_rr_4 : mov_rr_8;
	case OPERAND_IMM:
		return dst->size == 4 ? mov_ri_4 : mov_ri_8;
	case OPERAND_MEM:
		return dst->size == 4 ? mov_rm_4 : mov_rm_8;
	default:
		return mov;
	}
}

/* MOVZX: operand_read extends with zeroes. */
static void movzx(struct cpu *cpu, const struct insn *insn)
{
	operand_write(cpu, insn, 0, operand_read(cpu, insn, 1));
}

static void movsx(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = operand_read(cpu, insn, 1);

	operand_write(cpu, insn, 0, size_sign_extend(value, insn->operand[1].size));
}

static void movbe(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->operand[0].size;
	uint64_t value = __builtin_bswap64(operand_read(cpu, insn, 1));

	operand_write(cpu, insn, 0, value >> (64 - 8 * size));
}

/* With memory it is locked, with or without the prefix. */
static void xchg(struct cpu *cpu, const struct insn *insn)
{
	unsigned mem = insn->operand[1].kind == OPERAND_MEM;
	unsigned size = insn->operand[0].size;
	uint64_t value = operand_read(cpu, insn, !mem);
	struct mmu_rmw rmw;

	if (insn->operand[mem].kind == OPERAND_GPR) {
		uint64_t first = operand_read(cpu, insn, 0);

		operand_write(cpu, insn, 0, value);
		operand_write(cpu, insn, 1, first);
		return;
	}
	operand_rmw_begin(cpu, insn, &rmw, size, true);
	switch (size) {
	case 1:
		asm volatile("xchgb %b0, %1" : "+r"(value), "+m"(*(alu_b *)rmw.ptr)::"memory");
		break;
	case 2:
		asm volatile("xchgw %w0, %1" : "+r"(value), "+m"(*(alu_w *)rmw.ptr)::"memory");
		break;
	case 4:
		asm volatile("xchgl %k0, %1" : "+r"(value), "+m"(*(alu_l *)rmw.ptr)::"memory");
		break;
	default:
		asm volatile("xchgq %q0, %1" : "+r"(value), "+m"(*(alu_q *)rmw.ptr)::"memory");
	}
	mmu_rmw_end(cpu, &rmw);
	operand_write(cpu, insn, !mem, value);
}

/* Of 16 bits it is undefined: what the host does. */
static void bswap(struct cpu *cpu, const struct insn *insn)
{
	uint64_t *reg = &cpu->gpr[insn->operand[0].reg];

	switch (insn->op_size) {
	case 2:
		asm(".byte 0x66, 0x0f, 0xc8" : "+a"(*reg)); /* BSWAP AX */
		break;
	case 4:
		*reg = __builtin_bswap32((uint32_t)*reg);
		break;
	default:
		*reg = __builtin_bswap64(*reg);
	}
}

static void lea(struct cpu *cpu, const struct insn *insn)
{
	const struct insn_operand *dst = &insn->operand[0];

	reg_write(cpu, dst->reg, dst->size, false, operand_ea(cpu, insn));
}

static void xlat(struct cpu *cpu, const struct insn *insn)
{
	uint64_t ea = cpu->gpr[GPR_RBX] + (uint8_t)cpu->gpr[GPR_RAX];
	uint64_t linear;

	linear = seg_linear(cpu, insn->mem.seg, size_cut(ea, insn->addr_size), 1, SEG_READ);
	reg_write(cpu, GPR_RAX, 1, false, mmu_read(cpu, linear, 1));
}

/* The source is read, and the destination's upper half cleared, whatever the condition. */
static void cmovcc(struct cpu *cpu, const struct insn *insn)
{
	uint64_t value = operand_read(cpu, insn, 1);

	if (!alu_condition(cpu->rflags, insn->cond))
		value = operand_read(cpu, insn, 0);
	operand_write(cpu, insn, 0, value);
}

static void setcc(struct cpu *cpu, const struct insn *insn)
{
	operand_write(cpu, insn, 0, alu_condition(cpu->rflags, insn->cond));
}

/* CBW, CWDE, CDQE: the lower half of the accumulator fills the whole. */
static void extend_low(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op == OP_CBW ? 2 : insn->op == OP_CWDE ? 4 : 8;

	reg_write(cpu, GPR_RAX, size, false, size_sign_extend(cpu->gpr[GPR_RAX], size / 2));
}

/* CWD, CDQ, CQO: the accumulator's sign fills RDX. */
static void extend_high(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->op == OP_CWD ? 2 : insn->op == OP_CDQ ? 4 : 8;
	bool minus = size_sign_extend(cpu->gpr[GPR_RAX], size) >> 63;

	reg_write(cpu, GPR_RDX, size, false, minus ? UINT64_MAX : 0);
}

/* 64 bytes to ES:reg, which is aligned to as many. */
static void movdir64b(struct cpu *cpu, const struct insn *insn)
{
	uint64_t to = reg_read(cpu, insn->operand[0].reg, insn->addr_size, false);
	uint64_t from = operand_linear(cpu, insn, 64, SEG_READ);
	uint64_t linear = seg_linear(cpu, SEG_ES, to, 64, SEG_WRITE);
	uint8_t bytes[64];

	if (linear % sizeof(bytes))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	mmu_read_bytes(cpu, from, bytes, sizeof(bytes));
	mmu_write_bytes(cpu, linear, bytes, sizeof(bytes));
}

static const struct interp_entry handlers[] = {
	{OP_MOVZX, movzx},
	{OP_MOVSX, movsx},
	{OP_MOVSXD, movsx},
	{OP_MOVBE, movbe},
	{OP_XCHG, xchg},
	{OP_BSWAP, bswap},
	{OP_LEA, lea},
	{OP_XLAT, xlat},
	{OP_CMOVCC, cmovcc},
	{OP_SETCC, setcc},
	{OP_CBW, extend_low},
	{OP_CWDE, extend_low},
	{OP_CDQE, extend_low},
	{OP_CWD, extend_high},
	{OP_CDQ, extend_high},
	{OP_CQO, extend_high},
	{OP_MOVNTI, mov},
	{OP_MOVDIRI, mov},
	{OP_MOVDIR64B, movdir64b},
};

interp_fn interp_move(const struct insn *insn)
{
	interp_fn fn = insn->op == OP_MOV ? choose_mov(insn)
					  : interp_find(handlers, ARRAY_LEN(handlers), insn->op);

	if (!fn)
		fn = interp_stack(insn);
	if (!fn)
		fn = interp_flags(insn);
	return fn;
}
