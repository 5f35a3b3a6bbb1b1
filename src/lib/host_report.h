/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report on this host: facts, a verdict drawn from them, and both in words or
 * as JSON. lodge_host_text and lodge_host_json (lodge/lodge.h) do the three steps.
 */
#ifndef LODGE_LIB_HOST_REPORT_H
#define LODGE_LIB_HOST_REPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "core/engine.h"
#include "host/cpuinfo.h"
#include "host/kvm_device.h"
#include "machine/engines.h"

#define HOST_ENGINES_MAX  ENGINES_MAX
#define HOST_FEATURES_MAX 48
#define HOST_ADVICE_MAX   4

struct host_engine {
	const char *name;
	struct engine_offer offer;
	struct engine_feature features[HOST_FEATURES_MAX];
	size_t feature_count;
};

struct host_facts {
	struct host_cpu cpu;
	struct host_kvm kvm;
	char kernel[128];  /* "Linux 6.1.0-56-amd64" */
	char machine[128]; /* maker and product by the firmware, "" where it does not say */
	struct host_engine engines[HOST_ENGINES_MAX]; /* in the order of preference */
	unsigned engine_count;
};

struct host_verdict {
	int engine; /* index of what --engine auto takes; -1: none is usable */
	char why[ERR_TEXT_MAX];
	char advice[HOST_ADVICE_MAX][ERR_TEXT_MAX]; /* what to do for a better one, a line each */
	unsigned advice_count;
};

/* Gathers the facts; measures the engines. Any thread. */
void host_facts_read(struct host_facts *facts);

/* Judges them. Pure. */
void host_verdict(struct host_verdict *verdict, const struct host_facts *facts);

/* The report in words, appended to out; buf_failed(out) tells that memory was out. */
void host_text(struct buf *out, const struct host_facts *facts, const struct host_verdict *verdict);

/* The report as JSON, to be freed; NULL if memory was out. */
char *host_json(const struct host_facts *facts, const struct host_verdict *verdict);

#endif
