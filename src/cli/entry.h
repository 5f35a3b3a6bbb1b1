/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the command line's VMs are known by their names: a directory for each.
 *
 *	BASE			$XDG_RUNTIME_DIR/lodge; without that variable /run/lodge for root,
 *				/tmp/lodge-UID for others. Mode 0700, this user's own, no link.
 *	BASE/NAME/pid		the process's id and its start time; locked while the process lives
 *	BASE/NAME/control	socket: requests (cli/control.h)
 *	BASE/NAME/console	socket: the console's bytes, of a VM that was detached
 *	BASE/NAME/log, log.1	what such a VM printed, and lodge's words
 *	BASE/NAME/ended		how such a VM ended, JSON
 *
 * Whether a VM lives is told by the lock on its pid file (an open file description lock, which the
 * kernel drops with the process, however that ends): a pid that another process got since tells
 * nothing. What a dead VM left is taken away by whoever finds it, with that lock held, so that a
 * new VM of the name is not hurt; but the log and the end of a detached one stay, for its user to
 * read, until a VM of that name is started or there are more than ENTRIES_KEPT of them.
 */
#ifndef LODGE_CLI_ENTRY_H
#define LODGE_CLI_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ENTRY_NAME_MAX 64
#define ENTRIES_KEPT   32

struct entry {
	char name[ENTRY_NAME_MAX + 1];
	int base; /* descriptors of the directories; -1: none */
	int dir;
	int lock; /* the pid file, locked by us; -1: it is another's */
};

enum entry_state {
	ENTRY_RUNS,
	ENTRY_ENDED, /* by itself; `ended` says how */
	ENTRY_DIED,  /* its process was killed */
};

/* All functions that return int give 0 or STATUS_FAILED or STATUS_USAGE, after telling the user. */

/* Whether a VM may have that name; with words to the user. */
bool entry_is_name(const char *name);
int entry_check_name(const char *name);

/* Makes the name ours, before the VM starts; NULL: a free one is made up. What an ended VM left
 * there is removed. */
int entry_claim(struct entry *entry, const char *name);

/* Gives it up: the sockets go, and with `whole` everything. Idempotent, a zeroed name is
 * allowed. */
void entry_release(struct entry *entry, bool whole);

/* Opens the entry of a VM of that name, dead or alive; one that does not exist is told, with the
 * nearest name. */
int entry_open(struct entry *entry, const char *name);
void entry_close(struct entry *entry);

/* What became of the VM, and its process id if it runs (0 if that is not known). */
enum entry_state entry_state(const struct entry *entry, pid_t *pid);

/* Names of all entries, sorted, after what can be taken away was; free() each and the list. -1
 * where the directory cannot be read, after telling. */
int entry_names(char ***names);
void entry_free_names(char **names, int count);

/* A path for bind, connect and open: of a file in the entry's directory, short. */
#define ENTRY_PATH_MAX 64
void entry_path(const struct entry *entry, const char *file, char path[ENTRY_PATH_MAX]);

#endif
