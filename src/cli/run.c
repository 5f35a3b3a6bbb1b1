/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge run: one VM with the user's terminal, pipes or files as its console.
 *
 * The VM's threads do the work; this thread waits for its end, for signals (by a
 * signalfd, so that nothing happens in a handler) and, where stdin is a terminal,
 * for keys. Keys pass through here because Ctrl-A is ours: what is meant for the
 * guest goes on through a pipe. Anything else that stdin may be is handed to the
 * VM as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/detach.h"
#include "cli/listed.h"
#include "cli/run_flags.h"
#include "cli/signals.h"
#include "cli/terminal.h"
#include "lodge/lodge.h"

/* What a console of the VM was given; -1: nothing. */
struct end {
	int in, out;
	bool opened_out;
};

struct session {
	lodge_vm *vm;
	struct run_flags flags;
	struct terminal terminal;
	int signals; /* signalfd */
	int keys;    /* write end of the pipe to the console on stdio; -1: stdin is not ours */
	struct end com1, hvc;
	struct end socket; /* of a detached VM's console, until it has started */
	struct listed listed;
	struct detach detach;
	const char *said; /* how the VM ended, in words */
	int status; /* decided before the VM's end: STATUS_TIMEOUT or STATUS_STOPPED; else -1 */
};

static int open_stdio(struct session *s, struct end *end)
{
	int pipefd[2], rc;

	if (s->flags.detach) {
		rc = listed_console(&s->listed, &s->socket.in, &s->socket.out);
		end->in = s->socket.in;
		end->out = s->socket.out;
		return rc;
	}
	if ((fcntl(STDOUT_FILENO, F_GETFL) & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	end->out = STDOUT_FILENO;
	if (!isatty(STDIN_FILENO)) {
		end->in = STDIN_FILENO;
		return 0;
	}
	if (!terminal_is_ours(STDIN_FILENO))
		return 0;
	if (pipe2(pipefd, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	end->in = pipefd[0];
	s->keys = pipefd[1];
	return 0;
}

static const char *console_trouble(int error)
{
	switch (error) {
	case ENXIO:
		return "it is a FIFO that nobody reads: start its reader first";
	case EBADF:
		return "standard output is closed: open it, or give none";
	default:
		return strerror(error);
	}
}

static int open_console(struct session *s, const char *console, struct end *end)
{
	int rc = 0;

	if (!strcmp(console, "stdio")) {
		rc = open_stdio(s, end);
	} else if (!strncmp(console, "file=", 5)) {
		/* Without waiting: nobody may ever open the other end of a FIFO. */
		end->out = open(console + 5,
				O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
				0666);
		end->opened_out = end->out >= 0;
		rc = end->out < 0 ? -errno : 0;
	}
	if (!rc)
		return 0;
	cli_error("cannot open the console %s: %s", console, console_trouble(-rc));
	return STATUS_FAILED;
}

static int open_consoles(struct session *s)
{
	const char *hvc = s->flags.virtio_console;
	int rc = open_console(s, s->flags.console, &s->com1);

	if (!rc)
		rc = open_console(s, hvc, &s->hvc);
	if (rc)
		return rc;
	rc = lodge_vm_console(s->vm, s->com1.in, s->com1.out);
	if (!rc && strcmp(hvc, "none") != 0)
		rc = lodge_vm_virtio_console(s->vm, s->hvc.in, s->hvc.out);
	if (!rc)
		return 0;
	cli_error("%s", lodge_vm_error(s->vm));
	return STATUS_FAILED;
}

/* The virtio console's window is the terminal that it is on. */
static void set_window(struct session *s)
{
	uint16_t columns, rows;

	if (s->hvc.out != STDOUT_FILENO || s->flags.detach)
		return;
	if (terminal_window(STDOUT_FILENO, &columns, &rows) ||
	    terminal_window(STDIN_FILENO, &columns, &rows))
		lodge_vm_window(s->vm, columns, rows);
}

static void stop(struct session *s, int status)
{
	if (s->status < 0)
		s->status = status;
	lodge_vm_stop(s->vm);
}

static void on_signal(struct session *s)
{
	bool window, end = signals_read(s->signals, &window);

	if (window)
		set_window(s);
	if (end)
		stop(s, STATUS_STOPPED);
}

static void on_escape(struct session *s, enum terminal_key key)
{
	ssize_t n;

	switch (key) {
	case TERMINAL_NONE:
	case TERMINAL_DETACH: /* this VM would end with the terminal */
		break;
	case TERMINAL_QUIT:
		stop(s, STATUS_STOPPED);
		break;
	case TERMINAL_HELP:
		n = write(STDERR_FILENO, terminal_help, strlen(terminal_help));
		(void)n;
		break;
	case TERMINAL_POWER:
		lodge_vm_power_button(s->vm);
		break;
	case TERMINAL_CTRL_ALT_DEL:
		lodge_vm_ctrl_alt_del(s->vm);
		break;
	}
}

/* Moves typed keys to the guest; false when the terminal is gone. A guest that does not read has
 * its keys dropped once the pipe (64 KiB) is full: the escape must always get through. */
static bool on_keys(struct session *s)
{
	char typed[256];
	ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
	char *at = typed;
	size_t left;

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	for (left = (size_t)n; left;) {
		size_t len = left, used;
		enum terminal_key key = terminal_sort(&s->terminal, at, &len, &used);

		if (len) {
			ssize_t sent = write(s->keys, at, len);

			(void)sent;
		}
		on_escape(s, key);
		at += used;
		left -= used;
	}
	return true;
}

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Milliseconds that poll may sleep until the deadline; -1: there is none. */
static int time_left(long long deadline)
{
	long long left;

	if (!deadline)
		return -1;
	left = deadline - now_ms();
	return left < 0 ? 0 : left > 1000000 ? 1000000 : (int)left + 1;
}

/* What is wrong on the host is said when it happens. */
static void on_events(struct session *s)
{
	const char *line = s->terminal.raw && isatty(STDERR_FILENO) ? "\r" : "";
	struct lodge_event event;

	while (lodge_vm_next_event(s->vm, &event) > 0) {
		if (event.lost)
			cli_error("%llu events of the VM were lost%s",
				  (unsigned long long)event.lost, line);
		if (event.kind == LODGE_EVENT_WARNING)
			cli_error("%s%s", event.text, line);
	}
}

static void wait_for_end(struct session *s)
{
	long long deadline = s->flags.timeout > 0 ? now_ms() + (long long)(s->flags.timeout * 1000)
						  : 0;
	struct pollfd fds[4 + LISTED_FDS] = {
		{lodge_vm_fd(s->vm), POLLIN, 0},
		{s->signals, POLLIN, 0},
		{s->keys >= 0 ? STDIN_FILENO : -1, POLLIN, 0},
		{lodge_vm_event_fd(s->vm), POLLIN, 0},
	};

	for (;;) {
		nfds_t count = 4 + listed_poll(&s->listed, fds + 4);
		int n = poll(fds, count, time_left(deadline));

		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && fds[0].revents)
			break;
		if (n > 0 && fds[1].revents)
			on_signal(s);
		if (n > 0 && fds[2].revents && !on_keys(s))
			fds[2].fd = -1;
		if (n > 0 && fds[3].revents)
			on_events(s);
		if (n > 0)
			listed_polled(&s->listed, fds + 4);
		if (s->listed.stop)
			stop(s, STATUS_STOPPED);
		if (deadline && now_ms() >= deadline) {
			stop(s, STATUS_TIMEOUT);
			deadline = 0;
		}
	}
	lodge_vm_wait(s->vm, -1);
	listed_drain(&s->listed);
}

static void print_stats(lodge_vm *vm)
{
	struct lodge_stat stats[64];
	size_t n = lodge_vm_stats(vm, stats, 64);

	for (size_t i = 0; i < n && i < 64; i++)
		fprintf(stderr, "%-24s %llu\n", stats[i].name, (unsigned long long)stats[i].count);
}

/* Whether all of the console's output was written. A reader that went away wanted no more. */
static bool all_written(const struct lodge_result *result)
{
	if (!result->lost || result->lost_error == EPIPE)
		return true;
	cli_error("cannot write the console's output: %s: %llu bytes are lost: make room, or give "
		  "another place with --console file=PATH",
		  strerror(result->lost_error), (unsigned long long)result->lost);
	return false;
}

/* Says how the VM ended and gives the exit status. */
static int report(struct session *s)
{
	struct lodge_result result;
	bool written;

	if (lodge_vm_result(s->vm, &result))
		return STATUS_FAILED;
	s->said = result.end == LODGE_END_STOPPED ? "" : result.text;
	written = all_written(&result);
	if (s->flags.stats)
		print_stats(s->vm);
	on_events(s);
	if (result.text[0] && result.end != LODGE_END_STOPPED)
		cli_error("%s", result.text);
	if (result.dump[0])
		fputs(result.dump, stderr);
	if (result.end == LODGE_END_STOPPED && s->status == STATUS_TIMEOUT)
		cli_error("stopped after the time limit of %g seconds", s->flags.timeout);
	if (result.end == LODGE_END_STOPPED)
		return s->status < 0 ? STATUS_STOPPED : s->status;
	if (result.end == LODGE_END_DEBUG_EXIT)
		return result.code;
	return result.end == LODGE_END_POWEROFF && !written ? STATUS_FAILED : (int)result.end;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* A VM that has a name is found by it. */
static int list(struct session *s, char **argv)
{
	const struct run_flags *f = &s->flags;

	int rc = f->name || f->detach ? listed_open(&s->listed, s->vm, f->name, f->detach, argv + 1)
				      : 0;

	/* Where that cannot be, on a host without such a directory, it runs all the same. */
	return rc == STATUS_FAILED && !f->detach ? 0 : rc;
}

static int started(struct session *s)
{
	int rc = s->listed.open ? listed_serve(&s->listed) : 0;

	close_fd(&s->socket.in); /* the VM has its own */
	close_fd(&s->socket.out);
	if (!rc && s->flags.detach) {
		detach_ready(&s->detach, s->listed.entry.name);
		log_take_stderr(&s->listed.log);
	}
	return rc;
}

static int start_and_wait(struct session *s)
{
	int rc;

	rc = open_consoles(s);
	if (rc)
		return rc;
	set_window(s);
	rc = lodge_vm_start(s->vm);
	if (rc) {
		cli_error("%s", lodge_vm_error(s->vm));
		return STATUS_FAILED;
	}
	rc = started(s);
	if (rc)
		return rc;
	if (s->keys >= 0) {
		rc = terminal_open(&s->terminal, STDIN_FILENO);
		if (rc)
			cli_error("the terminal stays in line mode: %s", strerror(-rc));
	}
	wait_for_end(s);
	terminal_close(&s->terminal);
	rc = report(s);
	listed_ended(&s->listed, rc, s->said);
	return rc;
}

static void session_close(struct session *s)
{
	terminal_close(&s->terminal);
	listed_close(&s->listed);
	lodge_vm_free(s->vm);
	if (s->keys >= 0) {
		close(s->keys);
		close(s->com1.in >= 0 ? s->com1.in : s->hvc.in);
	}
	close_fd(&s->socket.in);
	close_fd(&s->socket.out);
	if (s->com1.opened_out)
		close(s->com1.out);
	if (s->hvc.opened_out)
		close(s->hvc.out);
	close(s->signals);
}

static int run(int argc, char **argv)
{
	struct session s = {.vm = lodge_vm_new(),
			    .keys = -1,
			    .com1 = {.in = -1, .out = -1},
			    .hvc = {.in = -1, .out = -1},
			    .socket = {.in = -1, .out = -1},
			    .status = -1};
	int status;

	s.signals = signals_open();
	if (!s.vm || s.signals < 0) {
		cli_error("cannot start: %s", strerror(errno));
		return STATUS_FAILED;
	}
	lodge_vm_set(s.vm, "attach", "off"); /* there is no word for it here */
	status = run_flags_parse(&s.flags, s.vm, argc, argv);
	if (status == FLAGS_GO && (!s.flags.detach || detach_fork(&s.detach, s.signals, &status))) {
		status = list(&s, argv);
		if (!status)
			status = start_and_wait(&s);
	}
	session_close(&s);
	return status;
}

const struct verb verb_run = {"run", run, "start a virtual machine and stay with its console",
			      &run_flags};
