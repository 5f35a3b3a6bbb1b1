/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's files: written and read as the host asks. */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void file_put(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
{
	char *path = (char *)data + sizeof(uint32_t);
	uint32_t mode;

	memcpy(&mode, data, sizeof(mode));
	data[length - 1] = '\0';
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
	unlink(path);
	a->put_channel = channel;
	a->put_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
	a->put_error = a->put_fd < 0 ? errno : 0;
	if (a->put_fd >= 0)
		fchmod(a->put_fd, mode);
}

void file_content(struct agent *a, uint16_t channel, const uint8_t *data, size_t length)
{
	int last = !length;

	while (length && !a->put_error) {
		ssize_t n = write(a->put_fd, data, length);

		if (n < 0) {
			a->put_error = errno;
		} else {
			data += n;
			length -= (size_t)n;
		}
	}
	if (!last)
		return;
	if (a->put_fd >= 0 && close(a->put_fd) && !a->put_error)
		a->put_error = errno;
	a->put_fd = -1;
	if (a->put_error)
		reply_error(a, channel, "cannot write the file", a->put_error);
	else
		reply(a, 'k', channel, NULL, 0);
}

void file_get(struct agent *a, uint16_t channel, uint8_t *data, size_t length)
{
	char *path = (char *)data, content[CHUNK];
	struct stat st = {0};
	uint32_t mode;
	ssize_t n;
	int fd;

	path[length - 1] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st)) {
		reply_error(a, channel, path, errno);
		return;
	}
	while ((n = read(fd, content, sizeof(content))) > 0)
		reply(a, 'd', channel, content, (size_t)n);
	mode = st.st_mode & 07777;
	if (n < 0)
		reply_error(a, channel, path, errno);
	else
		reply(a, 'k', channel, &mode, sizeof(mode));
	close(fd);
}
