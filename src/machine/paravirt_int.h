/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of virtio devices share in machine/: each has a file paravirt_KIND.c
 * with one struct paravirt_kind, which stands in the list of paravirt.c.
 */
#ifndef LODGE_MACHINE_PARAVIRT_INT_H
#define LODGE_MACHINE_PARAVIRT_INT_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/event.h"
#include "machine/machine.h"
#include "machine/paravirt.h"
#include "virtio/device.h"
#include "virtio/transport/mmio.h"
#include "virtio/transport/pci.h"

/* Classes of PCI functions: their drivers do not look at them, but people do. */
#define PARAVIRT_CLASS_OTHER   0xff0000u
#define PARAVIRT_CLASS_STORAGE 0x018000u
#define PARAVIRT_CLASS_NETWORK 0x020000u
#define PARAVIRT_CLASS_SERIAL  0x078000u

struct paravirt_kind {
	/* Makes the kind's devices that the configuration names, and adds them. *state is the
	 * kind's own from then on, and may stay NULL. 0, or -errno with e set; whatever is in
	 * *state then is released as ever. Before vCPUs run. */
	int (*make)(struct paravirt *p, void **state, struct err *e);
	/* Frees it all. No vCPU runs, the event loop has ended, and the devices are on no bus. Not
	 * called where *state is NULL. */
	void (*release)(void *state);
	/* optional: the changes of machine_change that are this kind's; state may be NULL. */
	int (*change)(void *state, const struct machine_change *change, struct err *e);
	/* optional: numbers of the kind's one device, before those of virtio_device_stats; state
	 * may be NULL. */
	size_t (*stats)(void *state, struct engine_stat *stats, size_t max);
	/* optional: the machine is reset; the devices were. vCPUs parked, I/O thread. Not called
	 * where state is NULL. */
	void (*reset)(void *state);
	/* optional, of kinds that have numbers: the device of a number, NULL: there is none. state
	 * may be NULL. */
	struct virtio_device *(*device)(void *state, unsigned number);
	/* optional, with those below: the kind's devices come and go while the machine runs (I/O
	 * thread). What they are called, with a number behind it. */
	const char *name;
	/* Makes and adds one more; *state as in make, or made before. Its number, the lowest that
	 * is free, or -errno with e set and nothing made. */
	int (*attach)(struct paravirt *p, void **state, const struct machine_attachment *a,
		      struct err *e);
	/* Frees what is of a number: it is on no bus, was reset, and no vCPU knows it. */
	void (*detach)(void *state, unsigned number);
};

#define PARAVIRT_KINDS_MAX 16

/* A place on the bus. */
struct paravirt_seat {
	struct virtio_device *device;
	const struct paravirt_kind *kind; /* of one that is to go, with its number; else NULL */
	unsigned number;
	union {
		struct virtio_mmio mmio;
		struct virtio_pci pci;
	};
};

/* The I/O thread's, where it does not say otherwise. */
struct paravirt {
	struct machine *machine;
	struct virtio_env env;
	struct paravirt_wires wires;
	bool mmio;
	unsigned count;                            /* of the places that are or were taken */
	struct paravirt_seat *seats[PARAVIRT_MAX]; /* NULL: free */
	void *states[PARAVIRT_KINDS_MAX];          /* of each kind */
	struct virtio_console *console;            /* NULL: none */
	struct event_wake wake;                    /* for the two below */
	_Atomic uint32_t ejected, refused;         /* slots, by any thread */
};

extern const struct paravirt_kind paravirt_consoles;
extern const struct paravirt_kind paravirt_disks;
extern const struct paravirt_kind paravirt_nets;
extern const struct paravirt_kind paravirt_rng;
extern const struct paravirt_kind paravirt_vsock;
extern const struct paravirt_kind paravirt_balloon;
extern const struct paravirt_kind paravirt_fs;
extern const struct paravirt_kind paravirt_pmem;
extern const struct paravirt_kind paravirt_memory;

/* paravirt_nets.c: numbers of the metadata service, 0: there is none. state: of paravirt_nets, may
 * be NULL. */
size_t paravirt_mmds_stats(void *state, struct engine_stat *stats, size_t max);

/* Puts a device on the first free place of the bus. Within make or attach. 0, or -errno with e
 * set. */
int paravirt_add(struct paravirt *p, struct virtio_device *d, uint32_t class_code, struct err *e);

/* The kind's own. */
void **paravirt_state(struct paravirt *p, const struct paravirt_kind *kind);

/* paravirt_hotplug.c: what is needed for devices that come and go. */
int paravirt_hotplug_init(struct paravirt *p, struct err *e);
void paravirt_hotplug_release(struct paravirt *p);

/* Whose devices they are. */
struct machine *paravirt_machine(struct paravirt *p);

/* The buckets of a change, NULL for those that stay as they are. */
static inline const struct limiter_bucket *paravirt_bandwidth(const struct machine_limits *l)
{
	return l->has_bandwidth ? &l->to.bandwidth : NULL;
}

static inline const struct limiter_bucket *paravirt_ops(const struct machine_limits *l)
{
	return l->has_ops ? &l->to.ops : NULL;
}

/* What the virtio console is to be connected to, or NULL; and the one made. Within make. */
struct virtio_console;
struct chardev *paravirt_console_chardev(struct paravirt *p);
void paravirt_set_console(struct paravirt *p, struct virtio_console *console);

#endif
