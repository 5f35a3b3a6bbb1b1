/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that goes on by itself: it leaves the terminal and its parent, which ends when the
 * child says that it is ready, or with the child's own exit status if it ends before that.
 */
#ifndef LODGE_CLI_DETACH_H
#define LODGE_CLI_DETACH_H

#include <stdbool.h>

struct detach {
	int ready; /* in the child: the pipe to the parent; -1: nobody waits */
};

/* Forks; no other thread may be there. True in the child, which goes on. False in the parent, when
 * *status is what it is to end with; what the child gave to detach_ready was printed. signals: a
 * signalfd; one that comes meanwhile ends the child. */
bool detach_fork(struct detach *d, int signals, int *status);

/* In the child: all is well, line is for the user. Standard input and output are /dev/null after
 * it, standard error too until somebody else takes it. */
void detach_ready(struct detach *d, const char *line);

#endif
