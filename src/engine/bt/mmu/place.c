/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/mmu/place.h"

#include <assert.h>
#include <string.h>

#include "engine/bt/mmu/device.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/vm.h"

static void place_find(struct cpu *cpu, struct place *place, enum tlb_context context,
		       uint64_t linear, unsigned access)
{
	const struct tlb_set *set = &cpu->tlb->set[context];
	const struct tlb_entry *e = tlb_translate(cpu, context, linear, access);

	place->gpa = e->gpa | (linear & PAGE_OFFSET);
	place->host = e->record ? tlb_host(set, linear) : NULL;
	place->tell = access == TLB_WRITE && e->record && !tlb_writable(set, e);
}

void places_find(struct cpu *cpu, struct places *p, enum tlb_context context, uint64_t linear,
		 unsigned len, unsigned access)
{
	unsigned room = GUEST_PAGE_SIZE - (linear & PAGE_OFFSET);

	assert(len <= GUEST_PAGE_SIZE);
	place_find(cpu, &p->part[0], context, linear, access);
	p->part[0].len = MIN(len, room);
	p->count = 1;
	if (len <= room)
		return;
	place_find(cpu, &p->part[1], context, linear_add(cpu, linear, room), access);
	p->part[1].len = len - room;
	p->count = 2;
}

/* SDM vol. 3B 17.2.4 and 17.2.5: a breakpoint is 1, 2, 8 or 4 bytes by its length field, at a
 * multiple of that. */
void watch_slow(struct cpu *cpu, uint64_t linear, unsigned len, bool write)
{
	static const uint8_t size_of[4] = {1, 2, 8, 4};

	for (unsigned n = 0; n < 4; n++) {
		unsigned type = cpu->dr7 >> (16 + 4 * n) & 3;
		unsigned size = size_of[cpu->dr7 >> (18 + 4 * n) & 3];
		uint64_t at = cpu->dr[n] & ~(uint64_t)(size - 1);

		if (!(cpu->dr7 & (DR7_L(n) | DR7_G(n))) || !(type == 3 || (type == 1 && write)))
			continue;
		if (linear - at < size || at - linear < len)
			cpu->debug_hits |= DR6_B(n);
	}
}

/* Copies so that the sizes of operands are one access each: the guest's other processors see all
 * of a value or nothing, where the host's do. */
static void copy(void *to, const void *from, unsigned len)
{
	switch (len) {
	case 1:
		memcpy(to, from, 1);
		break;
	case 2:
		memcpy(to, from, 2);
		break;
	case 4:
		memcpy(to, from, 4);
		break;
	case 8:
		memcpy(to, from, 8);
		break;
	case 16:
		memcpy(to, from, 16);
		break;
	default:
		memcpy(to, from, len);
		break;
	}
}

void places_read(struct cpu *cpu, const struct places *p, void *buf)
{
	uint8_t *bytes = buf;

	for (unsigned i = 0; i < p->count; i++) {
		const struct place *place = &p->part[i];

		if (place->host)
			copy(bytes, place->host, place->len);
		else
			device_read(cpu, place->gpa, bytes, place->len);
		bytes += place->len;
	}
}

void places_write(struct cpu *cpu, const struct places *p, const void *buf)
{
	const uint8_t *bytes = buf;

	for (unsigned i = 0; i < p->count; i++) {
		const struct place *place = &p->part[i];

		if (place->host)
			journal_write(cpu, place->host, place->len);
		if (place->tell)
			journal_refuse(cpu);
		if (place->host)
			copy(place->host, bytes, place->len);
		else
			device_write(cpu, place->gpa, bytes, place->len);
		if (place->tell)
			pages_written(&cpu->vm->pages, place->gpa, place->len);
		bytes += place->len;
	}
}
