/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paravirt_new() is the list of devices; add() puts one on the bus. A kind of device
 * is told by its class code on PCI, which its driver does not look at, but people do.
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

#include "host/disk.h"
#include "host/random.h"
#include "host/workers.h"
#include "machine/layout.h"
#include "machine/machine_int.h"
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "virtio/transport/mmio.h"
#include "virtio/transport/pci.h"

#define MMIO_HID "LNRO0005"

#define CLASS_OTHER   0xff0000u
#define CLASS_STORAGE 0x018000u

/* Threads that wait for the host's disks. */
#define WORKERS 4

/* ISA interrupts that nothing else has, 7 and 15 last: a PIC's spurious ones. */
static const uint8_t mmio_gsis[PARAVIRT_MAX] = {5,  10, 11, 3,  6,  14, 7,  15,
						16, 17, 18, 19, 20, 21, 22, 23};

struct paravirt_disk {
	struct machine *machine;
	char *path;
	struct disk *disk;
	struct virtio_blk *blk; /* NULL: not made */
};

struct seat {
	struct virtio_device *device;
	union {
		struct virtio_mmio mmio;
		struct virtio_pci pci;
	};
};

struct paravirt {
	struct machine *machine;
	struct virtio_env env;
	struct paravirt_wires wires;
	bool mmio;
	unsigned count;
	struct seat *seats[PARAVIRT_MAX];
	struct virtio_rng *rng;  /* NULL: none */
	struct workers *workers; /* NULL: there are no disks */
	struct paravirt_disk disks[PARAVIRT_MAX];
	unsigned disk_count;
};

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

static int seat_mmio(struct paravirt *p, struct seat *seat, struct err *e)
{
	unsigned n = p->count;
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

static int seat_pci(struct paravirt *p, struct seat *seat, uint32_t class_code, struct err *e)
{
	unsigned slot = LAYOUT_VIRTIO_SLOT + p->count;
	const struct virtio_pci_config config = {
		.env = &p->env,
		.intx = p->wires.line(p->wires.opaque, layout_pci_gsi(slot, 0)),
		.msi = p->wires.msi,
		.class_code = class_code,
	};
	int rc = virtio_pci_init(&seat->pci, seat->device, &config, e);

	if (!rc)
		pci_host_attach(p->wires.pci, PCI_DEVFN(slot, 0), &seat->pci.function);
	return rc;
}

/* Puts a device on the bus. */
static int add(struct paravirt *p, struct virtio_device *d, uint32_t class_code, struct err *e)
{
	struct seat *seat;
	int rc;

	if (p->count == PARAVIRT_MAX)
		return err_set(e, ENOSPC,
			       "the machine has more than %d virtio devices: "
			       "give fewer",
			       PARAVIRT_MAX);
	seat = calloc(1, sizeof(*seat));
	if (!seat)
		return err_errno(e, ENOMEM, "cannot make %s", d->ops->name);
	seat->device = d;
	rc = p->mmio ? seat_mmio(p, seat, e) : seat_pci(p, seat, class_code, e);
	if (rc) {
		free(seat);
		return rc;
	}
	p->seats[p->count++] = seat;
	return 0;
}

static int add_rng(struct paravirt *p, struct err *e)
{
	p->rng = calloc(1, sizeof(*p->rng));
	if (!p->rng)
		return err_errno(e, ENOMEM, "cannot make virtio-rng");
	virtio_rng_init(p->rng, &p->machine->mem, host_random);
	return add(p, &p->rng->device, CLASS_OTHER, e);
}

/* The first error of a disk is for the user as well as for the guest. */
static void on_disk_failed(void *opaque, const char *what, int error)
{
	struct paravirt_disk *d = opaque;

	machine_warn(d->machine,
		     "the disk %s failed to %s: %s: the guest has got I/O errors: look after the "
		     "host's disk",
		     d->path, what, strerror(error));
}

static int add_disk(struct paravirt *p, const struct machine_disk *from, struct err *e)
{
	struct paravirt_disk *d = &p->disks[p->disk_count];
	struct virtio_blk_config config = {
		.workers = p->workers,
		.serial = from->serial,
		.failed = on_disk_failed,
		.opaque = d,
	};

	if (p->disk_count == PARAVIRT_MAX)
		return err_set(e, ENOSPC, "the machine has more than %d disks: give fewer",
			       PARAVIRT_MAX);
	p->disk_count++;
	d->machine = p->machine;
	d->path = strdup(from->path);
	if (!d->path)
		return err_errno(e, ENOMEM, "cannot make virtio-blk");
	d->disk = disk_open(from->path, from->readonly, e);
	if (!d->disk)
		return e->code;
	config.disk = d->disk;
	d->blk = virtio_blk_new(&p->machine->mem, &config, e);
	return d->blk ? add(p, virtio_blk_device(d->blk), CLASS_STORAGE, e) : e->code;
}

static int add_disks(struct paravirt *p, struct err *e)
{
	const struct machine_config *c = &p->machine->config;
	int rc = 0;

	if (!c->disk_count)
		return 0;
	p->workers = workers_new("lodge-disk", WORKERS, e);
	if (!p->workers)
		return e->code;
	for (unsigned i = 0; !rc && i < c->disk_count; i++)
		rc = add_disk(p, &c->disks[i], e);
	return rc;
}

static void free_disks(struct paravirt *p)
{
	workers_free(p->workers);
	for (unsigned i = 0; i < p->disk_count; i++) {
		if (p->disks[i].blk)
			virtio_blk_free(p->disks[i].blk);
		disk_free(p->disks[i].disk);
		free(p->disks[i].path);
	}
}

int paravirt_new(struct paravirt **out, struct machine *m, const struct paravirt_wires *wires,
		 struct err *e)
{
	struct paravirt *p = calloc(1, sizeof(*p));
	int rc;

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
	rc = add_disks(p, e);
	if (!rc && m->config.rng)
		rc = add_rng(p, e);
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
		if (p->mmio)
			virtio_mmio_release(&p->seats[i]->mmio);
		else
			virtio_pci_release(&p->seats[i]->pci);
		free(p->seats[i]);
	}
	free_disks(p);
	if (p->rng)
		virtio_rng_release(p->rng);
	free(p->rng);
	free(p);
}

void paravirt_reset(struct paravirt *p)
{
	for (unsigned i = 0; i < p->count; i++) {
		if (p->mmio)
			virtio_mmio_reset(&p->seats[i]->mmio);
		else
			virtio_pci_reset(&p->seats[i]->pci);
	}
}

void paravirt_describe(const struct paravirt *p, struct acpi_config *config,
		       struct acpi_mmio_device *devices)
{
	if (!p->mmio) {
		config->pci_slots = p->count ? LAYOUT_VIRTIO_SLOT + p->count : 0;
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
