/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request and its answer, without the HTTP around them.
 *
 * Answers: 200 with a JSON value, 204 with none, 400 with {"fault_message": "..."}; 413 where what
 * is to be kept is too long.
 */
#ifndef LODGE_API_REQUEST_H
#define LODGE_API_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"

struct vmm;

struct api_request {
	const char *method; /* "GET", "PUT", ... */
	const char *path;   /* from its '/' on; more and trailing slashes do not matter */
	const json_t *body; /* NULL: none */
};

struct api_answer {
	unsigned status;
	json_t *body;    /* NULL: none; whoever has the answer releases it */
	char *text;      /* in its place, not JSON but plain text; free() it */
	bool deprecated; /* something that was asked for is to go away */
};

/* Does what is asked for. Any path, method and JSON value. */
void api_handle(struct vmm *v, const struct api_request *r, struct api_answer *a);

/* InstanceStart. 0, or -errno with e set. */
int api_start(struct vmm *v, struct err *e);

/* Writes the metrics since the last time, if they go anywhere. */
void api_flush_metrics(struct vmm *v);

/* What can be asked for: each method and path with its fields. NULL if memory is out. */
json_t *api_describe(void);

/* All metrics since the beginning, in the form of Prometheus; free() it. NULL if memory is out. */
char *api_metrics_text(struct vmm *v);

/* An answer that refuses. */
void api_refuse(struct api_answer *a, unsigned status, const char *why);

/*
 * Does what a configuration file says: its sections, in the order in which they depend on each
 * other. 0, or -errno with e set, which names the section.
 */
int api_configure(struct vmm *v, const json_t *file, struct err *e);

#endif
