/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The choice of the boot protocol, and the order of the steps.
 *
 *	kernel file      protocol   entered at
 *	bzImage          BZIMAGE    its 64-bit entry, or 32-bit where it has no other
 *	vmlinux (ELF)    PVH        its PVH note
 *	vmlinux (ELF)    ELF        its entry address
 *	bzImage's ELF    PVH, ELF   the same; the host decompresses it
 *
 * The kernel is placed first, as its addresses are given; then the initrd where
 * there is room; the structures of the protocol have fixed places below 640 KiB.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "machine/boot/boot_int.h"
#include "machine/layout.h"

enum image_kind { IMAGE_BZIMAGE, IMAGE_ELF };

struct boot_source {
	struct boot_file kernel;
	struct boot_file initrd;
	bool has_initrd;
	enum image_kind kind;
	struct bzimage bz; /* IMAGE_BZIMAGE */
	struct elf elf;    /* IMAGE_ELF */
};

static int not_a_kernel(const struct boot_file *f, struct err *e)
{
	const char *is = boot_file_looks_like(f);

	if (is)
		return err_set(e, EINVAL, "cannot boot %s: it is not a kernel but %s", f->path, is);
	return err_set(e, EINVAL,
		       "cannot boot %s: it is not a kernel: give a Linux bzImage (vmlinuz) or an "
		       "ELF kernel (vmlinux)",
		       f->path);
}

static int recognize(struct boot_source *src, enum boot_protocol protocol, struct err *e)
{
	const struct boot_file *f = &src->kernel;

	if (bzimage_probe(f)) {
		int r = bzimage_parse(&src->bz, f, e);

		src->kind = IMAGE_BZIMAGE;
		if (!r && (protocol == BOOT_PVH || protocol == BOOT_ELF))
			r = payload_check(&src->bz, f, e);
		return r;
	}
	if (!elf_probe(f))
		return not_a_kernel(f, e);
	src->kind = IMAGE_ELF;
	if (protocol == BOOT_BZIMAGE)
		return err_set(e, EINVAL,
			       "cannot boot %s as bzImage: it is an ELF: use boot protocol pvh, "
			       "elf or auto",
			       f->path);
	return elf_parse(&src->elf, f->data, f->size, f->size, f->path, e);
}

static struct boot_source *source_new(const struct boot_config *cfg, struct err *e)
{
	struct boot_source *src = calloc(1, sizeof(*src));

	if (!src) {
		err_set(e, ENOMEM, "cannot open kernel %s: out of memory", cfg->kernel);
		return NULL;
	}
	src->kernel.fd = -1;
	src->initrd.fd = -1;
	return src;
}

/* The kernel is open: the rest. Closes src on failure. */
static int source_finish(struct boot_source *src, const struct boot_config *cfg, struct err *e)
{
	int r = recognize(src, cfg->protocol, e);

	if (!r && cfg->initrd) {
		r = boot_file_open(&src->initrd, "initrd", cfg->initrd, false, e);
		src->has_initrd = !r;
	}
	if (r)
		boot_source_close(src);
	return r;
}

int boot_source_open(struct boot_source **out, const struct boot_config *cfg, struct err *e)
{
	struct boot_source *src = source_new(cfg, e);
	int r;

	if (!src)
		return -ENOMEM;
	r = boot_file_open(&src->kernel, "kernel", cfg->kernel, true, e);
	if (r) {
		boot_source_close(src);
		return r;
	}
	r = source_finish(src, cfg, e);
	if (r)
		return r;
	boot_file_forget(&src->kernel);
	*out = src;
	return 0;
}

int boot_source_open_image(struct boot_source **out, const void *image, uint64_t size,
			   const struct boot_config *cfg, struct err *e)
{
	struct boot_source *src = source_new(cfg, e);
	int r;

	if (!src)
		return -ENOMEM;
	src->kernel.data = image;
	src->kernel.size = size;
	src->kernel.path = strdup(cfg->kernel);
	if (!src->kernel.path) {
		boot_source_close(src);
		return err_set(e, ENOMEM, "cannot open kernel %s: out of memory", cfg->kernel);
	}
	r = source_finish(src, cfg, e);
	if (!r)
		*out = src;
	return r;
}

void boot_source_close(struct boot_source *src)
{
	if (!src)
		return;
	boot_file_close(&src->kernel);
	boot_file_close(&src->initrd);
	free(src);
}

/* RAM from 0 up in one piece, as far as the 32-bit structures may point. */
static int find_low_ram(struct boot_job *job, struct err *e)
{
	const struct mem_region *r = mem_find(job->mem, LAYOUT_KERNEL);

	if (!r || r->gpa)
		return err_set(e, ENOMEM,
			       "cannot boot %s: the guest has no RAM at 1 MiB: give it more memory",
			       job->kernel->path);
	job->low_end = MIN(r->size, LAYOUT_LOW_RAM_END);
	return 0;
}

static int load_bzimage(struct boot_source *src, struct boot_job *job, struct boot_entry *out,
			struct err *e)
{
	enum boot_protocol protocol = job->cfg->protocol;
	struct err why = ERR_INIT;
	int r;

	job->initrd_max = src->bz.initrd_max;
	job->cmdline_max = src->bz.cmdline_max;
	job->setup_header = src->kernel.data + 0x1f1;
	job->setup_header_len = src->bz.header_len;
	if (protocol == BOOT_BZIMAGE || (protocol == BOOT_AUTO && !job->cfg->unpack))
		return bzimage_load(&src->bz, job, out, e);
	r = payload_load(&src->bz, job, out, &why);
	if (r == -ENOTSUP && protocol == BOOT_AUTO)
		return bzimage_load(&src->bz, job, out, e);
	return r ? err_set(e, r, "%s", why.text) : 0;
}

static int load_kernel(struct boot_source *src, struct boot_job *job, struct boot_entry *out,
		       struct err *e)
{
	if (src->kind == IMAGE_ELF)
		return elf_load(&src->elf, job, out, e);
	return load_bzimage(src, job, out, e);
}

int boot_load(struct boot_source *src, struct mem *m, const struct boot_config *cfg,
	      struct boot_entry *out, struct err *e)
{
	struct boot_job job = {
		.mem = m,
		.cfg = cfg,
		.kernel = &src->kernel,
		.initrd = src->has_initrd ? &src->initrd : NULL,
		.initrd_max = LAYOUT_LOW_RAM_END,
	};
	int r;

	r = boot_file_recheck(&src->kernel, e);
	if (!r && job.initrd)
		r = boot_file_recheck(job.initrd, e);
	if (!r)
		r = find_low_ram(&job, e);
	if (!r)
		r = load_kernel(src, &job, out, e);
	if (!r)
		r = boot_put_cmdline(&job, e);
	if (!r)
		r = boot_put_initrd(&job, e);
	if (r)
		goto out;
	if (out->protocol == BOOT_PVH) {
		boot_put_pvh_info(&job);
		out->params = LAYOUT_PVH_INFO;
	} else {
		boot_put_params(&job);
		out->params = LAYOUT_ZERO_PAGE;
	}
	boot_put_cpu_tables(&job, out);
out:
	boot_file_forget(&src->kernel);
	return r;
}
