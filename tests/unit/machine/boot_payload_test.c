/* SPDX-License-Identifier: Apache-2.0 */
/* A bzImage's payload in each format, decompressed on the host, is in memory what its ELF file is;
 * damaged ones are refused; unknown ones are left to the guest. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <bzlib.h>
#include <errno.h>
#include <lz4hc.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "boot_images.h"

#define RAM MIB(64)

typedef void (*compressor)(struct buf *out, const struct buf *in);

static void append_size(struct buf *out, const struct buf *in)
{
	buf_add_le(out, in->len, 4);
}

static void by_gzip(struct buf *out, const struct buf *in)
{
	z_stream z = {.next_in = in->data, .avail_in = (uInt)in->len};

	buf_add(out, NULL, in->len + 1000);
	z.next_out = out->data;
	z.avail_out = (uInt)out->len;
	assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	out->len = z.total_out;
	deflateEnd(&z);
}

static void by_bzip2(struct buf *out, const struct buf *in)
{
	unsigned len = (unsigned)in->len + 1000;

	buf_add(out, NULL, len);
	assert_int_equal(BZ2_bzBuffToBuffCompress((char *)out->data, &len, (char *)in->data,
						  (unsigned)in->len, 9, 0, 0),
			 BZ_OK);
	out->len = len;
	append_size(out, in);
}

static void by_lzma_encoder(lzma_stream *z, struct buf *out, const struct buf *in)
{
	buf_add(out, NULL, in->len + 1000);
	z->next_in = in->data;
	z->avail_in = in->len;
	z->next_out = out->data;
	z->avail_out = out->len;
	assert_int_equal(lzma_code(z, LZMA_FINISH), LZMA_STREAM_END);
	out->len = z->total_out;
	lzma_end(z);
	append_size(out, in);
}

static void by_lzma(struct buf *out, const struct buf *in)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	lzma_lzma_preset(&options, 6);
	assert_int_equal(lzma_alone_encoder(&z, &options), LZMA_OK);
	by_lzma_encoder(&z, out, in);
}

/* As the kernel's build does: with the x86 filter, CRC32 and a dictionary of this size. */
static void by_xz_dict(struct buf *out, const struct buf *in, uint32_t dict)
{
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_options_lzma options;
	const lzma_filter filters[] = {
		{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};

	lzma_lzma_preset(&options, 1);
	options.dict_size = dict;
	assert_int_equal(lzma_stream_encoder(&z, filters, LZMA_CHECK_CRC32), LZMA_OK);
	by_lzma_encoder(&z, out, in);
}

static void by_xz(struct buf *out, const struct buf *in)
{
	by_xz_dict(out, in, 1 << 20);
}

static void by_lz4(struct buf *out, const struct buf *in)
{
	static const uint8_t magic[] = {0x02, 0x21, 0x4c, 0x18};

	buf_add(out, magic, 4);
	for (size_t at = 0; at < in->len; at += MIB(8)) {
		size_t n = MIN(in->len - at, MIB(8)), head = out->len;
		int len;

		buf_add(out, NULL, 4 + (size_t)LZ4_compressBound((int)n));
		len = LZ4_compress_HC((char *)in->data + at, (char *)out->data + head + 4, (int)n,
				      (int)(out->len - head - 4), 4);
		assert_true(len > 0);
		store_le(out->data + head, 4, (uint64_t)len);
		out->len = head + 4 + (size_t)len;
	}
	append_size(out, in);
}

static void by_zstd(struct buf *out, const struct buf *in)
{
	size_t len;

	buf_add(out, NULL, ZSTD_compressBound(in->len));
	len = ZSTD_compress(out->data, out->len, in->data, in->len, 3);
	assert_false(ZSTD_isError(len));
	out->len = len;
	append_size(out, in);
}

static void not_at_all(struct buf *out, const struct buf *in)
{
	buf_add(out, "\x89LZO\0\r\n\x1a\n", 9);
	append_size(out, in);
}

/* Loads an image given as a file into m, new RAM of this size, as cfg says. */
static int load_in(uint64_t ram, const struct buf *image, struct boot_config cfg, struct mem *m,
		   struct boot_entry *entry, struct err *e)
{
	char *path = make_file(image->data, image->len);
	struct boot_source *src;
	int r;

	cfg.kernel = path;
	make_ram(m, ram, 0);
	r = boot_source_open(&src, &cfg, e);
	if (!r) {
		r = boot_load(src, m, &cfg, entry, e);
		boot_source_close(src);
	}
	drop_file(path);
	return r;
}

static int load(const struct buf *image, struct boot_config cfg, struct mem *m,
		struct boot_entry *entry, struct err *e)
{
	return load_in(RAM, image, cfg, m, entry, e);
}

/* The ELF, booted from its file and from a bzImage with it, must give the same memory. */
static void assert_same_memory_in(uint64_t ram, struct buf *elf, compressor compress)
{
	struct buf packed = BUF_INIT, bz = BUF_INIT;
	struct boot_entry entries[2];
	struct err e = ERR_INIT;
	struct mem m[2];

	compress(&packed, elf);
	make_bzimage(&bz, packed.data, packed.len);
	if (load_in(ram, elf, (struct boot_config){.protocol = BOOT_PVH}, &m[0], &entries[0], &e) ||
	    load_in(ram, &bz, (struct boot_config){.protocol = BOOT_PVH}, &m[1], &entries[1], &e))
		fail_msg("%s", e.text);
	assert_int_equal(entries[1].protocol, BOOT_PVH);
	assert_int_equal(entries[0].rip, entries[1].rip);
	assert_memory_equal(mem_ptr(&m[0], 0, ram), mem_ptr(&m[1], 0, ram), ram);
	mem_release(&m[0]);
	mem_release(&m[1]);
	buf_release(&packed);
	buf_release(&bz);
}

static void assert_same_memory(struct buf *elf, compressor compress)
{
	assert_same_memory_in(RAM, elf, compress);
}

static const compressor all[] = {by_gzip, by_bzip2, by_lzma, by_xz, by_lz4, by_zstd};

static void every_format_gives_the_elf(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		struct buf elf = BUF_INIT;

		make_vmlinux64(&elf, true);
		assert_same_memory(&elf, all[i]);
		buf_release(&elf);
	}
}

/* Segments that share pages, do not fall on pages, or are loaded twice from the same bytes. */
static void segments_need_not_fall_on_pages(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 7; i++) {
		struct buf elf = BUF_INIT;

		make_vmlinux64(&elf, true);
		if (i == 0)
			phdr64(&elf, 1)->p_paddr += 0x123;
		if (i == 1)
			phdr64(&elf, 0)->p_filesz = phdr64(&elf, 0)->p_memsz = 0x1801;
		if (i == 2) {
			phdr64(&elf, 0)->p_offset += 0x10;
			phdr64(&elf, 0)->p_paddr += 0x10;
			phdr64(&elf, 0)->p_filesz = phdr64(&elf, 0)->p_memsz = 0x1ff0;
		}
		if (i == 3) /* data right after text, in one page with it */
			*phdr64(&elf, 1) = (Elf64_Phdr){.p_type = PT_LOAD,
							.p_offset = VMLINUX_TEXT + 0x1ff0,
							.p_paddr = TEST_KERNEL_PADDR + 0x1ff0,
							.p_filesz = 0x800,
							.p_memsz = 0x1000};
		if (i == 3)
			phdr64(&elf, 0)->p_filesz = phdr64(&elf, 0)->p_memsz = 0x1ff0;
		if (i == 4) {
			phdr64(&elf, 1)->p_offset = VMLINUX_TEXT;
			phdr64(&elf, 1)->p_filesz = 0x2000;
		}
		if (i ==
		    5) { /* the later in the file is the lower in memory, and has to move far */
			phdr64(&elf, 1)->p_paddr = TEST_KERNEL_PADDR - MIB(10);
			phdr64(&elf, 1)->p_filesz = phdr64(&elf, 1)->p_memsz = 0x800;
		}
		if (i == 6) { /* the first one moves over where the second one was decompressed */
			phdr64(&elf, 0)->p_paddr = TEST_KERNEL_PADDR - 0x1000;
			phdr64(&elf, 1)->p_paddr = TEST_KERNEL_PADDR + 0x2000;
			phdr64(&elf, 2)->p_paddr -= 0x1000;
		}
		if (i >= 5) /* keep the entry in the text */
			phdr64(&elf, 0)->p_memsz = 0x2000;
		assert_same_memory(&elf, by_lz4);
		assert_same_memory(&elf, by_xz);
		buf_release(&elf);
	}
}

/* More than one block of LZ4; and RAM that has no room for the payload beside the kernel, or for
 * anything but the kernel. */
static void a_large_kernel(void **state)
{
	struct buf elf = BUF_INIT;

	(void)state;
	make_vmlinux64(&elf, true);
	phdr64(&elf, 1)->p_offset = elf.len;
	phdr64(&elf, 1)->p_filesz = MIB(30);
	phdr64(&elf, 1)->p_memsz = MIB(30) + 0x1234;
	phdr64(&elf, 1)->p_paddr = TEST_KERNEL_PADDR + MIB(1) + elf.len % 0x1000;
	buf_add(&elf, NULL, MIB(30));
	for (size_t i = elf.len - MIB(30); i < elf.len; i++)
		elf.data[i] = (uint8_t)(i >> 9 ^ i * 7);
	assert_same_memory_in(MIB(128), &elf, by_lz4);
	assert_same_memory_in(MIB(49), &elf, by_lz4);
	assert_same_memory_in(MIB(47) + 0x8000, &elf, by_lz4);
	assert_same_memory_in(MIB(47) + 0x8000, &elf, by_zstd);
	assert_same_memory_in(MIB(64), &elf, by_zstd);
	assert_same_memory_in(MIB(49), &elf, by_gzip);
	buf_release(&elf);
}

static void without_pvh_the_elf_entry_gets_the_setup_header(void **state)
{
	struct buf elf = BUF_INIT, packed = BUF_INIT, bz = BUF_INIT;
	struct boot_entry entry;
	struct err e = ERR_INIT;
	struct mem m;

	(void)state;
	make_vmlinux64(&elf, false);
	by_zstd(&packed, &elf);
	make_bzimage(&bz, packed.data, packed.len);
	if (load(&bz, (struct boot_config){.protocol = BOOT_AUTO, .unpack = true}, &m, &entry, &e))
		fail_msg("%s", e.text);
	assert_int_equal(entry.protocol, BOOT_ELF);
	assert_int_equal(entry.rip, TEST_KERNEL_PADDR);
	assert_int_equal(load_le(mem_ptr(&m, LAYOUT_ZERO_PAGE + 0x206, 2), 2), 0x020f);
	assert_int_equal(load_le(mem_ptr(&m, LAYOUT_ZERO_PAGE + 0x258, 8), 8), TEST_KERNEL_PADDR);
	mem_release(&m);
	buf_release(&elf);
	buf_release(&packed);
	buf_release(&bz);
}

static void assert_payload(const void *payload, size_t len, enum boot_protocol protocol, int code,
			   const char *words)
{
	struct buf bz = BUF_INIT;
	struct boot_entry entry;
	struct err e = ERR_INIT;
	struct mem m;

	make_bzimage(&bz, payload, len);
	assert_int_equal(load(&bz, (struct boot_config){.protocol = protocol, .unpack = true}, &m,
			      &entry, &e),
			 code);
	if (code && !strstr(e.text, words))
		fail_msg("\"%s\" does not say \"%s\"", e.text, words);
	if (!code)
		assert_int_equal(entry.protocol, BOOT_BZIMAGE);
	mem_release(&m);
	buf_release(&bz);
}

static void what_the_host_cannot_decompress_the_guest_does(void **state)
{
	struct buf elf = BUF_INIT, packed = BUF_INIT;
	compressor not_elf = by_gzip;

	(void)state;
	make_vmlinux64(&elf, true);
	not_at_all(&packed, &elf);
	assert_payload(packed.data, packed.len, BOOT_AUTO, 0, NULL);
	assert_payload("????????", 8, BOOT_AUTO, 0, NULL);
	memset(elf.data, 0, 4);
	packed.len = 0;
	not_elf(&packed, &elf);
	assert_payload(packed.data, packed.len, BOOT_AUTO, 0, NULL);
	buf_release(&elf);
	buf_release(&packed);
}

/* xz with a dictionary of 128 MiB would take as much memory of the host. */
static void a_huge_dictionary_is_left_to_the_guest(void **state)
{
	struct buf elf = BUF_INIT, packed = BUF_INIT;

	(void)state;
	make_vmlinux64(&elf, true);
	by_xz_dict(&packed, &elf, 128u << 20);
	assert_payload(packed.data, packed.len, BOOT_AUTO, 0, NULL);
	assert_payload(packed.data, packed.len, BOOT_PVH, -ENOTSUP, "too much memory");
	buf_release(&elf);
	buf_release(&packed);
}

static void asked_for_in_vain(void **state)
{
	(void)state;
	assert_payload("\x89LZO....", 8, BOOT_PVH, -ENOTSUP,
		       "it is LZO: use boot protocol bzimage");
	assert_payload("????????", 8, BOOT_ELF, -ENOTSUP, "its format is not known");
	assert_payload(NULL, 0, BOOT_PVH, -ENOTSUP, "tells of no payload");
}

static void a_damaged_payload(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		struct buf elf = BUF_INIT, packed = BUF_INIT;
		size_t keep;

		make_vmlinux64(&elf, true);
		for (size_t at = VMLINUX_DATA; at < VMLINUX_DATA + 0x800; at++)
			elf.data[at] = (uint8_t)(at * at >> 3); /* not all in the first bytes */
		all[i](&packed, &elf);
		/* Half of the stream is missing; the appended length stays. */
		keep = packed.len / 2;
		memcpy(packed.data + keep, packed.data + packed.len - 4, 4);
		assert_payload(packed.data, keep + 4, BOOT_AUTO, -EINVAL, "the file is damaged");
		buf_release(&packed);
		buf_release(&elf);
	}
}

static void a_length_that_lies(void **state)
{
	struct buf elf = BUF_INIT, packed = BUF_INIT;

	(void)state;
	make_vmlinux64(&elf, true);
	by_zstd(&packed, &elf);
	store_le(packed.data + packed.len - 4, 4, 0xffffffff);
	assert_payload(packed.data, packed.len, BOOT_AUTO, -EINVAL, "larger than 1 GiB");
	store_le(packed.data + packed.len - 4, 4, VMLINUX_DATA);
	assert_payload(packed.data, packed.len, BOOT_AUTO, -EINVAL, "beyond the end of the file");
	store_le(packed.data + packed.len - 4, 4, elf.len - 1);
	assert_payload(packed.data, packed.len, BOOT_AUTO, -EINVAL, "cannot be decompressed");
	buf_release(&elf);
	buf_release(&packed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_format_gives_the_elf),
		cmocka_unit_test(segments_need_not_fall_on_pages),
		cmocka_unit_test(a_large_kernel),
		cmocka_unit_test(without_pvh_the_elf_entry_gets_the_setup_header),
		cmocka_unit_test(what_the_host_cannot_decompress_the_guest_does),
		cmocka_unit_test(a_huge_dictionary_is_left_to_the_guest),
		cmocka_unit_test(asked_for_in_vain),
		cmocka_unit_test(a_damaged_payload),
		cmocka_unit_test(a_length_that_lies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
