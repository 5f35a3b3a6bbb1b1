/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of "lodge run". */
#ifndef LODGE_CLI_RUN_FLAGS_H
#define LODGE_CLI_RUN_FLAGS_H

#include <stdbool.h>

#include "cli/flags.h"
#include "lodge/lodge.h"

struct run_flags {
	lodge_vm *vm;
	const char *console;        /* COM1: stdio, none, or file=PATH */
	const char *virtio_console; /* hvc0: the same */
	double timeout;             /* seconds; 0: none */
	bool stats;                 /* print counters at the end */
	bool detach;                /* go on in the background */
	const char *name;           /* the VM's; NULL: none */
	bool kernel;                /* there is one */
};

extern const struct flags run_flags;

/*
 * Reads argv[1..] into the VM's configuration and flags. Returns FLAGS_GO, or the exit status:
 * after --help was printed, or after telling the user what is wrong.
 */
int run_flags_parse(struct run_flags *flags, lodge_vm *vm, int argc, char **argv);

#endif
