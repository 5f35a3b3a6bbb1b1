/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/base.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/entry.h"

/* The name in text, of PATH_MAX bytes; false if it is too long. */
static bool find(char *text)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (runtime && runtime[0] == '/')
		n = snprintf(text, PATH_MAX, "%s/lodge", runtime);
	else if (!geteuid())
		n = snprintf(text, PATH_MAX, "/run/lodge");
	else
		n = snprintf(text, PATH_MAX, "/tmp/lodge-%lu", (unsigned long)geteuid());
	return n < PATH_MAX;
}

const char *base_path(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && runtime[0] == '/')
		return "$XDG_RUNTIME_DIR/lodge";
	return geteuid() ? "/tmp/lodge-UID" : "/run/lodge";
}

static int refuse(int *fd, const char *path, const char *why)
{
	cli_error("the VMs' directory %s cannot be used: %s", path, why);
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return STATUS_FAILED;
}

/* Anybody may make a directory of that name in /tmp, and give it to others. */
int base_open(int *fd, bool make)
{
	char path[PATH_MAX];
	struct stat st;

	*fd = -1;
	if (!find(path))
		return refuse(fd, base_path(), "XDG_RUNTIME_DIR is too long");
	if (make && mkdir(path, 0700) && errno != EEXIST)
		return refuse(fd, path, strerror(errno));
	*fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0 && errno == ENOENT && !make)
		return 0;
	if (*fd < 0)
		return refuse(fd, path,
			      errno == ENOTDIR || errno == ELOOP ? "it is no directory"
								 : strerror(errno));
	if (fstat(*fd, &st))
		return refuse(fd, path, strerror(errno));
	if (st.st_uid != geteuid())
		return refuse(fd, path,
			      "it belongs to another user: set XDG_RUNTIME_DIR to a "
			      "directory of your own");
	if (st.st_mode & 077)
		return refuse(fd, path, "others may look into it: chmod 700 it");
	return 0;
}

static int keep(const struct dirent *d)
{
	return entry_is_name(d->d_name) && (d->d_type == DT_DIR || d->d_type == DT_UNKNOWN);
}

/* As people count: vm2 before vm10. */
static int compare(const void *a, const void *b)
{
	return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

int base_list(int fd, char ***names)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), count = 0;
	DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *d;

	*names = NULL;
	while (dir && (d = readdir(dir))) {
		char **more = keep(d) ? realloc(*names, ((size_t)count + 1) * sizeof(*more)) : NULL;

		if (!more)
			continue;
		*names = more;
		more[count] = strdup(d->d_name);
		count += more[count] != NULL;
	}
	if (dir)
		closedir(dir);
	if (count)
		qsort(*names, (size_t)count, sizeof(**names), compare);
	return count;
}
