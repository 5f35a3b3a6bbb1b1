/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/listen.h"

#define ANSWER_MAX (1u << 20)

long long ask_clock(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int ask_send(const struct entry *entry, const char *request)
{
	int fd = listen_connect(entry, "control");
	size_t len = strlen(request);

	if (fd < 0)
		return fd;
	if (send(fd, request, len, MSG_NOSIGNAL) == (ssize_t)len &&
	    send(fd, "\n", 1, MSG_NOSIGNAL) == 1)
		return fd;
	close(fd);
	return -EPIPE;
}

/* Some of the answer; false: no more comes in time. */
static bool receive_some(int fd, char *text, size_t *len, size_t room, long long deadline)
{
	struct pollfd poll_fd = {fd, POLLIN, 0};
	long long left = deadline - ask_clock();
	ssize_t n;

	if (poll(&poll_fd, 1, left < 0 ? 0 : (int)left) <= 0)
		return false;
	n = recv(fd, text + *len, room - *len, MSG_DONTWAIT);
	if (n > 0)
		*len += (size_t)n;
	return n > 0;
}

json_t *ask_receive(int fd, long long deadline)
{
	char *text = NULL, *end = NULL;
	size_t room = 0, len = 0;
	json_t *json = NULL;

	while (!end && room < ANSWER_MAX) {
		char *more;

		if (len == room) {
			room += 16384;
			more = realloc(text, room);
			if (!more)
				break;
			text = more;
		}
		if (!receive_some(fd, text, &len, room, deadline))
			break;
		end = memchr(text, '\n', len);
	}
	if (end)
		json = json_loadb(text, (size_t)(end - text), 0, NULL);
	free(text);
	return json;
}

/* Why a connection is refused. */
static int no_connection(const struct entry *e, int rc)
{
	if (entry_state(e, NULL) != ENTRY_RUNS)
		cli_error("the VM %s has ended: 'lodge logs %s' may tell why", e->name, e->name);
	else if (rc == -ENOENT || rc == -ECONNREFUSED)
		cli_error("the VM %s is starting: try again", e->name);
	else
		cli_error("cannot reach the VM %s: %s", e->name, strerror(-rc));
	return STATUS_FAILED;
}

int ask(const struct entry *e, const char *request, json_t **answer)
{
	int fd = ask_send(e, request), status = 0;
	const char *why = NULL;
	json_t *json;

	if (answer)
		*answer = NULL;
	if (fd < 0)
		return no_connection(e, fd);
	json = ask_receive(fd, ask_clock() + ASK_MS);
	close(fd);
	if (!json) {
		cli_error("the VM %s does not answer: its process may be starting or stopped; "
			  "'lodge kill %s' ends it",
			  e->name, e->name);
		return STATUS_FAILED;
	}
	if (!json_unpack(json, "{s:s}", "error", &why)) {
		cli_error("%s: %s", e->name, why);
		status = STATUS_FAILED;
	}
	if (!status && answer)
		*answer = json_incref(json);
	json_decref(json);
	return status;
}

static int send_to(const char *name, const char *request)
{
	struct entry e;
	int fd;

	if (entry_open(&e, name))
		return -1;
	fd = entry_state(&e, NULL) == ENTRY_RUNS ? ask_send(&e, request) : -1;
	entry_close(&e);
	return fd;
}

json_t **ask_all(char *const *names, int count, const char *request)
{
	json_t **answers = calloc((size_t)count + 1, sizeof(json_t *));
	int *fds = calloc((size_t)count + 1, sizeof(int));
	long long deadline;

	if (!answers || !fds) {
		free(answers);
		free(fds);
		return NULL;
	}
	for (int i = 0; i < count; i++)
		fds[i] = send_to(names[i], request);
	deadline = ask_clock() + ASK_MS;
	for (int i = 0; i < count; i++) {
		if (fds[i] < 0)
			continue;
		answers[i] = ask_receive(fds[i], deadline);
		close(fds[i]);
	}
	free(fds);
	return answers;
}
