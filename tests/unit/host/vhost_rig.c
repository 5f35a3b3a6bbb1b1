/* SPDX-License-Identifier: Apache-2.0 */
#include "vhost_rig.h"

#include <assert.h>
#include <dirent.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"

#define F_PROTOCOL 30
#define PATIENCE   (60 * NS_PER_SEC)

struct message {
	uint32_t request, flags, size;
	uint8_t payload[512];
	int fds[VDAEMON_REGIONS];
	unsigned fd_count;
};

static bool receive(struct vdaemon *d, struct message *m)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(m->fds))];
	} control;
	struct iovec part = {m, 12};
	struct msghdr msg = {.msg_iov = &part,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	struct cmsghdr *c;

	m->fd_count = 0;
	if (recvmsg(d->socket, &msg, MSG_WAITALL) != 12)
		return false;
	c = CMSG_FIRSTHDR(&msg);
	if (c) {
		m->fd_count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(m->fds, CMSG_DATA(c), m->fd_count * sizeof(int));
	}
	assert(m->size <= sizeof(m->payload) && (m->flags & 3) == 1 && !(m->flags & 4));
	return !m->size || recv(d->socket, m->payload, m->size, MSG_WAITALL) == (ssize_t)m->size;
}

static void answer(struct vdaemon *d, const struct message *m, uint64_t value, uint32_t size,
		   enum vdaemon_fault fault)
{
	struct {
		uint32_t request, flags, size;
		uint8_t payload[16];
	} __attribute__((packed)) out = {m->request, 5, size, {0}};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {{0}};
	size_t len = 12 + size;
	struct iovec part = {&out, len};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	memcpy(out.payload, &value, sizeof(value));
	if (fault == VDAEMON_HALF)
		part.iov_len = 7;
	if (fault == VDAEMON_SHORT || fault == VDAEMON_LONG) {
		out.size = size + (fault == VDAEMON_LONG ? 4 : -4);
		part.iov_len = 12 + out.size;
	}
	if (fault == VDAEMON_HUGE)
		out.size = UINT32_MAX;
	if (fault == VDAEMON_OTHER)
		out.request++;
	if (fault == VDAEMON_NO_REPLY)
		out.flags = 1;
	if (fault == VDAEMON_DESCRIPTOR) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &d->socket, sizeof(int));
	}
	sendmsg(d->socket, &msg, MSG_NOSIGNAL);
}

static uint64_t word(const struct message *m, unsigned at)
{
	uint64_t v;

	memcpy(&v, m->payload + at, sizeof(v));
	return v;
}

static uint32_t half(const struct message *m, unsigned at)
{
	return (uint32_t)word(m, at);
}

static void map_memory(struct vdaemon *d, struct message *m)
{
	unsigned n = half(m, 0);

	assert(n == m->fd_count && n <= VDAEMON_REGIONS && m->size == 8 + n * 32);
	d->region_count = n;
	for (unsigned i = 0; i < n; i++) {
		d->regions[i].gpa = word(m, 8 + i * 32);
		d->regions[i].size = word(m, 16 + i * 32);
		d->regions[i].addr = word(m, 24 + i * 32);
		d->regions[i].offset = word(m, 32 + i * 32);
		d->regions[i].host = mmap(NULL, d->regions[i].size, PROT_READ | PROT_WRITE,
					  MAP_SHARED, m->fds[i], (off_t)d->regions[i].offset);
		assert(d->regions[i].host != MAP_FAILED);
		/* A daemon that would take memory away from under lodge. */
		assert(ftruncate(m->fds[i], 0) < 0);
	}
}

static int take_fd(struct message *m)
{
	assert(m->fd_count == 1);
	m->fd_count = 0;
	return m->fds[0];
}

static void replace(int *fd, int with)
{
	if (*fd >= 0)
		close(*fd);
	*fd = with;
}

/* Does what a request says; whether it has an answer, and which. */
static bool handle(struct vdaemon *d, struct message *m, uint64_t *value)
{
	unsigned queue = half(m, 0) % VDAEMON_QUEUES;

	switch (m->request) {
	case 1:
		*value = d->features;
		return true;
	case 2:
		d->accepted = word(m, 0);
		return false;
	case 5:
		map_memory(d, m);
		return false;
	case 8:
		d->queues[queue].size = half(m, 4);
		return false;
	case 9:
		d->queues[queue].desc = word(m, 8);
		d->queues[queue].used = word(m, 16);
		d->queues[queue].avail = word(m, 24);
		return false;
	case 10:
		d->queues[queue].taken = d->queues[queue].used_count = (uint16_t)half(m, 4);
		return false;
	case 11:
		*value = (uint64_t)d->queues[queue].taken << 32 | queue;
		d->queues[queue].enabled = false;
		return true;
	case 12:
		replace(&d->queues[queue].kick, take_fd(m));
		return false;
	case 13:
		replace(&d->queues[queue].call, take_fd(m));
		return false;
	case 15:
		*value = d->protocol;
		return true;
	case 17:
		*value = d->queue_count;
		return true;
	case 18:
		d->queues[queue].enabled = half(m, 4);
		return false;
	}
	return false;
}

static void *serve(void *opaque)
{
	struct vdaemon *d = opaque;
	struct message m;
	uint64_t value;
	uint8_t byte;

	while (receive(d, &m)) {
		enum vdaemon_fault fault = m.request == d->at ? d->fault : VDAEMON_HONEST;
		bool answers;

		value = 0;
		answers = handle(d, &m, &value);
		__atomic_store_n(&d->messages[d->count], m.request, __ATOMIC_RELAXED);
		__atomic_store_n(&d->count, d->count + 1, __ATOMIC_RELEASE);
		assert(d->count < VDAEMON_MESSAGES);
		for (unsigned i = 0; i < m.fd_count; i++)
			close(m.fds[i]);
		if (fault == VDAEMON_DIES)
			break;
		if (fault == VDAEMON_REFUSES)
			value = 1;
		if ((answers || m.flags & 8) && fault != VDAEMON_SILENT)
			answer(d, &m, value, 8, fault);
		if (fault == VDAEMON_SILENT || fault == VDAEMON_HALF) {
			while (recv(d->socket, &byte, 1, 0) > 0)
				;
			break;
		}
	}
	shutdown(d->socket, SHUT_RDWR);
	return NULL;
}

void vdaemon_start(struct vdaemon *d)
{
	int ends[2];
	int rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);

	*d = (struct vdaemon){.fd = ends[0],
			      .socket = ends[1],
			      .features = 1ULL << 28 | 1ULL << 29 | 1ULL << F_PROTOCOL | 1ULL << 32,
			      .protocol = ~0ULL,
			      .queue_count = VDAEMON_QUEUES};
	for (unsigned i = 0; i < VDAEMON_QUEUES; i++)
		d->queues[i].kick = d->queues[i].call = -1;
	rc = rc ? rc : pthread_create(&d->thread, NULL, serve, d);
	assert(!rc);
	(void)rc;
}

void vdaemon_stop(struct vdaemon *d)
{
	shutdown(d->socket, SHUT_RDWR);
	pthread_join(d->thread, NULL);
	close(d->socket);
	for (unsigned i = 0; i < VDAEMON_QUEUES; i++) {
		replace(&d->queues[i].kick, -1);
		replace(&d->queues[i].call, -1);
	}
	for (unsigned i = 0; i < d->region_count; i++)
		munmap(d->regions[i].host, d->regions[i].size);
}

struct vhost_user_config vdaemon_config(struct vdaemon *d, struct mem *mem)
{
	return (struct vhost_user_config){.fd = d->fd,
					  .mem = mem,
					  .queues = VDAEMON_QUEUES,
					  .begin = PATIENCE,
					  .patience = PATIENCE};
}

uint8_t *vdaemon_at(struct vdaemon *d, uint64_t addr, uint64_t len)
{
	for (unsigned i = 0; i < d->region_count; i++)
		if (addr - d->regions[i].gpa < d->regions[i].size &&
		    len <= d->regions[i].size - (addr - d->regions[i].gpa))
			return d->regions[i].host + (addr - d->regions[i].gpa);
	return NULL;
}

static uint64_t peek(struct vdaemon *d, uint64_t addr, unsigned size)
{
	const uint8_t *p = vdaemon_at(d, addr, size);
	uint64_t v = 0;

	assert(p);
	memcpy(&v, p, size);
	return v;
}

bool vdaemon_take(struct vdaemon *d, unsigned queue, struct vdaemon_buffer *b)
{
	uint16_t index = (uint16_t)peek(d, d->queues[queue].avail + 2, 2);
	uint64_t desc, table, n;

	if (!d->queues[queue].enabled || index == d->queues[queue].taken)
		return false;
	*b = (struct vdaemon_buffer){0};
	b->head = (uint16_t)peek(
		d, d->queues[queue].avail + 4 + d->queues[queue].taken % d->queues[queue].size * 2,
		2);
	d->queues[queue].taken++;
	desc = d->queues[queue].desc + b->head * 16u;
	assert(peek(d, desc + 12, 2) == 4); /* a table */
	table = peek(d, desc, 8);
	n = peek(d, desc + 8, 4) / 16;
	for (uint64_t i = 0; i < n; i++, table += 16) {
		unsigned flags = (unsigned)peek(d, table + 12, 2);

		assert((flags & 1) == (i + 1 < n) &&
		       (!(flags & 1) || peek(d, table + 14, 2) == i + 1));
		b->pieces[i].gpa = peek(d, table, 8);
		b->pieces[i].len = (uint32_t)peek(d, table + 8, 4);
		assert(flags & 2 || !b->writable);
		if (flags & 2)
			b->writable++;
		else
			b->readable++;
	}
	return true;
}

void vdaemon_use(struct vdaemon *d, unsigned queue, uint32_t head, uint32_t written, unsigned ahead)
{
	uint64_t used = d->queues[queue].used;
	unsigned size = d->queues[queue].size;
	uint32_t entry[2] = {head, written};
	uint16_t index = (uint16_t)(d->queues[queue].used_count + 1);

	memcpy(vdaemon_at(d, used + 4 + d->queues[queue].used_count % size * 8, 8), entry, 8);
	d->queues[queue].used_count = index;
	index = (uint16_t)(index + ahead);
	memcpy(vdaemon_at(d, used + 2, 2), &index, 2);
}

void vdaemon_call(struct vdaemon *d, unsigned queue)
{
	const uint64_t one = 1;
	ssize_t n = write(d->queues[queue].call, &one, sizeof(one));

	assert(n == sizeof(one));
	(void)n;
}

bool vdaemon_kicked(struct vdaemon *d, unsigned queue)
{
	uint64_t count;

	return read(d->queues[queue].kick, &count, sizeof(count)) == sizeof(count);
}

static void *run_loop(void *opaque)
{
	event_loop_run(opaque);
	return NULL;
}

void vdaemon_run_loop(struct vdaemon *d, struct event_loop *loop)
{
	int rc;

	d->loop = loop;
	rc = pthread_create(&d->loop_thread, NULL, run_loop, loop);
	assert(!rc);
	(void)rc;
}

void vdaemon_end_loop(struct vdaemon *d)
{
	if (!d->loop)
		return;
	event_loop_stop(d->loop);
	pthread_join(d->loop_thread, NULL);
	d->loop = NULL;
}

bool vdaemon_wait(const unsigned *counter, unsigned value)
{
	const struct timespec pause = {0, 1000000};

	for (unsigned i = 0; i < 60000; i++) {
		if (__atomic_load_n(counter, __ATOMIC_ACQUIRE) == value)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

unsigned vdaemon_open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
