/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/cpu/suite.h"

#define WORDS 700

/* Syllables to a word, by the word's number: a word's letters follow from its number alone. */
static size_t word(char *to, unsigned number)
{
	static const char *const syllables[] = {"ba", "cor", "de", "fin", "go",  "ha", "ist", "ka",
						"lo", "men", "no", "per", "qui", "ra", "sta", "ton",
						"u",  "ver", "wi", "xe",  "yon", "zu", "er",  "in"};
	size_t len = 0;

	do {
		for (const char *s = syllables[number % 24]; *s; s++)
			to[len++] = *s;
		number = number * 7 / 24;
	} while (number > 3 && len < 12);
	return len;
}

void text_make(char *text, size_t len)
{
	uint64_t state = 77;
	size_t at = 0, column = 0;

	while (at + 20 < len) {
		/* Few words are frequent, many are rare. */
		uint64_t r = random_next(&state) >> 40;
		unsigned number = (unsigned)((r & 0xfff) * (r >> 12) * WORDS >> 24);
		size_t n = word(text + at, number);

		at += n;
		column += n + 1;
		if (number % 11 == 3)
			text[at++] = ',';
		text[at++] = column > 70 ? '\n' : ' ';
		column = column > 70 ? 0 : column;
	}
	while (at + 1 < len)
		text[at++] = '.';
	text[at] = '\0';
}
