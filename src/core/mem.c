/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All RAM is one memfd; a region is a window of it, mapped shared, so that other
 * processes (vhost-user backends, a restored twin) can map the same bytes. The
 * host gives pages when they are touched: an idle guest costs what it used.
 */
#include "core/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"

int mem_init(struct mem *m, bool huge, struct err *e)
{
	*m = (struct mem){.fd = -1, .huge = huge};
	m->fd = memfd_create("lodge-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return err_errno(e, errno, "cannot create guest memory");
	return 0;
}

void mem_release(struct mem *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		munmap(m->regions[i].host, m->regions[i].size);
		free(m->regions[i].dirty);
	}
	if (m->fd >= 0)
		close(m->fd);
	*m = (struct mem){.fd = -1};
}

static bool region_fits(const struct mem *m, uint64_t gpa, uint64_t size)
{
	if (!size || (gpa | size) & (GUEST_PAGE_SIZE - 1) || !range_within(gpa, size, BIT(52)))
		return false;
	for (unsigned i = 0; i < m->count; i++)
		if (ranges_overlap(gpa, size, m->regions[i].gpa, m->regions[i].size))
			return false;
	return m->count < MEM_REGIONS_MAX;
}

int mem_add_ram(struct mem *m, uint64_t gpa, uint64_t size, struct err *e)
{
	struct mem_region *r = &m->regions[m->count];
	void *host;

	if (!region_fits(m, gpa, size))
		return err_set(e, EINVAL, "no room for %llu bytes of RAM at 0x%llx",
			       (unsigned long long)size, (unsigned long long)gpa);
	if (ftruncate(m->fd, (off_t)(m->size + size)))
		return err_errno(e, errno, "cannot make guest memory of %llu MiB",
				 (unsigned long long)((m->size + size) >> 20));
	host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd,
		    (off_t)m->size);
	if (host == MAP_FAILED)
		return err_errno(e, errno, "cannot map guest memory of %llu MiB",
				 (unsigned long long)(size >> 20));
	if (m->huge)
		madvise(host, size, MADV_HUGEPAGE); /* a wish: the host may have none */
	madvise(host, size, MADV_DONTDUMP);
	*r = (struct mem_region){
		.gpa = gpa, .size = size, .host = host, .fd_offset = m->size, .slot = m->count};
	m->size += size;
	m->count++;
	return 0;
}

int mem_reset(struct mem *m, struct err *e)
{
	if (!m->size)
		return 0;
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->size))
		return err_errno(e, errno, "cannot clear guest memory");
	for (unsigned i = 0; i < m->count; i++)
		mem_written(m, m->regions[i].gpa, m->regions[i].size);
	return 0;
}

int mem_discard(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);

	assert(r && range_within(gpa - r->gpa, len, r->size));
	assert(!((gpa | len) & (GUEST_PAGE_SIZE - 1)));
	if (fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		      (off_t)(r->fd_offset + (gpa - r->gpa)), (off_t)len))
		return -errno;
	mem_written(m, gpa, len);
	return 0;
}

const struct mem_region *mem_find(const struct mem *m, uint64_t gpa)
{
	for (unsigned i = 0; i < m->count; i++)
		if (gpa - m->regions[i].gpa < m->regions[i].size)
			return &m->regions[i];
	return NULL;
}

const void *mem_ptr(const struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);

	if (!r || !range_within(gpa - r->gpa, len, r->size))
		return NULL;
	return r->host + (gpa - r->gpa);
}

void *mem_ptr_rw(struct mem *m, uint64_t gpa, uint64_t len)
{
	return (void *)(uintptr_t)mem_ptr(m, gpa, len);
}

void mem_written(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);
	uint64_t first, last, *dirty;

	if (!len)
		return;
	assert(r && range_within(gpa - r->gpa, len, r->size));
	dirty = __atomic_load_n(&r->dirty, __ATOMIC_ACQUIRE);
	if (dirty) {
		first = (gpa - r->gpa) >> GUEST_PAGE_SHIFT;
		last = (gpa - r->gpa + len - 1) >> GUEST_PAGE_SHIFT;
		/* Release: who takes the mark also sees what was written before it. */
		for (uint64_t page = first; page <= last; page++)
			__atomic_fetch_or(&dirty[page / 64], BIT(page % 64), __ATOMIC_RELEASE);
	}
	if (m->observer.written)
		m->observer.written(m->observer.opaque, gpa, len);
}

bool mem_read(const struct mem *m, uint64_t gpa, void *buf, uint64_t len)
{
	const void *p = mem_ptr(m, gpa, len);

	if (!p)
		return false;
	memcpy(buf, p, len);
	return true;
}

bool mem_write(struct mem *m, uint64_t gpa, const void *buf, uint64_t len)
{
	void *p = mem_ptr_rw(m, gpa, len);

	if (!p)
		return false;
	memcpy(p, buf, len);
	mem_written(m, gpa, len);
	return true;
}

static size_t bitmap_words(const struct mem_region *r)
{
	return ((r->size >> GUEST_PAGE_SHIFT) + 63) / 64;
}

int mem_dirty_start(struct mem *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		struct mem_region *r = &m->regions[i];
		uint64_t *dirty;

		if (r->dirty)
			continue;
		dirty = calloc(bitmap_words(r), sizeof(*dirty));
		if (!dirty)
			return -ENOMEM;
		__atomic_store_n(&r->dirty, dirty, __ATOMIC_RELEASE);
	}
	return 0;
}

void mem_dirty_take(struct mem *m, unsigned slot, uint64_t *bitmap)
{
	struct mem_region *r = &m->regions[slot];

	assert(slot < m->count && r->dirty);
	for (size_t i = 0; i < bitmap_words(r); i++)
		bitmap[i] |= __atomic_exchange_n(&r->dirty[i], 0, __ATOMIC_ACQUIRE);
}
