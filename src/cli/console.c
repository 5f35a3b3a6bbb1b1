/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge console: the console of a detached VM on this terminal, or in pipes.
 *
 * The VM's process sends what it remembers of the console's output, and then what comes; what is
 * typed goes the other way. The escape key is sorted out here. Several may do this at a time.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/listen.h"
#include "cli/signals.h"
#include "cli/terminal.h"

static const struct flags flags = {
	.verb = "console",
	.usage = "NAME",
	.intro = "Attaches to the console of a virtual machine that was started with --detach: "
		 "first\n"
		 "what it printed last, then what comes. Several can do so at a time.\n",
	.outro = "On a terminal Ctrl-A d detaches and Ctrl-A h lists the other keys. The virtual\n"
		 "machine goes on.\n",
	.arguments = 1,
	.argument = "NAME",
};

static const char console_help[] = "\r\nCtrl-A d  detach; the machine goes on\r\n"
				   "Ctrl-A p  press the power button\r\n"
				   "Ctrl-A c  send ctrl-alt-del\r\n"
				   "Ctrl-A a  send Ctrl-A\r\n"
				   "Ctrl-A h  this help\r\n";

#define TYPED_MAX 256

struct console {
	struct entry entry;
	struct terminal terminal;
	int fd; /* the console's socket */
	int signals;
	bool keys;             /* standard input is a terminal */
	bool heard;            /* standard input has more */
	char typed[TYPED_MAX]; /* what the socket did not take yet */
	size_t len, at;
};

enum outcome { GO_ON, DETACHED, ENDED, READER_GONE };

static int attach(struct console *c)
{
	c->fd = listen_connect(&c->entry, "console");
	if (c->fd >= 0)
		return 0;
	if (entry_state(&c->entry, NULL) != ENTRY_RUNS)
		cli_error("the VM %s has ended: 'lodge logs %s' tells what it printed",
			  c->entry.name, c->entry.name);
	else if (c->fd == -ENOENT)
		cli_error("the VM %s has its console elsewhere: where 'lodge run' or 'lodge api' "
			  "was started, or in a file",
			  c->entry.name);
	else
		cli_error("cannot attach to the console of %s: %s", c->entry.name,
			  strerror(-c->fd));
	return STATUS_FAILED;
}

/* A virtio console has the size of the window that it is looked at in. Nobody waits for that. */
static void tell_window(struct console *c)
{
	char request[80];
	uint16_t columns, rows;
	int fd;

	if (!terminal_window(STDOUT_FILENO, &columns, &rows))
		return;
	snprintf(request, sizeof(request), "{\"do\": \"window\", \"columns\": %u, \"rows\": %u}",
		 columns, rows);
	fd = ask_send(&c->entry, request);
	if (fd >= 0)
		close(fd);
}

static void press(struct console *c, const char *request)
{
	int fd = ask_send(&c->entry, request);

	if (fd >= 0)
		close(fd);
}

static enum outcome on_escape(struct console *c, enum terminal_key key)
{
	switch (key) {
	case TERMINAL_DETACH:
	case TERMINAL_QUIT: /* as it ends "lodge run": to get out */
		return DETACHED;
	case TERMINAL_HELP:
		(void)!write(STDERR_FILENO, console_help, strlen(console_help));
		break;
	case TERMINAL_POWER:
		press(c, "{\"do\": \"power\"}");
		break;
	case TERMINAL_CTRL_ALT_DEL:
		press(c, "{\"do\": \"keys\"}");
		break;
	case TERMINAL_NONE:
		break;
	}
	return GO_ON;
}

/* Takes the escapes out of what was typed at bytes; what is left is moved together. */
static enum outcome sort(struct console *c, char *bytes, size_t left, size_t *kept)
{
	enum outcome outcome = GO_ON;
	char *at = bytes;

	*kept = 0;
	while (left && outcome == GO_ON) {
		size_t len = left, used;
		enum terminal_key key = terminal_sort(&c->terminal, at, &len, &used);

		memmove(bytes + *kept, at, len);
		*kept += len;
		at += used;
		left -= used;
		outcome = on_escape(c, key);
	}
	return outcome;
}

static void send_typed(struct console *c)
{
	while (c->len) {
		ssize_t n = send(c->fd, c->typed + c->at, c->len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0) /* it has ended, as will be read */
			n = (ssize_t)c->len;
		c->at += (size_t)n;
		c->len -= (size_t)n;
	}
}

/* More of standard input. A terminal is read on while the guest takes nothing, for the escape. */
static enum outcome on_input(struct console *c)
{
	char bytes[TYPED_MAX];
	ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
	size_t kept = (size_t)n;
	enum outcome outcome = GO_ON;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return GO_ON;
	if (n <= 0) {
		c->heard = false;
		shutdown(c->fd, SHUT_WR);
		return c->keys ? DETACHED : GO_ON;
	}
	if (c->keys)
		outcome = sort(c, bytes, (size_t)n, &kept);
	if (!c->len) {
		memcpy(c->typed, bytes, kept);
		c->at = 0;
		c->len = kept;
		send_typed(c);
	}
	return outcome;
}

static enum outcome on_output(struct console *c)
{
	char bytes[16384];
	ssize_t n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return GO_ON;
	if (n <= 0)
		return ENDED;
	return cli_write(bytes, (size_t)n) ? READER_GONE : GO_ON;
}

static enum outcome talk(struct console *c)
{
	enum outcome outcome = GO_ON;

	while (outcome == GO_ON) {
		bool hears = c->heard && (c->keys || !c->len), window;
		struct pollfd fds[] = {
			{c->fd, (short)(c->len ? POLLIN | POLLOUT : POLLIN), 0},
			{hears ? STDIN_FILENO : -1, POLLIN, 0},
			{c->signals, POLLIN, 0},
		};

		if (poll(fds, 3, -1) < 0)
			continue;
		if (fds[2].revents && signals_read(c->signals, &window))
			return DETACHED;
		if (fds[2].revents && window)
			tell_window(c);
		if (fds[0].revents & POLLOUT)
			send_typed(c);
		if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
			outcome = on_output(c);
		if (outcome == GO_ON && fds[1].revents)
			outcome = on_input(c);
	}
	return outcome;
}

static int converse(struct console *c)
{
	enum outcome outcome;
	int rc;

	c->heard = !isatty(STDIN_FILENO) || terminal_is_ours(STDIN_FILENO);
	c->keys = c->heard && isatty(STDIN_FILENO);
	if (c->keys) {
		fprintf(stderr, "lodge: the console of %s: Ctrl-A d detaches\n", c->entry.name);
		rc = terminal_open(&c->terminal, STDIN_FILENO);
		if (rc)
			cli_error("the terminal stays in line mode: %s", strerror(-rc));
	}
	tell_window(c);
	outcome = talk(c);
	terminal_close(&c->terminal);
	if (c->keys && outcome == DETACHED)
		fprintf(stderr, "\nlodge: detached from %s\n", c->entry.name);
	if (c->keys && outcome == ENDED)
		fprintf(stderr, "\nlodge: %s has ended\n", c->entry.name);
	return outcome == READER_GONE && errno != EPIPE ? STATUS_FAILED : STATUS_OK;
}

static int console(int argc, char **argv)
{
	struct console c = {.fd = -1, .signals = -1};
	const char *name;
	int status = flags_parse_name(&flags, NULL, &name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	status = entry_open(&c.entry, name);
	if (status)
		return status;
	status = attach(&c);
	c.signals = status ? -1 : signals_open();
	if (!status)
		status = converse(&c);
	if (c.fd >= 0)
		close(c.fd);
	if (c.signals >= 0)
		close(c.signals);
	entry_close(&c.entry);
	return status;
}

const struct verb verb_console = {"console", console, "attach to a detached machine's console",
				  &flags};
