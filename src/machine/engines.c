/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/engines.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "engine/bt/bt.h"
#include "engine/kvm/kvm.h"

static const struct engine_ops *const engines[] = {&kvm_engine, &bt_engine};

/* Those that are had by their name only. */
static const struct engine_ops *const variants[] = {&bt_engine_eager, &bt_engine_hot,
						    &bt_engine_interp, &bt_engine_check};

_Static_assert(ARRAY_LEN(engines) <= ENGINES_MAX, "ENGINES_MAX");

const struct engine_ops *engines_get(unsigned n)
{
	return n < ARRAY_LEN(engines) ? engines[n] : NULL;
}

bool engines_slow(const struct engine_ops *engine)
{
	return engine != &kvm_engine;
}

int engines_pick(const struct engine_offer *offers, unsigned count)
{
	int usable = -1;

	for (unsigned i = 0; i < count; i++) {
		if (offers[i].usable && offers[i].efficient)
			return (int)i;
		if (offers[i].usable)
			usable = (int)i;
	}
	return usable;
}

/* What comes after an efficient engine is not asked. */
static int choose_auto(const struct engine_ops **engine, struct err *e)
{
	struct engine_offer offers[ARRAY_LEN(engines)];
	unsigned n = 0;
	int pick;

	do {
		engines[n]->probe(&offers[n], true);
		n++;
	} while (n < ARRAY_LEN(engines) && !(offers[n - 1].usable && offers[n - 1].efficient));
	pick = engines_pick(offers, n);
	if (pick < 0)
		return err_set(e, ENODEV, "no engine can run here: %s: %s; %s: %s",
			       engines[0]->name, offers[0].why, engines[n - 1]->name,
			       offers[n - 1].why);
	*engine = engines[pick];
	return 0;
}

int engines_choose(const char *name, const struct engine_ops **engine, struct err *e)
{
	if (!strcmp(name, "auto"))
		return choose_auto(engine, e);
	for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
		if (!strcmp(engines[i]->name, name)) {
			*engine = engines[i];
			return 0;
		}
	}
	for (unsigned i = 0; i < ARRAY_LEN(variants); i++) {
		if (!strcmp(variants[i]->name, name)) {
			*engine = variants[i];
			return 0;
		}
	}
	return err_set(e, EINVAL, "there is no engine '%s'", name);
}
