/* SPDX-License-Identifier: Apache-2.0 */
/* The engines that this lodge was built with, and the choice among them. */
#ifndef LODGE_MACHINE_ENGINES_H
#define LODGE_MACHINE_ENGINES_H

#include <stdbool.h>

#include "base/err.h"
#include "core/engine.h"

#define ENGINES_MAX 4

/* The n-th engine in the order of preference, or NULL past the last. */
const struct engine_ops *engines_get(unsigned n);

/* Which of count engines, in the order of preference, "auto" takes by what the host offers them:
 * the first that is usable and efficient; for want of that the last that is usable, since each is
 * there for hosts on which those before it are not efficient. -1: none is usable. */
int engines_pick(const struct engine_offer *offers, unsigned count);

/* The engine of that name; or for "auto" that of engines_pick, for which engines are measured, up
 * to some tens of milliseconds. 0, or -errno with e saying what is missing. */
int engines_choose(const char *name, const struct engine_ops **engine, struct err *e);

/* Whether guest code runs many times slower than the host's by design: what the host can do in the
 * guest's stead, such as unpacking its kernel, it should. */
bool engines_slow(const struct engine_ops *engine);

#endif
