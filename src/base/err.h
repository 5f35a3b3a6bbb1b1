/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host failures, carried up to whoever can tell the user.
 *
 * lodge knows three classes of error. A guest mistake gets its architected
 * effect and never comes here. A bug asserts. A host failure (a file that
 * cannot be read, an ioctl refused) is returned as a negative errno, and the
 * function that met it fills a struct err with one line for the user:
 *
 *	what: why: what to do
 *
 * for example "cannot open /dev/kvm: permission denied: add yourself to group
 * kvm". The first message set is the one nearest the cause and is kept.
 */
#ifndef LODGE_BASE_ERR_H
#define LODGE_BASE_ERR_H

#include <stdbool.h>

#define ERR_TEXT_MAX 512

struct err {
	int code;                /* negative errno; 0: no error was set */
	char text[ERR_TEXT_MAX]; /* one line, no newline at its end */
};

#define ERR_INIT      \
	{             \
		0, "" \
	}

/*
 * Records code (a positive or negative errno) and the formatted message in e,
 * unless e already holds an error; e may be NULL. Control characters in the
 * result are replaced by '?', an overlong one is cut. Returns the code as a
 * negative errno, so that callers write "return err_set(e, EINVAL, ...)".
 */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Like err_set, with ": " and the text of the errno appended to the message. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Forgets the error in e. */
void err_clear(struct err *e);

#endif
