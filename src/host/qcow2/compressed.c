/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/compressed.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

#include "base/dynlib.h"
#include "host/qcow2/file.h"
#include "host/qcow2/map.h"
#include "host/spans.h"

#define ZSTD_LIBRARY  "libzstd.so.1"
#define ZSTD_CALLS(F) F(ZSTD_createDCtx) F(ZSTD_freeDCtx) F(ZSTD_decompressStream) F(ZSTD_isError)

struct zstd {
	void *library;
	struct {
		ZSTD_CALLS(DYNLIB_MEMBER)
	} calls;
};

DYNLIB_NOTE(qcow2_zstd, ZSTD_LIBRARY, "qcow2-zstd");

int qcow2_compression_open(struct qcow2 *q, struct err *e)
{
	static const char *const names[] = {ZSTD_CALLS(DYNLIB_NAME)};
	struct zstd *z;

	if (!q->header.compression)
		return 0;
	z = calloc(1, sizeof(*z));
	if (!z)
		return err_errno(e, ENOMEM, "cannot open the disk %s", q->name);
	z->library = dynlib_open(ZSTD_LIBRARY, names, ARRAY_LEN(names), &z->calls);
	if (!z->library) {
		free(z);
		return err_set(e, ENOENT,
			       "the disk %s is compressed by zstd: there is no " ZSTD_LIBRARY
			       ": install the package libzstd1",
			       q->name);
	}
	q->zstd = z;
	return 0;
}

void qcow2_compression_close(struct qcow2 *q)
{
	struct zstd *z = q->zstd;

	free(q->inflated);
	if (!z)
		return;
	dynlib_close(z->library);
	free(z);
}

/* What follows the compressed bytes in their last sector is somebody else's. */
static int inflate_deflate(uint8_t *in, size_t in_len, uint8_t *out, size_t len)
{
	z_stream s = {
		.next_in = in,
		.avail_in = (uInt)in_len,
		.next_out = out,
		.avail_out = (uInt)len,
	};
	int rc;

	if (inflateInit2(&s, -MAX_WBITS) != Z_OK)
		return -ENOMEM;
	rc = inflate(&s, Z_FINISH);
	inflateEnd(&s);
	/* Out of room: there is more than a cluster, or the end's mark is yet to come. */
	return (rc == Z_STREAM_END || rc == Z_BUF_ERROR) && !s.avail_out ? 0 : -EIO;
}

static int inflate_zstd(const struct zstd *z, const uint8_t *in, size_t in_len, uint8_t *out,
			size_t len)
{
	ZSTD_DCtx *context = z->calls.ZSTD_createDCtx();
	ZSTD_inBuffer from = {in, in_len, 0};
	ZSTD_outBuffer to = {out, len, 0};
	size_t before, rc;

	if (!context)
		return -ENOMEM;
	do {
		before = from.pos + to.pos;
		rc = z->calls.ZSTD_decompressStream(context, &to, &from);
	} while (!z->calls.ZSTD_isError(rc) && to.pos < len && from.pos + to.pos > before);
	z->calls.ZSTD_freeDCtx(context);
	return to.pos == len && !z->calls.ZSTD_isError(rc) ? 0 : -EIO;
}

/* A cluster in memory of its own: *out is the caller's to free. */
static int inflate_cluster(struct qcow2 *q, uint64_t entry, uint8_t **out)
{
	struct qcow2_packed p = qcow2_packed_at(q, entry);
	uint8_t *in = malloc(p.len);
	int rc = -ENOMEM;

	*out = malloc(q->cluster);
	if (in && *out)
		rc = qcow2_file_read(q->file, in, p.len, p.offset);
	if (!rc)
		rc = q->zstd ? inflate_zstd(q->zstd, in, p.len, *out, q->cluster)
			     : inflate_deflate(in, p.len, *out, q->cluster);
	free(in);
	if (rc) {
		free(*out);
		*out = NULL;
	}
	return rc;
}

static bool copy_kept(struct qcow2 *q, uint64_t entry, uint64_t skip, uint64_t len,
		      struct span_cursor *to)
{
	bool have;

	pthread_mutex_lock(&q->inflating);
	have = q->inflated_entry == entry;
	if (have)
		spans_scatter(to, q->inflated + skip, len);
	pthread_mutex_unlock(&q->inflating);
	return have;
}

int qcow2_inflate(struct qcow2 *q, uint64_t entry, uint64_t skip, uint64_t len,
		  const struct disk_span *spans, unsigned count)
{
	struct span_cursor to;
	uint8_t *bytes, *old;
	int rc;

	spans_begin(&to, spans, count);
	if (copy_kept(q, entry, skip, len, &to))
		return 0;
	rc = inflate_cluster(q, entry, &bytes);
	if (rc)
		return rc;
	spans_scatter(&to, bytes + skip, len);
	pthread_mutex_lock(&q->inflating);
	old = q->inflated;
	q->inflated = bytes;
	q->inflated_entry = entry;
	pthread_mutex_unlock(&q->inflating);
	free(old);
	return 0;
}

void qcow2_inflated_forget(struct qcow2 *q, uint64_t entry)
{
	pthread_mutex_lock(&q->inflating);
	if (q->inflated_entry == entry)
		q->inflated_entry = 0;
	pthread_mutex_unlock(&q->inflating);
}
