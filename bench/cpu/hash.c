/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table with open addressing, 32,768 places, filled up to about a half: keys come, are
 * looked for, and go again (a deleted key's place is filled from behind it). One unit is 20,000
 * operations.
 */
#include "bench/cpu/suite.h"

#define PLACES 32768u

struct entry {
	uint64_t key; /* 0: free */
	uint64_t value;
};

static size_t home(uint64_t key)
{
	return (key * 0x9e3779b97f4a7c15ull >> 40) % PLACES;
}

static struct entry *find(struct entry *table, uint64_t key)
{
	size_t i = home(key);

	while (table[i].key && table[i].key != key)
		i = (i + 1) % PLACES;
	return &table[i];
}

static void take_out(struct entry *table, struct entry *gone)
{
	size_t hole = (size_t)(gone - table);

	for (size_t i = (hole + 1) % PLACES; table[i].key; i = (i + 1) % PLACES) {
		/* It may move if its home is not between the hole and itself. */
		if ((i - home(table[i].key)) % PLACES < (i - hole) % PLACES)
			continue;
		table[hole] = table[i];
		hole = i;
	}
	table[hole] = (struct entry){0, 0};
}

uint64_t hash_run(void *memory, uint64_t units)
{
	struct entry *table = memory;
	uint64_t state = 3, sum = 0;

	for (uint64_t i = 0; i < units; i++) {
		for (int k = 0; k < 20000; k++) {
			uint64_t r = random_next(&state), key = (r & 0x7fff) + 1;
			struct entry *e = find(table, key);

			if (!e->key) {
				*e = (struct entry){key, r >> 32};
			} else if (r >> 62) {
				sum += e->value;
				e->value++;
			} else {
				take_out(table, e);
			}
		}
		sum = mixed(sum, state);
	}
	return sum;
}
