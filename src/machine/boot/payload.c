/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bzImage's payload, decompressed on the host straight into guest RAM.
 *
 * The payload is an ELF whose segments lie in the file nearly as in memory, but
 * with gaps, and a decompressor wants to write the file in one run, looking back at
 * what it wrote. So the file is decompressed to the place in RAM, the window, where
 * most segments already lie right, and the others, which then all lie too high, are
 * moved down. Of Linux, text and data stay, and what follows moves 2 MiB.
 *
 *	RAM   | free  | headers | text | data | init     | rest | lent | payload |
 *	      1 MiB   window                                                    low_end
 *	after | zero            | text | data | init | zero ...
 *
 * The compressed payload is read to the end of RAM, and what lies between is lent to
 * the decompressor: so the process needs no memory but the guest's. In the end all
 * that is not the kernel is zero again, and its pages back with the host. In a
 * guest too small for that, the file's mapping and anonymous memory take their place.
 *
 * The headers come first: they are decompressed twice, first alone, to learn where
 * the segments go.
 *
 * Such a kernel lies where it was linked: Linux randomizes its address (KASLR) only
 * when it decompresses itself.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "machine/boot/boot_int.h"
#include "machine/boot/decompress.h"
#include "machine/layout.h"

/* The ELF header and program headers of a kernel are a few hundred bytes. */
#define HEAD_SIZE 4096

/* No kernel is larger; an honest one is 30 to 100 MiB. */
#define UNCOMPRESSED_MAX GIB(1)

/* The work under way. */
struct payload {
	struct boot_job *job;
	struct decoder decoder;
	const uint8_t *src; /* compressed */
	uint64_t src_size;
	uint64_t src_gpa; /* where that is in RAM; the end of RAM if it is not there */
	uint64_t size;    /* of the ELF file */
	struct elf elf;
	uint8_t *window; /* the ELF file, decompressed */
	uint64_t window_gpa;
	bool window_is_ram;
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

/* Finds the decoder. 0, or -ENOTSUP with e set. */
static int open_decoder(struct decoder *d, const struct bzimage *bz, const struct boot_file *f,
			struct err *e)
{
	const struct codec *c;
	char why[128];
	int r;

	if (bz->payload_size < 4) /* the length at its end */
		return not_supported(f, "its setup header tells of no payload", e);
	c = codec_find(f->data + bz->payload_offset, bz->payload_size);
	if (!c)
		return not_supported(f, "its format is not known", e);
	r = decoder_open(d, c);
	if (!r)
		return 0;
	if (r == -ENOENT)
		snprintf(why, sizeof(why), "it is %s, and %s cannot be loaded", codec_name(c),
			 codec_library(c));
	else
		snprintf(why, sizeof(why), "it is %s", codec_name(c));
	return not_supported(f, why, e);
}

int payload_check(const struct bzimage *bz, const struct boot_file *f, struct err *e)
{
	struct decoder d;
	int r = open_decoder(&d, bz, f, e);

	if (!r)
		decoder_close(&d);
	return r;
}

/* Reads the payload to the end of RAM, where that leaves room below. */
static int read_payload(struct payload *p, const struct bzimage *bz, struct err *e)
{
	struct boot_job *job = p->job;
	uint64_t at = job->low_end - MIN(job->low_end, bz->payload_size);

	p->src = job->kernel->data + bz->payload_offset;
	p->src_size = bz->payload_size;
	p->src_gpa = job->low_end;
	at = align_down(at, MEM_HUGE_SIZE);
	if (at <= LAYOUT_KERNEL)
		return 0;
	p->src = mem_ptr(job->mem, at, bz->payload_size);
	p->src_gpa = at;
	return boot_file_to_ram(job->kernel, bz->payload_offset, job->mem, at, bz->payload_size, e);
}

/* RAM from gpa up to its end is zero again. */
static void clear_from(const struct boot_job *job, uint64_t gpa)
{
	if (gpa < job->low_end)
		mem_discard(job->mem, gpa, job->low_end - gpa);
}

/* The payload is read from the file's mapping instead. */
static void unread_payload(struct payload *p, const struct bzimage *bz)
{
	clear_from(p->job, p->src_gpa);
	p->src = p->job->kernel->data + bz->payload_offset;
	p->src_gpa = p->job->low_end;
}

static int read_head(struct payload *p, struct err *e)
{
	const struct boot_file *f = p->job->kernel;
	const struct codec *c = p->decoder.codec;
	uint8_t head[HEAD_SIZE];
	int64_t n;

	p->size = load_le(p->src + p->src_size - 4, 4);
	if (p->size > UNCOMPRESSED_MAX)
		return damaged(f, c, "claims to be larger than 1 GiB", e);
	n = decoder_head(&p->decoder, p->src, p->src_size, head, MIN(sizeof(head), p->size));
	if (n == -ENOMEM)
		return not_supported(f, "that takes too much memory", e);
	if (n < 0)
		return damaged(f, c, "cannot be decompressed", e);
	if (n < 4 || memcmp(head, "\177ELF", 4))
		return not_supported(f, "the payload is no ELF", e);
	return elf_parse(&p->elf, head, (uint64_t)n, p->size, f->path, e);
}

/* The least address for the window from which segments only ever move down: then, moved in the
 * order of their addresses, none overwrites what is still to be moved. */
static uint64_t least_window(const struct elf *elf)
{
	uint64_t gpa = LAYOUT_KERNEL;

	for (unsigned i = 0; i < elf->load_count; i++)
		if (elf->load[i].filesz && elf->load[i].paddr > elf->load[i].offset)
			gpa = MAX(gpa, elf->load[i].paddr - elf->load[i].offset);
	return gpa;
}

static int open_window(struct payload *p, const struct bzimage *bz, struct err *e)
{
	struct boot_job *job = p->job;
	uint64_t gpa = least_window(&p->elf);
	uint64_t end = align_up(MAX(gpa + p->size, job->kernel_end), MEM_HUGE_SIZE);

	if (end > p->src_gpa)
		unread_payload(p, bz);
	if (end <= job->low_end) {
		p->window_is_ram = true;
		p->window_gpa = gpa;
		p->window = mem_ptr_rw(job->mem, gpa, p->size);
		if (end < p->src_gpa)
			decoder_lend(&p->decoder, mem_ptr_rw(job->mem, end, p->src_gpa - end),
				     p->src_gpa - end);
		return 0;
	}
	p->window = mmap(NULL, p->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->window != MAP_FAILED)
		return 0;
	p->window = NULL;
	return err_errno(e, errno, "cannot map %llu MiB to decompress %s",
			 (unsigned long long)(p->size >> 20), job->kernel->path);
}

/* Everything that was used is zero again, but the segments if keep says so. */
static void close_window(struct payload *p, bool keep)
{
	const struct elf *elf = &p->elf;
	uint64_t at = p->window_is_ram ? p->window_gpa : p->src_gpa;

	if (!p->window_is_ram && p->window)
		munmap(p->window, p->size);
	for (unsigned i = 0; keep && p->window_is_ram && i < elf->load_count; i++) {
		const struct elf_segment *s = &elf->load[i];

		if (at < s->paddr)
			mem_discard(p->job->mem, at, s->paddr - at);
		at = MAX(at, s->paddr + s->filesz);
	}
	clear_from(p->job, at);
}

static int decompress(struct payload *p, struct err *e)
{
	const struct elf *elf = &p->elf;
	int64_t n = decoder_all(&p->decoder, p->src, p->src_size, p->window, p->size,
				elf->file_end);

	if (n == -ENOMEM)
		return not_supported(p->job->kernel, "that takes too much memory", e);
	if (n < 0 || (uint64_t)n < elf->file_end)
		return damaged(p->job->kernel, p->decoder.codec,
			       n < 0 ? "cannot be decompressed" : "is truncated", e);
	return 0;
}

static void move_segments(struct payload *p)
{
	for (unsigned i = 0; i < p->elf.load_count; i++) {
		const struct elf_segment *s = &p->elf.load[i];
		uint8_t *ram = mem_ptr_rw(p->job->mem, s->paddr, s->memsz);

		if (ram != p->window + s->offset)
			memmove(ram, p->window + s->offset, s->filesz);
		mem_written(p->job->mem, s->paddr, s->filesz);
	}
}

static int load(struct payload *p, const struct bzimage *bz, struct boot_entry *out, struct err *e)
{
	struct elf_notes notes = {0};
	int r = read_payload(p, bz, e);

	if (!r)
		r = read_head(p, e);
	if (!r)
		r = elf_place(&p->elf, p->job, e);
	if (!r)
		r = open_window(p, bz, e);
	if (!r)
		r = decompress(p, e);
	if (r)
		return r;
	for (unsigned i = 0; i < p->elf.note_count; i++)
		elf_read_notes(p->window + p->elf.note[i].offset, p->elf.note[i].filesz, &notes);
	move_segments(p);
	return elf_choose_entry(&p->elf, &notes, p->job, out, e);
}

int payload_load(const struct bzimage *bz, struct boot_job *job, struct boot_entry *out,
		 struct err *e)
{
	struct payload p = {.job = job, .src_gpa = job->low_end};
	int r = open_decoder(&p.decoder, bz, job->kernel, e);

	if (r)
		return r;
	r = load(&p, bz, out, e);
	close_window(&p, !r);
	decoder_close(&p.decoder);
	return r;
}
