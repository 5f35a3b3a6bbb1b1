/* SPDX-License-Identifier: Apache-2.0 */
/* Tiny kernels made in memory, and the files and guest memory that the boot tests need. */
#ifndef LODGE_TESTS_BOOT_IMAGES_H
#define LODGE_TESTS_BOOT_IMAGES_H

#include <elf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "core/mem.h"
#include "machine/boot/boot.h"
#include "machine/layout.h"

#define TEST_KERNEL_PADDR 0x1000000ULL

/* A temporary file with these bytes; remove it with drop_file. */
static inline char *make_file(const void *data, size_t len)
{
	char *path = strdup("/tmp/lodge-boot-XXXXXX");
	int fd = mkstemp(path);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || close(fd))
		abort();
	return path;
}

static inline void drop_file(char *path)
{
	unlink(path);
	free(path);
}

static inline void make_ram(struct mem *m, uint64_t low, uint64_t high)
{
	if (mem_init(m, 0, NULL) || mem_add_ram(m, 0, low, NULL))
		abort();
	if (high && mem_add_ram(m, LAYOUT_HIGH_RAM, high, NULL))
		abort();
}

/* A bzImage with protocol 2.15: setup_sects 1, then code bytes 0xc0 with this payload in them at
 * +0x400. Change what the test is about in b->data afterwards. */
#define BZ_CODE_OFFSET    1024
#define BZ_PAYLOAD_OFFSET 0x400

static inline void make_bzimage(struct buf *b, const void *payload, size_t payload_len)
{
	size_t code = align_up(BZ_PAYLOAD_OFFSET + payload_len + 0x100, 16);

	buf_add(b, NULL, BZ_CODE_OFFSET + code);
	memset(b->data + BZ_CODE_OFFSET, 0xc0, code);
	if (payload_len)
		memcpy(b->data + BZ_CODE_OFFSET + BZ_PAYLOAD_OFFSET, payload, payload_len);
	b->data[0x1f1] = 1;
	store_le(b->data + 0x1f4, 4, code / 16);
	store_le(b->data + 0x1fe, 2, 0xaa55);
	store_le(b->data + 0x200, 2, 0x6aeb); /* the header ends at 0x26c */
	memcpy(b->data + 0x202, "HdrS", 4);
	store_le(b->data + 0x206, 2, 0x020f);
	b->data[0x211] = 1; /* LOADED_HIGH */
	store_le(b->data + 0x22c, 4, 0x7fffffff);
	store_le(b->data + 0x230, 4, MIB(2));
	b->data[0x234] = 1;
	store_le(b->data + 0x236, 2, 1); /* XLF_KERNEL_64 */
	store_le(b->data + 0x238, 4, 2047);
	if (payload_len) {
		store_le(b->data + 0x248, 4, BZ_PAYLOAD_OFFSET);
		store_le(b->data + 0x24c, 4, payload_len);
	}
	store_le(b->data + 0x258, 8, TEST_KERNEL_PADDR);
	store_le(b->data + 0x260, 4, MIB(8));
}

#define VMLINUX_PVH_ENTRY (TEST_KERNEL_PADDR + 0x150)
#define VMLINUX_TEXT      0x1000 /* offset in the file of the first segment */
#define VMLINUX_DATA      0x3000
#define VMLINUX_NOTE      0x2000

static inline void put_note(uint8_t *at, const char *name, uint32_t type, uint64_t value)
{
	store_le(at, 4, strlen(name) + 1);
	store_le(at + 4, 4, 8);
	store_le(at + 8, 4, type);
	memcpy(at + 12, name, strlen(name) + 1);
	store_le(at + 12 + align_up(strlen(name) + 1, 4), 8, value);
}

/* A 64-bit vmlinux: text 0x2000 bytes of 0x90 at TEST_KERNEL_PADDR, data 0x800 bytes of 0xda with
 * 0x4000 in memory 1 MiB higher, and a note segment in the text. */
static inline void make_vmlinux64(struct buf *b, bool pvh)
{
	Elf64_Ehdr *eh;
	Elf64_Phdr *ph;

	buf_add(b, NULL, VMLINUX_DATA + 0x800 + 0x123);
	memset(b->data + VMLINUX_TEXT, 0x90, 0x2000);
	memset(b->data + VMLINUX_DATA, 0xda, 0x800);
	memset(b->data + VMLINUX_DATA + 0x800, 0xee, 0x123); /* not loaded */
	eh = (Elf64_Ehdr *)(void *)b->data;
	memcpy(eh->e_ident, ELFMAG, SELFMAG);
	eh->e_ident[EI_CLASS] = ELFCLASS64;
	eh->e_ident[EI_DATA] = ELFDATA2LSB;
	eh->e_ident[EI_VERSION] = EV_CURRENT;
	eh->e_type = ET_EXEC;
	eh->e_machine = EM_X86_64;
	eh->e_version = EV_CURRENT;
	eh->e_entry = TEST_KERNEL_PADDR;
	eh->e_phoff = sizeof(*eh);
	eh->e_ehsize = sizeof(*eh);
	eh->e_phentsize = sizeof(*ph);
	eh->e_phnum = 3;
	ph = (Elf64_Phdr *)(void *)(b->data + sizeof(*eh));
	ph[0] = (Elf64_Phdr){.p_type = PT_LOAD,
			     .p_offset = VMLINUX_TEXT,
			     .p_vaddr = 0xffffffff81000000,
			     .p_paddr = TEST_KERNEL_PADDR,
			     .p_filesz = 0x2000,
			     .p_memsz = 0x2000,
			     .p_align = 0x1000};
	ph[1] = (Elf64_Phdr){.p_type = PT_LOAD,
			     .p_offset = VMLINUX_DATA,
			     .p_vaddr = 0xffffffff81100000,
			     .p_paddr = TEST_KERNEL_PADDR + MIB(1),
			     .p_filesz = 0x800,
			     .p_memsz = 0x4000,
			     .p_align = 0x1000};
	ph[2] = (Elf64_Phdr){.p_type = PT_NOTE,
			     .p_offset = VMLINUX_NOTE,
			     .p_paddr = TEST_KERNEL_PADDR + VMLINUX_NOTE - VMLINUX_TEXT,
			     .p_filesz = 0x80};
	memset(b->data + VMLINUX_NOTE, 0, 0x80);
	put_note(b->data + VMLINUX_NOTE, "Linux", 0x100, 0);
	put_note(b->data + VMLINUX_NOTE + 28, "Xen", pvh ? 18 : 6, VMLINUX_PVH_ENTRY);
}

static inline Elf64_Ehdr *ehdr64(struct buf *b)
{
	return (Elf64_Ehdr *)(void *)b->data;
}

static inline Elf64_Phdr *phdr64(struct buf *b, unsigned i)
{
	return (Elf64_Phdr *)(void *)(b->data + sizeof(Elf64_Ehdr)) + i;
}

#endif
