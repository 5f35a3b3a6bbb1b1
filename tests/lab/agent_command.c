/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's commands: starting them, their streams, their end. */
#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct command *command_find(struct agent *a, uint16_t channel)
{
	for (int i = 0; i < MAX_COMMANDS; i++)
		if (a->commands[i].pid && a->commands[i].channel == channel)
			return &a->commands[i];
	return NULL;
}

int commands_running(struct agent *a)
{
	int running = 0;

	for (int i = 0; i < MAX_COMMANDS; i++)
		running += a->commands[i].pid != 0;
	return running;
}

/* Starting a command */

/* What the new process has as 0, 1 and 2, and what the agent keeps of each. */
struct ends {
	int child[3];
	int agent[3];
};

static int open_pty(struct ends *ends, const struct exec *exec)
{
	struct winsize size = {.ws_row = (uint16_t)exec->rows, .ws_col = (uint16_t)exec->columns};
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int slave;

	if (master < 0 || grantpt(master) || unlockpt(master))
		return -1;
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -1;
	ioctl(slave, TIOCSWINSZ, &size);
	for (int i = 0; i < 3; i++)
		ends->child[i] = slave;
	ends->agent[0] = fcntl(master, F_DUPFD_CLOEXEC, 3);
	ends->agent[1] = master;
	ends->agent[2] = -1;
	return 0;
}

static int open_spool(void)
{
	char name[] = "/tmp/lab-spool-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	unlink(name);
	return fd;
}

static int open_ends(struct ends *ends, const struct exec *exec)
{
	int two[2];

	if (exec->flags & EXEC_PTY)
		return open_pty(ends, exec);
	if (exec->flags & EXEC_STDIN) {
		if (pipe2(two, O_CLOEXEC))
			return -1;
		ends->child[0] = two[0];
		ends->agent[0] = two[1];
	} else {
		ends->child[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		ends->agent[0] = -1;
	}
	for (int i = 1; i < 3; i++) {
		if (exec->flags & EXEC_SPOOL) {
			ends->child[i] = open_spool();
			ends->agent[i] = fcntl(ends->child[i], F_DUPFD_CLOEXEC, 3);
		} else {
			if (pipe2(two, O_CLOEXEC))
				return -1;
			ends->child[i] = two[1];
			ends->agent[i] = two[0];
		}
	}
	return 0;
}

static void become(struct ends *ends, const struct exec *exec, char **words)
{
	char *cwd = words[0], **argv = words + 1;
	char **env = argv + exec->argc + 1;
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(ends->child[i], i);
	if (exec->flags & EXEC_PTY)
		ioctl(0, TIOCSCTTY, 0);
	if (chdir(cwd))
		dprintf(2, "lab: %s: %s\n", cwd, strerror(errno));
	if (exec->uid && (setgid(exec->uid) || setuid(exec->uid)))
		_exit(126);
	for (char **e = env; *e; e++)
		putenv(*e);
	execvp(argv[0], argv);
	dprintf(2, "lab: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Turns cwd, argv and environment in the request into {cwd, argv..., NULL, env..., NULL}. */
static char **split_words(char *text, size_t length, uint32_t argc)
{
	size_t count = 0;
	char **words;

	for (size_t i = 0; i < length; i++)
		count += text[i] == '\0';
	if (!length || text[length - 1] || !argc || count < (size_t)argc + 1)
		return NULL;
	words = calloc(count + 2, sizeof(*words));
	for (size_t i = 0, at = 0; words && i < count; i++) {
		words[i + (i > argc)] = text + at;
		at += strlen(text + at) + 1;
	}
	return words;
}

void command_start(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
{
	struct exec *exec = (struct exec *)data;
	struct ends ends = {{-1, -1, -1}, {-1, -1, -1}};
	struct command *c = NULL;
	char **words = NULL;

	for (int i = 0; i < MAX_COMMANDS && !c; i++)
		c = a->commands[i].pid ? NULL : &a->commands[i];
	if (length > sizeof(*exec))
		words = split_words((char *)(exec + 1), length - sizeof(*exec), exec->argc);
	if (!c || !words || open_ends(&ends, exec)) {
		free(words);
		reply_error(a, channel, "cannot start a command", errno ? errno : EINVAL);
		return;
	}
	memset(c, 0, sizeof(*c));
	c->channel = channel;
	c->flags = exec->flags;
	c->in = ends.agent[0];
	c->out[0] = ends.agent[1];
	c->out[1] = ends.agent[2];
	c->deadline_ms = exec->timeout_ms ? now_ms() + exec->timeout_ms : 0;
	c->tsc_start = __rdtsc();
	c->pid = fork();
	if (c->pid == 0)
		become(&ends, exec, words);
	if (c->pid < 0) {
		c->pid = 0;
		reply_error(a, channel, "fork", errno);
	}
	if (c->in >= 0)
		fcntl(c->in, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 2; i++)
		if (c->out[i] >= 0)
			fcntl(c->out[i], F_SETFL, O_NONBLOCK);
	close(ends.child[0]);
	if (!(c->flags & EXEC_PTY)) {
		close(ends.child[1]);
		close(ends.child[2]);
	}
	free(words);
}

/* A running command's streams */

static void command_close_input(struct command *c)
{
	if (c->in >= 0)
		close(c->in);
	c->in = -1;
	free(c->input);
	c->input = NULL;
	c->input_length = 0;
}

void command_feed(struct command *c)
{
	while (c->in >= 0 && c->input_length) {
		ssize_t n = write(c->in, c->input, c->input_length);

		if (n > 0) {
			c->input_length -= (size_t)n;
			memmove(c->input, c->input + n, c->input_length);
		} else if (n < 0 && errno == EAGAIN) {
			return;
		} else if (n < 0 && errno != EINTR) {
			command_close_input(c);
		}
	}
	if (c->in_ends)
		command_close_input(c);
}

void command_input(struct command *c, const uint8_t *data, size_t length)
{
	char *more;

	if (!c || c->in < 0)
		return;
	if (!length) {
		c->in_ends = 1;
	} else {
		more = realloc(c->input, c->input_length + length);
		if (!more)
			return;
		memcpy(more + c->input_length, data, length);
		c->input = more;
		c->input_length += length;
	}
	command_feed(c);
}

int command_drain(struct agent *a, struct command *c, int which)
{
	char data[CHUNK];
	ssize_t n = read(c->out[which], data, sizeof(data));

	if (n > 0) {
		reply(a, which ? 'e' : 'o', c->channel, data, (size_t)n);
		return 1;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (!(c->flags & EXEC_SPOOL)) {
		close(c->out[which]);
		c->out[which] = -1;
	}
	return 0;
}

static void command_ended(struct agent *a, struct command *c, int status, struct rusage *usage)
{
	struct ended ended = {
		.status = status,
		.timed_out = c->timed_out,
		.tsc_start = c->tsc_start,
		.tsc_end = __rdtsc(),
		.user_us = (uint64_t)usage->ru_utime.tv_sec * 1000000 +
			   (uint64_t)usage->ru_utime.tv_usec,
		.system_us = (uint64_t)usage->ru_stime.tv_sec * 1000000 +
			     (uint64_t)usage->ru_stime.tv_usec,
		.max_rss_kib = (uint64_t)usage->ru_maxrss,
	};

	for (int i = 0; i < 2; i++) {
		if (c->out[i] < 0)
			continue;
		if (c->flags & EXEC_SPOOL)
			lseek(c->out[i], 0, SEEK_SET);
		while (command_drain(a, c, i))
			;
		if (c->out[i] >= 0)
			close(c->out[i]);
	}
	command_close_input(c);
	reply(a, 'x', c->channel, &ended, sizeof(ended));
	c->pid = 0;
}

void commands_reap(struct agent *a)
{
	struct signalfd_siginfo info;
	struct rusage usage;
	int status;
	pid_t pid;

	while (read(a->signals, &info, sizeof(info)) > 0)
		;
	while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0)
		for (int i = 0; i < MAX_COMMANDS; i++)
			if (a->commands[i].pid == pid)
				command_ended(a, &a->commands[i], status, &usage);
}

int commands_check_deadlines(struct agent *a)
{
	uint64_t now = now_ms(), next = UINT64_MAX;

	for (int i = 0; i < MAX_COMMANDS; i++) {
		struct command *c = &a->commands[i];

		if (!c->pid || !c->deadline_ms)
			continue;
		if (now >= c->deadline_ms) {
			c->timed_out = 1;
			c->deadline_ms = 0;
			kill(-c->pid, SIGKILL);
			kill(c->pid, SIGKILL);
		} else if (c->deadline_ms < next) {
			next = c->deadline_ms;
		}
	}
	return next == UINT64_MAX ? -1 : (int)(next - now) + 1;
}
