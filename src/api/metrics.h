/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics: a line of JSON for each time that they are flushed: when the VM starts, every minute, on
 * request, and at the end. Counters are those since the line before.
 *
 * The names are Firecracker's as far as they mean the same (device_metrics.h for devices); the
 * engine's own counters are in "lodge". One thread.
 */
#ifndef LODGE_API_METRICS_H
#define LODGE_API_METRICS_H

#include <jansson.h>
#include <stdint.h>

#include "api/outlet.h"
#include "base/err.h"
#include "lodge/lodge.h"

#define METRICS_REQUESTS_MAX 64
#define METRICS_STATS_MAX    512

/* How often a kind of request came, and was refused: in all, and when metrics were last flushed. */
struct metrics_request {
	uint64_t count, fails;
	uint64_t told_count, told_fails;
};

struct metrics {
	struct outlet outlet;
	uint64_t next_ns; /* CLOCK_MONOTONIC of the next flush */
	struct metrics_request requests[METRICS_REQUESTS_MAX];
	uint64_t stats[METRICS_STATS_MAX];        /* as they were last */
	uint64_t log_lost, log_limited, own_lost; /* the same */
	uint64_t deprecated, told_deprecated;     /* requests for what is to go away */
	uint64_t startup_us, startup_cpu_us;      /* until the API was served */
	uint64_t pause_us, resume_us;             /* what the last of them took */
	json_t *devices;                          /* as theirs were last, by name */
};

/* The names of kinds of requests, by their numbers: "PUT" and "drive", ... */
struct metrics_name {
	const char *method, *name;
};

void metrics_init(struct metrics *m);
void metrics_release(struct metrics *m);

/* 0, or -errno with e set. Once. */
int metrics_open(struct metrics *m, const char *path, struct err *e);

/* Milliseconds until the next flush is due; -1: there is none. */
int metrics_timeout(const struct metrics *m);

/* Writes a line, if there is a place for it. names: count of them. vm is NULL before the start;
 * log_lost: lines of the log that were lost until now. */
struct metrics_context {
	const struct metrics_name *names;
	unsigned count;
	lodge_vm *vm;
	const json_t *places;           /* of devices: struct vmm */
	uint64_t log_lost, log_limited; /* log_limited: left out, as the guest caused too many */
};
void metrics_flush(struct metrics *m, const struct metrics_context *c);

#endif
