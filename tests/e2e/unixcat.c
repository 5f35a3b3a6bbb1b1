/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unixcat PATH BYTES: connects to the Unix socket PATH, or opens the terminal of that name, and
 * waits for it to be there. Sends standard input, and at the same time prints what comes; ends when
 * that were BYTES and all is sent, or the other end hung up (status 3).
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int open_end(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	struct stat st;
	int fd;

	strncpy(at.sun_path, path, sizeof(at.sun_path) - 1);
	for (;; usleep(50000)) {
		if (stat(path, &st))
			continue;
		if (S_ISCHR(st.st_mode)) {
			fd = open(path, O_RDWR | O_NOCTTY);
			if (fd >= 0)
				return fd;
			continue;
		}
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (!connect(fd, (struct sockaddr *)&at, sizeof(at)))
			return fd;
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static char buf[65536], out[65536];
	size_t held = 0, sent = 0;
	long long left = argc > 2 ? atoll(argv[2]) : 0;
	int end, sending = 1;
	ssize_t n;

	if (argc < 3) {
		fprintf(stderr, "usage: unixcat PATH BYTES\n");
		return 2;
	}
	end = open_end(argv[1]);
	fcntl(end, F_SETFL, O_NONBLOCK);
	while (sending || left > 0) {
		struct pollfd fds[] = {
			{end, POLLIN | (sent < held ? POLLOUT : 0), 0},
			{sending && sent == held ? 0 : -1, POLLIN, 0},
		};

		poll(fds, 2, -1);
		if (fds[0].revents & (POLLIN | POLLHUP)) {
			n = read(end, buf, sizeof(buf));
			if (!n || (n < 0 && errno != EAGAIN))
				return 3;
			if (n > 0 && write(1, buf, (size_t)n) != n)
				return 1;
			left -= n > 0 ? n : 0;
		}
		if (fds[0].revents & POLLOUT) {
			n = write(end, out + sent, held - sent);
			if (n < 0 && errno != EAGAIN)
				return 3;
			sent += n > 0 ? (size_t)n : 0;
		}
		if (fds[1].revents) {
			n = read(0, out, sizeof(out));
			held = n > 0 ? (size_t)n : 0;
			sent = 0;
			sending = n > 0;
		}
	}
	return 0;
}
