/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Control of a VM that runs: waits for a line of its console, has it stand still and
 * go on, looks at its counters, presses its power button, and prints each event.
 *
 *	./watch vmlinuz initrd.img login: 'console=ttyS0 quiet'
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lodge/lodge.h"

/* A library newer than this program may have more. */
static const char *name_of(enum lodge_event_kind kind)
{
	static const char *const kinds[] = {
		[LODGE_EVENT_WARNING] = "warning", [LODGE_EVENT_RESET] = "reset",
		[LODGE_EVENT_PAUSED] = "paused",   [LODGE_EVENT_RESUMED] = "resumed",
		[LODGE_EVENT_ENDED] = "ended",
	};
	const char *name = NULL;

	if ((size_t)kind < sizeof(kinds) / sizeof(kinds[0]))
		name = kinds[kind];
	return name ? name : "other";
}

static void print_events(lodge_vm *vm)
{
	struct lodge_event event;

	while (lodge_vm_next_event(vm, &event) > 0)
		printf("event: %s%s%s\n", name_of(event.kind), event.text[0] ? ": " : "",
		       event.text);
}

/* The busiest three counters. */
static void print_stats(lodge_vm *vm)
{
	struct lodge_stat stats[512], *most;
	size_t n = lodge_vm_stats(vm, stats, 512);

	n = n < 512 ? n : 512;
	for (unsigned round = 0; round < 3 && n; round++) {
		most = &stats[0];
		for (size_t i = 1; i < n; i++)
			if (stats[i].count > most->count)
				most = &stats[i];
		printf("counter: %s %llu\n", most->name, (unsigned long long)most->count);
		most->count = 0;
	}
}

/* Reads the console until the word comes; 0, or -1 if the VM ends before. */
static int wait_for_word(lodge_vm *vm, int console, const char *word)
{
	char text[8192];
	size_t len = 0;

	for (;;) {
		struct pollfd fds[] = {{console, POLLIN, 0}, {lodge_vm_fd(vm), POLLIN, 0}};
		ssize_t n;

		if (poll(fds, 2, -1) < 0)
			continue;
		if (!fds[0].revents)
			return -1;
		if (len > sizeof(text) / 2) {
			memmove(text, text + len / 2, len - len / 2);
			len -= len / 2;
		}
		n = read(console, text + len, sizeof(text) - 1 - len);
		if (n <= 0)
			return -1;
		len += (size_t)n;
		text[len] = '\0';
		if (strstr(text, word))
			return 0;
	}
}

/* Everything that may be done with a VM that runs. */
static int control(lodge_vm *vm, int console, const char *word)
{
	if (wait_for_word(vm, console, word)) {
		fprintf(stderr, "watch: the VM has ended without '%s'\n", word);
		return 1;
	}
	if (lodge_vm_pause(vm) || lodge_vm_resume(vm)) {
		fprintf(stderr, "watch: %s\n", lodge_vm_error(vm));
		return 1;
	}
	print_stats(vm);
	lodge_vm_power_button(vm);
	if (lodge_vm_wait(vm, 2000)) /* a guest without acpid does not listen */
		lodge_vm_stop(vm);
	lodge_vm_wait(vm, -1);
	print_events(vm);
	return 0;
}

int main(int argc, char **argv)
{
	lodge_vm *vm = lodge_vm_new();
	int out[2], rc;

	if (argc != 5) {
		fprintf(stderr, "usage: %s KERNEL INITRD WORD CMDLINE\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	if (!vm || pipe2(out, O_CLOEXEC)) {
		fprintf(stderr, "watch: %s\n", strerror(errno));
		return 1;
	}
	if (lodge_vm_set(vm, "kernel", argv[1]) || lodge_vm_set(vm, "initrd", argv[2]) ||
	    lodge_vm_set(vm, "cmdline", argv[4]) || lodge_vm_console(vm, -1, out[1]) ||
	    lodge_vm_start(vm)) {
		fprintf(stderr, "watch: %s\n", lodge_vm_error(vm));
		return 1;
	}
	close(out[1]);
	rc = control(vm, out[0], argv[3]);
	lodge_vm_free(vm);
	close(out[0]);
	return rc;
}
