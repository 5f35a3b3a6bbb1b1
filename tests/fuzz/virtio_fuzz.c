/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a driver does to a virtio-mmio device's registers and to guest memory, and that
 * memory: for the block device on a small disk in memory, or for the entropy device. Whatever it
 * is, the device lives, touches nothing outside guest memory (RAM lies between guard pages), and is
 * still after its reset.
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
#include "virtio/blk.h"
#include "virtio/rng.h"
#include "virtio/transport/mmio.h"

#define RAM       0x10000u
#define DISK_SIZE 0x8000u
#define BASE      0xc0100000u
#define AREA      0x1000u /* where STEP_START puts the queue */

#define REG_NOTIFY 0x50u
#define REG_STATUS 0x70u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct head {
	uint8_t device; /* bit 0: block, not entropy */
	uint8_t steps;
	uint16_t unused;
};

enum step_kind { STEP_WRITE, STEP_READ, STEP_POKE, STEP_NOTIFY, STEP_START, STEP_KINDS };

struct step {
	uint8_t kind; /* modulo STEP_KINDS */
	uint8_t size; /* log2, modulo 4; of the queue in STEP_START */
	uint16_t at;  /* offset of a register or in memory */
	uint32_t value;
};

struct place {
	struct bus mmio;
	struct virtio_mmio transport;
	struct virtio_device *device;
};

static struct mem mem;
static struct place blk, rng;

static void random_bytes(void *buf, size_t len)
{
	memset(buf, 0x5a, len);
}

static void put(struct place *p, const struct virtio_env *env, struct virtio_device *d)
{
	const struct irq_line line = {.set = NULL};

	p->device = d;
	bus_init(&p->mmio, "mmio", BIT(46));
	if (virtio_mmio_init(&p->transport, env, d, line, BASE, NULL) ||
	    bus_add(&p->mmio, BASE, VIRTIO_MMIO_SIZE, &virtio_mmio_ops, &p->transport, &d->lock,
		    NULL))
		abort();
}

static void make_all(void)
{
	static struct virtio_rng entropy;
	static struct virtio_env env;
	static struct virtio_blk_config config;
	int fd = memfd_create("disk", MFD_CLOEXEC);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || ftruncate(fd, DISK_SIZE) || mem_init(&mem, 0, NULL) ||
	    mem_add_ram(&mem, 0, RAM, NULL))
		abort();
	env.loop = event_loop_new(NULL);
	config.disk = disk_open(&(struct disk_config){.path = path}, NULL);
	config.workers = workers_new("fuzz", 2, NULL);
	config.serial = "serial";
	if (!env.loop || !config.disk || !config.workers)
		abort();
	put(&blk, &env, virtio_blk_device(virtio_blk_new(&mem, &config, NULL)));
	virtio_rng_init(&entropy, &mem, random_bytes);
	put(&rng, &env, &entropy.device);
}

static void write_register(struct place *p, unsigned reg, uint32_t value)
{
	bus_write(&p->mmio, BASE + reg, 4, value);
}

/* A driver's way to DRIVER_OK, which random registers would hardly find. */
static void start(struct place *p, unsigned size, uint32_t features)
{
	static const uint16_t areas[] = {0x80, AREA, 0x90, AREA + 0x800, 0xa0, AREA + 0xa00};

	write_register(p, REG_STATUS, 0);
	write_register(p, 0x24, 0);
	write_register(p, 0x20, features & (uint32_t)p->device->offered);
	write_register(p, 0x24, 1);
	write_register(p, 0x20, 1 | (features >> 8 & (uint32_t)(p->device->offered >> 32)));
	write_register(p, REG_STATUS, VIRTIO_FEATURES_OK);
	write_register(p, 0x38, 1u << size);
	for (unsigned i = 0; i < ARRAY_LEN(areas); i += 2)
		write_register(p, areas[i], areas[i + 1]);
	write_register(p, 0x44, 1);
	write_register(p, REG_STATUS, VIRTIO_DRIVER_OK);
}

static void poke(unsigned at, unsigned size, uint32_t value)
{
	uint8_t *p = mem_ptr_rw(&mem, at, size);

	if (p)
		store_le(p, size, value);
}

static void do_step(struct place *p, const struct step *s)
{
	unsigned size = 1u << s->size % 3;

	switch (s->kind % STEP_KINDS) {
	case STEP_WRITE:
		bus_write(&p->mmio, BASE + s->at % VIRTIO_MMIO_SIZE, size, s->value);
		break;
	case STEP_READ:
		bus_read(&p->mmio, BASE + s->at % VIRTIO_MMIO_SIZE, size);
		break;
	case STEP_POKE:
		poke(s->at, size, s->value);
		break;
	case STEP_NOTIFY:
		write_register(p, REG_NOTIFY, 0);
		break;
	case STEP_START:
		start(p, s->size % 8, s->value);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
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
	p = head.device & 1 ? &blk : &rng;
	steps = MIN(head.steps, size / sizeof(step));
	memset(mem_ptr_rw(&mem, 0, RAM), 0, RAM);
	memcpy(mem_ptr_rw(&mem, 0, RAM), data + steps * sizeof(step),
	       MIN(size - steps * sizeof(step), RAM));
	write_register(p, REG_STATUS, 0);
	for (size_t i = 0; i < steps; i++) {
		memcpy(&step, data + i * sizeof(step), sizeof(step));
		do_step(p, &step);
	}
	write_register(p, REG_STATUS, 0);
	assert(!p->device->status && !p->device->queues[0].enabled);
	return 0;
}
