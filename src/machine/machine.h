/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine: a PC with its RAM, buses, devices, vCPU threads and I/O thread.
 *
 * A machine is built whole from a configuration, started once, ends once. In
 * between it runs by itself: one thread a vCPU, and one I/O thread on which
 * timers, host descriptors and every change of the machine's life (reset, end)
 * are handled, so that these never race with each other.
 */
#ifndef LODGE_MACHINE_MACHINE_H
#define LODGE_MACHINE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "core/engine.h"
#include "machine/boot/boot.h"

struct machine;

#define MACHINE_SERIAL_MAX 20

/* A disk image of the host, for virtio-blk. */
struct machine_disk {
	char *path;
	bool readonly;
	char serial[MACHINE_SERIAL_MAX + 1]; /* "": none */
};

struct machine_config {
	const struct engine_ops *engine;
	struct engine_options engine_options;
	unsigned cpus;         /* 1 to ENGINE_VCPUS_MAX */
	uint64_t memory;       /* bytes of RAM, a multiple of the page size */
	const char *cpu_model; /* a name that cpuid_compose knows */
	bool kvmclock;         /* offer the KVM paravirtual leaves */
	bool debug_exit;       /* wire the debug-exit port */
	bool reboot;           /* a guest's reset starts it again; else it ends the machine */
	bool virtio_mmio;      /* virtio devices are virtio-mmio, not PCI */
	bool rng;              /* virtio-rng */
	const struct machine_disk *disks; /* the caller's, needed by machine_new only */
	unsigned disk_count;
	struct boot_config boot; /* its strings are the caller's and outlive the machine */
	int console_in;          /* descriptors of the console, -1 for none; duplicated */
	int console_out;
};

enum machine_end {
	MACHINE_RUNNING,
	MACHINE_POWEROFF,   /* the guest powered off */
	MACHINE_REBOOT,     /* the guest reset the machine, which was configured not to reboot */
	MACHINE_STOPPED,    /* machine_stop */
	MACHINE_CRASHED,    /* triple fault, or a panic reported by the guest */
	MACHINE_DEBUG_EXIT, /* the debug-exit port was written */
	MACHINE_FAILED,     /* the engine or the host failed */
};

struct machine_result {
	enum machine_end end;
	int code;             /* MACHINE_DEBUG_EXIT: the byte written */
	const char *text;     /* one line, "" for none; lives as long as the machine */
	const char *dump;     /* registers, several lines, "" for none; as long as the machine */
	const char *warnings; /* what went wrong meanwhile, a line each; as long as the machine */
	uint64_t lost;        /* bytes of console output that could not be written */
	int lost_error;       /* errno of the first of them */
};

/* Builds a machine; NULL with e set where the host, the engine or the configuration refuses.
 * The caller blocks SIGPIPE or ignores it, as any program that writes to pipes does. */
struct machine *machine_new(const struct machine_config *config, struct err *e);

/* Stops it if it runs, joins its threads and frees everything. NULL is allowed. */
void machine_free(struct machine *m);

/* Loads the guest and lets it run; 0, or -errno with e set. Once. */
int machine_start(struct machine *m, struct err *e);

/* Ends the machine at once with MACHINE_STOPPED, unless it ended before. A machine that ended by
 * itself counts as running while the reader of its console has not taken all. Any thread. */
void machine_stop(struct machine *m);

/* The user's hands on the machine. Any thread. */
void machine_power_button(struct machine *m);
void machine_ctrl_alt_del(struct machine *m);

/* An eventfd that becomes readable, and stays so, when the machine has ended. */
int machine_ended_fd(const struct machine *m);

/* How it ended; result->end is MACHINE_RUNNING while it runs. Any thread. */
void machine_result(struct machine *m, struct machine_result *result);

/* Counters of engine and buses; fills up to max, returns how many there are. Any thread. */
size_t machine_stats(struct machine *m, struct engine_stat *stats, size_t max);

#endif
