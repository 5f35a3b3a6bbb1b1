/* SPDX-License-Identifier: Apache-2.0 */
#include "api/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int outlet_open(struct outlet *o, const char *what, const char *path, struct err *e)
{
	/* Both ways: a FIFO opens before its reader comes, and outlives it. */
	int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0644);

	if (fd < 0)
		return err_errno(e, errno, "cannot write %s to %s", what, path);
	outlet_close(o);
	o->fd = fd;
	return 0;
}

void outlet_close(struct outlet *o)
{
	if (o->fd >= 0)
		close(o->fd);
	o->fd = -1;
}

void outlet_write(struct outlet *o, const char *line, size_t len)
{
	if (o->fd >= 0 && write(o->fd, line, len) != (ssize_t)len)
		o->lost++;
}
