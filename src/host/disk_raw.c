/* SPDX-License-Identifier: Apache-2.0 */
/* A raw image: a file or a block device whose bytes are the disk's. */
#include "host/disk_int.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"

#define ZEROES_SIZE  4096u
#define ZEROES_SPANS 16u /* at a time */

/* Where memory is not aligned for the host: so much is copied at a time, to where it is. */
#define BOUNCE_SIZE  (1u << 20)
#define BOUNCE_ALIGN 4096u

struct raw {
	struct disk disk;
	int fd;
	bool block;            /* a block device, which does not change its size */
	unsigned align;        /* of memory, a power of two; 0: need not be */
	atomic_bool no_nowait; /* the file system cannot say whether it would wait */
	pthread_mutex_t flushing;
	int flush_error; /* guarded by flushing: of the first flush that failed; 0: none */
};

static struct raw *raw_of(struct disk *d)
{
	return container_of(d, struct raw, disk);
}

/* So that spans can be handed to the kernel as they are. */
_Static_assert(sizeof(struct disk_span) == sizeof(struct iovec) &&
		       offsetof(struct disk_span, base) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct disk_span, len) == offsetof(struct iovec, iov_len),
	       "a span is an iovec");

static int open_image(struct raw *d, const struct disk_config *config, struct err *e)
{
	const char *path = config->path;

	/* Without waiting: nobody may ever open the other end of a FIFO. */
	d->fd = open(path, (config->readonly ? O_RDONLY : O_RDWR) |
				   (config->direct ? O_DIRECT : 0) | O_CLOEXEC | O_NOCTTY |
				   O_NONBLOCK);
	if (d->fd >= 0)
		return 0;
	switch (errno) {
	case EINVAL:
		if (!config->direct)
			break;
		return err_set(e, EINVAL,
			       "the disk %s is where the host cannot go past its page cache: "
			       "leave ',direct' away",
			       path);
	case ENOENT:
		return err_set(e, ENOENT,
			       "cannot open the disk %s: there is no such file: make one with "
			       "'truncate -s SIZE FILE'",
			       path);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_errno(e, errno,
				 config->readonly ? "cannot read the disk %s"
						  : "cannot write to the disk %s (',ro' asks "
						    "to read only)",
				 path);
	case EISDIR:
		return err_set(e, EISDIR,
			       "the disk %s is a directory: give a file or a block device", path);
	}
	return err_errno(e, errno, "cannot open the disk %s", path);
}

static int lock_image(struct raw *d, const char *path, struct err *e)
{
	struct flock lock = {.l_type = d->disk.readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};

	if (!fcntl(d->fd, F_OFD_SETLK, &lock))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return err_set(e, EBUSY,
			       "the disk %s is in use by another program: end that one, or have "
			       "all of them read only with ',ro'",
			       path);
	/* A file system without locks: nobody else could hold one. */
	return 0;
}

static int measure(struct raw *d, const char *path, struct err *e)
{
	struct stat st;
	off_t end;

	if (fstat(d->fd, &st))
		return err_errno(e, errno, "cannot look at the disk %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL,
			       "the disk %s is neither a file nor a block device: give one of them",
			       path);
	d->block = S_ISBLK(st.st_mode);
	end = lseek(d->fd, 0, SEEK_END);
	if (end < 0)
		return err_errno(e, errno, "cannot measure the disk %s", path);
	d->disk.size = (uint64_t)end;
	return 0;
}

/* What direct transfers want to be aligned to; the kernel says so since 6.1. */
static void find_alignment(struct raw *d)
{
	struct statx st;

	d->align = BOUNCE_ALIGN;
	d->disk.unit = DISK_SECTOR;
	atomic_init(&d->no_nowait, true); /* there is no cache that could have it at hand */
	if (statx(d->fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) ||
	    !(st.stx_mask & STATX_DIOALIGN) || !st.stx_dio_offset_align)
		return;
	d->align = st.stx_dio_mem_align;
	d->disk.unit = MAX(st.stx_dio_offset_align, DISK_SECTOR);
}

static int raw_measure(struct disk *disk)
{
	off_t end = lseek(raw_of(disk)->fd, 0, SEEK_END);

	if (end < 0)
		return -errno;
	disk->size = align_down((uint64_t)end, DISK_SECTOR);
	return 0;
}

static void raw_free(struct disk *disk)
{
	struct raw *d = raw_of(disk);

	if (d->fd >= 0)
		close(d->fd);
	pthread_mutex_destroy(&d->flushing);
	free(d);
}

/* What is left of an array of spans; a copy, because a call may end in the middle of one. */
struct rest {
	struct iovec iov[DISK_SPANS_MAX];
	unsigned first, count;
};

static void rest_init(struct rest *r, const struct disk_span *spans, unsigned count)
{
	assert(count && count <= DISK_SPANS_MAX);
	r->first = 0;
	r->count = count;
	for (unsigned i = 0; i < count; i++)
		r->iov[i] = (struct iovec){spans[i].base, spans[i].len};
}

/* Takes n bytes away; whether any are left. */
static bool rest_advance(struct rest *r, size_t n)
{
	while (r->first < r->count && n >= r->iov[r->first].iov_len)
		n -= r->iov[r->first++].iov_len;
	if (r->first == r->count)
		return false;
	r->iov[r->first].iov_base = (char *)r->iov[r->first].iov_base + n;
	r->iov[r->first].iov_len -= n;
	return true;
}

typedef ssize_t (*transfer_fn)(int fd, const struct iovec *iov, int count, off_t offset);

/* The whole of spans by as many calls as it takes. No progress is the end of the image, which was
 * further off when it was opened. */
static int transfer_as_is(struct raw *d, transfer_fn call, const struct disk_span *spans,
			  unsigned count, uint64_t offset)
{
	struct rest rest;
	size_t len = 0;
	ssize_t n;

	for (unsigned i = 0; i < count; i++)
		len += spans[i].len;
	n = call(d->fd, (const struct iovec *)spans, (int)count, (off_t)offset);
	if (n == (ssize_t)len)
		return 0;
	rest_init(&rest, spans, count);
	for (;;) {
		if (n < 0 && errno == EINTR)
			n = 0;
		else if (n < 0)
			return -errno;
		else if (!n)
			return -EIO;
		offset += (uint64_t)n;
		if (!rest_advance(&rest, (size_t)n))
			return 0;
		n = call(d->fd, rest.iov + rest.first, (int)(rest.count - rest.first),
			 (off_t)offset);
	}
}

static bool is_aligned(const struct raw *d, const struct disk_span *spans, unsigned count)
{
	uintptr_t bits = 0;

	if (!d->align)
		return true;
	for (unsigned i = 0; i < count; i++)
		bits |= (uintptr_t)spans[i].base | spans[i].len;
	return !(bits & (d->align - 1));
}

/* Copies the next len bytes of spans to buf, or from it. */
static void copy(struct rest *spans, uint8_t *buf, size_t len, bool to_spans)
{
	while (len) {
		const struct iovec *iov = &spans->iov[spans->first];
		size_t part = MIN(len, iov->iov_len);

		if (to_spans)
			memcpy(iov->iov_base, buf, part);
		else
			memcpy(buf, iov->iov_base, part);
		buf += part;
		len -= part;
		rest_advance(spans, part);
	}
}

/* Through aligned memory, in pieces. */
static int bounce(struct raw *d, transfer_fn call, const struct disk_span *spans, unsigned count,
		  uint64_t offset)
{
	struct rest rest;
	size_t left = 0, part;
	uint8_t *buf;
	int rc = 0;

	for (unsigned i = 0; i < count; i++)
		left += spans[i].len;
	buf = aligned_alloc(BOUNCE_ALIGN, align_up(MIN(left, BOUNCE_SIZE), BOUNCE_ALIGN));
	if (!buf)
		return -ENOMEM;
	rest_init(&rest, spans, count);
	for (; !rc && left; left -= part, offset += part) {
		part = MIN(left, BOUNCE_SIZE);
		if (call == pwritev)
			copy(&rest, buf, part, false);
		rc = transfer_as_is(d, call, &(struct disk_span){buf, part}, 1, offset);
		if (!rc && call == preadv)
			copy(&rest, buf, part, true);
	}
	free(buf);
	return rc;
}

static int transfer(struct raw *d, transfer_fn call, const struct disk_span *spans, unsigned count,
		    uint64_t offset)
{
	return is_aligned(d, spans, count) ? transfer_as_is(d, call, spans, count, offset)
					   : bounce(d, call, spans, count, offset);
}

/* A write would make a file that somebody has cut off longer again, with a hole where data was.
 * Another thread may be making it longer: its size is known last of all. */
static bool is_whole(const struct raw *d)
{
	uint64_t size = d->disk.size;
	struct stat st;

	return d->block || (!fstat(d->fd, &st) && (uint64_t)st.st_size >= size);
}

static int raw_read(struct disk *disk, const struct disk_span *spans, unsigned count,
		    uint64_t offset)
{
	return transfer(raw_of(disk), preadv, spans, count, offset);
}

static int raw_write(struct disk *disk, const struct disk_span *spans, unsigned count,
		     uint64_t offset)
{
	struct raw *d = raw_of(disk);

	return is_whole(d) ? transfer(d, pwritev, spans, count, offset) : -EIO;
}

static int raw_write_more(struct disk *disk, const struct disk_span *spans, unsigned count,
			  uint64_t offset)
{
	return transfer(raw_of(disk), pwritev, spans, count, offset);
}

static int raw_read_now(struct disk *disk, const struct disk_span *spans, unsigned count,
			uint64_t offset)
{
	struct raw *d = raw_of(disk);
	size_t len = 0;
	ssize_t n;

	if (atomic_load_explicit(&d->no_nowait, memory_order_relaxed))
		return -EAGAIN;
	for (unsigned i = 0; i < count; i++)
		len += spans[i].len;
	n = preadv2(d->fd, (const struct iovec *)spans, (int)count, (off_t)offset, RWF_NOWAIT);
	if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS))
		atomic_store(&d->no_nowait, true);
	/* What failed, or came only in part, is for a call that may wait and can tell why. */
	return n == (ssize_t)len ? 0 : -EAGAIN;
}

/* One at a time: the kernel tells a failure to one caller only, and a flush that ran beside it
 * would say that all is well. */
static int raw_flush(struct disk *disk)
{
	struct raw *d = raw_of(disk);
	int rc;

	pthread_mutex_lock(&d->flushing);
	while (!d->flush_error && fdatasync(d->fd)) {
		if (errno != EINTR)
			d->flush_error = -errno;
	}
	rc = d->flush_error;
	pthread_mutex_unlock(&d->flushing);
	return rc;
}

static int allocate(struct raw *d, int mode, uint64_t offset, uint64_t len)
{
	int rc;

	do {
		rc = fallocate(d->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	} while (rc && errno == EINTR);
	return rc ? -errno : 0;
}

static bool cannot(int rc)
{
	return rc == -EOPNOTSUPP || rc == -ENOSYS || rc == -EINVAL || rc == -ENODEV;
}

static int raw_discard(struct disk *disk, uint64_t offset, uint64_t len)
{
	int rc = allocate(raw_of(disk), FALLOC_FL_PUNCH_HOLE, offset, len);

	return cannot(rc) ? 0 : rc;
}

static int write_zeroes(struct raw *d, uint64_t offset, uint64_t len)
{
	static const uint8_t zeroes[ZEROES_SIZE];
	int rc = 0;

	while (!rc && len) {
		struct disk_span span[ZEROES_SPANS];
		unsigned count = 0;

		for (; len && count < ZEROES_SPANS; count++) {
			span[count] = (struct disk_span){(void *)(uintptr_t)zeroes,
							 MIN(len, ZEROES_SIZE)};
			len -= span[count].len;
		}
		rc = raw_write(&d->disk, span, count, offset);
		offset += (uint64_t)ZEROES_SIZE * count;
	}
	return rc;
}

static int raw_zero(struct disk *disk, uint64_t offset, uint64_t len, bool unmap)
{
	struct raw *d = raw_of(disk);
	int rc;

	if (!is_whole(d))
		return -EIO;
	rc = allocate(d, unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE, offset, len);
	return cannot(rc) ? write_zeroes(d, offset, len) : rc;
}

/* A block device has the size it has. */
static int raw_set_size(struct disk *disk, uint64_t size)
{
	struct raw *d = raw_of(disk);
	int rc;

	if (d->block)
		return size <= disk->size ? 0 : -ENOSPC;
	do {
		rc = ftruncate(d->fd, (off_t)size);
	} while (rc && errno == EINTR);
	if (rc)
		return -errno;
	disk->size = size;
	return 0;
}

static const struct disk_ops raw_ops = {
	.free = raw_free,
	.read = raw_read,
	.write = raw_write,
	.write_more = raw_write_more,
	.read_now = raw_read_now,
	.measure = raw_measure,
	.flush = raw_flush,
	.discard = raw_discard,
	.zero = raw_zero,
	.set_size = raw_set_size,
};

struct disk *disk_raw_open_file(const struct disk_config *config, struct err *e)
{
	struct raw *d = calloc(1, sizeof(*d));
	int rc;

	if (!d) {
		err_errno(e, ENOMEM, "cannot open the disk %s", config->path);
		return NULL;
	}
	pthread_mutex_init(&d->flushing, NULL);
	d->disk.ops = &raw_ops;
	d->disk.readonly = config->readonly;
	d->disk.direct = config->direct;
	rc = open_image(d, config, e);
	if (!rc)
		rc = measure(d, config->path, e);
	if (!rc)
		rc = lock_image(d, config->path, e);
	if (!rc && config->direct)
		find_alignment(d);
	if (!rc)
		return &d->disk;
	raw_free(&d->disk);
	return NULL;
}

struct disk *disk_raw_open(const struct disk_config *config, struct err *e)
{
	struct disk *d = disk_raw_open_file(config, e);

	if (!d || (d->size && d->size % DISK_SECTOR == 0))
		return d;
	err_set(e, EINVAL,
		"the disk %s has %llu bytes, which are no whole sectors of %u: change its size "
		"with truncate(1)",
		config->path, (unsigned long long)d->size, DISK_SECTOR);
	disk_free(d);
	return NULL;
}
