/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server drives: one VM, described by sections before it is started.
 *
 * A section is a JSON object under the name that it has in a configuration file
 * ("boot-source", "drives", ...), kept as it was given and shown again as such. It is
 * judged when it is given: a VM that is never started is configured by it, so that the
 * library is the one judge of values. InstanceStart configures the real one by all of them.
 *
 * One thread.
 */
#ifndef LODGE_API_VMM_H
#define LODGE_API_VMM_H

#include <jansson.h>
#include <stdbool.h>

#include "api/logger.h"
#include "api/metrics.h"
#include "base/err.h"
#include "lodge/lodge.h"

struct vmm {
	const char *id;
	bool pci; /* virtio devices are on PCI, else MMIO */
	bool boot_timer;
	const char *engine;            /* unless the section "lodge" names one */
	uint64_t began, began_cpu;     /* of the process: CLOCK_MONOTONIC and processor time, ns */
	uint64_t started, started_cpu; /* the same when InstanceStart came */
	int console_in, console_out;   /* where the serial console is, unless a file is named */
	struct logger logger;
	struct metrics metrics;
	json_t *sections;         /* by name; "drives" is an array */
	json_t *places;           /* see api/slots.h */
	lodge_vm *vm;             /* NULL: not started */
	size_t metadata_max;      /* bytes of the metadata; 0: the library's default */
	lodge_metadata *metadata; /* NULL: nobody has asked for it yet */
};

/* Makes one that is not started; -ENOMEM with e set. id, engine: the caller's, outlive it. */
int vmm_init(struct vmm *v, struct err *e);
void vmm_release(struct vmm *v);

/* "Not started", "Running" or "Paused". */
const char *vmm_state(const struct vmm *v);

/* -EBUSY with e set where the VM was started; -ESRCH where it was not. */
int vmm_before_start(const struct vmm *v, struct err *e);
int vmm_after_start(const struct vmm *v, struct err *e);

/* A section, or NULL; the VMM's. */
json_t *vmm_section(const struct vmm *v, const char *name);

/*
 * Replaces a section, whose form was checked, once a VM takes the whole with it; takes a reference
 * of its own. Before the start. 0, or -errno with e set and nothing changed.
 */
int vmm_set_section(struct vmm *v, const char *name, json_t *section, struct err *e);

/* What the guest may read; it outlives the VM. NULL with e set if memory is out. */
lodge_metadata *vmm_metadata(struct vmm *v, struct err *e);

/* Builds the VM of all sections and lets it run. 0 or -errno with e set. */
int vmm_start(struct vmm *v, struct err *e);

#endif
