/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int make(struct log *log)
{
	log->size = 0;
	log->fd = openat(log->dir, "log",
			 O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	return log->fd < 0 ? -errno : 0;
}

int log_open(struct log *log, int dir)
{
	*log = (struct log){.dir = dir};
	return make(log);
}

void log_take_stderr(struct log *log)
{
	dup2(log->fd, STDERR_FILENO);
}

/* If no new file can be made, the old one grows on. */
static void turn(struct log *log)
{
	int old = log->fd;

	if (renameat(log->dir, "log", log->dir, "log.1"))
		return;
	if (make(log)) {
		log->fd = old;
		return;
	}
	log_take_stderr(log);
	close(old);
}

static void lose(struct log *log, size_t len, int error)
{
	log->lost += len;
	log->untold += len;
	log->error = error;
}

/* All or a part of it. */
static size_t put(struct log *log, const char *bytes, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = write(log->fd, bytes + done, len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log->error = n < 0 ? errno : EIO;
			break;
		}
		done += (size_t)n;
	}
	log->size += done;
	return done;
}

/* Whether the log knows of all that it lost. */
static bool tell(struct log *log)
{
	char line[160];
	int n;
	off_t at;

	if (!log->untold)
		return true;
	n = snprintf(line, sizeof(line), "\nlodge: %llu bytes of the log are lost: %s\n",
		     (unsigned long long)log->untold, strerror(log->error));
	at = lseek(log->fd, 0, SEEK_END);
	if (put(log, line, (size_t)n) == (size_t)n) {
		log->untold = 0;
		return true;
	}
	if (at >= 0)
		(void)!ftruncate(log->fd, at); /* no half lines */
	return false;
}

void log_write(struct log *log, const char *bytes, size_t len)
{
	size_t done;

	if (log->fd < 0)
		return;
	if (log->size > LOG_MAX)
		turn(log);
	if (!tell(log)) {
		lose(log, len, log->error);
		return;
	}
	done = put(log, bytes, len);
	if (done < len)
		lose(log, len - done, log->error);
}

void log_close(struct log *log)
{
	if (log->fd < 0)
		return;
	tell(log);
	close(log->fd);
	log->fd = -1;
}
