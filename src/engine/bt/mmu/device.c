/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APIC's page, by IA32_APIC_BASE, wins over everything else; the rest goes
 * to the memory bus.
 *
 * The local APIC has a 32-bit register every 16 bytes, to be accessed as 32 bits;
 * what else a guest tries is undefined (SDM vol. 3A 11.4.1). Here a read within the
 * register's four bytes gives those, one beyond gives zeroes, and only writes from the
 * register's first byte of at least its width arrive.
 */
#include "engine/bt/mmu/device.h"

#include <string.h>

#include "core/bus.h"
#include "core/engine.h"
#include "engine/bt/cpu.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/vm.h"

#define LAPIC_REGISTER 4u  /* bytes of a register */
#define LAPIC_STRIDE   16u /* from one to the next */

bool device_is_lapic(const struct cpu *cpu, uint64_t gpa)
{
	return (cpu->apic_base & APIC_BASE_ENABLE) && !(cpu->apic_base & APIC_BASE_EXTD) &&
	       (cpu->apic_base & APIC_BASE_ADDR) == (gpa & ~(uint64_t)(GUEST_PAGE_SIZE - 1));
}

static uint64_t lapic_read(struct cpu *cpu, unsigned offset, unsigned size)
{
	const struct engine_env *env = cpu->vm->env;
	unsigned within = offset % LAPIC_STRIDE;
	uint64_t value;

	if (within && within + size > LAPIC_REGISTER)
		return 0;
	value = env->lapic->read(env->opaque, cpu->id, offset - within);
	return value >> (within * 8) & MASK(size * 8);
}

static void lapic_write(struct cpu *cpu, unsigned offset, unsigned size, uint64_t value)
{
	const struct engine_env *env = cpu->vm->env;

	if (offset % LAPIC_STRIDE || size < LAPIC_REGISTER)
		return;
	env->lapic->write(env->opaque, cpu->id, offset, (uint32_t)value);
}

void device_read(struct cpu *cpu, uint64_t gpa, void *buf, unsigned len)
{
	uint8_t *bytes = buf;
	unsigned part;

	journal_refuse(cpu);
	cpu_count(&cpu->stats.mmio_accesses);
	for (unsigned done = 0; done < len; done += part) {
		uint64_t value, at = gpa + done;

		part = MIN(len - done, 8);
		if (device_is_lapic(cpu, at))
			value = lapic_read(cpu, at % GUEST_PAGE_SIZE, part);
		else
			value = bus_read(cpu->vm->env->mmio, at, part);
		store_le(bytes + done, part, value);
	}
}

void device_write(struct cpu *cpu, uint64_t gpa, const void *buf, unsigned len)
{
	const uint8_t *bytes = buf;
	unsigned part;

	journal_refuse(cpu);
	cpu_count(&cpu->stats.mmio_accesses);
	for (unsigned done = 0; done < len; done += part) {
		uint64_t value, at = gpa + done;

		part = MIN(len - done, 8);
		value = load_le(bytes + done, part);
		if (device_is_lapic(cpu, at))
			lapic_write(cpu, at % GUEST_PAGE_SIZE, part, value);
		else
			bus_write(cpu->vm->env->mmio, at, part, value);
	}
}
