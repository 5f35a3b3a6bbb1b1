/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of boot/ share. Everything read from a file is hostile: offsets
 * and lengths from it are 64-bit here and checked by base/checked.h.
 */
#ifndef LODGE_MACHINE_BOOT_INT_H
#define LODGE_MACHINE_BOOT_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/boot/boot.h"

/* A file in use. data is its mapping, which only the decompressors and the checks of headers read;
 * whole pieces are copied straight into guest RAM. In tests fd is -1 and data the test's. */
struct boot_file {
	char *path; /* as the user named it; for messages */
	int fd;
	const uint8_t *data; /* NULL if the file was not mapped */
	uint64_t size;
};

/* Opens a regular, non-empty file for reading; what ("kernel", "initrd") is for messages. */
int boot_file_open(struct boot_file *f, const char *what, const char *path, bool map,
		   struct err *e);
void boot_file_close(struct boot_file *f);

/* Whether the file is still as long as it was when it was opened; else -EIO with e set. */
int boot_file_recheck(const struct boot_file *f, struct err *e);

/* Drops the pages of the mapping that were read: they stay in the page cache, but are no longer
 * this process's. What is read later comes back. */
void boot_file_forget(const struct boot_file *f);

/* Copies [offset, offset + len) of the file, which the caller checked to be in it, to RAM at gpa,
 * which the caller checked to be RAM of one region. */
int boot_file_to_ram(const struct boot_file *f, uint64_t offset, struct mem *m, uint64_t gpa,
		     uint64_t len, struct err *e);

/* Says what a file looks like that is no kernel: "a gzip-compressed file". NULL: no idea. */
const char *boot_file_looks_like(const struct boot_file *f);

/* Like boot_source_open, but the kernel is these bytes in memory, which must outlive the source;
 * cfg->kernel is its name in messages. For tests. */
int boot_source_open_image(struct boot_source **out, const void *image, uint64_t size,
			   const struct boot_config *cfg, struct err *e);

/* One boot under way: what the kernel's loader finds out and what the protocol then writes. */
struct boot_job {
	struct mem *mem;
	const struct boot_config *cfg;
	const struct boot_file *kernel;
	const struct boot_file *initrd; /* NULL: none */
	uint64_t low_end;               /* where the RAM that starts at 0 ends, at most 3 GiB */
	uint64_t kernel_start;          /* what the kernel occupies until it reads its memory */
	uint64_t kernel_end;            /* map; nothing else may lie here */
	uint64_t initrd_max;            /* the initrd must lie below */
	uint32_t cmdline_max;           /* characters the kernel takes, without the NUL */
	uint64_t load_addr;             /* of a bzImage's protected-mode code; else 0 */
	uint64_t initrd_gpa;
	const uint8_t *setup_header; /* setup_header_len bytes from 0x1f1 of a bzImage, or NULL */
	uint32_t setup_header_len;
};

/* bzImage (bzimage.c). */

struct bzimage {
	bool entry64;            /* XLF_KERNEL_64 */
	bool relocatable;        /* may lie at any multiple of alignment */
	uint16_t version;        /* of the boot protocol */
	uint32_t alignment;      /* a power of two */
	uint64_t pref_address;   /* 0: none */
	uint32_t init_size;      /* 0: unknown */
	uint32_t cmdline_max;    /* characters */
	uint64_t initrd_max;     /* one past the highest address for the initrd */
	uint64_t code_offset;    /* of the protected-mode code, in the file */
	uint64_t code_size;      /* of that code; lies in the file */
	uint64_t payload_offset; /* of the compressed ELF, in the file; lies in the file */
	uint64_t payload_size;   /* 0: none is told */
	uint32_t header_len;     /* of the setup header, from 0x1f1 */
};

/* Whether the file carries the boot sector and setup header of a Linux kernel. */
bool bzimage_probe(const struct boot_file *f);

/* Reads and checks the setup header. 0, or -EINVAL with e set. */
int bzimage_parse(struct bzimage *bz, const struct boot_file *f, struct err *e);

/* Puts the protected-mode code into RAM and fills in *out but for params. */
int bzimage_load(const struct bzimage *bz, struct boot_job *job, struct boot_entry *out,
		 struct err *e);

/* ELF (elf.c). */

#define ELF_SEGMENTS_MAX 16

struct elf_segment {
	uint64_t offset; /* in the file */
	uint64_t filesz;
	uint64_t paddr;
	uint64_t vaddr;
	uint64_t memsz;
};

struct elf {
	bool is64;
	uint64_t entry;
	unsigned load_count; /* PT_LOAD with memory, sorted by paddr */
	struct elf_segment load[ELF_SEGMENTS_MAX];
	unsigned note_count;
	struct elf_segment note[ELF_SEGMENTS_MAX];
	uint64_t file_end; /* end of the last byte of the file that is loaded */
};

/* What the notes say (elf_notes). */
struct elf_notes {
	bool has_pvh;
	uint64_t pvh_entry; /* XEN_ELFNOTE_PHYS32_ENTRY */
	bool is_linux;
};

bool elf_probe(const struct boot_file *f);

/*
 * Reads the ELF header and program headers from the first len bytes of an image that is size
 * bytes long, and checks them: what they load lies in the image and does not overlap. name is for
 * messages. 0, -EINVAL with e set, or -E2BIG with e set where the headers lie beyond len.
 */
int elf_parse(struct elf *elf, const uint8_t *head, uint64_t len, uint64_t size, const char *name,
	      struct err *e);

/* Checks that all segments lie in the job's low RAM from 1 MiB up, and sets kernel_start and
 * kernel_end. */
int elf_place(const struct elf *elf, struct boot_job *job, struct err *e);

/* Reads the notes in the len bytes at data, one note segment, adding to what *notes holds. */
void elf_read_notes(const uint8_t *data, uint64_t len, struct elf_notes *notes);

/* Chooses between the PVH entry and the ELF entry by the job's protocol, checks that the entry
 * lies in a segment, and fills in *out but for params. */
int elf_choose_entry(const struct elf *elf, const struct elf_notes *notes, struct boot_job *job,
		     struct boot_entry *out, struct err *e);

/* Loads an ELF file: place, read segments, choose the entry. */
int elf_load(const struct elf *elf, struct boot_job *job, struct boot_entry *out, struct err *e);

/* The compressed ELF in a bzImage (payload.c). */

/* Whether the host can decompress it, by its first bytes. 0, or -ENOTSUP with e set. */
int payload_check(const struct bzimage *bz, const struct boot_file *f, struct err *e);

/* Decompresses it into RAM and chooses its entry, as elf_load does for a file. -ENOTSUP with e set
 * where its form is not known here, though the guest may know it; RAM is then as it was. */
int payload_load(const struct bzimage *bz, struct boot_job *job, struct boot_entry *out,
		 struct err *e);

/* The structures of the protocols (params.c, pvh.c, entry.c). Each writes to its place of
 * machine/layout.h, which is RAM that nothing else uses. */

/* Places and reads the initrd; sets initrd_gpa. */
int boot_put_initrd(struct boot_job *job, struct err *e);

/* Writes the command line, or says how long it may be. */
int boot_put_cmdline(struct boot_job *job, struct err *e);

/* Linux boot_params ("zero page"). */
void boot_put_params(struct boot_job *job);

/* Xen hvm_start_info version 1 with its tables. */
void boot_put_pvh_info(struct boot_job *job);

/* GDT and, for 64-bit entries, page tables that map the first 4 GiB to themselves. */
void boot_put_cpu_tables(struct boot_job *job, const struct boot_entry *entry);

#endif
