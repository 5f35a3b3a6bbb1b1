/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lab's agent: process 1 of the emulated machine.
 *
 * The host asks for commands to be run and files to be written or read; the agent does it and
 * reports.  Both directions are frames: an 8-byte header {u32 length, u8 type, u8 zero,
 * u16 channel}, little-endian, then `length` bytes.  A channel is a number the host picks for one
 * command or one file; several can be under way at once.
 *
 *	host to agent				agent to host
 *	E start a command (struct exec)		o standard output (or the pty's)
 *	I its standard input; empty = end	e standard error
 *	S a signal (u32)			x it ended (struct ended)
 *	W the pty's size (u32 rows, u32 cols)	d a file's content
 *	P create a file: u32 mode, its path	k done; after G: u32 mode
 *	p its content; empty = end, answered	! refused, with the reason
 *	G read a file: its path			h here I am
 *	A wait until no command runs
 *	H power off
 *
 * Used in two ways.  `agent PORT` serves a virtio-serial port for as long as the machine lives.
 * `agent FILE TTY` takes its requests from a file of the initramfs, in order, answers on a serial
 * line, and powers off at the end: nothing comes in from outside, so a run can be repeated to the
 * instruction.
 *
 * One thread, one poll().  Writing to the host blocks: the host always reads.  Writing to a command
 * never blocks: its input is kept until it takes it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#define MAX_FRAME    (1U << 20)
#define CHUNK        32768
#define MAX_COMMANDS 64

#define EXEC_PTY   1 /* on a pseudo-terminal: one stream, reported as 'o' */
#define EXEC_SPOOL 2 /* output goes to files, reported when the command ended */
#define EXEC_STDIN 4 /* standard input comes by 'I'; otherwise it is /dev/null */

struct frame {
	uint32_t length;
	uint8_t type;
	uint8_t zero;
	uint16_t channel;
} __attribute__((packed));

/* Followed by NUL-ended strings: working directory, argc arguments, environment. */
struct exec {
	uint32_t flags;
	uint32_t timeout_ms; /* 0: none */
	uint32_t uid;
	uint32_t rows;
	uint32_t columns;
	uint32_t argc;
} __attribute__((packed));

struct ended {
	int32_t status; /* as wait4() gives it */
	uint32_t timed_out;
	uint64_t tsc_start;
	uint64_t tsc_end;
	uint64_t user_us;
	uint64_t system_us;
	uint64_t max_rss_kib;
} __attribute__((packed));

struct command {
	pid_t pid; /* 0: this slot is free */
	uint16_t channel;
	uint32_t flags;
	int in;     /* -1: closed, or never there */
	int out[2]; /* standard output and standard error, or spool files */
	int in_ends;
	char *input; /* what the command has not taken yet */
	size_t input_length;
	uint64_t deadline_ms;
	uint32_t timed_out;
	uint64_t tsc_start;
};

struct agent {
	int from;
	int to;
	int signals;
	int scripted; /* requests come from a file */
	int waiting;  /* an 'A' holds further requests back */
	int halting;
	int served; /* a request has come */
	uint8_t *buffer;
	size_t filled;
	int put_fd;
	int put_error;
	uint16_t put_channel;
	struct command commands[MAX_COMMANDS];
};

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void power_off(void)
{
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void write_all(int fd, const void *data, size_t length)
{
	const uint8_t *at = data;

	while (length) {
		ssize_t n = write(fd, at, length);

		if (n > 0) {
			at += n;
			length -= (size_t)n;
		} else if (n < 0 && errno == EAGAIN) {
			struct pollfd p = {.fd = fd, .events = POLLOUT};

			poll(&p, 1, -1);
		} else if (n < 0 && errno != EINTR) {
			power_off();
		}
	}
}

static void reply(struct agent *a, char type, uint16_t channel, const void *data, size_t length)
{
	struct frame frame = {(uint32_t)length, (uint8_t)type, 0, channel};

	write_all(a->to, &frame, sizeof(frame));
	write_all(a->to, data, length);
}

static void reply_error(struct agent *a, uint16_t channel, const char *what, int error)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s: %s", what, strerror(error));

	reply(a, '!', channel, text, (size_t)n);
}

static struct command *command_find(struct agent *a, uint16_t channel)
{
	for (int i = 0; i < MAX_COMMANDS; i++)
		if (a->commands[i].pid && a->commands[i].channel == channel)
			return &a->commands[i];
	return NULL;
}

static int commands_running(struct agent *a)
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

static void command_start(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
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

static void command_feed(struct command *c)
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

static void command_input(struct command *c, const uint8_t *data, size_t length)
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

/* Reports what the command has written; returns 0 at its end, or when nothing is left for now. */
static int command_drain(struct agent *a, struct command *c, int which)
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

static void reap(struct agent *a)
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

/* Files */

static void file_put(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
{
	char *path = (char *)data + sizeof(uint32_t);
	uint32_t mode;

	memcpy(&mode, data, sizeof(mode));
	data[length - 1] = '\0';
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	unlink(path);
	a->put_channel = channel;
	a->put_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	a->put_error = a->put_fd < 0 ? errno : 0;
	if (a->put_fd >= 0)
		fchmod(a->put_fd, mode);
}

static void file_content(struct agent *a, uint16_t channel, const uint8_t *data, size_t length)
{
	int last = !length;

	while (length && !a->put_error) {
		ssize_t n = write(a->put_fd, data, length);

		if (n < 0) {
			a->put_error = errno;
		} else {
			data += n;
			length -= (size_t)n;
		}
	}
	if (!last)
		return;
	if (a->put_fd >= 0 && close(a->put_fd) && !a->put_error)
		a->put_error = errno;
	a->put_fd = -1;
	if (a->put_error)
		reply_error(a, channel, "cannot write the file", a->put_error);
	else
		reply(a, 'k', channel, NULL, 0);
}

static void file_get(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
{
	char *path = (char *)data, content[CHUNK];
	struct stat st = {0};
	uint32_t mode;
	ssize_t n;
	int fd;

	path[length - 1] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		reply_error(a, channel, path, errno);
		return;
	}
	while ((n = read(fd, content, sizeof(content))) > 0)
		reply(a, 'd', channel, content, (size_t)n);
	mode = st.st_mode & 07777;
	if (n < 0)
		reply_error(a, channel, path, errno);
	else
		reply(a, 'k', channel, &mode, sizeof(mode));
	close(fd);
}

/* The host's requests */

static void serve(struct agent *a, struct frame *frame, uint8_t *data)
{
	struct command *c = command_find(a, frame->channel);
	uint32_t words[2] = {0, 0};
	struct winsize size;

	memcpy(words, data, frame->length < sizeof(words) ? frame->length : sizeof(words));
	switch (frame->type) {
	case 'E':
		command_start(a, frame->channel, data, frame->length);
		break;
	case 'I':
		command_input(c, data, frame->length);
		break;
	case 'S':
		if (c)
			kill(-c->pid, (int)words[0]);
		break;
	case 'W':
		size = (struct winsize){.ws_row = (uint16_t)words[0], .ws_col = (uint16_t)words[1]};
		if (c && c->in >= 0)
			ioctl(c->in, TIOCSWINSZ, &size);
		break;
	case 'P':
		if (frame->length > sizeof(uint32_t))
			file_put(a, frame->channel, data, frame->length);
		break;
	case 'p':
		file_content(a, frame->channel, data, frame->length);
		break;
	case 'G':
		if (frame->length)
			file_get(a, frame->channel, data, frame->length);
		break;
	case 'A':
		a->waiting = 1;
		break;
	case 'H':
		a->halting = 1;
		break;
	}
}

/* Serves the whole frames in the buffer. */
static void serve_buffer(struct agent *a)
{
	struct frame frame;
	size_t at = 0;

	for (;;) {
		a->waiting = a->waiting && commands_running(a);
		if (a->waiting || a->halting || a->filled - at < sizeof(frame))
			break;
		memcpy(&frame, a->buffer + at, sizeof(frame));
		if (frame.length > MAX_FRAME)
			power_off();
		if (a->filled - at - sizeof(frame) < frame.length)
			break;
		serve(a, &frame, a->buffer + at + sizeof(frame));
		at += sizeof(frame) + frame.length;
	}
	a->filled -= at;
	memmove(a->buffer, a->buffer + at, a->filled);
}

static void take_requests(struct agent *a)
{
	size_t room = MAX_FRAME + sizeof(struct frame) - a->filled;
	ssize_t n = room ? read(a->from, a->buffer + a->filled, room) : 0;

	a->served |= n > 0;
	if (n > 0)
		a->filled += (size_t)n;
	else if (n == 0 && a->scripted && room)
		a->halting = !a->waiting && !commands_running(a);
	else if (n == 0 && !a->scripted && a->served)
		power_off(); /* the host has closed its side: nobody needs us any more */
	else if (n == 0 && !a->scripted)
		usleep(10000); /* the host's side is not open yet */
	serve_buffer(a);
}

/* Kills what has run too long; returns the time in ms until the next one is due, -1 for never. */
static int check_deadlines(struct agent *a)
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

static void turn(struct agent *a)
{
	struct pollfd fds[2 + 3 * MAX_COMMANDS];
	int timeout = check_deadlines(a);
	nfds_t count = 2;

	fds[0] = (struct pollfd){.fd = a->signals, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = a->waiting ? -1 : a->from, .events = POLLIN};
	for (int i = 0; i < MAX_COMMANDS; i++) {
		struct command *c = &a->commands[i];
		int spool = !c->pid || (c->flags & EXEC_SPOOL);

		fds[count++] = (struct pollfd){.fd = spool ? -1 : c->out[0], .events = POLLIN};
		fds[count++] = (struct pollfd){.fd = spool ? -1 : c->out[1], .events = POLLIN};
		fds[count++] = (struct pollfd){.fd = c->pid && c->input_length ? c->in : -1,
					       .events = POLLOUT};
	}
	if (poll(fds, count, timeout) < 0)
		return;
	for (nfds_t i = 2; i < count; i++) {
		struct command *c = &a->commands[(i - 2) / 3];

		if (!fds[i].revents || !c->pid)
			continue;
		if ((i - 2) % 3 == 2)
			command_feed(c);
		else
			command_drain(a, c, (i - 2) % 3);
	}
	if (fds[0].revents) {
		reap(a);
		serve_buffer(a);
	}
	if (fds[1].revents)
		take_requests(a);
}

static int open_line(const char *name)
{
	int fd = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios raw;

	if (fd >= 0 && !tcgetattr(fd, &raw)) {
		cfmakeraw(&raw);
		cfsetspeed(&raw, B115200);
		raw.c_cflag |= CLOCAL;
		tcsetattr(fd, TCSANOW, &raw);
	}
	return fd;
}

int main(int argc, char **argv)
{
	static struct agent a = {.put_fd = -1};
	sigset_t child;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	signal(SIGPIPE, SIG_IGN);
	a.signals = signalfd(-1, &child, SFD_NONBLOCK | SFD_CLOEXEC);
	a.scripted = argc > 2;
	a.from = a.scripted ? open(argv[1], O_RDONLY | O_CLOEXEC) : open_line(argv[1]);
	a.to = a.scripted ? open_line(argv[2]) : a.from;
	a.buffer = malloc(MAX_FRAME + sizeof(struct frame));
	if (a.signals < 0 || a.from < 0 || a.to < 0 || !a.buffer) {
		perror("lab: agent");
		power_off();
	}
	reply(&a, 'h', 0, NULL, 0);
	while (!a.halting)
		turn(&a);
	tcdrain(a.to);
	power_off();
}
