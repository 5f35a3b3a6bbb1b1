/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listed.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/cli.h"
#include "cli/listen.h"

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int failed(const char *name, int rc)
{
	cli_error("cannot serve the VM %s: %s", name, strerror(-rc));
	return STATUS_FAILED;
}

int listed_open(struct listed *l, lodge_vm *vm, const char *name, bool detached, char *const *words)
{
	int rc;

	*l = (struct listed){.open = true,
			     .detached = detached,
			     .vm = vm,
			     .words = words,
			     .began = now(),
			     .control = {.listen = -1},
			     .viewers = {.listen = -1},
			     .log = {.fd = -1},
			     .from_guest = -1,
			     .to_guest = -1};
	rc = entry_claim(&l->entry, name);
	if (rc) {
		l->open = false;
		return rc;
	}
	rc = detached ? log_open(&l->log, l->entry.dir) : 0;
	return rc ? failed(l->entry.name, rc) : 0;
}

int listed_console(struct listed *l, int *in, int *out)
{
	int typed[2], printed[2], fd;

	if (pipe2(typed, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	*in = typed[0];
	l->to_guest = typed[1];
	if (pipe2(printed, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	*out = printed[1];
	l->from_guest = printed[0];
	fd = listen_open(&l->entry, "console");
	if (fd < 0)
		return fd;
	l->console = true;
	return viewers_open(&l->viewers, fd, l->to_guest);
}

int listed_serve(struct listed *l)
{
	int fd = listen_open(&l->entry, "control");

	if (fd < 0)
		return failed(l->entry.name, fd);
	control_open(&l->control, fd, answer_line, l);
	return 0;
}

size_t listed_poll(struct listed *l, struct pollfd *fds)
{
	if (!l->open)
		return 0;
	l->polled[0] = control_poll(&l->control, fds);
	l->polled[1] = viewers_poll(&l->viewers, fds + l->polled[0]);
	fds += l->polled[0] + l->polled[1];
	l->polled[2] = 1;
	*fds = (struct pollfd){l->from_guest, POLLIN, 0};
	return l->polled[0] + l->polled[1] + l->polled[2];
}

/* Takes some of what the guest printed; false if there is nothing now. */
static bool take(struct listed *l)
{
	char bytes[16384];
	ssize_t n;

	if (l->from_guest < 0)
		return false;
	n = read(l->from_guest, bytes, sizeof(bytes));
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0) {
		close(l->from_guest);
		l->from_guest = -1;
		return false;
	}
	log_write(&l->log, bytes, (size_t)n);
	viewers_print(&l->viewers, bytes, (size_t)n);
	return true;
}

void listed_polled(struct listed *l, const struct pollfd *fds)
{
	if (!l->open)
		return;
	if (fds[l->polled[0] + l->polled[1]].revents)
		take(l);
	viewers_polled(&l->viewers, fds + l->polled[0], l->polled[1]);
	control_polled(&l->control, fds, l->polled[0]);
}

void listed_drain(struct listed *l)
{
	while (l->open && take(l))
		;
}

void listed_ended(struct listed *l, int status, const char *text)
{
	char path[ENTRY_PATH_MAX];
	json_t *json;

	if (!l->open || !l->detached)
		return;
	json = answer_ended(l, status, text, now());
	entry_path(&l->entry, "ended", path);
	if (!json || json_dump_file(json, path, JSON_INDENT(2) | JSON_REAL_PRECISION(13)))
		cli_error("cannot note how the VM ended: the disk may be full");
	json_decref(json);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void listed_close(struct listed *l)
{
	if (!l->open)
		return;
	listed_drain(l);
	viewers_close(&l->viewers);
	log_close(&l->log);
	entry_release(&l->entry, !l->detached || !l->control.opaque);
	control_close(&l->control);
	close_fd(&l->from_guest);
	close_fd(&l->to_guest);
	l->open = false;
}
