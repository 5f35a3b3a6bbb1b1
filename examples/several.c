/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several VMs in one program, one thread and one poll: each VM's console comes through
 * a pipe, and each line is printed with the VM's number before it.
 *
 *	./several vmlinuz initrd.img 3
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lodge/lodge.h"

#define GUESTS_MAX 8

struct guest {
	lodge_vm *vm;
	int console; /* what it prints is read here; -1: it has ended */
	char line[256];
	size_t len;
};

static int failed(const char *what)
{
	fprintf(stderr, "several: %s\n", what);
	return -1;
}

static int start(struct guest *g, char **files)
{
	int out[2], rc;

	g->vm = lodge_vm_new();
	if (!g->vm || pipe2(out, O_CLOEXEC))
		return failed(strerror(errno));
	g->console = out[0];
	/* The VM has a duplicate, which it closes when it has ended. */
	rc = lodge_vm_console(g->vm, -1, out[1]);
	close(out[1]);
	if (rc || lodge_vm_set(g->vm, "kernel", files[0]) ||
	    lodge_vm_set(g->vm, "initrd", files[1]) || lodge_vm_set(g->vm, "memory", "128M") ||
	    lodge_vm_set(g->vm, "cmdline", "console=ttyS0 quiet") || lodge_vm_start(g->vm))
		return failed(lodge_vm_error(g->vm));
	return 0;
}

/* Prints whole lines of what has come. False at the end. */
static int take(struct guest *g, unsigned number)
{
	char bytes[512];
	ssize_t n = read(g->console, bytes, sizeof(bytes));

	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n' && g->len < sizeof(g->line)) {
			g->line[g->len++] = bytes[i];
			continue;
		}
		printf("%u: %.*s\n", number, (int)g->len, g->line);
		g->len = 0;
	}
	fflush(stdout);
	return n > 0;
}

/* A VM that has ended is said goodbye to. */
static int end(struct guest *g, unsigned number)
{
	struct lodge_result result;

	if (lodge_vm_result(g->vm, &result))
		return failed(lodge_vm_error(g->vm));
	while (poll(&(struct pollfd){g->console, POLLIN, 0}, 1, 0) > 0 && take(g, number))
		;
	printf("%u: ended with %d\n", number, (int)result.end);
	close(g->console);
	g->console = -1;
	lodge_vm_free(g->vm);
	g->vm = NULL;
	return result.end == LODGE_END_POWEROFF ? 0 : -1;
}

static int serve(struct guest *guests, unsigned count)
{
	struct pollfd fds[2 * GUESTS_MAX];
	unsigned running = count;
	int rc = 0;

	while (running) {
		for (unsigned i = 0; i < count; i++) {
			struct guest *g = &guests[i];

			fds[2 * i] = (struct pollfd){g->console, POLLIN, 0};
			fds[2 * i + 1] = (struct pollfd){g->vm ? lodge_vm_fd(g->vm) : -1, POLLIN,
							 0};
		}
		if (poll(fds, 2 * count, -1) < 0)
			continue;
		for (unsigned i = 0; i < count; i++) {
			if (fds[2 * i].revents)
				take(&guests[i], i);
			if (!fds[2 * i + 1].revents)
				continue;
			rc |= end(&guests[i], i);
			running--;
		}
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct guest guests[GUESTS_MAX] = {0};
	unsigned count = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
	int rc = 0;

	if (count < 1 || count > GUESTS_MAX) {
		fprintf(stderr, "usage: %s KERNEL INITRD NUMBER (up to %d)\n", argv[0], GUESTS_MAX);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		guests[i].console = -1;
	for (unsigned i = 0; !rc && i < count; i++)
		rc = start(&guests[i], argv + 1);
	if (!rc)
		rc = serve(guests, count);
	for (unsigned i = 0; i < count; i++)
		lodge_vm_free(guests[i].vm);
	return rc ? 1 : 0;
}
