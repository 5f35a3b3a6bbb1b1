/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bzImage format: a boot sector and real-mode setup code, which are not used
 * but for the setup header in them, then the protected-mode code, in whose middle
 * lies the payload, the compressed kernel.
 *
 *	0x1f1       setup header
 *	code_offset protected-mode code: 32-bit entry +0, 64-bit entry +0x200
 *	            ... payload ...
 *
 * The protected-mode code decompresses the kernel to runtime_start, which is where
 * the code was loaded, aligned, or at least pref_address; it needs init_size bytes
 * there. So the code is loaded to pref_address at once.
 *
 * Source: Linux Documentation/arch/x86/boot.rst.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/boot/boot_int.h"
#include "machine/layout.h"

#define SETUP_HEADER     0x1f1
#define SETUP_HEADER_END 0x290 /* where boot_params has the next field */
#define HDRS_MAGIC       0x53726448u
#define SECTOR           512

/* Of kernels older than the field that tells. */
#define OLD_CMDLINE_MAX 255
#define OLD_INITRD_MAX  0x38000000ULL

bool bzimage_probe(const struct boot_file *f)
{
	return f->size >= SETUP_HEADER + sizeof(struct setup_header) &&
	       load_le(f->data + 0x1fe, 2) == 0xaa55 && load_le(f->data + 0x202, 4) == HDRS_MAGIC;
}

static int bad_header(const struct boot_file *f, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "cannot boot %s: its setup header %s: give an intact bzImage",
		       f->path, why);
}

static int check_version(const struct setup_header *h, const struct boot_file *f, struct err *e)
{
	if (h->version < 0x0204)
		return err_set(e, EINVAL,
			       "cannot boot %s: its boot protocol %u.%02u is too old: 2.04 (Linux "
			       "2.6.14) or newer is needed",
			       f->path, h->version >> 8, h->version & 0xff);
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(
			e, EINVAL,
			"cannot boot %s: it is a zImage, loaded below 1 MiB: build a bzImage",
			f->path);
	return 0;
}

/* Finds the protected-mode code in the file, and the payload in that code. */
static int find_code(struct bzimage *bz, const struct setup_header *h, const struct boot_file *f,
		     struct err *e)
{
	uint64_t promised = (uint64_t)h->syssize * 16;
	uint64_t present;

	bz->code_offset = (uint64_t)((h->setup_sects ? h->setup_sects : 4) + 1) * SECTOR;
	/* syssize counts whole paragraphs, the file may end in the middle of the last. */
	present = f->size > bz->code_offset ? f->size - bz->code_offset : 0;
	if (!promised)
		return bad_header(f, "tells no kernel size (syssize 0)", e);
	if (present + 15 < promised)
		return err_set(e, EINVAL,
			       "cannot boot %s: the file is truncated: its header promises %llu "
			       "bytes, there are %llu",
			       f->path, (unsigned long long)(bz->code_offset + promised),
			       (unsigned long long)f->size);
	bz->code_size = MIN(promised, present);
	if (bz->entry64 && bz->code_size <= 0x200)
		return bad_header(f, "tells of a 64-bit entry beyond the code", e);
	if (h->version < 0x0208 || !h->payload_length)
		return 0;
	if (!range_within(h->payload_offset, h->payload_length, bz->code_size))
		return bad_header(f, "puts the payload outside the file", e);
	bz->payload_offset = bz->code_offset + h->payload_offset;
	bz->payload_size = h->payload_length;
	return 0;
}

int bzimage_parse(struct bzimage *bz, const struct boot_file *f, struct err *e)
{
	struct setup_header h;
	int r;

	*bz = (struct bzimage){
		.alignment = 1, .cmdline_max = OLD_CMDLINE_MAX, .initrd_max = OLD_INITRD_MAX};
	memcpy(&h, f->data + SETUP_HEADER, sizeof(h));
	r = check_version(&h, f, e);
	if (r)
		return r;
	bz->version = h.version;
	bz->header_len = 0x202 + (h.jump >> 8) - SETUP_HEADER;
	if (bz->header_len < offsetof(struct setup_header, initrd_addr_max) ||
	    bz->header_len > SETUP_HEADER_END - SETUP_HEADER ||
	    !range_within(SETUP_HEADER, bz->header_len, f->size))
		return bad_header(f, "has a length that cannot be", e);
	/* 2.03 has initrd_addr_max, the address of the last byte. */
	bz->initrd_max = (uint64_t)h.initrd_addr_max + 1;
	if (h.version >= 0x0205 && h.relocatable_kernel) {
		bz->relocatable = true;
		bz->alignment = h.kernel_alignment;
		if (!bz->alignment || bz->alignment & (bz->alignment - 1))
			return bad_header(f, "has an alignment that is no power of two", e);
	}
	if (h.version >= 0x0206)
		bz->cmdline_max = h.cmdline_size;
	if (h.version >= 0x020a) {
		bz->pref_address = h.pref_address;
		bz->init_size = h.init_size;
	}
	bz->entry64 = h.version >= 0x020c && h.xloadflags & XLF_KERNEL_64;
	return find_code(bz, &h, f, e);
}

static int too_small(const struct boot_job *job, uint64_t start, uint64_t size, struct err *e)
{
	return err_set(e, ENOMEM,
		       "cannot boot %s: it needs %llu MiB of memory from 0x%llx up, the guest has "
		       "RAM to 0x%llx: give the guest more memory",
		       job->kernel->path, (unsigned long long)((size + MIB(1) - 1) >> 20),
		       (unsigned long long)start, (unsigned long long)job->low_end);
}

/* Chooses where the code is loaded, and notes what it occupies until it runs. */
static int place(const struct bzimage *bz, struct boot_job *job, struct err *e)
{
	uint64_t need = MAX((uint64_t)bz->init_size, bz->code_size);
	uint64_t run = bz->pref_address ? bz->pref_address : LAYOUT_KERNEL;

	if (run < LAYOUT_KERNEL)
		return bad_header(job->kernel, "prefers an address below 1 MiB", e);
	if (!checked_align_up(run, bz->alignment, &run) || !range_within(run, need, job->low_end))
		return too_small(job, run, need, e);
	job->load_addr = bz->relocatable ? run : LAYOUT_KERNEL;
	if (!range_within(job->load_addr, bz->code_size, job->low_end))
		return too_small(job, job->load_addr, bz->code_size, e);
	job->kernel_start = MIN(job->load_addr, run);
	job->kernel_end = MAX(run + need, job->load_addr + bz->code_size);
	return 0;
}

int bzimage_load(const struct bzimage *bz, struct boot_job *job, struct boot_entry *out,
		 struct err *e)
{
	int r;

	r = place(bz, job, e);
	if (r)
		return r;
	r = boot_file_to_ram(job->kernel, bz->code_offset, job->mem, job->load_addr, bz->code_size,
			     e);
	if (r)
		return r;
	*out = (struct boot_entry){
		.protocol = BOOT_BZIMAGE,
		.long_mode = bz->entry64,
		.rip = job->load_addr + (bz->entry64 ? 0x200 : 0),
	};
	return 0;
}
