/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handler finds the file by the address, in a table of those that are mapped: a
 * signal handler gets no argument. A place of the table is taken and given back by one
 * atomic exchange of its pointer; a file is freed when nobody touches its memory, hence
 * when no handler can be looking at it.
 *
 * In the place of what is lost comes plain memory, at the same address: the instruction
 * that faulted is then executed again. Of threads that fault on one page at once the first
 * replaces it, and leaves a mark for the others: what was written since is to stay. The
 * handler uses system calls alone, and no canary: the thread may be executing a guest's
 * code, with its registers.
 *
 * Under KVM no signal comes: the kernel tries to have the page in the background and lets
 * the vCPU wait for it, for ever. So the file is watched as well, and what a shorter file
 * lacks is replaced before anybody touches it, or while one waits.
 */
#include "host/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bits.h"

#define FILES_MAX 256
#define PAGE      4096u
#define STACK     (64u << 10)

struct memfile {
	int fd, lost_fd, watch_fd;
	uint8_t *host;
	uint64_t size, length;
	_Atomic uint64_t end; /* from here on it is plain memory */
	atomic_bool lost;
	atomic_flag busy; /* a handler is at work */
	uint8_t *bad;     /* a bit for each page below end that is plain memory; busy's */
};

static struct memfile *_Atomic files[FILES_MAX];
static struct sigaction earlier;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

/* Plain memory in [offset, end), and the owner is told. */
static bool replace(struct memfile *f, uint64_t offset, uint64_t end)
{
	const uint64_t one = 1;
	ssize_t n;

	if (mmap(f->host + offset, end - offset, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return false;
	madvise(f->host + offset, end - offset, MADV_DONTFORK);
	atomic_store(&f->lost, true);
	n = write(f->lost_fd, &one, sizeof(one));
	(void)n; /* it can only be full */
	return true;
}

static bool is_bad(const struct memfile *f, uint64_t page)
{
	return f->bad[page / PAGE / 8] >> page / PAGE % 8 & 1;
}

/* The page at offset cannot be had: from the file's end on, or (an error of reading) that page. */
static bool lose(struct memfile *f, uint64_t offset)
{
	uint64_t page = align_down(offset, PAGE), length, end;
	struct stat st;
	bool done = true;

	while (atomic_flag_test_and_set(&f->busy))
		;
	end = atomic_load(&f->end);
	if (offset < end) {
		length = fstat(f->fd, &st) || S_ISBLK(st.st_mode) ? end : (uint64_t)st.st_size;
		if (page >= length) {
			length = align_up(length, PAGE);
			done = replace(f, length, end);
			atomic_store(&f->end, length);
		} else if (!is_bad(f, page)) {
			done = replace(f, page, page + PAGE);
			f->bad[page / PAGE / 8] |= (uint8_t)done << page / PAGE % 8;
		}
	}
	atomic_flag_clear(&f->busy);
	return done;
}

static struct memfile *find(uintptr_t address)
{
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct memfile *f = atomic_load(&files[i]);

		if (f && address - (uintptr_t)f->host < f->size)
			return f;
	}
	return NULL;
}

static void hand_on(int sig, siginfo_t *info, void *context)
{
	if (earlier.sa_flags & SA_SIGINFO) {
		earlier.sa_sigaction(sig, info, context);
		return;
	}
	if (earlier.sa_handler == SIG_DFL || earlier.sa_handler == SIG_IGN) {
		/* The instruction faults again, and ends the process. */
		signal(sig, SIG_DFL);
		if (info->si_code <= 0)
			raise(sig); /* it was sent */
		return;
	}
	earlier.sa_handler(sig);
}

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	struct memfile *f = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;
	int error = errno;

	if (!f || !lose(f, (uint64_t)((uint8_t *)info->si_addr - f->host)))
		hand_on(sig, info, context);
	errno = error;
}

static void install(void)
{
	struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, NULL, &earlier);
	sigaction(SIGBUS, &action, NULL);
}

void *memfile_enter(void)
{
	stack_t stack = {.ss_sp = malloc(STACK), .ss_size = STACK};

	if (stack.ss_sp)
		sigaltstack(&stack, NULL);
	return stack.ss_sp;
}

void memfile_leave(void *stack)
{
	const stack_t none = {.ss_flags = SS_DISABLE};

	if (stack)
		sigaltstack(&none, NULL);
	free(stack);
}

static int refuse_open(const char *path, bool readonly, struct err *e)
{
	switch (errno) {
	case ENOENT:
		return err_set(e, ENOENT,
			       "cannot open the memory file %s: there is no such file: make one "
			       "with 'truncate -s SIZE FILE'",
			       path);
	case EISDIR:
		return err_set(e, EISDIR, "the memory file %s is a directory: give a file", path);
	case EACCES:
	case EPERM:
	case EROFS:
		return err_errno(e, errno,
				 readonly ? "cannot read the memory file %s"
					  : "cannot write to the memory file %s (',ro' asks to "
					    "read only)",
				 path);
	}
	return err_errno(e, errno, "cannot open the memory file %s", path);
}

static int open_file(struct memfile *f, const char *path, bool readonly, struct err *e)
{
	struct flock lock = {.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	off_t end;

	f->fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (f->fd < 0)
		return refuse_open(path, readonly, e);
	if (fstat(f->fd, &st))
		return err_errno(e, errno, "cannot look at the memory file %s", path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(e, EINVAL, "the memory file %s is no file: give one", path);
	if (fcntl(f->fd, F_OFD_SETLK, &lock) && (errno == EAGAIN || errno == EACCES))
		return err_set(e, EBUSY,
			       "the memory file %s is in use by another program: end that one, or "
			       "have all of them read only with ',ro'",
			       path);
	end = lseek(f->fd, 0, SEEK_END);
	if (end < 0)
		return err_errno(e, errno, "cannot measure the memory file %s", path);
	if (!end)
		return err_set(e, EINVAL,
			       "the memory file %s is empty: give it a length with 'truncate -s "
			       "SIZE FILE'",
			       path);
	f->length = (uint64_t)end;
	return 0;
}

/* Plain memory at an address that suits, and the file on top of its beginning. */
static int map_file(struct memfile *f, const char *path, bool readonly, struct err *e)
{
	uint64_t size = align_up(f->length, MEMFILE_UNIT), before;
	uint8_t *p = mmap(NULL, size + MEMFILE_UNIT, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return err_errno(e, errno, "cannot map the memory file %s", path);
	before = -(uintptr_t)p % MEMFILE_UNIT;
	if (before)
		munmap(p, before);
	if (before != MEMFILE_UNIT)
		munmap(p + before + size, MEMFILE_UNIT - before);
	f->host = p + before;
	f->size = size;
	f->bad = calloc(size / PAGE / 8, 1);
	if (!f->bad)
		return err_errno(e, ENOMEM, "cannot map the memory file %s", path);
	atomic_init(&f->end, align_up(f->length, PAGE));
	if (mmap(f->host, f->length, PROT_READ | PROT_WRITE,
		 (readonly ? MAP_PRIVATE | MAP_NORESERVE : MAP_SHARED) | MAP_FIXED, f->fd,
		 0) == MAP_FAILED)
		return err_errno(e, errno, "cannot map the memory file %s", path);
	madvise(f->host, size, MADV_DONTDUMP);
	madvise(f->host, size, MADV_DONTFORK);
	return 0;
}

/* A block device does not become shorter; where the host has no watches left, the handler and
 * memfile_flush still know. */
static void watch(struct memfile *f)
{
	struct stat st;
	char name[32];

	if (fstat(f->fd, &st) || !S_ISREG(st.st_mode))
		return;
	f->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", f->fd);
	if (f->watch_fd >= 0 && inotify_add_watch(f->watch_fd, name, IN_MODIFY) < 0) {
		close(f->watch_fd);
		f->watch_fd = -1;
	}
}

static int enlist(struct memfile *f, const char *path, struct err *e)
{
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct memfile *none = NULL;

		if (atomic_compare_exchange_strong(&files[i], &none, f))
			return 0;
	}
	return err_set(e, ENOSPC, "the memory file %s is one too many for this process", path);
}

struct memfile *memfile_open(const char *path, bool readonly, struct err *e)
{
	struct memfile *f = calloc(1, sizeof(*f));
	int rc;

	if (!f) {
		err_errno(e, ENOMEM, "cannot map the memory file %s", path);
		return NULL;
	}
	f->fd = f->watch_fd = -1;
	f->lost_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = f->lost_fd < 0 ? err_errno(e, errno, "cannot map the memory file %s", path)
			    : open_file(f, path, readonly, e);
	if (!rc)
		rc = map_file(f, path, readonly, e);
	if (!rc)
		rc = enlist(f, path, e);
	if (rc) {
		memfile_free(f);
		return NULL;
	}
	pthread_once(&installed, install);
	watch(f);
	return f;
}

void memfile_free(struct memfile *f)
{
	if (!f)
		return;
	for (unsigned i = 0; i < FILES_MAX; i++) {
		struct memfile *own = f;

		atomic_compare_exchange_strong(&files[i], &own, NULL);
	}
	if (f->host)
		munmap(f->host, f->size);
	if (f->fd >= 0)
		close(f->fd);
	if (f->lost_fd >= 0)
		close(f->lost_fd);
	if (f->watch_fd >= 0)
		close(f->watch_fd);
	free(f->bad);
	free(f);
}

uint8_t *memfile_host(const struct memfile *f)
{
	return f->host;
}

uint64_t memfile_size(const struct memfile *f)
{
	return f->size;
}

uint64_t memfile_length(const struct memfile *f)
{
	return f->length;
}

int memfile_flush(struct memfile *f)
{
	struct stat st;

	if (fdatasync(f->fd)) {
		/* What failed to be written is clean now, and a second flush would find nothing. */
		atomic_store(&f->lost, true);
		return -errno;
	}
	if (!fstat(f->fd, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size < f->length)
		return -EIO;
	return atomic_load(&f->lost) ? -EIO : 0;
}

int memfile_watch_fd(const struct memfile *f)
{
	return f->watch_fd;
}

void memfile_look(struct memfile *f)
{
	char events[4096];
	struct stat st;
	uint64_t from;

	while (read(f->watch_fd, events, sizeof(events)) > 0)
		;
	if (fstat(f->fd, &st))
		return;
	from = align_up((uint64_t)st.st_size, PAGE);
	if (from < atomic_load(&f->end))
		lose(f, from);
}

int memfile_lost_fd(const struct memfile *f)
{
	return f->lost_fd;
}
