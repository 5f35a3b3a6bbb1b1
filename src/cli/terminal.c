/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>

#define CTRL_A 0x01

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
	if (tcsetattr(fd, TCSADRAIN, &raw))
		return -errno;
	t->raw = true;
	return 0;
}

void terminal_close(struct terminal *t)
{
	if (t->raw)
		tcsetattr(t->fd, TCSADRAIN, &t->saved);
	t->raw = false;
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
