/* SPDX-License-Identifier: Apache-2.0 */
/* The machine of the fuzzed engine: one vCPU, RAM between guard pages, a device whose
 * registers raise interrupts, and a local APIC that makes every command one. */
#ifndef LODGE_TESTS_FUZZ_INTERP_MACHINE_H
#define LODGE_TESTS_FUZZ_INTERP_MACHINE_H

#include <assert.h>
#include <sanitizer/lsan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/bt/features.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/vcpu.h"
#include "engine/bt/runtime/vm.h"
#include "interp_guest.h"

#define GUARD MIB(1)

/* One of each vendor. */
struct machine {
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock;
	struct engine_env env;
	struct engine_vm *vm;
	struct engine_vcpu *vcpu;
	struct cpu *cpu;
	struct vcpu_state reset;
	uint8_t intr_vector;
};

static const uint32_t regions[][2] = {
	{0, GUEST_SECOND},
	{GUEST_SECOND, GUEST_DEVICE - GUEST_SECOND},
	{GUEST_THIRD, GUEST_END - GUEST_THIRD},
};

/* The device: reads give a pattern; writes raise interrupts. */
static uint64_t device_reads(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	return 0xf1e2d3c4b5a69788 >> (offset % 8 * 8) & MASK(8 * size);
}

static void device_writes(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct machine *m = dev;

	(void)offset;
	(void)size;
	if (value & 1)
		cpu_attention(m->cpu, ATTENTION_NMI);
	if (value & 2)
		cpu_attention(m->cpu, ATTENTION_INTR);
}

static const struct bus_ops device_ops = {"fuzz", 4, device_reads, device_writes};

static uint32_t lapic_read(void *opaque, unsigned vcpu, unsigned offset)
{
	(void)opaque;
	(void)vcpu;
	return offset * 0x01010101u;
}

static void lapic_write(void *opaque, unsigned vcpu, unsigned offset, uint32_t value)
{
	struct machine *m = opaque;

	(void)vcpu;
	m->intr_vector = (uint8_t)value;
	cpu_attention(m->cpu, offset == 0x300 && value & BIT(10) ? ATTENTION_NMI : ATTENTION_INTR);
}

static bool x2apic_read(void *opaque, unsigned vcpu, unsigned offset, uint64_t *value)
{
	*value = lapic_read(opaque, vcpu, offset);
	return offset < 0x400;
}

static bool x2apic_write(void *opaque, unsigned vcpu, unsigned offset, uint64_t value)
{
	lapic_write(opaque, vcpu, offset, (uint32_t)value);
	return offset < 0x400;
}

static bool set_base(void *opaque, unsigned vcpu, uint64_t value)
{
	(void)opaque;
	(void)vcpu;
	(void)value;
	return true;
}

static uint8_t get_cr8(void *opaque, unsigned vcpu)
{
	(void)opaque;
	(void)vcpu;
	return 0;
}

static void set_cr8(void *opaque, unsigned vcpu, uint8_t cr8)
{
	(void)opaque;
	(void)vcpu;
	assert(cr8 < 16);
}

static void set_deadline(void *opaque, unsigned vcpu, uint64_t ns)
{
	(void)opaque;
	(void)vcpu;
	(void)ns;
}

static bool deadline_armed(void *opaque, unsigned vcpu)
{
	(void)opaque;
	(void)vcpu;
	return false;
}

static const struct engine_lapic_ops lapic_ops = {
	.read = lapic_read,
	.write = lapic_write,
	.x2apic_read = x2apic_read,
	.x2apic_write = x2apic_write,
	.set_base = set_base,
	.get_cr8 = get_cr8,
	.set_cr8 = set_cr8,
	.set_deadline = set_deadline,
	.deadline_armed = deadline_armed,
};

static uint8_t intack(void *opaque, unsigned vcpu)
{
	struct machine *m = opaque;

	(void)vcpu;
	atomic_fetch_and(&m->cpu->attention, ~ATTENTION_INTR);
	return m->intr_vector;
}

static void need(bool good)
{
	if (!good)
		abort();
}

static void add_ram(struct machine *m, unsigned slot)
{
	uint64_t size = regions[slot][1];
	uint8_t *host = mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	need(host != MAP_FAILED && !mprotect(host + GUARD, size, PROT_READ | PROT_WRITE));
	m->mem.regions[slot] = (struct mem_region){
		.gpa = regions[slot][0], .size = size, .host = host + GUARD, .slot = slot};
	m->mem.count++;
	m->mem.size += size;
	need(!bt_vm_map(m->vm, &m->mem.regions[slot], NULL));
}

static void make_vcpu(struct machine *m)
{
	struct cpuid_topology topology = {.cpus = 1};
	struct cpuid_table supported, cpuid;
	struct engine_vcpu_config config = {.cpuid = &cpuid};

	need(!features_supported(&supported, NULL));
	need(!cpuid_compose(&cpuid, "host", &supported, &topology, NULL));
	need(!bt_vcpu_create(m->vm, &config, &m->vcpu, NULL));
	m->cpu = m->vm->vm.cpu[0];
	__lsan_register_root_region(m->cpu, sizeof(*m->cpu)); /* in a mapping, not in the heap */
	m->cpu->code->memory_max = KIB(64);                   /* emptied often */
	cpu_get_state(m->cpu, &m->reset);
	memset(m->reset.lapic, 0, sizeof(m->reset.lapic));
}

/* checked: 64-bit code is translated, and each block held against the interpreter. */
static struct machine *make_machine(bool amd, bool checked)
{
	struct machine *m = calloc(1, sizeof(*m));

	need(m && !mem_init(&m->mem, 0, NULL));
	bus_init(&m->pio, "pio", 0x10000);
	bus_init(&m->mmio, "mmio", BIT(52));
	clock_init_manual(&m->clock);
	need(!bus_add(&m->pio, 0, 0x400, &device_ops, m, NULL, NULL));
	need(!bus_add(&m->mmio, GUEST_DEVICE, 0x1000, &device_ops, m, NULL, NULL));
	m->env = (struct engine_env){
		.mem = &m->mem,
		.pio = &m->pio,
		.mmio = &m->mmio,
		.clock = &m->clock,
		.opaque = m,
		.intack = intack,
		.lapic = &lapic_ops,
		.options = {.code_memory = ENGINE_CODE_MIN}}; /* used up often */
	need(!(checked ? bt_vm_create_checked : bt_vm_create_interpreted)(&m->vm, &m->env, NULL));
	decoder_free(m->vm->vm.decoder);
	m->vm->vm.amd = amd;
	m->vm->vm.decoder = decoder_new(amd, NULL);
	need(m->vm->vm.decoder);
	for (unsigned slot = 0; slot < ARRAY_LEN(regions); slot++)
		add_ram(m, slot);
	make_vcpu(m);
	return m;
}

#endif
