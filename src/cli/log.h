/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a VM that was detached: what its console prints, and lodge's words, which come by
 * standard error. It is bounded: past LOG_MAX it becomes log.1, in place of the one before. What
 * cannot be written (a full disk) is counted, and told in the log as soon as that can be.
 */
#ifndef LODGE_CLI_LOG_H
#define LODGE_CLI_LOG_H

#include <stddef.h>
#include <stdint.h>

#define LOG_MAX (1u << 20)

struct log {
	int dir; /* where it lies; the caller's */
	int fd;  /* -1: closed */
	uint64_t size;
	uint64_t lost;   /* bytes, in all */
	uint64_t untold; /* of these, since the log told of them */
	int error;       /* errno of the last loss */
};

/* Makes the file anew: 0 or -errno. */
int log_open(struct log *log, int dir);

/* From now on standard error is the log, too. */
void log_take_stderr(struct log *log);

void log_write(struct log *log, const char *bytes, size_t len);

/* Idempotent. */
void log_close(struct log *log);

#endif
