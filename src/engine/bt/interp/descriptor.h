/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors: what selectors name in the global and local descriptor tables, and the
 * loading of segment registers from them.
 *
 * Private to the far transfers and segment instructions. All on the vCPU's thread,
 * inside interp_run; reading a table may raise #PF. An ext is the lowest bit of an error
 * code: 1 while an event from outside the program is delivered.
 *
 * Sources: Intel SDM vol. 3A 3.4 (selectors and descriptors), 3.5, 5.5 to 5.8 (types and
 * privileges); AMD APM vol. 2 chapter 4.
 */
#ifndef LODGE_ENGINE_BT_INTERP_DESCRIPTOR_H
#define LODGE_ENGINE_BT_INTERP_DESCRIPTOR_H

#include "core/x86/segment.h"
#include "engine/bt/cpu.h"

struct descriptor {
	uint16_t selector;
	uint64_t linear; /* where it lies */
	uint64_t low;    /* its 8 bytes */
	uint64_t high;   /* the second 8 of a system descriptor in IA-32e mode: descriptor_extend */
};

/* Types of system descriptors (SDM vol. 3A table 3-2). */
enum {
	SYSTEM_TSS16 = 1,
	SYSTEM_LDT = 2,
	SYSTEM_TSS16_BUSY = 3,
	SYSTEM_CALL16 = 4,
	SYSTEM_TASK_GATE = 5,
	SYSTEM_INTERRUPT16 = 6,
	SYSTEM_TRAP16 = 7,
	SYSTEM_TSS = 9, /* 32-bit, and 64-bit in IA-32e mode; so are those below */
	SYSTEM_TSS_BUSY = 11,
	SYSTEM_CALL = 12,
	SYSTEM_INTERRUPT = 14,
	SYSTEM_TRAP = 15,
};

#define SELECTOR_RPL   3u
#define SELECTOR_LOCAL 4u /* in the LDT */

static inline unsigned descriptor_type(const struct descriptor *d)
{
	return d->low >> 40 & 0xf;
}

/* Of code or data; else of the system. */
static inline bool descriptor_is_segment(const struct descriptor *d)
{
	return d->low >> 44 & 1;
}

static inline unsigned descriptor_dpl(const struct descriptor *d)
{
	return d->low >> 45 & 3;
}

static inline bool descriptor_present(const struct descriptor *d)
{
	return d->low >> 47 & 1;
}

static inline bool descriptor_is_code(const struct descriptor *d)
{
	return (d->low >> 43 & 3) == 3;
}

static inline bool descriptor_conforming(const struct descriptor *d)
{
	return descriptor_is_code(d) && (d->low >> 42 & 1);
}

/* A code segment that may be read, or any data segment. */
static inline bool descriptor_readable(const struct descriptor *d)
{
	return descriptor_is_segment(d) && (!descriptor_is_code(d) || (d->low >> 41 & 1));
}

static inline bool descriptor_writable(const struct descriptor *d)
{
	return descriptor_is_segment(d) && !descriptor_is_code(d) && (d->low >> 41 & 1);
}

/* The L and D bits: both set is no code segment of IA-32e mode. */
static inline bool descriptor_long(const struct descriptor *d)
{
	return d->low >> 53 & 1;
}

static inline bool descriptor_big(const struct descriptor *d)
{
	return d->low >> 54 & 1;
}

static inline bool selector_null(uint16_t selector)
{
	return !(selector & ~SELECTOR_RPL);
}

/* Raises vector with selector in its error code. */
_Noreturn void raise_selector(struct cpu *cpu, uint8_t vector, uint16_t selector, uint32_t ext);

/* Reads the descriptor that selector names; false: there is none within the table's limit (a null
 * selector names none). */
bool descriptor_find(struct cpu *cpu, uint16_t selector, struct descriptor *d);

/* The same, or raises vector with the selector. */
void descriptor_get(struct cpu *cpu, uint16_t selector, uint8_t vector, uint32_t ext,
		    struct descriptor *d);

/* Reads the second half of a system descriptor in IA-32e mode; false: it is beyond the limit, or
 * its type field is not 0. */
bool descriptor_extend(struct cpu *cpu, struct descriptor *d);

/* Sets the accessed bit of a segment, in memory, where it is clear. */
void descriptor_set_accessed(struct cpu *cpu, const struct descriptor *d);

/* Sets or clears the busy bit of the TSS descriptor at linear. */
void descriptor_set_busy(struct cpu *cpu, uint64_t linear, bool busy);

/* The register that loading d gives: accessed; of a system segment with its whole base. */
struct segment descriptor_segment(const struct descriptor *d);

/* Checks selector as a stack segment of level cpl: #SS with it where it is not present, bad (#GP or
 * #TS) with it where anything else is wrong. */
void descriptor_get_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, uint8_t bad,
			  uint32_t ext, struct descriptor *d);

/* Checks selector, not null, as a segment of data for level cpl: #NP where it is not present, bad
 * where anything else is wrong. */
void descriptor_get_data(struct cpu *cpu, uint16_t selector, unsigned cpl, uint8_t bad,
			 uint32_t ext, struct descriptor *d);

/* Loads a segment register as real and virtual-8086 mode do. cpu_update_mode is the caller's. */
void segment_load_real(struct cpu *cpu, unsigned seg, uint16_t selector);

/* Loads a null selector into ES, DS, FS or GS. */
void segment_load_null(struct cpu *cpu, unsigned seg, uint16_t selector);

/* SS in 64-bit mode with the null selector of level cpl. */
struct segment segment_null_stack(uint16_t selector, unsigned cpl);

#endif
