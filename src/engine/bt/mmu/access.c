/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes by the guest.
 *
 * The fast path asks the TLB one question (tlb_find). The slow path finds the places of
 * all bytes, which is where faults are raised, and then copies.
 */
#include <assert.h>
#include <string.h>

#include "engine/bt/mmu/device.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/place.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/vm.h"

#define OUT_OF_LINE __attribute__((noinline))

static inline uint64_t load(const void *p, unsigned size)
{
	switch (size) {
	case 1:
		return load_le(p, 1);
	case 2:
		return load_le(p, 2);
	case 4:
		return load_le(p, 4);
	default:
		return load_le(p, 8);
	}
}

static inline void store(void *p, unsigned size, uint64_t value)
{
	switch (size) {
	case 1:
		store_le(p, 1, value);
		break;
	case 2:
		store_le(p, 2, value);
		break;
	case 4:
		store_le(p, 4, value);
		break;
	default:
		store_le(p, 8, value);
		break;
	}
}

/* As tlb_find, with the rights of a context. */
static inline void *find_in(const struct cpu *cpu, enum tlb_context context, uint64_t linear,
			    size_t size, bool write)
{
	const struct tlb_set *set = &cpu->tlb->set[context];
	size_t n = tlb_index(linear);
	uint64_t offset = linear - (write ? set->write[n] : set->read[n]);

	if (size > GUEST_PAGE_SIZE || offset > GUEST_PAGE_SIZE - size || cpu->tlb->watch ||
	    cpu->journal)
		return NULL;
	return (void *)(set->host[n] + offset);
}

static OUT_OF_LINE uint64_t read_in(struct cpu *cpu, enum tlb_context context, uint64_t linear,
				    unsigned size)
{
	struct places p;
	uint64_t value = 0;

	places_find(cpu, &p, context, linear, size, TLB_READ);
	watch(cpu, linear, size, false);
	places_read(cpu, &p, &value);
	return value;
}

static OUT_OF_LINE void write_in(struct cpu *cpu, enum tlb_context context, uint64_t linear,
				 unsigned size, uint64_t value)
{
	struct places p;

	places_find(cpu, &p, context, linear, size, TLB_WRITE);
	watch(cpu, linear, size, true);
	places_write(cpu, &p, &value);
}

static OUT_OF_LINE void probe_in(struct cpu *cpu, enum tlb_context context, uint64_t linear,
				 size_t len, bool write)
{
	uint64_t at = linear;
	size_t part, left = len;

	if (find_in(cpu, context, linear, len, write))
		return;
	for (; left; left -= part, at = linear_add(cpu, at, part)) {
		part = MIN(left, GUEST_PAGE_SIZE - (at & PAGE_OFFSET));
		tlb_translate(cpu, context, at, write ? TLB_WRITE : TLB_READ);
	}
}

static inline uint64_t read_as(struct cpu *cpu, enum tlb_context context, uint64_t linear,
			       unsigned size)
{
	const void *p = find_in(cpu, context, linear, size, false);

	return p ? load(p, size) : read_in(cpu, context, linear, size);
}

static inline void write_as(struct cpu *cpu, enum tlb_context context, uint64_t linear,
			    unsigned size, uint64_t value)
{
	void *p = find_in(cpu, context, linear, size, true);

	if (p)
		store(p, size, value);
	else
		write_in(cpu, context, linear, size, value);
}

uint64_t mmu_read(struct cpu *cpu, uint64_t linear, unsigned size)
{
	const void *p = tlb_find(cpu, linear, size, false);

	if (__builtin_expect(p != NULL, 1))
		return load(p, size);
	check_alignment(cpu, linear, size);
	return read_in(cpu, tlb_context(cpu, cpu->cpl), linear, size);
}

void mmu_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	void *p = tlb_find(cpu, linear, size, true);

	if (__builtin_expect(p != NULL, 1)) {
		store(p, size, value);
		return;
	}
	check_alignment(cpu, linear, size);
	write_in(cpu, tlb_context(cpu, cpu->cpl), linear, size, value);
}

/* The sizes of vectors are one access of the host each. */
static inline void copy(void *to, const void *from, size_t len)
{
	if (len == 16)
		memcpy(to, from, 16);
	else if (len == 32)
		memcpy(to, from, 32);
	else
		memcpy(to, from, len);
}

void mmu_read_bytes(struct cpu *cpu, uint64_t linear, void *buf, size_t len)
{
	const void *from = tlb_find(cpu, linear, (unsigned)len, false);
	struct places p;

	if (!len)
		return;
	if (__builtin_expect(from != NULL, 1)) {
		copy(buf, from, len);
		return;
	}
	places_find(cpu, &p, tlb_context(cpu, cpu->cpl), linear, (unsigned)len, TLB_READ);
	watch(cpu, linear, (unsigned)len, false);
	places_read(cpu, &p, buf);
}

void mmu_write_bytes(struct cpu *cpu, uint64_t linear, const void *buf, size_t len)
{
	void *to = tlb_find(cpu, linear, (unsigned)len, true);
	struct places p;

	if (!len)
		return;
	if (__builtin_expect(to != NULL, 1)) {
		copy(to, buf, len);
		return;
	}
	places_find(cpu, &p, tlb_context(cpu, cpu->cpl), linear, (unsigned)len, TLB_WRITE);
	watch(cpu, linear, (unsigned)len, true);
	places_write(cpu, &p, buf);
}

void mmu_probe(struct cpu *cpu, uint64_t linear, size_t len, bool write)
{
	if (len > GUEST_PAGE_SIZE || !tlb_find(cpu, linear, (unsigned)len, write))
		probe_in(cpu, tlb_context(cpu, cpu->cpl), linear, len, write);
}

void mmu_probe_write(struct cpu *cpu, uint64_t linear, unsigned size)
{
	check_alignment(cpu, linear, size);
	mmu_probe(cpu, linear, size, true);
}

uint64_t mmu_system_read(struct cpu *cpu, uint64_t linear, unsigned size)
{
	return read_as(cpu, tlb_context_system(cpu), linear, size);
}

void mmu_system_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	write_as(cpu, tlb_context_system(cpu), linear, size, value);
}

void mmu_system_probe(struct cpu *cpu, uint64_t linear, size_t len, bool write)
{
	probe_in(cpu, tlb_context_system(cpu), linear, len, write);
}

uint64_t mmu_read_as(struct cpu *cpu, unsigned cpl, uint64_t linear, unsigned size)
{
	return read_as(cpu, tlb_context(cpu, cpl), linear, size);
}

void mmu_write_as(struct cpu *cpu, unsigned cpl, uint64_t linear, unsigned size, uint64_t value)
{
	write_as(cpu, tlb_context(cpu, cpl), linear, size, value);
}

void mmu_probe_as(struct cpu *cpu, unsigned cpl, uint64_t linear, size_t len, bool write)
{
	probe_in(cpu, tlb_context(cpu, cpl), linear, len, write);
}

size_t mmu_span(struct cpu *cpu, uint64_t linear, size_t len, bool write, uint8_t **host)
{
	void *p = tlb_find(cpu, linear, 1, write);

	if (!p)
		return 0;
	*host = p;
	return MIN(len, GUEST_PAGE_SIZE - (linear & PAGE_OFFSET));
}

size_t mmu_fetch(struct cpu *cpu, uint64_t linear, uint8_t *buf, size_t len, uint64_t *page,
		 bool *ram)
{
	enum tlb_context context = tlb_context(cpu, cpu->cpl);
	struct tlb_set *set = &cpu->tlb->set[context];
	const struct tlb_entry *e = tlb_entry(set, linear);

	if (linear - e->exec > PAGE_OFFSET)
		e = tlb_translate(cpu, context, linear, TLB_EXEC);
	*page = e->gpa;
	*ram = e->record;
	len = MIN(len, GUEST_PAGE_SIZE - (linear & PAGE_OFFSET));
	if (e->record)
		memcpy(buf, tlb_host(set, linear), len);
	else
		device_read(cpu, e->gpa | (linear & PAGE_OFFSET), buf, (unsigned)len);
	return len;
}
