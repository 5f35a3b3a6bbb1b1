/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk is inside: the half that formats share, and what each brings. A format embeds
 * struct disk as its first noun and finds itself by container_of.
 */
#ifndef LODGE_HOST_DISK_INT_H
#define LODGE_HOST_DISK_INT_H

#include "host/disk.h"

/* As the functions of host/disk.h, which see to it that nothing that changes the disk comes to
 * one that is read only. */
struct disk_ops {
	void (*free)(struct disk *d);
	int (*read)(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset);
	int (*write)(struct disk *d, const struct disk_span *spans, unsigned count,
		     uint64_t offset);
	/* NULL: as write */
	int (*write_more)(struct disk *d, const struct disk_span *spans, unsigned count,
			  uint64_t offset);
	/* NULL: always -EAGAIN */
	int (*read_now)(struct disk *d, const struct disk_span *spans, unsigned count,
			uint64_t offset);
	/* NULL: it has the size that it was opened with */
	int (*measure)(struct disk *d);
	int (*flush)(struct disk *d);
	int (*discard)(struct disk *d, uint64_t offset, uint64_t len);
	int (*zero)(struct disk *d, uint64_t offset, uint64_t len, bool unmap);
	/* NULL where the size is what it is */
	int (*set_size)(struct disk *d, uint64_t size);
};

struct disk {
	const struct disk_ops *ops;
	_Atomic uint64_t size; /* bytes */
	unsigned unit;         /* transfers are of so many bytes, or multiples; 0: DISK_SECTOR */
	bool readonly;
	bool direct;
};

/* Opens and locks path as bytes and nothing else. */
struct disk *disk_raw_open(const struct disk_config *config, struct err *e);

/* The same for a file that another format is in: of any size, which disk_set_size changes. */
struct disk *disk_raw_open_file(const struct disk_config *config, struct err *e);

/* Makes the file shorter, or longer by zeroes; not beside a write, whose end it might cut off.
 * 0 or -errno. */
int disk_set_size(struct disk *d, uint64_t size);

#endif
