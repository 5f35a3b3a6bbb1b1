/* SPDX-License-Identifier: Apache-2.0 */
/* The choice among the engines, and that a host without an efficient KVM still runs guests. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "machine/engines.h"

#define NO                      \
	{                       \
		.usable = false \
	}
#define SLOW                   \
	{                      \
		.usable = true \
	}
#define EFFICIENT                                 \
	{                                         \
		.usable = true, .efficient = true \
	}

static void the_efficient_one_or_else_the_last(void **state)
{
	static const struct {
		struct engine_offer offers[2];
		unsigned count;
		int pick;
	} cases[] = {
		{{EFFICIENT, SLOW}, 2, 0}, {{EFFICIENT, NO}, 2, 0}, {{EFFICIENT, EFFICIENT}, 2, 0},
		{{SLOW, SLOW}, 2, 1},      {{NO, SLOW}, 2, 1},      {{SLOW, EFFICIENT}, 2, 1},
		{{SLOW, NO}, 2, 0},        {{NO, NO}, 2, -1},       {{SLOW, SLOW}, 1, 0},
		{{SLOW, SLOW}, 0, -1},
	};
	/* efficiency of what cannot be used is nothing */
	static const struct engine_offer odd[] = {{.efficient = true}, SLOW};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(engines_pick(cases[i].offers, cases[i].count), cases[i].pick);
	assert_int_equal(engines_pick(odd, 2), 1);
}

static void names(void **state)
{
	const struct engine_ops *engine = NULL;
	struct err e = ERR_INIT;
	unsigned n = 0;

	(void)state;
	for (; engines_get(n); n++) {
		assert_int_equal(engines_choose(engines_get(n)->name, &engine, &e), 0);
		assert_ptr_equal(engine, engines_get(n));
		assert_int_equal(engines_slow(engine), !strcmp(engine->name, "bt"));
	}
	assert_int_equal(n, 2);
	assert_string_equal(engines_get(0)->name, "kvm");
	assert_int_equal(engines_choose("qemu", &engine, &e), -EINVAL);
	assert_non_null(strstr(e.text, "qemu"));
}

/* By the same judgement as engines_pick, here and now. */
static void automatic(void **state)
{
	struct engine_offer offers[ENGINES_MAX];
	const struct engine_ops *engine = NULL;
	struct err e = ERR_INIT;
	unsigned n;
	int pick;

	(void)state;
	for (n = 0; engines_get(n); n++)
		engines_get(n)->probe(&offers[n], true);
	pick = engines_pick(offers, n);
	if (pick < 0) {
		assert_int_equal(engines_choose("auto", &engine, &e), -ENODEV);
		assert_non_null(strstr(e.text, "kvm: "));
		assert_non_null(strstr(e.text, "bt: "));
		return;
	}
	assert_int_equal(engines_choose("auto", &engine, &e), 0);
	assert_ptr_equal(engine, engines_get((unsigned)pick));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_efficient_one_or_else_the_last),
		cmocka_unit_test(names),
		cmocka_unit_test(automatic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
