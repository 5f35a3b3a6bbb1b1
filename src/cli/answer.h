/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM's process answers to requests on its control socket. */
#ifndef LODGE_CLI_ANSWER_H
#define LODGE_CLI_ANSWER_H

#include <jansson.h>

struct listed;

/* A control_fn; opaque is the struct listed. */
char *answer_line(void *opaque, const char *line);

/* How it ended, for the entry; NULL if memory is out. */
json_t *answer_ended(struct listed *l, int status, const char *text, double when);

#endif
