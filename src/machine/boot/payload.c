/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bzImage's payload, decompressed on the host straight into guest RAM.
 *
 * The payload is an ELF whose segments lie in the file nearly as in memory, but
 * with gaps. So that a decompressor can write it in one run and look back at what
 * it wrote, a stretch of our address space, the window, is laid out like the file:
 *
 *	file    | headers, padding | text      | gap | data      | gap | relocations
 *	window  | scratch          | guest RAM | scr.| guest RAM | scr.| scratch
 *
 * The pages of a segment are mapped from the memfd at the segment's physical
 * address, so the bytes need no second copy. Pages that belong only in part to a
 * segment are scratch too; their share is copied afterwards. Scratch is free guest
 * RAM where there is enough, given back as zeroes in the end, so that the process
 * needs no memory beyond the guest's; else it is anonymous memory.
 *
 * The headers come first: they are decompressed twice, first alone, to learn where
 * the segments go.
 *
 * Such a kernel lies where it was linked: Linux randomizes its address (KASLR) only
 * when it decompresses itself.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/boot/boot_int.h"
#include "machine/boot/decompress.h"
#include "machine/layout.h"

/* The ELF header and program headers of a kernel are a few hundred bytes. */
#define HEAD_SIZE 4096

/* No kernel is larger; an honest one is 30 to 100 MiB. */
#define UNCOMPRESSED_MAX GIB(1)

struct window {
	uint8_t *base;
	uint64_t size; /* of the mapping: whole pages */
	uint64_t scratch_gpa;
	bool scratch_is_ram;
};

static int not_supported(const struct boot_file *f, const char *why, struct err *e)
{
	return err_set(e, ENOTSUP,
		       "cannot decompress the kernel in %s on the host: %s: use boot protocol "
		       "bzimage",
		       f->path, why);
}

static int damaged(const struct boot_file *f, const struct codec *c, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "cannot boot %s: its %s payload %s: the file is damaged", f->path,
		       codec_name(c), why);
}

int payload_check(const struct bzimage *bz, const struct boot_file *f, struct err *e)
{
	const struct codec *c;
	char why[64] = "its format is not known";

	if (!bz->payload_size)
		return not_supported(f, "its setup header tells of no payload", e);
	c = codec_find(f->data + bz->payload_offset, bz->payload_size);
	if (c && codec_supported(c))
		return 0;
	if (c)
		snprintf(why, sizeof(why), "it is %s", codec_name(c));
	return not_supported(f, why, e);
}

static void *map_ram(const struct boot_job *job, uint64_t gpa, uint64_t len, void *at, int flags)
{
	const struct mem_region *r = mem_find(job->mem, gpa);

	assert(r && range_within(gpa - r->gpa, len, r->size));
	return mmap(at, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | flags,
		    job->mem->fd, (off_t)(r->fd_offset + (gpa - r->gpa)));
}

/* The part of a segment's file bytes that whole pages make up, as pages of RAM; false: none. */
static bool whole_pages(const struct elf_segment *s, uint64_t *offset, uint64_t *len)
{
	uint64_t start = align_up(s->offset, GUEST_PAGE_SIZE);
	uint64_t end = align_down(s->offset + s->filesz, GUEST_PAGE_SIZE);

	if (start >= end || (s->offset ^ s->paddr) & (GUEST_PAGE_SIZE - 1))
		return false;
	*offset = start;
	*len = end - start;
	return true;
}

/* Whether another segment loads some of the same bytes of the file. */
static bool shares_bytes(const struct elf *elf, unsigned i)
{
	const struct elf_segment *s = &elf->load[i];

	for (unsigned j = 0; j < elf->load_count; j++)
		if (j != i && elf->load[j].filesz &&
		    ranges_overlap(s->offset, s->filesz, elf->load[j].offset, elf->load[j].filesz))
			return true;
	return false;
}

/* Whether the window maps a part of segment i to RAM; else offset and len stay as they are. */
static bool is_mapped(const struct elf *elf, unsigned i, uint64_t *offset, uint64_t *len)
{
	return !shares_bytes(elf, i) && whole_pages(&elf->load[i], offset, len);
}

static void window_close(struct window *w, struct boot_job *job)
{
	munmap(w->base, w->size);
	if (w->scratch_is_ram && mem_discard(job->mem, w->scratch_gpa, w->size))
		memset(mem_ptr_rw(job->mem, w->scratch_gpa, w->size), 0, w->size);
}

static int window_open(struct window *w, const struct elf *elf, uint64_t size, struct boot_job *job,
		       struct err *e)
{
	uint64_t top = align_down(job->low_end, GUEST_PAGE_SIZE);
	uint64_t offset, len;

	*w = (struct window){.size = align_up(size, GUEST_PAGE_SIZE)};
	w->scratch_is_ram = range_within(align_up(job->kernel_end, GUEST_PAGE_SIZE), w->size, top);
	w->scratch_gpa = w->scratch_is_ram ? top - w->size : 0;
	if (w->scratch_is_ram)
		w->base = map_ram(job, w->scratch_gpa, w->size, NULL, 0);
	else
		w->base = mmap(NULL, w->size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (w->base == MAP_FAILED)
		return err_errno(e, errno, "cannot map %llu MiB to decompress %s",
				 (unsigned long long)(w->size >> 20), job->kernel->path);
	for (unsigned i = 0; i < elf->load_count; i++) {
		if (!is_mapped(elf, i, &offset, &len))
			continue;
		if (map_ram(job, elf->load[i].paddr + (offset - elf->load[i].offset), len,
			    w->base + offset, MAP_FIXED | MAP_POPULATE) == MAP_FAILED) {
			int r = err_errno(e, errno, "cannot map guest memory to decompress %s",
					  job->kernel->path);

			window_close(w, job);
			return r;
		}
	}
	return 0;
}

/* Copies to RAM what the window does not map to it, and reports all that was written. */
static void window_finish(const struct window *w, const struct elf *elf, struct boot_job *job)
{
	for (unsigned i = 0; i < elf->load_count; i++) {
		const struct elf_segment *s = &elf->load[i];
		uint64_t end = s->offset + s->filesz;
		uint64_t offset = end, len = 0;
		uint8_t *ram = mem_ptr_rw(job->mem, s->paddr, s->memsz);

		is_mapped(elf, i, &offset, &len);
		memcpy(ram, w->base + s->offset, offset - s->offset);
		memcpy(ram + (offset + len - s->offset), w->base + offset + len,
		       end - (offset + len));
		mem_written(job->mem, s->paddr, s->filesz);
	}
}

static int read_head(const struct codec *c, const uint8_t *src, const struct bzimage *bz,
		     const struct boot_file *f, struct elf *elf, struct err *e)
{
	uint64_t size = load_le(src + bz->payload_size - 4, 4);
	uint8_t head[HEAD_SIZE];
	int64_t n;

	if (size > UNCOMPRESSED_MAX)
		return damaged(f, c, "claims to be larger than 1 GiB", e);
	n = codec_head(c, src, bz->payload_size, head, MIN(sizeof(head), size));
	if (n == -ENOMEM)
		return not_supported(f, "that takes too much memory", e);
	if (n < 0)
		return damaged(f, c, "cannot be decompressed", e);
	if (n < 4 || memcmp(head, "\177ELF", 4))
		return not_supported(f, "the payload is no ELF", e);
	return elf_parse(elf, head, (uint64_t)n, size, f->path, e);
}

int payload_load(const struct bzimage *bz, struct boot_job *job, struct boot_entry *out,
		 struct err *e)
{
	const struct boot_file *f = job->kernel;
	const uint8_t *src = f->data + bz->payload_offset;
	struct elf_notes notes = {0};
	const struct codec *c;
	struct window w;
	struct elf elf;
	uint64_t size;
	int64_t n;
	int r;

	r = payload_check(bz, f, e);
	if (r)
		return r;
	c = codec_find(src, bz->payload_size);
	r = read_head(c, src, bz, f, &elf, e);
	if (!r)
		r = elf_place(&elf, job, e);
	if (r)
		return r;
	size = load_le(src + bz->payload_size - 4, 4);
	r = window_open(&w, &elf, size, job, e);
	if (r)
		return r;
	n = codec_all(c, src, bz->payload_size, w.base, size, elf.file_end);
	if (n < 0 || (uint64_t)n < elf.file_end) {
		r = damaged(f, c, n < 0 ? "cannot be decompressed" : "is truncated", e);
	} else {
		window_finish(&w, &elf, job);
		for (unsigned i = 0; i < elf.note_count; i++)
			elf_read_notes(w.base + elf.note[i].offset, elf.note[i].filesz, &notes);
		r = elf_choose_entry(&elf, &notes, job, out, e);
	}
	window_close(&w, job);
	return r;
}
