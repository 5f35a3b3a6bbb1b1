/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doorbells: a guest's write to an address signals an eventfd in the kernel, and
 * the vCPU goes on at once (KVM_IOEVENTFD). Size 0 stands for a write of any size,
 * which KVM answers faster for device memory; it takes no match.
 */
#include "engine/kvm/kvm_int.h"

#include <errno.h>
#include <sys/ioctl.h>

static int ioeventfd(struct engine_vm *vm, const struct engine_doorbell *bell, uint32_t flags,
		     struct err *e)
{
	struct kvm_ioeventfd request = {
		.addr = bell->addr,
		.len = bell->size,
		.fd = bell->eventfd,
		.datamatch = bell->matching ? bell->match : 0,
		.flags = flags,
	};

	if (bell->size == 0 && !(vm->has & KVM_HAS_DOORBELL_NOSIZE))
		return err_set(e, ENOTSUP, "a doorbell for writes of any size needs Linux 4.4");
	if (bell->bus == vm->env->pio)
		request.flags |= KVM_IOEVENTFD_FLAG_PIO;
	if (bell->matching)
		request.flags |= KVM_IOEVENTFD_FLAG_DATAMATCH;
	if (ioctl(vm->fd, KVM_IOEVENTFD, &request) < 0)
		return err_errno(e, errno, "KVM refuses a doorbell of %u bytes at 0x%llx",
				 bell->size, (unsigned long long)bell->addr);
	return 0;
}

int kvm_doorbell_add(struct engine_vm *vm, const struct engine_doorbell *bell, struct err *e)
{
	return ioeventfd(vm, bell, 0, e);
}

int kvm_doorbell_remove(struct engine_vm *vm, const struct engine_doorbell *bell, struct err *e)
{
	return ioeventfd(vm, bell, KVM_IOEVENTFD_FLAG_DEASSIGN, e);
}
