/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compression formats of Linux kernels, whole buffers at a time.
 *
 * Formats are told by their first bytes, as the kernel's own boot.rst says. The
 * output buffer is also the window of references back for LZ4 and zstd, which then
 * need no memory of their own to speak of; xz and LZMA take their dictionary, at
 * most 64 MiB, from what the caller lends, or else allocate it while they run.
 *
 * All formats but gzip are decoded by shared libraries that are loaded for it and
 * may be missing.
 */
#ifndef LODGE_MACHINE_BOOT_DECOMPRESS_H
#define LODGE_MACHINE_BOOT_DECOMPRESS_H

#include <stddef.h>
#include <stdint.h>

struct codec;

/* The format of data that starts like this, or NULL. */
const struct codec *codec_find(const uint8_t *src, size_t len);

/* "zstd", "LZ4", ... */
const char *codec_name(const struct codec *c);

/* The library that decodes it, with its Debian package: "libzstd.so.1 (package libzstd1)"; NULL if
 * none is needed, or none is known. */
const char *codec_library(const struct codec *c);

/* A format's decoder, its library loaded. */
struct decoder {
	const struct codec *codec;
	void *library;
	void *calls[8]; /* the library's functions, in the order of its list */
	uint8_t *spare; /* the memory that the caller lent */
	size_t spare_size, used;
};

/* 0; -ENOTSUP where the format is known only by name; -ENOENT where its library cannot be loaded.
 * Any thread. */
int decoder_open(struct decoder *d, const struct codec *c);
void decoder_close(struct decoder *d);

/* Lends it memory until decoder_close; what it writes there is of no use to anybody. */
void decoder_lend(struct decoder *d, uint8_t *memory, size_t size);

/*
 * Decompresses the first len bytes of what src holds into dst: exactly len, or as many as there
 * are. Returns how many; -EINVAL where src is damaged, -ENOMEM where memory is out or src asks
 * for too much.
 */
int64_t decoder_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		     size_t len);

/* Decompresses all of src into dst, which has room for size bytes, but may stop once it has need
 * bytes. Returns as decoder_head; -EINVAL too where size is too small. */
int64_t decoder_all(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		    size_t size, size_t need);

#endif
