/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listen.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 64

static int name_socket(const struct entry *e, const char *file, int type,
		       struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	_Static_assert(sizeof(address->sun_path) >= ENTRY_PATH_MAX, "a path fits");
	entry_path(e, file, address->sun_path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | type, 0);
}

int listen_open(const struct entry *e, const char *file)
{
	struct sockaddr_un address;
	int fd = name_socket(e, file, SOCK_NONBLOCK, &address), rc = 0;

	if (fd < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int listen_connect(const struct entry *e, const char *file)
{
	const struct timeval limit = {LISTEN_SECONDS, 0}; /* a backlog may be full */
	struct sockaddr_un address;
	int fd = name_socket(e, file, 0, &address), rc = 0;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		rc = -errno;
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

int listen_accept(int fd)
{
	return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
