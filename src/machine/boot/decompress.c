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
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/dynlib.h"

/* xz -9 has a dictionary of 64 MiB; the kernel's build uses 32. */
#define LZMA_MEMORY_MAX MIB(66)

/* A block of the legacy LZ4 frame, uncompressed. */
#define LZ4_LEGACY_BLOCK MIB(8)

/*
 * The libraries: of each its functions, from which the struct of pointers and the list of names
 * are made. zlib is linked, as the records of a guest that has crashed need it too.
 */
#define BZIP2_CALLS(F) F(BZ2_bzDecompressInit) F(BZ2_bzDecompress) F(BZ2_bzDecompressEnd)
#define LZ4_CALLS(F)   F(LZ4_decompress_safe) F(LZ4_decompress_safe_partial)
#define LZMA_CALLS(F)  F(lzma_stream_decoder) F(lzma_alone_decoder) F(lzma_code) F(lzma_end)
#define ZSTD_CALLS(F)            \
	F(ZSTD_createDCtx)       \
	F(ZSTD_freeDCtx)         \
	F(ZSTD_decompressStream) \
	F(ZSTD_decompressDCtx) F(ZSTD_findFrameCompressedSize) F(ZSTD_isError)

struct bzip2_calls {
	BZIP2_CALLS(DYNLIB_MEMBER)
};

struct lz4_calls {
	LZ4_CALLS(DYNLIB_MEMBER)
};

struct lzma_calls {
	LZMA_CALLS(DYNLIB_MEMBER)
};

struct zstd_calls {
	ZSTD_CALLS(DYNLIB_MEMBER)
};

DYNLIB_NOTE(bzip2, "libbz2.so.1.0", "bzip2");
DYNLIB_NOTE(lz4, "liblz4.so.1", "lz4");
DYNLIB_NOTE(lzma, "liblzma.so.5", "xz");
DYNLIB_NOTE(zstd, "libzstd.so.1", "zstd");

struct library {
	const char *file;
	const char *name; /* for messages */
	const char *const names[8];
};

static const struct library bzip2 = {
	"libbz2.so.1.0", "libbz2.so.1.0 (package libbz2-1.0)", {BZIP2_CALLS(DYNLIB_NAME)}};
static const struct library lz4 = {
	"liblz4.so.1", "liblz4.so.1 (package liblz4-1)", {LZ4_CALLS(DYNLIB_NAME)}};
static const struct library lzma = {
	"liblzma.so.5", "liblzma.so.5 (package liblzma5)", {LZMA_CALLS(DYNLIB_NAME)}};
static const struct library zstd = {
	"libzstd.so.1", "libzstd.so.1 (package libzstd1)", {ZSTD_CALLS(DYNLIB_NAME)}};

struct codec {
	const char *name;
	uint8_t magic_len;
	const char *magic;
	const struct library *library; /* NULL: none is needed */
	/* NULL: lodge knows the format by name only */
	int64_t (*head)(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			size_t len);
	/* NULL: head does for all */
	int64_t (*all)(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		       size_t size);
};

/* Lent memory is not used twice: decoders here allocate what they need and free it in the end. */
static void *take(struct decoder *d, size_t size)
{
	uint64_t whole;
	uint8_t *p;

	if (!d->spare || !checked_align_up(size, 64, &whole) || whole > d->spare_size - d->used)
		return malloc(size);
	p = d->spare + d->used;
	d->used += whole;
	return p;
}

static void give(struct decoder *d, void *p)
{
	if ((uintptr_t)p - (uintptr_t)d->spare >= d->spare_size)
		free(p);
}

static void *bzip2_alloc(void *d, int count, int size)
{
	return take(d, (size_t)count * (size_t)size);
}

static void bzip2_free(void *d, void *p)
{
	give(d, p);
}

static void *xz_alloc(void *d, size_t count, size_t size)
{
	uint64_t bytes;

	return checked_mul(count, size, &bytes) ? take(d, bytes) : NULL;
}

static void xz_free(void *d, void *p)
{
	give(d, p);
}

static int64_t gzip_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			 size_t len)
{
	z_stream z = {
		.next_in = (Bytef *)(uintptr_t)src,
		.avail_in = (uInt)src_len,
		.next_out = dst,
		.avail_out = (uInt)len,
	};
	int64_t done;
	int r;

	(void)d;
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

static int64_t bzip2_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			  size_t len)
{
	const struct bzip2_calls *call = (const void *)d->calls;
	bz_stream z = {
		.bzalloc = bzip2_alloc,
		.bzfree = bzip2_free,
		.opaque = d,
		.next_in = (char *)(uintptr_t)src,
		.avail_in = (unsigned)src_len,
		.next_out = (char *)dst,
		.avail_out = (unsigned)len,
	};
	int64_t done;
	int r;

	if (call->BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
		return -ENOMEM;
	r = call->BZ2_bzDecompress(&z);
	done = (uint8_t *)z.next_out - dst;
	call->BZ2_bzDecompressEnd(&z);
	if (r == BZ_STREAM_END || (r == BZ_OK && !z.avail_out))
		return done;
	return r == BZ_MEM_ERROR ? -ENOMEM : -EINVAL;
}

/* xz, or the older format of the lzma program ("alone"). */
static int64_t lzma_run(struct decoder *d, bool alone, const uint8_t *src, size_t src_len,
			uint8_t *dst, size_t len)
{
	const struct lzma_calls *call = (const void *)d->calls;
	const lzma_allocator memory = {xz_alloc, xz_free, d};
	lzma_stream z = LZMA_STREAM_INIT;
	lzma_ret r;

	z.allocator = &memory;
	z.next_in = src;
	z.avail_in = src_len;
	z.next_out = dst;
	z.avail_out = len;
	r = alone ? call->lzma_alone_decoder(&z, LZMA_MEMORY_MAX)
		  : call->lzma_stream_decoder(&z, LZMA_MEMORY_MAX, 0);
	if (r != LZMA_OK)
		return -ENOMEM;
	r = call->lzma_code(&z, LZMA_RUN);
	call->lzma_end(&z);
	if (r == LZMA_STREAM_END || (r == LZMA_OK && !z.avail_out))
		return z.next_out - dst;
	return r == LZMA_MEM_ERROR || r == LZMA_MEMLIMIT_ERROR ? -ENOMEM : -EINVAL;
}

static int64_t xz_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		       size_t len)
{
	return lzma_run(d, false, src, src_len, dst, len);
}

static int64_t lzma_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			 size_t len)
{
	return lzma_run(d, true, src, src_len, dst, len);
}

/*
 * The legacy frame: a magic number, then blocks that were each 8 MiB but for the
 * last, each after its compressed length. Where the length is more than such a
 * block can have, or too little is left, the frame has ended.
 */
static int64_t lz4_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			size_t len)
{
	const struct lz4_calls *call = (const void *)d->calls;
	size_t at = 4, done = 0;

	while (done < len && src_len - at > 4) {
		size_t block = load_le(src + at, 4);
		size_t want = MIN(len - done, LZ4_LEGACY_BLOCK);
		int n;

		at += 4;
		if (!block || block > (size_t)LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK))
			break;
		if (block > src_len - at)
			return -EINVAL;
		/* Whole blocks go the faster way. */
		if (want == LZ4_LEGACY_BLOCK)
			n = call->LZ4_decompress_safe((const char *)src + at, (char *)dst + done,
						      (int)block, (int)want);
		else
			n = call->LZ4_decompress_safe_partial((const char *)src + at,
							      (char *)dst + done, (int)block,
							      (int)want, (int)want);
		if (n < 0)
			return -EINVAL;
		done += (size_t)n;
		at += block;
		if ((size_t)n < LZ4_LEGACY_BLOCK)
			break;
	}
	return (int64_t)done;
}

static int64_t zstd_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			 size_t len)
{
	const struct zstd_calls *call = (const void *)d->calls;
	ZSTD_inBuffer in = {src, src_len, 0};
	ZSTD_outBuffer out = {dst, len, 0};
	ZSTD_DCtx *z = call->ZSTD_createDCtx();
	size_t r = 1;

	if (!z)
		return -ENOMEM;
	while (r && !call->ZSTD_isError(r) && out.pos < out.size && in.pos < in.size)
		r = call->ZSTD_decompressStream(z, &out, &in);
	call->ZSTD_freeDCtx(z);
	if (call->ZSTD_isError(r) || (r && out.pos < out.size))
		return -EINVAL;
	return (int64_t)out.pos;
}

/* In one call zstd uses dst as its window, which is up to 128 MiB in the kernel's build. */
static int64_t zstd_all(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
			size_t size)
{
	const struct zstd_calls *call = (const void *)d->calls;
	size_t frame = call->ZSTD_findFrameCompressedSize(src, src_len);
	ZSTD_DCtx *z;
	size_t r;

	if (call->ZSTD_isError(frame))
		return -EINVAL;
	z = call->ZSTD_createDCtx();
	if (!z)
		return -ENOMEM;
	r = call->ZSTD_decompressDCtx(z, dst, size, src, frame);
	call->ZSTD_freeDCtx(z);
	return call->ZSTD_isError(r) ? -EINVAL : (int64_t)r;
}

/* LZO has no library here that is in use: the guest decompresses it. */
static const struct codec codecs[] = {
	{"gzip", 2, "\x1f\x8b", NULL, gzip_head, NULL},
	{"bzip2", 3, "BZh", &bzip2, bzip2_head, NULL},
	{"LZMA", 3, "\x5d\0\0", &lzma, lzma_head, NULL},
	{"xz", 6,
	 "\xfd"
	 "7zXZ\0",
	 &lzma, xz_head, NULL},
	{"LZ4", 4, "\x02\x21\x4c\x18", &lz4, lz4_head, NULL},
	{"zstd", 4, "\x28\xb5\x2f\xfd", &zstd, zstd_head, zstd_all},
	{"LZO", 4, "\x89LZO", NULL, NULL, NULL},
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

const char *codec_library(const struct codec *c)
{
	return c->library ? c->library->name : NULL;
}

int decoder_open(struct decoder *d, const struct codec *c)
{
	const struct library *l = c->library;
	unsigned count = 0;

	*d = (struct decoder){.codec = c};
	if (!c->head)
		return -ENOTSUP;
	if (!l)
		return 0;
	while (count < ARRAY_LEN(l->names) && l->names[count])
		count++;
	d->library = dynlib_open(l->file, l->names, count, d->calls);
	return d->library ? 0 : -ENOENT;
}

void decoder_close(struct decoder *d)
{
	dynlib_close(d->library);
	d->library = NULL;
}

void decoder_lend(struct decoder *d, uint8_t *memory, size_t size)
{
	d->spare = memory;
	d->spare_size = size;
	d->used = 0;
}

int64_t decoder_head(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		     size_t len)
{
	return d->codec->head(d, src, src_len, dst, len);
}

int64_t decoder_all(struct decoder *d, const uint8_t *src, size_t src_len, uint8_t *dst,
		    size_t size, size_t need)
{
	if (d->codec->all)
		return d->codec->all(d, src, src_len, dst, size);
	return d->codec->head(d, src, src_len, dst, MIN(need, size));
}
