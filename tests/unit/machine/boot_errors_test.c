/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no kernels, or lie: each is refused with one line that says why. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "boot_images.h"

/* Boots by cfg in so much RAM, and returns what was refused, as text; it lives until the next
 * call. An intact boot fails the test. */
static const char *refused(struct boot_config cfg, uint64_t low)
{
	static struct err e;
	struct boot_source *src;
	struct boot_entry entry;
	struct mem m;
	int r;

	err_clear(&e);
	r = boot_source_open(&src, &cfg, &e);
	if (!r) {
		make_ram(&m, low, 0);
		r = boot_load(src, &m, &cfg, &entry, &e);
		boot_source_close(src);
		mem_release(&m);
	}
	assert_true(r < 0);
	assert_int_equal(r, e.code);
	return e.text;
}

static void assert_says(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
}

/* The image is refused, with a line that names the file and has these words. */
static void assert_refused(struct buf *image, enum boot_protocol protocol, uint64_t low,
			   const char *words)
{
	char *path = make_file(image->data, image->len);
	const char *text = refused((struct boot_config){.kernel = path, .protocol = protocol}, low);

	assert_says(text, path);
	assert_says(text, words);
	drop_file(path);
	buf_release(image);
}

static void path_refused(const char *path, const char *words)
{
	const char *text = refused((struct boot_config){.kernel = path}, MIB(64));

	assert_says(text, path);
	assert_says(text, words);
}

static void what_is_no_regular_file(void **state)
{
	char dir[] = "/tmp/lodge-boot-XXXXXX";
	char fifo[64];
	char *empty = make_file("", 0);

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	path_refused(dir, "a directory");
	path_refused(fifo, "a FIFO"); /* and does not wait for a writer */
	path_refused("/dev/zero", "a device");
	path_refused("/nonexistent/vmlinuz", "No such file");
	path_refused(empty, "the file is empty");
	unlink(fifo);
	rmdir(dir);
	drop_file(empty);
}

static void an_initrd_is_checked_like_the_kernel(void **state)
{
	struct buf b = BUF_INIT;
	struct boot_config cfg = {.initrd = "/nonexistent/initrd"};
	char *path;

	(void)state;
	make_bzimage(&b, NULL, 0);
	path = make_file(b.data, b.len);
	buf_release(&b);
	cfg.kernel = path;
	assert_says(refused(cfg, MIB(64)), "cannot open initrd /nonexistent/initrd");
	cfg.initrd = "/dev/null";
	assert_says(refused(cfg, MIB(64)), "a device");
	drop_file(path);
}

static void looks(const char *bytes, size_t len, size_t offset, const char *words)
{
	struct buf b = BUF_INIT;

	buf_add(&b, NULL, 40000);
	memcpy(b.data + offset, bytes, len);
	assert_refused(&b, BOOT_AUTO, MIB(64), words);
}

static void what_is_no_kernel_is_named(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	looks("\x1f\x8b\x08", 3, 0, "gzip-compressed");
	looks("BZh9", 4, 0, "bzip2-compressed");
	looks("\xfd"
	      "7zXZ\0",
	      6, 0, "xz-compressed");
	looks("\x28\xb5\x2f\xfd", 4, 0, "zstd-compressed");
	looks("\x02\x21\x4c\x18", 4, 0, "LZ4-compressed");
	looks("070701", 6, 0, "a cpio archive");
	looks("QFI\xfb", 4, 0, "qcow2");
	looks("MZ", 2, 0, "EFI application without a Linux setup header");
	looks("ARM\x64", 4, 0x38, "Linux kernel for arm64");
	looks("CD001", 5, 0x8001, "CD image");
	looks("\x55\xaa", 2, 0x1fe, "boot sector");
	looks("hello", 5, 0, "not a kernel: give a Linux bzImage");
	buf_add(&b, "x", 1);
	assert_refused(&b, BOOT_AUTO, MIB(64), "not a kernel");
}

/* A bzImage with size bytes of value at offset is refused with these words. */
static void bz_with(size_t offset, unsigned size, uint64_t value, const char *words)
{
	struct buf b = BUF_INIT;

	make_bzimage(&b, "payload", 7);
	store_le(b.data + offset, size, value);
	assert_refused(&b, BOOT_BZIMAGE, MIB(64), words);
}

static void a_setup_header_that_lies(void **state)
{
	(void)state;
	bz_with(0x206, 2, 0x0203, "protocol 2.03 is too old");
	bz_with(0x211, 1, 0, "zImage");
	bz_with(0x1f1, 1, 255, "truncated");
	bz_with(0x1f4, 4, 0xffffffff, "truncated: its header promises");
	bz_with(0x1f4, 4, 0, "syssize 0");
	bz_with(0x1f4, 4, 2, "64-bit entry beyond the code");
	bz_with(0x201, 1, 0xff, "length that cannot be");
	bz_with(0x201, 1, 0, "length that cannot be");
	bz_with(0x230, 4, 0, "no power of two");
	bz_with(0x230, 4, 0x300000, "no power of two");
	bz_with(0x248, 4, 0xfffffff0, "payload outside the file");
	bz_with(0x24c, 4, 0xffffffff, "payload outside the file");
	bz_with(0x258, 8, 0x1000, "below 1 MiB");
	bz_with(0x258, 8, ~0ULL - 0x1000, "give the guest more memory");
	bz_with(0x258, 8, GIB(8), "give the guest more memory");
	bz_with(0x260, 4, 0xffffffff, "needs 4096 MiB of memory");
}

static void a_truncated_bzimage(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	b.len -= 64;
	assert_refused(&b, BOOT_AUTO, MIB(64), "truncated");
	make_bzimage(&b, NULL, 0);
	b.len = BZ_CODE_OFFSET;
	assert_refused(&b, BOOT_AUTO, MIB(64), "truncated");
	make_bzimage(&b, NULL, 0);
	b.len = 0x220; /* in the middle of the setup header */
	assert_refused(&b, BOOT_AUTO, MIB(64), "not a kernel");
}

static void too_little_memory(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	assert_refused(&b, BOOT_BZIMAGE, MIB(24) - 4096, "needs 8 MiB of memory from 0x1000000 up");
	make_bzimage(&b, NULL, 0);
	assert_refused(&b, BOOT_BZIMAGE, KIB(640), "no RAM at 1 MiB");
}

static void an_initrd_too_large(void **state)
{
	struct boot_config cfg = {.protocol = BOOT_BZIMAGE};
	struct buf b = BUF_INIT;
	char *kernel, *initrd;

	(void)state;
	make_bzimage(&b, NULL, 0);
	kernel = make_file(b.data, b.len);
	buf_release(&b);
	initrd = make_file("x", 1);
	assert_int_equal(truncate(initrd, 100 << 20), 0);
	cfg.kernel = kernel;
	cfg.initrd = initrd;
	assert_says(refused(cfg, MIB(64)), "it has 102400 KiB, the guest's memory has room for "
					   "40960 KiB");
	drop_file(kernel);
	drop_file(initrd);
}

static const char *with_cmdline(struct buf *image, size_t len)
{
	char *line = malloc(len + 1);
	char *path = make_file(image->data, image->len);
	struct boot_config cfg = {.kernel = path, .cmdline = line};
	const char *text;

	memset(line, 'a', len);
	line[len] = 0;
	text = refused(cfg, MIB(64));
	drop_file(path);
	free(line);
	buf_release(image);
	return text;
}

static void a_command_line_too_long(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	make_bzimage(&b, NULL, 0);
	assert_says(with_cmdline(&b, 2048), "has 2048 characters, this kernel takes at most 2047");
	make_bzimage(&b, NULL, 0);
	store_le(b.data + 0x238, 4, 100);
	assert_says(with_cmdline(&b, 101), "at most 100");
	make_bzimage(&b, NULL, 0);
	store_le(b.data + 0x238, 4, 0xffffffff);
	assert_says(with_cmdline(&b, LAYOUT_CMDLINE_MAX), "at most 65535");
	make_bzimage(&b, NULL, 0);
	store_le(b.data + 0x206, 2, 0x0205); /* which had no cmdline_size */
	assert_says(with_cmdline(&b, 256), "at most 255");
	make_vmlinux64(&b, true);
	assert_says(with_cmdline(&b, 2048), "at most 2047");
}

static void elf_of_another_kind(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_machine = EM_AARCH64;
	assert_refused(&b, BOOT_AUTO, MIB(64), "an ELF for aarch64");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_machine = 0x1234;
	assert_refused(&b, BOOT_AUTO, MIB(64), "an ELF for machine 4660");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_type = ET_DYN;
	assert_refused(&b, BOOT_AUTO, MIB(64), "a shared library");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_type = ET_REL;
	assert_refused(&b, BOOT_AUTO, MIB(64), "an object file or a kernel module");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_type = ET_CORE;
	assert_refused(&b, BOOT_AUTO, MIB(64), "a core dump");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_ident[EI_DATA] = ELFDATA2MSB;
	assert_refused(&b, BOOT_AUTO, MIB(64), "another architecture");
	make_vmlinux64(&b, true);
	phdr64(&b, 2)->p_type = PT_INTERP;
	assert_refused(&b, BOOT_AUTO, MIB(64), "a program for Linux");
	make_vmlinux64(&b, true);
	assert_refused(&b, BOOT_BZIMAGE, MIB(64), "it is an ELF");
	make_vmlinux64(&b, false);
	assert_refused(&b, BOOT_PVH, MIB(64), "no PVH entry note");
}

/* A vmlinux whose second segment was changed is refused with these words. */
static void segment_with(void (*change)(Elf64_Phdr *), const char *words)
{
	struct buf b = BUF_INIT;

	make_vmlinux64(&b, true);
	change(phdr64(&b, 1));
	assert_refused(&b, BOOT_AUTO, MIB(64), words);
}

static void to_zero(Elf64_Phdr *ph)
{
	ph->p_paddr = LAYOUT_ACPI;
}

static void over_the_end(Elf64_Phdr *ph)
{
	ph->p_paddr = MIB(64) - 0x3000;
}

static void wrapping(Elf64_Phdr *ph)
{
	ph->p_paddr = ~0ULL - 0x1000;
}

static void onto_the_first(Elf64_Phdr *ph)
{
	ph->p_paddr = TEST_KERNEL_PADDR + 0x1000;
}

static void before_onto_the_first(Elf64_Phdr *ph)
{
	ph->p_paddr = TEST_KERNEL_PADDR - 0x3000;
}

static void past_the_file(Elf64_Phdr *ph)
{
	ph->p_offset = ~0ULL - 0x100;
}

static void larger_in_file(Elf64_Phdr *ph)
{
	ph->p_memsz = ph->p_filesz - 1;
}

static void segments_that_cannot_be(void **state)
{
	struct buf b = BUF_INIT;

	(void)state;
	segment_with(to_zero, "below 1 MiB");
	segment_with(over_the_end, "outside the guest's RAM, which ends at 0x4000000");
	segment_with(wrapping, "wraps");
	segment_with(onto_the_first, "two segments overlap at 0x1001000");
	segment_with(before_onto_the_first, "two segments overlap at 0x1000000");
	segment_with(past_the_file, "beyond the end of the file");
	segment_with(larger_in_file, "larger in the file than in memory");

	make_vmlinux64(&b, true);
	ehdr64(&b)->e_phoff = ~0ULL - 10;
	assert_refused(&b, BOOT_AUTO, MIB(64), "program headers");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_phnum = 0xffff;
	assert_refused(&b, BOOT_AUTO, MIB(64), "program headers");
	make_vmlinux64(&b, true);
	ehdr64(&b)->e_phnum = 0;
	assert_refused(&b, BOOT_AUTO, MIB(64), "no segment to load");
	make_vmlinux64(&b, true);
	b.len = VMLINUX_DATA + 0x100;
	assert_refused(&b, BOOT_AUTO, MIB(64), "truncated");
	make_vmlinux64(&b, true);
	b.len = 40;
	assert_refused(&b, BOOT_AUTO, MIB(64), "truncated");
	make_vmlinux64(&b, false);
	ehdr64(&b)->e_entry = 0x42;
	assert_refused(&b, BOOT_AUTO, MIB(64), "entry 0x42 lies in no segment");
}

static void a_file_that_changed_since_it_was_opened(void **state)
{
	struct boot_config cfg = {.protocol = BOOT_BZIMAGE};
	struct err e = ERR_INIT;
	struct buf b = BUF_INIT;
	struct boot_source *src;
	struct boot_entry entry;
	struct mem m;
	char *path;

	(void)state;
	make_bzimage(&b, NULL, 0);
	path = make_file(b.data, b.len);
	cfg.kernel = path;
	assert_int_equal(boot_source_open(&src, &cfg, &e), 0);
	make_ram(&m, MIB(64), 0);
	assert_int_equal(truncate(path, 4096 / 2), 0);
	assert_int_equal(boot_load(src, &m, &cfg, &entry, &e), -EIO);
	assert_says(e.text, "its size changed");
	boot_source_close(src);
	mem_release(&m);
	drop_file(path);
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_regular_file),
		cmocka_unit_test(an_initrd_is_checked_like_the_kernel),
		cmocka_unit_test(what_is_no_kernel_is_named),
		cmocka_unit_test(a_setup_header_that_lies),
		cmocka_unit_test(a_truncated_bzimage),
		cmocka_unit_test(too_little_memory),
		cmocka_unit_test(an_initrd_too_large),
		cmocka_unit_test(a_command_line_too_long),
		cmocka_unit_test(elf_of_another_kind),
		cmocka_unit_test(segments_that_cannot_be),
		cmocka_unit_test(a_file_that_changed_since_it_was_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
