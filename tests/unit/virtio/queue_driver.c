/* SPDX-License-Identifier: Apache-2.0 */
#include "queue_driver.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"

#define NO_INTERRUPT  1
#define EVENT_ENABLE  0
#define EVENT_DISABLE 1
#define EVENT_DESC    2

/* The driver is the guest: it writes without telling anybody. */
static uint8_t *at(const struct driver *d, uint64_t gpa, unsigned size)
{
	uint8_t *p = mem_ptr_rw(d->mem, gpa, size);

	assert(p);
	return p;
}

uint64_t driver_peek(const struct driver *d, uint64_t gpa, unsigned size)
{
	return load_le(at(d, gpa, size), size);
}

void driver_poke(struct driver *d, uint64_t gpa, unsigned size, uint64_t value)
{
	store_le(at(d, gpa, size), size, value);
}

uint64_t driver_desc(const struct driver *d, unsigned n)
{
	return d->desc + n * 16;
}

uint64_t driver_flags(const struct driver *d, unsigned n)
{
	return driver_desc(d, n) + (d->packed ? 14 : 12);
}

void driver_init(struct driver *d, struct mem *mem, bool packed, unsigned size, uint64_t area)
{
	*d = (struct driver){.mem = mem, .packed = packed, .size = size, .free = size};
	d->desc = area;
	d->driver = area + 0x1000;
	d->device = area + 0x2000;
	d->tables = area + 0x4000;
	d->avail_wrap = d->used_wrap = true;
	memset(at(d, area, 0x4000), 0, 0x4000);
	for (unsigned i = 0; i < size; i++)
		d->next[i] = i + 1;
}

static void put_desc(struct driver *d, uint64_t gpa, const struct driver_buffer *b)
{
	driver_poke(d, gpa, 8, b->gpa);
	driver_poke(d, gpa + 8, 4, b->len);
}

/* Writes the table of an indirect buffer; the element that points to it. */
static struct driver_buffer put_table(struct driver *d, unsigned id, const struct driver_buffer *b,
				      unsigned n)
{
	uint64_t table = d->tables + id * 0x1000ull;

	for (unsigned i = 0; i < n; i++) {
		uint64_t gpa = table + i * 16;
		unsigned flags = b[i].write ? DESC_F_WRITE : 0;

		put_desc(d, gpa, &b[i]);
		if (d->packed) {
			driver_poke(d, gpa + 12, 4, (uint64_t)flags << 16);
		} else {
			flags |= i + 1 < n ? DESC_F_NEXT : 0;
			driver_poke(d, gpa + 12, 4, flags | (i + 1) << 16);
		}
	}
	return (struct driver_buffer){table, n * 16, false};
}

static int add_split(struct driver *d, const struct driver_buffer *b, unsigned n, bool indirect)
{
	unsigned head = d->first_free, i = head;
	struct driver_buffer table;
	unsigned more = indirect ? DESC_F_INDIRECT : 0;

	if (indirect) {
		table = put_table(d, head, b, n);
		b = &table;
		n = 1;
	}
	for (unsigned k = 0; k < n; k++, i = d->next[i]) {
		unsigned flags = (b[k].write ? DESC_F_WRITE : 0) | more |
				 (k + 1 < n ? DESC_F_NEXT : 0);

		put_desc(d, driver_desc(d, i), &b[k]);
		driver_poke(d, driver_flags(d, i), 2, flags);
		driver_poke(d, driver_flags(d, i) + 2, 2, d->next[i]);
	}
	d->first_free = i;
	d->slots[head] = n;
	driver_poke(d, d->driver + 4 + d->avail % d->size * 2, 2, head);
	driver_poke(d, d->driver + 2, 2, ++d->avail);
	d->added++;
	return (int)head;
}

static int add_packed(struct driver *d, const struct driver_buffer *b, unsigned n, bool indirect)
{
	unsigned first = d->avail, id = 0, head_flags = 0;
	unsigned more = indirect ? DESC_F_INDIRECT : 0;
	struct driver_buffer table;

	while (d->slots[id])
		id++;
	if (indirect) {
		table = put_table(d, id, b, n);
		b = &table;
		n = 1;
	}
	for (unsigned k = 0; k < n; k++) {
		unsigned flags = (b[k].write ? DESC_F_WRITE : 0) | more |
				 (k + 1 < n ? DESC_F_NEXT : 0) |
				 (d->avail_wrap ? DESC_F_AVAIL : DESC_F_USED);

		put_desc(d, driver_desc(d, d->avail), &b[k]);
		driver_poke(d, driver_desc(d, d->avail) + 12, 2, id);
		if (k)
			driver_poke(d, driver_flags(d, d->avail), 2, flags);
		else
			head_flags = flags;
		if (++d->avail == d->size) {
			d->avail = 0;
			d->avail_wrap = !d->avail_wrap;
		}
	}
	driver_poke(d, driver_flags(d, first), 2, head_flags); /* last of all */
	d->slots[id] = n;
	d->added += n;
	return (int)id;
}

int driver_add(struct driver *d, const struct driver_buffer *b, unsigned n, bool indirect)
{
	unsigned slots = indirect ? 1 : n;

	if (slots > d->free)
		return -1;
	d->free -= slots;
	return d->packed ? add_packed(d, b, n, indirect) : add_split(d, b, n, indirect);
}

static bool passed(uint16_t event, uint16_t new, uint16_t old)
{
	/* Literally: was an entry with that index written? */
	for (uint16_t i = old; i != new; i++)
		if (i == event)
			return true;
	return false;
}

bool driver_should_kick(struct driver *d)
{
	uint16_t old = d->avail - d->added, event = driver_peek(d, d->device, 2);
	unsigned flags = driver_peek(d, d->device + 2, 2);
	bool any = d->added;

	d->added = 0;
	if (!any)
		return false;
	if (!d->packed && d->event_idx)
		return passed(driver_peek(d, d->device + 4 + d->size * 8, 2), d->avail, old);
	if (!d->packed)
		return !(event & NO_INTERRUPT); /* the flags are the first field */
	if (flags != EVENT_DESC)
		return flags == EVENT_ENABLE;
	assert(d->event_idx);
	if (event >> 15 == d->avail_wrap)
		event &= 0x7fff;
	else
		event = (event & 0x7fff) - d->size;
	return passed(event, d->avail, old);
}

static int get_split(struct driver *d, uint32_t *written)
{
	uint64_t entry = d->device + 4 + d->used % d->size * 8;
	unsigned id, last;

	if ((uint16_t)driver_peek(d, d->device + 2, 2) == d->used)
		return -1;
	id = driver_peek(d, entry, 4);
	*written = driver_peek(d, entry + 4, 4);
	assert(id < d->size && d->slots[id]);
	last = id;
	for (unsigned k = 1; k < d->slots[id]; k++)
		last = d->next[last];
	d->next[last] = d->first_free;
	d->first_free = id;
	d->used++;
	return (int)id;
}

static int get_packed(struct driver *d, uint32_t *written)
{
	unsigned flags = driver_peek(d, driver_flags(d, d->used), 2), id;

	if (!!(flags & DESC_F_USED) != d->used_wrap || !!(flags & DESC_F_AVAIL) != d->used_wrap)
		return -1;
	id = driver_peek(d, driver_desc(d, d->used) + 12, 2);
	*written = flags & DESC_F_WRITE ? driver_peek(d, driver_desc(d, d->used) + 8, 4) : 0;
	assert(id < d->size && d->slots[id]);
	d->used += d->slots[id];
	if (d->used >= d->size) {
		d->used -= d->size;
		d->used_wrap = !d->used_wrap;
	}
	return (int)id;
}

int driver_get_used(struct driver *d, uint32_t *written)
{
	int id = d->packed ? get_packed(d, written) : get_split(d, written);

	if (id >= 0) {
		d->free += d->slots[id];
		d->slots[id] = 0;
	}
	return id;
}

void driver_want_interrupts(struct driver *d, bool want)
{
	if (d->packed)
		driver_poke(d, d->driver + 2, 2, want ? EVENT_ENABLE : EVENT_DISABLE);
	else
		driver_poke(d, d->driver, 2, want ? 0 : NO_INTERRUPT);
}

void driver_want_interrupt_after(struct driver *d, unsigned ahead)
{
	unsigned place = d->used + ahead;
	bool wrap = d->used_wrap;

	assert(d->event_idx);
	if (!d->packed) {
		driver_poke(d, d->driver + 4 + d->size * 2, 2, place);
		return;
	}
	if (place >= d->size) {
		place -= d->size;
		wrap = !wrap;
	}
	driver_poke(d, d->driver, 2, place | wrap << 15);
	driver_poke(d, d->driver + 2, 2, EVENT_DESC);
}
