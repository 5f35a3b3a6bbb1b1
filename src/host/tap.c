/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A descriptor a pair of queues, all of one interface. A frame that came is read into
 * a buffer of the pair's and stays there until its user has taken it; a frame that is
 * sent goes from where it lies.
 *
 * Whether an interface that exists has several queues was said when it was made; one
 * is then opened as it is.
 */
#include "host/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/bits.h"

#define DEVICE "/dev/net/tun"

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct tap {
	struct netif netif;
	int fds[NETIF_QUEUES_MAX];
	bool attached[NETIF_QUEUES_MAX];
	size_t len[NETIF_QUEUES_MAX]; /* of the frame in the buffer, with its header; 0: none */
	uint8_t buffers[NETIF_QUEUES_MAX][NETIF_HEADER_SIZE + NETIF_FRAME_MAX];
};

_Static_assert(sizeof(struct netif_span) == sizeof(struct iovec) &&
		       offsetof(struct netif_span, base) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct netif_span, len) == offsetof(struct iovec, iov_len),
	       "a span is an iovec");

static struct tap *tap_of(struct netif *n)
{
	return container_of(n, struct tap, netif);
}

static void check_lost(struct tap *t, unsigned queue, int error)
{
	if (error == EBADFD && t->attached[queue])
		netif_lost(&t->netif, "it was deleted on the host");
}

static int send_frame(struct netif *n, unsigned queue, const struct netif_span *spans,
		      unsigned count)
{
	struct tap *t = tap_of(n);
	int error;

	if (writev(t->fds[queue], (const struct iovec *)spans, (int)count) >= 0)
		return 0;
	error = errno;
	check_lost(t, queue, error);
	return -error;
}

static int receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	struct tap *t = tap_of(n);
	ssize_t got;

	if (!t->len[queue]) {
		got = read(t->fds[queue], t->buffers[queue], sizeof(t->buffers[queue]));
		if (got < 0)
			check_lost(t, queue, errno);
		if (got < (ssize_t)NETIF_HEADER_SIZE)
			return -EAGAIN;
		t->len[queue] = (size_t)got;
	}
	*frame = t->buffers[queue];
	*len = t->len[queue];
	return 0;
}

static void received(struct netif *n, unsigned queue)
{
	tap_of(n)->len[queue] = 0;
}

static bool staged(struct netif *n, unsigned queue)
{
	return tap_of(n)->len[queue];
}

static int set_offloads(int fd, unsigned offloads)
{
	static const struct {
		unsigned netif, tun;
	} flags[] = {
		{NETIF_CSUM, TUN_F_CSUM},   {NETIF_TSO4, TUN_F_TSO4}, {NETIF_TSO6, TUN_F_TSO6},
		{NETIF_ECN, TUN_F_TSO_ECN}, {NETIF_UFO, TUN_F_UFO},   {NETIF_USO4, TUN_F_USO4},
		{NETIF_USO6, TUN_F_USO6},
	};
	unsigned long tun = 0;

	for (unsigned i = 0; i < ARRAY_LEN(flags); i++)
		if (offloads & flags[i].netif)
			tun |= flags[i].tun;
	return ioctl(fd, TUNSETOFFLOAD, tun) ? -errno : 0;
}

/* It is the interface's, not the descriptor's: once is enough. */
static int offload(struct netif *n, unsigned offloads)
{
	return set_offloads(tap_of(n)->fds[0], offloads & n->receives);
}

static int use(struct netif *n, unsigned queues)
{
	struct tap *t = tap_of(n);
	struct ifreq ifr = {.ifr_flags = 0};

	for (unsigned i = 0; i < n->queues; i++) {
		bool on = i < queues;

		if (on == t->attached[i])
			continue;
		ifr.ifr_flags = on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE;
		if (ioctl(t->fds[i], TUNSETQUEUE, &ifr))
			return -errno;
		t->attached[i] = on;
		if (on)
			netif_resume(n, i); /* it was not watched while it gave only errors */
	}
	return 0;
}

static void tap_free(struct netif *n)
{
	struct tap *t = tap_of(n);

	netif_close_ports(n);
	for (unsigned i = 0; i < n->queues; i++)
		if (t->fds[i] >= 0)
			close(t->fds[i]);
	free(t);
}

static const struct netif_ops tap_ops = {
	.send = send_frame,
	.receive = receive,
	.received = received,
	.staged = staged,
	.offload = offload,
	.use = use,
	.free = tap_free,
};

static int refuse_device(struct err *e)
{
	switch (errno) {
	case ENOENT:
	case ENODEV:
		return err_set(e, errno,
			       "cannot use tap devices: the host has no " DEVICE
			       ": load its module with 'modprobe tun'");
	case EACCES:
	case EPERM:
		return err_set(e, errno,
			       "cannot open " DEVICE ": %s: ask for access to it, or give "
			       "'--net user', which needs none",
			       strerror(errno));
	}
	return err_errno(e, errno, "cannot open " DEVICE);
}

static int refuse_name(const struct tap_config *config, bool existed, int error, struct err *e)
{
	const char *name = config->name;

	switch (error) {
	case EPERM:
	case EACCES:
		if (existed)
			return err_set(
				e, error,
				"cannot use the tap device %s: it is another user's: have it "
				"made with 'ip tuntap add %s mode tap user NAME'",
				name, name);
		return err_set(e, error,
			       "cannot make the tap device %s: that is not permitted: have it made "
			       "with 'ip tuntap add %s mode tap user NAME'",
			       name, name);
	case EBUSY:
		return err_set(e, error,
			       "cannot use the tap device %s: another program has it: give each VM "
			       "its own",
			       name);
	case EINVAL:
		if (config->queues == 1)
			return err_set(e, error,
				       "cannot use %s: it is no tap device: make one with 'ip "
				       "tuntap add NAME mode tap'",
				       name);
		return err_set(e, error,
			       "cannot use %s: it is no tap device of several queues: make one "
			       "with 'ip tuntap add NAME mode tap multi_queue'",
			       name);
	}
	return err_errno(e, error, "cannot use the tap device %s", name);
}

/* One queue of the interface: its descriptor, or -errno of TUNSETIFF; -1 with e set where the host
 * has no such devices. */
static int open_queue(const char *name, bool several, struct err *e)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	int rc;

	if (fd < 0) {
		refuse_device(e);
		return -1;
	}
	ifr.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				(several ? IFF_MULTI_QUEUE : 0));
	memcpy(ifr.ifr_name, name, MIN(strlen(name), sizeof(ifr.ifr_name) - 1));
	if (!ioctl(fd, TUNSETIFF, &ifr))
		return fd;
	rc = errno;
	close(fd);
	return -rc;
}

static int open_queues(struct tap *t, const struct tap_config *config, bool existed, struct err *e)
{
	bool several = config->queues > 1;
	int size = NETIF_HEADER_SIZE, little = 1;

	for (unsigned i = 0; i < config->queues; i++) {
		int fd = open_queue(config->name, several, e);

		/* One that exists may have several although one is wanted. */
		if (fd == -EINVAL && !i && existed && !several) {
			several = true;
			fd = open_queue(config->name, several, e);
		}
		if (e->code)
			return e->code;
		if (fd < 0)
			return refuse_name(config, existed, -fd, e);
		t->fds[i] = fd;
		t->attached[i] = true;
		t->netif.queues = i + 1;
		if (ioctl(fd, TUNSETVNETHDRSZ, &size) || ioctl(fd, TUNSETVNETLE, &little))
			return err_errno(e, errno, "cannot use the tap device %s", config->name);
	}
	return 0;
}

/* What the kernel can leave undone, the most first. */
static void find_offloads(struct tap *t)
{
	const unsigned basic = NETIF_CSUM | NETIF_TSO4 | NETIF_TSO6 | NETIF_ECN | NETIF_UFO;
	const unsigned all[] = {basic | NETIF_USO4 | NETIF_USO6, basic, basic & ~NETIF_UFO,
				NETIF_CSUM};

	t->netif.sends = basic;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		if (set_offloads(t->fds[0], all[i]))
			continue;
		t->netif.receives = all[i];
		t->netif.sends |= all[i];
		break;
	}
	set_offloads(t->fds[0], 0);
}

/* Sets up an interface that was made here; for any, finds out what packets it carries. */
static int configure(struct tap *t, const struct tap_config *config, bool existed, struct err *e)
{
	struct ifreq ifr = {.ifr_flags = 0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int rc = 0;

	if (fd < 0)
		return 0; /* a host without IPv4: it stays as it is */
	memcpy(ifr.ifr_name, config->name, strlen(config->name));
	if (!existed && config->mtu) {
		ifr.ifr_mtu = (int)config->mtu;
		if (ioctl(fd, SIOCSIFMTU, &ifr))
			rc = errno;
	}
	if (!rc && !ioctl(fd, SIOCGIFMTU, &ifr))
		t->netif.mtu = MIN((unsigned)ifr.ifr_mtu, NETIF_MTU_MAX);
	if (!rc && !existed && !ioctl(fd, SIOCGIFFLAGS, &ifr)) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(fd, SIOCSIFFLAGS, &ifr))
			rc = errno;
	}
	close(fd);
	return rc ? err_errno(e, rc, "cannot set up the tap device %s", config->name) : 0;
}

struct netif *tap_open(struct event_loop *loop, const struct tap_config *config, struct err *e)
{
	bool existed = if_nametoindex(config->name);
	struct tap *t = calloc(1, sizeof(*t));
	int rc;

	if (!t) {
		err_errno(e, ENOMEM, "cannot use the tap device %s", config->name);
		return NULL;
	}
	t->netif.ops = &tap_ops;
	t->netif.loop = loop;
	t->netif.header = true;
	rc = open_queues(t, config, existed, e);
	if (!rc) {
		find_offloads(t);
		rc = configure(t, config, existed, e);
	}
	if (!rc)
		rc = netif_open_ports(&t->netif, t->fds, e);
	if (!rc)
		return &t->netif;
	tap_free(&t->netif);
	return NULL;
}
