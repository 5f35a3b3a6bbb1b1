/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon maps: each region of RAM, and behind the last guest address a memory
 * with the rings. Both are sealed against being shrunk: a daemon that did so would have
 * lodge fall into the hole. Guest addresses are told as the "user addresses" too, so
 * that a daemon learns nothing about where lodge has things.
 *
 * A request that sets something is acknowledged where the daemon can do that
 * (REPLY_ACK), so that a refusal is known at once. It then also is done when the
 * request is over, and not at some time later.
 *
 * The socket is watched: it says when the daemon is gone. Nothing else comes by it
 * unasked. While one thread waits for an answer the loop's thread may find the socket
 * readable; it then waits for the lock and looks again.
 */
#include "host/vhost_user.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/checked.h"
#include "base/event.h"
#include "base/time.h"
#include "host/vhost_message.h"

/* Features: what a ring can do, and of the protocol. */
#define F_INDIRECT    BIT(28)
#define F_PROTOCOL    BIT(30)
#define F_VERSION_1   BIT(32)
#define FEATURES      (F_INDIRECT | F_PROTOCOL | F_VERSION_1)
#define P_QUEUES      BIT(0)
#define P_ACKNOWLEDGE BIT(3)

/* Where the rings are in guest addresses: where no guest has RAM. */
#define RINGS_ADDR BIT(51)

#define REGIONS_MAX 8u /* that any daemon takes */

struct queue {
	struct vhost_user *owner;
	struct event_source source; /* of the call descriptor */
	struct vhost_ring ring;
	int kick, call; /* eventfds */
	bool started;
};

struct vhost_user {
	struct event_loop *loop;
	struct mem *mem;
	struct vhost_user_client client;
	struct vhost_user_daemon daemon;
	struct event_source source; /* of the socket */
	int fd;
	uint64_t patience;
	bool acknowledges;
	bool lost;
	unsigned reached; /* regions that there were when it was told of memory; 0: not yet */
	unsigned count;
	int rings_fd;
	uint8_t *rings; /* count x VHOST_RING_BYTES */
	struct queue queues[VHOST_USER_QUEUES_MAX];
};

struct vhost_table {
	uint32_t count, padding;
	struct {
		uint64_t gpa, size, addr, offset;
	} regions[REGIONS_MAX];
};

struct vring_state {
	uint32_t queue, number;
};

struct vring_addr {
	uint32_t queue, flags;
	uint64_t desc, used, avail, log;
};

static const char *order(struct vhost_user *v, struct vhost_message *m)
{
	m->end = time_monotonic_ns() + v->patience;
	return v->acknowledges ? vhost_message_order(v->fd, m) : vhost_message_send(v->fd, m);
}

static const char *ask(struct vhost_user *v, enum vhost_request request, uint64_t *answer)
{
	const struct vhost_message m = {.request = request,
					.end = time_monotonic_ns() + v->patience};

	return vhost_message_ask(v->fd, &m, answer, sizeof(*answer));
}

static const char *order_word(struct vhost_user *v, enum vhost_request request, uint64_t word)
{
	struct vhost_message m = {.request = request, .payload = &word, .size = sizeof(word)};

	return order(v, &m);
}

static const char *order_state(struct vhost_user *v, enum vhost_request request, unsigned queue,
			       uint32_t number)
{
	const struct vring_state state = {queue, number};
	struct vhost_message m = {.request = request, .payload = &state, .size = sizeof(state)};

	return order(v, &m);
}

static const char *order_fd(struct vhost_user *v, enum vhost_request request, unsigned queue,
			    int fd)
{
	const uint64_t word = queue;
	struct vhost_message m = {.request = request,
				  .payload = &word,
				  .size = sizeof(word),
				  .fds = &fd,
				  .fd_count = 1};

	return order(v, &m);
}

static const char *order_addr(struct vhost_user *v, unsigned queue)
{
	uint64_t ring = v->queues[queue].ring.addr;
	const struct vring_addr addr = {
		.queue = queue,
		.desc = ring + VHOST_RING_DESC,
		.used = ring + VHOST_RING_USED,
		.avail = ring + VHOST_RING_AVAIL,
	};
	struct vhost_message m = {
		.request = VHOST_SET_VRING_ADDR, .payload = &addr, .size = sizeof(addr)};

	return order(v, &m);
}

/* Tells of memory, by rising addresses. */
static const char *order_memory(struct vhost_user *v)
{
	struct vhost_table t = {.count = 0};
	int fds[REGIONS_MAX];
	struct vhost_message m = {.request = VHOST_SET_MEM_TABLE, .payload = &t, .fds = fds};
	uint64_t last = 0;
	unsigned ram = 0;

	_Static_assert(sizeof(t) <= VHOST_PAYLOAD_MAX && REGIONS_MAX <= VHOST_FDS_MAX, "");
	/* A file's memory is not in the memfd: it is none of the daemon's. */
	for (unsigned i = 0; i < v->mem->count; i++)
		ram += v->mem->regions[i].kind != MEM_FILE;
	t.count = m.fd_count = ram + 1;
	if (t.count > REGIONS_MAX)
		return "the guest's memory has too many parts for it";
	for (unsigned i = 0; i < ram; i++) {
		const struct mem_region *next = NULL;

		for (unsigned k = 0; k < v->mem->count; k++) {
			const struct mem_region *r = &v->mem->regions[k];

			if (r->kind != MEM_FILE && (!i || r->gpa > last) &&
			    (!next || r->gpa < next->gpa))
				next = r;
		}
		last = next->gpa;
		fds[i] = v->mem->fd;
		t.regions[i].gpa = t.regions[i].addr = next->gpa;
		t.regions[i].size = next->size;
		t.regions[i].offset = next->fd_offset;
	}
	fds[ram] = v->rings_fd;
	t.regions[ram].gpa = t.regions[ram].addr = RINGS_ADDR;
	t.regions[ram].size = (uint64_t)v->count * VHOST_RING_BYTES;
	m.size = 8 + t.count * sizeof(t.regions[0]);
	v->reached = v->mem->count;
	return order(v, &m);
}

void vhost_user_give_up(struct vhost_user *v, const char *why)
{
	if (v->lost)
		return;
	v->lost = true;
	if (v->daemon.end)
		v->daemon.end(v->daemon.opaque);
	/* The loop's thread finds it closed, and watches it no more. */
	shutdown(v->fd, SHUT_RDWR);
	for (unsigned i = 0; i < v->count; i++)
		v->queues[i].started = false;
	if (v->client.lost)
		v->client.lost(v->client.opaque, why);
}

static void on_socket(void *opaque, unsigned events)
{
	struct vhost_user *v = opaque;
	uint8_t byte;
	ssize_t n;

	(void)events;
	pthread_mutex_lock(v->client.lock);
	n = recv(v->fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK);
	if (v->lost)
		event_remove(v->loop, &v->source);
	else if (n > 0)
		vhost_user_give_up(v, "it speaks unasked");
	else if (!n || (errno != EAGAIN && errno != EINTR))
		vhost_user_give_up(v, "it has ended");
	pthread_mutex_unlock(v->client.lock);
}

static void on_call(void *opaque, unsigned events)
{
	struct queue *q = opaque;
	struct vhost_user *v = q->owner;
	uint64_t count;
	ssize_t n = read(q->call, &count, sizeof(count));

	(void)events;
	(void)n; /* nothing to read: it was called for already */
	pthread_mutex_lock(v->client.lock);
	if (q->started)
		v->client.used(v->client.opaque, (unsigned)(q - v->queues));
	pthread_mutex_unlock(v->client.lock);
}

static int make_rings(struct vhost_user *v)
{
	size_t size = (size_t)v->count * VHOST_RING_BYTES;
	void *p;

	v->rings_fd = memfd_create("lodge-rings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (v->rings_fd < 0 || ftruncate(v->rings_fd, (off_t)size) ||
	    fcntl(v->rings_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) ||
	    fcntl(v->mem->fd, F_ADD_SEALS, F_SEAL_SHRINK))
		return -errno;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, v->rings_fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	v->rings = p;
	madvise(p, size, MADV_DONTDUMP);
	for (unsigned i = 0; i < v->count; i++)
		vhost_ring_init(&v->queues[i].ring, v->rings + (size_t)i * VHOST_RING_BYTES,
				RINGS_ADDR + (uint64_t)i * VHOST_RING_BYTES);
	return 0;
}

static int make_queue(struct vhost_user *v, struct queue *q)
{
	q->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	q->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->kick < 0 || q->call < 0)
		return -errno;
	q->source = (struct event_source){.ready = on_call, .opaque = q, .fd = q->call};
	return event_add(v->loop, &q->source, EVENT_READ);
}

static int make(struct vhost_user *v)
{
	int rc = make_rings(v);

	for (unsigned i = 0; !rc && i < v->count; i++)
		rc = make_queue(v, &v->queues[i]);
	if (rc)
		return rc;
	v->source = (struct event_source){.ready = on_socket, .opaque = v, .fd = v->fd};
	return event_add(v->loop, &v->source, EVENT_READ);
}

static const char *agree(struct vhost_user *v, uint64_t begin)
{
	uint64_t features = 0, protocol = 0, queues = v->count, patience = v->patience;
	const char *wrong;

	v->patience = begin;
	wrong = ask(v, VHOST_GET_FEATURES, &features);
	v->patience = patience;
	if (wrong)
		return wrong;
	if ((features & FEATURES) != FEATURES)
		return "it lacks features that lodge needs";
	wrong = ask(v, VHOST_GET_PROTOCOL_FEATURES, &protocol);
	protocol &= P_QUEUES | P_ACKNOWLEDGE;
	if (!wrong)
		wrong = order_word(v, VHOST_SET_PROTOCOL_FEATURES, protocol);
	v->acknowledges = protocol & P_ACKNOWLEDGE;
	if (!wrong && protocol & P_QUEUES)
		wrong = ask(v, VHOST_GET_QUEUE_NUM, &queues);
	if (!wrong && queues < v->count)
		return "it has too few queues";
	if (!wrong) {
		struct vhost_message owner = {.request = VHOST_SET_OWNER};

		wrong = order(v, &owner);
	}
	return wrong ? wrong : order_word(v, VHOST_SET_FEATURES, FEATURES);
}

struct vhost_user *vhost_user_open(struct event_loop *loop, const struct vhost_user_config *config,
				   struct err *e)
{
	struct vhost_user *v = calloc(1, sizeof(*v));
	const char *wrong;
	int rc;

	assert(config->queues <= VHOST_USER_QUEUES_MAX && config->mem->fd >= 0);
	if (!v) {
		close(config->fd);
		err_errno(e, ENOMEM, "cannot speak with a daemon");
		return NULL;
	}
	v->loop = loop;
	v->mem = config->mem;
	v->daemon = config->daemon;
	v->fd = config->fd;
	v->patience = config->patience;
	v->count = config->queues;
	v->rings_fd = -1;
	for (unsigned i = 0; i < v->count; i++)
		v->queues[i] = (struct queue){.owner = v, .kick = -1, .call = -1};
	rc = make(v);
	wrong = rc ? NULL : agree(v, config->begin);
	if (!rc && !wrong)
		return v;
	v->daemon = (struct vhost_user_daemon){0};
	vhost_user_free(v);
	if (rc)
		err_errno(e, rc, "cannot speak with a daemon");
	else
		err_set(e, EPROTO, "%s", wrong);
	return NULL;
}

void vhost_user_connect(struct vhost_user *v, const struct vhost_user_client *client)
{
	v->client = *client;
}

static void release_queue(struct vhost_user *v, struct queue *q)
{
	event_remove(v->loop, &q->source);
	if (q->kick >= 0)
		close(q->kick);
	if (q->call >= 0)
		close(q->call);
}

void vhost_user_free(struct vhost_user *v)
{
	if (!v)
		return;
	event_remove(v->loop, &v->source);
	for (unsigned i = 0; i < v->count; i++)
		release_queue(v, &v->queues[i]);
	close(v->fd);
	if (!v->lost && v->daemon.end)
		v->daemon.end(v->daemon.opaque);
	if (v->daemon.free)
		v->daemon.free(v->daemon.opaque);
	if (v->rings)
		munmap(v->rings, (size_t)v->count * VHOST_RING_BYTES);
	if (v->rings_fd >= 0)
		close(v->rings_fd);
	free(v);
}

bool vhost_user_reaches(const struct vhost_user *v, uint64_t gpa, uint64_t len)
{
	const struct mem_region *r = mem_find(v->mem, gpa);

	return r && r->slot < v->reached && r->kind != MEM_FILE &&
	       range_within(gpa - r->gpa, len, r->size);
}

bool vhost_user_start(struct vhost_user *v, unsigned queue)
{
	struct queue *q = &v->queues[queue];
	const char *wrong = NULL;

	assert(queue < v->count);
	if (v->lost || q->started)
		return !v->lost;
	vhost_ring_reset(&q->ring);
	if (!v->reached)
		wrong = order_memory(v);
	if (!wrong)
		wrong = order_state(v, VHOST_SET_VRING_NUM, queue, VHOST_RING_SIZE);
	if (!wrong)
		wrong = order_state(v, VHOST_SET_VRING_BASE, queue, 0);
	if (!wrong)
		wrong = order_addr(v, queue);
	if (!wrong)
		wrong = order_fd(v, VHOST_SET_VRING_KICK, queue, q->kick);
	if (!wrong)
		wrong = order_fd(v, VHOST_SET_VRING_CALL, queue, q->call);
	if (!wrong)
		wrong = order_state(v, VHOST_SET_VRING_ENABLE, queue, 1);
	q->started = !wrong;
	if (wrong)
		vhost_user_give_up(v, wrong);
	return !wrong;
}

void vhost_user_stop(struct vhost_user *v, unsigned queue)
{
	struct queue *q = &v->queues[queue];
	const struct vring_state which = {.queue = queue};
	struct vring_state answer;
	struct vhost_message m = {.request = VHOST_GET_VRING_BASE,
				  .payload = &which,
				  .size = sizeof(which),
				  .end = time_monotonic_ns() + v->patience};
	const char *wrong;

	assert(queue < v->count);
	if (!q->started)
		return;
	q->started = false;
	/* Its answer comes when the daemon is done with what it had begun. */
	wrong = vhost_message_ask(v->fd, &m, &answer, sizeof(answer));
	if (wrong)
		vhost_user_give_up(v, wrong);
}

struct vhost_ring *vhost_user_ring(struct vhost_user *v, unsigned queue)
{
	assert(queue < v->count);
	return v->queues[queue].started ? &v->queues[queue].ring : NULL;
}

void vhost_user_kick(struct vhost_user *v, unsigned queue)
{
	const struct queue *q = &v->queues[queue];
	const uint64_t one = 1;
	ssize_t n = 0;

	if (q->started && vhost_ring_wants_kick(&q->ring))
		n = write(q->kick, &one, sizeof(one));
	(void)n; /* no room: it was kicked for so often already */
}
