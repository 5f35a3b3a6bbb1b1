/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Either end of the socket device's connections, in the guest and on the host.
 *
 *	sockpeer stream|packets serve ADDRESS        answers for ever
 *	sockpeer stream|packets drive ADDRESS WHAT N
 *
 *	ADDRESS   vsock:CID:PORT | unix:PATH | call:PATH:PORT (a guest's port, by PATH)
 *	WHAT      source N  sends N bytes, ends its half, is told that they were right
 *	          sink N    receives N bytes and their end
 *	          open N    N connections after each other, a byte each way
 *	          hold N    N connections at once, a byte each way at the end
 *	          packets N packets of many lengths, N times, and back again as they were
 *	          stall N   one connection that nobody reads is filled; then as open
 *	          refused N is refused N times
 *	          mark N    has the server make the file /tmp/sockpeer.mark
 *
 * A connection begins with a letter, and a number for some, which tell the server what to do.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define CHUNK        (64u << 10)
#define PACKET       (200u << 10)
#define OPEN_AT_ONCE 4096

struct opening {
	char what; /* E echo, P a byte of it, R receive, S send, H hold, M mark */
	char unused[7];
	uint64_t count;
};

static int type;

static void die(const char *what)
{
	printf("failed %s: %s\n", what, strerror(errno));
	exit(1);
}

/* The bytes of a stream from offset at (a multiple of 8) on. */
static void pattern(uint64_t *words, size_t len, uint64_t at)
{
	for (size_t i = 0; i < len / 8; i++)
		words[i] = (at / 8 + i) * 0x9e3779b97f4a7c15ull;
}

static int vsock_socket(const char *address, struct sockaddr_vm *name)
{
	*name = (struct sockaddr_vm){.svm_family = AF_VSOCK};
	if (sscanf(address, "%u:%u", &name->svm_cid, &name->svm_port) != 2)
		die("address");
	return socket(AF_VSOCK, type, 0);
}

static int unix_socket(const char *path, size_t len, struct sockaddr_un *name)
{
	*name = (struct sockaddr_un){.sun_family = AF_UNIX};
	memcpy(name->sun_path, path, len);
	return socket(AF_UNIX, type, 0);
}

/* Calls a guest's port by the monitor's socket. */
static int call(const char *address)
{
	const char *port = strrchr(address, ':');
	struct sockaddr_un name;
	int fd = unix_socket(address, (size_t)(port - address), &name);
	char words[64] = "";
	int len;

	if (connect(fd, (const struct sockaddr *)&name, sizeof(name)))
		return -1;
	len = snprintf(words, sizeof(words), "CONNECT %s\n", port + 1);
	if (write(fd, words, (size_t)len) != len)
		return -1;
	memset(words, 0, sizeof(words));
	for (len = 0; !len || words[len - 1] != '\n'; len++)
		if (type == SOCK_SEQPACKET) {
			if (read(fd, words, sizeof(words) - 1) <= 0)
				break;
			return strncmp(words, "OK ", 3) ? -1 : fd;
		} else if (read(fd, words + len, 1) != 1)
			break;
	if (!strncmp(words, "OK ", 3))
		return fd;
	close(fd);
	errno = ECONNRESET;
	return -1;
}

static int connect_to(const char *address)
{
	struct sockaddr_vm vm;
	struct sockaddr_un un;
	int fd, rc;

	if (!strncmp(address, "call:", 5))
		return call(address + 5);
	if (!strncmp(address, "vsock:", 6)) {
		fd = vsock_socket(address + 6, &vm);
		rc = connect(fd, (const struct sockaddr *)&vm, sizeof(vm));
	} else {
		fd = unix_socket(address + 5, strlen(address + 5), &un);
		rc = connect(fd, (const struct sockaddr *)&un, sizeof(un));
	}
	if (!rc)
		return fd;
	rc = errno;
	close(fd);
	errno = rc;
	return -1;
}

static int must_connect(const char *address, char what, uint64_t count)
{
	const struct opening opening = {.what = what, .count = count};
	int fd = connect_to(address);

	if (fd < 0)
		die("connect");
	if (write(fd, &opening, sizeof(opening)) != sizeof(opening))
		die("opening");
	return fd;
}

static void send_all(int fd, uint64_t count)
{
	static uint64_t words[CHUNK / 8];

	for (uint64_t at = 0; at < count; at += CHUNK) {
		size_t len = count - at < CHUNK ? count - at : CHUNK;

		pattern(words, CHUNK, at);
		for (size_t done = 0; done < len;) {
			ssize_t n = write(fd, (char *)words + done, len - done);

			if (n <= 0)
				die("send");
			done += (size_t)n;
		}
	}
}

/* Reads to the end: whether that was count bytes, and the right ones. */
static int receive_all(int fd, uint64_t count)
{
	static uint64_t words[CHUNK / 8];
	static char bytes[CHUNK];
	uint64_t at = 0;

	pattern(words, CHUNK, 0);
	for (;;) {
		size_t in = at % CHUNK;
		ssize_t n = read(fd, bytes, CHUNK - in);

		if (n <= 0)
			return !n && at == count;
		if (memcmp(bytes, (char *)words + in, (size_t)n))
			return 0;
		at += (uint64_t)n;
		if (!(at % CHUNK))
			pattern(words, CHUNK, at);
	}
}

static void echo(int fd)
{
	static char bytes[PACKET];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0)
		if (write(fd, bytes, (size_t)n) != n)
			break;
}

static void answer(int fd)
{
	struct opening opening;

	if (read(fd, &opening, sizeof(opening)) != sizeof(opening))
		return;
	if (opening.what == 'E') {
		echo(fd);
	} else if (opening.what == 'S') {
		send_all(fd, opening.count);
	} else if (opening.what == 'R') {
		const char *words = receive_all(fd, opening.count) ? "right" : "wrong";

		if (write(fd, words, 5) != 5)
			die("answer");
	} else if (opening.what == 'M') {
		close(open("/tmp/sockpeer.mark", O_CREAT | O_WRONLY, 0600));
	} else if (opening.what == 'H') {
		if (!fork())
			for (;;)
				pause();
	}
}

static int listen_at(const char *address)
{
	struct sockaddr_vm vm;
	struct sockaddr_un un;
	int fd, rc;

	if (!strncmp(address, "vsock:", 6)) {
		fd = vsock_socket(address + 6, &vm);
		rc = bind(fd, (const struct sockaddr *)&vm, sizeof(vm));
	} else {
		fd = unix_socket(address + 5, strlen(address + 5), &un);
		rc = bind(fd, (const struct sockaddr *)&un, sizeof(un));
	}
	if (rc || listen(fd, 1024))
		die("listen");
	printf("serving\n");
	fflush(stdout);
	return fd;
}

/* Those that are held open come in any order: one process for each would be slow, so echoing ones
 * are polled for. */
static void serve(const char *address)
{
	static struct pollfd all[OPEN_AT_ONCE + 1];
	static char started[OPEN_AT_ONCE + 1];
	nfds_t count = 1;

	all[0] = (struct pollfd){.fd = listen_at(address), .events = POLLIN};
	while (poll(all, count, -1) > 0) {
		for (nfds_t i = count; i-- > 1;) {
			struct opening opening;

			if (!all[i].revents)
				continue;
			if (recv(all[i].fd, &opening, sizeof(opening), MSG_PEEK) ==
				    sizeof(opening) &&
			    opening.what == 'P' && !started[i]) {
				/* a byte later, by itself */
				char byte;

				recv(all[i].fd, &opening, sizeof(opening), 0);
				if (recv(all[i].fd, &byte, 1, MSG_DONTWAIT) == 1)
					if (write(all[i].fd, &byte, 1) != 1)
						die("byte");
				started[i] = 1;
				continue;
			}
			if (started[i]) {
				char byte;
				ssize_t n = read(all[i].fd, &byte, 1);

				if (n == 1 && write(all[i].fd, &byte, 1) == 1)
					continue;
			} else {
				answer(all[i].fd);
			}
			close(all[i].fd);
			count--;
			all[i] = all[count];
			started[i] = started[count];
		}
		if (all[0].revents && count <= OPEN_AT_ONCE) {
			started[count] = 0;
			all[count] = (struct pollfd){.fd = accept(all[0].fd, NULL, NULL),
						     .events = POLLIN};
			if (all[count].fd >= 0)
				count++;
		}
	}
}

static void a_byte(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1 || byte != 'x')
		die("byte");
}

static int drive_open(const char *address, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		int fd = must_connect(address, 'E', 0);

		a_byte(fd);
		close(fd);
	}
	return 1;
}

static int drive_hold(const char *address, uint64_t n)
{
	static int fds[OPEN_AT_ONCE];

	for (uint64_t i = 0; i < n; i++)
		fds[i] = must_connect(address, 'P', 0);
	for (uint64_t i = 0; i < n; i++)
		a_byte(fds[i]);
	for (uint64_t i = 0; i < n; i++)
		close(fds[i]);
	return 1;
}

static int drive_mark(const char *address, uint64_t n)
{
	char byte;

	return read(must_connect(address, 'M', n), &byte, 1) == 0;
}

static int drive_source(const char *address, uint64_t n)
{
	int fd = must_connect(address, 'R', n);
	char words[8] = "";

	send_all(fd, n);
	shutdown(fd, SHUT_WR);
	return read(fd, words, 5) == 5 && !strcmp(words, "right") && read(fd, words, 1) == 0;
}

static int drive_sink(const char *address, uint64_t n)
{
	return receive_all(must_connect(address, 'S', n), n);
}

static int drive_packets(const char *address, uint64_t n)
{
	static const size_t lens[] = {1, 7, 100, 4052, 4053, 4096, 65536, 65537, 150000};
	static char bytes[PACKET], back[PACKET];
	int fd = must_connect(address, 'E', 0);

	for (uint64_t i = 0; i < n; i++) {
		for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			memset(bytes, (int)(i + l + 1), lens[l]);
			if (write(fd, bytes, lens[l]) != (ssize_t)lens[l])
				die("packet");
		}
		for (size_t l = 0; l < sizeof(lens) / sizeof(lens[0]); l++) {
			memset(bytes, (int)(i + l + 1), lens[l]);
			if (recv(fd, back, sizeof(back), 0) != (ssize_t)lens[l] ||
			    memcmp(bytes, back, lens[l]))
				return 0;
		}
	}
	return 1;
}

static int drive_stall(const char *address, uint64_t n)
{
	int fd = must_connect(address, 'H', 0);
	static char bytes[CHUNK];
	uint64_t total = 0;
	ssize_t sent;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int quiet = 0; quiet < 20;) {
		sent = write(fd, bytes, sizeof(bytes));
		if (sent > 0)
			total += (uint64_t)sent;
		quiet = sent > 0 ? 0 : quiet + 1;
		if (sent <= 0)
			usleep(10000);
	}
	printf("stalled after %llu\n", (unsigned long long)total);
	return total < (64u << 20) && drive_open(address, n);
}

static int drive_refused(const char *address, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		if (connect_to(address) >= 0 || errno != ECONNRESET)
			die("to be refused");
	return 1;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(const char *address, uint64_t n);
	} all[] = {
		{"open", drive_open},       {"hold", drive_hold},       {"source", drive_source},
		{"sink", drive_sink},       {"packets", drive_packets}, {"stall", drive_stall},
		{"refused", drive_refused}, {"mark", drive_mark},
	};

	if (argc < 4)
		return 2;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	type = strcmp(argv[1], "packets") ? SOCK_STREAM : SOCK_SEQPACKET;
	if (!strcmp(argv[2], "serve"))
		serve(argv[3]);
	for (size_t i = 0; argc > 5 && i < sizeof(all) / sizeof(all[0]); i++) {
		if (strcmp(argv[4], all[i].name))
			continue;
		if (!all[i].run(argv[3], strtoull(argv[5], NULL, 0)))
			printf("failed %s\n", argv[4]);
		else
			printf("done %s\n", argv[4]);
	}
	return 0;
}
