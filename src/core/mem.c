/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RAM is private anonymous memory unless it has to be shared with other processes:
 * the host then backs it with huge pages, and a guest that touches 2 MiB takes one
 * nested page fault, not 512. A memfd would have huge pages only where the
 * administrator has switched them on for shared memory (shmem_enabled), which hardly
 * anybody has. Either way the host gives pages when they are touched: an idle guest
 * costs what it used.
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

int mem_init(struct mem *m, unsigned flags, struct err *e)
{
	*m = (struct mem){.fd = -1, .flags = flags};
	if (!(flags & MEM_SHARED))
		return 0;
	m->fd = memfd_create("lodge-ram", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return err_errno(e, errno, "cannot create guest memory");
	return 0;
}

void mem_release(struct mem *m)
{
	for (unsigned i = 0; i < m->count; i++) {
		if (m->regions[i].kind != MEM_FILE)
			munmap(m->regions[i].host, m->regions[i].size);
		free(m->regions[i].dirty);
		free(m->regions[i].plugged);
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

/* Address space for size bytes whose address is gpa's modulo the huge page, or NULL with errno. */
static uint8_t *reserve(uint64_t gpa, uint64_t size)
{
	uint64_t offset = gpa % MEM_HUGE_SIZE, whole = size + MEM_HUGE_SIZE, before;
	uint8_t *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			  0);

	if (p == MAP_FAILED)
		return NULL;
	before = (offset - (uintptr_t)p) % MEM_HUGE_SIZE;
	if (before)
		munmap(p, before);
	munmap(p + before + size, whole - before - size);
	return p + before;
}

/* Where the region that comes next is mapped, or NULL with errno. */
static uint8_t *map_next(const struct mem *m, uint64_t gpa, uint64_t size)
{
	bool shared = m->flags & MEM_SHARED;
	int kind = shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
	uint8_t *host = reserve(gpa, size);

	if (!host)
		return NULL;
	if (mmap(host, size, PROT_READ | PROT_WRITE, kind | MAP_NORESERVE | MAP_FIXED, m->fd,
		 shared ? (off_t)m->fd_size : 0) == MAP_FAILED) {
		munmap(host, size);
		return NULL;
	}
	if (m->flags & MEM_HUGE)
		madvise(host, size, MADV_HUGEPAGE); /* a wish: the host may have none */
	madvise(host, size, MADV_DONTDUMP);
	madvise(host, size, MADV_DONTFORK); /* a child's copy-on-write would part us from KVM */
	return host;
}

static int check_room(const struct mem *m, uint64_t gpa, uint64_t size, struct err *e)
{
	return region_fits(m, gpa, size)
		       ? 0
		       : err_set(e, EINVAL, "no room for %llu bytes of RAM at 0x%llx",
				 (unsigned long long)size, (unsigned long long)gpa);
}

/* Memory of our own as the next region. */
static int add(struct mem *m, uint64_t gpa, uint64_t size, struct err *e)
{
	int rc = check_room(m, gpa, size, e);
	uint8_t *host;

	if (rc)
		return rc;
	if (m->flags & MEM_SHARED && ftruncate(m->fd, (off_t)(m->fd_size + size)))
		return err_errno(e, errno, "cannot make guest memory of %llu MiB",
				 (unsigned long long)((m->fd_size + size) >> 20));
	host = map_next(m, gpa, size);
	if (!host)
		return err_errno(e, errno, "cannot map guest memory of %llu MiB",
				 (unsigned long long)(size >> 20));
	m->regions[m->count] = (struct mem_region){
		.gpa = gpa, .size = size, .host = host, .fd_offset = m->fd_size, .slot = m->count};
	m->fd_size += size;
	m->count++;
	return 0;
}

int mem_add_ram(struct mem *m, uint64_t gpa, uint64_t size, struct err *e)
{
	int rc = add(m, gpa, size, e);

	if (!rc)
		m->size += size;
	return rc;
}

int mem_add_blocks(struct mem *m, uint64_t gpa, uint64_t size, uint64_t block, struct err *e)
{
	uint64_t *plugged = calloc((size_t)(size / block + 63) / 64, sizeof(*plugged));
	int rc = plugged ? add(m, gpa, size, e) : err_errno(e, ENOMEM, "cannot make guest memory");

	assert(!(block & (block - 1)) && block >= MEM_HUGE_SIZE && !((gpa | size) & (block - 1)));
	if (rc) {
		free(plugged);
		return rc;
	}
	m->regions[m->count - 1].kind = MEM_BLOCKS;
	m->regions[m->count - 1].block = block;
	m->regions[m->count - 1].plugged = plugged;
	return 0;
}

int mem_add_file(struct mem *m, uint64_t gpa, uint64_t size, uint8_t *host, struct err *e)
{
	int rc = check_room(m, gpa, size, e);

	if (rc)
		return rc;
	m->regions[m->count] = (struct mem_region){
		.gpa = gpa, .size = size, .host = host, .slot = m->count, .kind = MEM_FILE};
	m->count++;
	return 0;
}

bool mem_all_plugged(const struct mem_region *r, uint64_t gpa, uint64_t len, bool plugged)
{
	uint64_t first = (gpa - r->gpa) / r->block, last = (gpa - r->gpa + len - 1) / r->block;

	for (uint64_t i = first; i <= last; i++)
		if ((__atomic_load_n(&r->plugged[i / 64], __ATOMIC_RELAXED) >> i % 64 & 1) !=
		    plugged)
			return false;
	return true;
}

static void set_plugged(const struct mem_region *r, uint64_t gpa, uint64_t len, bool plugged)
{
	for (uint64_t i = (gpa - r->gpa) / r->block; i < (gpa - r->gpa + len) / r->block; i++) {
		if (plugged)
			__atomic_fetch_or(&r->plugged[i / 64], BIT(i % 64), __ATOMIC_RELAXED);
		else
			__atomic_fetch_and(&r->plugged[i / 64], ~BIT(i % 64), __ATOMIC_RELAXED);
	}
}

/* Gives [offset, offset + len) of a region back to the host. False if it refuses. */
static bool give_back(const struct mem *m, const struct mem_region *r, uint64_t offset,
		      uint64_t len)
{
	if (m->flags & MEM_SHARED)
		return !fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				  (off_t)(r->fd_offset + offset), (off_t)len);
	return !madvise(r->host + offset, len, MADV_DONTNEED);
}

int mem_reset(struct mem *m, struct err *e)
{
	for (unsigned i = 0; i < m->count; i++) {
		const struct mem_region *r = &m->regions[i];

		if (r->kind == MEM_FILE)
			continue;
		if (!give_back(m, r, 0, r->size))
			return err_errno(e, errno, "cannot clear guest memory");
		mem_written(m, r->gpa, r->size);
	}
	return 0;
}

void mem_discard(struct mem *m, uint64_t gpa, uint64_t len)
{
	uint64_t page = m->flags & MEM_SHARED ? GUEST_PAGE_SIZE : MEM_HUGE_SIZE;
	uint64_t first = align_up(gpa, page), last = align_down(gpa + len, page);
	const struct mem_region *r = mem_find(m, gpa);

	if (!len)
		return;
	assert(r && range_within(gpa - r->gpa, len, r->size));
	if (first < last && give_back(m, r, first - r->gpa, last - first)) {
		memset(r->host + (gpa - r->gpa), 0, first - gpa);
		memset(r->host + (last - r->gpa), 0, gpa + len - last);
	} else {
		memset(r->host + (gpa - r->gpa), 0, len);
	}
	mem_written(m, gpa, len);
}

void mem_plug(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);

	assert(r && r->kind == MEM_BLOCKS && range_within(gpa - r->gpa, len, r->size));
	set_plugged(r, gpa, len, true);
}

void mem_unplug(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);

	assert(r && r->kind == MEM_BLOCKS && range_within(gpa - r->gpa, len, r->size));
	set_plugged(r, gpa, len, false);
	if (!give_back(m, r, gpa - r->gpa, len))
		memset(r->host + (gpa - r->gpa), 0, len);
	mem_written(m, gpa, len);
}

bool mem_give_back(struct mem *m, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(m, gpa);

	if (!r || r->kind == MEM_FILE || !len || (gpa | len) & (GUEST_PAGE_SIZE - 1) ||
	    !range_within(gpa - r->gpa, len, r->size) || !give_back(m, r, gpa - r->gpa, len))
		return false;
	mem_written(m, gpa, len);
	return true;
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
	if (r->kind == MEM_BLOCKS && len && !mem_all_plugged(r, gpa, len, true))
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
	/* Before there is anything to mark: who sees it too early finds no bitmap. */
	__atomic_store_n(&m->recording, true, __ATOMIC_RELEASE);
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
