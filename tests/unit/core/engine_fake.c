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
#include <stdlib.h>
#include <string.h>

#include "engine_fake_int.h"

static const char *const count_names[COUNTS] = {"instructions", "pio", "mmio", "interrupts",
						"halts"};

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

static void bare_probe(struct engine_offer *offer, bool measure)
{
	*offer = (struct engine_offer){.usable = true, .ratio = measure ? 1.0 : 0.0};
}

static int bare_vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	int rc = fake_vm_create(vm, env, e);

	if (!rc)
		(*vm)->bare = true;
	return rc;
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

static void bare_intr(struct engine_vcpu *v, bool level)
{
	atomic_store(&v->intr, level);
	if (level)
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

void fake_msi(struct engine_vm *vm, const struct msi_msg *msg)
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

const struct engine_ops fake_bare_engine = {
	.name = "fake-bare",
	.probe = bare_probe,
	.vm_create = bare_vm_create,
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
	.intr = bare_intr,
	.nmi = fake_nmi,
	.stats = fake_stats,
};
