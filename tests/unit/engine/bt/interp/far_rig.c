/* SPDX-License-Identifier: Apache-2.0 */
#include "far_rig.h"

#include <stdlib.h>
#include <string.h>

#define ATTR(type, dpl) ((type) | SEG_ATTR_S | SEG_ATTR_P | (dpl) << SEG_ATTR_DPL_SHIFT)
#define LIMIT_64K       0xffffu
#define LIMIT_1M        0xfffffu
#define LIMIT_4G        0xffffffffu

static const struct {
	uint8_t selector;
	uint32_t attr;
	uint32_t limit;
} segments[] = {
	{FR_CODE0, ATTR(0xa, 0) | SEG_ATTR_DB, LIMIT_1M},
	{FR_DATA0, ATTR(0x2, 0) | SEG_ATTR_DB | SEG_ATTR_G, LIMIT_4G},
	{FR_CODE3, ATTR(0xa, 3) | SEG_ATTR_DB, LIMIT_1M},
	{FR_DATA3, ATTR(0x2, 3) | SEG_ATTR_DB | SEG_ATTR_G, LIMIT_4G},
	{FR_LONG0, ATTR(0xa, 0) | SEG_ATTR_L, LIMIT_1M},
	{FR_LONG3, ATTR(0xa, 3) | SEG_ATTR_L, LIMIT_1M},
	{FR_CONFORMING0, ATTR(0xe, 0) | SEG_ATTR_DB, LIMIT_1M},
	{FR_CODE16, ATTR(0xa, 0), LIMIT_64K},
	{FR_DATA16, ATTR(0x2, 0), LIMIT_64K},
	{FR_ABSENT_DATA3, (ATTR(0x2, 3) | SEG_ATTR_DB) & ~SEG_ATTR_P, LIMIT_1M},
	{FR_ABSENT_CODE0, (ATTR(0xa, 0) | SEG_ATTR_DB) & ~SEG_ATTR_P, LIMIT_1M},
	{FR_EXECUTE_ONLY3, ATTR(0x8, 3) | SEG_ATTR_DB, LIMIT_1M},
	{FR_READ_ONLY3, ATTR(0x0, 3) | SEG_ATTR_DB, LIMIT_1M},
	{FR_CODE1, ATTR(0xa, 1) | SEG_ATTR_DB, LIMIT_1M},
	{FR_DATA1, ATTR(0x2, 1) | SEG_ATTR_DB | SEG_ATTR_G, LIMIT_4G},
	{FR_LONG_BIG, ATTR(0xa, 0) | SEG_ATTR_L | SEG_ATTR_DB, LIMIT_1M},
	{FR_ABSENT_DATA0, (ATTR(0x2, 0) | SEG_ATTR_DB) & ~SEG_ATTR_P, LIMIT_1M},
	{FR_LONG1, ATTR(0xa, 1) | SEG_ATTR_L, LIMIT_1M},
};

static void need(bool good)
{
	if (!good)
		abort();
}

uint64_t fr_get(struct far_rig *r, uint64_t gpa, unsigned size)
{
	return load_le(mem_ptr_rw(&r->mem, gpa, size), size);
}

void fr_put(struct far_rig *r, uint64_t gpa, unsigned size, uint64_t value)
{
	store_le(mem_ptr_rw(&r->mem, gpa, size), size, value);
}

void fr_descriptor(struct far_rig *r, unsigned selector, uint32_t attr, uint64_t base,
		   uint32_t limit)
{
	struct segment s = {.attr = attr, .base = base, .limit = limit};

	fr_put(r, FR_GDT + selector, 8, segment_to_descriptor(&s));
	if (!(attr & SEG_ATTR_S) && (r->cpu->efer & EFER_LMA))
		fr_put(r, FR_GDT + selector + 8, 8, base >> 32);
}

void fr_put_gate(struct far_rig *r, uint64_t gpa, const struct fr_gate *g)
{
	uint64_t low = (g->offset & 0xffff) | (uint64_t)g->selector << 16 |
		       (uint64_t)g->params << 32 | (uint64_t)g->type << 40 |
		       (uint64_t)g->dpl << 45 | (uint64_t)!g->absent << 47 |
		       (g->offset >> 16 & 0xffff) << 48;

	fr_put(r, gpa, 8, low);
	if (r->cpu->efer & EFER_LMA)
		fr_put(r, gpa + 8, 8, g->offset >> 32);
}

uint64_t fr_top(struct far_rig *r, unsigned n, unsigned size)
{
	uint64_t sp = r->cpu->gpr[GPR_RSP] & r->cpu->sp_mask;

	if (r->cpu->mode != CPU_LONG)
		sp += r->cpu->seg[SEG_SS].base;
	return fr_get(r, sp + n * size, size);
}

void fr_load(struct far_rig *r, unsigned seg, uint16_t selector)
{
	uint64_t d = fr_get(r, FR_GDT + (selector & ~7u), 8);

	r->cpu->seg[seg] = segment_from_descriptor(selector, d);
	r->cpu->seg[seg].attr |= 1;
	cpu_update_mode(r->cpu);
}

static void make_tables(struct far_rig *r)
{
	bool ia32e = r->cpu->efer & EFER_LMA;

	for (unsigned i = 0; i < ARRAY_LEN(segments); i++)
		fr_descriptor(r, segments[i].selector, segments[i].attr, 0, segments[i].limit);
	fr_descriptor(r, FR_LDT_SELECTOR, SEG_TYPE_LDT | SEG_ATTR_P, FR_LDT, 0x1f);
	fr_descriptor(r, FR_TSS_SELECTOR, SEG_TYPE_TSS_BUSY | SEG_ATTR_P, FR_TSS, 0x87);
	fr_descriptor(r, FR_TSS2_SELECTOR, 9 | SEG_ATTR_P, FR_TSS2, 0x67);
	r->cpu->gdt = (struct descriptor_table){.base = FR_GDT, .limit = FR_GDT_END - 1};
	r->cpu->idt = (struct descriptor_table){.base = FR_IDT, .limit = ia32e ? 0x3ff : 0x1ff};
	r->cpu->tr = segment_tss(FR_TSS_SELECTOR, FR_TSS, 0x87);
	r->cpu->ldtr = segment_null();
	if (ia32e) {
		fr_put(r, FR_TSS + 4, 8, FR_STACK0);
		fr_put(r, FR_TSS + 12, 8, FR_STACK1);
		fr_put(r, FR_TSS + 0x24, 8, FR_IST);
		return;
	}
	fr_put(r, FR_TSS + 4, 4, FR_STACK0);
	fr_put(r, FR_TSS + 8, 2, FR_DATA0);
	fr_put(r, FR_TSS + 12, 4, FR_STACK1);
	fr_put(r, FR_TSS + 16, 2, FR_DATA1 | 1);
}

/* The first 2 MiB as one page, for all levels. */
static void make_paging(struct far_rig *r)
{
	const uint64_t table = PTE_P | PTE_RW | PTE_US;

	fr_put(r, FR_TABLES, 8, (FR_TABLES + 0x1000) | table);
	fr_put(r, FR_TABLES + 0x1000, 8, (FR_TABLES + 0x2000) | table);
	fr_put(r, FR_TABLES + 0x2000, 8, table | PTE_PS);
	r->cpu->cr3 = FR_TABLES;
	r->cpu->cr4 = CR4_PAE;
	r->cpu->efer = EFER_LME | EFER_LMA;
	r->cpu->cr0 |= CR0_PG;
}

static void set_segments(struct far_rig *r, enum fr_mode mode, unsigned cpl)
{
	static const uint8_t code[] = {FR_CODE0, FR_CODE1, 0, FR_CODE3};
	static const uint8_t code64[] = {FR_LONG0, FR_LONG1, 0, FR_LONG3};
	static const uint8_t data[] = {FR_DATA0, FR_DATA1, 0, FR_DATA3};
	static const uint16_t stack[] = {FR_STACK0, FR_STACK1, 0, FR_STACK3};

	r->cpu->gpr[GPR_RSP] = stack[cpl];
	if (mode == FR_REAL || mode == FR_VM86) {
		for (unsigned i = 0; i < SEG_COUNT; i++)
			r->cpu->seg[i] = segment_real(0);
		r->cpu->seg[SEG_CS] = segment_real(FR_CODE >> 4);
		for (unsigned i = 0; mode == FR_VM86 && i < SEG_COUNT; i++)
			r->cpu->seg[i].attr |= 3 << SEG_ATTR_DPL_SHIFT;
		return;
	}
	for (unsigned i = 0; i < SEG_COUNT; i++)
		fr_load(r, i, data[cpl] | cpl);
	fr_load(r, SEG_CS, (mode == FR_64 ? code64 : code)[cpl] | cpl);
}

struct far_rig *fr_new(enum fr_mode mode, unsigned cpl)
{
	struct far_rig *r = aligned_alloc(64, align_up(sizeof(*r), 64));

	need(r);
	memset(r, 0, sizeof(*r));
	need(!mem_init(&r->mem, 0, NULL) && !mem_add_ram(&r->mem, 0, FR_RAM, NULL));
	r->env.mem = &r->mem;
	r->vm.env = &r->env;
	r->vm.decoder = decoder_new(false, NULL);
	need(r->vm.decoder && !pages_map(&r->vm.pages, &r->mem.regions[0]));
	exclusive_init(&r->vm.exclusive);

	r->cpu = aligned_alloc(64, align_up(sizeof(struct cpu), 64));
	need(r->cpu);
	memset(r->cpu, 0, sizeof(*r->cpu));
	r->cpu->vm = &r->vm;
	r->vm.cpu[0] = r->cpu;
	r->cpu->phys_bits = 40;
	for (unsigned i = 0; i < FEATURE_COUNT; i++)
		r->cpu->features[i] = i != FEATURE_NEVER;
	need(!mmu_init(r->cpu));
	exclusive_enter(r->cpu);

	r->cpu->rip = mode == FR_REAL || mode == FR_VM86 ? 0 : FR_CODE;
	r->cpu->rflags = RFLAGS_FIXED | (mode == FR_VM86 ? RFLAGS_VM : 0);
	r->cpu->cr0 = mode == FR_REAL ? 0 : CR0_PE;
	r->cpu->cpl = mode == FR_VM86 ? 3 : cpl;
	if (mode >= FR_COMPAT)
		make_paging(r);
	make_tables(r);
	set_segments(r, mode, cpl);
	cpu_update_mode(r->cpu);
	mmu_flush(r->cpu, true);
	return r;
}

void fr_free(struct far_rig *r)
{
	exclusive_leave(r->cpu);
	mmu_release(r->cpu);
	free(r->cpu);
	exclusive_release(&r->vm.exclusive);
	pages_unmap(&r->vm.pages, &r->mem.regions[0]);
	decoder_free(r->vm.decoder);
	mem_release(&r->mem);
	free(r);
}

int fr_exec(struct far_rig *r, const void *bytes, size_t len)
{
	struct cpu *cpu = r->cpu;
	struct insn insn = {0};

	if (decode(r->vm.decoder, cpu->decode, bytes, len, &insn) == DECODE_INVALID)
		return VECTOR_UD;
	need(insn.len == len);
	mmu_flush(cpu, true);
	cpu->exception = (struct cpu_exception){0};
	cpu->next_rip = cpu->rip + len;
	if (_setjmp(cpu->unwind)) /* or it went well, and has the loop begin anew: cpu_restart */
		return cpu->exception.pending ? cpu->exception.vector : FR_FINE;
	interp_handler(cpu, &insn)(cpu, &insn);
	cpu->rip = cpu->next_rip;
	return FR_FINE;
}

int fr_deliver(struct far_rig *r, enum deliver_kind kind, uint8_t vector, bool has_error,
	       uint32_t error)
{
	struct cpu *cpu = r->cpu;

	mmu_flush(cpu, true);
	cpu->exception = (struct cpu_exception){0};
	if (_setjmp(cpu->unwind)) /* or it went well, and has the loop begin anew: cpu_restart */
		return cpu->exception.pending ? cpu->exception.vector : FR_FINE;
	interp_deliver(cpu, kind, vector, has_error, error);
	return FR_FINE;
}
