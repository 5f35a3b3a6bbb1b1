/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/signals.h"

#define LINE_MAX_BYTES 256

static int child_status(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return STATUS_FAILED;
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	cli_error("the VM's process died before it was ready: %s", strsignal(WTERMSIG(status)));
	return STATUS_FAILED;
}

/* What the child says, or its status. */
static int wait_ready(int ready, int signals, pid_t child)
{
	struct pollfd fds[] = {{ready, POLLIN, 0}, {signals, POLLIN, 0}};
	char line[LINE_MAX_BYTES + 1];
	size_t len = 0;
	bool window;

	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents && signals_read(signals, &window))
			kill(child, SIGTERM);
		if (!fds[0].revents)
			continue;
		n = read(ready, line + len, LINE_MAX_BYTES - len);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	line[len] = '\0';
	return len ? cli_print(line) : child_status(child);
}

bool detach_fork(struct detach *d, int signals, int *status)
{
	int pipefd[2];
	pid_t child;

	d->ready = -1;
	child = pipe2(pipefd, O_CLOEXEC) ? -1 : fork();
	if (child < 0) {
		cli_error("cannot detach: %s", strerror(errno));
		*status = STATUS_FAILED;
		return false;
	}
	if (!child) {
		close(pipefd[0]);
		d->ready = pipefd[1];
		setsid();
		return true;
	}
	close(pipefd[1]);
	*status = wait_ready(pipefd[0], signals, child);
	close(pipefd[0]);
	return false;
}

void detach_ready(struct detach *d, const char *line)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	ssize_t n;

	if (null >= 0) {
		for (int fd = 0; fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		close(null);
	}
	n = write(d->ready, line, strlen(line));
	n += write(d->ready, "\n", 1);
	(void)n;
	close(d->ready);
	d->ready = -1;
}
