/* SPDX-License-Identifier: Apache-2.0 */
/* The engines that this lodge was built with, and the choice among them. */
#ifndef LODGE_MACHINE_ENGINES_H
#define LODGE_MACHINE_ENGINES_H

#include "base/err.h"
#include "core/engine.h"

/* The n-th engine in the order of preference, or NULL past the last. */
const struct engine_ops *engines_get(unsigned n);

/* The engine of that name; or for "auto" the first that is usable on this host. 0, or -errno with e
 * saying what is missing. */
int engines_choose(const char *name, const struct engine_ops **engine, struct err *e);

#endif
