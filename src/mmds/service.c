/* SPDX-License-Identifier: Apache-2.0 */
#include "mmds/service.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "mmds/counts.h"
#include "mmds/http.h"
#include "mmds/store.h"
#include "mmds/token.h"

#define TOKEN_PATH "/latest/api/token"

struct mmds_service {
	pthread_mutex_t lock; /* guards tokens; the store's comes after it */
	struct mmds_store *store;
	struct mmds_tokens tokens;
	struct mmds_counts counts;
	bool wants_token, text;
};

struct mmds_service *mmds_service_new(struct mmds_store *store, bool tokens, bool text)
{
	struct mmds_service *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->store = mmds_store_hold(store);
	s->wants_token = tokens;
	s->text = text;
	return s;
}

void mmds_service_free(struct mmds_service *s)
{
	if (!s)
		return;
	mmds_store_drop(s->store);
	mmds_tokens_release(&s->tokens);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct mmds_counts *mmds_service_counts(struct mmds_service *s)
{
	return &s->counts;
}

enum status { OK, BAD, UNAUTHORIZED, NOT_FOUND, NOT_ALLOWED, FAILED, NOT_IMPLEMENTED };

static const char *const statuses[] = {
	[OK] = "200 OK",
	[BAD] = "400 Bad Request",
	[UNAUTHORIZED] = "401 Unauthorized",
	[NOT_FOUND] = "404 Not Found",
	[NOT_ALLOWED] = "405 Method Not Allowed",
	[FAILED] = "500 Internal Server Error",
	[NOT_IMPLEMENTED] = "501 Not Implemented",
};

/* What is answered, but for the lines that all answers have. */
struct answer {
	enum status status;
	bool json, close;
	const char *ttl_name; /* a token's answer says for how long it is */
	unsigned ttl;
	struct buf body;
};

static void say(struct answer *a, enum status status, const char *text)
{
	buf_release(&a->body);
	a->status = status;
	a->json = false;
	buf_add(&a->body, text, strlen(text));
}

/* The path with no doubled slashes, as a string. */
static char *tidy(const struct http_text *path)
{
	char *tidied = malloc(path->len + 1);
	size_t len = 0;

	for (size_t i = 0; tidied && i < path->len; i++)
		if (path->at[i] != '/' || !len || tidied[len - 1] != '/')
			tidied[len++] = path->at[i];
	if (tidied)
		tidied[len] = '\0';
	return tidied;
}

static void get(struct mmds_service *s, const struct http_request *r, uint64_t now,
		const char *path, struct answer *a)
{
	if (s->wants_token && !r->token.at) {
		mmds_count(&s->counts.without_token, 1);
		say(a, UNAUTHORIZED,
		    "a token is missing: PUT " TOKEN_PATH " for one, and give it as "
		    "X-metadata-token or X-aws-ec2-metadata-token");
		return;
	}
	if (s->wants_token && !mmds_tokens_know(&s->tokens, now, r->token.at, r->token.len)) {
		mmds_count(&s->counts.invalid_token, 1);
		say(a, UNAUTHORIZED, "the token is none, or has ended");
		return;
	}
	a->status = OK;
	a->json = r->json && !s->text;
	switch (mmds_store_find(s->store, path, a->json, &a->body)) {
	case MMDS_FOUND:
		break;
	case MMDS_NOT_FOUND:
		say(a, NOT_FOUND, "there is no such metadata");
		break;
	case MMDS_NO_TEXT:
		say(a, NOT_IMPLEMENTED, "this is neither a string nor an object: ask for JSON");
		break;
	}
}

/* Seconds that a token may live; 0: it is no such number. */
static unsigned parse_ttl(const struct http_text *t)
{
	unsigned ttl = 0;

	if (!t->len || t->len > 9)
		return 0;
	for (size_t i = 0; i < t->len; i++) {
		if (t->at[i] < '0' || t->at[i] > '9')
			return 0;
		ttl = ttl * 10 + (unsigned)(t->at[i] - '0');
	}
	return ttl >= MMDS_TTL_MIN && ttl <= MMDS_TTL_MAX ? ttl : 0;
}

static void put(struct mmds_service *s, const struct http_request *r, uint64_t now,
		const char *path, struct answer *a)
{
	char token[MMDS_TOKEN_TEXT + 1];
	unsigned ttl = parse_ttl(&r->ttl);

	if (r->forwarded_for.at)
		say(a, BAD, "X-Forwarded-For: tokens are not for proxies");
	else if (strcmp(path, TOKEN_PATH) != 0)
		say(a, NOT_FOUND, "only " TOKEN_PATH " can be PUT");
	else if (!r->ttl.at)
		say(a, BAD,
		    "the token's life is missing: give X-metadata-token-ttl-seconds or "
		    "X-aws-ec2-metadata-token-ttl-seconds");
	else if (!ttl)
		say(a, BAD, "a token's life is 1 to 21600 seconds");
	else if (!mmds_tokens_make(&s->tokens, now, ttl, token))
		say(a, FAILED, "memory is out");
	else {
		say(a, OK, token);
		a->ttl_name = r->ttl_name;
		a->ttl = ttl;
	}
}

static void handle(struct mmds_service *s, const struct http_request *r, uint64_t now,
		   struct answer *a)
{
	bool is_get = http_is(&r->method, "GET"), is_put = http_is(&r->method, "PUT");
	char *path;

	if (r->chunked) {
		a->close = true; /* nobody knows where the next request begins */
		say(a, NOT_IMPLEMENTED, "Transfer-Encoding is not understood");
		return;
	}
	if (!is_get && !is_put) {
		a->close = true; /* a HEAD's answer would have no body */
		say(a, NOT_ALLOWED, "there is GET and PUT");
		return;
	}
	if (is_get && r->body) {
		a->close = true; /* the body may never come */
		say(a, BAD, "a GET has no body");
		return;
	}
	path = tidy(&r->path);
	if (!path)
		say(a, FAILED, "memory is out");
	else if (is_get)
		get(s, r, now, path, a);
	else
		put(s, r, now, path, a);
	free(path);
}

static void write_answer(struct answer *a, struct buf *out)
{
	if (buf_failed(&a->body))
		say(a, FAILED, "memory is out");
	buf_printf(out,
		   "HTTP/1.1 %s\r\nServer: lodge\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
		   statuses[a->status], a->json ? "application/json" : "text/plain", a->body.len);
	if (a->status == NOT_ALLOWED)
		buf_printf(out, "Allow: GET, PUT\r\n");
	if (a->ttl_name)
		buf_printf(out, "%s: %u\r\n", a->ttl_name, a->ttl);
	if (a->close)
		buf_printf(out, "Connection: close\r\n");
	buf_printf(out, "\r\n");
	buf_add(out, a->body.data, a->body.len);
	buf_release(&a->body);
}

struct mmds_after mmds_service_refuse(struct mmds_service *s, struct buf *out)
{
	struct answer a = {.close = true, .body = BUF_INIT};

	mmds_count(&s->counts.requests, 1);
	mmds_count(&s->counts.refused, 1);
	say(&a, BAD, "the request is malformed, or its head too long");
	write_answer(&a, out);
	return (struct mmds_after){.close = true};
}

struct mmds_after mmds_service_answer(struct mmds_service *s, const uint8_t *head, size_t len,
				      uint64_t now, struct buf *out)
{
	struct answer a = {.body = BUF_INIT};
	struct http_request r;

	if (!http_parse(head, len, &r))
		return mmds_service_refuse(s, out);
	a.close = r.close;
	pthread_mutex_lock(&s->lock);
	handle(s, &r, now, &a);
	pthread_mutex_unlock(&s->lock);
	mmds_count(&s->counts.requests, 1);
	mmds_count(&s->counts.refused, a.status != OK);
	write_answer(&a, out);
	return (struct mmds_after){a.close, a.close ? 0 : r.body};
}
