/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lodge stop, lodge kill. A VM has ended when its process has: then its connection to the control
 * socket hangs up, and the lock on its entry is free.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/flags.h"

#define END_MS     5000 /* from the plug's pulling to the process's end */
#define POLL_MS    20
#define POWER_SECS 30

static bool has_ended(const struct entry *e)
{
	return entry_state(e, NULL) != ENTRY_RUNS;
}

/* Whether it ends in that time. fd: a connection to it; -1: none. */
static bool wait_end(const struct entry *e, int fd, long long ms)
{
	long long deadline = ask_clock() + ms, left;

	while (!has_ended(e)) {
		struct pollfd hangup = {fd, POLLIN, 0};
		const struct timespec little = {0, POLL_MS * 1000000L};

		left = deadline - ask_clock();
		if (left <= 0)
			return false;
		if (fd >= 0 && poll(&hangup, 1, left > 1000000 ? 1000000 : (int)left) == 0)
			continue;
		/* It hung up, and is about to end. */
		fd = -1;
		nanosleep(&little, NULL);
	}
	return true;
}

/* Ends the process itself: one that is stuck, or stopped. The id is that of the VM as long as the
 * lock is held, and the pidfd is looked at again after that. */
static int kill_process(const struct entry *e)
{
	pid_t pid;
	int fd, rc = 0;

	if (entry_state(e, &pid) != ENTRY_RUNS)
		return 0;
	fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	if (fd < 0 && errno != ESRCH)
		rc = pid > 0 ? kill(pid, SIGKILL) : -1; /* a kernel without them */
	else if (fd >= 0 && entry_state(e, NULL) == ENTRY_RUNS)
		rc = (int)syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
	if (rc && errno != ESRCH)
		cli_error("cannot kill process %ld of the VM %s: %s", (long)pid, e->name,
			  strerror(errno));
	if (fd >= 0)
		close(fd);
	return wait_end(e, -1, END_MS) ? 0 : STATUS_FAILED;
}

/* Pulls the plug; what does not answer is killed. */
static int pull_plug(const struct entry *e)
{
	int fd = ask_send(e, "{\"do\": \"stop\"}"), status = 0;
	json_t *answer = fd < 0 ? NULL : ask_receive(fd, ask_clock() + ASK_MS);

	if (!answer || !wait_end(e, fd, END_MS))
		status = kill_process(e);
	json_decref(answer);
	if (fd >= 0)
		close(fd);
	return status;
}

static int open_running(struct entry *e, const char *name)
{
	int status = entry_open(e, name);

	if (status)
		return status;
	if (!has_ended(e))
		return 0;
	cli_error("the VM %s has ended already: 'lodge logs %s' may tell why", name, name);
	entry_close(e);
	return STATUS_FAILED;
}

struct stop {
	double timeout;
};

static const struct flag stop_table[] = {
	FLAG_AT("--timeout", "SECONDS", "pull the plug after that time (default: 30)", flag_seconds,
		struct stop, timeout),
};

static const struct flags stop_flags = {
	.verb = "stop",
	.usage = "NAME [--timeout SECONDS]",
	.intro = "Presses a virtual machine's power button and waits until it has powered off.\n"
		 "If it does not in time, it is stopped at once.\n",
	.table = stop_table,
	.count = sizeof(stop_table) / sizeof(stop_table[0]),
	.arguments = 1,
	.argument = "NAME",
};

/* A VM that is paused goes on, or it would not see its button. */
static int press(const struct entry *e, int *fd)
{
	int status = ask(e, "{\"do\": \"resume\"}", NULL);
	json_t *answer;

	if (status)
		return status;
	*fd = ask_send(e, "{\"do\": \"power\"}");
	answer = *fd < 0 ? NULL : ask_receive(*fd, ask_clock() + ASK_MS);
	if (!answer && !has_ended(e)) {
		cli_error("the VM %s does not answer: 'lodge kill %s' ends it", e->name, e->name);
		status = STATUS_FAILED;
	}
	json_decref(answer);
	return status;
}

static int stop(int argc, char **argv)
{
	struct stop s = {.timeout = POWER_SECS};
	const char *name;
	struct entry e;
	int fd = -1, status = flags_parse_name(&stop_flags, &s, &name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	status = open_running(&e, name);
	if (status)
		return status;
	status = press(&e, &fd);
	if (!status && !wait_end(&e, fd, (long long)(s.timeout * 1000))) {
		cli_error("%s did not power off within %g seconds: it is stopped at once", name,
			  s.timeout);
		status = pull_plug(&e);
	}
	if (fd >= 0)
		close(fd);
	entry_close(&e);
	return status;
}

const struct verb verb_stop = {"stop", stop, "press a virtual machine's power button, and wait",
			       &stop_flags};

static const struct flags kill_flags = {
	.verb = "kill",
	.usage = "NAME",
	.intro = "Stops a virtual machine at once, as by pulling the plug.\n",
	.arguments = 1,
	.argument = "NAME",
};

static int kill_vm(int argc, char **argv)
{
	const char *name;
	struct entry e;
	int status = flags_parse_name(&kill_flags, NULL, &name, argc, argv);

	if (status != FLAGS_GO)
		return status;
	status = open_running(&e, name);
	if (status)
		return status;
	status = pull_plug(&e);
	entry_close(&e);
	return status;
}

const struct verb verb_kill = {"kill", kill_vm, "stop a virtual machine at once", &kill_flags};
