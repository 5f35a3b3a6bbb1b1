/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which forms of instructions the cases were made of, counted, against all that there are.
 *
 * A form is a mode, a class of prefixes, a map, an opcode, ModRM as far as it says what the
 * instruction is, W and L. All of them are put to the engine's decoder: what it knows, and the
 * host's processor has by its CPUID bits, is a form that cases should reach.
 */
#ifndef LODGE_TESTS_INSN_COVERAGE_H
#define LODGE_TESTS_INSN_COVERAGE_H

#include "insn.h"

struct coverage; /* shared by the processes of a run */

/* NULL: no memory. */
struct coverage *coverage_new(void);
/* Counts the first instruction of a case that ended so on the host. Any process; may lose a count
 * where two come at once. */
void coverage_count(struct coverage *v, const struct test_case *c, unsigned end);
/* Prints the table, and the forms that no case had. Returns how many those are. */
unsigned coverage_print(const struct coverage *v, FILE *out);

#endif
