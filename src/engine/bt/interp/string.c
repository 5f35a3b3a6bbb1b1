/* SPDX-License-Identifier: Apache-2.0 */
/*
 * String instructions.
 *
 *	REP: while RCX is not 0 {
 *	        a run of units (a span of RAM at the host's speed), or one unit
 *	        RSI, RDI, then RCX move            <- precise: what faults comes before
 *	        REPE, REPNE: end by ZF
 *	}
 *
 * Each call does a bounded number of units; if some are left it has the instruction
 * executed again, and interrupts are taken in between, as by the processor. With
 * something to attend to, or traps on, a call is a single unit or run.
 *
 * A run copies or fills forward within one page of each side, wholly inside the
 * segments' limits and the address size. MOVS copies unit by unit, which differs from
 * memmove where the destination begins inside the source: that is seen by the host's
 * addresses, as two linear addresses may be of one page.
 *
 * Sources: Intel SDM vol. 1 7.3.9, vol. 2 "REP/REPE/REPZ/REPNE/REPNZ" and by mnemonic.
 */
#include <string.h>

#include "engine/bt/interp/alu.h"

#define UNITS_MAX 1024 /* one by one in a call */
#define PAGE      4096u

/* An operation, by its size. unit does one and moves RSI and RDI; run does up to count, or returns
 * 0 where it cannot. */
struct string {
	void (*unit)(struct cpu *cpu, const struct insn *insn, unsigned size);
	uint64_t (*run)(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t count);
	uint8_t size;
	bool compares; /* REP is REPE */
};

static uint64_t index_read(const struct cpu *cpu, const struct insn *insn, unsigned reg)
{
	return reg_read(cpu, reg, insn->addr_size, false);
}

static void index_move(struct cpu *cpu, const struct insn *insn, unsigned reg, uint64_t bytes)
{
	uint64_t delta = cpu->rflags & RFLAGS_DF ? -bytes : bytes;

	reg_write(cpu, reg, insn->addr_size, false, index_read(cpu, insn, reg) + delta);
}

/* Where the unit at DS:SI (overridden or not) and the one at ES:DI are. */
static uint64_t source(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	return seg_linear(cpu, insn->mem.seg, index_read(cpu, insn, GPR_RSI), size, SEG_READ);
}

static uint64_t destination(struct cpu *cpu, const struct insn *insn, unsigned size,
			    enum seg_use use)
{
	return seg_linear(cpu, SEG_ES, index_read(cpu, insn, GPR_RDI), size, use);
}

static void movs(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	uint64_t value = mmu_read(cpu, source(cpu, insn, size), size);

	mmu_write(cpu, destination(cpu, insn, size, SEG_WRITE), size, value);
	index_move(cpu, insn, GPR_RSI, size);
	index_move(cpu, insn, GPR_RDI, size);
}

static void stos(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	uint64_t value = reg_read(cpu, GPR_RAX, size, false);

	mmu_write(cpu, destination(cpu, insn, size, SEG_WRITE), size, value);
	index_move(cpu, insn, GPR_RDI, size);
}

static void lods(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	uint64_t value = mmu_read(cpu, source(cpu, insn, size), size);

	reg_write(cpu, GPR_RAX, size, false, value);
	index_move(cpu, insn, GPR_RSI, size);
}

/* The flags of CMP a, b. In the upper bits of a register the numbers give the same flags. */
static void compare(struct cpu *cpu, unsigned size, uint64_t a, uint64_t b)
{
	uint32_t f;

	switch (size) {
	case 1:
		asm("cmpb %b2, %b1" ALU_FLAGS_OUT : "=a"(f) : "r"(a), "r"(b) : "cc");
		break;
	case 2:
		asm("cmpw %w2, %w1" ALU_FLAGS_OUT : "=a"(f) : "r"(a), "r"(b) : "cc");
		break;
	case 4:
		asm("cmpl %k2, %k1" ALU_FLAGS_OUT : "=a"(f) : "r"(a), "r"(b) : "cc");
		break;
	default:
		asm("cmpq %q2, %q1" ALU_FLAGS_OUT : "=a"(f) : "r"(a), "r"(b) : "cc");
	}
	cpu->rflags = alu_flags_out(cpu->rflags, f);
}

/* Where both operands fault, AMD's processors report the one at ES:DI, but for REPE CMPSB the
 * source's; the manuals say nothing. */
static void cmps(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	bool source_first = !cpu->amd || (size == 1 && (insn->prefixes & INSN_REP));
	uint64_t a = source_first ? mmu_read(cpu, source(cpu, insn, size), size) : 0;
	uint64_t b = mmu_read(cpu, destination(cpu, insn, size, SEG_READ), size);

	if (!source_first)
		a = mmu_read(cpu, source(cpu, insn, size), size);
	compare(cpu, size, a, b);
	index_move(cpu, insn, GPR_RSI, size);
	index_move(cpu, insn, GPR_RDI, size);
}

static void scas(struct cpu *cpu, const struct insn *insn, unsigned size)
{
	uint64_t b = mmu_read(cpu, destination(cpu, insn, size, SEG_READ), size);

	compare(cpu, size, cpu->gpr[GPR_RAX], b);
	index_move(cpu, insn, GPR_RDI, size);
}

/* How many bytes from the index on, at most want, stay in the segment and do not wrap. The first
 * unit has been checked; in 64-bit mode the page's end bounds it. */
static uint64_t room(const struct cpu *cpu, const struct insn *insn, unsigned seg, unsigned reg,
		     uint64_t want)
{
	const struct segment *s = &cpu->seg[seg];
	uint64_t index = index_read(cpu, insn, reg);
	uint64_t last = MASK(8 * insn->addr_size);

	if (cpu->mode != CPU_LONG)
		last = MIN(last, seg_last(s));
	return last - index < want ? last - index + 1 : want;
}

static uint64_t movs_run(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t count)
{
	uint64_t from = source(cpu, insn, size);
	uint64_t len = MIN(count, PAGE / size) * size;
	uint8_t *src, *dst;

	if (cpu->rflags & RFLAGS_DF)
		return 0;
	len = room(cpu, insn, insn->mem.seg, GPR_RSI, len);
	len = mmu_span(cpu, from, len, false, &src);
	if (len < size)
		return 0;
	/* Only now: the source's faults come before the destination's. */
	len = mmu_span(cpu, destination(cpu, insn, size, SEG_WRITE),
		       room(cpu, insn, SEG_ES, GPR_RDI, len), true, &dst);
	len -= len % size;
	if (!len)
		return 0;
	if ((uintptr_t)dst - (uintptr_t)src < len)
		for (uint64_t i = 0; i < len; i += size)
			store_le(dst + i, size, load_le(src + i, size));
	else
		memmove(dst, src, len);
	index_move(cpu, insn, GPR_RSI, len);
	index_move(cpu, insn, GPR_RDI, len);
	return len / size;
}

static uint64_t stos_run(struct cpu *cpu, const struct insn *insn, unsigned size, uint64_t count)
{
	uint64_t to = destination(cpu, insn, size, SEG_WRITE);
	uint64_t len = MIN(count, PAGE / size) * size;
	uint64_t value = reg_read(cpu, GPR_RAX, size, false);
	uint8_t *dst;

	if (cpu->rflags & RFLAGS_DF)
		return 0;
	len = room(cpu, insn, SEG_ES, GPR_RDI, len);
	len = mmu_span(cpu, to, len, true, &dst);
	len -= len % size;
	if (!len)
		return 0;
	if (size == 1 || !value)
		memset(dst, (uint8_t)value, len);
	else
		for (uint64_t i = 0; i < len; i += size)
			store_le(dst + i, size, value);
	index_move(cpu, insn, GPR_RDI, len);
	return len / size;
}

/* clang-format off */
#define SIZES(name, unit, run, compares)                                                \
	[OP_##name##B - STRINGS_FIRST] = {unit, run, 1, compares},                      \
	[OP_##name##W - STRINGS_FIRST] = {unit, run, 2, compares},                      \
	[OP_##name##D - STRINGS_FIRST] = {unit, run, 4, compares},                      \
	[OP_##name##Q - STRINGS_FIRST] = {unit, run, 8, compares}

/* By operation; they stand in a row. */
#define STRINGS_FIRST OP_MOVSB
static const struct string strings[] = {
	SIZES(MOVS, movs, movs_run, false),
	SIZES(STOS, stos, stos_run, false),
	SIZES(LODS, lods, NULL, false),
	SIZES(CMPS, cmps, NULL, true),
	SIZES(SCAS, scas, NULL, true),
};
/* clang-format on */

/* Of a string instruction. */
static const struct string *string_of(const struct insn *insn)
{
	return &strings[insn->op - STRINGS_FIRST];
}

/* Intel's processors cut registers to 32 bits even if they have nothing to do; AMD's do not. */
static void nothing_to_do(struct cpu *cpu, const struct insn *insn, const struct string *s)
{
	if (cpu->amd || insn->addr_size != 4)
		return;
	cpu->gpr[GPR_RCX] = 0;
	if (s->unit == movs)
		cpu->gpr[GPR_RSI] = (uint32_t)cpu->gpr[GPR_RSI];
	if (s->unit == movs || s->unit == stos)
		cpu->gpr[GPR_RDI] = (uint32_t)cpu->gpr[GPR_RDI];
}

/* A comparison's outcome ends the repetition. */
static bool ends(const struct cpu *cpu, const struct insn *insn, const struct string *s)
{
	bool wanted = !(insn->prefixes & INSN_REPNE);

	return s->compares && wanted != !!(cpu->rflags & RFLAGS_ZF);
}

static void repeat(struct cpu *cpu, const struct insn *insn)
{
	const struct string *s = string_of(insn);
	uint64_t count = index_read(cpu, insn, GPR_RCX);
	bool traced = atomic_load_explicit(&cpu->attention, memory_order_relaxed) & ATTENTION_TRACE;
	uint64_t units = 0;

	if (!count)
		nothing_to_do(cpu, insn, s);
	while (count) {
		uint64_t done = s->run && !traced ? s->run(cpu, insn, s->size, count) : 0;

		if (!done) {
			s->unit(cpu, insn, s->size);
			done = 1;
		}
		units += done;
		count -= done;
		reg_write(cpu, GPR_RCX, insn->addr_size, false, count);
		if (ends(cpu, insn, s))
			return;
		if (units >= UNITS_MAX ||
		    atomic_load_explicit(&cpu->attention, memory_order_relaxed))
			break;
	}
	if (count)
		repeat_later(cpu);
}

static void once(struct cpu *cpu, const struct insn *insn)
{
	const struct string *s = string_of(insn);

	s->unit(cpu, insn, s->size);
}

interp_fn interp_string(const struct insn *insn)
{
	if (insn->op < STRINGS_FIRST || insn->op >= STRINGS_FIRST + ARRAY_LEN(strings))
		return NULL;
	return insn->prefixes & (INSN_REP | INSN_REPNE) ? repeat : once;
}
