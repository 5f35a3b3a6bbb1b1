/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_memory.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/bits.h"
#include "lib/config_number.h"

#define BLOCK_MIN MIB(2)
#define BLOCK_MAX GIB(1)
#define SLOT_MIN  MIB(128)
#define TOTAL_MAX GIB(1024)

/* One "NAME=SIZE" of len characters. */
static bool parse_word(struct machine_memory *m, const char *word, size_t len)
{
	static const struct {
		const char *name;
		size_t at;
	} words[] = {
		{"max=", offsetof(struct machine_memory, size)},
		{"size=", offsetof(struct machine_memory, requested)},
		{"block=", offsetof(struct machine_memory, block)},
		{"slot=", offsetof(struct machine_memory, slot)},
	};
	char size[32];

	for (size_t i = 0; i < ARRAY_LEN(words); i++) {
		size_t name = strlen(words[i].name);

		if (strncmp(word, words[i].name, name) != 0 || len - name >= sizeof(size))
			continue;
		memcpy(size, word + name, len - name);
		size[len - name] = 0;
		return config_bytes(size, (uint64_t *)((char *)m + words[i].at));
	}
	return false;
}

static const char *find_fault(const struct machine_memory *m)
{
	if (m->block < BLOCK_MIN || m->block > BLOCK_MAX || m->block & (m->block - 1))
		return "block is to be a power of two, 2M to 1G";
	if (m->slot < SLOT_MIN || m->slot % m->block)
		return "slot is to be 128M or more, and whole blocks";
	if (!m->size || m->size > TOTAL_MAX || m->size % m->slot)
		return "max is to be whole slots (of 128M), up to 1024G";
	if (m->requested > m->size || m->requested % m->block)
		return "size is to be whole blocks (of 2M), up to max";
	return NULL;
}

int config_memory_set(struct machine_memory *memory, const char *value, struct err *e)
{
	struct machine_memory m = {.block = BLOCK_MIN, .slot = SLOT_MIN};
	const char *at = value, *fault;

	for (size_t len;; at += len + 1) {
		len = strcspn(at, ",");
		if (!parse_word(&m, at, len))
			return err_set(
				e, EINVAL,
				"hotplug-memory '%s' cannot be: give max=SIZE, and size=SIZE, "
				"block=SIZE or slot=SIZE, with commas between",
				value);
		if (!at[len])
			break;
	}
	fault = find_fault(&m);
	if (fault)
		return err_set(e, EINVAL, "hotplug-memory '%s' cannot be: %s", value, fault);
	*memory = m;
	return 0;
}
