/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in Prometheus' text form, version 0.0.4: counters since the process began.
 *
 * Source: Prometheus, "Exposition formats".
 */
#ifndef LODGE_API_PROMETHEUS_H
#define LODGE_API_PROMETHEUS_H

#include "api/metrics.h"

/* All metrics of the VM of that name and state; free() it. NULL if memory is out. */
char *prometheus_text(const struct metrics *m, const struct metrics_context *c, const char *id,
		      const char *state);

#endif
