/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs cases in the software engine: one vCPU as Linux has its own, in user mode, with page
 * tables that map the windows where the host has them.
 *
 * Exceptions are delivered in earnest, through an IDT and a stack of ring 0: each vector's
 * handler is a HLT, and what the processor would have pushed is what is compared. The GDT is
 * the host's as far as user mode can find it out by LAR and LSL.
 *
 *	guest physical
 *	0x001000  page tables        0x100000  code, data, exit page
 *	0x200000  IDT, GDT, TSS, stack of ring 0, handlers: at KERNEL + this
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "core/bus.h"
#include "core/mem.h"
#include "core/x86/segment.h"
#include "engine/bt/cpu.h"
#include "engine/bt/features.h"
#include "engine/bt/fpu/trap.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/step.h"
#include "engine/bt/translate/region.h"
#include "engine/bt/vm.h"
#include "execute.h"
#include "segments.h"

#define RAM_SIZE   0x400000u
#define TABLES_GPA 0x1000u
#define CODE_GPA   0x100000u
#define DATA_GPA   0x110000u
#define EXIT_GPA   0x120000u
#define KERNEL_GPA 0x200000u
#define KERNEL     0xffff900000000000u
#define IDT_AT     (KERNEL + KERNEL_GPA)
#define GDT_AT     (KERNEL + KERNEL_GPA + 0x1000)
#define TSS_AT     (KERNEL + KERNEL_GPA + 0x2000)
#define STACK_AT   (KERNEL + KERNEL_GPA + 0x5000) /* its top */
#define HANDLER_AT (KERNEL + KERNEL_GPA + 0x6000)
#define LDT_AT     (KERNEL + KERNEL_GPA + 0x1800)
#define SEL_KERNEL 0x10
#define SEL_TSS    0x40
#define GDT_LIMIT  127
#define CODE_ROOM  0x40000u /* of translated code: used up often */
#define TICKS      3        /* that a case may run for */

/* All of lodge's world. */
struct world {
	struct mem mem;
	struct bus pio, mmio;
	struct engine_env env;
	struct vm vm;
	struct cpu cpu;
	uint8_t *ram;
	uint64_t next_table;
	struct segment seg[GDT_LIMIT / 8 + 1]; /* of each selector that user code can load */
	struct segment local[LDT_SEGMENTS];
	execute_fn execute;
	volatile unsigned ticks; /* left to the case under way; 0: there is none */
	uint8_t room[] __attribute__((aligned(64))); /* beside the vCPU: mmu_room(), BLOCKS_ROOM */
};

static struct world *world;

static void put64(uint64_t gpa, uint64_t v)
{
	memcpy(world->ram + gpa, &v, 8);
}

static uint64_t get64(uint64_t gpa)
{
	uint64_t v;

	memcpy(&v, world->ram + gpa, 8);
	return v;
}

static void map_page(uint64_t linear, uint64_t gpa, uint64_t bits)
{
	uint64_t table = TABLES_GPA, at;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		at = table + (linear >> shift & 511) * 8;
		if (!(get64(at) & PTE_P)) {
			put64(at, world->next_table | PTE_P | PTE_RW | PTE_US | PTE_A);
			world->next_table += PAGE;
		}
		table = get64(at) & PTE_ADDR;
	}
	put64(table + (linear >> 12 & 511) * 8, gpa | bits | PTE_P | PTE_A | PTE_D);
}

static void map_all(void)
{
	const uint64_t rw = PTE_US | PTE_RW | PTE_NX;

	world->next_table = TABLES_GPA + PAGE;
	for (unsigned i = 0; i < CASE_PAGES; i++)
		map_page(CODE_ADDR + i * PAGE, CODE_GPA + i * PAGE, PTE_US);
	for (unsigned i = 0; i < DATA_PAGES; i++)
		map_page(DATA_ADDR + i * PAGE, DATA_GPA + i * PAGE,
			 i * PAGE < DATA_RW ? rw : PTE_US | PTE_NX);
	map_page(HIGH_ADDR, DATA_GPA, rw);
	map_page(HIGH_ADDR + 2 * PAGE, DATA_GPA + PAGE, rw);
	map_page(HIGH_ADDR + 3 * PAGE, DATA_GPA + 2 * PAGE, PTE_US | PTE_NX);
	map_page(EXIT_ADDR, EXIT_GPA, PTE_US);
	for (unsigned i = 0; i < 8; i++)
		map_page(KERNEL + KERNEL_GPA + i * PAGE, KERNEL_GPA + i * PAGE, PTE_RW);
}

void lodge_exit_page(void)
{
	memcpy(world->ram + EXIT_GPA, native_exit_page(), PAGE);
}

/* What LAR and LSL say of the host's segment; false: user mode cannot see it. */
static bool host_segment(uint16_t selector, struct segment *s)
{
	uint32_t rights = 0, limit = 0;
	bool good;

	__asm__("lar %3, %1\n\tsetz %0\n\tlsl %3, %2"
		: "=&q"(good), "+&r"(rights), "+&r"(limit)
		: "r"((uint32_t)selector)
		: "cc");
	*s = (struct segment){
		.selector = selector,
		.attr = rights >> 8 & 0xf0ff,
		.limit = limit,
	};
	return good && (rights >> 8 & SEG_ATTR_S);
}

/* The bases are those that segments_install has asked for; a process without a table sees none. */
static void build_ldt(void)
{
	for (unsigned i = 0; i < LDT_SEGMENTS; i++) {
		struct segment *s = &world->local[i];

		if (!host_segment(SEL_LDT(i), s))
			continue;
		s->base = ldt_entry(i)->base;
		put64(LDT_AT - KERNEL + i * 8, segment_to_descriptor(s));
	}
}

static void build_tables(void)
{
	uint64_t gdt = GDT_AT - KERNEL, idt = IDT_AT - KERNEL, tss = TSS_AT - KERNEL;
	struct segment s;

	build_ldt();
	for (unsigned i = 1; i <= GDT_LIMIT / 8; i++) {
		if (host_segment((uint16_t)(i * 8 | 3), &s)) {
			world->seg[i] = s;
			put64(gdt + i * 8, segment_to_descriptor(&s));
		}
	}
	s = segment_flat_code64(SEL_KERNEL);
	put64(gdt + SEL_KERNEL, segment_to_descriptor(&s));
	s = segment_flat_data(SEL_KERNEL + 8);
	put64(gdt + SEL_KERNEL + 8, segment_to_descriptor(&s));
	put64(tss + 4, STACK_AT);      /* RSP0 */
	world->ram[tss + 0x66] = 0x68; /* no I/O bitmap */
	for (unsigned i = 0; i < 256; i++) {
		uint64_t at = HANDLER_AT + i, dpl = i == 3 || i == 4 ? 3 : 0;

		put64(idt + 16 * i, (at & 0xffff) | SEL_KERNEL << 16 |
					    (0x8e00ULL | dpl << 13) << 32 |
					    (at >> 16 & 0xffff) << 48);
		put64(idt + 16 * i + 8, at >> 32);
	}
	memset(world->ram + (HANDLER_AT - KERNEL), 0xf4, 256); /* HLT */
}

void host_cpuid(struct cpuid_table *t)
{
	static const uint32_t leaves[][2] = {{0, 0},          {1, 0},          {7, 0},
					     {7, 1},          {0xd, 0},        {0xd, 1},
					     {0xd, 2},        {0x80000000, 0}, {0x80000021, 0},
					     {0x80000001, 0}, {0x80000008, 0}};

	for (unsigned i = 0; i < ARRAY_LEN(leaves); i++) {
		struct cpuid_entry e = {.leaf = leaves[i][0], .subleaf = leaves[i][1]};

		e.indexed = e.leaf == 7 || e.leaf == 0xd;
		__cpuid_count(e.leaf, e.subleaf, e.eax, e.ebx, e.ecx, e.edx);
		cpuid_put(t, &e);
	}
}

static void control_registers(struct cpu *cpu)
{
	cpu->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
	cpu->cr3 = TABLES_GPA;
	cpu->cr4 = CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP |
		   CR4_FSGSBASE | CR4_OSXSAVE | CR4_SMEP;
	cpu->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	cpu->xcr0 = 7;
	cpu->dr6 = DR6_RESET;
	cpu->dr7 = DR7_RESET;
	cpu->gdt = (struct descriptor_table){.base = GDT_AT, .limit = GDT_LIMIT};
	cpu->idt = (struct descriptor_table){.base = IDT_AT, .limit = 4095};
	cpu->tr = segment_tss(SEL_TSS, TSS_AT, 0x67);
	cpu->ldtr = (struct segment){
		.attr = SEG_TYPE_LDT | SEG_ATTR_P,
		.base = LDT_AT,
		.limit = LDT_SEGMENTS * 8 - 1,
	};
}

static void code_stale(void *opaque, uint64_t gpa)
{
	blocks_written(opaque, gpa);
}

static int build_translator(struct cpu *cpu)
{
	struct err e = {0};

	if (blocks_init(cpu, CODE_ROOM, world->room + mmu_room(), &e))
		return -ENOMEM;
	cpu->step = translated_step;
	world->vm.pages.stale = code_stale;
	world->vm.pages.opaque = cpu->translator;
	return 0;
}

static int build_cpu(void)
{
	struct cpu *cpu = &world->cpu;
	struct err e = {0};
	unsigned a, b, c, d;

	__cpuid(0, a, b, c, d);
	world->vm.amd = cpu->amd = c == signature_AMD_ecx;
	world->vm.decoder = decoder_new(cpu->amd, &e);
	if (!world->vm.decoder)
		return -ENOENT;
	cpu->vm = &world->vm;
	world->vm.cpu[0] = cpu;
	exclusive_init(&world->vm.exclusive);
	host_cpuid(&cpu->cpuid);
	features_apply(cpu);
	if (msr_init(cpu))
		return -ENOMEM;
	control_registers(cpu);
	cpu->tlb_room = world->room;
	if (mmu_init(cpu) || code_cache_init(cpu) || fpu_init(&cpu->fpu, &e))
		return -ENOMEM;
	if (build_translator(cpu))
		return -ENOMEM;
	/* So that its handler of SIGFPE comes now, before native.c's. */
	trap_catch(&cpu->fpu, true);
	trap_done();
	exclusive_enter(cpu);
	return 0;
}

int lodge_init(struct memory *m, const char *executor)
{
	struct err e = {0};

	world = mmap(NULL, sizeof *world + mmu_room() + BLOCKS_ROOM, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (world == MAP_FAILED || !(world->execute = execute_by(executor)) ||
	    mem_init(&world->mem, 0, &e) || mem_add_ram(&world->mem, 0, RAM_SIZE, &e))
		return -ENOMEM;
	world->ram = mem_ptr_rw(&world->mem, 0, RAM_SIZE);
	bus_init(&world->pio, "pio", 0xffff);
	bus_init(&world->mmio, "mmio", UINT64_MAX);
	world->env = (struct engine_env){
		.mem = &world->mem,
		.pio = &world->pio,
		.mmio = &world->mmio,
	};
	world->vm.env = &world->env;
	if (pages_map(&world->vm.pages, &world->mem.regions[0]))
		return -ENOMEM;
	map_all();
	build_tables();
	m->code = world->ram + CODE_GPA;
	m->data = world->ram + DATA_GPA;
	memset(m->code, 0xcc, CODE_SIZE);
	return build_cpu();
}

/* A segment register with that selector loaded. */
static struct segment loaded(uint16_t selector, uint64_t base)
{
	struct segment s = {.selector = selector, .attr = SEG_ATTR_UNUSABLE};

	if (ldt_index(selector) >= 0)
		s = world->local[selector >> 3];
	else if (selector & ~3u)
		s = world->seg[selector >> 3];
	s.selector = selector;
	s.base = base;
	return s;
}

static void load(struct cpu *cpu, const struct state *in)
{
	static const uint8_t init_x87[2] = {0x7f, 3};
	uint8_t *area = cpu->fpu.area;

	memcpy(cpu->gpr, in->gpr, sizeof in->gpr);
	cpu->rip = in->rip;
	for (unsigned i = 0; i < SEGS; i++)
		cpu->seg[i] = loaded(in->sel[i], i == SEG_FS   ? in->fs_base
						 : i == SEG_GS ? in->gs_base
							       : segment_base(in->sel[i]));
	cpu->cpl = 3;
	cpu->rflags = in->rflags;
	cpu->exception.pending = false;
	cpu->delivering.active = false;
	cpu->shadow_sti = cpu->shadow_mov_ss = cpu->shadow_held = cpu->halted = false;
	cpu->debug_hits = 0;
	cpu->activity = VCPU_RUNNING;
	atomic_store(&cpu->attention, 0);
	cpu_update_mode(cpu);
	cpu_update_trace(cpu);
	cpu_forget_code(cpu);
	memcpy(area, in->xsave, XSAVE_AREA);
	/* As XRSTOR loads it. */
	if (!(area[512] & XSTATE_X87)) {
		memset(area, 0, 24);
		memset(area + 32, 0, 128);
		memcpy(area, init_x87, 2);
	}
	if (!(area[512] & XSTATE_SSE))
		memset(area + 160, 0, 256);
	if (!(area[512] & XSTATE_AVX))
		memset(area + FPU_YMM_HI, 0, 256);
	memset(area + 512, 0, 64);
	cpu->fpu.fcs = cpu->fpu.fds = 0;
	fpu_normalise(&cpu->fpu);
}

static void store(struct cpu *cpu, struct outcome *out)
{
	struct state *s = &out->s;

	memcpy(s->gpr, cpu->gpr, sizeof s->gpr);
	s->rip = cpu->rip;
	s->rflags = cpu->rflags;
	for (unsigned i = 0; i < SEGS; i++)
		s->sel[i] = cpu->seg[i].selector;
	s->fs_base = cpu->seg[SEG_FS].base;
	s->gs_base = cpu->seg[SEG_GS].base;
	memcpy(s->xsave, cpu->fpu.area, XSAVE_AREA);
	/* As XSAVE64 shows it. */
	fpu_store_x87(&cpu->fpu, true, s->xsave);
	out->error = 0;
	out->cr2 = cpu->cr2;
}

/* What the exception's delivery pushed is the state that it met. */
static void unwind(struct cpu *cpu, struct outcome *out)
{
	uint64_t sp = cpu->gpr[GPR_RSP] - KERNEL, frame[5];
	bool has_error = STACK_AT - cpu->gpr[GPR_RSP] == 48;

	out->end = (unsigned)(cpu->rip - 1 - HANDLER_AT);
	if (has_error) {
		out->error = (uint32_t)get64(sp);
		sp += 8;
	}
	memcpy(frame, world->ram + sp, sizeof frame);
	out->s.rip = frame[0];
	out->s.sel[SEG_CS_] = (uint16_t)frame[1];
	out->s.rflags = frame[2];
	out->s.gpr[GPR_RSP] = frame[3];
	out->s.sel[SEG_SS_] = (uint16_t)frame[4];
}

/* What runs on to EXIT_ADDR meets there an access to a page that is the host's side's alone. */
static bool exited(const struct cpu *cpu, const struct outcome *out)
{
	return out->end == VECTOR_PF && cpu->cr2 - SCRATCH < PAGE && out->s.rip == EXIT_ADDR &&
	       out->s.sel[SEG_CS_] == SEL_CODE64;
}

/* Status flags that translated code need not have kept where an exception was raised: those that
 * the code there writes before it reads them, as far as the translator looks ahead. */
static uint64_t status_dead(struct cpu *cpu, const struct outcome *out)
{
	static struct region region;
	uint64_t linear, gpa;

	load(cpu, &out->s);
	linear = cpu->rip + cpu->seg[SEG_CS].base;
	if (cpu->decode == DECODE_16 || !mmu_fill_code(cpu, linear, &gpa))
		return 0;
	region_read(cpu, &region, linear, gpa | (linear % PAGE));
	region_analyse(cpu, &region);
	return FLAGS_STATUS & ~(uint64_t)region.live;
}

static bool translates(const struct test_case *c)
{
	return world->execute != execute_by("interp") && c->mode != MODE_16;
}

bool lodge_learns(const struct test_case *c)
{
	return translates(c) && c->number & 1;
}

void lodge_tick(void)
{
	if (world && world->ticks && !--world->ticks)
		cpu_attention(&world->cpu, ATTENTION_KICK);
}

/* Every other pair of cases is hot code. */
static void choose_hot(struct translator *t, const struct test_case *c)
{
	t->hot.first = c->number & 2 ? HOT_ALL : HOT_NONE;
	if (t->hot.sites == TLB_SITES)
		blocks_forget(t);
}

void lodge_run(const struct test_case *c, struct outcome *out)
{
	struct cpu *cpu = &world->cpu;
	const struct ending end = {
		.has_rip = c->tail,
		.rip = c->in.rip + c->len,
		.cs = c->in.sel[SEG_CS_],
	};
	enum interp_exit exit;

	load(cpu, &c->in);
	choose_hot(cpu->translator, c);
	world->ticks = TICKS;
	exit = world->execute(cpu, &end);
	world->ticks = 0;
	store(cpu, out);
	if (exit == INTERP_HALTED) {
		unwind(cpu, out);
		out->status_lost = translates(c) ? status_dead(cpu, out) : 0;
		if (exited(cpu, out)) {
			out->end = END_REACHED;
			out->error = 0;
		}
	} else if (exit == INTERP_BUDGET && execute_ended(cpu, &end)) {
		out->end = END_REACHED;
	} else if (exit == INTERP_BUDGET || exit == INTERP_KICKED) {
		out->end = END_TIMEOUT;
	} else {
		out->end = 300 + exit;
	}
}

void lodge_code_written(uint64_t at, uint64_t len)
{
	pages_written(&world->vm.pages, CODE_GPA + at, len);
}
