/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/tandem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/engine.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/saved_flags.h"
#include "engine/bt/translate/dump.h"
#include "engine/bt/translate/region.h"

#define NOWHERE    BIT(63) /* not canonical, so no instruction's address */
#define RUNS_FIRST 64u
#define RUNS_MANY  1024u /* a power of two */

/* The registers that translated code changes. */
struct registers {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;
	uint8_t xmm[256], upper[256];
	uint8_t mxcsr[4];
	uint8_t x87[XSAVE_MXCSR], st[XSAVE_XMM - XSAVE_ST];
	uint16_t selectors[2]; /* of the x87's pointers */
};

static void get(const struct cpu *cpu, struct registers *r)
{
	memcpy(r->gpr, cpu->gpr, sizeof(r->gpr));
	r->rip = cpu->rip;
	r->rflags = cpu->rflags;
	memcpy(r->xmm, cpu->fpu.area + XSAVE_XMM, sizeof(r->xmm));
	memcpy(r->upper, cpu->fpu.area + FPU_YMM_HI, sizeof(r->upper));
	memcpy(r->mxcsr, cpu->fpu.area + XSAVE_MXCSR, sizeof(r->mxcsr));
	memcpy(r->x87, cpu->fpu.area, sizeof(r->x87));
	memcpy(r->st, cpu->fpu.area + XSAVE_ST, sizeof(r->st));
	r->selectors[0] = cpu->fpu.fcs;
	r->selectors[1] = cpu->fpu.fds;
}

static void set(struct cpu *cpu, const struct registers *r)
{
	memcpy(cpu->gpr, r->gpr, sizeof(r->gpr));
	cpu->rip = r->rip;
	cpu->rflags = r->rflags;
	memcpy(cpu->fpu.area + XSAVE_XMM, r->xmm, sizeof(r->xmm));
	memcpy(cpu->fpu.area + FPU_YMM_HI, r->upper, sizeof(r->upper));
	memcpy(cpu->fpu.area + XSAVE_MXCSR, r->mxcsr, sizeof(r->mxcsr));
	memcpy(cpu->fpu.area, r->x87, sizeof(r->x87));
	memcpy(cpu->fpu.area + XSAVE_ST, r->st, sizeof(r->st));
	cpu->fpu.fcs = r->selectors[0];
	cpu->fpu.fds = r->selectors[1];
}

/* Interprets the region's instructions, up to stop where that comes after having been passed so
 * often (a loop's turns), or to what branches, cannot be done twice or raises an exception. Returns
 * how many. */
static unsigned interpret(struct cpu *cpu, const struct region *region, uint64_t stop,
			  unsigned passed)
{
	struct journal *j = cpu->journal;
	struct cpu_exception exception = cpu->exception;
	struct registers before;
	volatile unsigned done = 0;
	volatile unsigned notes = 0;
	volatile unsigned passes = passed;
	jmp_buf unwind;

	memcpy(&unwind, &cpu->unwind, sizeof(unwind));
	j->count = 0;
	j->open = true;
	get(cpu, &before);
	if (!_setjmp(cpu->unwind)) {
		while (done < region->count && cpu->rip == region->insn[done].linear) {
			if (done && cpu->rip == stop && !passes--)
				break;
			notes = j->count;
			get(cpu, &before);
			interp_execute(cpu);
			done++;
		}
	} else {
		set(cpu, &before);
		while (j->count > notes) { /* of the instruction that was abandoned */
			struct journal_note *n = &j->note[--j->count];

			memcpy(n->host, n->old, n->len);
		}
	}
	j->open = false;
	cpu->exception = exception;
	cpu->partly = false;
	memcpy(&cpu->unwind, &unwind, sizeof(unwind));
	return done;
}

static void print_x87(const struct registers *r)
{
	fprintf(stderr,
		" fcw=%04llx fsw=%04llx ftw=%02x fop=%04llx fip=%04x:%016llx fdp=%04x:%016llx\n",
		(unsigned long long)load_le(r->x87 + XSAVE_FCW, 2),
		(unsigned long long)load_le(r->x87 + XSAVE_FSW, 2), r->x87[XSAVE_FTW],
		(unsigned long long)load_le(r->x87 + XSAVE_FOP, 2), r->selectors[0],
		(unsigned long long)load_le(r->x87 + XSAVE_FIP, 8), r->selectors[1],
		(unsigned long long)load_le(r->x87 + XSAVE_FDP, 8));
	for (unsigned n = 0; n < 8; n++)
		fprintf(stderr, " st%u=%04llx'%016llx%s", n,
			(unsigned long long)load_le(r->st + 16 * n + 8, 2),
			(unsigned long long)load_le(r->st + 16 * n, 8), n % 4 == 3 ? "\n" : "");
}

static void print_registers(const char *title, const struct registers *r)
{
	fprintf(stderr, "%s\n", title);
	for (unsigned n = 0; n < GPR_COUNT; n++)
		fprintf(stderr, " %2u=%016llx%s", n, (unsigned long long)r->gpr[n],
			n % 4 == 3 ? "\n" : "");
	fprintf(stderr, " rip=%016llx rflags=%llx\n", (unsigned long long)r->rip,
		(unsigned long long)r->rflags);
	fprintf(stderr, " mxcsr=%08llx\n", (unsigned long long)load_le(r->mxcsr, 4));
	print_x87(r);
	for (unsigned n = 0; n < 16; n++)
		fprintf(stderr, " %2u=%016llx'%016llx'%016llx'%016llx\n", n,
			(unsigned long long)load_le(r->upper + 16 * n + 8, 8),
			(unsigned long long)load_le(r->upper + 16 * n, 8),
			(unsigned long long)load_le(r->xmm + 16 * n + 8, 8),
			(unsigned long long)load_le(r->xmm + 16 * n, 8));
}

/* The block's instructions, with what is live after each. */
static void read_region(struct cpu *cpu, struct region *region)
{
	const struct block *b = cpu->translator->checked;

	region_read(cpu, region, b->linear, b->gpa);
	if (b->hot)
		region_unroll(region);
	region_analyse(cpu, region);
}

/* Where a conditional branch within the block leads to. */
static bool branches_to(const struct region_insn *i, uint64_t rip)
{
	return i->insn.op == OP_JCC && i->linear + i->insn.len + i->insn.imm == rip;
}

/* Where one that does not end it leads out of it. */
static bool leads_out_to(const struct region *region, const struct region_insn *i, uint64_t rip)
{
	return i->insn.op == OP_JCC && !region_ends(region, i) && region_way_out(region, i) == rip;
}

/* Flags that are live where the block was left. */
static unsigned live_at(const struct region *region, uint64_t rip)
{
	/* Of what is in the block more is known than by looking ahead from a branch to it. */
	for (unsigned n = 0; n < region->count; n++)
		if (region->insn[n].linear == rip)
			return region_live_before(&region->insn[n]);
	for (unsigned n = 0; n < region->count; n++)
		if (leads_out_to(region, &region->insn[n], rip) ||
		    branches_to(&region->insn[n], rip))
			return region->insn[n].live;
	return region->count ? region->insn[region->count - 1].live : FLAGS_STATUS;
}

/* Flags that are dead may be anything. */
static bool same(const struct region *region, const struct registers *want,
		 const struct registers *got)
{
	uint64_t flags = want->rflags ^ got->rflags;

	if (memcmp(got->gpr, want->gpr, sizeof(got->gpr)) != 0 || got->rip != want->rip)
		return false;
	if (memcmp(got->xmm, want->xmm, sizeof(got->xmm)) != 0 ||
	    memcmp(got->upper, want->upper, sizeof(got->upper)) != 0 ||
	    memcmp(got->mxcsr, want->mxcsr, sizeof(got->mxcsr)) != 0)
		return false;
	if (memcmp(got->x87, want->x87, sizeof(got->x87)) != 0 ||
	    memcmp(got->st, want->st, sizeof(got->st)) != 0 ||
	    memcmp(got->selectors, want->selectors, sizeof(got->selectors)) != 0)
		return false;
	return !flags || !(flags & (live_at(region, got->rip) | ~(uint64_t)FLAGS_STATUS));
}

static _Noreturn void differ(struct translator *t, const struct region *region,
			     const struct registers *start, const struct registers *want,
			     const struct registers *got, bool memory)
{
	fprintf(stderr, "lodge: translated code and the interpreter differ%s\n",
		memory ? " in memory" : "");
	t->dump.stages = ENGINE_DUMP_GUEST | ENGINE_DUMP_FLAGS | ENGINE_DUMP_HOST;
	t->dump.fd = STDERR_FILENO;
	dump_guest(t, region);
	dump_flags(t, region);
	dump_host(t, t->checked);
	print_registers("before", start);
	print_registers("interpreter", want);
	print_registers("translated", got);
	abort();
}

/* Whether it was left before anything was done. Handlers do not go beyond where the interpreter
 * stopped in the middle of the block (journal->stop). */
static bool run_block(struct cpu *cpu, const uint8_t *far)
{
	uint64_t rip = cpu->rip;
	struct left left;

	saved_flags_out(cpu);
	left = gates_enter(cpu->translator, far);
	cpu->journal->stops = false;
	cpu->rip = left.reason == EXIT_LINK ? ((struct block_exit *)(uintptr_t)left.number)->target
					    : left.number;
	saved_flags_in(cpu);
	return left.reason != EXIT_LINK && left.reason != EXIT_GO && left.number == rip;
}

/* Interprets the block, and takes it back. */
static unsigned foresee(struct cpu *cpu, const struct region *region, const struct registers *start,
			struct registers *want)
{
	struct journal *j = cpu->journal;
	unsigned done;

	do {
		j->disturbed = false;
		done = interpret(cpu, region, NOWHERE, 0);
		get(cpu, want);
		journal_undo(j);
		set(cpu, start);
	} while (j->disturbed);
	return done;
}

/* As want and the journal say. */
static bool agrees(struct cpu *cpu, const struct region *region, const struct registers *want,
		   const struct registers *got)
{
	return same(region, want, got) && journal_agrees(cpu->journal);
}

/* The block came less far: to got; in a loop, in one of its turns. Interprets as much once more.
 * What the block wrote stays. idle: it may have done nothing. */
static void foresee_less(struct cpu *cpu, const struct region *region,
			 const struct registers *start, struct registers *want,
			 const struct registers *got, bool idle)
{
	unsigned most = region->turn ? region->count / region->turn : !idle;
	struct journal *j = cpu->journal, *written = malloc(sizeof(*written));

	if (!written)
		abort();
	*written = *j;
	for (unsigned n = 0; n < written->count; n++)
		memcpy(written->note[n].new, written->note[n].host, written->note[n].len);
	for (unsigned turns = !idle;; turns++) {
		*j = *written;
		journal_undo(j);
		j->count = 0;
		set(cpu, start);
		if (turns)
			interpret(cpu, region, got->rip, turns - 1);
		get(cpu, want);
		journal_undo(j);
		for (unsigned n = 0; n < written->count; n++)
			memcpy(written->note[n].host, written->note[n].new, written->note[n].len);
		if (turns >= most || agrees(cpu, region, want, got))
			break;
	}
	free(written);
}

/* The guest has changed the translation of the block's page, without INVLPG so far, and the TLB has
 * the new one by now: that, or the one that the block was made by, either is right. */
static bool moved(struct cpu *cpu, const struct region *region)
{
	uint64_t gpa;

	return !mmu_fill_code(cpu, region->linear, &gpa) || (gpa ^ region->gpa) >> GUEST_PAGE_SHIFT;
}

bool tandem_due(struct translator *t)
{
	uint32_t runs = t->checked->runs++;

	return runs < RUNS_FIRST || !(runs % RUNS_MANY);
}

void tandem(struct cpu *cpu, const uint8_t *far)
{
	struct registers start, want, got;
	struct region region;
	unsigned done;
	bool idle;

	read_region(cpu, &region);
	get(cpu, &start);
	done = foresee(cpu, &region, &start, &want);
	if (moved(cpu, &region))
		return;
	cpu->journal->stop = want.rip;
	cpu->journal->stops = done < region.count;
	idle = run_block(cpu, far);
	get(cpu, &got);
	if (moved(cpu, &region))
		return;
	/* It may have been left on the way, perhaps where it would branch to in the end. */
	if ((got.rip != want.rip || idle || !agrees(cpu, &region, &want, &got)) && done)
		foresee_less(cpu, &region, &start, &want, &got, idle);
	if (!same(&region, &want, &got))
		differ(cpu->translator, &region, &start, &want, &got, false);
	if (!journal_agrees(cpu->journal))
		differ(cpu->translator, &region, &start, &want, &got, true);
	set(cpu, &want);
}
