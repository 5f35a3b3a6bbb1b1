/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that come and go while the machine runs, on PCI.
 *
 *	attach   kind->attach() makes it and puts it into a free slot; the guest is told by an
 *	         event (devices/acpi/slots.h), and gives its BARs their places
 *	detach   the guest is asked by an event, and
 *	         - ejects it: the vCPU that does so takes the function off the bus
 *	           (machine/pc.c), the rest is done on the I/O thread (take)
 *	         - refuses: the owner is told; but if no driver has the device, which a guest may
 *	           have seen to without knowing how to eject it, it is taken all the same
 *	         - says nothing: it may be asked again
 *	         - is reset, which takes the device
 *
 * A vCPU may be in the middle of an access to a device whose range on the bus is gone
 * (core/bus.h), and end it late. So all vCPUs are parked once before the device's memory is
 * freed; after that they run, and what the device is on the host is closed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"
#include "machine/layout.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"

#define TEXT_MAX 32

static const struct paravirt_kind *const comers[] = {
	[MACHINE_DEVICE_DISK] = &paravirt_disks,
	[MACHINE_DEVICE_NET] = &paravirt_nets,
};

static void tell(struct paravirt *p, enum machine_event_kind event,
		 const struct paravirt_kind *kind, unsigned number)
{
	char text[TEXT_MAX];

	snprintf(text, sizeof(text), "%s%u", kind->name, number);
	machine_tell(p->machine, event, text);
}

/* Where a device is; its slot is this and LAYOUT_VIRTIO_SLOT. */
static unsigned seat_of(const struct paravirt *p, const struct virtio_device *d)
{
	unsigned n = 0;

	while (!p->seats[n] || p->seats[n]->device != d)
		n++;
	return n;
}

/* Whether the guest has been told of slots, whose devices may come and go. */
static int check_slots(const struct paravirt *p, struct err *e)
{
	if (p->mmio)
		return err_set(e, EOPNOTSUPP,
			       "a running VM's devices come and go on PCI only, and its virtio "
			       "devices are on MMIO: start it with PCI");
	if (p->machine->config.fixed)
		return err_set(e, EOPNOTSUPP,
			       "the VM was started with attach=off: its devices are what they are");
	return 0;
}

int paravirt_attach(struct paravirt *p, const struct machine_attachment *a, struct err *e)
{
	const struct paravirt_kind *kind = a->disk ? &paravirt_disks : &paravirt_nets;
	void **state = paravirt_state(p, kind);
	int number;

	number = check_slots(p, e);
	if (!number)
		number = kind->attach(p, state, a, e);
	if (number < 0)
		return number;
	acpi_slots_arrive(p->wires.slots,
			  LAYOUT_VIRTIO_SLOT + seat_of(p, kind->device(*state, (unsigned)number)));
	tell(p, MACHINE_EVENT_ATTACHED, kind, (unsigned)number);
	return number;
}

/* Takes a device that is off the bus, whatever else the guest says of its slot: no vCPU is in it
 * any more. vCPUs parked. */
static struct paravirt_seat *take(struct paravirt *p, unsigned n)
{
	struct paravirt_seat *seat = p->seats[n];

	acpi_slots_forget(p->wires.slots, LAYOUT_VIRTIO_SLOT + n);
	atomic_fetch_and(&p->ejected, ~(uint32_t)BIT(LAYOUT_VIRTIO_SLOT + n));
	atomic_fetch_and(&p->refused, ~(uint32_t)BIT(LAYOUT_VIRTIO_SLOT + n));
	p->seats[n] = NULL;
	virtio_pci_reset(&seat->pci); /* what a late access has begun */
	virtio_pci_release(&seat->pci);
	return seat;
}

/* What it is on the host is closed, which takes its time where an image's last writes go to the
 * disk. */
static void part(struct paravirt *p, struct paravirt_seat *seat)
{
	seat->kind->detach(*paravirt_state(p, seat->kind), seat->number);
	tell(p, MACHINE_EVENT_DETACHED, seat->kind, seat->number);
	free(seat);
}

static bool has_driver(struct virtio_device *d)
{
	bool has;

	pthread_mutex_lock(&d->lock);
	has = d->status;
	pthread_mutex_unlock(&d->lock);
	return has;
}

static void take_ejected(struct paravirt *p, uint32_t slots)
{
	struct paravirt_seat *taken[ARRAY_LEN(p->seats)];
	unsigned count = 0;

	for (unsigned n = 0; n < p->count; n++)
		if (slots & BIT(LAYOUT_VIRTIO_SLOT + n))
			virtio_pci_reset(
				&p->seats[n]->pci); /* takes its time, with no one parked */
	machine_vcpus_park(p->machine);
	for (unsigned n = 0; n < p->count; n++)
		if (slots & BIT(LAYOUT_VIRTIO_SLOT + n))
			taken[count++] = take(p, n);
	machine_go(p->machine);
	while (count)
		part(p, taken[--count]);
}

static void on_refused(struct paravirt *p, unsigned n)
{
	struct paravirt_seat *seat = p->seats[n];

	if (has_driver(seat->device)) {
		tell(p, MACHINE_EVENT_DETACH_REFUSED, seat->kind, seat->number);
		return;
	}
	acpi_slots_forget(p->wires.slots, LAYOUT_VIRTIO_SLOT + n);
	if (pci_host_detach(p->wires.pci, PCI_DEVFN(LAYOUT_VIRTIO_SLOT + n, 0)))
		take_ejected(p, (uint32_t)BIT(LAYOUT_VIRTIO_SLOT + n));
}

static void on_wake(void *opaque)
{
	struct paravirt *p = opaque;
	uint32_t refused = atomic_exchange(&p->refused, 0);
	uint32_t ejected = atomic_exchange(&p->ejected, 0);

	if (p->machine->end != MACHINE_RUNNING)
		return; /* it is all freed soon */
	if (ejected)
		take_ejected(p, ejected);
	for (unsigned n = 0; n < p->count; n++)
		if (refused & ~ejected & BIT(LAYOUT_VIRTIO_SLOT + n))
			on_refused(p, n);
}

int paravirt_detach(struct paravirt *p, enum machine_device which, unsigned number, struct err *e)
{
	const struct paravirt_kind *kind = comers[which];
	struct virtio_device *d = kind->device(*paravirt_state(p, kind), number);
	struct paravirt_seat *seat;
	unsigned n;
	int rc;

	if (!d)
		return err_set(e, ENOENT, "the VM has no %s%u", kind->name, number);
	rc = check_slots(p, e);
	if (rc)
		return rc;
	n = seat_of(p, d);
	if (atomic_load(&p->ejected) & BIT(LAYOUT_VIRTIO_SLOT + n))
		return 0; /* on_wake is about to take it */
	seat = p->seats[n];
	seat->kind = kind;
	seat->number = number;
	acpi_slots_ask(p->wires.slots, LAYOUT_VIRTIO_SLOT + n);
	return 0;
}

void paravirt_ejected(struct paravirt *p, unsigned slot)
{
	atomic_fetch_or(&p->ejected, (uint32_t)BIT(slot));
	event_wake_signal(&p->wake);
}

void paravirt_refused(struct paravirt *p, unsigned slot)
{
	atomic_fetch_or(&p->refused, (uint32_t)BIT(slot));
	event_wake_signal(&p->wake);
}

void paravirt_take_asked(struct paravirt *p)
{
	uint32_t asked = acpi_slots_reset(p->wires.slots);
	uint32_t ejected = atomic_exchange(&p->ejected, 0);

	atomic_store(&p->refused, 0);
	for (unsigned n = 0; n < p->count; n++) {
		unsigned slot = LAYOUT_VIRTIO_SLOT + n;

		if (asked & BIT(slot))
			pci_host_detach(p->wires.pci, PCI_DEVFN(slot, 0));
		if ((asked | ejected) & BIT(slot))
			part(p, take(p, n));
	}
}

int paravirt_hotplug_init(struct paravirt *p, struct err *e)
{
	int rc = event_wake_init(&p->wake, p->machine->loop, on_wake, p);

	return rc ? err_errno(e, rc, "cannot make the PCI slots") : 0;
}

void paravirt_hotplug_release(struct paravirt *p)
{
	event_wake_release(&p->wake, p->machine->loop);
}
