/* SPDX-License-Identifier: Apache-2.0 */
#include "mmu_guest.h"

#include <stdlib.h>
#include <string.h>

#define TABLES 0x100000ULL

static uint64_t device_read(void *dev, uint64_t offset, unsigned size)
{
	struct mg *g = dev;

	g->device_accesses++;
	g->device_last = offset;
	g->device_size = size;
	return load_le(g->device + offset, size);
}

static void device_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct mg *g = dev;

	g->device_accesses++;
	g->device_last = offset;
	g->device_size = size;
	store_le(g->device + offset, size, value);
}

static const struct bus_ops device_ops = {
	.name = "bytes", .width = 8, .read = device_read, .write = device_write};

static uint32_t lapic_read(void *opaque, unsigned vcpu, unsigned offset)
{
	struct mg *g = opaque;

	g->lapic_accesses++;
	return g->lapic[offset / 16] + vcpu;
}

static void lapic_write(void *opaque, unsigned vcpu, unsigned offset, uint32_t value)
{
	struct mg *g = opaque;

	(void)vcpu;
	g->lapic_accesses++;
	g->lapic[offset / 16] = value;
}

static const struct engine_lapic_ops lapic_ops = {.read = lapic_read, .write = lapic_write};

static struct cpu *cpu_new(struct mg *g, unsigned id)
{
	struct cpu *cpu = calloc(1, sizeof(*cpu));

	cpu->vm = &g->vm;
	cpu->id = id;
	cpu->phys_bits = MG_PHYS_BITS;
	cpu->rflags = RFLAGS_FIXED;
	cpuid_put(&cpu->cpuid, &(struct cpuid_entry){.leaf = 0x80000001, .edx = (uint32_t)BIT(26)});
	if (mmu_init(cpu))
		abort();
	g->vm.cpu[id] = cpu;
	return cpu;
}

struct mg *mg_new(void)
{
	struct mg *g = calloc(1, sizeof(*g));

	if (mem_init(&g->mem, 0, NULL) || mem_add_ram(&g->mem, 0, MG_RAM, NULL) ||
	    mem_add_ram(&g->mem, MG_HIGH, MIB(4), NULL))
		abort();
	bus_init(&g->mmio, "mmio", BIT(52));
	if (bus_add(&g->mmio, MG_MMIO, MG_PAGE, &device_ops, g, NULL, NULL))
		abort();
	g->env = (struct engine_env){
		.mem = &g->mem, .mmio = &g->mmio, .opaque = g, .lapic = &lapic_ops};
	g->vm.env = &g->env;
	for (unsigned i = 0; i < g->mem.count; i++)
		if (pages_map(&g->vm.pages, &g->mem.regions[i]))
			abort();
	exclusive_init(&g->vm.exclusive);
	g->cpu = cpu_new(g, 0);
	exclusive_enter(g->cpu);
	return g;
}

void mg_free(struct mg *g)
{
	exclusive_leave(g->cpu);
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++) {
		if (!g->vm.cpu[i])
			continue;
		mmu_release(g->vm.cpu[i]);
		free(g->vm.cpu[i]);
	}
	exclusive_release(&g->vm.exclusive);
	for (unsigned i = 0; i < g->mem.count; i++)
		pages_unmap(&g->vm.pages, &g->mem.regions[i]);
	bus_release(&g->mmio);
	mem_release(&g->mem);
	free(g);
}

struct cpu *mg_add_cpu(struct mg *g)
{
	unsigned id = 0;
	struct cpu *cpu;

	while (g->vm.cpu[id])
		id++;
	cpu = cpu_new(g, id);
	cpu->cr0 = g->cpu->cr0;
	cpu->cr3 = g->cpu->cr3;
	cpu->cr4 = g->cpu->cr4;
	cpu->efer = g->cpu->efer;
	cpu->mode = g->cpu->mode;
	memcpy(cpu->pdptr, g->cpu->pdptr, sizeof(cpu->pdptr));
	mmu_flush(cpu, true);
	return cpu;
}

uint8_t *mg_ram(struct mg *g, uint64_t gpa)
{
	return mem_ptr_rw(&g->mem, gpa, 1);
}

uint64_t mg_ram64(struct mg *g, uint64_t gpa)
{
	return load_le(mg_ram(g, gpa), 8);
}

static uint64_t new_table(struct mg *g)
{
	uint64_t gpa = g->next_table;

	g->next_table += MG_PAGE;
	memset(mg_ram(g, gpa), 0, MG_PAGE);
	return gpa;
}

unsigned mg_levels(enum mg_mode mode)
{
	static const uint8_t levels[MG_MODES] = {0, 2, 2, 4, 5};

	return levels[mode];
}

unsigned mg_shift(enum mg_mode mode, unsigned level)
{
	static const uint8_t shift[MG_MODES][6] = {
		[MG_32BIT] = {0, 12, 22},
		[MG_PAE] = {0, 12, 21, 30},
		[MG_4LEVEL] = {0, 12, 21, 30, 39},
		[MG_5LEVEL] = {0, 12, 21, 30, 39, 48},
	};

	return shift[mode][level];
}

void mg_mode(struct mg *g, enum mg_mode mode)
{
	struct cpu *cpu = g->cpu;

	g->mode = mode;
	g->next_table = TABLES;
	cpu->cpl = 0;
	cpu->rflags = RFLAGS_FIXED;
	cpu->mode = mode >= MG_4LEVEL ? CPU_LONG : CPU_PROTECTED;
	cpu->cr0 = CR0_PE | CR0_WP | (mode == MG_OFF ? 0 : CR0_PG);
	cpu->cr3 = new_table(g);
	cpu->cr4 = (mode >= MG_PAE ? CR4_PAE : 0) | (mode == MG_5LEVEL ? CR4_LA57 : 0);
	cpu->efer = mode >= MG_4LEVEL ? EFER_LME | EFER_LMA : 0;
	for (unsigned i = 0; i < 4; i++)
		cpu->pdptr[i] = mode == MG_PAE ? new_table(g) | PTE_P : 0;
	mmu_flush(cpu, true);
}

static uint8_t *entry_at(struct mg *g, uint64_t table, uint64_t linear, unsigned level)
{
	if (g->mode == MG_32BIT)
		return mg_ram(g, table + (linear >> mg_shift(g->mode, level)) % 1024 * 4);
	return mg_ram(g, table + (linear >> mg_shift(g->mode, level)) % 512 * 8);
}

static uint8_t *find_entry(struct mg *g, uint64_t linear, unsigned level)
{
	unsigned size = g->mode == MG_32BIT ? 4 : 8;
	uint64_t table = g->cpu->cr3 & ~MASK(12);

	if (g->mode == MG_PAE)
		table = g->cpu->pdptr[linear >> 30 & 3] & ~MASK(12);
	for (unsigned at = mg_levels(g->mode); at > level; at--) {
		uint8_t *entry = entry_at(g, table, linear, at);

		if (!load_le(entry, size))
			store_le(entry, size, new_table(g) | PTE_P | PTE_RW | PTE_US);
		table = load_le(entry, size) & MASK(40) & ~MASK(12);
	}
	return entry_at(g, table, linear, level);
}

void mg_set(struct mg *g, uint64_t linear, unsigned level, uint64_t value)
{
	store_le(find_entry(g, linear, level), g->mode == MG_32BIT ? 4 : 8, value);
}

uint64_t mg_get(struct mg *g, uint64_t linear, unsigned level)
{
	return load_le(find_entry(g, linear, level), g->mode == MG_32BIT ? 4 : 8);
}

bool mg_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value)
{
	return !MG_RAISES(cpu, *value = mmu_read(cpu, linear, size));
}

bool mg_system_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value)
{
	return !MG_RAISES(cpu, *value = mmu_system_read(cpu, linear, size));
}

bool mg_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	return !MG_RAISES(cpu, mmu_write(cpu, linear, size, value));
}

bool mg_read_bytes(struct cpu *cpu, uint64_t linear, void *buf, size_t len)
{
	return !MG_RAISES(cpu, mmu_read_bytes(cpu, linear, buf, len));
}

bool mg_write_bytes(struct cpu *cpu, uint64_t linear, const void *buf, size_t len)
{
	return !MG_RAISES(cpu, mmu_write_bytes(cpu, linear, buf, len));
}

static void add(struct cpu *cpu, uint64_t linear, unsigned size, bool locked, uint64_t value)
{
	struct mmu_rmw rmw;

	mmu_rmw_begin(cpu, &rmw, linear, size, locked);
	switch (size) {
	case 1:
		__atomic_fetch_add((uint8_t *)rmw.ptr, (uint8_t)value, __ATOMIC_SEQ_CST);
		break;
	case 2:
		__atomic_fetch_add((uint16_t *)rmw.ptr, (uint16_t)value, __ATOMIC_SEQ_CST);
		break;
	case 4:
		__atomic_fetch_add((uint32_t *)rmw.ptr, (uint32_t)value, __ATOMIC_SEQ_CST);
		break;
	default:
		__atomic_fetch_add((uint64_t *)rmw.ptr, value, __ATOMIC_SEQ_CST);
		break;
	}
	mmu_rmw_end(cpu, &rmw);
}

bool mg_add(struct cpu *cpu, uint64_t linear, unsigned size, bool locked, uint64_t value)
{
	return !MG_RAISES(cpu, add(cpu, linear, size, locked, value));
}

void mg_between(struct cpu *cpu)
{
	if (!(atomic_load(&cpu->attention) & ATTENTION_EXCLUSIVE))
		return;
	atomic_fetch_and(&cpu->attention, ~ATTENTION_EXCLUSIVE);
	exclusive_leave(cpu);
	exclusive_enter(cpu);
}
