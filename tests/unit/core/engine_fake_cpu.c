/* SPDX-License-Identifier: Apache-2.0 */
/* The fake engine's processor: its instructions, and how it takes interrupts. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine_fake.h"
#include "engine_fake_int.h"

void fake_emit(struct buf *program, enum fake_op op, unsigned a, unsigned b, unsigned size,
	       int32_t imm)
{
	const uint8_t head[4] = {(uint8_t)op, (uint8_t)a, (uint8_t)b, (uint8_t)size};

	buf_add(program, head, sizeof(head));
	buf_add_le(program, (uint32_t)imm, 4);
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

/* Whether this is a register of the machine's local APIC. */
static bool on_apic_page(const struct engine_vcpu *v, uint64_t gpa)
{
	return v->vm->bare && gpa >> 12 == 0xfee00;
}

static uint64_t load(struct engine_vcpu *v, uint64_t gpa, unsigned size)
{
	struct engine_vm *vm = v->vm;
	const uint8_t *p = ram_at(vm, gpa, size);

	if (on_apic_page(v, gpa))
		return vm->env->lapic->read(vm->env->opaque, v->id, gpa & 0xff0);
	if (p && size == 8 && !((uintptr_t)p % 8)) /* as on a processor: whole or not at all */
		return atomic_load((const _Atomic uint64_t *)(const void *)p);
	if (p)
		return load_le(p, size);
	count(vm, COUNT_MMIO);
	return bus_read(vm->env->mmio, gpa, size);
}

static void store(struct engine_vcpu *v, uint64_t gpa, unsigned size, uint64_t value)
{
	struct engine_vm *vm = v->vm;
	uint8_t *p = ram_at(vm, gpa, size);

	if (on_apic_page(v, gpa)) {
		vm->env->lapic->write(vm->env->opaque, v->id, gpa & 0xff0, (uint32_t)value);
		return;
	}
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
	store(v, s->gpr[GPR_RSP], 8, s->rip);
	store(v, s->gpr[GPR_RSP] + 8, 8, s->rflags);
	s->rflags &= ~RFLAGS_IF;
	s->rip = load(v, s->idt.base + vector * 8, 8);
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
	if (v->vm->bare && !atomic_load(&v->intr))
		return true;
	if (v->vm->bare || (v->id == 0 && atomic_load(&v->vm->extint)))
		return enter(v, v->vm->env->intack(v->vm->env->opaque, v->id));
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
	const struct engine_env *env = v->vm->env;
	int vector = highest(v->isr);

	if (v->vm->bare)
		env->lapic->write(env->opaque, v->id, 0xb0, 0);
	if (vector < 0)
		return;
	v->isr[vector / 64] &= ~BIT(vector % 64);
	if (atomic_load(&v->tmr[vector / 64]) & BIT(vector % 64))
		env->eoi(env->opaque, (uint8_t)vector);
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

	if (!v->vm->bare) {
		fake_msi(v->vm, &msg);
		return;
	}
	store(v, 0xfee00310, 4, *i->a << 24);
	store(v, 0xfee00300, 4, *i->b);
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
		*i->a = load(v, at, i->size);
		return GO_ON;
	case FAKE_STORE:
		store(v, at, i->size, *i->a);
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
		v->s.rip = load(v, v->s.gpr[GPR_RSP], 8);
		v->s.rflags = load(v, v->s.gpr[GPR_RSP] + 8, 8) | RFLAGS_FIXED;
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

enum engine_exit fake_run(struct engine_vcpu *v, struct engine_detail *detail)
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
			if (v->vm->bare)
				return ENGINE_HALTED;
			while (sem_wait(&v->wake) && errno == EINTR)
				;
		}
	}
	return (enum engine_exit)rc;
}
