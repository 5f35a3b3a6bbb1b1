/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operands of an instruction: effective addresses, segmentation, registers and
 * memory, for the handlers.
 *
 * All on the vCPU's thread, inside interp_run: what faults does not return. The common
 * cases are inline: they are most of what the interpreter does.
 *
 * Sources: Intel SDM vol. 1 3.7 (operands), vol. 3A 5.3 (limits), 3.3.7.1 (canonical).
 */
#ifndef LODGE_ENGINE_BT_INTERP_OPERAND_H
#define LODGE_ENGINE_BT_INTERP_OPERAND_H

#include "engine/bt/cpu.h"
#include "engine/bt/decode/insn.h"
#include "engine/bt/mmu/mmu.h"

/* A number cut to size bytes: 1, 2, 4 or 8. */
static inline uint64_t size_cut(uint64_t value, unsigned size)
{
	switch (size) {
	case 1:
		return (uint8_t)value;
	case 2:
		return (uint16_t)value;
	case 4:
		return (uint32_t)value;
	default:
		return value;
	}
}

/* The number of size bytes as a signed one. */
static inline uint64_t size_sign_extend(uint64_t value, unsigned size)
{
	switch (size) {
	case 1:
		return (uint64_t)(int8_t)value;
	case 2:
		return (uint64_t)(int16_t)value;
	case 4:
		return (uint64_t)(int32_t)value;
	default:
		return value;
	}
}

/* Whether linear is canonical for the paging in use: 48 bits, or 57 by CR4.LA57. */
static inline bool linear_canonical(const struct cpu *cpu, uint64_t linear)
{
	unsigned unused = cpu->cr4 & CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
}

/* 0 in the lower, -1 in the upper half of the 48-bit linear addresses; else not canonical there. */
static inline uint64_t linear_half(uint64_t linear)
{
	return (uint64_t)((int64_t)linear >> 47);
}

/* The effective address (the offset in its segment) of insn's memory operand, modulo its address
 * size. RIP-relative: of cpu->next_rip. With vsib: without the index. */
static inline uint64_t operand_ea(const struct cpu *cpu, const struct insn *insn)
{
	const struct insn_mem *m = &insn->mem;
	uint64_t ea = (uint64_t)m->disp;

	if (m->base < GPR_COUNT)
		ea += cpu->gpr[m->base];
	else if (m->base == MEM_REG_RIP)
		ea += cpu->next_rip;
	if (m->index < GPR_COUNT && !m->vsib)
		ea += cpu->gpr[m->index] << m->shift;
	return size_cut(ea, insn->addr_size);
}

/* Bits of a segment's type. */
#define SEG_TYPE_CODE        8u
#define SEG_TYPE_EXPAND_DOWN 4u /* of data segments */
#define SEG_TYPE_READABLE    2u /* of code segments */
#define SEG_TYPE_WRITABLE    2u /* of data segments */

/* How a segment is going to be used. SEG_ANY: its type does not matter. */
enum seg_use { SEG_READ, SEG_WRITE, SEG_ANY };

/* Whether [offset, offset + len) lies within a segment's limit, outside 64-bit mode. */
bool seg_limit_allows(const struct segment *s, uint64_t offset, unsigned len);

/* seg_linear with all checks, in every mode. */
uint64_t seg_linear_checked(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len,
			    enum seg_use use);

/* The last offset in a segment, outside of 64-bit mode: its limit, or where it expands down the top
 * of its address space. */
static inline uint64_t seg_last(const struct segment *s)
{
	if ((s->attr & (SEG_TYPE_CODE | SEG_TYPE_EXPAND_DOWN)) == SEG_TYPE_EXPAND_DOWN)
		return s->attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	return s->limit;
}

/* The linear address of [offset, offset + len), len not 0, in segment seg, after the checks of the
 * mode: limit, type, null selector, canonical. Raises #GP(0), or #SS(0) for SS. offset is already
 * cut to the address size. */
static inline uint64_t seg_linear(struct cpu *cpu, unsigned seg, uint64_t offset, unsigned len,
				  enum seg_use use)
{
	if (__builtin_expect(cpu->mode == CPU_LONG, 1)) {
		uint64_t linear = seg >= SEG_FS ? offset + cpu->seg[seg].base : offset;

		/* All in one half of 48 bits is canonical in all modes. */
		if (linear_half(linear) == linear_half(linear + len) &&
		    linear_half(linear) + 1 <= 1 && linear_half(offset) + 1 <= 1 &&
		    linear_half(offset + len - 1) + 1 <= 1)
			return linear;
	}
	return seg_linear_checked(cpu, seg, offset, len, use);
}

/* Of insn's memory operand: operand_ea and seg_linear. */
static inline uint64_t operand_linear(struct cpu *cpu, const struct insn *insn, unsigned len,
				      enum seg_use use)
{
	return seg_linear(cpu, insn->mem.seg, operand_ea(cpu, insn), len, use);
}

/* A general register as a number of size bytes. A 4-byte write clears the upper half, 1- and
 * 2-byte writes leave the rest alone. high: AH, CH, DH, BH. */
static inline uint64_t reg_read(const struct cpu *cpu, unsigned reg, unsigned size, bool high)
{
	uint64_t value = cpu->gpr[reg];

	return size_cut(high ? value >> 8 : value, size);
}

static inline void reg_write(struct cpu *cpu, unsigned reg, unsigned size, bool high,
			     uint64_t value)
{
	uint64_t *gpr = &cpu->gpr[reg];

	switch (size) {
	case 1:
		if (high)
			*gpr = (*gpr & ~0xff00ULL) | (uint64_t)(uint8_t)value << 8;
		else
			*gpr = (*gpr & ~0xffULL) | (uint8_t)value;
		break;
	case 2:
		*gpr = (*gpr & ~0xffffULL) | (uint16_t)value;
		break;
	case 4:
		*gpr = (uint32_t)value;
		break;
	default:
		*gpr = value;
	}
}

/* Operand n of insn, a register or memory of at most 8 bytes, zero-extended; an immediate as
 * struct insn has it. */
uint64_t operand_read(struct cpu *cpu, const struct insn *insn, unsigned n);

/* Writes a register or memory operand of at most 8 bytes. */
void operand_write(struct cpu *cpu, const struct insn *insn, unsigned n, uint64_t value);

/* Begins the change of insn's memory operand in place. Until mmu_rmw_end nothing may be raised. */
void operand_rmw_begin(struct cpu *cpu, const struct insn *insn, struct mmu_rmw *rmw, unsigned size,
		       bool locked);

/* A string instruction with repetitions left: it is executed again. Interrupts before that push RF
 * as set (cpu_repeating). Where something is traced RF is set at once, for debug traps and so that
 * its own breakpoint does not come again; elsewhere the loop need not become the careful one.
 * Steps on AMD's processors find it clear. */
static inline void repeat_later(struct cpu *cpu)
{
	bool step = cpu->amd && cpu->rflags & RFLAGS_TF;

	cpu->next_rip = cpu->rip;
	cpu->repeat_at = cpu->instructions + 1; /* when this part has been counted */
	if (atomic_load_explicit(&cpu->attention, memory_order_relaxed) & ATTENTION_TRACE && !step)
		cpu_set_rflags(cpu, cpu->rflags | RFLAGS_RF);
}

/* The stack pointer, and moving it by the stack's width: SP leaves the rest of RSP alone, ESP
 * clears the upper half. */
static inline uint64_t stack_pointer(const struct cpu *cpu)
{
	return cpu->gpr[GPR_RSP] & cpu->sp_mask;
}

static inline void stack_set(struct cpu *cpu, uint64_t sp)
{
	uint64_t *rsp = &cpu->gpr[GPR_RSP];

	if (cpu->sp_mask == UINT16_MAX)
		*rsp = (*rsp & ~(uint64_t)UINT16_MAX) | (uint16_t)sp;
	else
		*rsp = sp & cpu->sp_mask;
}

static inline void stack_move(struct cpu *cpu, int64_t bytes)
{
	stack_set(cpu, cpu->gpr[GPR_RSP] + (uint64_t)bytes);
}

/* Reads what lies offset bytes above the top, without moving it: for handlers that must check all
 * before they change anything. */
static inline uint64_t stack_peek(struct cpu *cpu, unsigned offset, unsigned size)
{
	uint64_t sp = (cpu->gpr[GPR_RSP] + offset) & cpu->sp_mask;

	return mmu_read(cpu, seg_linear(cpu, SEG_SS, sp, size, SEG_READ), size);
}

/* Writes below the top: what is at offset bytes under it, without moving it. */
static inline void stack_poke(struct cpu *cpu, unsigned offset, unsigned size, uint64_t value)
{
	uint64_t sp = (cpu->gpr[GPR_RSP] - offset) & cpu->sp_mask;

	mmu_write(cpu, seg_linear(cpu, SEG_SS, sp, size, SEG_WRITE), size, value);
}

/* Raises what a push to offset bytes under the top would, and does nothing else. */
static inline void stack_touch(struct cpu *cpu, unsigned offset, unsigned size)
{
	uint64_t sp = (cpu->gpr[GPR_RSP] - offset) & cpu->sp_mask;
	struct mmu_rmw rmw;

	mmu_rmw_begin(cpu, &rmw, seg_linear(cpu, SEG_SS, sp, size, SEG_WRITE), size, false);
	mmu_rmw_end(cpu, &rmw);
}

/* The stack: size is 2, 4 or 8; SS's checks. RSP changes by the stack's width after the access went
 * well. */
static inline void stack_push(struct cpu *cpu, unsigned size, uint64_t value)
{
	stack_poke(cpu, size, size, value);
	stack_move(cpu, -(int64_t)size);
}

static inline uint64_t stack_pop(struct cpu *cpu, unsigned size)
{
	uint64_t value = stack_peek(cpu, 0, size);

	stack_move(cpu, size);
	return value;
}

/* Whether a near branch may go to target: inside CS's limit, or canonical. */
static inline bool branch_valid(const struct cpu *cpu, uint64_t target)
{
	if (cpu->mode == CPU_LONG)
		return linear_canonical(cpu, target);
	return target <= cpu->seg[SEG_CS].limit;
}

/* A near branch's target, cut to the operand size; #GP(0) where it is not valid. Changes nothing.
 */
static inline uint64_t branch_target(struct cpu *cpu, uint64_t target, unsigned op_size)
{
	target = size_cut(target, op_size);
	if (!branch_valid(cpu, target))
		cpu_raise_error(cpu, VECTOR_GP, 0);
	return target;
}

/* Sets next_rip to a near branch's target, checked as above. */
static inline void branch_near(struct cpu *cpu, uint64_t target, unsigned op_size)
{
	cpu->next_rip = branch_target(cpu, target, op_size);
}

#endif
