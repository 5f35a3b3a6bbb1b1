/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other side of a virtqueue: a driver as virtio 1.2 describes it (2.7.13, 2.7.14; 2.8.21,
 * 2.8.22), written from the specification and sharing nothing with the device's side but memory.
 */
#ifndef LODGE_TESTS_UNIT_VIRTIO_QUEUE_DRIVER_H
#define LODGE_TESTS_UNIT_VIRTIO_QUEUE_DRIVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/mem.h"

#define DRIVER_SIZE_MAX 256

#define DESC_F_NEXT     1
#define DESC_F_WRITE    2
#define DESC_F_INDIRECT 4
#define DESC_F_AVAIL    0x80
#define DESC_F_USED     0x8000

struct driver_buffer {
	uint64_t gpa;
	uint32_t len;
	bool write;
};

struct driver {
	struct mem *mem;
	bool packed, event_idx;
	unsigned size;
	uint64_t desc, driver, device; /* the three areas */
	uint64_t tables;               /* where indirect tables are: a page for each id */
	/* the driver's own knowledge */
	uint16_t avail, used;
	bool avail_wrap, used_wrap;
	uint16_t added;                  /* since it was last asked whether to notify */
	unsigned free;                   /* descriptors */
	unsigned slots[DRIVER_SIZE_MAX]; /* by id: descriptors of the ring; 0: the id is free */
	uint16_t next[DRIVER_SIZE_MAX];  /* split: free descriptors, and chains, linked */
	uint16_t first_free;
};

/* Lays the areas out from area on (an 16 KiB block), zeroed, and tables from tables on. */
void driver_init(struct driver *d, struct mem *mem, bool packed, unsigned size, uint64_t area);

/* Makes n elements available as one buffer; its id, or -1 if there is no room. */
int driver_add(struct driver *d, const struct driver_buffer *buffers, unsigned n, bool indirect);

/* Whether the device is to be notified of what was added since the last call. */
bool driver_should_kick(struct driver *d);

/* Takes a used buffer: its id, or -1; what the device says it wrote. */
int driver_get_used(struct driver *d, uint32_t *written);

/* Asks for interrupts; or for none; or, with an event index, for one when ahead more descriptors
 * (packed) or buffers (split) are used than were seen. */
void driver_want_interrupts(struct driver *d, bool want);
void driver_want_interrupt_after(struct driver *d, unsigned ahead);

/* Guest memory as the driver's processor sees it. */
uint64_t driver_peek(const struct driver *d, uint64_t gpa, unsigned size);
void driver_poke(struct driver *d, uint64_t gpa, unsigned size, uint64_t value);

/* The address of descriptor n; and its flags' address. */
uint64_t driver_desc(const struct driver *d, unsigned n);
uint64_t driver_flags(const struct driver *d, unsigned n);

#endif
