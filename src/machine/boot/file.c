/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that a VM boots from.
 *
 * A file is opened once. Its type is asked before it is opened, as opening some
 * devices has effects, and again after, as the name may have changed hands. The
 * kernel is mapped, which costs no copy; a file that somebody cuts short while it
 * is mapped would raise SIGBUS, so its length is compared before each load.
 *
 * Whole pieces go to guest RAM that is a memfd by sendfile, from page cache to page
 * cache: the host then neither clears the pages first nor faults them in one by one,
 * which takes a third less time than read(2) into the mapping.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"
#include "machine/boot/boot_int.h"

static const char *type_name(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "a directory";
	case S_IFIFO:
		return "a FIFO";
	case S_IFCHR:
	case S_IFBLK:
		return "a device";
	case S_IFSOCK:
		return "a socket";
	default:
		return "not a file";
	}
}

static int check_type(const struct stat *st, const char *what, const char *path, struct err *e)
{
	if (!S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "cannot use %s %s: it is %s: give a regular file", what,
			       path, type_name(st->st_mode));
	if (!st->st_size)
		return err_set(e, EINVAL, "cannot use %s %s: the file is empty: give another one",
			       what, path);
	return 0;
}

static const char *open_advice(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		return "check the path";
	case EACCES:
	case EPERM:
		return "let this user read it";
	default:
		return "check the file";
	}
}

static int cannot_open(int error, const char *what, const char *path, struct err *e)
{
	char why[128];

	return err_set(e, error, "cannot open %s %s: %s: %s", what, path,
		       strerror_r(error, why, sizeof(why)), open_advice(error));
}

int boot_file_open(struct boot_file *f, const char *what, const char *path, bool map, struct err *e)
{
	struct stat st;
	void *data;
	int r;

	*f = (struct boot_file){.fd = -1};
	if (stat(path, &st))
		return cannot_open(errno, what, path, e);
	r = check_type(&st, what, path, e);
	if (r)
		return r;
	f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, &st)) {
		r = cannot_open(errno, what, path, e);
		goto fail;
	}
	r = check_type(&st, what, path, e);
	if (r)
		goto fail;
	f->size = (uint64_t)st.st_size;
	f->path = strdup(path);
	if (!f->path) {
		r = err_set(e, ENOMEM, "cannot open %s %s: out of memory", what, path);
		goto fail;
	}
	if (map) {
		data = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
		if (data == MAP_FAILED) {
			r = err_errno(e, errno, "cannot map %s %s", what, path);
			goto fail;
		}
		f->data = data;
	}
	return 0;
fail:
	boot_file_close(f);
	return r;
}

void boot_file_close(struct boot_file *f)
{
	if (f->fd >= 0) {
		if (f->data)
			munmap((void *)(uintptr_t)f->data, f->size);
		close(f->fd);
	}
	free(f->path);
	*f = (struct boot_file){.fd = -1};
}

int boot_file_recheck(const struct boot_file *f, struct err *e)
{
	struct stat st;

	if (f->fd < 0)
		return 0;
	if (fstat(f->fd, &st))
		return err_errno(e, errno, "cannot read %s again", f->path);
	if ((uint64_t)st.st_size != f->size)
		return err_set(e, EIO,
			       "cannot use %s: its size changed since it was opened: replace files "
			       "by renaming, not by writing over them",
			       f->path);
	return 0;
}

void boot_file_forget(const struct boot_file *f)
{
	if (f->fd >= 0 && f->data)
		madvise((void *)(uintptr_t)f->data, f->size, MADV_DONTNEED);
}

static int read_rest(const struct boot_file *f, uint64_t offset, uint8_t *dst, uint64_t len,
		     struct err *e)
{
	while (len) {
		ssize_t n = pread(f->fd, dst, MIN(len, GIB(1)), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "cannot read %s", f->path);
		if (!n)
			return err_set(e, EIO,
				       "cannot read %s: it ends early: do not change it while it "
				       "is in use",
				       f->path);
		dst += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Copies inside the host's kernel, as far as it can and will; returns how many bytes. */
static uint64_t send_to_memfd(const struct boot_file *f, uint64_t offset, int memfd, uint64_t at,
			      uint64_t len)
{
	off_t from = (off_t)offset;
	uint64_t done = 0;

	if (lseek(memfd, (off_t)at, SEEK_SET) < 0)
		return 0;
	while (done < len) {
		ssize_t n = sendfile(memfd, f->fd, &from, MIN(len - done, GIB(1)));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	return done;
}

int boot_file_to_ram(const struct boot_file *f, uint64_t offset, struct mem *m, uint64_t gpa,
		     uint64_t len, struct err *e)
{
	const struct mem_region *region = mem_find(m, gpa);
	uint8_t *dst = mem_ptr_rw(m, gpa, len);
	uint64_t done = 0;
	int r = 0;

	assert(region && dst);
	if (f->fd < 0) {
		memcpy(dst, f->data + offset, len);
	} else {
		if (m->fd >= 0)
			done = send_to_memfd(f, offset, m->fd,
					     region->fd_offset + (gpa - region->gpa), len);
		r = read_rest(f, offset + done, dst + done, len - done, e);
	}
	mem_written(m, gpa, len);
	return r;
}

static const struct magic {
	uint16_t offset;
	uint8_t len;
	const char *bytes;
	const char *is;
} magics[] = {
	{0, 2, "\x1f\x8b", "a gzip-compressed file: unpack it with gunzip"},
	{0, 3, "BZh", "a bzip2-compressed file: unpack it with bunzip2"},
	{0, 6,
	 "\xfd"
	 "7zXZ\0",
	 "an xz-compressed file: unpack it with unxz"},
	{0, 4, "\x28\xb5\x2f\xfd", "a zstd-compressed file: unpack it with unzstd"},
	{0, 4, "\x02\x21\x4c\x18", "an LZ4-compressed file: unpack it with unlz4"},
	{0, 4, "\x04\x22\x4d\x18", "an LZ4-compressed file: unpack it with unlz4"},
	{0, 3, "\x5d\0\0", "an LZMA-compressed file: unpack it with unlzma"},
	{0, 4, "\xd0\x0d\xfe\xed", "a device tree: give the kernel itself"},
	{0x38, 4, "ARM\x64", "a Linux kernel for arm64: give one for x86"},
	{0x38, 4, "RSC\x05", "a Linux kernel for RISC-V: give one for x86"},
	{0, 4, "\x27\x05\x19\x56", "a U-Boot image: give the kernel itself"},
	{0, 6, "070701", "a cpio archive: it may be the initrd"},
	{0, 8, "!<arch>\n", "a Debian package or archive: unpack it"},
	{0, 4, "QFI\xfb", "a qcow2 disk image: give a kernel"},
	{0x8001, 5, "CD001", "a CD image: give the kernel on it"},
	{0x101, 5, "ustar", "a tar archive: unpack it"},
	{0, 2, "MZ", "an EFI application without a Linux setup header: give a bzImage or vmlinux"},
	{0, 2, "#!", "a script: give a kernel"},
	{0x1fe, 2, "\x55\xaa", "a boot sector or disk image: give a kernel"},
};

const char *boot_file_looks_like(const struct boot_file *f)
{
	for (unsigned i = 0; i < ARRAY_LEN(magics); i++)
		if (range_within(magics[i].offset, magics[i].len, f->size) &&
		    !memcmp(f->data + magics[i].offset, magics[i].bytes, magics[i].len))
			return magics[i].is;
	return NULL;
}
