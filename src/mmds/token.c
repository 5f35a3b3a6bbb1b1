/* SPDX-License-Identifier: Apache-2.0 */
#include "mmds/token.h"

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/time.h"
#include "host/random.h"

#define ROOM_FIRST 16u

static const char digits[] = "0123456789abcdef";

void mmds_tokens_release(struct mmds_tokens *t)
{
	free(t->list);
	*t = (struct mmds_tokens){NULL, 0, 0};
}

static void forget_ended(struct mmds_tokens *t, uint64_t now)
{
	for (size_t i = 0; i < t->count;)
		if (t->list[i].end <= now)
			t->list[i] = t->list[--t->count];
		else
			i++;
}

/* Room for one more: a new place, or that of the token that ends first. */
static struct mmds_token *make_room(struct mmds_tokens *t)
{
	struct mmds_token *first, *more;
	size_t room = MIN(MAX(t->room * 2, ROOM_FIRST), MMDS_TOKENS_MAX);

	if (t->count < t->room)
		return &t->list[t->count++];
	if (t->room < MMDS_TOKENS_MAX) {
		more = realloc(t->list, room * sizeof(*more));
		if (!more)
			return NULL;
		t->list = more;
		t->room = room;
		return &t->list[t->count++];
	}
	first = &t->list[0];
	for (size_t i = 1; i < t->count; i++)
		if (t->list[i].end < first->end)
			first = &t->list[i];
	return first;
}

bool mmds_tokens_make(struct mmds_tokens *t, uint64_t now, unsigned ttl,
		      char text[MMDS_TOKEN_TEXT + 1])
{
	struct mmds_token *token;

	forget_ended(t, now);
	token = make_room(t);
	if (!token)
		return false;
	host_random(token->bytes, sizeof(token->bytes));
	token->end = now + ttl * NS_PER_SEC;
	for (unsigned i = 0; i < MMDS_TOKEN_BYTES; i++) {
		text[2 * i] = digits[token->bytes[i] >> 4];
		text[2 * i + 1] = digits[token->bytes[i] & 15];
	}
	text[MMDS_TOKEN_TEXT] = '\0';
	return true;
}

static bool parse(const char *text, size_t len, uint8_t bytes[MMDS_TOKEN_BYTES])
{
	if (len != MMDS_TOKEN_TEXT)
		return false;
	memset(bytes, 0, MMDS_TOKEN_BYTES);
	for (unsigned i = 0; i < MMDS_TOKEN_TEXT; i++) {
		const char *digit = text[i] ? strchr(digits, text[i]) : NULL;

		if (!digit)
			return false;
		bytes[i / 2] = (uint8_t)(bytes[i / 2] << 4 | (digit - digits));
	}
	return true;
}

bool mmds_tokens_know(const struct mmds_tokens *t, uint64_t now, const char *text, size_t len)
{
	uint8_t bytes[MMDS_TOKEN_BYTES];
	unsigned known = 0;

	if (!parse(text, len, bytes))
		return false;
	for (size_t i = 0; i < t->count; i++) {
		unsigned differs = t->list[i].end <= now;

		for (unsigned k = 0; k < MMDS_TOKEN_BYTES; k++)
			differs |= t->list[i].bytes[k] ^ bytes[k];
		known |= !differs;
	}
	return known;
}
