/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of HTTP/1 as its head says it. Pure: bytes in, words out, no memory of its own.
 *
 * Source: RFC 9112.
 */
#ifndef LODGE_MMDS_HTTP_H
#define LODGE_MMDS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Characters of a request's head that are not NUL-terminated; at NULL: there are none. */
struct http_text {
	const char *at;
	size_t len;
};

struct http_request {
	struct http_text method, path;
	struct http_text token;         /* X-metadata-token, or of EC2's name */
	struct http_text ttl;           /* X-metadata-token-ttl-seconds, in the same way */
	const char *ttl_name;           /* by which it came */
	struct http_text forwarded_for; /* X-Forwarded-For */
	bool json;                      /* Accept: JSON rather than text */
	bool chunked;                   /* a body of some Transfer-Encoding */
	bool close;                     /* no request follows */
	uint64_t body;                  /* bytes that follow the head */
};

/* Bytes of the head, with the empty line that ends it; 0: it is not whole yet. */
size_t http_head_len(const uint8_t *at, size_t len);

/* Reads a whole head; false: it is malformed. What is in r points into it. */
bool http_parse(const uint8_t *at, size_t len, struct http_request *r);

bool http_is(const struct http_text *t, const char *word);

#endif
