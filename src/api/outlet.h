/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where lines go: a file, or a FIFO whose reader may be slow or away. A line is written whole and
 * without waiting, or is lost and counted. One thread.
 */
#ifndef LODGE_API_OUTLET_H
#define LODGE_API_OUTLET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct outlet {
	int fd; /* -1: not opened, and lines vanish */
	uint64_t lost;
};

/* Opens a file, which is made if it is not there and appended to, or a FIFO. Replaces what was open
 * before. 0, or -errno with e set, which speaks of `what`, and nothing changed. */
int outlet_open(struct outlet *o, const char *what, const char *path, struct err *e);
void outlet_close(struct outlet *o);

/* Writes len bytes, which end in a newline. */
void outlet_write(struct outlet *o, const char *line, size_t len);

#endif
