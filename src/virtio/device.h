/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device without its kind and without its transport: status, features,
 * configuration space, queues, reset.
 *
 * Source: Virtual I/O Device (VIRTIO) 1.2, chapters 2 and 3. Only devices as of
 * version 1 ("modern"): no legacy interface.
 *
 *	transport/mmio, transport/pci    registers, interrupts
 *	        | virtio_set_status, virtio_notify, ...      ^ virtio_link
 *	        v                                            |
 *	struct virtio_device             this frame: the rules that all devices share
 *	        | virtio_device_ops                          ^ virtio_take, virtio_finish
 *	        v                                            |
 *	rng, ...                         what the device is
 *
 * Threads: every function here is called with the device's lock held, unless it
 * says otherwise: by a transport from a vCPU's access (the bus takes the lock) or
 * from the I/O thread when a doorbell rang, by a device from whatever thread its
 * work ended on.
 *
 * A driver that breaks a rule of the queues gets DEVICE_NEEDS_RESET: the device
 * stands still until its driver resets it.
 */
#ifndef LODGE_VIRTIO_DEVICE_H
#define LODGE_VIRTIO_DEVICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"
#include "core/mem.h"
#include "virtio/queue.h"
#include "virtio/stats.h"

#define VIRTIO_QUEUES_MAX 16

/* Device types, chapter 5. */
enum virtio_id {
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_ENTROPY = 4,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_MEM = 24,
	VIRTIO_ID_FS = 26,
	VIRTIO_ID_PMEM = 27,
};

/* Device status, 2.1. */
enum virtio_status {
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

/* Features that are not of one kind of device, chapter 6. */
#define VIRTIO_F_INDIRECT_DESC BIT(28)
#define VIRTIO_F_EVENT_IDX     BIT(29)
#define VIRTIO_F_VERSION_1     BIT(32)
#define VIRTIO_F_RING_PACKED   BIT(34)
#define VIRTIO_F_IN_ORDER      BIT(35)
#define VIRTIO_F_RING_RESET    BIT(40)

struct virtio_device;

/* A kind of device. */
struct virtio_device_ops {
	const char *name;
	enum virtio_id id;
	/* optional: the driver is ready, or a queue was started again; what waited may be sent. */
	void (*started)(struct virtio_device *d);
	/* There may be new buffers in that queue. */
	void (*notified)(struct virtio_device *d, unsigned queue);
	/* optional (NULL: nothing can be written): the driver wrote these bytes of configuration
	 * space, which lie within it. */
	void (*config_written)(struct virtio_device *d, unsigned offset, unsigned size,
			       uint64_t value);
	/* optional: the queue was stopped (VIRTIO_QUEUES_MAX: all of them): when this returns,
	 * nothing of the device's work on its buffers is under way. */
	void (*stopped)(struct virtio_device *d, unsigned queue);
	const struct virtio_stat *stats; /* optional: the kind's numbers, up to one without name */
};

/* How the device reaches its driver: the transport's. */
struct virtio_link {
	void (*queue_used)(void *opaque, unsigned queue);
	void (*config_changed)(void *opaque);
	/* Has virtio_notify called for the queue, soon, on the I/O thread. */
	void (*again)(void *opaque, unsigned queue);
	void *opaque;
};

struct virtio_queue {
	struct virtq ring;
	struct virtq_place place; /* as the driver wrote it */
	bool enabled;             /* the driver has enabled it; it is started with DRIVER_OK */
};

struct virtio_device {
	pthread_mutex_t lock; /* guards everything below, the transport's state and the kind's */
	const struct virtio_device_ops *ops;
	struct virtio_link link;
	struct mem *mem;
	uint64_t offered;    /* features */
	uint64_t accepted;   /* what the driver has written; counts once FEATURES_OK is set */
	uint8_t status;      /* enum virtio_status */
	uint32_t generation; /* of the configuration space */
	const uint8_t *config;
	unsigned config_len;
	unsigned queue_count;
	unsigned queue_size; /* the most that a queue may have */
	unsigned prompt;     /* of virtio_kind */
	struct virtio_queue queues[VIRTIO_QUEUES_MAX];
	unsigned budget;          /* buffers that may still be taken in this call of notified() */
	struct virtq_chain chain; /* for devices that have one buffer at a time in hand */
	uint64_t resets_needed;   /* how often the driver broke a rule */
	uint64_t notifications;   /* how often notified() was called */
};

/* What a kind of device is made of; its features are added to those of the frame. */
struct virtio_kind {
	const struct virtio_device_ops *ops;
	uint64_t features;
	const uint8_t *config; /* configuration space: the kind's bytes, little-endian */
	unsigned config_len;
	unsigned queue_count;
	unsigned queue_size; /* a power of two up to VIRTQ_SIZE_MAX */
	unsigned prompt;     /* bits of queues that are served before a notification of them
				returns: no doorbell takes it */
};

/* Makes a device in the state of after a reset, not linked to a transport. Before vCPUs run; no
 * lock. */
void virtio_device_init(struct virtio_device *d, struct mem *mem, const struct virtio_kind *kind);

/* No thread uses it any more. */
void virtio_device_release(struct virtio_device *d);

/* --- for transports ------------------------------------------------------------------------ */

/* Connects the device with its transport. Before vCPUs run; no lock. */
void virtio_device_link(struct virtio_device *d, const struct virtio_link *link);

/* Everything to the state of power-on. When it returns, the device touches neither queues nor
 * guest memory. */
void virtio_reset(struct virtio_device *d);

/* Feature bits 32 x select to 32 x select + 31: what is offered; what the driver accepted, and
 * accepts now. */
uint32_t virtio_offered(const struct virtio_device *d, uint32_t select);
uint32_t virtio_accepted(const struct virtio_device *d, uint32_t select);
void virtio_accept(struct virtio_device *d, uint32_t select, uint32_t features);

/* The driver writes the status: 0 resets; bits are added, none is taken away. */
void virtio_set_status(struct virtio_device *d, uint8_t status);

/* A queue, or NULL where there is none; its place may be written while it is not enabled. */
struct virtio_queue *virtio_queue(struct virtio_device *d, unsigned queue);
void virtio_queue_enable(struct virtio_device *d, unsigned queue);
void virtio_queue_reset(struct virtio_device *d, unsigned queue);

/* The driver says that there are new buffers; any number of queue. */
void virtio_notify(struct virtio_device *d, unsigned queue);

/* Accesses to configuration space; what lies beyond it reads as 0. */
uint64_t virtio_config_read(const struct virtio_device *d, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio_device *d, uint64_t offset, unsigned size, uint64_t value);

/* --- for devices --------------------------------------------------------------------------- */

/*
 * Takes the next buffer of a queue into chain, within notified(). False if there is none, after it
 * was seen to that the driver notifies of the next one; if the device now needs a reset; or if so
 * many were taken that others should have their turn, after it was seen to that notified() comes
 * again: a driver that never ends must not keep the thread from what ends it.
 */
bool virtio_take(struct virtio_device *d, unsigned queue, struct virtq_chain *chain);

/* Puts a buffer back; tells the driver of what was put back, if it wants to know. */
void virtio_put(struct virtio_device *d, unsigned queue, const struct virtq_chain *chain,
		uint32_t written);
void virtio_finish(struct virtio_device *d, unsigned queue);

/* virtio_put of several buffers, which the driver sees all at once. */
void virtio_put_together(struct virtio_device *d, unsigned queue,
			 const struct virtq_ticket *tickets, unsigned n);

/* For a device that takes buffers when something else than its driver called it: begins a turn, in
 * which as many may be taken as in one call of notified(). */
void virtio_begin_turn(struct virtio_device *d);

/* The driver broke a rule: the device stands still until it is reset. */
void virtio_need_reset(struct virtio_device *d);

/* The configuration space has changed. */
void virtio_config_changed(struct virtio_device *d);

static inline bool virtio_has(const struct virtio_device *d, uint64_t feature)
{
	return d->accepted & feature;
}

#endif
