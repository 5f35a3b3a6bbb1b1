/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gathers: a vector of elements, each from its own address.
 *
 * The mask's element is cleared with each element that has been loaded or passed over, so
 * that an instruction that faults half-way goes on where it was when it is executed again; traps of
 * what it has loaded come first (cpu->partly). The interpreter loads in order, from the lowest
 * element up.
 *
 * Source: Intel SDM vol. 2 VGATHERDPS and its kin.
 */
#include <string.h>

#include "engine/bt/interp/vector.h"

struct gather {
	unsigned count;      /* elements */
	unsigned size;       /* of an element */
	unsigned index_size; /* of an index */
};

static uint64_t element_address(struct cpu *cpu, const struct insn *insn, const struct gather *g,
				const uint8_t *indexes, unsigned i)
{
	uint64_t index = size_sign_extend(load_le(indexes + i * g->index_size, g->index_size),
					  g->index_size);
	uint64_t offset = operand_ea(cpu, insn) + (index << insn->mem.shift);

	return seg_linear(cpu, insn->mem.seg, size_cut(offset, insn->addr_size), g->size, SEG_READ);
}

static void run(struct cpu *cpu, const struct insn *insn, const struct gather *g)
{
	unsigned dst = insn->operand[0].reg, mask_reg = insn->operand[2].reg;
	uint8_t value[VECTOR_MAX], mask[VECTOR_MAX], indexes[VECTOR_MAX];
	unsigned used = g->count * g->size;

	vector_require(cpu, insn->unit);
	if (dst == mask_reg || dst == insn->mem.index || mask_reg == insn->mem.index)
		cpu_raise(cpu, VECTOR_UD);
	vector_get(cpu, dst, value);
	vector_get(cpu, mask_reg, mask);
	vector_get(cpu, insn->mem.index, indexes);
	for (unsigned i = 0; i < g->count; i++) {
		uint8_t *m = mask + i * g->size;

		if (m[g->size - 1] & 0x80) {
			mmu_read_bytes(cpu, element_address(cpu, insn, g, indexes, i),
				       value + i * g->size, g->size);
			cpu->partly = true;
		}
		memset(m, 0, g->size);
		vector_set(cpu, dst, value, VECTOR_MAX);
		vector_set(cpu, mask_reg, mask, VECTOR_MAX);
	}
	cpu->partly = false;
	memset(mask, 0, sizeof(mask));
	vector_set(cpu, mask_reg, mask, VECTOR_MAX);
	memset(value + used, 0, sizeof(value) - used);
	vector_set(cpu, dst, value, VECTOR_MAX);
}

/* As many as fit with elements and indexes both. */
static void gather(struct cpu *cpu, const struct insn *insn, unsigned size, unsigned index_size)
{
	unsigned len = insn->vex_l ? 32 : 16;

	run(cpu, insn, &(struct gather){len / MAX(size, index_size), size, index_size});
}

static void gather_d_4(struct cpu *cpu, const struct insn *insn)
{
	gather(cpu, insn, 4, 4);
}

static void gather_d_8(struct cpu *cpu, const struct insn *insn)
{
	gather(cpu, insn, 8, 4);
}

static void gather_q_4(struct cpu *cpu, const struct insn *insn)
{
	gather(cpu, insn, 4, 8);
}

static void gather_q_8(struct cpu *cpu, const struct insn *insn)
{
	gather(cpu, insn, 8, 8);
}

interp_fn vector_gather(const struct insn *insn)
{
	switch (insn->op) {
	case OP_VGATHERDPS:
	case OP_VPGATHERDD:
		return gather_d_4;
	case OP_VGATHERDPD:
	case OP_VPGATHERDQ:
		return gather_d_8;
	case OP_VGATHERQPS:
	case OP_VPGATHERQD:
		return gather_q_4;
	case OP_VGATHERQPD:
	case OP_VPGATHERQQ:
		return gather_q_8;
	default:
		return NULL;
	}
}
