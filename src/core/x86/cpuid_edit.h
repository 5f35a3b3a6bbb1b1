/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a composed CPUID table that a user asks for, bit by bit.
 *
 * Features can be taken away, not added: the model has all that engine, host and lodge
 * give. What identifies the processor can be changed at will (signature, brand string,
 * cache descriptors). The rest is lodge's own account of itself: topology, sizes, clocks.
 */
#ifndef LODGE_CORE_X86_CPUID_EDIT_H
#define LODGE_CORE_X86_CPUID_EDIT_H

#include <stdint.h>

#include "base/err.h"
#include "core/x86/cpuid.h"

/* Bits of mask become those of value, which has no others. */
struct cpuid_edit {
	uint32_t leaf, subleaf;
	unsigned reg; /* EAX 0, EBX 1, ECX 2, EDX 3 */
	uint32_t mask, value;
};

/* Makes the changes, in order. What changes nothing is always possible, and a leaf that is not
 * there is one of zeroes. -ENOTSUP with e set, which names register and bits, where lodge cannot;
 * the table is then of no use. */
int cpuid_edit(struct cpuid_table *t, const struct cpuid_edit *edits, unsigned count,
	       struct err *e);

#endif
