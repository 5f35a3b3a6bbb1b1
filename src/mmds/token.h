/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session tokens: random numbers of the host's kernel, remembered until they expire. Nothing is
 * computed from them, so there is nothing to break but the chance of guessing 192 bits; and what
 * was not given out, or is over, is in no list.
 *
 * There is room for MMDS_TOKENS_MAX, a new one every six seconds for as long as tokens may live;
 * beyond that the one that would end first makes way, and its owner asks for another as after any
 * other end. Memory grows with what is given out.
 *
 * One user at a time. Times are ns of the caller's clock.
 */
#ifndef LODGE_MMDS_TOKEN_H
#define LODGE_MMDS_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MMDS_TOKEN_BYTES 24u
#define MMDS_TOKEN_TEXT  (2 * MMDS_TOKEN_BYTES) /* characters */
#define MMDS_TOKENS_MAX  3600u
#define MMDS_TTL_MIN     1u /* seconds */
#define MMDS_TTL_MAX     21600u

struct mmds_token {
	uint8_t bytes[MMDS_TOKEN_BYTES];
	uint64_t end;
};

struct mmds_tokens {
	struct mmds_token *list;
	size_t count, room;
};

void mmds_tokens_release(struct mmds_tokens *t);

/* Gives out a token for ttl seconds, as text with its NUL; false if memory is out. */
bool mmds_tokens_make(struct mmds_tokens *t, uint64_t now, unsigned ttl,
		      char text[MMDS_TOKEN_TEXT + 1]);

/* Whether the text, of len characters, is a token that has not ended. Takes a time that tells
 * nothing of how near it is to one. */
bool mmds_tokens_know(const struct mmds_tokens *t, uint64_t now, const char *text, size_t len);

#endif
