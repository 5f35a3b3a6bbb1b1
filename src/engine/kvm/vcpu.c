/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU: its creation with its CPUID, and what CPUID KVM can give. */
#include "engine/kvm/kvm_int.h"

#include <assert.h>
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Leaves and bits by the sources that core/x86/cpuid.h names. */
#define LEAF_FEATURES      1u
#define LEAF_AMD_FEATURES  0x80000001u
#define ECX_VMX            BIT(5)
#define ECX_X2APIC         BIT(21)
#define ECX_TSC_DEADLINE   BIT(24)
#define AMD_ECX_SVM        BIT(2)
#define LEAF_BRAND         0x80000002u /* to 4 */
#define LEAF_POWER         0x80000007u
#define EDX_INVARIANT_TSC  BIT(8)
#define LEAF_KVM_SIGNATURE 0x40000000u
#define LEAF_KVM_FEATURES  0x40000001u
#define MCG_CTL_P          BIT(8) /* of IA32_MCG_CAP: IA32_MCG_CTL is there */
#define KVM_ENTRIES_MAX    256    /* KVM_MAX_CPUID_ENTRIES since Linux 5.11 */

static struct kvm_cpuid2 *new_cpuid2(unsigned room)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + room * sizeof(c->entries[0]));

	if (c)
		c->nent = room;
	return c;
}

/*
 * What KVM_GET_SUPPORTED_CPUID leaves to user space, and what lodge does not pass on: x2APIC and
 * the deadline timer come with the in-kernel local APIC; a nested guest is not part of
 * struct vcpu_state, so VMX and SVM are not offered. KVM's own leaves (0x4000000x) are offered
 * without the space for other hypervisors' that some kernels fill in.
 */
static void adjust(const struct engine_vm *vm, struct cpuid_entry *e)
{
	switch (e->leaf) {
	case LEAF_FEATURES:
		e->ecx &= ~(uint32_t)ECX_VMX;
		e->ecx |= ECX_X2APIC;
		if (vm->has & KVM_HAS_TSC_DEADLINE)
			e->ecx |= ECX_TSC_DEADLINE;
		break;
	case LEAF_AMD_FEATURES:
		e->ecx &= ~(uint32_t)AMD_ECX_SVM;
		break;
	case LEAF_POWER:
		/* The invariant TSC goes with AMD's HWCR.TscFreqSel, which msr_filter.c shows. */
		if (!(vm->has & KVM_HAS_MSR_EXITS) || !(vm->has & KVM_HAS_MSR_FILTER))
			e->edx &= ~(uint32_t)EDX_INVARIANT_TSC;
		break;
	case LEAF_BRAND:
	case LEAF_BRAND + 1:
	case LEAF_BRAND + 2: /* KVM leaves these to us: older kernels give zeroes */
		__get_cpuid(e->leaf, &e->eax, &e->ebx, &e->ecx, &e->edx);
		break;
	case LEAF_KVM_SIGNATURE:
		e->eax = LEAF_KVM_FEATURES;
		break;
	default:
		break;
	}
}

int kvm_cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct err *e)
{
	struct kvm_cpuid2 *got = new_cpuid2(KVM_ENTRIES_MAX);
	int rc = 0;

	if (!got)
		return err_set(e, ENOMEM, "no memory for CPUID leaves");
	if (ioctl(vm->sys, KVM_GET_SUPPORTED_CPUID, got) < 0)
		rc = kvm_refused(e, "to tell its CPUID leaves");
	table->count = 0;
	for (unsigned i = 0; !rc && i < got->nent; i++) {
		const struct kvm_cpuid_entry2 *from = &got->entries[i];
		struct cpuid_entry entry = {
			.leaf = from->function,
			.subleaf = from->index,
			.indexed = from->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			.eax = from->eax,
			.ebx = from->ebx,
			.ecx = from->ecx,
			.edx = from->edx,
		};

		if (table->count == CPUID_ENTRIES_MAX) {
			rc = err_set(e, E2BIG, "KVM offers more than %d CPUID leaves",
				     CPUID_ENTRIES_MAX);
			break;
		}
		adjust(vm, &entry);
		table->entries[table->count++] = entry;
	}
	free(got);
	return rc;
}

static int set_cpuid(struct engine_vcpu *v, const struct cpuid_table *table, struct err *e)
{
	struct kvm_cpuid2 *c = new_cpuid2(table->count);
	int rc = 0;

	if (!c)
		return err_set(e, ENOMEM, "no memory for CPUID leaves");
	for (unsigned i = 0; i < table->count; i++) {
		const struct cpuid_entry *from = &table->entries[i];

		c->entries[i] = (struct kvm_cpuid_entry2){
			.function = from->leaf,
			.index = from->subleaf,
			.flags = from->indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = from->eax,
			.ebx = from->ebx,
			.ecx = from->ecx,
			.edx = from->edx,
		};
	}
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		rc = kvm_refused(e, "the CPUID leaves of a vCPU");
	free(c);
	return rc;
}

/* A guest that finds a paravirtual interface which its CPUID does not show must not be able to use
 * it. Before KVM_SET_CPUID2, after which KVM has drawn its conclusions. */
static int enforce_cpuid(struct engine_vcpu *v, struct err *e)
{
	struct kvm_enable_cap request = {.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID, .args = {1}};

	if (!(v->vm->has & KVM_HAS_PV_ENFORCEMENT))
		return 0;
	if (ioctl(v->fd, KVM_ENABLE_CAP, &request) < 0)
		return kvm_refused(e, "to hold a vCPU to its CPUID");
	return 0;
}

/* As many machine-check banks as the state has; KVM would give 32. */
static int set_up_mce(struct engine_vcpu *v, struct err *e)
{
	uint64_t mcg_cap = KVM_MCE_BANKS | MCG_CTL_P;

	if (ioctl(v->fd, KVM_X86_SETUP_MCE, &mcg_cap) < 0)
		return kvm_refused(e, "a vCPU's machine-check banks");
	return 0;
}

static int open_vcpu(struct engine_vcpu *v, const struct engine_vcpu_config *config, struct err *e)
{
	void *run;
	int rc;

	v->fd = ioctl(v->vm->fd, KVM_CREATE_VCPU, (unsigned long)config->id);
	if (v->fd < 0)
		return err_errno(e, errno, "KVM refuses to create vCPU %u", config->id);
	run = mmap(NULL, v->vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (run == MAP_FAILED)
		return err_errno(e, errno, "cannot map vCPU %u", config->id);
	v->run = run;
	kvm_post_attach(v->vm, v);
	rc = enforce_cpuid(v, e);
	if (!rc)
		rc = set_cpuid(v, config->cpuid, e);
	if (!rc)
		rc = set_up_mce(v, e);
	if (!rc)
		rc = kvm_msr_list(v, e);
	return rc;
}

static void close_vcpu(struct engine_vcpu *v)
{
	if (v->run)
		munmap(v->run, v->vm->run_bytes);
	if (v->fd >= 0)
		close(v->fd);
	free(v);
}

int kvm_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		    struct engine_vcpu **out, struct err *e)
{
	struct engine_vcpu *v;
	int rc;

	assert(config->id < ENGINE_VCPUS_MAX && !atomic_load(&vm->vcpus[config->id]));
	v = calloc(1, sizeof(*v));
	if (!v)
		return err_set(e, ENOMEM, "no memory for vCPU %u", config->id);
	v->vm = vm;
	v->fd = -1;
	v->id = config->id;
	v->pio = vm->env->pio;
	v->mmio = vm->env->mmio;
	v->ready_stale = true;
	v->extint_vector = -1;
	pthread_mutex_lock(&vm->lock);
	rc = open_vcpu(v, config, e);
	if (!rc)
		atomic_store(&vm->vcpus[v->id], v);
	pthread_mutex_unlock(&vm->lock);
	if (rc) {
		close_vcpu(v);
		return rc;
	}
	if (v->id == 0 && atomic_load(&vm->intr))
		atomic_fetch_or(&v->attention, ATTEND_EXTINT);
	*out = v;
	return 0;
}

void kvm_vcpu_destroy(struct engine_vcpu *v)
{
	struct engine_vm *vm;

	if (!v)
		return;
	vm = v->vm;
	pthread_mutex_lock(&vm->lock);
	atomic_store(&vm->vcpus[v->id], NULL);
	for (unsigned i = 0; i < COUNT_VCPU_END; i++)
		vm->gone[i] += atomic_load(&v->counts[i]);
	pthread_mutex_unlock(&vm->lock);
	close_vcpu(v);
}
