/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that the host executes as they are. One without a memory operand is copied;
 * of one with, prefixes for memory, ModRM, SIB and displacement are made anew.
 *
 * A guest register that the host's code has taken for itself is loaded before and stored
 * after: into its own place without a memory operand, into HOST_SPARE beside one.
 */
#include <assert.h>

#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"
#include "engine/bt/translate/narrow.h"

#define REX        0x40
#define REX_W      0x08
#define REX_R      0x04
#define REX_B      0x01
#define VEX_NOT_R  0x80
#define VEX_NOT_X  0x40
#define VEX_NOT_B  0x20
#define CACHE_LINE 64

/* Of the instruction's operands, the first that is a given register. */
static const struct insn_operand *find_gpr(const struct insn *insn, unsigned reg)
{
	for (unsigned n = 0; n < insn->operands; n++) {
		const struct insn_operand *o = &insn->operand[n];

		if (o->kind == OPERAND_GPR && o->reg == reg)
			return o;
	}
	return NULL;
}

static bool writes_gpr(const struct insn *insn, unsigned reg)
{
	for (unsigned n = 0; n < insn->operands; n++) {
		const struct insn_operand *o = &insn->operand[n];

		if (o->kind == OPERAND_GPR && o->reg == reg && o->write)
			return true;
	}
	return false;
}

/* Whether the instruction needs reg's value from before: all but plain moves into the whole of it,
 * to be sure of what leaves its destination as it was. */
static bool needs_gpr(const struct insn *insn, unsigned reg)
{
	const struct insn_operand *o = insn->operand;

	if (insn->op != OP_MOV && insn->op != OP_MOVZX && insn->op != OP_MOVSX &&
	    insn->op != OP_MOVSXD)
		return true;
	return o[0].kind != OPERAND_GPR || o[0].reg != reg || o[0].size < 4 ||
	       (o[1].kind == OPERAND_GPR && o[1].reg == reg);
}

/* The flags as the instruction and those after it need them. */
static void prepare_flags(struct lower *l)
{
	const struct insn *insn = &l->i->insn;

	if (kind_flags_read(insn) ||
	    (kind_changes_flags(insn) && l->i->live & ~kind_flags_written(insn)))
		flags_need(l);
}

static void flags_changed(struct lower *l)
{
	if (!kind_changes_flags(&l->i->insn))
		return;
	l->flags_host = true;
	l->flags_saved = false;
}

/* The bytes of one without a memory operand. */
static void put_plain(struct emit *e, const struct insn *insn)
{
	unsigned at = insn->at.opcode;

	emit_bytes(e, insn->bytes, at);
	emit_byte(e, narrow_opcode(insn));
	if (narrow_is_short(insn)) /* 40 to 47, 48 to 4f: as ModRM of a register has /0 and /1 */
		emit_byte(e, 0xc0 | (insn->bytes[at] & 15));
	emit_bytes(e, insn->bytes + at + 1, insn->len - at - 1u);
}

static void copy_plain(struct lower *l)
{
	const struct insn *insn = &l->i->insn;

	prepare_flags(l);
	for (unsigned reg = HOST_ADDRESS; reg <= HOST_SPARE; reg++)
		if (find_gpr(insn, reg) && needs_gpr(insn, reg))
			lower_load(l, reg);
	if (find_gpr(insn, HOST_ADDRESS))
		l->held = NULL;
	put_plain(l->e, insn);
	flags_changed(l);
	for (unsigned reg = HOST_ADDRESS; reg <= HOST_SPARE; reg++)
		if (writes_gpr(insn, reg)) {
			emit_ctx(l->e, EMIT_MOV_TO, 8, reg, ctx_gpr(reg));
			l->loaded |= BIT(reg);
		}
}

static bool is_kept_prefix(uint8_t byte)
{
	return byte == 0x66 || byte == 0xf0 || byte == 0xf2 || byte == 0xf3;
}

static bool is_dropped_prefix(uint8_t byte)
{
	return byte == 0x26 || byte == 0x2e || byte == 0x36 || byte == 0x3e || byte == 0x64 ||
	       byte == 0x65 || byte == 0x67;
}

/* ModRM.reg with its extension, as the copy is to have it. */
static unsigned new_reg(const struct insn *insn, unsigned reg)
{
	return is_stolen(reg) && find_gpr(insn, reg) ? HOST_SPARE : reg;
}

/* ModRM and displacement of [HOST_ADDRESS + disp]. */
static void put_operand(struct emit *e, unsigned reg, int32_t disp)
{
	unsigned mod = !disp ? 0 : disp == (int8_t)disp ? 0x40 : 0x80;

	emit_byte(e, (uint8_t)(mod | (reg & 7) << 3 | (HOST_ADDRESS & 7)));
	emit_le(e, !disp ? 0 : mod == 0x40 ? 1 : 4, (uint32_t)disp);
}

/* ModRM.reg, and REX; MOV moffs has neither, and AL or EAX. */
static unsigned modrm_reg(const struct insn *insn, unsigned rex)
{
	if (!insn->at.modrm)
		return GPR_RAX;
	return (insn->bytes[insn->at.modrm] >> 3 & 7) | (rex & REX_R ? 8 : 0);
}

static void put_legacy(struct emit *e, const struct insn *insn, int32_t disp)
{
	unsigned rex = insn->at.rex == INSN_AT_NONE ? 0 : insn->bytes[insn->at.rex];
	unsigned reg = new_reg(insn, modrm_reg(insn, rex));
	unsigned first = 0;

	for (; first < insn->at.opcode; first++) {
		uint8_t byte = insn->bytes[first];

		if (is_kept_prefix(byte))
			emit_byte(e, byte);
		else if (!is_dropped_prefix(byte) && (byte & 0xf0) != REX)
			break;
	}
	emit_byte(e, REX | REX_B | (rex & REX_W) | (reg & 8 ? REX_R : 0));
	for (; first < insn->at.opcode; first++)
		emit_byte(e, insn->bytes[first]);
	emit_byte(e, narrow_opcode(insn));
	put_operand(e, reg, disp);
}

static void put_vex(struct emit *e, const struct insn *insn, int32_t disp)
{
	const uint8_t *vex = insn->bytes + insn->at.vex;
	bool two = vex[0] == 0xc5;
	unsigned map = two ? 1 : vex[1] & 0x1f;
	unsigned last = two ? vex[1] & 0x7f : vex[2]; /* W, vvvv, L, pp */
	unsigned reg = (insn->bytes[insn->at.modrm] >> 3 & 7) | (vex[1] & VEX_NOT_R ? 0 : 8);
	unsigned vvvv = ~last >> 3 & 15;

	reg = new_reg(insn, reg);
	vvvv = insn->unit == UNIT_INTEGER ? new_reg(insn, vvvv) : vvvv;
	emit_byte(e, 0xc4);
	emit_byte(e, (reg & 8 ? 0 : VEX_NOT_R) | VEX_NOT_X | map);
	emit_byte(e, (last & 0x87) | (~vvvv & 15) << 3);
	emit_byte(e, insn->bytes[insn->at.opcode]);
	put_operand(e, reg, disp);
}

static const struct insn_operand *memory_operand(const struct insn *insn)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_MEM)
			return &insn->operand[n];
	return NULL;
}

/* One that has to be aligned to so many bytes: what comes of it where it is not, the interpreter
 * knows. Pages are at pages, so the host's address tells. */
static void check_required_alignment(struct lower *l, unsigned align, int32_t disp)
{
	static const uint8_t test_r11b[] = {0x41, 0xf6, 0xc3};

	if (l->held && l->held == l->aligned.group && align <= l->aligned.to &&
	    !((disp - l->aligned.disp) % (int32_t)align))
		return;
	flags_clobber(l, flags_live_before(l));
	lower_spoilt(l, HOST_SPARE);
	emit_lea_disp(l->e, 8, HOST_SPARE, HOST_ADDRESS, disp);
	emit_bytes(l->e, test_r11b, sizeof(test_r11b));
	emit_byte(l->e, (uint8_t)(align - 1));
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
	l->aligned.group = l->held;
	l->aligned.to = align;
	l->aligned.disp = disp;
}

/* A locked access that is not in one cache line, which the host may punish, and CMPXCHG16B that is
 * not aligned are the interpreter's. */
static void check_alignment(struct lower *l, unsigned size, int32_t disp)
{
	const struct insn *insn = &l->i->insn;
	bool locked = insn->prefixes & INSN_LOCK || insn->op == OP_XCHG;
	unsigned mask = insn->op == OP_CMPXCHG16B ? 15 : CACHE_LINE - 1;

	if (size == 1 || !(locked || insn->op == OP_CMPXCHG16B))
		return;
	flags_clobber(l, flags_live_before(l));
	lower_spoilt(l, HOST_SPARE);
	emit_lea_disp(l->e, 4, HOST_SPARE, HOST_ADDRESS, disp);
	emit_imm(l->e, EMIT_AND_IMM, 4, HOST_SPARE, (int32_t)mask);
	emit_imm(l->e, EMIT_CMP_IMM, 4, HOST_SPARE, (int32_t)(mask + 1 - size));
	lower_leaves(l, emit_jcc(l->e, EMIT_ABOVE));
}

/* The value of R10 or R11, beside a memory operand: in HOST_SPARE. */
static void load_spare(struct lower *l, unsigned reg)
{
	bool needed = needs_gpr(&l->i->insn, reg);

	if (reg == HOST_SPARE && needed) {
		lower_load(l, reg);
		return;
	}
	lower_spoilt(l, HOST_SPARE);
	if (needed)
		emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, ctx_gpr(reg));
}

/* ... and what the instruction has made of it. */
static void store_spare(struct lower *l, unsigned reg)
{
	emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, ctx_gpr(reg));
	if (reg == HOST_SPARE)
		l->loaded |= BIT(reg);
	else
		lower_spoilt(l, reg);
}

static void copy_memory(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_operand *mem = memory_operand(insn);
	unsigned reg = GPR_COUNT;
	int32_t disp;

	assert(mem && mem->size);
	disp = address_reach_operand(l);
	if (insn->unit != UNIT_INTEGER && insn->aligned)
		check_required_alignment(l, insn->aligned, disp);
	check_alignment(l, mem->size, disp);
	prepare_flags(l);
	for (unsigned n = HOST_ADDRESS; n <= HOST_SPARE; n++)
		if (find_gpr(insn, n))
			reg = n;
	if (reg != GPR_COUNT)
		load_spare(l, reg);
	if (insn->at.vex != INSN_AT_NONE)
		put_vex(l->e, insn, disp);
	else
		put_legacy(l->e, insn, disp);
	if (insn->at.imm)
		emit_bytes(l->e, insn->bytes + insn->at.imm, insn->len - insn->at.imm);
	flags_changed(l);
	if (reg != GPR_COUNT && writes_gpr(insn, reg))
		store_spare(l, reg);
}

void lower_copy(struct lower *l)
{
	if (l->i->insn.has_mem)
		copy_memory(l);
	else
		copy_plain(l);
}

void lower_lea(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_mem *m = &insn->mem;
	unsigned to = insn->operand[0].reg;
	unsigned size = MIN(insn->addr_size, insn->op_size);
	unsigned regs[] = {m->base, m->index};

	if (to == HOST_ADDRESS || m->base == HOST_ADDRESS || m->index == HOST_ADDRESS)
		l->held = NULL;
	if (m->base >= MEM_REG_NONE && m->index == MEM_REG_NONE) {
		uint64_t value = (uint64_t)m->disp;

		if (m->base == MEM_REG_RIP)
			value += l->i->linear + insn->len;
		emit_set(l->e, to, size == 4 ? (uint32_t)value : value);
	} else {
		struct emit_address a = {
			.base = m->base == MEM_REG_NONE ? EMIT_NONE : m->base,
			.index = m->index == MEM_REG_NONE ? EMIT_NONE : m->index,
			.shift = m->shift,
			.disp = (int32_t)m->disp,
		};

		for (unsigned n = 0; n < ARRAY_LEN(regs); n++)
			if (is_stolen(regs[n]))
				lower_load(l, regs[n]);
		emit_lea(l->e, size, to, &a);
	}
	if (!is_stolen(to))
		return;
	emit_ctx(l->e, EMIT_MOV_TO, 8, to, ctx_gpr(to));
	l->loaded |= BIT(to);
}
