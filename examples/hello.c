/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shortest program with a VM in it: boots a kernel with its console on standard
 * input and output, and ends as the guest does.
 *
 *	cc hello.c $(pkg-config --cflags --libs lodge) -o hello
 *	./hello vmlinuz initrd.img
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "lodge/lodge.h"

/* 0, or 1 with the reason said. */
static int failed(lodge_vm *vm, int rc)
{
	if (rc)
		fprintf(stderr, "hello: %s\n", lodge_vm_error(vm));
	return rc != 0;
}

static int run(lodge_vm *vm, const char *kernel, const char *initrd)
{
	struct lodge_result result;

	if (failed(vm, lodge_vm_set(vm, "kernel", kernel)) ||
	    failed(vm, lodge_vm_set(vm, "initrd", initrd)) ||
	    failed(vm, lodge_vm_set(vm, "cmdline", "console=ttyS0 quiet")) ||
	    failed(vm, lodge_vm_console(vm, STDIN_FILENO, STDOUT_FILENO)) ||
	    failed(vm, lodge_vm_start(vm)) || failed(vm, lodge_vm_wait(vm, -1)) ||
	    failed(vm, lodge_vm_result(vm, &result)))
		return 1;
	if (result.text[0])
		fprintf(stderr, "hello: %s\n", result.text);
	return result.end != LODGE_END_POWEROFF;
}

int main(int argc, char **argv)
{
	lodge_vm *vm;
	int status;

	if (argc != 3) {
		fprintf(stderr, "usage: %s KERNEL INITRD\n", argv[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN); /* a reader of the console that goes away is no reason to die */
	vm = lodge_vm_new();
	if (!vm)
		return 1;
	status = run(vm, argv[1], argv[2]);
	lodge_vm_free(vm);
	return status;
}
