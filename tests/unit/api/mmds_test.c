/* SPDX-License-Identifier: Apache-2.0 */
/* /mmds and /mmds/config, on a VM that is never started. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "api/mmds.h"
#include "api/request.h"
#include "api/vmm.h"
#include "base/bits.h"

static int setup(void **state)
{
	struct vmm *v = calloc(1, sizeof(*v));
	struct err e = ERR_INIT;

	v->id = "one";
	v->metadata_max = 60;
	assert_int_equal(vmm_init(v, &e), 0);
	*state = v;
	return 0;
}

static int teardown(void **state)
{
	vmm_release(*state);
	free(*state);
	return 0;
}

/* Asks; the status. What the answer says is compared, words of it for a refusal. */
static unsigned ask(struct vmm *v, const char *method, const char *path, const char *body,
		    const char *expected, bool *deprecated)
{
	json_t *parsed = body ? json_loads(body, JSON_DECODE_ANY, NULL) : NULL;
	const struct api_request r = {method, path, parsed};
	struct api_answer a;
	char *text;

	assert_int_equal(!body, !parsed);
	api_handle(v, &r, &a);
	text = a.body ? json_dumps(a.body, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS)
		      : strdup("");
	if (a.status >= 400 ? !strstr(text, expected) : strcmp(text, expected) != 0)
		fail_msg("%s %s %s: %s", method, path, body, text);
	free(text);
	json_decref(parsed);
	json_decref(a.body);
	if (deprecated)
		*deprecated = a.deprecated;
	return a.status;
}

static void data(void **state)
{
	struct vmm *v = *state;

	assert_int_equal(ask(v, "GET", "/mmds", NULL, "{}", NULL), 200);
	assert_int_equal(ask(v, "PATCH", "/mmds", "{}", "no metadata yet", NULL), 400);
	assert_int_equal(ask(v, "PUT", "/mmds", NULL, "the body is missing", NULL), 400);
	assert_int_equal(ask(v, "PUT", "/mmds", "{\"a\":null,\"b\":{\"c\":1}}", "", NULL), 204);
	assert_int_equal(ask(v, "GET", "/mmds", NULL, "{\"a\":null,\"b\":{\"c\":1}}", NULL), 200);
	/* null is a word of the patch, not a field that is not there */
	assert_int_equal(ask(v, "PATCH", "/mmds", "{\"a\":null,\"b\":{\"d\":2}}", "", NULL), 204);
	assert_int_equal(ask(v, "GET", "/mmds", NULL, "{\"b\":{\"c\":1,\"d\":2}}", NULL), 200);
	assert_int_equal(ask(v, "PATCH", "/mmds",
			     "{\"x\":\"0123456789012345678901234567890123456789\"}",
			     "give up to 60", NULL),
			 413);
	assert_int_equal(ask(v, "PUT", "/mmds", "[1,\"x\"]", "", NULL), 204);
	assert_int_equal(ask(v, "GET", "/mmds", NULL, "[1,\"x\"]", NULL), 200);
	assert_int_equal(ask(v, "GET", "/mmds", "{}", "has no body", NULL), 400);
}

#define CONFIG "/mmds/config"
#define IFACES "{\"network_interfaces\":[\"eth0\"]"

static void configuration(void **state)
{
	struct vmm *v = *state;
	bool deprecated;

	assert_int_equal(ask(v, "PUT", CONFIG, IFACES "}", "no 'eth0' among", NULL), 400);
	for (unsigned i = 0; i < 2; i++) {
		char path[40], body[80];

		snprintf(path, sizeof(path), "/network-interfaces/eth%u", i);
		snprintf(body, sizeof(body), "{\"iface_id\":\"eth%u\",\"host_dev_name\":\"tap%u\"}",
			 i, i);
		assert_int_equal(ask(v, "PUT", path, body, "", NULL), 204);
	}
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES "}", "", &deprecated), 204);
	assert_true(deprecated);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"version\":\"V1\"}", "", &deprecated),
			 204);
	assert_true(deprecated);
	assert_int_equal(ask(v, "PUT", CONFIG,
			     "{\"network_interfaces\":[\"eth1\",\"eth0\"],\"version\":\"V2\","
			     "\"ipv4_address\":\"169.254.170.2\",\"imds_compat\":true}",
			     "", &deprecated),
			 204);
	assert_false(deprecated);
	assert_int_equal(json_array_size(json_object_get(vmm_section(v, "mmds-config"),
							 "network_interfaces")),
			 2);
	assert_int_equal(ask(v, "PUT", CONFIG, "{}", "is missing", NULL), 400);
	assert_int_equal(ask(v, "PUT", CONFIG, "{\"network_interfaces\":[]}", "is empty", NULL),
			 400);
	assert_int_equal(
		ask(v, "PUT", CONFIG, "{\"network_interfaces\":\"eth0\"}", "is to be a list", NULL),
		400);
	assert_int_equal(
		ask(v, "PUT", CONFIG, "{\"network_interfaces\":[0]}", "is to be a list", NULL),
		400);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"version\":\"V3\"}", "'V3'", NULL), 400);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"ipv4_address\":\"1.1.1.1\"}",
			     "cannot be its address", NULL),
			 400);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"ipv4_address\":\"\"}", "is empty", NULL),
			 400);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"ipv4_address\":\"169.254.1.1,imds\"}",
			     "comma", NULL),
			 400);
	assert_int_equal(ask(v, "PUT", CONFIG, IFACES ",\"port\":80}", "no field 'port'", NULL),
			 400);
	assert_int_equal(ask(v, "GET", CONFIG, NULL, "there is no GET", NULL), 400);
}

static void by_a_file(void **state)
{
	char name[] = "/tmp/lodge-mmds-XXXXXX";
	struct err e = ERR_INIT;
	int fd = mkstemp(name);
	json_t *file = json_pack("{s:[{s:s,s:s}], s:{s:[s]}}", "network-interfaces", "iface_id",
				 "eth0", "host_dev_name", "tap0", "mmds-config",
				 "network_interfaces", "eth0");

	assert_int_equal(api_configure(*state, file, &e), 0);
	assert_non_null(vmm_section(*state, "mmds-config"));
	json_decref(file);
	assert_int_equal(write(fd, "\"words\"", 7), 7);
	assert_int_equal(mmds_load(*state, name, &e), 0);
	ask(*state, "GET", "/mmds", NULL, "\"words\"", NULL);
	assert_int_equal(ftruncate(fd, 3), 0);
	assert_int_equal(mmds_load(*state, name, &e), -EINVAL);
	assert_non_null(strstr(e.text, name));
	unlink(name);
	close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(data), TEST(configuration), TEST(by_a_file)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
