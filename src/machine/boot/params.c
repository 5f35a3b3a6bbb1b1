/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every Linux kernel is handed: initrd, command line and boot_params.
 *
 * The initrd goes as high as it may in low RAM, out of the way of a kernel that
 * grows or, by its own address randomization, moves. boot_params says no video
 * mode at all, which Linux takes for "no VGA".
 *
 * Sources: Linux Documentation/arch/x86/boot.rst and zero-page.rst.
 */
#include <asm/bootparam.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/boot/boot_int.h"
#include "machine/boot/e820.h"
#include "machine/layout.h"

#define LOADER_UNDEFINED 0xff
#define VIDEO_NORMAL     0xffff

static int initrd_too_big(const struct boot_job *job, uint64_t room, struct err *e)
{
	return err_set(e, ENOMEM,
		       "cannot load initrd %s: it has %llu KiB, the guest's memory has room for "
		       "%llu KiB: give the guest more memory",
		       job->initrd->path, (unsigned long long)((job->initrd->size + 1023) >> 10),
		       (unsigned long long)(room >> 10));
}

int boot_put_initrd(struct boot_job *job, struct err *e)
{
	uint64_t top = align_down(MIN(job->low_end, job->initrd_max), GUEST_PAGE_SIZE);
	uint64_t bottom, gpa;
	int r;

	if (!job->initrd)
		return 0;
	/* Above the kernel, or else between 1 MiB and the kernel. */
	bottom = align_up(job->kernel_end, GUEST_PAGE_SIZE);
	if (top < bottom || top - bottom < job->initrd->size) {
		uint64_t above = top > bottom ? top - bottom : 0;

		top = MIN(top, align_down(job->kernel_start, GUEST_PAGE_SIZE));
		bottom = LAYOUT_KERNEL;
		if (top < bottom || top - bottom < job->initrd->size)
			return initrd_too_big(job, MAX(above, top > bottom ? top - bottom : 0), e);
	}
	gpa = align_down(top - job->initrd->size, GUEST_PAGE_SIZE);
	assert(gpa >= bottom);
	r = boot_file_to_ram(job->initrd, 0, job->mem, gpa, job->initrd->size, e);
	if (r)
		return r;
	job->initrd_gpa = gpa;
	return 0;
}

int boot_put_cmdline(struct boot_job *job, struct err *e)
{
	const char *line = job->cfg->cmdline ? job->cfg->cmdline : "";
	uint32_t max = MIN(job->cmdline_max, LAYOUT_CMDLINE_MAX - 1);
	size_t len = strlen(line);
	bool ok;

	if (len > max)
		return err_set(e, EINVAL,
			       "cannot boot %s: the command line has %zu characters, this kernel "
			       "takes at most %u: shorten it",
			       job->kernel->path, len, max);
	ok = mem_write(job->mem, LAYOUT_CMDLINE, line, len + 1);
	assert(ok);
	(void)ok;
	return 0;
}

static void put_header(const struct boot_job *job, struct boot_params *p)
{
	struct setup_header *h = &p->hdr;

	if (job->setup_header) {
		memcpy(h, job->setup_header, job->setup_header_len);
	} else {
		/* An ELF has no setup header; its kernel is of our day. */
		h->boot_flag = 0xaa55;
		memcpy(&h->header, "HdrS", 4);
		h->version = 0x020c;
		h->loadflags = LOADED_HIGH;
	}
	h->vid_mode = VIDEO_NORMAL;
	h->type_of_loader = LOADER_UNDEFINED;
	h->code32_start = (uint32_t)job->load_addr;
	h->cmd_line_ptr = LAYOUT_CMDLINE;
	h->setup_data = 0;
	h->ramdisk_image = (uint32_t)job->initrd_gpa;
	h->ramdisk_size = job->initrd ? (uint32_t)job->initrd->size : 0;
}

void boot_put_params(struct boot_job *job)
{
	struct boot_params *p = mem_ptr_rw(job->mem, LAYOUT_ZERO_PAGE, sizeof(*p));
	struct e820_entry map[E820_MAX];

	assert(p && E820_MAX <= E820_MAX_ENTRIES_ZEROPAGE);
	put_header(job, p);
	p->acpi_rsdp_addr = job->cfg->rsdp;
	p->e820_entries = (uint8_t)e820_build(job->mem, map);
	for (unsigned i = 0; i < p->e820_entries; i++)
		p->e820_table[i] = (struct boot_e820_entry){map[i].addr, map[i].size, map[i].type};
	mem_written(job->mem, LAYOUT_ZERO_PAGE, sizeof(*p));
}
