/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's configuration: names and values of the public API become typed fields
 * here, each checked when it is set; config_check then judges the whole.
 */
#ifndef LODGE_LIB_CONFIG_H
#define LODGE_LIB_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "lib/config_balloon.h"
#include "lib/config_cpu.h"
#include "lib/config_disk.h"
#include "lib/config_memory.h"
#include "lib/config_mmds.h"
#include "lib/config_net.h"
#include "lib/config_pmem.h"
#include "lib/config_port.h"
#include "lib/config_share.h"
#include "lib/config_vsock.h"
#include "machine/boot/boot.h"

/* "NAME[,WORD...]" */
struct config_engine {
	char *name;           /* auto, or an engine's name; NULL: not given */
	uint64_t code_memory; /* struct engine_options */
};

/* "STAGE[,STAGE...][:FILE]" */
struct config_dump {
	unsigned stages; /* enum engine_dump */
	char *file;      /* NULL: standard error */
};

/* "on[,LIMIT...]" or "off" */
struct config_rng {
	bool on;
	struct limiter_config limits;
};

struct config {
	struct config_engine engine;
	struct config_dump dump;
	char *kernel;    /* NULL: not given */
	char *initrd;    /* NULL: none */
	char *cmdline;   /* NULL: the default */
	char *cpu_model; /* NULL: host */
	char *name;      /* NULL: none */
	unsigned cpus;
	uint64_t memory; /* bytes */
	enum boot_protocol boot;
	bool kvmclock;
	bool reboot;
	bool debug_exit;
	bool boot_timer;
	struct machine_cpu_edits cpu;
	struct config_rng rng;
	struct config_disks disks;
	struct config_nets nets;
	struct config_mmds mmds;
	struct config_ports ports;
	struct config_shares shares;
	struct machine_balloon balloon;
	struct config_pmems pmems;
	struct machine_memory hotplug;
	struct machine_vsock vsock; /* path NULL: none */
	bool attach;                /* devices may come and go */
	bool virtio_mmio;           /* virtio devices are virtio-mmio, not PCI */
};

/* The defaults: one vCPU, 256 MiB. */
void config_init(struct config *c);
void config_release(struct config *c);

/* Sets one value: 0; -ENOENT unknown name, -EINVAL bad value, -ENOMEM, with e set. */
int config_set(struct config *c, const char *name, const char *value, struct err *e);

/* The n-th name that config_set knows, or NULL. */
const char *config_name(unsigned n);

/* The kernel command line: the one that was set, or the default: for a guest whose only console is
 * hvc0, or for one that has COM1. */
const char *config_cmdline(const struct config *c, bool hvc_alone);

/* Whether the whole makes a machine; -EINVAL with e set if not. */
int config_check(const struct config *c, struct err *e);

#endif
