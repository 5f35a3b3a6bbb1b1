/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs that wait for memory. "list" follows a list of 8,192 nodes of 64 bytes whose order is
 * random, half a megabyte: one load at a time, each needing the one before. "random" changes words
 * all over 64 MiB, in pages of 4 KiB; several accesses are under way at once, and hardly one finds
 * its page in a processor's, or an engine's, first TLB.
 */
#include "bench/cpu/suite.h"

struct node {
	struct node *next;
	uint64_t value;
	uint64_t unused[6];
};

#define NODES (LIST_BYTES / sizeof(struct node))
#define WORDS (RANDOM_BYTES / sizeof(uint64_t))

/* One cycle through all nodes (Sattolo's shuffle). */
void list_prepare(void *memory, uint64_t units)
{
	struct node *nodes = memory;
	uint64_t state = 5;

	(void)units;
	for (size_t i = 0; i < NODES; i++)
		nodes[i].value = i;
	for (size_t i = NODES - 1; i > 0; i--) {
		size_t j = random_next(&state) % i;
		uint64_t v = nodes[i].value;

		nodes[i].value = nodes[j].value;
		nodes[j].value = v;
	}
	for (size_t i = 0; i < NODES; i++)
		nodes[i].next = &nodes[nodes[i].value];
}

uint64_t list_run(void *memory, uint64_t units)
{
	const struct node *n = memory;
	uint64_t sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		for (int k = 0; k < 30000; k++) {
			sum += n->value;
			n = n->next;
		}
		sum = mixed(sum, n->value);
	}
	return sum;
}

uint64_t random_run(void *memory, uint64_t units)
{
	uint64_t *words = memory;
	uint64_t state = 9, sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		for (int k = 0; k < 30000; k++) {
			uint64_t r = random_next(&state);
			uint64_t *w = &words[r % WORDS];

			sum += *w;
			*w += r;
		}
		sum = mixed(sum, state);
	}
	return sum;
}
