/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver does to a virtio device's registers and to guest memory, and that
 * memory: for the block device, with three queues and limits on a small disk in memory, for the
 * entropy device, for the console, or for two named ports; on MMIO or on PCI, its configuration
 * space included. Whatever it is, the device lives, touches nothing outside guest memory (RAM lies
 * between guard pages), and is still after its reset.
 *
 *	struct head | steps x struct step | memory from 0 on
 *
 * The devices are made once; each input begins and ends with a reset. A block request may be at
 * work on another thread while the next step is done, as on a real machine.
 */
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "devices/pci/host.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/rng.h"
#include "virtio/transport/mmio.h"
#include "virtio/transport/pci.h"

#define RAM       0x10000u
#define DISK_SIZE 0x8000u
#define MMIO      0xc0100000u
#define BAR       0xd0000000u
#define BAR_MSIX  0xd0010000u
#define AREA      0x1000u /* where STEP_START puts the first queue */
#define AREA_SIZE 0xc00u
#define QUEUES    3u
#define SLOT      3u
#define DEVFN     PCI_DEVFN(SLOT, 0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct head {
	uint8_t device; /* bit 0: block, not entropy; bit 1: PCI; bit 2: console, bit 0: ports */
	uint8_t steps;
	uint16_t unused;
};

enum step_kind {
	STEP_WRITE,
	STEP_READ,
	STEP_POKE,
	STEP_NOTIFY,
	STEP_START,
	STEP_TIME,
	STEP_CONFIG,
	STEP_MSIX,
	STEP_KINDS
};

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t size; /* log2; of the queue in STEP_START; the queue in STEP_NOTIFY */
	uint16_t at;  /* offset of a register or in memory */
	uint32_t value;
};

struct place {
	bool pci;
	struct bus mmio, pio;
	struct virtio_env env;
	struct virtio_mmio by_mmio;
	struct virtio_pci by_pci;
	struct pci_host host;
	struct virtio_device *device;
	struct virtio_blk *blk;
	struct virtio_rng rng;
	struct virtio_console *console;
};

static struct mem mem;
static struct clock guest;
static struct place places[8]; /* by head.device */
static uint64_t messages;

static void random_bytes(void *buf, size_t len)
{
	memset(buf, 0x5a, len);
}

static void on_message(void *opaque, const struct msi_msg *msg)
{
	(void)opaque;
	messages += msg->addr + msg->data;
}

static void write_pci(struct place *p, unsigned reg, unsigned size, uint32_t value)
{
	bus_write(&p->pio, 0xcf8, 4, 0x80000000u | DEVFN << 8 | (reg & 0xfc));
	bus_write(&p->pio, 0xcfc + (reg & 3), size, value);
}

/* Where the BARs are, which inputs may have changed. */
static void place_bars(struct place *p)
{
	write_pci(p, PCI_COMMAND, 2, 0);
	write_pci(p, PCI_BAR(0), 4, BAR);
	write_pci(p, PCI_BAR(1), 4, BAR_MSIX);
	write_pci(p, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

static int put_on_pci(struct place *p)
{
	const struct virtio_pci_config config = {
		.env = &p->env, .msi = {on_message, NULL}, .class_code = 0xff0000};
	int rc = virtio_pci_init(&p->by_pci, p->device, &config, NULL);

	if (rc)
		return rc;
	pci_host_init(&p->host);
	rc = bus_add(&p->pio, 0xcf8, PCI_HOST_PORTS, &pci_host_port_ops, &p->host, &p->host.lock,
		     NULL);
	pci_host_attach(&p->host, DEVFN, &p->by_pci.function);
	return rc;
}

static int put_on_mmio(struct place *p)
{
	const struct irq_line line = {.set = NULL};
	int rc = virtio_mmio_init(&p->by_mmio, &p->env, p->device, line, MMIO, NULL);

	return rc ? rc
		  : bus_add(&p->mmio, MMIO, VIRTIO_MMIO_SIZE, &virtio_mmio_ops, &p->by_mmio,
			    &p->device->lock, NULL);
}

/* Nobody reads what it sends. */
static void make_console(struct place *p, struct event_loop *loop, bool named)
{
	struct virtio_port_config ports[2] = {{.name = "first", .open = true}, {.name = "second"}};

	for (unsigned i = 0; i < (named ? 2 : 1); i++)
		ports[i].chardev = chardev_new(loop, -1, -1, NULL);
	p->console = named ? virtio_ports_new(&mem, ports, 2, NULL)
			   : virtio_console_new(&mem, ports[0].chardev, NULL);
	p->device = virtio_console_device(p->console);
}

static void make(unsigned n, struct event_loop *loop, const struct virtio_blk_config *config)
{
	struct place *p = &places[n];

	p->pci = n & 2;
	bus_init(&p->mmio, "mmio", BIT(46));
	bus_init(&p->pio, "pio", 0x10000);
	p->env = (struct virtio_env){.loop = loop, .mmio = &p->mmio};
	if (n & 4) {
		make_console(p, loop, n & 1);
	} else if (n & 1) {
		p->blk = virtio_blk_new(&mem, config, NULL);
		p->device = virtio_blk_device(p->blk);
	} else {
		virtio_rng_init(&p->rng, &mem, random_bytes, NULL);
		p->device = &p->rng.device;
	}
	if (p->pci ? put_on_pci(p) : put_on_mmio(p))
		abort();
}

static void make_all(void)
{
	static struct virtio_blk_config config;
	struct event_loop *loop = event_loop_new(NULL);
	int fd = memfd_create("disk", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, DISK_SIZE) || mem_init(&mem, 0, NULL) ||
	    mem_add_ram(&mem, 0, RAM, NULL))
		abort();
	clock_init_manual(&guest);
	config.disk = disk_open(&(struct disk_config){.path = path}, NULL);
	config.workers = workers_new("fuzz", 2, NULL);
	config.clock = &guest;
	config.serial = "serial";
	config.queues = QUEUES;
	config.block_size = 512;
	if (!loop || !config.disk || !config.workers)
		abort();
	for (unsigned i = 0; i < ARRAY_LEN(places); i++)
		make(i, loop, &config);
}

static void write_mmio(struct place *p, unsigned reg, uint32_t value)
{
	bus_write(&p->mmio, MMIO + reg, 4, value);
}

static void reset(struct place *p)
{
	if (p->pci)
		virtio_pci_reset(&p->by_pci);
	else
		virtio_mmio_reset(&p->by_mmio);
}

/* A driver's way to DRIVER_OK with one queue or more, which random registers would hardly find. */
static void start(struct place *p, unsigned size, uint32_t features)
{
	struct virtio_device *d = p->device;

	reset(p);
	pthread_mutex_lock(&d->lock);
	virtio_accept(d, 0, features & (uint32_t)d->offered);
	virtio_accept(d, 1, 1 | (features >> 8 & (uint32_t)(d->offered >> 32)));
	virtio_set_status(d, VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < d->queue_count; i++) {
		uint64_t area = AREA + i * AREA_SIZE;

		virtio_queue(d, i)->place = (struct virtq_place){1u << size, area, area + 0x800,
								 area + 0xa00};
		virtio_queue_enable(d, i);
	}
	virtio_set_status(d, VIRTIO_DRIVER_OK);
	pthread_mutex_unlock(&d->lock);
}

static void notify(struct place *p, unsigned queue)
{
	if (p->pci)
		bus_write(&p->mmio, BAR + 0x3000 + queue * 4, 2, queue);
	else
		write_mmio(p, 0x50, queue);
}

static void poke(unsigned at, unsigned size, uint32_t value)
{
	uint8_t *p = mem_ptr_rw(&mem, at, size);

	if (p)
		store_le(p, size, value);
}

/* Time passes, or limits change. */
static void do_time(struct place *p, const struct step *s)
{
	const struct limiter_bucket b = {s->at, s->value & 0xff, s->value >> 16};

	if (p->console && p->device->queue_count > 2)
		virtio_port_set_open(p->console, s->value & 1, s->value & 2);
	else if (p->console)
		virtio_console_resize(p->console, s->at, s->value);
	else if (p->blk && s->value & 0x100)
		virtio_blk_limit(p->blk, s->value & 0x200 ? &b : NULL,
				 s->value & 0x400 ? &b : NULL);
	else
		clock_advance(&guest, (uint64_t)s->at << 16);
}

static uint64_t register_at(const struct place *p, const struct step *s)
{
	return p->pci ? BAR + s->at % 0x4000 : MMIO + s->at % VIRTIO_MMIO_SIZE;
}

static void do_step(struct place *p, const struct step *s)
{
	unsigned size = 1u << s->size % 3;

	switch (s->kind % STEP_KINDS) {
	case STEP_WRITE:
		bus_write(&p->mmio, register_at(p, s), size, s->value);
		break;
	case STEP_READ:
		bus_read(&p->mmio, register_at(p, s), size);
		break;
	case STEP_POKE:
		poke(s->at, size, s->value);
		break;
	case STEP_NOTIFY:
		notify(p, s->size % MAX(QUEUES, p->device->queue_count));
		break;
	case STEP_START:
		start(p, s->size % 8, s->value);
		break;
	case STEP_TIME:
		do_time(p, s);
		break;
	case STEP_CONFIG:
		if (p->pci)
			write_pci(p, s->at & 0xff, size, s->value);
		break;
	case STEP_MSIX:
		bus_write(&p->mmio, BAR_MSIX + s->at % 0x1000, 4, s->value);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct limiter_bucket none;
	struct head head;
	struct place *p;
	struct step step;
	size_t steps;

	if (!mem.count)
		make_all();
	if (size < sizeof(head))
		return -1;
	memcpy(&head, data, sizeof(head));
	data += sizeof(head);
	size -= sizeof(head);
	p = &places[head.device % ARRAY_LEN(places)];
	steps = MIN(head.steps, size / sizeof(step));
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	memcpy(mem_ptr_rw(&mem, 0, RAM), data + steps * sizeof(step),
	       MIN(size - steps * sizeof(step), RAM));
	reset(p);
	if (p->pci)
		place_bars(p);
	if (p->blk)
		virtio_blk_limit(p->blk, &none, &none);
	for (size_t i = 0; i < steps; i++) {
		memcpy(&step, data + i * sizeof(step), sizeof(step));
		do_step(p, &step);
	}
	reset(p);
	assert(!p->device->status && !p->device->queues[0].enabled && !guest.first);
	return 0;
}
