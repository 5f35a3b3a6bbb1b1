/* SPDX-License-Identifier: Apache-2.0 */
/* Named ports in the words of a configuration. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "lib/config_port.h"

static void ends(void **state)
{
	static const struct {
		const char *value, *name, *path;
		enum endpoint_kind kind;
	} cases[] = {
		{"a,socket=/run/a", "a", "/run/a", ENDPOINT_SOCKET},
		{"org.qemu.guest_agent.0,file=x,y=z", "org.qemu.guest_agent.0", "x,y=z",
		 ENDPOINT_FILE},
		{"A-1,pty=/tmp/link", "A-1", "/tmp/link", ENDPOINT_PTY},
	};
	struct config_ports ports = {.count = 0};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(config_ports_add(&ports, cases[i].value, NULL), 0);
		assert_string_equal(ports.port[i].name, cases[i].name);
		assert_string_equal(ports.port[i].path, cases[i].path);
		assert_int_equal(ports.port[i].kind, cases[i].kind);
	}
	config_ports_release(&ports);
}

static void refused(void **state)
{
	static const char *const values[] = {
		"",
		"a",
		"a,",
		",socket=/a",
		"b,socket=",
		"b,tcp=1",
		"b c,file=/a",
		"b/c,file=/a",
		"a,file=/b", /* there is one */
		"0123456789012345678901234567890123456789012345678901234567890123x,file=/a",
	};
	struct config_ports ports = {.count = 0};

	(void)state;
	assert_int_equal(config_ports_add(&ports, "a,file=/a", NULL), 0);
	for (unsigned i = 0; i < ARRAY_LEN(values); i++) {
		struct err e = ERR_INIT;

		assert_int_equal(config_ports_add(&ports, values[i], &e), -EINVAL);
		assert_non_null(strstr(e.text, ": give "));
		assert_int_equal(ports.count, 1);
	}
	config_ports_release(&ports);
}

static void too_many(void **state)
{
	struct config_ports ports = {.count = 0};
	char value[32];

	(void)state;
	for (unsigned i = 0; i <= MACHINE_PORTS_MAX; i++) {
		snprintf(value, sizeof(value), "port%u,file=/a", i);
		assert_int_equal(config_ports_add(&ports, value, NULL),
				 i < MACHINE_PORTS_MAX ? 0 : -EINVAL);
	}
	config_ports_release(&ports);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ends),
		cmocka_unit_test(refused),
		cmocka_unit_test(too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
