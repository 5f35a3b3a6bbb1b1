/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream tap NAME: makes a tap device that stays.
 * stream serve: takes connections at port PORT, and sends, or reads, as much as each asks for.
 * stream load ADDRESS KIB PINGS: with that server,
 *
 *	send	sends so much, until the last byte is acknowledged by one of the server's
 *	receive	receives so much
 *	ping	sends so many echo requests one after the other, each when the last was answered
 *
 * each behind some more of the same that is not counted, between two marks of the lab's plugin.
 *
 *	LOAD: end NAME AMOUNT NANOSECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ip_icmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/lab/mark.h"

#define PORT     5001
#define WARM_KIB 1024u
#define WARM     8u /* echo requests */

struct order {
	uint64_t to_send, to_read; /* by the server */
};

static char buffer[1 << 16];

static void die(const char *what)
{
	printf("LOAD: failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void send_all(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = write(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer));

		if (n <= 0)
			die("write");
		left -= (uint64_t)n;
	}
}

static void read_all(int fd, uint64_t left)
{
	while (left) {
		ssize_t n = read(fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer));

		if (n <= 0)
			die("read");
		left -= (uint64_t)n;
	}
}

static int make_tap(const char *name)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int fd = open("/dev/net/tun", O_RDWR);

	strncpy(ifr.ifr_name, name, sizeof(ifr.ifr_name) - 1);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) || ioctl(fd, TUNSETPERSIST, 1))
		die(name);
	return 0;
}

static int serve(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	struct order order;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1))
		die("bind");
	for (;;) {
		int peer = accept(fd, NULL, NULL);

		while (read(peer, &order, sizeof(order)) == sizeof(order)) {
			read_all(peer, order.to_read);
			send_all(peer, order.to_send);
		}
		close(peer);
	}
}

static int connected(const char *address)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	inet_pton(AF_INET, address, &to.sin_addr);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		die("connect");
	return fd;
}

static void exchange(int fd, uint64_t to_server, uint64_t to_us)
{
	struct order order = {.to_send = to_us, .to_read = to_server};

	if (write(fd, &order, sizeof(order)) != sizeof(order))
		die("write");
	send_all(fd, to_server);
	read_all(fd, to_us);
}

static uint16_t checksum(const void *data, size_t len)
{
	const uint16_t *words = data;
	uint32_t sum = 0;

	for (size_t i = 0; i < len / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t) ~(sum + (sum >> 16));
}

static void ping(int fd, const struct sockaddr_in *to, unsigned count)
{
	struct {
		struct icmphdr head;
		char data[56];
	} packet = {.head = {.type = ICMP_ECHO}};

	for (unsigned i = 0; i < count; i++) {
		packet.head.un.echo.sequence = (uint16_t)i;
		packet.head.checksum = 0;
		packet.head.checksum = checksum(&packet, sizeof(packet));
		if (sendto(fd, &packet, sizeof(packet), 0, (const struct sockaddr *)to,
			   sizeof(*to)) < 0 ||
		    recv(fd, buffer, sizeof(buffer), 0) < (ssize_t)sizeof(packet))
			die("ping");
	}
}

static void said(const char *name, uint64_t amount, uint64_t begin)
{
	uint64_t took = now() - begin;

	printf("LOAD: end %s %llu %llu\n", name, (unsigned long long)amount,
	       (unsigned long long)took);
	tcdrain(STDOUT_FILENO);
}

static int load(const char *address, uint64_t kib, unsigned pings)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int raw = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	int fd = connected(address);
	uint64_t begin;

	exchange(fd, WARM_KIB << 10, 1);
	begin = now();
	MARK(MARK_LOOP_A);
	exchange(fd, kib << 10, 1);
	MARK(MARK_LOOP_B);
	said("send", kib, begin);
	exchange(fd, 0, WARM_KIB << 10);
	begin = now();
	MARK(MARK_LOOP_A);
	exchange(fd, 0, kib << 10);
	MARK(MARK_LOOP_B);
	said("receive", kib, begin);
	close(fd);
	inet_pton(AF_INET, address, &to.sin_addr);
	ping(raw, &to, WARM);
	begin = now();
	MARK(MARK_LOOP_A);
	ping(raw, &to, pings);
	MARK(MARK_LOOP_B);
	said("ping", pings, begin);
	printf("LOAD: all\n");
	return 0;
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "tap"))
		return make_tap(argv[2]);
	if (argc == 2 && !strcmp(argv[1], "serve"))
		return serve();
	if (argc == 5 && !strcmp(argv[1], "load"))
		return load(argv[2], strtoull(argv[3], NULL, 10),
			    (unsigned)strtoul(argv[4], NULL, 10));
	return 1;
}
