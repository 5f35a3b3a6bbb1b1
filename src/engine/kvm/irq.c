/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts into KVM's local APICs, and the 8259s' INTR wire.
 *
 * Messages go by KVM_SIGNAL_MSI, whoever sends them. KVM's routing table is needed
 * for two things only: eventfds (irqfd) send the message of their GSI, and KVM
 * reports the EOI of the vectors of level-triggered messages at GSIs 0 to 23. So
 * the table holds of the I/O APIC's pins those that are level-triggered, and a pin
 * that is masked or turned edge-triggered stays in it until the table is next
 * written: a masked pin's interrupt may still be in service, and a needless EOI
 * report harms nothing. Writing the table makes every vCPU exit and waits for a
 * grace period in the kernel, and a booting kernel writes pins by the hundred.
 *
 * INTR goes to vCPU 0. While it is high its thread tries before each entry: when
 * the guest can take an interrupt now (IF set, no shadow, LINT0 passes ExtINT), it
 * runs the 8259s' acknowledge cycle and hands the vector to KVM_INTERRUPT; else it
 * asks KVM to exit as soon as the guest can. The cycle is never run for nothing.
 */
#include "engine/kvm/kvm_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "core/x86/regs.h"

void kvm_msi(struct engine_vm *vm, const struct msi_msg *msg)
{
	struct kvm_msi request = {
		.address_lo = (uint32_t)msg->addr,
		.address_hi = (uint32_t)(msg->addr >> 32),
		.data = msg->data,
	};

	vm_count(vm, COUNT_MSI);
	/* Fails where no local APIC takes the message, as a real one vanishes on the bus. */
	ioctl(vm->fd, KVM_SIGNAL_MSI, &request);
}

void kvm_extint(struct engine_vm *vm, bool level)
{
	struct engine_vcpu *v;

	atomic_store(&vm->intr, level);
	v = atomic_load(&vm->vcpus[0]);
	if (!v)
		return; /* it looks at vm->intr when it is created */
	if (!level)
		atomic_fetch_and(&v->attention, ~ATTEND_EXTINT);
	else if (!(atomic_fetch_or(&v->attention, ATTEND_EXTINT) & ATTEND_EXTINT))
		kvm_poke(v);
}

/* KVM_NMI waits for the vCPU's mutex, which KVM_RUN holds: so the vCPU's thread does it. */
void kvm_nmi(struct engine_vcpu *v)
{
	atomic_fetch_or(&v->attention, ATTEND_NMI);
	kvm_poke(v);
}

/* Makes KVM say whether the guest can take an interrupt, without running it. */
static void refresh_ready(struct engine_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	ioctl(v->fd, KVM_RUN, 0);
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	/* A kick or an NMI may have come meanwhile, and its immediate_exit was just lost. */
	if (atomic_load(&v->attention) & (ATTEND_KICK | ATTEND_NMI))
		__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	v->ready_stale = false;
}

static void attend_extint(struct engine_vcpu *v)
{
	const struct engine_env *env = v->vm->env;
	struct kvm_run *run = v->run;
	struct kvm_interrupt interrupt;

	if (v->ready_stale)
		refresh_ready(v);
	run->request_interrupt_window = 1;
	if (!run->ready_for_interrupt_injection || !env->intack)
		return;
	if (__atomic_load_n(&run->immediate_exit, __ATOMIC_RELAXED))
		return; /* the guest will not run, and the vector would not be seen in its state */
	interrupt.irq = env->intack(env->opaque, v->id);
	vcpu_count(v, COUNT_EXTINT);
	if (ioctl(v->fd, KVM_INTERRUPT, &interrupt) == 0)
		v->extint_vector = (int)interrupt.irq;
	run->ready_for_interrupt_injection = 0;
	run->request_interrupt_window = !!(atomic_load(&v->attention) & ATTEND_EXTINT);
}

void kvm_attend(struct engine_vcpu *v)
{
	unsigned reasons = atomic_load(&v->attention);

	if (reasons & ATTEND_NMI) {
		atomic_fetch_and(&v->attention, ~ATTEND_NMI);
		ioctl(v->fd, KVM_NMI, 0);
	}
	if (reasons & ATTEND_EXTINT)
		attend_extint(v);
}

/*
 * KVM does not show a vector that KVM_INTERRUPT queued and that no entry has taken yet. But it was
 * queued when the guest could take an interrupt. If KVM now says that it cannot, though nothing in
 * the guest prevents it, what prevents it is the queued vector itself.
 */
int kvm_extint_pending(const struct engine_vcpu *v, const struct vcpu_state *s)
{
	const struct vcpu_events *ev = &s->events;

	if (v->extint_vector < 0 || v->ready_stale || v->run->ready_for_interrupt_injection)
		return -1;
	if (!(s->rflags & RFLAGS_IF) || ev->shadow_sti || ev->shadow_mov_ss)
		return -1;
	if (ev->interrupt_injected || ev->exception_injected || ev->exception_pending ||
	    ev->nmi_injected || ev->nmi_pending)
		return -1;
	return v->extint_vector;
}

/* KVM's routing table, written anew: the level-triggered pins and the eventfds. Lock held. */
static int write_routing(struct engine_vm *vm)
{
	unsigned room = ENGINE_GSIS_MAX + vm->irqfds_used;
	struct kvm_irq_routing *table;
	int rc = 0;

	table = calloc(1, sizeof(*table) + room * sizeof(table->entries[0]));
	if (!table)
		return -ENOMEM;
	for (unsigned gsi = 0; gsi < room; gsi++) {
		struct kvm_irq_routing_entry *entry = &table->entries[table->nr];
		const struct msi_msg *msg;

		if (gsi < ENGINE_GSIS_MAX) {
			if (!(vm->pins_routed & BIT(gsi)))
				continue;
			msg = &vm->pins[gsi];
		} else {
			if (vm->irqfds[gsi - ENGINE_GSIS_MAX].fd < 0)
				continue;
			msg = &vm->irqfds[gsi - ENGINE_GSIS_MAX].msg;
		}
		entry->gsi = gsi;
		entry->type = KVM_IRQ_ROUTING_MSI;
		entry->u.msi.address_lo = (uint32_t)msg->addr;
		entry->u.msi.address_hi = (uint32_t)(msg->addr >> 32);
		entry->u.msi.data = msg->data;
		table->nr++;
	}
	vm_count(vm, COUNT_ROUTING);
	if (ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0)
		rc = -errno;
	free(table);
	return rc;
}

static bool same_msg(const struct msi_msg *a, const struct msi_msg *b)
{
	return a->addr == b->addr && a->data == b->data;
}

void kvm_route(struct engine_vm *vm, unsigned gsi, const struct msi_msg *msg)
{
	assert(gsi < ENGINE_GSIS_MAX);
	pthread_mutex_lock(&vm->lock);
	if (msg && (msg->data & MSI_DATA_LEVEL) &&
	    !((vm->pins_routed & BIT(gsi)) && same_msg(&vm->pins[gsi], msg))) {
		vm->pins[gsi] = *msg;
		vm->pins_routed |= (uint32_t)BIT(gsi);
		/* Refused only for want of memory, or for a destination that no APIC can have. */
		if (write_routing(vm))
			vm->pins_routed &= ~(uint32_t)BIT(gsi);
	} else if (msg && !(msg->data & MSI_DATA_LEVEL)) {
		vm->pins_routed &= ~(uint32_t)BIT(gsi); /* goes with the next writing */
	}
	pthread_mutex_unlock(&vm->lock);
}

/* The slot of eventfd, or with fd -1 a free one; -1 if there is none. */
static int find_irqfd(struct engine_vm *vm, int fd)
{
	for (unsigned i = 0; i < vm->irqfds_used; i++)
		if (vm->irqfds[i].fd == fd)
			return (int)i;
	if (fd < 0 && vm->irqfds_used < KVM_IRQFDS_MAX) {
		vm->irqfds[vm->irqfds_used].fd = -1;
		return (int)vm->irqfds_used++;
	}
	return -1;
}

static int set_irqfd(struct engine_vm *vm, int fd, int slot, uint32_t flags)
{
	struct kvm_irqfd request = {
		.fd = (uint32_t)fd,
		.gsi = ENGINE_GSIS_MAX + (uint32_t)slot,
		.flags = flags,
	};

	return ioctl(vm->fd, KVM_IRQFD, &request) < 0 ? -errno : 0;
}

static int change_irqfd(struct engine_vm *vm, int slot, const struct msi_msg *msg, struct err *e)
{
	struct msi_msg old = vm->irqfds[slot].msg;
	int rc;

	vm->irqfds[slot].msg = *msg;
	rc = write_routing(vm);
	if (!rc)
		return 0;
	vm->irqfds[slot].msg = old;
	return err_errno(e, rc, "KVM refuses the message of an eventfd");
}

static int add_irqfd_locked(struct engine_vm *vm, int fd, const struct msi_msg *msg, struct err *e)
{
	int slot, rc;

	if (!vm->irqfds)
		vm->irqfds = calloc(KVM_IRQFDS_MAX, sizeof(*vm->irqfds));
	if (!vm->irqfds)
		return err_set(e, ENOMEM, "no memory for the interrupt table");
	slot = find_irqfd(vm, fd);
	if (slot >= 0)
		return change_irqfd(vm, slot, msg, e);
	slot = find_irqfd(vm, -1);
	if (slot < 0)
		return err_set(e, ENOSPC, "more than %d eventfds cannot send interrupts",
			       KVM_IRQFDS_MAX);
	vm->irqfds[slot] = (struct kvm_irqfd_slot){fd, *msg};
	rc = write_routing(vm);
	if (!rc)
		rc = set_irqfd(vm, fd, slot, 0);
	if (!rc)
		return 0;
	vm->irqfds[slot].fd = -1;
	return err_errno(e, rc, "KVM refuses to take interrupts from an eventfd");
}

int kvm_irqfd_add(struct engine_vm *vm, int eventfd, const struct msi_msg *msg, struct err *e)
{
	int rc;

	if (eventfd < 0)
		return err_set(e, EBADF, "an interrupt's eventfd is not open");
	pthread_mutex_lock(&vm->lock);
	rc = add_irqfd_locked(vm, eventfd, msg, e);
	pthread_mutex_unlock(&vm->lock);
	return rc;
}

int kvm_irqfd_remove(struct engine_vm *vm, int eventfd, struct err *e)
{
	int slot, rc = -ENOENT;

	pthread_mutex_lock(&vm->lock);
	slot = eventfd < 0 ? -1 : find_irqfd(vm, eventfd);
	if (slot >= 0) {
		rc = set_irqfd(vm, eventfd, slot, KVM_IRQFD_FLAG_DEASSIGN);
		vm->irqfds[slot].fd = -1;
	}
	pthread_mutex_unlock(&vm->lock);
	return rc ? err_errno(e, rc, "cannot take an interrupt's eventfd away") : 0;
}
