/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that other threads may touch of a vCPU is atomic: the request registers of
 * its local APIC, the kick, INIT and start-up messages. Whoever sets one of them
 * also sets `attention`, which the interpreter looks at before each instruction,
 * and posts the semaphore on which a halted vCPU waits (sem_post may be called from
 * a signal handler, as kick must).
 */
#include "engine_fake.h"

#include <assert.h>
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"

enum { COUNT_INSNS, COUNT_PIO, COUNT_MMIO, COUNT_INTERRUPTS, COUNT_HALTS, COUNTS };

static const char *const count_names[COUNTS] = {"instructions", "pio", "mmio", "interrupts",
						"halts"};

struct fake_region {
	const struct mem_region *_Atomic ram; /* NULL: not mapped */
	_Atomic uint64_t *dirty;              /* guest's writes; of the slot for good once made */
	size_t words;
};

struct engine_vm {
	const struct engine_env *env;
	struct fake_region regions[MEM_REGIONS_MAX];
	atomic_bool logging;
	atomic_bool extint;
	struct engine_vcpu *_Atomic vcpus[ENGINE_VCPUS_MAX];
	_Atomic uint64_t counts[COUNTS];
};

struct engine_vcpu {
	struct engine_vm *vm;
	unsigned id;
	struct cpuid_table cpuid;
	struct vcpu_state s; /* the vCPU thread's, or get_state's while it does not run */
	uint64_t isr[4];     /* in service; vCPU thread */

	_Atomic uint64_t irr[4]; /* requested */
	_Atomic uint64_t tmr[4]; /* and level-triggered */
	atomic_bool nmi, init, kicked;
	atomic_int sipi; /* vector, -1: none */
	atomic_bool attention;
	sem_t wake;
};

static void count(struct engine_vm *vm, unsigned what)
{
	atomic_fetch_add_explicit(&vm->counts[what], 1, memory_order_relaxed);
}

void fake_emit(struct buf *program, enum fake_op op, unsigned a, unsigned b, unsigned size,
	       int32_t imm)
{
	const uint8_t head[4] = {(uint8_t)op, (uint8_t)a, (uint8_t)b, (uint8_t)size};

	buf_add(program, head, sizeof(head));
	buf_add_le(program, (uint32_t)imm, 4);
}

/* --- VM --- */

static void fake_probe(struct engine_offer *offer, bool measure)
{
	*offer = (struct engine_offer){.usable = true,
				       .efficient = true,
				       .ratio = measure ? 1.0 : 0.0,
				       .caps = ENGINE_HAS_LAPIC};
}

static int fake_vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	*vm = calloc(1, sizeof(**vm));
	if (!*vm)
		return err_errno(e, ENOMEM, "cannot create a VM");
	(*vm)->env = env;
	return 0;
}

static void fake_vm_destroy(struct engine_vm *vm)
{
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++)
		assert(!atomic_load(&vm->vcpus[i]));
	for (unsigned i = 0; i < MEM_REGIONS_MAX; i++)
		free(vm->regions[i].dirty);
	free(vm);
}

/* As an Intel processor of the level x86-64-v3. */
static int fake_cpuid_supported(struct engine_vm *vm, struct cpuid_table *t, struct err *e)
{
	static const struct cpuid_entry leaves[] = {
		{0x0, 0, false, 0xd, 0x756e6547, 0x6c65746e, 0x49656e69},
		{0x1, 0, false, 0x50654, 0, 0x77fa3203 & ~BIT(27), 0x0f8bfbff},
		{0x6, 0, false, 4, 0, 0, 0},
		{0x7, 0, true, 0, 0x001c27ab, 0, 0},
		{0xd, 0, true, 7, 832, 832, 0},
		{0xd, 1, true, 1, 0, 0, 0},
		{0xd, 2, true, 256, 576, 0, 0},
		{0x80000001, 0, false, 0, 0, 0x121, 0x2c100800},
		{0x80000008, 0, false, 0x3028, 0, 0, 0},
	};

	(void)vm;
	(void)e;
	t->count = 0;
	for (unsigned i = 0; i < ARRAY_LEN(leaves); i++)
		cpuid_put(t, &leaves[i]);
	return 0;
}

static int fake_map(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	struct fake_region *r = &vm->regions[region->slot];

	if (atomic_load(&r->ram))
		return err_set(e, EEXIST, "memory slot %u is mapped", region->slot);
	if (!r->dirty) {
		r->words = (region->size / GUEST_PAGE_SIZE + 63) / 64;
		r->dirty = calloc(r->words, sizeof(*r->dirty));
		if (!r->dirty)
			return err_errno(e, ENOMEM, "cannot map memory");
	}
	atomic_store(&r->ram, region);
	return 0;
}

static int fake_unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	struct fake_region *r = &vm->regions[region->slot];

	if (!atomic_load(&r->ram))
		return err_set(e, ENOENT, "memory slot %u is not mapped", region->slot);
	atomic_store(&r->ram, NULL);
	return 0;
}

static void clear_dirty(struct engine_vm *vm)
{
	for (unsigned i = 0; i < MEM_REGIONS_MAX; i++)
		for (size_t w = 0; w < vm->regions[i].words; w++)
			atomic_store(&vm->regions[i].dirty[w], 0);
}

static int fake_dirty_start(struct engine_vm *vm, struct err *e)
{
	(void)e;
	clear_dirty(vm);
	atomic_store(&vm->logging, true);
	return 0;
}

static int fake_dirty_stop(struct engine_vm *vm, struct err *e)
{
	(void)e;
	atomic_store(&vm->logging, false);
	return 0;
}

static int fake_dirty_take(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
			   struct err *e)
{
	struct fake_region *r = &vm->regions[region->slot];

	if (!atomic_load(&vm->logging))
		return err_set(e, EINVAL, "dirty pages are not being recorded");
	for (size_t w = 0; w < r->words; w++)
		bitmap[w] |= atomic_exchange(&r->dirty[w], 0);
	return 0;
}

static size_t fake_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max)
{
	for (size_t i = 0; i < COUNTS && i < max; i++)
		stats[i] = (struct engine_stat){count_names[i], atomic_load(&vm->counts[i])};
	return COUNTS;
}

/* --- Interrupts: any thread --- */

static void notify(struct engine_vcpu *v)
{
	atomic_store(&v->attention, true);
	sem_post(&v->wake);
}

static void fake_kick(struct engine_vcpu *v)
{
	atomic_store(&v->kicked, true);
	notify(v);
}

static void fake_nmi(struct engine_vcpu *v)
{
	atomic_store(&v->nmi, true);
	notify(v);
}

static void deliver(struct engine_vcpu *v, uint32_t data)
{
	unsigned vector = data & MSI_DATA_VECTOR;

	switch (data >> MSI_DATA_DELIVERY_SHIFT & 7) {
	case 0: /* fixed */
	case 1: /* lowest priority */
		if (vector < 16)
			return;
		if (data & MSI_DATA_LEVEL)
			atomic_fetch_or(&v->tmr[vector / 64], BIT(vector % 64));
		else
			atomic_fetch_and(&v->tmr[vector / 64], ~BIT(vector % 64));
		atomic_fetch_or(&v->irr[vector / 64], BIT(vector % 64));
		break;
	case 4:
		atomic_store(&v->nmi, true);
		break;
	case 5:
		atomic_store(&v->init, true);
		break;
	case 6:
		atomic_store(&v->sipi, (int)vector);
		break;
	default:
		return;
	}
	notify(v);
}

static void fake_msi(struct engine_vm *vm, const struct msi_msg *msg)
{
	unsigned dest = msg->addr >> MSI_ADDR_DEST_SHIFT & 0xff;
	bool lowest = (msg->data >> MSI_DATA_DELIVERY_SHIFT & 7) == 1;

	for (unsigned id = 0; id < ENGINE_VCPUS_MAX; id++) {
		struct engine_vcpu *v = atomic_load(&vm->vcpus[id]);
		bool meant = dest == 0xff ||
			     (msg->addr & MSI_ADDR_LOGICAL ? id < 8 && dest & BIT(id) : dest == id);

		if (!v || !meant)
			continue;
		deliver(v, msg->data);
		if (lowest)
			return;
	}
}

static void fake_extint(struct engine_vm *vm, bool level)
{
	struct engine_vcpu *first = atomic_load(&vm->vcpus[0]);

	atomic_store(&vm->extint, level);
	if (first && level)
		notify(first);
}

/* --- Guest memory: vCPU thread --- */

/* The bytes at a guest physical address, or NULL where no mapped RAM holds them all. */
static uint8_t *ram_at(struct engine_vm *vm, uint64_t gpa, unsigned size)
{
	for (unsigned i = 0; i < MEM_REGIONS_MAX; i++) {
		const struct mem_region *r = atomic_load(&vm->regions[i].ram);

		if (r && gpa >= r->gpa && range_within(gpa - r->gpa, size, r->size))
			return r->host + (gpa - r->gpa);
	}
	return NULL;
}

static void mark(struct engine_vm *vm, uint64_t gpa, unsigned size)
{
	for (unsigned i = 0; i < MEM_REGIONS_MAX && atomic_load(&vm->logging); i++) {
		const struct mem_region *r = atomic_load(&vm->regions[i].ram);

		if (!r || gpa - r->gpa >= r->size)
			continue;
		for (uint64_t page = (gpa - r->gpa) / GUEST_PAGE_SIZE;
		     page <= (gpa - r->gpa + size - 1) / GUEST_PAGE_SIZE; page++)
			atomic_fetch_or(&vm->regions[i].dirty[page / 64], BIT(page % 64));
	}
}

static uint64_t load(struct engine_vm *vm, uint64_t gpa, unsigned size)
{
	const uint8_t *p = ram_at(vm, gpa, size);

	if (p && size == 8 && !((uintptr_t)p % 8)) /* as on a processor: whole or not at all */
		return atomic_load((const _Atomic uint64_t *)(const void *)p);
	if (p)
		return load_le(p, size);
	count(vm, COUNT_MMIO);
	return bus_read(vm->env->mmio, gpa, size);
}

static void store(struct engine_vm *vm, uint64_t gpa, unsigned size, uint64_t value)
{
	uint8_t *p = ram_at(vm, gpa, size);

	if (!p) {
		count(vm, COUNT_MMIO);
		bus_write(vm->env->mmio, gpa, size, value);
		return;
	}
	if (size == 8 && !((uintptr_t)p % 8))
		atomic_store((_Atomic uint64_t *)(void *)p, value);
	else
		store_le(p, size, value);
	mark(vm, gpa, size);
}

/* --- The processor: vCPU thread --- */

/* What one step led to: go on, or leave run(). */
#define GO_ON (-1)

static int highest(const uint64_t bits[4])
{
	for (int w = 3; w >= 0; w--)
		if (bits[w])
			return w * 64 + 63 - __builtin_clzll(bits[w]);
	return -1;
}

/* Enters the handler of a vector; false where there is none. */
static bool enter(struct engine_vcpu *v, unsigned vector)
{
	struct vcpu_state *s = &v->s;

	if ((vector + 1) * 8 > (unsigned)s->idt.limit + 1 || !s->idt.base ||
	    !ram_at(v->vm, s->idt.base + vector * 8, 8) || !ram_at(v->vm, s->gpr[GPR_RSP] - 16, 16))
		return false;
	s->gpr[GPR_RSP] -= 16;
	store(v->vm, s->gpr[GPR_RSP], 8, s->rip);
	store(v->vm, s->gpr[GPR_RSP] + 8, 8, s->rflags);
	s->rflags &= ~RFLAGS_IF;
	s->rip = load(v->vm, s->idt.base + vector * 8, 8);
	s->activity = VCPU_RUNNING;
	count(v->vm, COUNT_INTERRUPTS);
	return true;
}

static void start_up(struct engine_vcpu *v)
{
	int sipi;

	if (atomic_exchange(&v->init, false)) {
		vcpu_state_reset(&v->s, v->id);
		memset(v->isr, 0, sizeof(v->isr));
		v->s.activity = v->id ? VCPU_WAIT_SIPI : VCPU_RUNNING;
	}
	sipi = atomic_exchange(&v->sipi, -1);
	if (sipi >= 0 && v->s.activity == VCPU_WAIT_SIPI) {
		v->s.seg[SEG_CS] = segment_real((uint16_t)(sipi << 8));
		v->s.rip = 0;
		v->s.activity = VCPU_RUNNING;
	}
}

static bool wants_interrupts(const struct engine_vcpu *v)
{
	return v->s.rflags & RFLAGS_IF &&
	       (v->s.activity == VCPU_RUNNING || v->s.activity == VCPU_HALTED);
}

/* Takes at most one interrupt, the most urgent; false: it led nowhere. */
static bool take_interrupt(struct engine_vcpu *v)
{
	uint64_t irr[4];
	int vector, serving;

	if (v->s.activity != VCPU_WAIT_INIT && v->s.activity != VCPU_WAIT_SIPI &&
	    atomic_exchange(&v->nmi, false))
		return enter(v, VECTOR_NMI);
	if (!wants_interrupts(v))
		return true;
	if (v->id == 0 && atomic_load(&v->vm->extint))
		return enter(v, v->vm->env->intack(v->vm->env->opaque));
	for (unsigned w = 0; w < 4; w++)
		irr[w] = atomic_load(&v->irr[w]);
	vector = highest(irr);
	serving = highest(v->isr);
	if (vector < 0 || (serving >= 0 && vector >> 4 <= serving >> 4))
		return true;
	atomic_fetch_and(&v->irr[vector / 64], ~BIT(vector % 64));
	v->isr[vector / 64] |= BIT(vector % 64);
	return enter(v, (unsigned)vector);
}

static void end_of_interrupt(struct engine_vcpu *v)
{
	int vector = highest(v->isr);

	if (vector < 0)
		return;
	v->isr[vector / 64] &= ~BIT(vector % 64);
	if (atomic_load(&v->tmr[vector / 64]) & BIT(vector % 64))
		v->vm->env->eoi(v->vm->env->opaque, (uint8_t)vector);
	atomic_store(&v->attention, true); /* a less urgent one may have its turn */
}

static void cpuid(struct engine_vcpu *v)
{
	uint64_t *r = v->s.gpr;
	const struct cpuid_entry *leaf = cpuid_find(&v->cpuid, (uint32_t)r[GPR_RAX],
						    (uint32_t)r[GPR_RCX]);
	struct cpuid_entry none = {0};

	leaf = leaf ? leaf : &none;
	r[GPR_RAX] = leaf->eax;
	r[GPR_RBX] = leaf->ebx;
	r[GPR_RCX] = leaf->ecx;
	r[GPR_RDX] = leaf->edx;
}

struct insn {
	uint8_t op;
	uint64_t *a, *b;
	unsigned size;
	uint32_t imm;
};

static void jump(struct engine_vcpu *v, uint32_t imm)
{
	v->s.rip += (uint64_t)((int64_t)(int32_t)imm * FAKE_INSN_SIZE);
}

static int invalid(struct engine_vcpu *v, const uint8_t *bytes, struct engine_detail *detail)
{
	v->s.rip -= FAKE_INSN_SIZE;
	if (enter(v, VECTOR_UD))
		return GO_ON;
	memcpy(detail->insn, bytes, FAKE_INSN_SIZE);
	detail->insn_len = FAKE_INSN_SIZE;
	snprintf(detail->text, sizeof(detail->text), "invalid opcode %02x without a handler",
		 bytes[0]);
	return ENGINE_SHUTDOWN;
}

static void xadd(struct engine_vcpu *v, const struct insn *i, uint64_t gpa)
{
	uint8_t *p = ram_at(v->vm, gpa, 8);

	if (!p || (uintptr_t)p % 8)
		return;
	*i->a = atomic_fetch_add((_Atomic uint64_t *)(void *)p, *i->a);
	mark(v->vm, gpa, 8);
}

static void send_ipi(struct engine_vcpu *v, const struct insn *i)
{
	const struct msi_msg msg = {MSI_ADDR_BASE | (*i->a & 0xff) << MSI_ADDR_DEST_SHIFT,
				    (uint32_t)*i->b};

	fake_msi(v->vm, &msg);
}

/* The instructions that touch nothing but registers; false: it is not one of them. */
static bool execute_plain(struct engine_vcpu *v, const struct insn *i)
{
	switch (i->op) {
	case FAKE_MOVI:
		*i->a = i->imm;
		return true;
	case FAKE_MOV:
		*i->a = *i->b;
		return true;
	case FAKE_ADD:
		*i->a += *i->b + (uint64_t)(int64_t)(int32_t)i->imm;
		return true;
	case FAKE_JMP:
		jump(v, i->imm);
		return true;
	case FAKE_JNZ:
		if (*i->a)
			jump(v, i->imm);
		return true;
	case FAKE_CPUID:
		cpuid(v);
		return true;
	case FAKE_RDTSC:
		*i->a = v->s.tsc + clock_now(v->vm->env->clock);
		return true;
	case FAKE_CLI:
		v->s.rflags &= ~RFLAGS_IF;
		return true;
	case FAKE_STI:
		v->s.events.shadow_sti = !(v->s.rflags & RFLAGS_IF);
		v->s.rflags |= RFLAGS_IF;
		atomic_store(&v->attention, true);
		return true;
	default:
		return false;
	}
}

static int execute(struct engine_vcpu *v, const struct insn *i, const uint8_t *bytes,
		   struct engine_detail *detail)
{
	uint64_t at = *i->b + (uint64_t)(int64_t)(int32_t)i->imm;
	struct engine_vm *vm = v->vm;

	if (execute_plain(v, i))
		return GO_ON;
	switch (i->op) {
	case FAKE_LOAD:
		*i->a = load(vm, at, i->size);
		return GO_ON;
	case FAKE_STORE:
		store(vm, at, i->size, *i->a);
		return GO_ON;
	case FAKE_XADD:
		xadd(v, i, at);
		return GO_ON;
	case FAKE_IN:
		count(vm, COUNT_PIO);
		*i->a = bus_read(vm->env->pio, i->imm & 0xffff, i->size);
		return GO_ON;
	case FAKE_OUT:
		count(vm, COUNT_PIO);
		bus_write(vm->env->pio, i->imm & 0xffff, i->size, *i->a);
		return GO_ON;
	case FAKE_HLT:
		v->s.activity = VCPU_HALTED;
		count(vm, COUNT_HALTS);
		return GO_ON;
	case FAKE_IRET:
		v->s.rip = load(vm, v->s.gpr[GPR_RSP], 8);
		v->s.rflags = load(vm, v->s.gpr[GPR_RSP] + 8, 8) | RFLAGS_FIXED;
		v->s.gpr[GPR_RSP] += 16;
		atomic_store(&v->attention, true);
		return GO_ON;
	case FAKE_EOI:
		end_of_interrupt(v);
		return GO_ON;
	case FAKE_IPI:
		send_ipi(v, i);
		return GO_ON;
	case FAKE_EXIT:
		return (int)i->imm;
	default:
		return invalid(v, bytes, detail);
	}
}

static int step(struct engine_vcpu *v, struct engine_detail *detail)
{
	uint64_t pc = v->s.seg[SEG_CS].base + v->s.rip;
	const uint8_t *p = ram_at(v->vm, pc, FAKE_INSN_SIZE);
	uint8_t bytes[FAKE_INSN_SIZE];
	struct insn i;

	if (!p) {
		snprintf(detail->text, sizeof(detail->text), "no RAM at RIP %llx",
			 (unsigned long long)pc);
		return ENGINE_SHUTDOWN;
	}
	memcpy(bytes, p, sizeof(bytes));
	i = (struct insn){.op = bytes[0],
			  .a = &v->s.gpr[bytes[1] % GPR_COUNT],
			  .b = &v->s.gpr[bytes[2] % GPR_COUNT],
			  .size = bytes[3],
			  .imm = (uint32_t)load_le(bytes + 4, 4)};
	if (i.size != 2 && i.size != 4 && i.size != 8)
		i.size = 1;
	v->s.rip += FAKE_INSN_SIZE;
	count(v->vm, COUNT_INSNS);
	return execute(v, &i, bytes, detail);
}

/* Looks at what other threads asked for; GO_ON, or why to leave run(). */
static int attend(struct engine_vcpu *v, struct engine_detail *detail)
{
	if (atomic_exchange(&v->kicked, false)) {
		atomic_store(&v->attention, true); /* the rest is for the next run() */
		return ENGINE_KICKED;
	}
	start_up(v);
	if (v->s.events.shadow_sti) { /* STI; HLT: the halt comes before the interrupt */
		atomic_store(&v->attention, true);
		return GO_ON;
	}
	if (take_interrupt(v))
		return GO_ON;
	snprintf(detail->text, sizeof(detail->text), "an interrupt has no handler");
	return ENGINE_SHUTDOWN;
}

static enum engine_exit fake_run(struct engine_vcpu *v, struct engine_detail *detail)
{
	int rc = GO_ON;

	while (rc == GO_ON) {
		/* Cleared before the looks, so that what comes after them is not missed. */
		if (atomic_exchange(&v->attention, false))
			rc = attend(v, detail);
		if (rc != GO_ON)
			break;
		if (v->s.activity == VCPU_RUNNING) {
			v->s.events.shadow_sti = false;
			rc = step(v, detail);
		} else if (!atomic_load(&v->attention)) {
			while (sem_wait(&v->wake) && errno == EINTR)
				;
		}
	}
	return (enum engine_exit)rc;
}

/* --- vCPUs --- */

static int fake_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
			    struct engine_vcpu **vcpu, struct err *e)
{
	struct engine_vcpu *v;

	if (config->id >= ENGINE_VCPUS_MAX || atomic_load(&vm->vcpus[config->id]))
		return err_set(e, EINVAL, "cannot create vCPU %u", config->id);
	v = aligned_alloc(64, align_up(sizeof(*v), 64));
	if (!v)
		return err_errno(e, ENOMEM, "cannot create vCPU %u", config->id);
	memset(v, 0, sizeof(*v));
	v->vm = vm;
	v->id = config->id;
	v->cpuid = *config->cpuid;
	atomic_init(&v->sipi, -1);
	sem_init(&v->wake, 0, 0);
	vcpu_state_reset(&v->s, v->id);
	atomic_store(&vm->vcpus[v->id], v);
	*vcpu = v;
	return 0;
}

static void fake_vcpu_destroy(struct engine_vcpu *v)
{
	atomic_store(&v->vm->vcpus[v->id], NULL);
	sem_destroy(&v->wake);
	free(v);
}

#define LAPIC_ISR 0x100
#define LAPIC_TMR 0x180
#define LAPIC_IRR 0x200

/* The 256 bits of ISR, TMR or IRR lie in eight registers 16 bytes apart. */
static void lapic_put(uint8_t *page, unsigned reg, const uint64_t bits[4])
{
	for (unsigned i = 0; i < 8; i++)
		store_le(page + reg + i * 16, 4, bits[i / 2] >> (i % 2 * 32));
}

static void lapic_get(const uint8_t *page, unsigned reg, uint64_t bits[4])
{
	memset(bits, 0, 4 * sizeof(*bits));
	for (unsigned i = 0; i < 8; i++)
		bits[i / 2] |= load_le(page + reg + i * 16, 4) << (i % 2 * 32);
}

static int fake_get_state(struct engine_vcpu *v, struct vcpu_state *state, struct err *e)
{
	uint64_t bits[4];

	(void)e;
	*state = v->s;
	state->tsc = v->s.tsc + clock_now(v->vm->env->clock);
	state->events.nmi_pending = atomic_load(&v->nmi);
	state->events.init_latched = atomic_load(&v->init);
	lapic_put(state->lapic, LAPIC_ISR, v->isr);
	for (unsigned w = 0; w < 4; w++)
		bits[w] = atomic_load(&v->irr[w]);
	lapic_put(state->lapic, LAPIC_IRR, bits);
	for (unsigned w = 0; w < 4; w++)
		bits[w] = atomic_load(&v->tmr[w]);
	lapic_put(state->lapic, LAPIC_TMR, bits);
	return 0;
}

static int fake_set_state(struct engine_vcpu *v, const struct vcpu_state *state, struct err *e)
{
	uint64_t irr[4], tmr[4];

	(void)e;
	v->s = *state;
	v->s.tsc = state->tsc - clock_now(v->vm->env->clock);
	atomic_store(&v->nmi, state->events.nmi_pending);
	atomic_store(&v->init, state->events.init_latched);
	atomic_store(&v->sipi, -1);
	lapic_get(state->lapic, LAPIC_ISR, v->isr);
	lapic_get(state->lapic, LAPIC_IRR, irr);
	lapic_get(state->lapic, LAPIC_TMR, tmr);
	for (unsigned w = 0; w < 4; w++) {
		atomic_store(&v->irr[w], irr[w]);
		atomic_store(&v->tmr[w], tmr[w]);
	}
	notify(v);
	return 0;
}

const struct engine_ops fake_engine = {
	.name = "fake",
	.probe = fake_probe,
	.vm_create = fake_vm_create,
	.vm_destroy = fake_vm_destroy,
	.cpuid_supported = fake_cpuid_supported,
	.map = fake_map,
	.unmap = fake_unmap,
	.dirty_start = fake_dirty_start,
	.dirty_stop = fake_dirty_stop,
	.dirty_take = fake_dirty_take,
	.vcpu_create = fake_vcpu_create,
	.vcpu_destroy = fake_vcpu_destroy,
	.run = fake_run,
	.kick = fake_kick,
	.get_state = fake_get_state,
	.set_state = fake_set_state,
	.msi = fake_msi,
	.extint = fake_extint,
	.nmi = fake_nmi,
	.stats = fake_stats,
};
