/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is a vCPU's state, changes of the tables that it finds in memory
 * (interp_guest.h), and code. It is executed for some time; whatever a guest does, what
 * the interpreter keeps must then be consistent, nothing outside guest memory touched
 * (RAM lies between guard pages), and the state one that can be taken and set again.
 *
 *	struct start | count x struct patch | code
 *
 * One bit of the start has 64-bit code translated, and every block held against the interpreter
 * (runtime/tandem.h): where they differ, lodge aborts.
 */
#include <assert.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "core/x86/msr.h"
#include "engine/bt/fpu/fpu.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/kvmclock.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/step.h"
#include "interp_machine.h"

#define BUDGET      500
#define BLOCKS      200  /* instead, of what is translated */
#define TIME        4000 /* microseconds, where instructions are traced, and not counted */
#define PATCHES_MAX 64
#define INPUT_MAX   0x1800
#define OPCODE_HLT  0xf4
#define INTR_VECTOR 0x40

/* What is not the interpreter: the fuzzer has nothing to find there. */
#define UNOBSERVED __attribute__((no_sanitize("coverage")))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum start_mode {
	START_REAL,
	START_UNREAL,
	START_VM86,
	START_PROTECTED_16,
	START_PROTECTED_32,
	START_COMPAT,
	START_LONG,
	START_MODES,
	START_CHECKED = 0x80, /* beside one of them */
};

/* Bits of struct start's flags. */
enum {
	START_AMD = 1 << 0,
	START_USER = 1 << 1,
	START_PAGING = 1 << 2,
	START_PAE = 1 << 3,
	START_LA57 = 1 << 4,
	START_NMI = 1 << 5,
	START_INTR = 1 << 6,
	START_EXCEPTION = 1 << 7,
};

struct start {
	uint8_t mode;
	uint8_t flags;
	uint8_t patches;
	uint8_t at; /* where in the page the code begins, in 16 bytes; upper half: from its end */
	uint32_t cr0, cr4, rflags; /* bits to change */
	uint16_t efer;
	uint8_t events;
	uint8_t vector;
	uint32_t mxcsr;
	uint16_t fcw, fsw;
	uint32_t dr7;
	uint8_t dr[4];
	uint8_t gpr[GPR_COUNT];
	uint8_t seg[SEG_COUNT][2];
} __attribute__((packed));

struct patch {
	uint16_t at; /* in 4 bytes */
	uint32_t value;
} __attribute__((packed));

/* What a register may hold: addresses at the edges of things, numbers of MSRs, ports, selectors. */
static const uint64_t values[] = {
	0,
	1,
	2,
	3,
	7,
	0x10,
	0x40,
	0x7f,
	0x80,
	0xff,
	0x3f8,
	0xfff,
	0x7fff,
	0x8000,
	0xffff,
	INT32_MAX,
	0x80000000,
	UINT32_MAX,
	UINT32_MAX - 2,
	INT64_MAX,
	1ULL << 63,
	UINT64_MAX,
	UINT64_MAX - 5,
	GUEST_DATA,
	GUEST_DATA + 1,
	GUEST_DATA + 0xffc,
	GUEST_DATA + 0xfc0,
	GUEST_STACK,
	GUEST_STACK - 3,
	GUEST_CODE,
	GUEST_CODE + 0xff9,
	GUEST_SECOND - 4,
	GUEST_DEVICE - 4,
	GUEST_DEVICE,
	GUEST_DEVICE + 0xffc,
	GUEST_THIRD,
	GUEST_END - 4,
	GUEST_END,
	GUEST_PT,
	GUEST_PT + 8 * 0x10,
	GUEST_PD,
	GUEST_PDPT,
	GUEST_PML4,
	GUEST_PML5,
	GUEST_PAE_PDPT,
	GUEST_PAE_PD,
	GUEST_PD32,
	GUEST_PT32,
	GUEST_GDT,
	GUEST_IDT,
	GUEST_IDT64,
	GUEST_TSS32,
	GUEST_TSS64,
	GUEST_LDT,
	0x1ffffc,
	0x200000 + GUEST_CODE,
	0x400000 + GUEST_DATA,
	0x400300,
	0x600000,
	0x7ffffe,
	0xfee00000,
	0xfee00300,
	0x7ffffffffffc,
	0x800000000000,
	0xffff800000000000,
	0xffffff8000000000 + GUEST_CODE,
	0xffffffffffffe000,
	1ULL << 56,
	0x40000000,
	0x40000001,
	0x80000008,
	0xd,
	0xc0000080,
	0xc0000081,
	0xc0000082,
	0xc0000084,
	0xc0000100,
	0xc0000101,
	0xc0000102,
	0xc0000103,
	MSR_IA32_TSC_DEADLINE,
	0x10,
	0x1b,
	0x3b,
	0x1d9,
	0x277,
	0x2ff,
	0x174,
	0x175,
	0x176,
	0x800,
	0x830,
	0x838,
	0xc80,
	0xda0,
	MSR_KVM_SYSTEM_TIME,
	MSR_KVM_WALL_CLOCK,
	0xc0010015,
	0x401,
	SEL_CODE64,
	SEL_DATA,
	SEL_USER_DATA,
	SEL_USER_CODE64,
	SEL_CODE32,
	SEL_CODE16,
	SEL_USER_CODE32,
	SEL_TSS32,
	SEL_TSS64,
	SEL_LDT,
	SEL_CALL32,
	SEL_CALL64,
	SEL_TASK,
	SEL_OTHER_TSS32,
	SEL_OTHER_TSS16,
	SEL_CONFORMING,
	SEL_EXPAND_DOWN,
	SEL_LDT_DATA,
	CR0_PE | CR0_PG | CR0_ET,
	CR0_PE | CR0_ET,
	CR0_ET,
	CR0_PE | CR0_PG | CR0_ET | CR0_AM,
	0x3f3f3f3f,
	0x1f80,
	0x37f,
	0x8000000000000007,
};

/* What replaces a segment's limit, base and attributes. */
static const uint32_t limits[] = {0, 1, 0xfff, 0xffff, GUEST_END, 0x7fffffff, UINT32_MAX};

static uint64_t value_of(uint8_t n)
{
	return values[n % ARRAY_LEN(values)];
}

/* --- the start ------------------------------------------------------------------------------- */

UNOBSERVED static void start_memory(struct machine *m, const struct start *s, const uint8_t *rest,
				    size_t size)
{
	static uint8_t clean[GUEST_END], ram[GUEST_END];
	unsigned patches = s->patches % PATCHES_MAX;
	uint64_t at = GUEST_CODE;

	if (!clean[GUEST_CODE]) {
		guest_make(clean);
		memset(clean + GUEST_CODE, OPCODE_HLT, 2 * GUEST_PAGE_SIZE);
	}
	memcpy(ram, clean, sizeof(ram));
	for (; patches && size >= sizeof(struct patch); patches--) {
		struct patch p;

		memcpy(&p, rest, sizeof(p));
		rest += sizeof(p);
		size -= sizeof(p);
		if (p.at * 4u + 4 <= sizeof(ram))
			store_le(ram + p.at * 4u, 4, p.value);
	}
	size = MIN(size, INPUT_MAX);
	at += s->at & 0x80 ? GUEST_PAGE_SIZE - (s->at & 0x7f) : 0;
	memcpy(ram + at, rest, size);
	memcpy(ram + GUEST_DATA, rest, size);
	for (unsigned i = 0; i < ARRAY_LEN(regions); i++)
		memcpy(m->mem.regions[i].host, ram + regions[i][0], regions[i][1]);
	for (unsigned i = 0; i < ARRAY_LEN(regions); i++)
		pages_written(&m->vm->vm.pages, regions[i][0], regions[i][1]);
}

static struct segment segment_of(uint16_t selector, uint64_t base, uint32_t limit, uint32_t attr)
{
	return (struct segment){.selector = selector, .attr = attr, .limit = limit, .base = base};
}

static void start_segments(struct vcpu_state *v, const struct start *s, bool user)
{
	static const struct {
		uint16_t code[2], data[2];
		uint32_t code_attr, data_attr;
		uint64_t base;
		uint32_t limit;
	} by_mode[] = {
		[START_REAL] = {{0x1000, 0x1000}, {0x2000, 0x2000}, 0x93, 0x93, 1, 0xffff},
		[START_UNREAL] = {{0x1000, 0x1000}, {0x2000, 0x2000}, 0x93, 0x93, 1, UINT32_MAX},
		[START_VM86] = {{0x1000, 0x1000}, {0x2000, 0x2000}, 0xf3, 0xf3, 1, 0xffff},
		[START_PROTECTED_16] = {{SEL_CODE16, SEL_CODE16_USER},
					{SEL_DATA, SEL_USER_DATA},
					0x9b,
					0x93,
					0,
					UINT32_MAX},
		[START_PROTECTED_32] = {{SEL_CODE32, SEL_USER_CODE32},
					{SEL_DATA, SEL_USER_DATA},
					0xc09b,
					0xc093,
					0,
					UINT32_MAX},
		[START_COMPAT] = {{SEL_CODE32, SEL_USER_CODE32},
				  {SEL_DATA, SEL_USER_DATA},
				  0xc09b,
				  0xc093,
				  0,
				  UINT32_MAX},
		[START_LONG] = {{SEL_CODE64, SEL_USER_CODE64},
				{SEL_DATA, SEL_USER_DATA},
				0xa09b,
				0xc093,
				0,
				UINT32_MAX},
	};
	__typeof__(&by_mode[0]) w = &by_mode[s->mode % START_MODES];
	uint32_t dpl = user ? 3u << SEG_ATTR_DPL_SHIFT : 0;

	for (unsigned i = 0; i < SEG_COUNT; i++) {
		uint16_t selector = i == SEG_CS ? w->code[user] : w->data[user];
		uint64_t base = w->base ? (uint64_t)selector << 4 : 0;
		uint32_t limit = w->limit;

		if (i >= SEG_DS && s->seg[i][0])
			base = value_of(s->seg[i][0]);
		if (s->seg[i][1])
			limit = limits[s->seg[i][1] % ARRAY_LEN(limits)];
		v->seg[i] = segment_of(selector, base, limit,
				       (i == SEG_CS ? w->code_attr : w->data_attr) | dpl);
	}
	v->gdt = (struct descriptor_table){.base = GUEST_GDT, .limit = GUEST_GDT_LIMIT};
	v->ldtr = segment_of(SEL_LDT, GUEST_LDT, 0xff, 0x82);
}

static void start_control(const struct cpu *cpu, struct vcpu_state *v, const struct start *s)
{
	bool protected = s->mode % START_MODES >= START_VM86;
	bool ia32e = s->mode % START_MODES >= START_COMPAT;
	uint64_t fixed = CR0_PE | CR0_PG | CR0_NW | CR0_CD;

	v->cr0 = (CR0_ET | CR0_NE | CR0_WP) ^ (s->cr0 & ~fixed);
	v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_PSE | CR4_DE;
	v->cr4 = (v->cr4 ^ (s->cr4 & ~(CR4_PAE | CR4_PCIDE | CR4_LA57))) & cpu->msrs->cr4_allowed;
	v->efer = (s->efer ^ EFER_NXE ^ EFER_SCE) & cpu->msrs->efer_allowed &
		  ~(EFER_LME | EFER_LMA);
	v->cr3 = GUEST_PD32;
	if (protected)
		v->cr0 |= CR0_PE;
	if (ia32e || (protected && s->flags & START_PAGING))
		v->cr0 |= CR0_PG;
	if (ia32e) {
		v->efer |= EFER_LME | EFER_LMA;
		v->cr3 = GUEST_PML4;
		v->cr4 |= CR4_PAE | (s->cr4 & CR4_PCIDE & cpu->msrs->cr4_allowed);
		if (s->flags & START_LA57 && cpu->msrs->cr4_allowed & CR4_LA57) {
			v->cr4 |= CR4_LA57;
			v->cr3 = GUEST_PML5;
		}
	} else if (s->flags & START_PAE) {
		v->cr4 |= CR4_PAE;
		v->cr3 = GUEST_PAE_PDPT;
	}
	v->tr = segment_of(SEL_TSS32, GUEST_TSS32, GUEST_TSS_LIMIT, 0x8b);
	v->idt = (struct descriptor_table){.base = GUEST_IDT, .limit = 0x7ff};
	if (ia32e) {
		v->tr = segment_of(SEL_TSS64, GUEST_TSS64, GUEST_TSS_LIMIT, 0x8b);
		v->idt = (struct descriptor_table){.base = GUEST_IDT64, .limit = 0xfff};
	} else if (!protected) {
		v->idt = (struct descriptor_table){.base = 0, .limit = 0x3ff};
	}
	v->xcr0 = cpu->msrs->xcr0_allowed;
}

static void start_registers(struct vcpu_state *v, const struct start *s, bool user)
{
	unsigned mode = s->mode % START_MODES;
	uint64_t flags = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF |
			 RFLAGS_IF | RFLAGS_DF | RFLAGS_OF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF |
			 RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID;

	(void)user;
	for (unsigned i = 0; i < GPR_COUNT; i++)
		v->gpr[i] = value_of(s->gpr[i]);
	if (!s->gpr[GPR_RSP])
		v->gpr[GPR_RSP] = mode < START_PROTECTED_16 ? 0x8000 : GUEST_STACK - 0x1000;
	v->rip = mode < START_PROTECTED_16 ? 0 : GUEST_CODE;
	v->rip += s->at & 0x80 ? GUEST_PAGE_SIZE - (s->at & 0x7f) : s->at * 16u;
	v->rflags = RFLAGS_FIXED | (s->rflags & flags) | (mode == START_VM86 ? RFLAGS_VM : 0);
	for (unsigned i = 0; i < 4; i++)
		v->dr[i] = s->dr[i] ? value_of(s->dr[i]) : GUEST_CODE + 4;
	v->dr7 = s->dr7 | DR7_RESET;
	store_le(v->xsave + XSAVE_FCW, 2, s->fcw ^ 0x37f);
	store_le(v->xsave + XSAVE_FCW + 2, 2, s->fsw);
	store_le(v->xsave + XSAVE_MXCSR, 4, (s->mxcsr ^ 0x1f80) & 0xffff);
	store_le(v->xsave + XSAVE_XSTATE_BV, 8, XSTATE_X87 | XSTATE_SSE);
}

static bool start(struct machine *m, const struct start *s)
{
	static struct vcpu_state v;
	unsigned mode = s->mode % START_MODES;
	bool user = mode == START_VM86 || (mode > START_VM86 && s->flags & START_USER);

	v = m->reset;
	v.msr_count = 0; /* all as at power-on */
	start_segments(&v, s, user);
	start_control(m->cpu, &v, s);
	start_registers(&v, s, user);
	v.events.shadow_sti = s->events & 1;
	v.events.shadow_mov_ss = s->events & 2;
	v.events.nmi_masked = s->events & 4;
	v.activity = s->events & 8 ? VCPU_HALTED : VCPU_RUNNING;
	if (s->flags & START_EXCEPTION) {
		v.events.exception_pending = true;
		v.events.exception_vector = s->vector;
		v.events.exception_has_error = s->events & 0x10;
		v.events.exception_error = s->mxcsr;
	}
	atomic_store(&m->cpu->attention, 0);
	m->intr_vector = INTR_VECTOR;
	if (cpu_set_state(m->cpu, &v, NULL))
		return false;
	if (s->flags & START_NMI)
		cpu_attention(m->cpu, ATTENTION_NMI);
	if (s->flags & START_INTR)
		cpu_attention(m->cpu, ATTENTION_INTR);
	return true;
}

/* --- what must hold -------------------------------------------------------------------------- */

UNOBSERVED static void check_mode(struct cpu *cpu)
{
	uint8_t mode = cpu->mode, decode = cpu->decode;
	uint64_t rip_mask = cpu->rip_mask, sp_mask = cpu->sp_mask;

	cpu_update_mode(cpu);
	assert(mode == cpu->mode && decode == cpu->decode);
	assert(rip_mask == cpu->rip_mask && sp_mask == cpu->sp_mask);
	assert(cpu->cpl <= 3 && (mode != CPU_REAL || cpu->cpl == 0));
	assert(mode != CPU_VM86 || cpu->cpl == 3);
	assert(!(cpu->cr0 & CR0_PG) || (cpu->cr0 & CR0_PE));
	assert(!!(cpu->efer & EFER_LMA) == (cpu->cr0 & CR0_PG && cpu->efer & EFER_LME));
	assert(!(cpu->efer & EFER_LMA) || (cpu->cr4 & CR4_PAE && !(cpu->rflags & RFLAGS_VM)));
	assert(!(cpu->rip & ~cpu->rip_mask));
	assert((cpu->rflags & 0xffffffffffc0802aULL) == RFLAGS_FIXED);
	assert(!(cpu->cr4 & ~cpu->msrs->cr4_allowed) && !(cpu->efer & ~cpu->msrs->efer_allowed));
	assert(!((uint32_t)load_le(cpu->fpu.area + XSAVE_MXCSR, 4) & ~cpu->fpu.host.mxcsr_mask));
}

/* A tag of entry n is that of its page, with the right to have it, or none. */
UNOBSERVED static bool check_tag(const struct tlb_entry *e, unsigned n, uint64_t tag,
				 unsigned right)
{
	if (tag == tlb_no_tag(n))
		return false;
	assert(e->record && e->rights & right && tag == (e->page & ~PAGE_OFFSET));
	return true;
}

UNOBSERVED static void check_entry(struct cpu *cpu, const struct tlb_set *set, unsigned n)
{
	const struct tlb_entry *e = &set->entry[n];
	bool writable = check_tag(e, n, set->write[n], TLB_WRITE);
	struct page *record;
	uint8_t *host;

	check_tag(e, n, set->read[n], TLB_READ);
	check_tag(e, n, e->exec, TLB_EXEC);
	if (!e->page) {
		assert(!e->record);
		return;
	}
	assert(e->listed[e->global] && (e->page & PAGE_OFFSET) == PAGE_OFFSET);
	if (!e->record)
		return;
	host = pages_host(&cpu->vm->pages, e->gpa, &record);
	assert(host && record == e->record);
	assert((uintptr_t)host == set->host[n]);
	assert(!writable || !(atomic_load(&record->flags) & PAGE_CODE));
}

UNOBSERVED static void check_tlb(struct cpu *cpu)
{
	const struct tlb *tlb = cpu->tlb;

	for (unsigned c = 0; c < TLB_CONTEXTS; c++) {
		const struct tlb_set *set = &tlb->set[c];

		for (unsigned g = 0; g < ARRAY_LEN(set->list); g++) {
			const uint16_t *list = set->list[g];

			assert(set->count[g] <= TLB_ENTRIES);
			for (unsigned i = 0; i < set->count[g]; i++) {
				assert(set->entry[list[i]].listed[g]);
				check_entry(cpu, set, list[i]);
			}
		}
	}
	assert(tlb->none->count[0] == 0 && tlb->none->count[1] == 0);
}

/* What is known of a page that was not written since is what stands there. */
UNOBSERVED static void check_code(struct cpu *cpu)
{
	for (unsigned h = 0; h < CODE_HASH_SIZE; h++) {
		for (const struct code_page *p = cpu->code->hash[h]; p; p = p->next) {
			struct page *record;
			const uint8_t *host = pages_host(&cpu->vm->pages, p->gpa, &record);

			assert(host && record == p->page && p->count <= p->room);
			if (p->generation != atomic_load(&record->generation))
				continue;
			for (unsigned at = 0; at < CODE_PAGE_SIZE; at++) {
				const struct insn *insn;

				if (!p->slot[at])
					continue;
				assert(p->slot[at] <= p->count);
				insn = &p->code[p->slot[at] - 1].insn;
				assert(at + insn->len <= CODE_PAGE_SIZE);
				assert(!memcmp(insn->bytes, host + at, insn->len));
			}
		}
	}
}

/* Taken, set and taken again, a state is the same. */
static void check_state(struct machine *m)
{
	static struct vcpu_state first, second;
	struct err e = ERR_INIT;

	cpu_get_state(m->cpu, &first);
	memset(first.lapic, 0, sizeof(first.lapic));
	if (cpu_set_state(m->cpu, &first, &e)) {
		fprintf(stderr, "%s\n", e.text);
		abort();
	}
	cpu_get_state(m->cpu, &second);
	memset(second.lapic, 0, sizeof(second.lapic));
	second.tsc = first.tsc;
	assert(!memcmp(&first, &second, sizeof(first)));
}

/* --- translated ------------------------------------------------------------------------------ */

static struct machine *running;
static unsigned blocks;

static void time_is_over(int sig)
{
	(void)sig;
	cpu_attention(running->cpu, ATTENTION_KICK);
}

/* One block, or one instruction in the interpreter. */
static void step(struct cpu *cpu)
{
	if (blocks-- == 0)
		cpu_attention(cpu, ATTENTION_KICK);
	atomic_store(&cpu->native.poll, 1);
	translated_step(cpu);
}

static enum interp_exit run_checked(struct machine *m)
{
	/* The stack pointer is the guest's when it comes. */
	struct sigaction act = {.sa_handler = time_is_over, .sa_flags = SA_ONSTACK | SA_RESTART};
	struct itimerval time = {.it_value.tv_usec = TIME}, none = {.it_value.tv_usec = 0};
	enum interp_exit exit;

	running = m;
	blocks = BLOCKS;
	m->cpu->step = step;
	gates_set_base(m->cpu);
	need(!sigaction(SIGVTALRM, &act, NULL) && !setitimer(ITIMER_VIRTUAL, &time, NULL));
	exit = interp_run(m->cpu, 0);
	need(!setitimer(ITIMER_VIRTUAL, &none, NULL));
	return exit == INTERP_KICKED ? INTERP_BUDGET : exit;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct machine *machines[2][2];
	struct machine **place, *m;
	bool checked;
	struct start s = {0};
	enum interp_exit exit;

	memcpy(&s, data, MIN(size, sizeof(s)));
	data += MIN(size, sizeof(s));
	size -= MIN(size, sizeof(s));
	checked = s.mode & START_CHECKED;
	s.mode &= ~START_CHECKED;
	if (checked) { /* what is traced is not translated */
		s.dr7 = 0;
		s.rflags &= ~(RFLAGS_TF | RFLAGS_RF);
	}
	place = &machines[checked][s.flags & START_AMD];
	if (!*place)
		*place = make_machine(s.flags & START_AMD, checked);
	m = *place;
	start_memory(m, &s, data, size);
	if (!start(m, &s))
		return -1;
	kvmclock_refresh(m->cpu);
	exclusive_enter(m->cpu);
	exit = checked ? run_checked(m) : interp_run(m->cpu, BUDGET);
	exclusive_leave(m->cpu);
	assert(exit == INTERP_BUDGET || exit == INTERP_HALTED || exit == INTERP_SHUTDOWN);
	assert(exit != INTERP_BUDGET || !m->cpu->exception.pending);
	check_mode(m->cpu);
	check_tlb(m->cpu);
	check_code(m->cpu);
	check_state(m);
	return 0;
}
