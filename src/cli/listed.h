/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that other commands find by its name: its entry, its control socket and, if it was detached,
 * the console that viewers come to and the log. All of it lives on the main thread of
 * "lodge run", or of "lodge api".
 */
#ifndef LODGE_CLI_LISTED_H
#define LODGE_CLI_LISTED_H

#include <poll.h>
#include <stdbool.h>

#include "cli/control.h"
#include "cli/entry.h"
#include "cli/log.h"
#include "cli/viewers.h"
#include "lodge/lodge.h"

#define LISTED_FDS (CONTROL_FDS + VIEWERS_FDS + 1)

struct listed {
	bool open;
	bool detached;
	lodge_vm *vm;       /* NULL: not started yet */
	char *const *words; /* the verb's arguments, for "inspect" */
	double began;       /* seconds since 1970 */
	struct entry entry;
	struct control control;
	struct viewers viewers;
	struct log log;
	bool console;     /* the socket has one */
	int from_guest;   /* what the guest prints; -1: the console is elsewhere, or has ended */
	int to_guest;     /* what is typed */
	size_t polled[3]; /* how many of the fds are whose */
	bool stop;        /* somebody asked for it: "lodge kill" */
};

/*
 * Claims the name (NULL: a made-up one; only if detached). 0, or an exit status after telling the
 * user. words end with NULL and live as long as the VM.
 */
int listed_open(struct listed *l, lodge_vm *vm, const char *name, bool detached,
		char *const *words);

/* Before lodge_vm_start, of a detached VM: what its console reads and writes; the caller closes
 * both once it has started. 0 or -errno. */
int listed_console(struct listed *l, int *in, int *out);

/* Once it has started: requests are answered from now on. 0, or an exit status after telling. */
int listed_serve(struct listed *l);

/* Fills in what to poll for: how many, up to LISTED_FDS. listed_polled acts on it. */
size_t listed_poll(struct listed *l, struct pollfd *fds);
void listed_polled(struct listed *l, const struct pollfd *fds);

/* When the VM has ended: takes the last of its console. */
void listed_drain(struct listed *l);

/* Notes how it ended, of a detached one: its exit status and a line of words. */
void listed_ended(struct listed *l, int status, const char *text);

/* Idempotent; a zeroed struct is allowed. */
void listed_close(struct listed *l);

#endif
