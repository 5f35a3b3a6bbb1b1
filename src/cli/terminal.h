/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user's terminal as the guest's console: raw mode, and the escape key.
 *
 * In raw mode every key goes to the guest, Ctrl-C too. Ctrl-A introduces a word to
 * lodge itself: x quits, h lists the keys, p presses the power button, c sends
 * ctrl-alt-del, d detaches ("lodge console"), a sends Ctrl-A.
 *
 * A user whose program died of a bug must not be left with a terminal that does not
 * echo: while it is raw, the signals of a fault put it back first.
 */
#ifndef LODGE_CLI_TERMINAL_H
#define LODGE_CLI_TERMINAL_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <termios.h>

#define TERMINAL_FAULTS 7

enum terminal_key {
	TERMINAL_NONE,
	TERMINAL_QUIT,
	TERMINAL_HELP,
	TERMINAL_POWER,
	TERMINAL_CTRL_ALT_DEL,
	TERMINAL_DETACH, /* "lodge console" only */
};

struct terminal {
	int fd;
	bool raw;
	bool escaped; /* Ctrl-A was the last key */
	struct termios saved;
	struct sigaction before[TERMINAL_FAULTS]; /* what the signals of faults did */
};

/* Puts the terminal fd in raw mode, output processing kept off too; 0 or -errno. One at a time in
 * a process; t stays where it is until terminal_close. */
int terminal_open(struct terminal *t, int fd);

/* Back to how it was. Idempotent; a zeroed struct is allowed. */
void terminal_close(struct terminal *t);

/*
 * Sorts what was typed: keys for the guest are moved to the front of bytes, their number is
 * stored in *len. Stops after an escape and returns it; *used says how many of the bytes typed
 * were looked at.
 */
enum terminal_key terminal_sort(struct terminal *t, char *bytes, size_t *len, size_t *used);

/* Whether fd is a terminal that we may read: a background job may not. */
bool terminal_is_ours(int fd);

/* The size of the terminal fd, in characters; false if fd is none. */
bool terminal_window(int fd, uint16_t *columns, uint16_t *rows);

/* What Ctrl-A h prints. */
extern const char terminal_help[];

#endif
