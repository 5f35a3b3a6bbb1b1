/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the processes of VMs, over their control sockets (cli/control.h). */
#ifndef LODGE_CLI_ASK_H
#define LODGE_CLI_ASK_H

#include <jansson.h>
#include <stddef.h>

#include "cli/entry.h"

/* How long an answer may take: a VM that starts, or is held by its host, gives none. */
#define ASK_MS 2000

/* Sends a request: the connection, or -errno. */
int ask_send(const struct entry *entry, const char *request);

/* The answer, by the deadline (ask_clock milliseconds); NULL: none came. */
json_t *ask_receive(int fd, long long deadline);
long long ask_clock(void);

/*
 * A request to the VM of that entry, and its answer in *answer (json_decref it) unless that is
 * NULL. 0, or STATUS_FAILED after telling the user: it has ended, it does not answer, it refuses.
 */
int ask(const struct entry *entry, const char *request, json_t **answer);

/* The same of many at once. names[0..count) are looked up; answers[i] is NULL where none came in
 * time. The caller frees the list and its members. NULL if memory is out. */
json_t **ask_all(char *const *names, int count, const char *request);

#endif
