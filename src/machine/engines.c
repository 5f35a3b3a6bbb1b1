/* SPDX-License-Identifier: Apache-2.0 */
#include "machine/engines.h"

#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "engine/bt/bt.h"
#include "engine/kvm/kvm.h"

static const struct engine_ops *const engines[] = {&kvm_engine, &bt_engine};

const struct engine_ops *engines_get(unsigned n)
{
	return n < ARRAY_LEN(engines) ? engines[n] : NULL;
}

/* The first usable one. Efficiency is not measured here: with a single engine there is nothing to
 * choose, and starting a VM is not the moment to spend milliseconds on a measurement. */
static int choose_usable(const struct engine_ops **engine, struct err *e)
{
	struct engine_offer offer;

	for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
		engines[i]->probe(&offer, false);
		if (offer.usable) {
			*engine = engines[i];
			return 0;
		}
		err_set(e, ENODEV, "no engine can run here: %s: %s", engines[i]->name, offer.why);
	}
	return -ENODEV;
}

int engines_choose(const char *name, const struct engine_ops **engine, struct err *e)
{
	if (!strcmp(name, "auto"))
		return choose_usable(engine, e);
	for (unsigned i = 0; i < ARRAY_LEN(engines); i++) {
		if (!strcmp(engines[i]->name, name)) {
			*engine = engines[i];
			return 0;
		}
	}
	return err_set(e, EINVAL, "there is no engine '%s'", name);
}
