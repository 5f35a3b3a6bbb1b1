/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM: its creation with the split interrupt controllers (local APICs in the
 * kernel, 8259s and I/O APIC in the machine), and the table of the engine.
 */
#include "engine/kvm/kvm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/kvm/kvm_int.h"

/* Three pages below 4 GiB that vmx takes for guests in real mode on CPUs without unrestricted
 * guest; one page more below it for the identity map, which is KVM's default place. */
#define TSS_ADDRESS 0xfffbd000ul

static int enable(struct engine_vm *vm, uint32_t cap, uint64_t arg, const char *name, struct err *e)
{
	struct kvm_enable_cap request = {.cap = cap, .args = {arg}};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &request) < 0)
		return kvm_refused(e, name);
	return 0;
}

static int enable_optional(struct engine_vm *vm, struct err *e)
{
	static const struct {
		uint64_t has;
		uint32_t cap;
		uint64_t arg;
		const char *name;
	} wanted[] = {
		{KVM_HAS_PAYLOAD, KVM_CAP_EXCEPTION_PAYLOAD, 1, "KVM_CAP_EXCEPTION_PAYLOAD"},
		{KVM_HAS_TRIPLE_FAULT, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1,
		 "KVM_CAP_X86_TRIPLE_FAULT_EVENT"},
		{KVM_HAS_MANUAL_DIRTY, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		 KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2"},
		{KVM_HAS_PMU_SWITCH, KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE,
		 "KVM_CAP_PMU_CAPABILITY"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(wanted); i++) {
		int rc;

		if (!(vm->has & wanted[i].has))
			continue;
		rc = enable(vm, wanted[i].cap, wanted[i].arg, wanted[i].name, e);
		if (rc)
			return rc;
	}
	return 0;
}

static int set_up(struct engine_vm *vm, struct err *e)
{
	int rc;

	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) < 0)
		return kvm_refused(e, "the address of its own TSS");
	rc = enable(vm, KVM_CAP_SPLIT_IRQCHIP, ENGINE_GSIS_MAX, "split interrupt controllers", e);
	if (!rc)
		rc = enable(vm, KVM_CAP_X2APIC_API,
			    KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK,
			    "32-bit APIC ids", e);
	if (!rc)
		rc = enable_optional(vm, e);
	if (!rc)
		rc = kvm_msr_protect(vm, e);
	return rc;
}

static int create_fd(struct engine_vm *vm, struct err *e)
{
	int bytes;

	do {
		vm->fd = ioctl(vm->sys, KVM_CREATE_VM, 0);
	} while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0 && (errno == EBUSY || errno == EIO || errno == EOPNOTSUPP))
		return err_set(e, errno,
			       "KVM cannot create a VM: the CPU's virtualization is switched off "
			       "or taken by another hypervisor: stop that, or look in dmesg");
	if (vm->fd < 0)
		return kvm_refused(e, "to create a VM");
	bytes = ioctl(vm->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (bytes < (int)sizeof(struct kvm_run))
		return err_set(e, ENOTSUP, "KVM's vCPU mapping has an impossible size of %d bytes",
			       bytes);
	vm->run_bytes = bytes;
	return 0;
}

int kvm_vm_open(struct engine_vm **out, const char *path, const struct engine_env *env,
		struct err *e)
{
	struct engine_vm *vm = calloc(1, sizeof(*vm));
	int rc;

	if (!vm)
		return err_set(e, ENOMEM, "no memory for a VM");
	vm->env = env;
	vm->fd = -1;
	pthread_mutex_init(&vm->lock, NULL);
	pthread_mutex_init(&vm->post_lock, NULL);
	rc = vm->sys = kvm_host_open(path, &vm->has, e);
	if (rc >= 0)
		rc = kvm_kick_install(e);
	if (!rc)
		rc = create_fd(vm, e);
	if (!rc)
		rc = set_up(vm, e);
	if (rc) {
		kvm_vm_destroy(vm);
		return rc;
	}
	*out = vm;
	return 0;
}

static int vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return kvm_vm_open(vm, KVM_DEVICE, env, e);
}

void kvm_vm_destroy(struct engine_vm *vm)
{
	if (!vm)
		return;
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++)
		assert(!vm->vcpus[i]);
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->sys >= 0)
		close(vm->sys);
	pthread_mutex_destroy(&vm->lock);
	pthread_mutex_destroy(&vm->post_lock);
	free(vm->irqfds);
	free(vm);
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.probe = kvm_probe,
	.features = kvm_features,
	.vm_create = vm_create,
	.vm_destroy = kvm_vm_destroy,
	.cpuid_supported = kvm_cpuid_supported,
	.map = kvm_map,
	.unmap = kvm_unmap,
	.dirty_start = kvm_dirty_start,
	.dirty_stop = kvm_dirty_stop,
	.dirty_take = kvm_dirty_take,
	.vcpu_create = kvm_vcpu_create,
	.vcpu_destroy = kvm_vcpu_destroy,
	.run = kvm_run,
	.kick = kvm_kick,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.msi = kvm_msi,
	.extint = kvm_extint,
	.nmi = kvm_nmi,
	.route = kvm_route,
	.irqfd_add = kvm_irqfd_add,
	.irqfd_remove = kvm_irqfd_remove,
	.doorbell_add = kvm_doorbell_add,
	.doorbell_remove = kvm_doorbell_remove,
	.post = kvm_post,
	.post_drain = kvm_post_drain,
	.clock_get = kvm_clock_get,
	.clock_set = kvm_clock_set,
	.stats = kvm_stats,
};
