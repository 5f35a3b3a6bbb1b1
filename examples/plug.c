/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that comes and goes: each time the guest's console says "plug" the disk is
 * attached, each time it says "unplug" it is asked for, and what happens is printed. The
 * file is free for another disk only when the event says that the last one has gone.
 *
 *	./plug auto vmlinuz initrd.img disk.img 'console=ttyS0 quiet'
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lodge/lodge.h"

struct plug {
	lodge_vm *vm;
	const char *disk; /* the file */
	char name[16];    /* of the device, while there is one: "disk0" */
	int wanted;       /* plugged again before it had gone */
	char line[256];   /* of the console */
	size_t len;
};

static void attach(struct plug *p)
{
	int rc = lodge_vm_attach(p->vm, "disk", p->disk);

	if (rc < 0)
		fprintf(stderr, "plug: %s\n", lodge_vm_error(p->vm));
	else
		snprintf(p->name, sizeof(p->name), "disk%d", rc);
}

static void on_detached(struct plug *p)
{
	p->name[0] = '\0';
	if (p->wanted)
		attach(p);
	p->wanted = 0;
}

static void print_events(struct plug *p)
{
	struct lodge_event event;

	while (lodge_vm_next_event(p->vm, &event) > 0)
		switch (event.kind) {
		case LODGE_EVENT_ATTACHED:
			printf("attached %s\n", event.text);
			break;
		case LODGE_EVENT_DETACHED:
			printf("detached %s\n", event.text);
			on_detached(p);
			break;
		case LODGE_EVENT_DETACH_REFUSED:
			printf("kept %s\n", event.text);
			break;
		case LODGE_EVENT_WARNING:
			printf("warning: %s\n", event.text);
			break;
		default:
			break;
		}
}

static void obey(struct plug *p)
{
	if (!strcmp(p->line, "plug")) {
		if (p->name[0])
			p->wanted = 1;
		else
			attach(p);
	} else if (!strcmp(p->line, "unplug")) {
		if (lodge_vm_detach(p->vm, p->name))
			fprintf(stderr, "plug: %s\n", lodge_vm_error(p->vm));
	} else {
		printf("guest: %s\n", p->line);
	}
}

/* Takes what the console has; false at its end. */
static int take(struct plug *p, int console)
{
	char bytes[512];
	ssize_t n = read(console, bytes, sizeof(bytes));

	if (n <= 0)
		return 0;
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] == '\n') {
			p->line[p->len] = '\0';
			obey(p);
			p->len = 0;
		} else if (bytes[i] != '\r' && p->len < sizeof(p->line) - 1) {
			p->line[p->len++] = bytes[i];
		}
	}
	return 1;
}

static void watch(struct plug *p, int console)
{
	struct pollfd fds[] = {{console, POLLIN, 0}, {lodge_vm_event_fd(p->vm), POLLIN, 0}};

	do {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents)
			print_events(p);
	} while (!fds[0].revents || take(p, console));
	lodge_vm_wait(p->vm, -1);
	print_events(p);
}

int main(int argc, char **argv)
{
	struct plug p = {.vm = lodge_vm_new()};
	struct lodge_result result = {.end = LODGE_END_FAILED};
	int out[2];

	if (argc != 6) {
		fprintf(stderr, "usage: %s ENGINE KERNEL INITRD DISK CMDLINE\n", argv[0]);
		return 2;
	}
	if (!p.vm || pipe2(out, O_CLOEXEC)) {
		fprintf(stderr, "plug: %s\n", strerror(errno));
		return 1;
	}
	p.disk = argv[4];
	if (lodge_vm_set(p.vm, "engine", argv[1]) || lodge_vm_set(p.vm, "kernel", argv[2]) ||
	    lodge_vm_set(p.vm, "initrd", argv[3]) || lodge_vm_set(p.vm, "cmdline", argv[5]) ||
	    lodge_vm_console(p.vm, -1, out[1]) || lodge_vm_start(p.vm)) {
		fprintf(stderr, "plug: %s\n", lodge_vm_error(p.vm));
		return 1;
	}
	close(out[1]);
	watch(&p, out[0]);
	lodge_vm_result(p.vm, &result);
	lodge_vm_free(p.vm);
	close(out[0]);
	return result.end != LODGE_END_POWEROFF;
}
