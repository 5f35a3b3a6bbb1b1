/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Port I/O: the permission to do it, and IN, OUT, INS, OUTS.
 *
 * A device is asked only when nothing can fault any more: reading a port has effects.
 *
 * Sources: Intel SDM vol. 1 chapter 19 (19.5 protection), vol. 3A 7.2.1 (the task
 * state segment), 17.2.4 (I/O breakpoints).
 */
#include "core/bus.h"
#include "engine/bt/interp/alu.h"
#include "engine/bt/vm.h"

#define TSS_IOMAP       0x66 /* offset of the I/O permission bitmap's offset, 32- and 64-bit */
#define TSS_TYPE_32     9u   /* of a 32- or 64-bit TSS, available; busy: with TSS_TYPE_BUSY */
#define TSS_TYPE_BUSY   2u
#define UNITS_MAX       256
#define DR7_RW(dr7, n)  ((dr7) >> (16 + 4 * (n)) & 3)
#define DR7_LEN(dr7, n) ((dr7) >> (18 + 4 * (n)) & 3)
#define RW_PORT         2u

/* Whether the bitmap in the task state segment lets size ports through. */
static bool bitmap_allows(struct cpu *cpu, unsigned port, unsigned size)
{
	const struct segment *tr = &cpu->tr;
	uint64_t map, bits;

	if ((tr->attr & SEG_ATTR_UNUSABLE) ||
	    (tr->attr & SEG_ATTR_TYPE & ~TSS_TYPE_BUSY) != TSS_TYPE_32)
		return false;
	if (tr->limit < TSS_IOMAP + 1)
		return false;
	map = mmu_system_read(cpu, tr->base + TSS_IOMAP, 2);
	/* Two bytes are read always: a map ends with a byte of ones. */
	map += port / 8;
	if (map + 1 > tr->limit)
		return false;
	bits = mmu_system_read(cpu, tr->base + map, 2);
	return !(bits >> port % 8 & MASK(size));
}

static void check_permission(struct cpu *cpu, unsigned port, unsigned size)
{
	if (cpu->mode == CPU_REAL || (cpu->mode != CPU_VM86 && cpu->cpl <= cpu_iopl(cpu)))
		return;
	if (!bitmap_allows(cpu, port, size))
		cpu_raise_error(cpu, VECTOR_GP, 0);
}

/* Breakpoints on ports, with CR4.DE: traps after the instruction. */
static void meet_breakpoints(struct cpu *cpu, unsigned port, unsigned size)
{
	if (!(cpu->cr4 & CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++) {
		uint64_t mask = DR7_LEN(cpu->dr7, n); /* 0, 1 or 3: the length less one */
		uint64_t first = cpu->dr[n] & ~mask;

		if ((cpu->dr7 & (DR7_L(n) | DR7_G(n))) && DR7_RW(cpu->dr7, n) == RW_PORT &&
		    port <= first + mask && port + size > first)
			cpu->debug_hits |= DR6_B(n);
	}
}

static uint64_t port_read(struct cpu *cpu, unsigned port, unsigned size)
{
	cpu_count(&cpu->stats.port_accesses);
	meet_breakpoints(cpu, port, size);
	return bus_read(cpu->vm->env->pio, port, size);
}

static void port_write(struct cpu *cpu, unsigned port, unsigned size, uint64_t value)
{
	cpu_count(&cpu->stats.port_accesses);
	meet_breakpoints(cpu, port, size);
	bus_write(cpu->vm->env->pio, port, size, value);
}

/* The port's number in operand n: DX, or an immediate byte. */
static unsigned port_number(const struct cpu *cpu, const struct insn *insn, unsigned n)
{
	if (insn->operand[n].kind == OPERAND_IMM)
		return (uint8_t)insn->imm;
	return (uint16_t)cpu->gpr[GPR_RDX];
}

static void in(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->operand[0].size;
	unsigned port = port_number(cpu, insn, 1);

	check_permission(cpu, port, size);
	reg_write(cpu, GPR_RAX, size, false, port_read(cpu, port, size));
}

static void out(struct cpu *cpu, const struct insn *insn)
{
	unsigned size = insn->operand[1].size;
	unsigned port = port_number(cpu, insn, 0);

	check_permission(cpu, port, size);
	port_write(cpu, port, size, reg_read(cpu, GPR_RAX, size, false));
}

static void index_move(struct cpu *cpu, const struct insn *insn, unsigned reg, unsigned size)
{
	uint64_t index = reg_read(cpu, reg, insn->addr_size, false);

	index = cpu->rflags & RFLAGS_DF ? index - size : index + size;
	reg_write(cpu, reg, insn->addr_size, false, index);
}

static void ins(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	unsigned port = (uint16_t)cpu->gpr[GPR_RDX];
	uint64_t index = reg_read(cpu, GPR_RDI, insn->addr_size, false);
	uint64_t linear = seg_linear(cpu, SEG_ES, index, size, SEG_WRITE);

	mmu_probe_write(cpu, linear, size);
	mmu_write(cpu, linear, size, port_read(cpu, port, size));
	index_move(cpu, insn, GPR_RDI, size);
}

static void outs(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	unsigned port = (uint16_t)cpu->gpr[GPR_RDX];
	uint64_t index = reg_read(cpu, GPR_RSI, insn->addr_size, false);
	uint64_t linear = seg_linear(cpu, insn->mem.seg, index, size, SEG_READ);

	port_write(cpu, port, size, mmu_read(cpu, linear, size));
	index_move(cpu, insn, GPR_RSI, size);
}

/* INS and OUTS, with REP or without; as the other string instructions (string.c). */
static void port_string(struct cpu *cpu, const struct insn *insn,
			void (*unit)(struct cpu *, const struct insn *, unsigned), unsigned size)
{
	uint64_t count = reg_read(cpu, GPR_RCX, insn->addr_size, false);

	check_permission(cpu, (uint16_t)cpu->gpr[GPR_RDX], size);
	if (!(insn->prefixes & (INSN_REP | INSN_REPNE))) {
		unit(cpu, insn, size);
		return;
	}
	for (unsigned n = 0; count && n < UNITS_MAX; n++) {
		unit(cpu, insn, size);
		reg_write(cpu, GPR_RCX, insn->addr_size, false, --count);
		if (atomic_load_explicit(&cpu->attention, memory_order_relaxed))
			break;
	}
	if (count)
		repeat_later(cpu);
}

/* clang-format off */
#define PORT_STRING(name, unit, size)                                                   \
	static void name(struct cpu *cpu, const struct insn *insn)                      \
	{                                                                               \
		port_string(cpu, insn, unit, size);                                     \
	}
/* clang-format on */

PORT_STRING(insb, ins, 1)
PORT_STRING(insw, ins, 2)
PORT_STRING(insd, ins, 4)
PORT_STRING(outsb, outs, 1)
PORT_STRING(outsw, outs, 2)
PORT_STRING(outsd, outs, 4)

static const struct interp_entry handlers[] = {
	{OP_IN, in},     {OP_OUT, out},     {OP_INSB, insb},   {OP_INSW, insw},
	{OP_INSD, insd}, {OP_OUTSB, outsb}, {OP_OUTSW, outsw}, {OP_OUTSD, outsd},
};

interp_fn interp_port(const struct insn *insn)
{
	return interp_find(handlers, ARRAY_LEN(handlers), insn->op);
}
