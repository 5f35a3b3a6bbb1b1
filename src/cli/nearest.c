/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the Levenshtein distance, row by row, over words of a few letters. */
#include "cli/cli.h"

#include <string.h>

#define WORD_MAX 32

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t m = a < b ? a : b;

	return m < c ? m : c;
}

static size_t distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b);
	size_t row[WORD_MAX + 1];

	if (la > WORD_MAX || lb > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= lb; j++)
		row[j] = j;
	for (size_t i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= lb; j++) {
			size_t above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[lb];
}

const char *cli_nearest(const char *typed, const char *const *words, size_t n)
{
	const char *best = NULL;
	size_t best_distance = (strlen(typed) + 1) / 2 + 1; /* two letters changed places: 2 */

	for (size_t i = 0; i < n; i++) {
		size_t d = distance(typed, words[i]);

		if (d > 1 && strlen(typed) > 3 && !strncmp(typed, words[i], strlen(typed)))
			d = 1; /* the beginning of the word */
		if (d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}
