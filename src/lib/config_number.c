/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_number.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"

#define TEXT_MAX 64

bool config_number(const char *value, const char **end, uint64_t *number)
{
	*number = 0;
	*end = value;
	for (; **end >= '0' && **end <= '9'; (*end)++) {
		if (!checked_mul(*number, 10, number) ||
		    !checked_add(*number, (uint64_t)(**end - '0'), number))
			return false;
	}
	return *end != value;
}

/* The power of two that a size's suffix stands for, or -1. */
static int suffix_shift(const char *suffix)
{
	static const char suffixes[] = "KkMmGgTt";
	const char *found = strchr(suffixes, *suffix);

	if (!*suffix)
		return 0;
	return found && !suffix[1] ? (int)((found - suffixes) / 2 + 1) * 10 : -1;
}

bool config_bytes(const char *value, uint64_t *size)
{
	const char *end;
	int shift = config_number(value, &end, size) ? suffix_shift(end) : -1;

	if (shift < 0)
		return false;
	if (!checked_mul(*size, BIT(shift), size))
		*size = UINT64_MAX;
	return true;
}

/* Cuts text at the first c; what is behind it, or NULL. */
static char *cut(char *text, char c)
{
	char *at = strchr(text, c);

	if (at)
		*at++ = 0;
	return at;
}

static bool parse_limit(struct limiter_bucket *b, char *text)
{
	char *burst = cut(text, '+'), *ms = cut(text, '/');
	const char *end = "";

	b->refill_ms = 1000;
	b->burst = 0;
	if (!config_bytes(text, &b->size) || (burst && !config_bytes(burst, &b->burst)) ||
	    (ms && !config_number(ms, &end, &b->refill_ms)) || *end)
		return false;
	return b->size && b->size <= LIMITER_SIZE_MAX && b->burst <= LIMITER_SIZE_MAX &&
	       b->refill_ms && b->refill_ms <= LIMITER_REFILL_MAX;
}

int config_limit(struct limiter_bucket *b, const char *what, const char *value, size_t len,
		 struct err *e)
{
	char text[TEXT_MAX] = "";

	memcpy(text, value, MIN(len, sizeof(text) - 1));
	if (len >= sizeof(text) || !parse_limit(b, text))
		return err_set(e, EINVAL,
			       "%s '%.*s' is not a rate: give SIZE[/MILLISECONDS][+BURST], as in "
			       "100M or 10M/100+50M",
			       what, (int)len, value);
	return 0;
}
