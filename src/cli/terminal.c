/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define CTRL_A 0x01

static const int faults[TERMINAL_FAULTS] = {SIGABRT, SIGBUS, SIGFPE, SIGILL,
					    SIGSEGV, SIGSYS, SIGTRAP};

/* For the handler, which gets no argument: the terminal that is raw. */
static struct terminal *_Atomic raw_terminal;

static void restore_handlers(struct terminal *t)
{
	for (unsigned i = 0; i < TERMINAL_FAULTS; i++)
		sigaction(faults[i], &t->before[i], NULL);
}

/* Any thread. What would have come without this handler comes after it: an instruction that
 * faults is executed again, a signal that was sent is sent again. */
static void on_fault(int number, siginfo_t *info, void *context)
{
	struct terminal *t = atomic_exchange(&raw_terminal, NULL);

	(void)context;
	if (t) {
		tcsetattr(t->fd, TCSANOW, &t->saved); /* no drain: nothing must hold us here */
		restore_handlers(t);
	}
	if (info->si_code <= 0)
		raise(number);
}

static void catch_faults(struct terminal *t)
{
	struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};

	atomic_store(&raw_terminal, t);
	for (unsigned i = 0; i < TERMINAL_FAULTS; i++)
		sigaction(faults[i], &action, &t->before[i]);
}

const char terminal_help[] = "\r\nCtrl-A x  quit lodge\r\n"
			     "Ctrl-A p  press the power button\r\n"
			     "Ctrl-A c  send ctrl-alt-del\r\n"
			     "Ctrl-A a  send Ctrl-A\r\n"
			     "Ctrl-A h  this help\r\n";

int terminal_open(struct terminal *t, int fd)
{
	struct termios raw;

	*t = (struct terminal){.fd = fd};
	if (tcgetattr(fd, &t->saved))
		return -errno;
	raw = t->saved;
	cfmakeraw(&raw);
	catch_faults(t);
	if (tcsetattr(fd, TCSADRAIN, &raw)) {
		int rc = -errno;

		atomic_store(&raw_terminal, NULL);
		restore_handlers(t);
		return rc;
	}
	t->raw = true;
	return 0;
}

void terminal_close(struct terminal *t)
{
	if (!t->raw)
		return;
	tcsetattr(t->fd, TCSADRAIN, &t->saved);
	atomic_store(&raw_terminal, NULL);
	restore_handlers(t);
	t->raw = false;
}

bool terminal_is_ours(int fd)
{
	return isatty(fd) && tcgetpgrp(fd) == getpgrp();
}

bool terminal_window(int fd, uint16_t *columns, uint16_t *rows)
{
	struct winsize size;

	if (ioctl(fd, TIOCGWINSZ, &size))
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}

static enum terminal_key escape_key(char key)
{
	switch (key) {
	case 'x':
		return TERMINAL_QUIT;
	case 'h':
	case '?':
		return TERMINAL_HELP;
	case 'p':
		return TERMINAL_POWER;
	case 'c':
		return TERMINAL_CTRL_ALT_DEL;
	case 'd':
		return TERMINAL_DETACH;
	default:
		return TERMINAL_NONE;
	}
}

enum terminal_key terminal_sort(struct terminal *t, char *bytes, size_t *len, size_t *used)
{
	size_t typed = *len;

	*len = 0;
	for (*used = 0; *used < typed;) {
		char key = bytes[(*used)++];

		if (t->escaped) {
			enum terminal_key word = escape_key(key);

			t->escaped = false;
			if (word != TERMINAL_NONE)
				return word;
			if (key == 'a' || key == CTRL_A)
				bytes[(*len)++] = CTRL_A;
		} else if (key == CTRL_A) {
			t->escaped = true;
		} else {
			bytes[(*len)++] = key;
		}
	}
	return TERMINAL_NONE;
}
