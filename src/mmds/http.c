/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines end in CR LF, or in LF alone (RFC 9112, 2.2). A header that is unknown is left
 * alone; one that would be folded over lines is refused (5.2), as is a space before a
 * colon (5.1).
 */
#include "mmds/http.h"

#include <string.h>
#include <strings.h>

#include "base/bits.h"

#define BODY_DIGITS_MAX 9

size_t http_head_len(const uint8_t *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i] != '\n')
			continue;
		if (i + 1 < len && at[i + 1] == '\n')
			return i + 2;
		if (i + 2 < len && at[i + 1] == '\r' && at[i + 2] == '\n')
			return i + 3;
	}
	return 0;
}

bool http_is(const struct http_text *t, const char *word)
{
	return t->len == strlen(word) && !memcmp(t->at, word, t->len);
}

static bool is_name(const struct http_text *t, const char *name)
{
	return t->len == strlen(name) && !strncasecmp(t->at, name, t->len);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

static void trim(struct http_text *t)
{
	while (t->len && is_space(*t->at)) {
		t->at++;
		t->len--;
	}
	while (t->len && is_space(t->at[t->len - 1]))
		t->len--;
}

/* Takes what comes before the character off the text, or all of it. */
static struct http_text cut(struct http_text *rest, char at)
{
	const char *end = memchr(rest->at, at, rest->len);
	struct http_text part = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
	size_t gone = part.len + (end ? 1 : 0);

	rest->at += gone;
	rest->len -= gone;
	return part;
}

/* Decimal digits and nothing else; false: they are not, or too many. */
static bool parse_number(const struct http_text *t, uint64_t *number)
{
	*number = 0;
	if (!t->len || t->len > BODY_DIGITS_MAX)
		return false;
	for (size_t i = 0; i < t->len; i++) {
		if (t->at[i] < '0' || t->at[i] > '9')
			return false;
		*number = *number * 10 + (unsigned)(t->at[i] - '0');
	}
	return true;
}

/* "METHOD TARGET HTTP/1.x" */
static bool parse_first(struct http_text line, struct http_request *r)
{
	static const char scheme[] = "http://";

	r->method = cut(&line, ' ');
	r->path = cut(&line, ' ');
	if (!r->method.len || (!http_is(&line, "HTTP/1.1") && !http_is(&line, "HTTP/1.0")))
		return false;
	r->close = http_is(&line, "HTTP/1.0");
	for (size_t i = 0; i < r->path.len; i++)
		if ((uint8_t)r->path.at[i] <= ' ' || r->path.at[i] == 0x7f)
			return false;
	if (r->path.len > strlen(scheme) && !strncasecmp(r->path.at, scheme, strlen(scheme))) {
		struct http_text rest = {r->path.at + strlen(scheme), r->path.len - strlen(scheme)};
		const char *slash = memchr(rest.at, '/', rest.len);

		if (!slash)
			return false;
		r->path = (struct http_text){slash, rest.len - (size_t)(slash - rest.at)};
	}
	return r->path.len && *r->path.at == '/';
}

/* The first media type that is one of ours says which. */
static bool wants_json(struct http_text value)
{
	while (value.len) {
		struct http_text type = cut(&value, ',');

		type = cut(&type, ';');
		trim(&type);
		if (is_name(&type, "application/json"))
			return true;
		if (is_name(&type, "text/plain") || is_name(&type, "plain/text"))
			return false;
	}
	return false;
}

static bool take_header(const struct http_text *name, const struct http_text *value,
			struct http_request *r)
{
	static const char *const ttl[] = {"X-metadata-token-ttl-seconds",
					  "X-aws-ec2-metadata-token-ttl-seconds"};

	for (unsigned i = 0; i < ARRAY_LEN(ttl); i++) {
		if (is_name(name, ttl[i])) {
			r->ttl = *value;
			r->ttl_name = ttl[i];
		}
	}
	if (is_name(name, "X-metadata-token") || is_name(name, "X-aws-ec2-metadata-token"))
		r->token = *value;
	else if (is_name(name, "X-Forwarded-For"))
		r->forwarded_for = *value;
	else if (is_name(name, "Accept"))
		r->json = wants_json(*value);
	else if (is_name(name, "Transfer-Encoding"))
		r->chunked = true;
	else if (is_name(name, "Connection"))
		r->close |= is_name(value, "close");
	else if (is_name(name, "Content-Length"))
		return parse_number(value, &r->body);
	return true;
}

bool http_parse(const uint8_t *at, size_t len, struct http_request *r)
{
	struct http_text rest = {(const char *)at, len};
	bool first = true;

	memset(r, 0, sizeof(*r));
	if (memchr(at, 0, len))
		return false;
	while (rest.len) {
		struct http_text line = cut(&rest, '\n'), name;

		if (line.len && line.at[line.len - 1] == '\r')
			line.len--;
		if (!line.len)
			return !first;
		if (first) {
			if (!parse_first(line, r))
				return false;
			first = false;
			continue;
		}
		if (!memchr(line.at, ':', line.len))
			return false;
		name = cut(&line, ':');
		trim(&line);
		if (!name.len || is_space(*name.at) || is_space(name.at[name.len - 1]) ||
		    !take_header(&name, &line, r))
			return false;
	}
	return !first;
}
