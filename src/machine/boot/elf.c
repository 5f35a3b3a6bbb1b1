/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ELF format of kernels (vmlinux), 32-bit and 64-bit, whether read from a file
 * or decompressed from a bzImage.
 *
 * A kernel's segments are loaded to their physical addresses, from 1 MiB up, and
 * its entry is either told by a note, XEN_ELFNOTE_PHYS32_ENTRY for the PVH
 * protocol, or by the ELF header. RAM was zero before, so what a segment has beyond
 * the file's bytes needs no clearing.
 *
 * Sources: System V ABI chapters 4 and 5; Xen public/elfnote.h.
 */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/boot/boot_int.h"
#include "machine/layout.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18

/* Where Linux on i386 ends its direct mapping, less its own reserve: boot.rst, initrd_addr_max. */
#define INITRD_MAX_32 0x38000000ULL

/* Linux on x86 takes 2,048 bytes (COMMAND_LINE_SIZE) and drops the rest without a word. */
#define LINUX_CMDLINE_MAX 2047

bool elf_probe(const struct boot_file *f)
{
	return f->size >= EI_NIDENT && !memcmp(f->data, ELFMAG, SELFMAG);
}

static int bad_elf(const char *name, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "cannot boot %s: %s", name, why);
}

static const char *machine_name(unsigned machine)
{
	static const struct {
		uint16_t number;
		const char *name;
	} machines[] = {
		{EM_AARCH64, "aarch64"}, {EM_ARM, "arm"},         {EM_RISCV, "RISC-V"},
		{EM_PPC64, "ppc64"},     {EM_PPC, "powerpc"},     {EM_S390, "s390x"},
		{EM_MIPS, "mips"},       {EM_SPARCV9, "sparc64"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(machines); i++)
		if (machines[i].number == machine)
			return machines[i].name;
	return NULL;
}

static int check_machine(unsigned machine, const char *name, struct err *e)
{
	const char *arch = machine_name(machine);

	if (machine == EM_X86_64 || machine == EM_386)
		return 0;
	if (arch)
		return err_set(e, EINVAL,
			       "cannot boot %s: it is an ELF for %s: give a kernel for x86", name,
			       arch);
	return err_set(e, EINVAL,
		       "cannot boot %s: it is an ELF for machine %u, not x86: give a kernel for "
		       "x86",
		       name, machine);
}

static int check_type(unsigned type, const char *name, struct err *e)
{
	switch (type) {
	case ET_EXEC:
		return 0;
	case ET_DYN:
		return bad_elf(name,
			       "it is a shared library or a position-independent program: give a "
			       "kernel (vmlinux)",
			       e);
	case ET_REL:
		return bad_elf(name,
			       "it is an object file or a kernel module: give a kernel (vmlinux)",
			       e);
	case ET_CORE:
		return bad_elf(name, "it is a core dump: give a kernel (vmlinux)", e);
	default:
		return bad_elf(name, "its ELF type is unknown: give a kernel (vmlinux)", e);
	}
}

/* The part of the ELF header that is used, in the form common to both classes. */
struct header {
	uint16_t type, machine, phnum, phentsize;
	uint64_t phoff;
};

static void read_header(struct elf *elf, struct header *h, const uint8_t *head)
{
	if (elf->is64) {
		Elf64_Ehdr eh;

		memcpy(&eh, head, sizeof(eh));
		*h = (struct header){eh.e_type, eh.e_machine, eh.e_phnum, eh.e_phentsize,
				     eh.e_phoff};
		elf->entry = eh.e_entry;
	} else {
		Elf32_Ehdr eh;

		memcpy(&eh, head, sizeof(eh));
		*h = (struct header){eh.e_type, eh.e_machine, eh.e_phnum, eh.e_phentsize,
				     eh.e_phoff};
		elf->entry = eh.e_entry;
	}
}

static uint32_t read_segment(const struct elf *elf, struct elf_segment *s, const uint8_t *at)
{
	if (elf->is64) {
		Elf64_Phdr ph;

		memcpy(&ph, at, sizeof(ph));
		*s = (struct elf_segment){ph.p_offset, ph.p_filesz, ph.p_paddr, ph.p_vaddr,
					  ph.p_memsz};
		return ph.p_type;
	} else {
		Elf32_Phdr ph;

		memcpy(&ph, at, sizeof(ph));
		*s = (struct elf_segment){ph.p_offset, ph.p_filesz, ph.p_paddr, ph.p_vaddr,
					  ph.p_memsz};
		return ph.p_type;
	}
}

/* Adds a PT_LOAD, keeping the segments sorted by physical address. */
static int add_load(struct elf *elf, const struct elf_segment *s, const char *name, struct err *e)
{
	unsigned i = elf->load_count;
	uint64_t end;

	if (!s->memsz)
		return 0;
	if (i == ELF_SEGMENTS_MAX)
		return bad_elf(name, "it has too many segments: give a kernel (vmlinux)", e);
	if (s->filesz > s->memsz)
		return bad_elf(name,
			       "a segment is larger in the file than in memory: the file is "
			       "damaged",
			       e);
	if (!checked_add(s->paddr, s->memsz, &end))
		return bad_elf(name,
			       "a segment wraps around the end of memory: the file is "
			       "damaged",
			       e);
	for (; i && elf->load[i - 1].paddr > s->paddr; i--)
		elf->load[i] = elf->load[i - 1];
	elf->load[i] = *s;
	elf->load_count++;
	elf->file_end = MAX(elf->file_end, s->offset + s->filesz);
	return 0;
}

static int add_segment(struct elf *elf, const uint8_t *at, uint64_t size, const char *name,
		       struct err *e)
{
	struct elf_segment s;
	uint32_t type = read_segment(elf, &s, at);

	if (type == PT_INTERP)
		return bad_elf(name, "it is a program for Linux, not a kernel: give a vmlinux", e);
	if (type != PT_LOAD && type != PT_NOTE)
		return 0;
	if (!range_within(s.offset, s.filesz, size))
		return err_set(e, EINVAL,
			       "cannot boot %s: a segment lies beyond the end of the file: the "
			       "file is truncated",
			       name);
	if (type == PT_LOAD)
		return add_load(elf, &s, name, e);
	if (elf->note_count < ELF_SEGMENTS_MAX)
		elf->note[elf->note_count++] = s;
	return 0;
}

static int check_overlap(const struct elf *elf, const char *name, struct err *e)
{
	for (unsigned i = 1; i < elf->load_count; i++)
		if (elf->load[i].paddr - elf->load[i - 1].paddr < elf->load[i - 1].memsz)
			return err_set(e, EINVAL,
				       "cannot boot %s: two segments overlap at 0x%llx: the file "
				       "is damaged",
				       name, (unsigned long long)elf->load[i].paddr);
	if (!elf->load_count)
		return bad_elf(name, "it has no segment to load: give a kernel (vmlinux)", e);
	return 0;
}

int elf_parse(struct elf *elf, const uint8_t *head, uint64_t len, uint64_t size, const char *name,
	      struct err *e)
{
	struct header h;
	uint64_t entsize;
	int r;

	*elf = (struct elf){0};
	if (len < sizeof(Elf64_Ehdr))
		return bad_elf(name, "the file is truncated: it ends in the ELF header", e);
	if (head[EI_DATA] != ELFDATA2LSB ||
	    (head[EI_CLASS] != ELFCLASS64 && head[EI_CLASS] != ELFCLASS32))
		return bad_elf(name, "it is an ELF for another architecture: give one for x86", e);
	elf->is64 = head[EI_CLASS] == ELFCLASS64;
	read_header(elf, &h, head);
	r = check_machine(h.machine, name, e);
	if (!r)
		r = check_type(h.type, name, e);
	if (r)
		return r;
	entsize = elf->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (h.phentsize != entsize || !range_within(h.phoff, h.phnum * entsize, size))
		return bad_elf(name,
			       "its program headers lie beyond the end of the file: the file "
			       "is truncated or damaged",
			       e);
	if (!range_within(h.phoff, h.phnum * entsize, len))
		return err_set(e, E2BIG, "cannot boot %s: its program headers do not come first",
			       name);
	for (unsigned i = 0; i < h.phnum; i++) {
		r = add_segment(elf, head + h.phoff + i * entsize, size, name, e);
		if (r)
			return r;
	}
	return check_overlap(elf, name, e);
}

int elf_place(const struct elf *elf, struct boot_job *job, struct err *e)
{
	const struct elf_segment *last = &elf->load[elf->load_count - 1];

	for (unsigned i = 0; i < elf->load_count; i++) {
		const struct elf_segment *s = &elf->load[i];

		if (s->paddr < LAYOUT_KERNEL)
			return err_set(e, EINVAL,
				       "cannot boot %s: a segment lies at 0x%llx, below 1 MiB, "
				       "where the boot structures are: link it higher",
				       job->kernel->path, (unsigned long long)s->paddr);
		if (!range_within(s->paddr, s->memsz, job->low_end))
			return err_set(e, ENOMEM,
				       "cannot boot %s: a segment at 0x%llx to 0x%llx lies outside "
				       "the guest's RAM, which ends at 0x%llx: give the guest more "
				       "memory",
				       job->kernel->path, (unsigned long long)s->paddr,
				       (unsigned long long)(s->paddr + s->memsz),
				       (unsigned long long)job->low_end);
	}
	job->kernel_start = elf->load[0].paddr;
	job->kernel_end = last->paddr + last->memsz;
	if (!elf->is64)
		job->initrd_max = MIN(job->initrd_max, INITRD_MAX_32);
	return 0;
}

void elf_read_notes(const uint8_t *p, uint64_t len, struct elf_notes *notes)
{
	Elf64_Nhdr nh; /* the same in both classes */

	while (len >= sizeof(nh)) {
		uint64_t name, desc, all;

		memcpy(&nh, p, sizeof(nh));
		name = align_up(nh.n_namesz, 4);
		desc = align_up(nh.n_descsz, 4);
		all = sizeof(nh) + name + desc; /* three 32-bit numbers: no overflow */
		if (all > len)
			return;
		if (nh.n_namesz == 4 && !memcmp(p + sizeof(nh), "Xen", 4) &&
		    nh.n_type == XEN_ELFNOTE_PHYS32_ENTRY &&
		    (nh.n_descsz == 4 || nh.n_descsz == 8)) {
			notes->has_pvh = true;
			notes->pvh_entry = load_le(p + sizeof(nh) + name, nh.n_descsz);
		}
		if (nh.n_namesz == 6 && !memcmp(p + sizeof(nh), "Linux", 6))
			notes->is_linux = true;
		p += all;
		len -= all;
	}
}

static bool lies_in_segment(const struct elf *elf, uint64_t paddr)
{
	for (unsigned i = 0; i < elf->load_count; i++)
		if (paddr >= elf->load[i].paddr && paddr - elf->load[i].paddr < elf->load[i].memsz)
			return true;
	return false;
}

/* The ELF entry as a physical address: some kernels tell the virtual one. */
static uint64_t entry_paddr(const struct elf *elf)
{
	if (lies_in_segment(elf, elf->entry))
		return elf->entry;
	for (unsigned i = 0; i < elf->load_count; i++)
		if (elf->entry >= elf->load[i].vaddr &&
		    elf->entry - elf->load[i].vaddr < elf->load[i].memsz)
			return elf->entry - elf->load[i].vaddr + elf->load[i].paddr;
	return elf->entry;
}

int elf_choose_entry(const struct elf *elf, const struct elf_notes *notes, struct boot_job *job,
		     struct boot_entry *out, struct err *e)
{
	enum boot_protocol protocol = job->cfg->protocol;

	if (protocol == BOOT_AUTO)
		protocol = notes->has_pvh ? BOOT_PVH : BOOT_ELF;
	if (protocol == BOOT_PVH && !notes->has_pvh)
		return err_set(e, EINVAL,
			       "cannot boot %s by PVH: it has no PVH entry note (CONFIG_PVH): use "
			       "another boot protocol",
			       job->kernel->path);
	*out = (struct boot_entry){.protocol = protocol};
	if (protocol == BOOT_PVH) {
		out->rip = notes->pvh_entry;
	} else {
		out->rip = entry_paddr(elf);
		out->long_mode = elf->is64;
	}
	if (!lies_in_segment(elf, out->rip))
		return err_set(e, EINVAL,
			       "cannot boot %s: its entry 0x%llx lies in no segment: the file is "
			       "damaged",
			       job->kernel->path, (unsigned long long)out->rip);
	if (!job->setup_header)
		job->cmdline_max = notes->is_linux ? LINUX_CMDLINE_MAX : LAYOUT_CMDLINE_MAX - 1;
	return 0;
}

int elf_load(const struct elf *elf, struct boot_job *job, struct boot_entry *out, struct err *e)
{
	struct elf_notes notes = {0};
	int r;

	r = elf_place(elf, job, e);
	if (r)
		return r;
	for (unsigned i = 0; i < elf->note_count; i++)
		elf_read_notes(job->kernel->data + elf->note[i].offset, elf->note[i].filesz,
			       &notes);
	r = elf_choose_entry(elf, &notes, job, out, e);
	if (r)
		return r;
	boot_file_forget(job->kernel); /* only what is mapped now; reading takes no memory */
	for (unsigned i = 0; i < elf->load_count; i++) {
		const struct elf_segment *s = &elf->load[i];

		if (!s->filesz)
			continue;
		r = boot_file_to_ram(job->kernel, s->offset, job->mem, s->paddr, s->filesz, e);
		if (r)
			return r;
	}
	return 0;
}
