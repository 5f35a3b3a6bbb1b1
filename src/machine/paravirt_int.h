/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kinds of virtio devices share in machine/: each has a file paravirt_KIND.c
 * with one struct paravirt_kind, which stands in the list of paravirt.c.
 */
#ifndef LODGE_MACHINE_PARAVIRT_INT_H
#define LODGE_MACHINE_PARAVIRT_INT_H

#include "base/err.h"
#include "machine/machine.h"
#include "machine/paravirt.h"
#include "virtio/device.h"

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
	/* optional: pc_device_stats of the kind's one device; state may be NULL. */
	size_t (*stats)(void *state, struct engine_stat *stats, size_t max);
	/* optional: the machine is reset; the devices were. vCPUs parked, I/O thread. Not called
	 * where state is NULL. */
	void (*reset)(void *state);
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

/* Puts a device on the next place of the bus. Within make. 0, or -errno with e set. */
int paravirt_add(struct paravirt *p, struct virtio_device *d, uint32_t class_code, struct err *e);

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
