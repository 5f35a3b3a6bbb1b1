/* SPDX-License-Identifier: Apache-2.0 */
/* Sequences whose accesses lie near each other. */
#ifndef LODGE_TESTS_INSN_NEAR_H
#define LODGE_TESTS_INSN_NEAR_H

#include "scene.h"

/* Makes the code of a case in 64-bit mode, and says in w->e what the last access is. */
void near_sequence(struct work *w);

#endif
