/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk image: a file or a block device of the host, in one of a few formats
 * (host/disk_int.h: what a format is).
 *
 * Sizes and offsets are in bytes. Reads and writes go through the host's page cache, or
 * past it where the disk is direct (memory need not be aligned for that);
 * disk_flush makes all that was written before it durable, and a flush that failed
 * once fails from then on, because the kernel forgets what it could not write.
 *
 * The image is locked against other processes while it is open (an advisory lock of
 * the open file description, fcntl(2)): by one that writes alone, by readers together.
 *
 * All functions but open and free may be called by any threads at the same time. They
 * block, where not said otherwise, and give 0 or a negative errno.
 */
#ifndef LODGE_HOST_DISK_H
#define LODGE_HOST_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DISK_SECTOR 512u

struct disk;

/* A piece of memory. */
struct disk_span {
	void *base;
	size_t len;
};

#define DISK_SPANS_MAX 256

enum disk_format {
	DISK_RAW, /* the file's bytes are the disk's */
	DISK_QCOW2,
};

struct disk_config {
	const char *path;
	bool readonly;
	enum disk_format format;
	bool direct; /* past the host's page cache */
};

/* Opens and locks an image; NULL with e set where it is missing, not permitted, in use, neither
 * file nor block device, or not of whole sectors. Nothing of config is kept. */
struct disk *disk_open(const struct disk_config *config, struct err *e);
/* NULL is fine. */
void disk_free(struct disk *d);

/* Whether the disk's bytes begin like a qcow2 image: one that was opened as raw by mistake,
 * perhaps. Of a raw disk the guest decides that, which is why nobody opens it as one for this
 * reason. */
bool disk_looks_qcow2(struct disk *d);

uint64_t disk_size(const struct disk *d);

/* What offsets and lengths must be multiples of; DISK_SECTOR but where the disk is direct and the
 * host's has larger blocks. */
unsigned disk_unit(const struct disk *d);

/* Takes the size that the image has now, whole sectors of it, for the disk's: somebody has made it
 * larger or smaller. */
int disk_measure(struct disk *d);

bool disk_readonly(const struct disk *d);

/* Whether writes wait for the disk; else they are as quick as the host's page cache, mostly. */
bool disk_direct(const struct disk *d);

/* Whether a small write is one call, and as quick as the host's page cache, mostly. */
bool disk_quick(const struct disk *d);

/* Fills spans (1 to DISK_SPANS_MAX) from offset on, or writes them there; all lies within the
 * disk. -EIO also where the image has become shorter than it was. */
int disk_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);
int disk_write(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);

/* disk_write soon behind another one that was good: does not look again whether the image has
 * become shorter, where that takes a call of its own. */
int disk_write_more(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);

/* disk_read if that needs no waiting: -EAGAIN where it might, whereupon spans' contents are
 * undefined. */
int disk_read_now(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);

int disk_flush(struct disk *d);

/* The range is not needed any more: what it reads as is undefined. Does nothing where the host
 * cannot. */
int disk_discard(struct disk *d, uint64_t offset, uint64_t len);

/* The range reads as zeroes from now on; unmap: its space may be given back. */
int disk_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap);

#endif
