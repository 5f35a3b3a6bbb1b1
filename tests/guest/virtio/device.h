/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio device as a driver finds it, the same on either transport (virtio 1.2, 4.1 and 4.2). */
#ifndef LODGE_TESTS_GUEST_VIRTIO_DEVICE_H
#define LODGE_TESTS_GUEST_VIRTIO_DEVICE_H

#include "../guest.h"

#define DEVS_MAX    16
#define QUEUES_KEPT 4
#define RAM_END     0x4000000ull /* of --memory 64M */

/* Bit 23 is set in all of its addresses. */
#define ARENA      0x2800000ull
#define ARENA_SIZE 0x800000u
/* Where dev_prove works. */
#define PROOF 0x2400000ull

struct place {
	u64 desc, driver, device;
	u32 size;
};

struct dev {
	bool pci;
	u32 id;
	u64 base; /* of the registers; PCI: of BAR 0, with a page for each structure */
	/* PCI */
	u32 slot, bar0, bar1, msix;
	struct place last[QUEUES_KEPT];
};

/* Finds all; how many. */
unsigned dev_find(struct dev devs[]);

u32 rnd(u32 below);

unsigned dev_queues(struct dev *d);
u64 dev_features(struct dev *d);
void dev_accept(struct dev *d, u64 features);
void dev_status(struct dev *d, u32 status);
u32 dev_get_status(struct dev *d);
void dev_place(struct dev *d, u32 queue, const struct place *p);
void dev_enable(struct dev *d, u32 queue);
void dev_notify(struct dev *d, u32 queue);

/* Numbers that the device reads there are pages that it takes away, this guest's own among them: it
 * is for dev_prove only. */
bool dev_takes_pages(struct dev *d, u32 queue);

/* Writes, and reads, any register; any of its PCI configuration space, or of its own. */
void dev_write_any(struct dev *d, u32 value);
void dev_config_any(struct dev *d, u32 value);

/* Reset, and where it was; then that it works. */
void dev_heal(struct dev *d);
void dev_prove(struct dev *d);

#endif
