/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kinds` is the list of the kinds of devices, each made by its own paravirt_KIND.c;
 * paravirt_add() puts a device on the bus.
 *
 * Interrupts of virtio-mmio devices are edges (virtio/transport/mmio.h). They are ISA
 * lines first, which every guest has, then pins that only the I/O APIC has.
 */
#include "machine/paravirt.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/layout.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/console.h"

#define MMIO_HID "LNRO0005"

/* ISA interrupts that nothing else has, 7 and 15 last: a PIC's spurious ones. */
static const uint8_t mmio_gsis[PARAVIRT_MAX] = {5,  10, 11, 3,  6,  14, 7,  15,
						16, 17, 18, 19, 20, 21, 22, 23};

/* The kinds of devices, in the order in which they are on the bus. */
static const struct paravirt_kind *const kinds[] = {
	&paravirt_disks,   &paravirt_nets, &paravirt_rng,    &paravirt_consoles, &paravirt_vsock,
	&paravirt_balloon, &paravirt_fs,   &paravirt_memory, &paravirt_pmem,
};

_Static_assert(ARRAY_LEN(kinds) <= PARAVIRT_KINDS_MAX, "each has a place for its state");

static bool on_ring(void *opaque, const struct virtio_bell *bell, bool on)
{
	struct machine *m = opaque;
	const struct engine_doorbell request = {
		.bus = &m->mmio,
		.addr = bell->addr,
		.size = bell->size,
		.matching = bell->matching,
		.match = bell->match,
		.eventfd = bell->eventfd,
	};

	if (on)
		return !m->engine->doorbell_add(m->vm, &request, NULL);
	m->engine->doorbell_remove(m->vm, &request, NULL);
	return true;
}

static uint64_t mmio_base(unsigned n)
{
	return LAYOUT_VIRTIO_MMIO + n * LAYOUT_VIRTIO_MMIO_STRIDE;
}

static int seat_mmio(struct paravirt *p, struct paravirt_seat *seat, unsigned n, struct err *e)
{
	struct irq_line line = p->wires.line(p->wires.opaque, mmio_gsis[n]);
	int rc = virtio_mmio_init(&seat->mmio, &p->env, seat->device, line, mmio_base(n), e);

	if (rc)
		return rc;
	rc = bus_add(&p->machine->mmio, mmio_base(n), VIRTIO_MMIO_SIZE, &virtio_mmio_ops,
		     &seat->mmio, &seat->device->lock, e);
	if (rc)
		virtio_mmio_release(&seat->mmio);
	return rc;
}

static int seat_pci(struct paravirt *p, struct paravirt_seat *seat, unsigned slot,
		    uint32_t class_code, struct err *e)
{
	const struct virtio_pci_config config = {
		.env = &p->env,
		.intx = pci_intx_line(p->wires.intx, slot),
		.msi = p->wires.msi,
		.class_code = class_code,
	};
	int rc = virtio_pci_init(&seat->pci, seat->device, &config, e);

	if (!rc)
		pci_host_attach(p->wires.pci, PCI_DEVFN(slot, 0), &seat->pci.function);
	return rc;
}

int paravirt_add(struct paravirt *p, struct virtio_device *d, uint32_t class_code, struct err *e)
{
	struct paravirt_seat *seat;
	unsigned n = 0;
	int rc;

	while (n < p->count && p->seats[n])
		n++;
	if (n == PARAVIRT_MAX)
		return err_set(e, ENOSPC,
			       "the machine has more than %d virtio devices: "
			       "give fewer",
			       PARAVIRT_MAX);
	seat = calloc(1, sizeof(*seat));
	if (!seat)
		return err_errno(e, ENOMEM, "cannot make %s", d->ops->name);
	seat->device = d;
	rc = p->mmio ? seat_mmio(p, seat, n, e)
		     : seat_pci(p, seat, LAYOUT_VIRTIO_SLOT + n, class_code, e);
	if (rc) {
		free(seat);
		return rc;
	}
	p->seats[n] = seat;
	p->count = MAX(p->count, n + 1);
	return 0;
}

void **paravirt_state(struct paravirt *p, const struct paravirt_kind *kind)
{
	size_t i = 0;

	while (kinds[i] != kind)
		i++;
	return &p->states[i];
}

struct machine *paravirt_machine(struct paravirt *p)
{
	return p->machine;
}

struct chardev *paravirt_console_chardev(struct paravirt *p)
{
	return p->wires.console;
}

void paravirt_set_console(struct paravirt *p, struct virtio_console *console)
{
	p->console = console;
	paravirt_set_window(p, &p->machine->config.window);
}

void paravirt_set_window(struct paravirt *p, const struct machine_window *window)
{
	if (p->console)
		virtio_console_resize(p->console, window->columns, window->rows);
}

int paravirt_new(struct paravirt **out, struct machine *m, const struct paravirt_wires *wires,
		 struct err *e)
{
	struct paravirt *p = calloc(1, sizeof(*p));
	int rc = 0;

	if (!p)
		return err_errno(e, ENOMEM, "cannot make the virtio devices");
	p->machine = m;
	p->mmio = m->config.virtio_mmio;
	p->wires = *wires;
	p->env = (struct virtio_env){
		.loop = m->loop,
		.mmio = &m->mmio,
		.ring = m->engine->doorbell_add ? on_ring : NULL,
		.opaque = m,
	};
	rc = paravirt_hotplug_init(p, e);
	if (rc) {
		free(p);
		return rc;
	}
	for (size_t i = 0; !rc && i < ARRAY_LEN(kinds); i++)
		rc = kinds[i]->make(p, &p->states[i], e);
	if (rc) {
		paravirt_free(p);
		return rc;
	}
	*out = p;
	return 0;
}

void paravirt_free(struct paravirt *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (!p->seats[i])
			continue;
		if (p->mmio)
			virtio_mmio_release(&p->seats[i]->mmio);
		else
			virtio_pci_release(&p->seats[i]->pci);
		free(p->seats[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (p->states[i])
			kinds[i]->release(p->states[i]);
	}
	paravirt_hotplug_release(p);
	free(p);
}

void paravirt_reset(struct paravirt *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (!p->seats[i])
			continue;
		if (p->mmio)
			virtio_mmio_reset(&p->seats[i]->mmio);
		else
			virtio_pci_reset(&p->seats[i]->pci);
	}
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (p->states[i] && kinds[i]->reset)
			kinds[i]->reset(p->states[i]);
}

int paravirt_change(struct paravirt *p, const struct machine_change *change, struct err *e)
{
	static const struct paravirt_kind *const whose[] = {
		[MACHINE_CHANGE_DISK_SIZE] = &paravirt_disks,
		[MACHINE_CHANGE_DISK_FILE] = &paravirt_disks,
		[MACHINE_CHANGE_DISK_LIMITS] = &paravirt_disks,
		[MACHINE_CHANGE_NET_LIMITS] = &paravirt_nets,
		[MACHINE_CHANGE_PMEM_LIMITS] = &paravirt_pmem,
		[MACHINE_CHANGE_MEMORY] = &paravirt_memory,
		[MACHINE_CHANGE_BALLOON] = &paravirt_balloon,
		[MACHINE_CHANGE_BALLOON_STATS] = &paravirt_balloon,
		[MACHINE_CHANGE_BALLOON_HINTS] = &paravirt_balloon,
	};
	const struct paravirt_kind *kind = whose[change->kind];

	return kind->change(*paravirt_state(p, kind), change, e);
}

/* Of the kinds whose devices are on the bus. */
static const struct paravirt_kind *const numbered[MACHINE_DEVICES] = {
	[MACHINE_DEVICE_BALLOON] = &paravirt_balloon, [MACHINE_DEVICE_MEMORY] = &paravirt_memory,
	[MACHINE_DEVICE_DISK] = &paravirt_disks,      [MACHINE_DEVICE_NET] = &paravirt_nets,
	[MACHINE_DEVICE_PMEM] = &paravirt_pmem,       [MACHINE_DEVICE_RNG] = &paravirt_rng,
	[MACHINE_DEVICE_VSOCK] = &paravirt_vsock,
};

size_t paravirt_device_stats(struct paravirt *p, const struct machine_device_name *device,
			     struct engine_stat *stats, size_t max)
{
	const struct paravirt_kind *kind = numbered[device->kind];
	struct virtio_device *d;
	size_t n;

	if (!kind)
		return device->number ? 0
				      : paravirt_mmds_stats(*paravirt_state(p, &paravirt_nets),
							    stats, max);
	d = kind->device(*paravirt_state(p, kind), device->number);
	if (!d)
		return 0;
	n = kind->stats ? kind->stats(*paravirt_state(p, kind), stats, max) : 0;
	return n + virtio_device_stats(d, stats + MIN(n, max), max - MIN(n, max));
}

bool paravirt_device_at(struct paravirt *p, unsigned n, struct machine_device_name *device)
{
	for (unsigned kind = 0; kind < MACHINE_DEVICES; kind++) {
		for (unsigned i = 0; i < PARAVIRT_MAX; i++) {
			*device = (struct machine_device_name){kind, i};
			if (paravirt_device_stats(p, device, NULL, 0) && !n--)
				return true;
		}
	}
	return false;
}

void paravirt_describe(const struct paravirt *p, struct acpi_config *config,
		       struct acpi_mmio_device *devices)
{
	if (!p->mmio) {
		config->pci_slots = LAYOUT_VIRTIO_SLOT + PARAVIRT_MAX;
		config->eject_slots = p->machine->config.fixed ? 0 : LAYOUT_VIRTIO_SLOT;
		return;
	}
	for (unsigned i = 0; i < p->count; i++) {
		devices[i] = (struct acpi_mmio_device){
			.hid = MMIO_HID,
			.uid = i,
			.base = mmio_base(i),
			.size = VIRTIO_MMIO_SIZE,
			.gsi = mmio_gsis[i],
			.edge = true,
		};
		snprintf(devices[i].name, sizeof(devices[i].name), "VM%02u", i % 100);
	}
	config->devices = devices;
	config->device_count = p->count;
}
