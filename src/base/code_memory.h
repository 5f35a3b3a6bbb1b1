/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for host code: one piece of it, mapped once to write and once to execute.
 *
 * No address is both. x86 processors see a write to code that another address of the same
 * memory executes (SDM vol. 3A 11.6), so nothing is flushed.
 */
#ifndef LODGE_BASE_CODE_MEMORY_H
#define LODGE_BASE_CODE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct code_memory {
	uint8_t *write;      /* NULL: none */
	const uint8_t *exec; /* the same bytes */
	size_t size;
};

/* Maps size bytes (a multiple of the page size), taken from the host when touched. name is what
 * /proc shows. 0, or -errno with e set (executable memory may be forbidden here). Any thread. */
int code_memory_init(struct code_memory *m, const char *name, size_t size, struct err *e);

/* Also after a failure, or of a zeroed struct. */
void code_memory_release(struct code_memory *m);

#endif
