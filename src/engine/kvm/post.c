/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posted writes by KVM's coalesced port and MMIO ring (Linux
 * Documentation/virt/kvm/api.rst, 4.116 "KVM_(UN)REGISTER_COALESCED_MMIO").
 *
 * The VM has one ring, a page of each vCPU's shared mapping. KVM appends to it and
 * enters user space only when it is full; here it is emptied, in order, by whoever
 * holds post_lock: after every exit of any vCPU, before the exit is looked at.
 *
 * Kernels (6.1 for one) judge whether the ring is full by (first - last - 1) modulo its 170
 * entries, in 32 bits. That goes wrong where first is 0: a full ring then counts as empty, and
 * all in it is lost. So how far it was emptied is kept in the VM, and where that is entry 0 the
 * kernel is told the one before it.
 */
#include "engine/kvm/kvm_int.h"

#include <errno.h>
#include <sys/ioctl.h>

#define PAGE 4096u /* the host's, which is of our architecture */

/* The ring fills a page. */
#define RING_ENTRIES \
	((PAGE - sizeof(struct kvm_coalesced_mmio_ring)) / sizeof(struct kvm_coalesced_mmio))

static void tell_first(struct kvm_coalesced_mmio_ring *ring, uint32_t first, uint32_t entries)
{
	__atomic_store_n(&ring->first, first ? first : entries - 1, __ATOMIC_RELEASE);
}

void kvm_post_attach(struct engine_vm *vm, struct engine_vcpu *v)
{
	int page = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_MMIO);

	if (page <= 0 || ((size_t)page + 1) * PAGE > vm->run_bytes ||
	    ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_COALESCED_PIO) <= 0)
		return;
	v->ring = (void *)((char *)v->run + (size_t)page * PAGE);
	(void)kvm_post_empty(vm, v->ring);
}

static void deliver(struct engine_vm *vm, const struct kvm_coalesced_mmio *entry)
{
	struct bus *bus = entry->pio ? vm->env->pio : vm->env->mmio;
	unsigned size = MIN(entry->len, 8u);

	bus_write(bus, entry->phys_addr, size, load_le(entry->data, 8) & MASK(size * 8));
}

/* The kernel writes last, with a barrier behind the entry; we write first. */
bool kvm_post_empty(struct engine_vm *vm, struct kvm_coalesced_mmio_ring *ring)
{
	const uint32_t entries = RING_ENTRIES;
	bool any = false;
	uint32_t first, last;

	pthread_mutex_lock(&vm->post_lock);
	first = atomic_load(&vm->post_first);
	while ((last = __atomic_load_n(&ring->last, __ATOMIC_ACQUIRE)) != first && last < entries) {
		deliver(vm, &ring->coalesced_mmio[first]);
		first = (first + 1) % entries;
		atomic_store(&vm->post_first, first);
		tell_first(ring, first, entries);
		any = true;
	}
	if (!any)
		tell_first(ring, first, entries);
	pthread_mutex_unlock(&vm->post_lock);
	return any;
}

bool kvm_post_drain(struct engine_vm *vm)
{
	struct engine_vcpu *v = atomic_load(&vm->vcpus[0]);

	return v && v->ring && kvm_post_empty(vm, v->ring);
}

int kvm_post(struct engine_vm *vm, const struct bus *bus, uint64_t addr, unsigned size, bool on,
	     struct err *e)
{
	struct kvm_coalesced_mmio_zone zone = {
		.addr = addr, .size = size, .pio = bus == vm->env->pio};
	struct engine_vcpu *v = atomic_load(&vm->vcpus[0]);

	if (!v || !v->ring)
		return err_set(e, ENOTSUP, "this kernel's KVM cannot post port writes");
	if (ioctl(vm->fd, on ? KVM_REGISTER_COALESCED_MMIO : KVM_UNREGISTER_COALESCED_MMIO, &zone) <
	    0)
		return kvm_refused(e, "to post writes");
	return 0;
}
