/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's paravirtual clock (kvmclock): nanoseconds since the VM's creation, as set. */
#include "engine/kvm/kvm_int.h"

#include <sys/ioctl.h>

int kvm_clock_get(struct engine_vm *vm, uint64_t *ns, struct err *e)
{
	struct kvm_clock_data data = {0};

	if (ioctl(vm->fd, KVM_GET_CLOCK, &data) < 0)
		return kvm_refused(e, "to read the guest's clock");
	*ns = data.clock;
	return 0;
}

int kvm_clock_set(struct engine_vm *vm, uint64_t ns, struct err *e)
{
	struct kvm_clock_data data = {.clock = ns};

	if (ioctl(vm->fd, KVM_SET_CLOCK, &data) < 0)
		return kvm_refused(e, "to set the guest's clock");
	return 0;
}
