/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves to and from memory by a mask: an element counts whose mask has its highest bit
 * set; no other is touched, nor, in AVX's forms, faults.
 *
 * Source: Intel SDM vol. 2 MASKMOVQ, MASKMOVDQU, VMASKMOV, VPMASKMOV.
 */
#include <string.h>

#include "engine/bt/interp/vector.h"

/* A vector in memory of which some elements count. */
struct elements {
	unsigned count, size;
	uint64_t linear[VECTOR_MAX]; /* of those selected */
	uint32_t selected;           /* a bit each */
};

/* Finds the elements' addresses: #GP and #SS. */
static void select_elements(struct cpu *cpu, const struct insn *insn, const uint8_t *mask,
			    enum seg_use use, struct elements *e)
{
	uint64_t ea = operand_ea(cpu, insn);

	e->selected = 0;
	for (unsigned i = 0; i < e->count; i++) {
		if (!(mask[(i + 1) * e->size - 1] & 0x80))
			continue;
		e->selected |= 1u << i;
		e->linear[i] = seg_linear(cpu, insn->mem.seg,
					  size_cut(ea + i * e->size, insn->addr_size), e->size,
					  use);
		mmu_probe(cpu, e->linear[i], e->size, use == SEG_WRITE);
	}
}

static void store_elements(struct cpu *cpu, const struct elements *e, const uint8_t *value)
{
	for (unsigned i = 0; i < e->count; i++)
		if (e->selected & 1u << i)
			mmu_write_bytes(cpu, e->linear[i], value + i * e->size, e->size);
}

/* The older two fault as stores of 8 bytes, one after the other, whatever the mask. The manual
 * leaves that to the processor; AMD's do it so. */
static void probe_all(struct cpu *cpu, const struct insn *insn, unsigned len)
{
	uint64_t ea = operand_ea(cpu, insn);

	for (unsigned at = 0; at < len; at += 8) {
		uint64_t linear = seg_linear(cpu, insn->mem.seg, ea + at, 8, SEG_WRITE);

		vector_align(cpu, linear, 8);
		mmu_probe(cpu, linear, 8, true);
	}
}

static void maskmovdqu(struct cpu *cpu, const struct insn *insn)
{
	uint8_t value[VECTOR_MAX], mask[VECTOR_MAX];
	struct elements e = {.count = 16, .size = 1};

	vector_require(cpu, insn->unit);
	vector_get(cpu, insn->operand[0].reg, value);
	vector_get(cpu, insn->operand[1].reg, mask);
	probe_all(cpu, insn, 16);
	select_elements(cpu, insn, mask, SEG_WRITE, &e);
	store_elements(cpu, &e, value);
}

/* What any MMX instruction does to the x87's stack; this one stores MM0. */
static void enter_mmx(struct cpu *cpu)
{
	static const uint8_t movq[] = {0x0f, 0x7f, 0x06};

	fpu_run(&cpu->fpu, &(struct fpu_insn){
				   .bytes = movq,
				   .len = sizeof(movq),
				   .opcode = 1,
				   .modrm = 2,
				   .tail = sizeof(movq),
				   .long_mode = true,
				   .x87 = true,
				   .memory = true,
			   });
}

/* MMX registers by number: those of the x87, which the area has from the top of stack. */
static const uint8_t *mmx(const struct cpu *cpu, unsigned reg)
{
	unsigned top = load_le(cpu->fpu.area + XSAVE_FSW, 2) >> 11;

	return cpu->fpu.area + XSAVE_ST + ((reg - top) & 7) * 16;
}

static void maskmovq(struct cpu *cpu, const struct insn *insn)
{
	struct elements e = {.count = 8, .size = 1};

	vector_require(cpu, insn->unit);
	vector_wait(cpu);
	enter_mmx(cpu); /* even if the store faults: so do AMD's processors, and others may */
	probe_all(cpu, insn, 8);
	select_elements(cpu, insn, mmx(cpu, insn->operand[1].reg), SEG_WRITE, &e);
	store_elements(cpu, &e, mmx(cpu, insn->operand[0].reg));
}

static void move_masked(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	unsigned len = insn->vex_l ? 32 : 16;
	bool store = insn->operand[0].kind == OPERAND_MEM;
	uint8_t value[VECTOR_MAX] = {0}, mask[VECTOR_MAX];
	struct elements e = {.count = len / size, .size = size};

	vector_require(cpu, insn->unit);
	vector_get(cpu, insn->operand[1].reg, mask);
	select_elements(cpu, insn, mask, store ? SEG_WRITE : SEG_READ, &e);
	if (store) {
		vector_get(cpu, insn->operand[2].reg, value);
		store_elements(cpu, &e, value);
		return;
	}
	for (unsigned i = 0; i < e.count; i++)
		if (e.selected & 1u << i)
			mmu_read_bytes(cpu, e.linear[i], value + i * size, size);
	vector_set(cpu, insn->operand[0].reg, value, len);
}

static void move_masked_4(struct cpu *cpu, const struct insn *insn)
{
	move_masked(cpu, insn, 4);
}

static void move_masked_8(struct cpu *cpu, const struct insn *insn)
{
	move_masked(cpu, insn, 8);
}

interp_fn vector_masked(const struct insn *insn)
{
	switch (insn->op) {
	case OP_MASKMOVQ:
		return maskmovq;
	case OP_MASKMOVDQU:
		return maskmovdqu;
	case OP_VMASKMOVPS:
	case OP_VPMASKMOVD:
		return move_masked_4;
	case OP_VMASKMOVPD:
	case OP_VPMASKMOVQ:
		return move_masked_8;
	default:
		return NULL;
	}
}
