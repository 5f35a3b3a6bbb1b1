/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded: fdatasync() takes until there is a file "go" in the directory $FLUSHES, a minute at
 * most, and makes a file "asked" there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TRIES 6000

int fdatasync(int fd)
{
	const char *folder = getenv("FLUSHES");
	char asked[256], go[256];

	if (folder) {
		snprintf(asked, sizeof(asked), "%s/asked", folder);
		snprintf(go, sizeof(go), "%s/go", folder);
		close(open(asked, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
		for (unsigned i = 0; i < TRIES && access(go, F_OK); i++)
			usleep(10000);
	}
	return fsync(fd);
}
