/* SPDX-License-Identifier: Apache-2.0 */
/* What each boot protocol finds in memory and in registers, and where things are placed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <asm/bootparam.h>

#include "boot_images.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "machine/boot/e820.h"

struct booted {
	struct mem mem;
	struct boot_source *src;
	struct boot_entry entry;
	struct vcpu_state bsp;
};

/* Boots this image with so much low RAM; fails the test if that fails. */
static void boot(struct booted *t, struct buf *image, struct boot_config cfg, uint64_t low)
{
	struct err e = ERR_INIT;
	char *path = make_file(image->data, image->len);

	cfg.kernel = path;
	make_ram(&t->mem, low, 0);
	if (boot_source_open(&t->src, &cfg, &e) || boot_load(t->src, &t->mem, &cfg, &t->entry, &e))
		fail_msg("%s", e.text);
	vcpu_state_reset(&t->bsp, 0);
	boot_set_vcpu(&t->entry, &t->bsp);
	drop_file(path);
	buf_release(image);
}

static void unboot(struct booted *t)
{
	boot_source_close(t->src);
	mem_release(&t->mem);
}

static uint64_t peek(const struct booted *t, uint64_t gpa, unsigned size)
{
	const void *p = mem_ptr(&t->mem, gpa, size);

	assert_non_null(p);
	return load_le(p, size);
}

static void assert_all(const struct booted *t, uint64_t gpa, uint64_t len, uint8_t byte)
{
	const uint8_t *p = mem_ptr(&t->mem, gpa, len);

	assert_non_null(p);
	for (uint64_t i = 0; i < len; i++)
		if (p[i] != byte)
			fail_msg("0x%llx holds 0x%02x, not 0x%02x", (unsigned long long)(gpa + i),
				 p[i], byte);
}

static const char *cmdline_at(const struct booted *t, uint64_t gpa)
{
	return mem_ptr(&t->mem, gpa, 2048);
}

/* A selector must name a descriptor in the GDT in memory that gives the register's contents. */
static void assert_in_gdt(const struct booted *t, const struct segment *s)
{
	struct segment want = segment_from_descriptor(s->selector,
						      peek(t, t->bsp.gdt.base + s->selector, 8));

	assert_true(s->selector + 7u <= t->bsp.gdt.limit);
	assert_int_equal(s->attr, want.attr);
	assert_int_equal(s->limit, want.limit);
	assert_int_equal(s->base, want.base);
}

static void assert_flat_segments(const struct booted *t, uint32_t code_attr)
{
	static const unsigned data[] = {SEG_DS, SEG_ES, SEG_SS};

	assert_int_equal(t->bsp.seg[SEG_CS].selector, 0x10);
	assert_int_equal(t->bsp.seg[SEG_CS].attr, code_attr);
	assert_int_equal(t->bsp.seg[SEG_CS].base, 0);
	assert_int_equal(t->bsp.seg[SEG_CS].limit, 0xffffffff);
	assert_in_gdt(t, &t->bsp.seg[SEG_CS]);
	for (unsigned i = 0; i < ARRAY_LEN(data); i++) {
		assert_int_equal(t->bsp.seg[data[i]].selector, 0x18);
		assert_int_equal(t->bsp.seg[data[i]].attr, 0xc093);
		assert_int_equal(t->bsp.seg[data[i]].base, 0);
		assert_int_equal(t->bsp.seg[data[i]].limit, 0xffffffff);
		assert_in_gdt(t, &t->bsp.seg[data[i]]);
	}
	assert_int_equal(t->bsp.tr.attr, 0x8b);
	assert_int_equal(t->bsp.tr.base, 0);
	assert_int_equal(t->bsp.tr.limit, 0x67);
	assert_in_gdt(t, &t->bsp.tr);
	assert_int_equal(t->bsp.rflags, RFLAGS_FIXED);
}

static void assert_identity_mapped(const struct booted *t, uint64_t va)
{
	uint64_t entry = peek(t, t->bsp.cr3 + (va >> 39 & 511) * 8, 8);

	assert_int_equal(entry & 3, 3);
	entry = peek(t, (entry & PTE_ADDR) + (va >> 30 & 511) * 8, 8);
	assert_int_equal(entry & 3, 3);
	entry = peek(t, (entry & PTE_ADDR) + (va >> 21 & 511) * 8, 8);
	assert_int_equal(entry, align_down(va, MIB(2)) | PTE_PS | PTE_RW | PTE_P);
}

static void bzimage_by_its_64_bit_entry(void **state)
{
	struct booted t;
	struct buf b = BUF_INIT;
	struct boot_config cfg = {
		.cmdline = "console=ttyS0 quiet", .protocol = BOOT_BZIMAGE, .rsdp = LAYOUT_ACPI};
	const struct boot_params *p;

	(void)state;
	make_bzimage(&b, NULL, 0);
	boot(&t, &b, cfg, MIB(64));
	assert_int_equal(t.entry.protocol, BOOT_BZIMAGE);
	assert_int_equal(t.bsp.rip, TEST_KERNEL_PADDR + 0x200);
	assert_int_equal(t.bsp.gpr[GPR_RSI], LAYOUT_ZERO_PAGE);
	assert_int_equal(t.bsp.cr0, CR0_PE | CR0_ET | CR0_PG);
	assert_int_equal(t.bsp.cr4, CR4_PAE);
	assert_int_equal(t.bsp.efer, EFER_LME | EFER_LMA);
	assert_flat_segments(&t, 0xa09b);
	assert_identity_mapped(&t, 0);
	assert_identity_mapped(&t, TEST_KERNEL_PADDR);
	assert_identity_mapped(&t, GIB(4) - 1);
	assert_all(&t, TEST_KERNEL_PADDR, 0x400, 0xc0);
	p = mem_ptr(&t.mem, LAYOUT_ZERO_PAGE, sizeof(*p));
	assert_int_equal(p->hdr.type_of_loader, 0xff);
	assert_int_equal(p->hdr.version, 0x020f);
	assert_int_equal(p->hdr.code32_start, TEST_KERNEL_PADDR);
	assert_int_equal(p->hdr.pref_address, TEST_KERNEL_PADDR);
	assert_int_equal(p->hdr.ramdisk_image, 0);
	assert_int_equal(p->hdr.ramdisk_size, 0);
	assert_int_equal(p->acpi_rsdp_addr, LAYOUT_ACPI);
	assert_int_equal(p->sentinel, 0);
	assert_int_equal(p->screen_info.orig_video_isVGA, 0);
	assert_string_equal(cmdline_at(&t, p->hdr.cmd_line_ptr), "console=ttyS0 quiet");
	unboot(&t);
}

static void bzimage_of_32_bits(void **state)
{
	struct booted t;
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	store_le(b.data + 0x236, 2, 0);
	boot(&t, &b, (struct boot_config){.protocol = BOOT_BZIMAGE}, MIB(64));
	assert_int_equal(t.bsp.rip, TEST_KERNEL_PADDR);
	assert_int_equal(t.bsp.gpr[GPR_RSI], LAYOUT_ZERO_PAGE);
	assert_int_equal(t.bsp.gpr[GPR_RBP], 0);
	assert_int_equal(t.bsp.gpr[GPR_RDI], 0);
	assert_int_equal(t.bsp.gpr[GPR_RBX], 0);
	assert_int_equal(t.bsp.cr0, CR0_PE | CR0_ET);
	assert_int_equal(t.bsp.cr4, 0);
	assert_int_equal(t.bsp.efer, 0);
	assert_flat_segments(&t, 0xc09b);
	unboot(&t);
}

static void bzimage_that_cannot_move_is_loaded_at_1_mib(void **state)
{
	struct booted t;
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	b.data[0x234] = 0;
	boot(&t, &b, (struct boot_config){.protocol = BOOT_BZIMAGE}, MIB(64));
	assert_int_equal(t.bsp.rip, MIB(1) + 0x200);
	assert_all(&t, MIB(1), 0x400, 0xc0);
	unboot(&t);
}

static void assert_e820(const struct boot_params *p, unsigned i, uint64_t start, uint64_t end,
			uint32_t type)
{
	assert_true(i < p->e820_entries);
	assert_int_equal(p->e820_table[i].addr, start);
	assert_int_equal(p->e820_table[i].addr + p->e820_table[i].size, end);
	assert_int_equal(p->e820_table[i].type, type);
}

static void the_memory_map_follows_the_ram(void **state)
{
	struct e820_entry map[E820_MAX];
	struct booted t;
	struct buf b = BUF_INIT;
	const struct boot_params *p;
	struct mem m;
	unsigned n;

	(void)state;
	make_bzimage(&b, NULL, 0);
	boot(&t, &b, (struct boot_config){.protocol = BOOT_BZIMAGE}, MIB(64));
	p = mem_ptr(&t.mem, LAYOUT_ZERO_PAGE, sizeof(*p));
	assert_int_equal(p->e820_entries, 5);
	assert_e820(p, 0, 0, 0x9fc00, E820_RAM);
	assert_e820(p, 1, 0x9fc00, LAYOUT_ACPI, E820_RESERVED);
	assert_e820(p, 2, LAYOUT_ACPI, 0x100000, E820_ACPI);
	assert_e820(p, 3, 0x100000, MIB(64), E820_RAM);
	assert_e820(p, 4, LAYOUT_ECAM, LAYOUT_ECAM + LAYOUT_ECAM_SIZE, E820_RESERVED);
	unboot(&t);

	make_ram(&m, LAYOUT_LOW_RAM_END, MIB(16));
	n = e820_build(&m, map);
	assert_int_equal(n, 6);
	assert_int_equal(map[3].addr + map[3].size, LAYOUT_LOW_RAM_END);
	assert_int_equal(map[4].type, E820_RESERVED);
	assert_int_equal(map[5].addr, LAYOUT_HIGH_RAM);
	assert_int_equal(map[5].size, MIB(16));
	assert_int_equal(map[5].type, E820_RAM);
	mem_release(&m);
}

/* hvm_start_info, by the offsets of Xen's start_info.h. */
static void vmlinux_by_pvh(void **state)
{
	uint8_t initrd[5000];
	struct booted t;
	struct buf b = BUF_INIT;
	struct boot_config cfg = {.cmdline = "panic=1", .rsdp = LAYOUT_ACPI};
	uint64_t info, modules, map;
	char *path;

	(void)state;
	memset(initrd, 0x1d, sizeof(initrd));
	path = make_file(initrd, sizeof(initrd));
	cfg.initrd = path;
	make_vmlinux64(&b, true);
	boot(&t, &b, cfg, MIB(64));
	drop_file(path);
	assert_int_equal(t.entry.protocol, BOOT_PVH);
	assert_int_equal(t.bsp.rip, VMLINUX_PVH_ENTRY);
	assert_int_equal(t.bsp.cr0, CR0_PE | CR0_ET);
	assert_int_equal(t.bsp.cr4, 0);
	assert_int_equal(t.bsp.efer, 0);
	assert_flat_segments(&t, 0xc09b);
	assert_all(&t, TEST_KERNEL_PADDR, 0x1000, 0x90);
	assert_all(&t, TEST_KERNEL_PADDR + MIB(1), 0x800, 0xda);
	assert_all(&t, TEST_KERNEL_PADDR + MIB(1) + 0x800, 0x4000 - 0x800, 0);
	info = t.bsp.gpr[GPR_RBX];
	assert_int_equal(peek(&t, info, 4), 0x336ec578);
	assert_int_equal(peek(&t, info + 4, 4), 1);
	assert_int_equal(peek(&t, info + 8, 4), 0);
	assert_int_equal(peek(&t, info + 12, 4), 1);
	assert_string_equal(cmdline_at(&t, peek(&t, info + 24, 8)), "panic=1");
	assert_int_equal(peek(&t, info + 32, 8), LAYOUT_ACPI);
	modules = peek(&t, info + 16, 8);
	assert_int_equal(peek(&t, modules + 8, 8), sizeof(initrd));
	assert_all(&t, peek(&t, modules, 8), sizeof(initrd), 0x1d);
	map = peek(&t, info + 40, 8);
	assert_int_equal(peek(&t, info + 48, 4), 5);
	assert_int_equal(peek(&t, map, 8), 0);
	assert_int_equal(peek(&t, map + 8, 8), 0x9fc00);
	assert_int_equal(peek(&t, map + 16, 4), 1);
	assert_int_equal(peek(&t, map + 24, 8), 0x9fc00);
	assert_int_equal(peek(&t, map + 24 + 16, 4), 2);
	unboot(&t);
}

static void vmlinux_without_pvh_by_its_entry(void **state)
{
	struct booted t;
	struct buf b = BUF_INIT;
	const struct boot_params *p;

	(void)state;
	make_vmlinux64(&b, false);
	boot(&t, &b, (struct boot_config){.cmdline = "ro"}, MIB(64));
	assert_int_equal(t.entry.protocol, BOOT_ELF);
	assert_int_equal(t.bsp.rip, TEST_KERNEL_PADDR);
	assert_int_equal(t.bsp.gpr[GPR_RSI], LAYOUT_ZERO_PAGE);
	assert_int_equal(t.bsp.efer, EFER_LME | EFER_LMA);
	assert_flat_segments(&t, 0xa09b);
	p = mem_ptr(&t.mem, LAYOUT_ZERO_PAGE, sizeof(*p));
	assert_int_equal(p->hdr.header, 0x53726448);
	assert_int_equal(p->hdr.boot_flag, 0xaa55);
	assert_int_equal(p->hdr.type_of_loader, 0xff);
	assert_int_equal(p->e820_entries, 5);
	assert_string_equal(cmdline_at(&t, p->hdr.cmd_line_ptr), "ro");
	unboot(&t);
}

static void a_virtual_elf_entry_is_translated(void **state)
{
	struct booted t;
	struct buf b = BUF_INIT;

	(void)state;
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_entry = 0xffffffff81000040;
	boot(&t, &b, (struct boot_config){.protocol = BOOT_ELF}, MIB(64));
	assert_int_equal(t.bsp.rip, TEST_KERNEL_PADDR + 0x40);
	unboot(&t);
}

static uint64_t initrd_gpa_of(struct buf *image, size_t len, uint64_t low)
{
	uint8_t *data = calloc(1, len);
	struct boot_config cfg = {.protocol = BOOT_BZIMAGE};
	const struct boot_params *p;
	struct booted t;
	uint64_t gpa;
	char *path;

	memset(data, 0x77, len);
	path = make_file(data, len);
	free(data);
	cfg.initrd = path;
	boot(&t, image, cfg, low);
	drop_file(path);
	p = mem_ptr(&t.mem, LAYOUT_ZERO_PAGE, sizeof(*p));
	assert_int_equal(p->hdr.ramdisk_size, len);
	gpa = p->hdr.ramdisk_image;
	assert_int_equal(gpa % GUEST_PAGE_SIZE, 0);
	assert_all(&t, gpa, len, 0x77);
	unboot(&t);
	return gpa;
}

static void the_initrd_lies_as_high_as_it_may(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	assert_int_equal(initrd_gpa_of(&b, 10000, MIB(64)), MIB(64) - 3 * GUEST_PAGE_SIZE);
	make_bzimage(&b, NULL, 0);
	store_le(b.data + 0x22c, 4, 0x2ffffff);
	assert_int_equal(initrd_gpa_of(&b, 4096, MIB(64)), MIB(48) - GUEST_PAGE_SIZE);
	/* No room above a kernel that takes 16 to 24 MiB: below it. */
	make_bzimage(&b, NULL, 0);
	assert_int_equal(initrd_gpa_of(&b, 4097, MIB(24) + 4096), MIB(16) - 2 * GUEST_PAGE_SIZE);
}

static void a_second_load_after_a_reset_gives_the_same(void **state)
{
	struct boot_config cfg = {.cmdline = "again"};
	struct boot_entry entry;
	struct booted t;
	struct buf b = BUF_INIT;
	void *first;

	(void)state;
	make_vmlinux64(&b, true);
	boot(&t, &b, cfg, MIB(32));
	first = malloc(MIB(32));
	memcpy(first, mem_ptr(&t.mem, 0, MIB(32)), MIB(32));
	assert_int_equal(mem_reset(&t.mem, NULL), 0);
	assert_int_equal(boot_load(t.src, &t.mem, &cfg, &entry, NULL), 0);
	assert_memory_equal(first, mem_ptr(&t.mem, 0, MIB(32)), MIB(32));
	assert_memory_equal(&entry, &t.entry, sizeof(entry));
	free(first);
	unboot(&t);
}

static void note_write(void *opaque, uint64_t gpa, uint64_t len)
{
	uint8_t *seen = opaque;

	memset(seen + gpa, 1, len);
}

/* A software engine drops its translations by these reports: every byte written must be told. */
static void every_write_to_ram_is_reported(void **state)
{
	struct boot_config cfg = {.cmdline = "x"};
	struct boot_source *src;
	struct boot_entry entry;
	struct buf b = BUF_INIT;
	const uint8_t *ram;
	uint8_t *seen = calloc(1, MIB(32));
	struct mem m;
	char *path;

	(void)state;
	make_vmlinux64(&b, false);
	path = make_file(b.data, b.len);
	buf_release(&b);
	cfg.kernel = path;
	make_ram(&m, MIB(32), 0);
	m.observer = (struct mem_observer){note_write, seen};
	assert_int_equal(boot_source_open(&src, &cfg, NULL), 0);
	assert_int_equal(boot_load(src, &m, &cfg, &entry, NULL), 0);
	ram = mem_ptr(&m, 0, MIB(32));
	for (uint64_t i = 0; i < MIB(32); i++)
		if (ram[i] && !seen[i])
			fail_msg("the write to 0x%llx was not reported", (unsigned long long)i);
	boot_source_close(src);
	mem_release(&m);
	drop_file(path);
	free(seen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bzimage_by_its_64_bit_entry),
		cmocka_unit_test(bzimage_of_32_bits),
		cmocka_unit_test(bzimage_that_cannot_move_is_loaded_at_1_mib),
		cmocka_unit_test(the_memory_map_follows_the_ram),
		cmocka_unit_test(vmlinux_by_pvh),
		cmocka_unit_test(vmlinux_without_pvh_by_its_entry),
		cmocka_unit_test(a_virtual_elf_entry_is_translated),
		cmocka_unit_test(the_initrd_lies_as_high_as_it_may),
		cmocka_unit_test(a_second_load_after_a_reset_gives_the_same),
		cmocka_unit_test(every_write_to_ram_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
