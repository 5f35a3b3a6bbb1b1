/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that is driven through Firecracker's REST API: a process that waits for requests,
 * starts its VM when it is told to, and ends with it.
 *
 * Source: Firecracker's OpenAPI description, version 1.17. What is served of it is told in
 * docs/api.md.
 */
#ifndef LODGE_API_API_H
#define LODGE_API_API_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "lodge/lodge.h"

/* Others that drive the same VM, beside the REST server and on its thread. */
#define API_OTHERS_FDS 64
struct api_others {
	void *opaque;
	/* Fills in what to poll for: how many, up to API_OTHERS_FDS. */
	size_t (*poll)(void *opaque, struct pollfd *fds);
	/* Acts on it. vm: NULL before the start; lives until api_serve returns. Whether the server
	 * is to end, and the VM with it. */
	bool (*polled)(void *opaque, lodge_vm *vm, const struct pollfd *fds);
};

struct api_options {
	const char *socket;      /* NULL: no server, config_file says all */
	const char *id;          /* the VM's name */
	const char *config_file; /* NULL: none; else the VM is started by it at once */
	const char *engine;      /* NULL: auto */
	const char *metadata;    /* a file with what the guest may read; NULL: none */
	size_t metadata_max;     /* bytes of that; 0: as body_max */
	const char *log_path;    /* NULL: none; else as by PUT /logger, with what follows */
	const char *log_level, *log_module; /* NULL: the default */
	bool log_show_level, log_show_origin;
	const char *metrics_path; /* NULL: none; else as by PUT /metrics */
	bool boot_timer;          /* the guest has one, and its time is logged */
	/* When the process began: CLOCK_MONOTONIC in microseconds (0: now), the processor time that
	 * it had then, and that of its parent for it. */
	uint64_t start_us, start_cpu_us, parent_cpu_us;
	bool pci;                        /* virtio devices are on PCI, else MMIO */
	size_t body_max;                 /* bytes of a request */
	int stop_fd;                     /* the server ends when it polls readable */
	const struct api_others *others; /* NULL: none */
	/* A line for the user while the VM runs. */
	void (*say)(const char *line);
};

enum api_end {
	API_FAILED,  /* e says why */
	API_STOPPED, /* by stop_fd, or by others */
	API_POWEROFF,
	API_CRASHED,
};

/* Serves until the VM ends or it is stopped. e is set where it fails or the guest crashed. Standard
 * input and output are the guest's serial console. One thread; SIGPIPE is ignored or blocked. */
enum api_end api_serve(const struct api_options *o, struct err *e);

#endif
