/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config_number.h"

bool config_seconds(const char *text, unsigned *seconds)
{
	uint64_t n;
	const char *end;

	if (!config_number(text, &end, &n) || *end || !n || n > BALLOON_SECONDS_MAX)
		return false;
	*seconds = (unsigned)n;
	return true;
}

static bool parse_word(struct machine_balloon *b, const char *word)
{
	if (!strcmp(word, "deflate-on-oom"))
		b->deflate_on_oom = true;
	else if (!strcmp(word, "reporting"))
		b->reporting = true;
	else if (!strcmp(word, "hinting"))
		b->hinting = true;
	else if (!strncmp(word, "stats=", 6))
		return config_seconds(word + 6, &b->stats_s);
	else
		return !strncmp(word, "size=", 5) && config_bytes(word + 5, &b->size);
	return true;
}

int config_balloon_set(struct machine_balloon *balloon, const char *value, struct err *e)
{
	struct machine_balloon b = {.present = true};
	char *copy = strdup(value), *word = copy, *next;
	bool good = true;

	if (!copy)
		return err_errno(e, ENOMEM, "cannot configure");
	for (; good && word; word = next) {
		next = strchr(word, ',');
		if (next)
			*next++ = 0;
		good = parse_word(&b, word);
	}
	free(copy);
	if (!good)
		return err_set(e, EINVAL,
			       "balloon '%s' cannot be: give size=SIZE, deflate-on-oom, reporting, "
			       "hinting or stats=SECONDS, or more of them with commas between",
			       value);
	*balloon = b;
	return 0;
}
