/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compression formats of Linux kernels, whole buffers at a time.
 *
 * Formats are told by their first bytes, as the kernel's own boot.rst says. The
 * output buffer is also the window of references back for LZ4 and zstd, which then
 * need no memory of their own to speak of; xz and LZMA allocate their dictionary,
 * at most 64 MiB, while they run.
 */
#ifndef LODGE_MACHINE_BOOT_DECOMPRESS_H
#define LODGE_MACHINE_BOOT_DECOMPRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct codec;

/* The format of data that starts like this, or NULL. */
const struct codec *codec_find(const uint8_t *src, size_t len);

/* "zstd", "LZ4", ... */
const char *codec_name(const struct codec *c);

/* Whether lodge can decompress it: some formats are only known by name. */
bool codec_supported(const struct codec *c);

/*
 * Decompresses the first len bytes of what src holds into dst: exactly len, or as many as there
 * are. Returns how many; -EINVAL where src is damaged, -ENOMEM where memory is out or src asks
 * for too much. Any thread.
 */
int64_t codec_head(const struct codec *c, const uint8_t *src, size_t src_len, uint8_t *dst,
		   size_t len);

/* Decompresses all of src into dst, which has room for size bytes, but may stop once it has need
 * bytes. Returns as codec_head; -EINVAL too where size is too small. */
int64_t codec_all(const struct codec *c, const uint8_t *src, size_t src_len, uint8_t *dst,
		  size_t size, size_t need);

#endif
