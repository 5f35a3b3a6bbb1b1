/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel's payload may be followed by bytes that are no part of the compressed
 * stream (its length, which the kernel's build appends), so all decoders here stop
 * at the end of the stream and ignore what follows.
 *
 * Sources: Linux Documentation/arch/x86/boot.rst, payload_offset (magic numbers);
 * lz4 doc/lz4_Frame_format.md, "Legacy frame".
 */
#include "machine/boot/decompress.h"

#include <bzlib.h>
#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bits.h"

/* xz -9 has a dictionary of 64 MiB; the kernel's build uses 32. */
#define LZMA_MEMORY_MAX MIB(66)

/* A block of the legacy LZ4 frame, uncompressed. */
#define LZ4_LEGACY_BLOCK MIB(8)

struct codec {
	const char *name;
	uint8_t magic_len;
	const char *magic;
	int64_t (*head)(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len);
	/* NULL: head does for all */
	int64_t (*all)(const uint8_t *src, size_t src_len, uint8_t *dst, size_t size);
};

static int64_t gzip_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)src,
		.avail_in = (uInt)src_len,
		.next_out = dst,
		.avail_out = (uInt)len,
	};
	int64_t done;
	int r;

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* the largest window; a gzip header */
		return -ENOMEM;
	r = inflate(&z, Z_SYNC_FLUSH);
	done = z.next_out - dst;
	inflateEnd(&z);
	if (r == Z_STREAM_END || (r == Z_OK && !z.avail_out))
		return done;
	/* With no room left, Z_BUF_ERROR only says that the stream goes on. */
	if (r == Z_BUF_ERROR && !z.avail_out)
		return done;
	return r == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
}

static int64_t bzip2_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	bz_stream z = {
		.next_in = (char *)(uintptr_t)src,
		.avail_in = (unsigned)src_len,
		.next_out = (char *)dst,
		.avail_out = (unsigned)len,
	};
	int64_t done;
	int r;

	if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -ENOMEM;
	r = BZ2_bzDecompress(&z);
	done = (uint8_t *)z.next_out - dst;
	BZ2_bzDecompressEnd(&z);
	if (r == BZ_STREAM_END || (r == BZ_OK && !z.avail_out))
		return done;
	return r == BZ_MEM_ERROR ? -ENOMEM : -EINVAL;
}

static int64_t lzma_run(lzma_stream *z, lzma_ret r, const uint8_t *src, size_t src_len,
			uint8_t *dst, size_t len)
{
	if (r != LZMA_OK)
		return -ENOMEM;
	z->next_in = src;
	z->avail_in = src_len;
	z->next_out = dst;
	z->avail_out = len;
	r = lzma_code(z, LZMA_RUN);
	lzma_end(z);
	if (r == LZMA_STREAM_END || (r == LZMA_OK && !z->avail_out))
		return z->next_out - dst;
	return r == LZMA_MEM_ERROR || r == LZMA_MEMLIMIT_ERROR ? -ENOMEM : -EINVAL;
}

static int64_t xz_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	lzma_stream z = LZMA_STREAM_INIT;

	return lzma_run(&z, lzma_stream_decoder(&z, LZMA_MEMORY_MAX, 0), src, src_len, dst, len);
}

static int64_t lzma_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	lzma_stream z = LZMA_STREAM_INIT;

	return lzma_run(&z, lzma_alone_decoder(&z, LZMA_MEMORY_MAX), src, src_len, dst, len);
}

/*
 * The legacy frame: a magic number, then blocks that were each 8 MiB but for the
 * last, each after its compressed length. Where the length is more than such a
 * block can have, or too little is left, the frame has ended.
 */
static int64_t lz4_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	size_t at = 4, done = 0;

	while (done < len && src_len - at > 4) {
		size_t block = load_le(src + at, 4);
		size_t want = MIN(len - done, LZ4_LEGACY_BLOCK);
		int n;

		at += 4;
		if (!block || block > (size_t)LZ4_compressBound(LZ4_LEGACY_BLOCK))
			break;
		if (block > src_len - at)
			return -EINVAL;
		/* Whole blocks go the faster way. */
		if (want == LZ4_LEGACY_BLOCK)
			n = LZ4_decompress_safe((const char *)src + at, (char *)dst + done,
						(int)block, (int)want);
		else
			n = LZ4_decompress_safe_partial((const char *)src + at, (char *)dst + done,
							(int)block, (int)want, (int)want);
		if (n < 0)
			return -EINVAL;
		done += (size_t)n;
		at += block;
		if ((size_t)n < LZ4_LEGACY_BLOCK)
			break;
	}
	return (int64_t)done;
}

static int64_t zstd_head(const uint8_t *src, size_t src_len, uint8_t *dst, size_t len)
{
	ZSTD_inBuffer in = {src, src_len, 0};
	ZSTD_outBuffer out = {dst, len, 0};
	ZSTD_DCtx *z = ZSTD_createDCtx();
	size_t r = 1;

	if (!z)
		return -ENOMEM;
	while (r && !ZSTD_isError(r) && out.pos < out.size && in.pos < in.size)
		r = ZSTD_decompressStream(z, &out, &in);
	ZSTD_freeDCtx(z);
	if (ZSTD_isError(r) || (r && out.pos < out.size))
		return -EINVAL;
	return (int64_t)out.pos;
}

/* In one call zstd uses dst as its window, which is up to 128 MiB in the kernel's build. */
static int64_t zstd_all(const uint8_t *src, size_t src_len, uint8_t *dst, size_t size)
{
	size_t frame = ZSTD_findFrameCompressedSize(src, src_len);
	ZSTD_DCtx *z;
	size_t r;

	if (ZSTD_isError(frame))
		return -EINVAL;
	z = ZSTD_createDCtx();
	if (!z)
		return -ENOMEM;
	r = ZSTD_decompressDCtx(z, dst, size, src, frame);
	ZSTD_freeDCtx(z);
	return ZSTD_isError(r) ? -EINVAL : (int64_t)r;
}

/* LZO has no library here that is in use: the guest decompresses it. */
static const struct codec codecs[] = {
	{"gzip", 2, "\x1f\x8b", gzip_head, NULL},
	{"bzip2", 3, "BZh", bzip2_head, NULL},
	{"LZMA", 3, "\x5d\0\0", lzma_head, NULL},
	{"xz", 6, "\xfd\x37zXZ\0", xz_head, NULL},
	{"LZO", 4, "\x89LZO", NULL, NULL},
	{"LZ4", 4, "\x02\x21\x4c\x18", lz4_head, NULL},
	{"zstd", 4, "\x28\xb5\x2f\xfd", zstd_head, zstd_all},
};

const struct codec *codec_find(const uint8_t *src, size_t len)
{
	for (unsigned i = 0; i < ARRAY_LEN(codecs); i++)
		if (len >= codecs[i].magic_len &&
		    !memcmp(src, codecs[i].magic, codecs[i].magic_len))
			return &codecs[i];
	return NULL;
}

const char *codec_name(const struct codec *c)
{
	return c->name;
}

bool codec_supported(const struct codec *c)
{
	return c->head;
}

int64_t codec_head(const struct codec *c, const uint8_t *src, size_t src_len, uint8_t *dst,
		   size_t len)
{
	return c->head(src, src_len, dst, len);
}

int64_t codec_all(const struct codec *c, const uint8_t *src, size_t src_len, uint8_t *dst,
		  size_t size, size_t need)
{
	if (c->all)
		return c->all(src, src_len, dst, size);
	return c->head(src, src_len, dst, MIN(need, size));
}
