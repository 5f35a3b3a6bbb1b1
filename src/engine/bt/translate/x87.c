/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87 and MMX instructions, which are copied. As with vectors the first one of a block sees to it
 * that the guest's registers are the host's (runtime/x87.h), and they stay there until translated
 * code is left.
 *
 * All but control instructions leave their address, opcode and operand's address in the x87's
 * pointers (SDM vol. 1, 8.1.8). The host's would be those of the copies, and are never looked at:
 * the guest's are in cpu->fpu all the time, and written by code behind the copy. Opcode and operand
 * are written as the host's processor does it while no exception is unmasked (struct fpu_host).
 * What stays the same within a block is written behind its first instruction, so that most need one
 * or two stores; and none where the next, which cannot fail, does it again.
 */
#include "core/x86/regs.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

#define FCW_MASKS   0x3f
#define FLDCW_SIZE  2
#define AREA(field) (CTX(fpu.area) + XSAVE_##field)

static bool sets_pointers(const struct insn *insn)
{
	return insn->unit == UNIT_X87 && insn->op == OP_NATIVE;
}

/* The instruction behind this one sets them, too, whatever happens. */
static bool is_succeeded(const struct lower *l)
{
	const struct region_insn *next = l->i + 1;
	bool last = next == l->r->insn + l->r->count ||
		    (l->r->crosses && next + 1 == l->r->insn + l->r->count);

	return !last && sets_pointers(&next->insn) && !next->insn.has_mem && next->kind == KIND_X87;
}

static void copy_selector(struct lower *l, unsigned seg, int32_t to)
{
	const int32_t from = (int32_t)(offsetof(struct cpu, seg) + seg * sizeof(struct segment) +
				       offsetof(struct segment, selector));

	emit_ctx(l->e, EMIT_MOV, 4, HOST_SPARE, from);
	emit_ctx(l->e, EMIT_MOV_TO, 2, HOST_SPARE, to);
}

/* Where the host has a guest's register; a stolen one is loaded. */
static unsigned place(struct lower *l, unsigned reg, unsigned stolen)
{
	if (reg >= MEM_REG_NONE)
		return EMIT_NONE;
	if (!is_stolen(reg))
		return reg;
	emit_ctx(l->e, EMIT_MOV, 8, stolen, ctx_gpr(reg));
	return stolen;
}

/* The operand's effective address into HOST_SPARE. The flags are left alone; so is HOST_ADDRESS, if
 * possible (access_disturbs). */
static void effective_address(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	const struct insn_mem *m = &insn->mem;
	uint64_t fixed = (uint64_t)m->disp;
	bool both = is_stolen(m->base) && is_stolen(m->index);
	struct emit_address a = {
		.base = place(l, m->base, HOST_SPARE),
		.index = place(l, m->index, both ? HOST_ADDRESS : HOST_SPARE),
		.shift = m->shift,
		.disp = (int32_t)m->disp,
	};

	if (both)
		l->held = NULL;
	if (m->base == MEM_REG_RIP)
		fixed += l->i->linear + insn->len;
	if (a.base == EMIT_NONE && a.index == EMIT_NONE)
		emit_set(l->e, HOST_SPARE, insn->addr_size == 4 ? (uint32_t)fixed : fixed);
	else
		emit_lea(l->e, insn->addr_size, HOST_SPARE, &a);
}

static void point_to_operand(struct lower *l)
{
	unsigned seg = l->i->insn.mem.seg;

	effective_address(l);
	emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_SPARE, AREA(FDP));
	if (l->t->cpu->fpu.host.selectors && l->x87.operand_seg != seg)
		copy_selector(l, seg, CTX(fpu.fds));
	l->x87.operand_seg = seg;
}

static void point_to_insn(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	unsigned opcode = (insn->bytes[insn->at.opcode] & 7u) << 8 | insn->bytes[insn->at.modrm];

	if (!l->x87.pointed) {
		emit_ctx_set(l->e, 4, AREA(FIP) + 4, (int32_t)(l->i->linear >> 32));
		if (l->t->cpu->fpu.host.selectors)
			copy_selector(l, SEG_CS, CTX(fpu.fcs));
	}
	emit_ctx_set(l->e, 4, AREA(FIP), (int32_t)l->i->linear);
	/* With the tag word, which is the host's now and stored later. */
	if (l->t->cpu->fpu.host.fop_always && !(l->x87.pointed && l->x87.opcode == opcode))
		emit_ctx_set(l->e, 4, AREA(FTW), (int32_t)(opcode << 16));
	l->x87.pointed = true;
	l->x87.opcode = opcode;
}

/* As LDMXCSR's: by a value that nobody else writes. */
static void load_control(struct lower *l)
{
	static const uint8_t movzx_r10d_word[] = {0x45, 0x0f, 0xb7, 0x12}; /* [R10] */
	static const uint8_t fldcw_gs[] = {0x65, 0xd9, 0x2c, 0x25};
	struct emit *e = l->e;

	address_operand(l);
	address_check(l, FLDCW_SIZE, false);
	emit_bytes(e, movzx_r10d_word, sizeof(movzx_r10d_word));
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, FCW_MASKS);
	emit_imm(e, EMIT_CMP_IMM, 4, HOST_SPARE, FCW_MASKS);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	emit_ctx(e, EMIT_MOV_TO, 4, HOST_ADDRESS, CTX(native.scratch));
	emit_bytes(e, fldcw_gs, sizeof(fldcw_gs));
	emit_le(e, 4, (uint32_t)CTX(native.scratch));
}

void lower_x87(struct lower *l)
{
	const struct insn *insn = &l->i->insn;

	if (insn->unit == UNIT_SSE && !(l->vectors & VECTORS_SSE))
		vector_want(l, VECTORS_SSE);
	if (!(l->vectors & VECTORS_X87)) {
		vector_want(l, VECTORS_X87);
		l->x87.pointed = false;
		l->x87.operand_seg = SEG_COUNT;
	}
	if (insn->op == OP_FLDCW) {
		load_control(l);
		return;
	}
	lower_copy(l);
	if (!sets_pointers(insn))
		return;
	if (insn->has_mem && l->t->cpu->fpu.host.fdp_always)
		point_to_operand(l);
	if (!is_succeeded(l))
		point_to_insn(l);
}
