/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "kvm_guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine/kvm/kvm.h"

#define PAGE_TABLES 0x9000

static uint64_t device_access(struct guest *g, struct guest_access a)
{
	uint64_t value = UINT64_MAX;

	pthread_mutex_lock(&g->lock);
	if (g->accesses < GUEST_LOG)
		g->log[g->accesses] = a;
	pthread_mutex_unlock(&g->lock);
	if (!a.write && g->answer)
		value = g->answer(g, &a);
	if (g->seen)
		g->seen(g, &a);
	pthread_mutex_lock(&g->lock);
	g->accesses++;
	pthread_cond_broadcast(&g->more);
	pthread_mutex_unlock(&g->lock);
	if (a.write && !a.mmio && a.addr == GUEST_DONE_PORT)
		kvm_engine.kick(g->vcpus[0]);
	return value;
}

static uint64_t pio_read(void *dev, uint64_t offset, unsigned size)
{
	return device_access(dev, (struct guest_access){.addr = offset, .size = size});
}

static void pio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	device_access(dev, (struct guest_access){
				   .write = true, .addr = offset, .size = size, .value = value});
}

static uint64_t mmio_read(void *dev, uint64_t offset, unsigned size)
{
	return device_access(dev, (struct guest_access){
					  .mmio = true, .addr = GUEST_MMIO + offset, .size = size});
}

static void mmio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	device_access(dev, (struct guest_access){.write = true,
						 .mmio = true,
						 .addr = GUEST_MMIO + offset,
						 .size = size,
						 .value = value});
}

static const struct bus_ops pio_ops = {"ports", 4, pio_read, pio_write};
static const struct bus_ops mmio_ops = {"memory", 8, mmio_read, mmio_write};

static uint8_t intack(void *opaque, unsigned vcpu)
{
	struct guest *g = opaque;

	assert_int_equal(vcpu, 0);
	g->acks++;
	if (!g->ack_keeps_intr)
		kvm_engine.extint(g->vm, false);
	return g->ack_vector;
}

static void eoi(void *opaque, uint8_t vector)
{
	struct guest *g = opaque;

	g->eois++;
	g->eoi_vector = vector;
}

static void ok(int rc, const struct err *e)
{
	if (rc)
		fail_msg("%s (%d)", e->text, rc);
}

void guest_init(struct guest *g, unsigned cpus)
{
	struct err e = ERR_INIT;

	memset(g, 0, sizeof(*g));
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->more, NULL);
	ok(mem_init(&g->mem, 0, &e), &e);
	ok(mem_add_ram(&g->mem, 0, GUEST_RAM, &e), &e);
	bus_init(&g->pio, "pio", 0x10000);
	bus_init(&g->mmio, "mmio", BIT(52));
	ok(bus_add(&g->pio, 0, 0x10000, &pio_ops, g, NULL, &e), &e);
	ok(bus_add(&g->mmio, GUEST_MMIO, GIB(4) - GUEST_MMIO, &mmio_ops, g, NULL, &e), &e);
	clock_init_manual(&g->clock);
	g->env = (struct engine_env){.mem = &g->mem,
				     .pio = &g->pio,
				     .mmio = &g->mmio,
				     .clock = &g->clock,
				     .opaque = g,
				     .intack = intack,
				     .eoi = eoi};
	ok(kvm_engine.vm_create(&g->vm, &g->env, &e), &e);
	ok(kvm_engine.map(g->vm, &g->mem.regions[0], &e), &e);
	ok(kvm_engine.cpuid_supported(g->vm, &g->cpuid, &e), &e);
	for (unsigned i = 0; i < cpus; i++) {
		struct engine_vcpu_config config = {.id = i, .cpuid = &g->cpuid};

		ok(kvm_engine.vcpu_create(g->vm, &config, &g->vcpus[i], &e), &e);
	}
}

void guest_release(struct guest *g)
{
	for (unsigned i = 0; i < ARRAY_LEN(g->vcpus); i++)
		kvm_engine.vcpu_destroy(g->vcpus[i]);
	kvm_engine.vm_destroy(g->vm);
	bus_release(&g->pio);
	bus_release(&g->mmio);
	clock_release(&g->clock);
	mem_release(&g->mem);
	pthread_cond_destroy(&g->more);
	pthread_mutex_destroy(&g->lock);
}

/* Enabled, and the bootstrap processor's LINT0 wired to the 8259s, as firmware leaves it. */
static void enable_lapic(struct vcpu_state *s, unsigned apic_id)
{
	store_le(s->lapic + 0xf0, 4, 0x1ff);
	if (apic_id == 0)
		store_le(s->lapic + 0x350, 4, 0x700);
}

void guest_state16(struct vcpu_state *s, unsigned apic_id)
{
	vcpu_state_reset(s, apic_id);
	s->seg[SEG_CS] = segment_real(0);
	s->rip = GUEST_CODE;
	s->gpr[GPR_RSP] = 0x8000;
	s->activity = VCPU_RUNNING;
	enable_lapic(s, apic_id);
}

/* The first and the fourth GiB by 2 MiB pages would take two directories: 1 GiB pages are not
 * everywhere. */
static void write_page_tables(struct guest *g)
{
	uint64_t *pml4 = mem_ptr_rw(&g->mem, PAGE_TABLES, 4 * GUEST_PAGE_SIZE);
	uint64_t *pdpt = pml4 + 512, *low = pml4 + 1024, *high = pml4 + 1536;

	assert_non_null(pml4);
	memset(pml4, 0, 4 * GUEST_PAGE_SIZE);
	pml4[0] = (PAGE_TABLES + 0x1000) | PTE_P | PTE_RW;
	pdpt[0] = (PAGE_TABLES + 0x2000) | PTE_P | PTE_RW;
	pdpt[3] = (PAGE_TABLES + 0x3000) | PTE_P | PTE_RW;
	for (uint64_t i = 0; i < 512; i++) {
		low[i] = i << 21 | PTE_P | PTE_RW | PTE_PS;
		high[i] = (GIB(3) + (i << 21)) | PTE_P | PTE_RW | PTE_PS;
	}
}

void guest_state64(struct guest *g, struct vcpu_state *s, unsigned apic_id)
{
	write_page_tables(g);
	guest_state16(s, apic_id);
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	s->cr3 = PAGE_TABLES;
	s->cr4 = CR4_PAE | CR4_OSFXSR;
	s->efer = EFER_LME | EFER_LMA | EFER_SCE;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment_flat_data(0x18);
	s->seg[SEG_CS] = segment_flat_code64(0x10);
	s->tr = segment_tss(0x20, 0, 0x67);
}

static void load(struct guest *g, const char *code, const char *end, const struct vcpu_state *s)
{
	struct err e = ERR_INIT;

	assert_true(mem_write(&g->mem, GUEST_CODE, code, (uint64_t)(end - code)));
	ok(kvm_engine.set_state(g->vcpus[0], s, &e), &e);
}

void guest_load16(struct guest *g, const char *code, const char *end)
{
	struct vcpu_state s;

	guest_state16(&s, 0);
	load(g, code, end, &s);
}

void guest_load64(struct guest *g, const char *code, const char *end)
{
	struct vcpu_state s;

	guest_state64(g, &s, 0);
	load(g, code, end, &s);
}

void guest_run(struct guest *g, unsigned n, enum engine_exit expected)
{
	enum engine_exit why = kvm_engine.run(g->vcpus[n], &g->detail);

	if (why != expected)
		fail_msg("run() returned %d, not %d: %s", why, expected, g->detail.text);
}

void guest_get(struct guest *g, unsigned n, struct vcpu_state *s)
{
	struct err e = ERR_INIT;

	ok(kvm_engine.get_state(g->vcpus[n], s, &e), &e);
}

void guest_set(struct guest *g, unsigned n, const struct vcpu_state *s)
{
	struct err e = ERR_INIT;

	ok(kvm_engine.set_state(g->vcpus[n], s, &e), &e);
}

void guest_vector(struct guest *g, unsigned vector, const char *code, const char *handler)
{
	uint32_t entry = GUEST_CODE + (uint32_t)(handler - code); /* segment 0 */

	assert_true(mem_write(&g->mem, vector * 4, &entry, sizeof(entry)));
}

void guest_expect(struct guest *g, unsigned n, struct guest_access want)
{
	struct guest_access a;
	bool there;

	pthread_mutex_lock(&g->lock);
	there = n < g->accesses;
	a = g->log[n];
	pthread_mutex_unlock(&g->lock);
	assert_true(there);
	if (a.write != want.write || a.mmio != want.mmio || a.addr != want.addr ||
	    a.size != want.size || a.value != want.value)
		fail_msg("access %u: %s %s 0x%llx size %u value 0x%llx", n,
			 a.mmio ? "memory" : "port", a.write ? "write" : "read",
			 (unsigned long long)a.addr, a.size, (unsigned long long)a.value);
}

struct start {
	struct guest *g;
	unsigned n;
};

static void *run_thread(void *arg)
{
	struct start *s = arg;

	s->g->why[s->n] = kvm_engine.run(s->g->vcpus[s->n], &s->g->details[s->n]);
	free(s);
	return NULL;
}

void guest_start(struct guest *g, unsigned n)
{
	struct start *s = malloc(sizeof(*s));

	assert_non_null(s);
	*s = (struct start){g, n};
	assert_int_equal(pthread_create(&g->threads[n], NULL, run_thread, s), 0);
}

enum engine_exit guest_join(struct guest *g, unsigned n)
{
	pthread_join(g->threads[n], NULL);
	return g->why[n];
}

void guest_wait(struct guest *g, unsigned accesses)
{
	pthread_mutex_lock(&g->lock);
	while (g->accesses < accesses)
		pthread_cond_wait(&g->more, &g->lock);
	pthread_mutex_unlock(&g->lock);
}

uint64_t guest_stat(struct guest *g, const char *name)
{
	struct engine_stat stats[64];
	size_t count = kvm_engine.stats(g->vm, stats, ARRAY_LEN(stats));

	for (size_t i = 0; i < count; i++)
		if (!strcmp(stats[i].name, name))
			return stats[i].count;
	fail_msg("no counter %s", name);
	return 0;
}

void guest_require_kvm(int argc, char **argv)
{
	struct engine_offer offer;

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	kvm_engine.probe(&offer, false);
	if (offer.usable)
		return;
	printf("not run here: %s\n", offer.why);
	exit(GUEST_NOT_HERE);
}

void guest_require_hardware(void)
{
	struct engine_offer offer;

	kvm_engine.probe(&offer, true);
	if (offer.efficient)
		return;
	printf("not run here: %s\n", offer.why);
	exit(GUEST_NOT_HERE);
}
