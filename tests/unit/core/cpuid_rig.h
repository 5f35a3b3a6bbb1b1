/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of hosts that the tests of CPUID compose from, a reader of what comes out, and the
 * rules that every table for a guest keeps. */
#ifndef LODGE_TESTS_CORE_CPUID_RIG_H
#define LODGE_TESTS_CORE_CPUID_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/x86/cpuid.h"

/* Adds a leaf without subleaves, its EAX, EBX, ECX and EDX. */
void put(struct cpuid_table *t, uint32_t leaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d);

/* Leaf and subleaf, then EAX, EBX, ECX and EDX. */
#define put_sub(t, leaf, sub, ...) \
	assert_true(cpuid_put(t, &(struct cpuid_entry){leaf, sub, true, __VA_ARGS__}))

/* Adds three leaves of text, padded with NULs. */
void put_text(struct cpuid_table *t, uint32_t leaf, const char *text);

/* Vendors that lodge knows, then one that it does not know. */
#define VENDORS 5
extern const char *const vendors[VENDORS];

/* A host that supports everything there is, so that what is masked is masked by lodge. */
void host_all(struct cpuid_table *t, const char *vendor);

/* Nehalem's features as KVM would report them. */
void host_nehalem(struct cpuid_table *t);

/* A reader that follows the rule "absent is zero". */
struct cpuid_entry leaf(const struct cpuid_table *t, uint32_t number, uint32_t sub);

/* The table of vCPU id of that many; it must be possible. */
void compose(struct cpuid_table *out, const char *model, const struct cpuid_table *host,
	     unsigned id, unsigned cpus);

/* Fails the test if t, composed from host for vCPU id of that many, breaks a rule. */
void check_all(const struct cpuid_table *t, const struct cpuid_table *host, unsigned id,
	       unsigned cpus);

#endif
