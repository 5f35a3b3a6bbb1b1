/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of a VM: its vCPUs' together, destroyed ones included, and its own. */
#include "engine/kvm/kvm_int.h"

static const char *const names[] = {
	[COUNT_EXITS] = "exits",
	[COUNT_IO_READ] = "port-reads",
	[COUNT_IO_WRITE] = "port-writes",
	[COUNT_MMIO_READ] = "mmio-reads",
	[COUNT_MMIO_WRITE] = "mmio-writes",
	[COUNT_IRQ_WINDOW] = "interrupt-windows",
	[COUNT_IOAPIC_EOI] = "ioapic-eois",
	[COUNT_MSR_HANDLED] = "msr-emulated",
	[COUNT_MSR_DENIED] = "msr-denied",
	[COUNT_INTERRUPTED] = "interrupted",
	[COUNT_OTHER] = "other-exits",
	[COUNT_EXTINT] = "8259-interrupts",
	[COUNT_MSI] = "messages",
	[COUNT_ROUTING] = "routing-updates",
};

_Static_assert(ARRAY_LEN(names) == COUNT_END, "a counter lacks its name");

static uint64_t sum(struct engine_vm *vm, unsigned what)
{
	uint64_t total;

	if (what >= COUNT_VCPU_END)
		return atomic_load_explicit(&vm->counts[what - COUNT_VCPU_END],
					    memory_order_relaxed);
	total = vm->gone[what];
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++) {
		struct engine_vcpu *v = atomic_load(&vm->vcpus[i]);

		if (v)
			total += atomic_load_explicit(&v->counts[what], memory_order_relaxed);
	}
	return total;
}

size_t kvm_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max)
{
	pthread_mutex_lock(&vm->lock); /* keeps the vCPUs from being destroyed meanwhile */
	for (unsigned i = 0; i < COUNT_END && i < max; i++)
		stats[i] = (struct engine_stat){names[i], sum(vm, i)};
	pthread_mutex_unlock(&vm->lock);
	return COUNT_END;
}
