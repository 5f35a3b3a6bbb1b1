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
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define MAX_FRAME (1U << 20)

struct frame {
	uint32_t length;
	uint8_t type;
	uint8_t zero;
	uint16_t channel;
} __attribute__((packed));

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

void reply(struct agent *a, char type, uint16_t channel, const void *data, size_t length)
{
	struct frame frame = {(uint32_t)length, (uint8_t)type, 0, channel};

	write_all(a->to, &frame, sizeof(frame));
	write_all(a->to, data, length);
}

void reply_error(struct agent *a, uint16_t channel, const char *what, int error)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%s: %s", what, strerror(error));

	reply(a, '!', channel, text, (size_t)n);
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

static void turn(struct agent *a)
{
	struct pollfd fds[2 + 3 * MAX_COMMANDS];
	int timeout = commands_check_deadlines(a);
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
		commands_reap(a);
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
