/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cli/base.h"
#include "cli/cli.h"

#define LETTERS   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define RETRIES   20
#define RETRY_MS  5
#define VM_NUMBER 100000

/* All that an entry may have. */
static const char *const files[] = {"control", "console", "log", "log.1", "ended", "pid"};

#define FILES   ((int)(sizeof(files) / sizeof(files[0])))
#define SOCKETS 2 /* the first of them */

bool entry_is_name(const char *name)
{
	size_t len = strlen(name);

	return len && len <= ENTRY_NAME_MAX && strspn(name, LETTERS "-_.") == len &&
	       strchr(LETTERS, name[0]);
}

int entry_check_name(const char *name)
{
	if (entry_is_name(name))
		return 0;
	cli_error("name '%s' cannot be used: give a letter or digit and up to %d more, with '-', "
		  "'_' and '.'",
		  name, ENTRY_NAME_MAX - 1);
	return STATUS_USAGE;
}

void entry_path(const struct entry *entry, const char *file, char path[ENTRY_PATH_MAX])
{
	snprintf(path, ENTRY_PATH_MAX, "/proc/self/fd/%d/%s", entry->dir, file);
}

static void wait_a_little(void)
{
	const struct timespec time = {0, RETRY_MS * 1000000L};

	nanosleep(&time, NULL);
}

static int lock_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_OFD_SETLK, &lock);
}

/* Whether another holds the lock. */
static bool is_locked(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

/* Whether the locked file is still the one that the directory has: who takes away a dead entry may
 * have been quicker. */
static bool is_linked(const struct entry *e)
{
	struct stat ours, theirs;

	return !fstat(e->lock, &ours) && !fstatat(e->dir, "pid", &theirs, AT_SYMLINK_NOFOLLOW) &&
	       ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static int open_dir(const struct entry *e, const char *name)
{
	return openat(e->base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* One try: 0, or -errno; -EEXIST: somebody has the name, -EAGAIN: try again. */
static int try_claim(struct entry *e)
{
	int rc;

	if (mkdirat(e->base, e->name, 0700) && errno != EEXIST)
		return -errno;
	e->dir = open_dir(e, e->name);
	if (e->dir < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	e->lock = openat(e->dir, "pid", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (e->lock >= 0 && !lock_file(e->lock) && is_linked(e))
		return 0;
	rc = e->lock >= 0 || errno == ENOENT ? -EAGAIN : -errno;
	if (e->lock >= 0 && is_locked(e->lock))
		rc = -EEXIST;
	close_fd(&e->lock);
	close_fd(&e->dir);
	return rc;
}

static void remove_files(const struct entry *e, int from, int to)
{
	for (int i = from; i < to; i++)
		unlinkat(e->dir, files[i], 0);
}

/* Field 22 of /proc/self/stat: when the process began, in ticks since the host did. */
static unsigned long long start_time(void)
{
	char text[1024], *at;
	unsigned long long ticks = 0;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	at = strrchr(text, ')'); /* the name may have anything in it */
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		ticks = strtoull(at, NULL, 10);
	return ticks;
}

static int write_pid(const struct entry *e)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%ld %llu\n", (long)getpid(), start_time());

	if (ftruncate(e->lock, 0) || pwrite(e->lock, text, (size_t)n, 0) != n)
		return -errno;
	return 0;
}

static pid_t read_pid(int fd)
{
	char text[64];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

static int tell_taken(const struct entry *e)
{
	struct entry other;
	pid_t pid = 0;

	if (!entry_open(&other, e->name)) {
		entry_state(&other, &pid);
		entry_close(&other);
	}
	cli_error("a VM named %s runs (process %ld): stop it, or give another name", e->name,
		  (long)pid);
	return STATUS_USAGE;
}

/* Claims a name of its own: vm1, vm2... An ended VM's stays its own. */
static int claim_any(struct entry *e)
{
	int rc = -EEXIST;

	for (int i = 1; rc == -EEXIST && i < VM_NUMBER; i++) {
		snprintf(e->name, sizeof(e->name), "vm%d", i);
		rc = faccessat(e->base, e->name, F_OK, AT_SYMLINK_NOFOLLOW) ? try_claim(e)
									    : -EEXIST;
		if (rc == -EAGAIN)
			rc = -EEXIST;
	}
	return rc;
}

static int claim(struct entry *e, const char *name)
{
	int rc = -EAGAIN;

	if (!name)
		return claim_any(e);
	snprintf(e->name, sizeof(e->name), "%s", name);
	/* -EEXIST too: one who takes away a dead entry holds its lock, for a moment. */
	for (int i = 0; (rc == -EAGAIN || rc == -EEXIST) && i < RETRIES; i++) {
		if (i)
			wait_a_little();
		rc = try_claim(e);
	}
	return rc;
}

int entry_claim(struct entry *e, const char *name)
{
	int rc = name ? entry_check_name(name) : 0;

	*e = (struct entry){.base = -1, .dir = -1, .lock = -1};
	if (!rc)
		rc = base_open(&e->base, true);
	if (rc)
		return rc;
	rc = claim(e, name);
	if (rc == -EEXIST && name) {
		rc = tell_taken(e);
		entry_close(e);
		return rc;
	}
	if (!rc) {
		remove_files(e, 0, FILES - 1);
		rc = write_pid(e);
	}
	if (!rc)
		return 0;
	cli_error("cannot list the VM as %s in %s: %s", e->name, base_path(), strerror(-rc));
	entry_release(e, true);
	return STATUS_FAILED;
}

/* With its lock held. */
static void remove_whole(const struct entry *e)
{
	remove_files(e, 0, FILES);
	unlinkat(e->base, e->name, AT_REMOVEDIR);
}

void entry_release(struct entry *e, bool whole)
{
	if (e->lock >= 0 && whole)
		remove_whole(e);
	else if (e->lock >= 0)
		remove_files(e, 0, SOCKETS);
	entry_close(e);
}

void entry_close(struct entry *e)
{
	if (!e->name[0])
		return;
	close_fd(&e->lock);
	close_fd(&e->dir);
	close_fd(&e->base);
	e->name[0] = '\0';
}

static int no_such_vm(const char *name)
{
	char **names;
	int n = entry_names(&names);
	const char *near;

	if (n < 0)
		return STATUS_FAILED;
	near = cli_nearest(name, (const char *const *)names, (size_t)n);
	if (near)
		cli_error("no VM is named %s: did you mean %s?", name, near);
	else
		cli_error("no VM is named %s: 'lodge ps --all' lists them", name);
	entry_free_names(names, n);
	return STATUS_FAILED;
}

int entry_open(struct entry *e, const char *name)
{
	int rc = entry_check_name(name);

	*e = (struct entry){.base = -1, .dir = -1, .lock = -1};
	if (!rc)
		rc = base_open(&e->base, false);
	if (rc)
		return rc;
	snprintf(e->name, sizeof(e->name), "%s", name);
	if (e->base >= 0)
		e->dir = open_dir(e, name);
	if (e->dir >= 0)
		return 0;
	rc = errno;
	entry_close(e);
	if (rc == ENOENT || rc == ENOTDIR)
		return no_such_vm(name);
	cli_error("cannot look at the VM %s: %s", name, strerror(rc));
	return STATUS_FAILED;
}

enum entry_state entry_state(const struct entry *e, pid_t *pid)
{
	int fd = openat(e->dir, "pid", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	enum entry_state state = ENTRY_DIED;

	if (pid)
		*pid = 0;
	if (fd >= 0 && is_locked(fd)) {
		state = ENTRY_RUNS;
		if (pid)
			*pid = read_pid(fd);
	} else if (!faccessat(e->dir, "ended", F_OK, AT_SYMLINK_NOFOLLOW)) {
		state = ENTRY_ENDED;
	}
	close_fd(&fd);
	return state;
}

/* When a dead entry had its log written last; -1: it has none, or lives. */
static int64_t dead_since(const struct entry *e)
{
	struct stat st;

	if (entry_state(e, NULL) == ENTRY_RUNS || fstatat(e->dir, "log", &st, AT_SYMLINK_NOFOLLOW))
		return -1;
	return (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000;
}

/* Takes away what a dead VM need not leave. True if nothing is left. */
static bool clean(struct entry *e, bool whole)
{
	bool gone = false;

	if (entry_state(e, NULL) == ENTRY_RUNS)
		return false;
	e->lock = openat(e->dir, "pid", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (e->lock < 0 && errno == ENOENT) /* its maker did not get further */
		return !unlinkat(e->base, e->name, AT_REMOVEDIR);
	if (e->lock >= 0 && !lock_file(e->lock) && is_linked(e)) {
		if (whole || faccessat(e->dir, "log", F_OK, AT_SYMLINK_NOFOLLOW)) {
			remove_whole(e);
			gone = true;
		} else {
			remove_files(e, 0, SOCKETS);
		}
	}
	close_fd(&e->lock);
	return gone;
}

/* The entry that is dead for the longest time, if there are more than are kept; else -1. */
static int oldest(int base, char **names, int count)
{
	int64_t when = INT64_MAX;
	int which = -1, dead = 0;

	for (int i = 0; i < count; i++) {
		struct entry e = {.base = base, .dir = -1, .lock = -1};
		int64_t since;

		e.dir = open_dir(&e, names[i]);
		if (e.dir < 0)
			continue;
		since = dead_since(&e);
		close(e.dir);
		dead += since >= 0;
		if (since >= 0 && since < when) {
			when = since;
			which = i;
		}
	}
	return dead > ENTRIES_KEPT ? which : -1;
}

static void drop(char **names, int *count, int which)
{
	free(names[which]);
	memmove(&names[which], &names[which + 1], (size_t)(*count - which - 1) * sizeof(names[0]));
	--*count;
}

static bool clean_one(int base, const char *name, bool whole)
{
	struct entry e = {.base = base, .dir = -1, .lock = -1};
	bool gone;

	snprintf(e.name, sizeof(e.name), "%s", name);
	e.dir = open_dir(&e, name);
	gone = e.dir >= 0 && clean(&e, whole);
	close_fd(&e.dir);
	return gone;
}

int entry_names(char ***names)
{
	int base, count = 0, rc = base_open(&base, false), which;

	*names = NULL;
	if (rc)
		return -1;
	if (base < 0)
		return 0;
	count = base_list(base, names);
	for (int i = 0; i < count;)
		if (clean_one(base, (*names)[i], false))
			drop(*names, &count, i);
		else
			i++;
	while ((which = oldest(base, *names, count)) >= 0) {
		clean_one(base, (*names)[which], true);
		drop(*names, &count, which);
	}
	close(base);
	return count;
}

void entry_free_names(char **names, int count)
{
	for (int i = 0; i < count; i++)
		free(names[i]);
	free(names);
}
