/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qcow2 images: the input is the image's file and, behind it, what is done with the disk. No byte
 * outside of the file may be touched, and nothing may be written once damage was found, but for
 * the mark that says so.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "host/disk_int.h"
#include "host/qcow2/format.h"
#include "host/qcow2/image.h"
#include "host/qcow2/open.h"

#define FILE_MAX  MIB(16)
#define CALLS     24u
#define CALL_SIZE 4u
#define DATA_MAX  MIB(1)

struct file {
	struct disk disk;
	uint8_t *bytes;
};

static uint8_t *bytes_at(struct disk *d, uint64_t offset, uint64_t len)
{
	if (offset > d->size || len > d->size - offset)
		abort();
	return container_of(d, struct file, disk)->bytes + offset;
}

static int file_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	for (unsigned i = 0; i < count; offset += spans[i++].len)
		memcpy(spans[i].base, bytes_at(d, offset, spans[i].len), spans[i].len);
	return 0;
}

static int file_write(struct disk *d, const struct disk_span *spans, unsigned count,
		      uint64_t offset)
{
	for (unsigned i = 0; i < count; offset += spans[i++].len)
		memcpy(bytes_at(d, offset, spans[i].len), spans[i].base, spans[i].len);
	return 0;
}

static int file_flush(struct disk *d)
{
	(void)d;
	return 0;
}

static int file_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	memset(bytes_at(d, offset, len), 0, len);
	return 0;
}

static int file_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap)
{
	(void)unmap;
	return file_discard(d, offset, len);
}

static int file_set_size(struct disk *d, uint64_t size)
{
	if (size > FILE_MAX)
		return -ENOSPC;
	if (size > d->size)
		memset(container_of(d, struct file, disk)->bytes + d->size, 0, size - d->size);
	d->size = size;
	return 0;
}

static void file_free(struct disk *d)
{
	(void)d;
}

static const struct disk_ops file_ops = {
	.free = file_free,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.set_size = file_set_size,
};

static void call(struct disk *d, const uint8_t *from, uint8_t *data)
{
	uint64_t sectors = disk_size(d) / DISK_SECTOR;
	uint64_t at = load_le(from + 1, 2) * (sectors >> 16 ? sectors >> 16 : 1) % sectors;
	uint64_t len = MIN(MIN(1u + from[3], sectors - at) * DISK_SECTOR, DATA_MAX);
	const struct disk_span span = {data, len};

	at *= DISK_SECTOR;
	switch (from[0] % 8) {
	case 0:
	case 1:
		(void)!disk_read(d, &span, 1, at);
		break;
	case 2:
		(void)!disk_flush(d);
		break;
	case 3:
		(void)!disk_discard(d, at, MIN(len * 16, disk_size(d) - at));
		break;
	case 4:
		(void)!disk_zero(d, at, MIN(len * 16, disk_size(d) - at), from[0] & 8);
		break;
	default:
		(void)!disk_write(d, &span, 1, at);
	}
}

/* A damaged image is never written again. */
static void check_corrupt(struct disk *d, const struct file *f, uint8_t *data)
{
	const struct disk_span span = {data, DISK_SECTOR};

	if (qcow2_of(d)->broken != -EUCLEAN)
		return;
	if (disk_write(d, &span, 1, 0) != -EUCLEAN || disk_flush(d) != -EUCLEAN)
		abort();
	if (f->bytes[7] == 3 && !(qcow2_load(f->bytes + QCOW2_H_INCOMPATIBLE, 8) & QCOW2_CORRUPT))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
	static uint8_t bytes[FILE_MAX], data[DATA_MAX];
	struct file f = {.disk = {.ops = &file_ops}, .bytes = bytes};
	const uint8_t *calls = input + len - CALLS * CALL_SIZE;
	struct disk *d;

	if (len < CALLS * CALL_SIZE || len > FILE_MAX / 2)
		return 0;
	len -= CALLS * CALL_SIZE;
	memcpy(bytes, input, len);
	f.disk.size = len;
	f.disk.readonly = calls[0] & 0x80;
	/* No files of this host. */
	if (len > 16)
		memset(bytes + QCOW2_H_BACKING_OFFSET, 0, 8);
	d = qcow2_open_file(&f.disk, "fuzz", 0, NULL);
	if (!d)
		return 0;
	qcow2_of(d)->l2.limit = 2;
	for (unsigned i = 0; i < CALLS; i++)
		call(d, calls + CALL_SIZE * i, data);
	check_corrupt(d, &f, data);
	disk_free(d);
	return 0;
}
