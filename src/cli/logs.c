/* SPDX-License-Identifier: Apache-2.0 */
/* lodge logs: what a detached VM printed, and lodge's words. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/entry.h"
#include "cli/flags.h"

#define FOLLOW_MS 200

struct logs {
	bool follow;
};

static const struct flag table[] = {
	FLAG_AT("--follow", NULL, "go on with what comes, until the VM ends", flag_switch,
		struct logs, follow),
};

static const struct flags flags = {
	.verb = "logs",
	.usage = "NAME [--follow]",
	.intro =
		"Prints what a virtual machine that was detached has printed, and lodge's words.\n",
	.table = table,
	.count = sizeof(table) / sizeof(table[0]),
	.arguments = 1,
	.argument = "NAME",
};

static int open_log(const struct entry *e, const char *file)
{
	return openat(e->dir, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
}

/* What a guest printed for its terminal is not for this one, which would obey, and type answers to
 * old questions: control characters are shown as ^X, but for line ends and tabs. out has twice the
 * room of bytes. */
static size_t show(const char *bytes, size_t len, char *out)
{
	size_t at = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char byte = (unsigned char)bytes[i];

		if (byte == '\r')
			continue;
		if (byte == 0x7f || (byte < 0x20 && byte != '\n' && byte != '\t')) {
			out[at++] = '^';
			byte ^= 0x40;
		}
		out[at++] = (char)byte;
	}
	return at;
}

/* All that is there from where fd stands. */
static int copy(int fd)
{
	char bytes[16384], shown[2 * sizeof(bytes)];
	bool terminal = isatty(STDOUT_FILENO);
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0 || (n < 0 && errno == EINTR)) {
		size_t len = n > 0 ? (size_t)n : 0;
		int status;

		if (terminal)
			status = cli_write(shown, show(bytes, len, shown));
		else
			status = cli_write(bytes, len);
		if (status)
			return status;
	}
	return 0;
}

/* The log that was turned is read to its end, then the new one. */
static int turn(const struct entry *e, int *fd)
{
	struct stat ours, now;
	int next, status;

	if (fstat(*fd, &ours) || fstatat(e->dir, "log", &now, AT_SYMLINK_NOFOLLOW) ||
	    ours.st_ino == now.st_ino)
		return 0;
	next = open_log(e, "log");
	if (next < 0)
		return 0;
	status = copy(*fd);
	close(*fd);
	*fd = next;
	return status;
}

static int follow(const struct entry *e, int *fd)
{
	const struct timespec time = {0, FOLLOW_MS * 1000000L};
	int status;

	for (;;) {
		bool ended = entry_state(e, NULL) != ENTRY_RUNS;

		status = turn(e, fd);
		if (!status)
			status = copy(*fd);
		if (status || ended)
			return status;
		nanosleep(&time, NULL);
	}
}

static int print(const struct entry *e, bool on)
{
	int fd = open_log(e, "log"), old, status = 0;

	if (fd < 0) {
		cli_error("the VM %s has no log: it was not started with --detach", e->name);
		return STATUS_FAILED;
	}
	old = open_log(e, "log.1");
	if (old >= 0) {
		status = copy(old);
		close(old);
	}
	if (!status)
		status = copy(fd);
	if (!status && on)
		status = follow(e, &fd);
	close(fd);
	return status;
}

static int logs(int argc, char **argv)
{
	struct logs l = {false};
	const char *name;
	struct entry e;
	int status = flags_parse_name(&flags, &l, &name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	status = entry_open(&e, name);
	if (status)
		return status;
	status = print(&e, l.follow);
	entry_close(&e);
	return status;
}

const struct verb verb_logs = {"logs", logs, "print what a detached virtual machine printed",
			       &flags};
