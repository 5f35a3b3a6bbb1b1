/* SPDX-License-Identifier: Apache-2.0 */
/* A request, once its path and its body were found good: for the files that do what it asks. */
#ifndef LODGE_API_JOB_H
#define LODGE_API_JOB_H

#include <jansson.h>

#include "api/request.h"
#include "api/vmm.h"
#include "base/err.h"

/* What a route's function gets. */
struct job {
	struct vmm *vmm;
	const char *section;       /* of the route */
	const char *id;            /* of the path; NULL: the route has none */
	json_t *body;              /* checked; NULL: there is none */
	struct api_answer *answer; /* for what is beside its body */
};

/* Gives 0, and what is to be shown or NULL in *shown; or -errno with e set. */
typedef int job_fn(const struct job *j, json_t **shown, struct err *e);

/* What is given out: a value, or -ENOMEM with e set where it is NULL. */
int job_show(json_t *value, json_t **shown, struct err *e);

#endif
