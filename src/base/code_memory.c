/* SPDX-License-Identifier: Apache-2.0 */
#include "base/code_memory.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *map(int fd, size_t size, int prot)
{
	void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

int code_memory_init(struct code_memory *m, const char *name, size_t size, struct err *e)
{
	int fd = memfd_create(name, MFD_CLOEXEC);
	int err = 0;

	*m = (struct code_memory){.size = size};
	if (fd < 0)
		return err_errno(e, errno, "cannot create memory for code");
	if (ftruncate(fd, (off_t)size)) {
		err = err_errno(e, errno, "cannot size memory for code");
		goto out;
	}
	m->write = map(fd, size, PROT_READ | PROT_WRITE);
	if (m->write)
		m->exec = map(fd, size, PROT_READ | PROT_EXEC);
	if (!m->exec) {
		err = err_set(e, errno,
			      "cannot map executable memory: %s: the software engine needs it: "
			      "let the system (SELinux, seccomp, noexec) allow it to lodge",
			      strerror(errno));
		goto out;
	}
	/* A forked child would share it, and write into what its parent executes. */
	madvise(m->write, size, MADV_DONTFORK);
	madvise((void *)m->exec, size, MADV_DONTFORK);
out:
	close(fd);
	return err;
}

void code_memory_release(struct code_memory *m)
{
	if (m->write)
		munmap(m->write, m->size);
	if (m->exec)
		munmap((void *)m->exec, m->size);
	*m = (struct code_memory){0};
}
