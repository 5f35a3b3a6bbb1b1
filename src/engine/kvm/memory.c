/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory: KVM's memory slots, one a region by its number, and the log of
 * pages that the guest wrote.
 *
 * Where KVM has manual protection (Linux 5.2) reading the log and arming it again
 * are two steps, and only the pages that were dirty are armed again; else reading
 * does both. Either way a page written after it was reported is reported again.
 */
#include "engine/kvm/kvm_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static int set_slot(struct engine_vm *vm, const struct mem_region *r, uint64_t size, bool log,
		    struct err *e)
{
	struct kvm_userspace_memory_region slot = {
		.slot = r->slot,
		.flags = log ? KVM_MEM_LOG_DIRTY_PAGES : 0,
		.guest_phys_addr = r->gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)r->host,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
		return err_errno(e, errno, "KVM refuses guest memory at 0x%llx, %llu MiB",
				 (unsigned long long)r->gpa, (unsigned long long)(size >> 20));
	return 0;
}

int kvm_map(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	int rc;

	assert(region->slot < MEM_SLOTS_MAX);
	pthread_mutex_lock(&vm->lock);
	rc = set_slot(vm, region, region->size, vm->dirty_logging, e);
	if (!rc)
		vm->regions[region->slot] = *region;
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int kvm_unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	int rc;

	assert(region->slot < MEM_SLOTS_MAX);
	pthread_mutex_lock(&vm->lock);
	rc = set_slot(vm, region, 0, false, e);
	if (!rc)
		vm->regions[region->slot].size = 0;
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

static int set_logging(struct engine_vm *vm, bool log, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&vm->lock);
	vm->dirty_logging = log;
	for (unsigned i = 0; !rc && i < MEM_SLOTS_MAX; i++)
		if (vm->regions[i].size)
			rc = set_slot(vm, &vm->regions[i], vm->regions[i].size, log, e);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int kvm_dirty_start(struct engine_vm *vm, struct err *e)
{
	return set_logging(vm, true, e);
}

int kvm_dirty_stop(struct engine_vm *vm, struct err *e)
{
	return set_logging(vm, false, e);
}

/* Arms the log again for the pages set in bitmap. */
static int clear_log(struct engine_vm *vm, const struct mem_region *r, uint64_t *bitmap,
		     struct err *e)
{
	uint64_t pages = r->size >> GUEST_PAGE_SHIFT;
	/* The count is a 32-bit field, and a multiple of 64 unless it reaches the slot's end. */
	const uint64_t chunk = BIT(30);

	for (uint64_t first = 0; first < pages; first += chunk) {
		struct kvm_clear_dirty_log clear = {
			.slot = r->slot,
			.num_pages = MIN(chunk, pages - first),
			.first_page = first,
			.dirty_bitmap = bitmap + first / 64,
		};

		if (ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &clear) < 0)
			return kvm_refused(e, "to clear the log of written pages");
	}
	return 0;
}

int kvm_dirty_take(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
		   struct err *e)
{
	size_t words = (size_t)(align_up(region->size >> GUEST_PAGE_SHIFT, 64) / 64);
	uint64_t *fresh = calloc(words, sizeof(*fresh));
	struct kvm_dirty_log log = {.slot = region->slot, .dirty_bitmap = fresh};
	int rc = 0;

	if (!fresh)
		return err_set(e, ENOMEM, "no memory for the bitmap of written pages");
	if (ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0)
		rc = kvm_refused(e, "the log of written pages");
	if (!rc && (vm->has & KVM_HAS_MANUAL_DIRTY))
		rc = clear_log(vm, region, fresh, e);
	for (size_t i = 0; !rc && i < words; i++)
		bitmap[i] |= fresh[i];
	free(fresh);
	return rc;
}
