/* SPDX-License-Identifier: Apache-2.0 */
/* The model-specific registers of the vCPU state, from and to KVM. */
#include "engine/kvm/kvm_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/x86/msr.h"

/* A struct kvm_msrs with room for the state's MSRs and the TSC. */
union msr_batch {
	struct kvm_msrs head;
	char room[sizeof(struct kvm_msrs) + (VCPU_MSRS_MAX + 1) * sizeof(struct kvm_msr_entry)];
};

static void batch_add(union msr_batch *b, uint32_t index, uint64_t value)
{
	b->head.entries[b->head.nmsrs++] = (struct kvm_msr_entry){.index = index, .data = value};
}

/* Which MSRs of the state this KVM has, for a vCPU with this CPUID: it reads them one after the
 * other and stops at the first that it does not know. VM's lock held. */
int kvm_msr_list(struct engine_vcpu *v, struct err *e)
{
	struct engine_vm *vm = v->vm;
	const uint32_t *list;
	unsigned count, at = 0;

	if (vm->msr_count)
		return 0;
	list = vcpu_msr_list(&count);
	while (at < count) {
		union msr_batch b = {.head.nmsrs = 0};
		int got;

		for (unsigned i = at; i < count; i++)
			batch_add(&b, list[i], 0);
		got = ioctl(v->fd, KVM_GET_MSRS, &b);
		if (got < 0)
			return kvm_refused(e, "to read model-specific registers");
		for (int i = 0; i < got; i++)
			vm->msrs[vm->msr_count++].index = list[at + (unsigned)i];
		at += (unsigned)got + 1;
	}
	return 0;
}

int kvm_msr_get(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct engine_vm *vm = v->vm;
	union msr_batch b = {.head.nmsrs = 0};
	int got;

	for (unsigned i = 0; i < vm->msr_count; i++)
		batch_add(&b, vm->msrs[i].index, 0);
	batch_add(&b, MSR_IA32_TSC, 0);
	got = ioctl(v->fd, KVM_GET_MSRS, &b);
	if (got < 0)
		return kvm_refused(e, "to read model-specific registers");
	if ((unsigned)got < b.head.nmsrs)
		return err_set(e, EIO, "KVM cannot read MSR 0x%x any more",
			       b.head.entries[got].index);
	for (unsigned i = 0; i < vm->msr_count; i++)
		s->msrs[i] = (struct vcpu_msr){.index = b.head.entries[i].index,
					       .value = b.head.entries[i].data};
	s->msr_count = vm->msr_count;
	s->tsc = b.head.entries[vm->msr_count].data;
	return 0;
}

/* An MSR of the state that this KVM does not have may hold its power-on value, nothing else. */
static int check_foreign(struct engine_vm *vm, const struct vcpu_state *s, struct err *e)
{
	for (unsigned i = 0; i < s->msr_count; i++) {
		const struct vcpu_msr *m = &s->msrs[i];
		bool have = false;

		for (unsigned j = 0; !have && j < vm->msr_count; j++)
			have = vm->msrs[j].index == m->index;
		if (!have && m->value != vcpu_msr_reset_value(m->index))
			return err_set(e, ENOTSUP,
				       "the vCPU's MSR 0x%x holds 0x%llx, but KVM on this host "
				       "does not have it: resume it on a host like the one it "
				       "came from",
				       m->index, (unsigned long long)m->value);
	}
	return 0;
}

bool kvm_msr_read(struct engine_vcpu *v, uint32_t index, uint64_t *value)
{
	union msr_batch b = {.head.nmsrs = 0};

	batch_add(&b, index, 0);
	if (ioctl(v->fd, KVM_GET_MSRS, &b) != 1)
		return false;
	*value = b.head.entries[0].data;
	return true;
}

bool kvm_msr_write(struct engine_vcpu *v, uint32_t index, uint64_t value)
{
	union msr_batch b = {.head.nmsrs = 0};

	batch_add(&b, index, value);
	return ioctl(v->fd, KVM_SET_MSRS, &b) == 1;
}

/* KVM_SET_MSRS stops at the first that it refuses. */
static int set_batch(struct engine_vcpu *v, union msr_batch *b, struct err *e)
{
	int done = ioctl(v->fd, KVM_SET_MSRS, b);

	if (done < 0)
		return kvm_refused(e, "model-specific registers");
	if ((unsigned)done < b->head.nmsrs)
		return err_set(e, EINVAL, "KVM refuses 0x%llx in MSR 0x%x",
			       (unsigned long long)b->head.entries[done].data,
			       b->head.entries[done].index);
	return 0;
}

/* What the state holds for an MSR, or its power-on value: so nothing of what the vCPU was before
 * remains. */
static uint64_t wanted(const struct vcpu_state *s, uint32_t index)
{
	uint64_t value;

	return vcpu_state_get_msr(s, index, &value) ? value : vcpu_msr_reset_value(index);
}

/* The deadline is set in any case, because setting the APIC touched the timer. Of the others those
 * that differ: writing an MSR has effects, and a KVM that does not fully have it may refuse, or
 * write to the host's log. */
int kvm_msr_set(struct engine_vcpu *v, const struct vcpu_state *s, bool deadline, struct err *e)
{
	struct engine_vm *vm = v->vm;
	union msr_batch b = {.head.nmsrs = 0};
	struct vcpu_state now;
	int rc;

	if (s->msr_count > VCPU_MSRS_MAX)
		return err_set(e, EINVAL, "a vCPU's state holds %u MSRs", s->msr_count);
	if (deadline) {
		for (unsigned i = 0; i < vm->msr_count; i++)
			if (vm->msrs[i].index == MSR_IA32_TSC_DEADLINE)
				batch_add(&b, MSR_IA32_TSC_DEADLINE,
					  wanted(s, MSR_IA32_TSC_DEADLINE));
		return set_batch(v, &b, e);
	}
	if ((rc = check_foreign(vm, s, e)) || (rc = kvm_msr_get(v, &now, e)))
		return rc;
	batch_add(&b, MSR_IA32_TSC, s->tsc);
	for (unsigned i = 0; i < vm->msr_count; i++) {
		uint32_t index = vm->msrs[i].index;

		if (index != MSR_IA32_TSC_DEADLINE && wanted(s, index) != now.msrs[i].value)
			batch_add(&b, index, wanted(s, index));
	}
	return set_batch(v, &b, e);
}
