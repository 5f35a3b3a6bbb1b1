/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of "lodge run". */
#ifndef LODGE_CLI_RUN_FLAGS_H
#define LODGE_CLI_RUN_FLAGS_H

#include <stdbool.h>

#include "lodge/lodge.h"

struct run_flags {
	const char *console;        /* COM1: stdio, none, or file=PATH */
	const char *virtio_console; /* hvc0: the same */
	double timeout;             /* seconds; 0: none */
	bool stats;                 /* print counters at the end */
	bool help;
};

/*
 * Reads argv[1..] into the VM's configuration and flags. Returns 0, or STATUS_USAGE after telling
 * the user what is wrong.
 */
int run_flags_parse(struct run_flags *flags, lodge_vm *vm, int argc, char **argv);

/* What --help prints; free() it. */
char *run_flags_help(void);

#endif
