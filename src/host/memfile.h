/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of the host that is mapped as memory, and outlives its file: where the file was
 * made shorter, or cannot be read, the memory reads zeroes from then on, and nothing of it
 * reaches the file any more. Without that, whoever touches it gets SIGBUS.
 *
 * So the process has a handler of SIGBUS from the first such file on; what is of no such
 * file goes to the handler that was there before. A program that installs one of its own
 * later has to hand on to ours. The kernel, where it reaches for such memory in a system
 * call, gives EFAULT as ever.
 */
#ifndef LODGE_HOST_MEMFILE_H
#define LODGE_HOST_MEMFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* What the length is rounded up to, and the address is a multiple of. */
#define MEMFILE_UNIT (2u << 20)

struct memfile;

/*
 * Opens and maps a file; shared (writes to the memory are the file's) and locked against other
 * writers; or readonly: locked against writers, and what is written to the memory stays there. NULL
 * with e set. Any thread.
 */
struct memfile *memfile_open(const char *path, bool readonly, struct err *e);

/* Nobody touches the memory any more. What was not flushed the kernel writes when it likes. */
void memfile_free(struct memfile *f);

/* The memory, and its length: a multiple of MEMFILE_UNIT. The file's own length; what lies beyond
 * it is plain memory, zeroed. */
uint8_t *memfile_host(const struct memfile *f);
uint64_t memfile_size(const struct memfile *f);
uint64_t memfile_length(const struct memfile *f);

/* What was written to the memory before is durable when this returns 0; -errno: it is not, and
 * -EIO for ever once the file was lost. Waits; any thread. */
int memfile_flush(struct memfile *f);

/* Readable when the file may have been made shorter, for memfile_look, which then replaces what is
 * gone; owned by f. -1: there is nothing to watch. One thread. */
int memfile_watch_fd(const struct memfile *f);
void memfile_look(struct memfile *f);

/* Readable once something of the file was lost; owned by f. */
int memfile_lost_fd(const struct memfile *f);

/* A thread whose stack pointer may be anything when it touches such memory: gives it a stack for
 * the handler, to be handed to memfile_leave at its end. NULL: memory is out, and it has none. */
void *memfile_enter(void);
void memfile_leave(void *stack);

#endif
