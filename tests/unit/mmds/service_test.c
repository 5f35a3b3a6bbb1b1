/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of HTTP, whatever carries them, and what they are answered; tokens. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/time.h"
#include "mmds/http.h"
#include "mmds/service.h"
#include "mmds/store.h"
#include "mmds/token.h"

struct test {
	struct mmds_store *store;
	struct mmds_service *service;
	struct mmds_after after;
	uint64_t now;
	char answer[2048];
	const char *body; /* of the answer */
};

static int setup(void **state)
{
	static const char text[] = "{\"latest\":{\"id\":\"i-1\",\"n\":12},\"z\":\"\"}";
	struct test *t = calloc(1, sizeof(*t));

	t->store = mmds_store_new(1000);
	assert_int_equal(mmds_store_put(t->store, text, strlen(text), NULL), 0);
	t->service = mmds_service_new(t->store, false, false);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;

	mmds_service_free(t->service);
	mmds_store_drop(t->store);
	free(t);
	return 0;
}

static void another(struct test *t, bool tokens, bool text)
{
	mmds_service_free(t->service);
	t->service = mmds_service_new(t->store, tokens, text);
}

/* Asks; lines of the head are separated by '|' and end by it. Gives the status. */
static int ask(struct test *t, const char *request)
{
	struct buf head = BUF_INIT, out = BUF_INIT;
	const char *body;
	size_t len;
	int status;

	for (; *request; request++)
		buf_add(&head, *request == '|' ? "\r\n" : request, *request == '|' ? 2 : 1);
	buf_add(&head, "\r\n", 2);
	assert_int_equal(http_head_len(head.data, head.len), head.len);
	t->after = mmds_service_answer(t->service, head.data, head.len, t->now, &out);
	assert_true(out.len < sizeof(t->answer));
	memcpy(t->answer, out.data, out.len + 1);
	body = strstr(t->answer, "\r\n\r\n");
	assert_non_null(body);
	t->body = body + 4;
	assert_int_equal(sscanf(t->answer, "HTTP/1.1 %d ", &status), 1);
	assert_non_null(strstr(t->answer, "\r\nContent-Length: "));
	assert_int_equal(sscanf(strstr(t->answer, "Content-Length: "), "Content-Length: %zu", &len),
			 1);
	assert_int_equal(len, strlen(t->body));
	assert_int_equal(t->after.close, !!strstr(t->answer, "\r\nConnection: close\r\n"));
	buf_release(&head);
	buf_release(&out);
	return status;
}

static void version_1(void **state)
{
	struct test *t = *state;

	assert_int_equal(ask(t, "GET /latest/id HTTP/1.1|Host: 169.254.169.254|"), 200);
	assert_string_equal(t->body, "i-1");
	assert_non_null(strstr(t->answer, "Content-Type: text/plain\r\n"));
	assert_false(t->after.close);
	assert_int_equal(ask(t, "GET //latest/ HTTP/1.1|Accept: */*|"), 200);
	assert_string_equal(t->body, "id\nn");
	assert_int_equal(ask(t, "GET / HTTP/1.1|aCCept:  application/json \t|"), 200);
	assert_string_equal(t->body, "{\"latest\":{\"id\":\"i-1\",\"n\":12},\"z\":\"\"}");
	assert_non_null(strstr(t->answer, "Content-Type: application/json\r\n"));
	assert_int_equal(ask(t, "GET / HTTP/1.1|Accept: text/html;q=1, text/plain, "
				"application/json|"),
			 200);
	assert_string_equal(t->body, "latest/\nz");
	assert_int_equal(ask(t, "GET http://169.254.169.254/latest/id HTTP/1.0|"), 200);
	assert_string_equal(t->body, "i-1");
	assert_true(t->after.close);
	assert_int_equal(ask(t, "GET /z HTTP/1.1|Connection: Close|"), 200);
	assert_true(t->after.close);
	assert_int_equal(ask(t, "GET /nothing HTTP/1.1|"), 404);
	assert_int_equal(ask(t, "GET /latest/n HTTP/1.1|"), 501);
	assert_int_equal(ask(t, "GET /latest/n HTTP/1.1|Accept: application/json|"), 200);
	assert_string_equal(t->body, "12");
	/* A token that is wrong does not matter, and one can be had. */
	assert_int_equal(ask(t, "GET /z HTTP/1.1|X-metadata-token: none|"), 200);
	assert_int_equal(ask(t, "PUT /latest/api/token HTTP/1.1|"
				"X-metadata-token-ttl-seconds: 60|"),
			 200);
}

static void wrong_requests(void **state)
{
	static const char *const malformed[] = {
		"GET /|",
		"GET / HTTP/2|",
		"GET / HTTP/1.1 |",
		"GET  / HTTP/1.1|",
		" GET / HTTP/1.1|",
		"GET latest HTTP/1.1|",
		"GET http://169.254.169.254 HTTP/1.1|",
		"GET / HTTP/1.1|no colon|",
		"GET / HTTP/1.1|: x|",
		"GET / HTTP/1.1|Accept : x|",
		"GET / HTTP/1.1|A: x| folded: y|",
		"GET / HTTP/1.1|Content-Length: x|",
		"GET / HTTP/1.1|Content-Length: -1|",
		"GET / HTTP/1.1|Content-Length: 9999999999|",
		"GET /\x01 HTTP/1.1|",
	};
	struct test *t = *state;
	struct buf out = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
		if (ask(t, malformed[i]) != 400 || !t->after.close)
			fail_msg("%s", malformed[i]);
	}
	t->after = mmds_service_answer(t->service, (const uint8_t *)"GET /\0 HTTP/1.1\n\n", 18, 0,
				       &out);
	assert_true(t->after.close);
	buf_release(&out);
	assert_int_equal(ask(t, "GET / HTTP/1.1|Content-Length: 5|"), 400);
	assert_true(t->after.close);
	assert_int_equal(ask(t, "POST / HTTP/1.1|Content-Length: 5|"), 405);
	assert_non_null(strstr(t->answer, "\r\nAllow: GET, PUT\r\n"));
	assert_int_equal(ask(t, "get / HTTP/1.1|"), 405);
	assert_int_equal(ask(t, "PUT /z HTTP/1.1|Transfer-Encoding: chunked|"), 501);
	assert_true(t->after.close);
	assert_int_equal(ask(t, "PUT /z HTTP/1.1|Content-Length: 7|"), 404);
	assert_int_equal(t->after.skip, 7);
	assert_false(t->after.close);
}

#define PUT_TOKEN "PUT /latest/api/token HTTP/1.1|"

static void version_2(void **state)
{
	struct test *t = *state;
	char token[MMDS_TOKEN_TEXT + 1], request[256];

	another(t, true, false);
	assert_int_equal(ask(t, "GET /latest/id HTTP/1.1|"), 401);
	assert_int_equal(ask(t, "GET /latest/id HTTP/1.1|X-metadata-token: |"), 401);
	assert_int_equal(ask(t, PUT_TOKEN), 400);
	assert_int_equal(ask(t, PUT_TOKEN "X-metadata-token-ttl-seconds: 0|"), 400);
	assert_int_equal(ask(t, PUT_TOKEN "X-metadata-token-ttl-seconds: 21601|"), 400);
	assert_int_equal(ask(t, PUT_TOKEN "X-metadata-token-ttl-seconds: 6O|"), 400);
	assert_int_equal(ask(t, PUT_TOKEN "X-metadata-token-ttl-seconds: 4294967297|"), 400);
	assert_int_equal(ask(t, PUT_TOKEN "X-Forwarded-For: a|X-metadata-token-ttl-seconds: 60|"),
			 400);
	assert_int_equal(
		ask(t, "PUT /latest/api/token/ HTTP/1.1|X-metadata-token-ttl-seconds: 60|"), 404);
	assert_int_equal(ask(t, "PUT //latest//api/token HTTP/1.1|"
				"X-aws-ec2-metadata-token-ttl-seconds: 60|"),
			 200);
	assert_non_null(strstr(t->answer, "\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n"));
	assert_int_equal(strlen(t->body), MMDS_TOKEN_TEXT);
	strcpy(token, t->body);
	snprintf(request, sizeof(request), "GET /latest/id HTTP/1.1|x-METADATA-token: %s|", token);
	assert_int_equal(ask(t, request), 200);
	assert_string_equal(t->body, "i-1");
	t->now = 60 * NS_PER_SEC - 1;
	snprintf(request, sizeof(request), "GET /latest/id HTTP/1.1|X-aws-ec2-metadata-token: %s|",
		 token);
	assert_int_equal(ask(t, request), 200);
	t->now++;
	assert_int_equal(ask(t, request), 401);
}

static void text_only(void **state)
{
	struct test *t = *state;

	another(t, false, true);
	assert_int_equal(ask(t, "GET /latest HTTP/1.1|Accept: application/json|"), 200);
	assert_string_equal(t->body, "id\nn");
	assert_non_null(strstr(t->answer, "Content-Type: text/plain\r\n"));
}

static void heads(void **state)
{
	(void)state;
	assert_int_equal(http_head_len((const uint8_t *)"GET / HTTP/1.1\r\n\r", 17), 0);
	assert_int_equal(http_head_len((const uint8_t *)"GET / HTTP/1.1\r\n\r\nmore", 22), 18);
	assert_int_equal(http_head_len((const uint8_t *)"GET / HTTP/1.1\n\nmore", 20), 16);
	assert_int_equal(http_head_len((const uint8_t *)"\n", 1), 0);
}

/* Each is another, none is known but those given out, and the list does not grow for ever. */
static void tokens(void **state)
{
	struct mmds_tokens t = {NULL, 0, 0};
	char first[MMDS_TOKEN_TEXT + 1], second[MMDS_TOKEN_TEXT + 1], other[MMDS_TOKEN_TEXT + 1];

	(void)state;
	assert_false(mmds_tokens_know(&t, 0, "", 0));
	assert_true(mmds_tokens_make(&t, 0, 100, first));
	assert_true(mmds_tokens_make(&t, 0, 200, second));
	assert_string_not_equal(first, second);
	assert_true(mmds_tokens_know(&t, 1, first, MMDS_TOKEN_TEXT));
	assert_false(mmds_tokens_know(&t, 1, first, MMDS_TOKEN_TEXT - 1));
	for (unsigned i = 0; i < MMDS_TOKEN_TEXT; i++) {
		strcpy(other, first);
		other[i] = other[i] == '0' ? '1' : '0';
		assert_false(mmds_tokens_know(&t, 1, other, MMDS_TOKEN_TEXT));
		other[i] = 'g';
		assert_false(mmds_tokens_know(&t, 1, other, MMDS_TOKEN_TEXT));
	}
	for (unsigned i = 0; i < MMDS_TOKENS_MAX - 1; i++)
		assert_true(mmds_tokens_make(&t, 1, 300, other));
	assert_int_equal(t.room, MMDS_TOKENS_MAX);
	assert_false(mmds_tokens_know(&t, 1, first, MMDS_TOKEN_TEXT)); /* it would end first */
	assert_true(mmds_tokens_know(&t, 1, second, MMDS_TOKEN_TEXT));
	assert_true(mmds_tokens_make(&t, 300 * NS_PER_SEC + 1, 1, other));
	assert_int_equal(t.count, 1);
	mmds_tokens_release(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(version_1, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(version_2, setup, teardown),
		cmocka_unit_test_setup_teardown(text_only, setup, teardown),
		cmocka_unit_test(heads),
		cmocka_unit_test(tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
