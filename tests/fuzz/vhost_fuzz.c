/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The input is what a vhost-user daemon says: its answers on the socket, then what it writes into
 * a ring that both share, between buffers that are given to it. Whatever it is, no answer is waited
 * for that cannot come, and a ring gives back only what was put into it, each once.
 *
 *	u16 length of the answers, answers, steps x struct step
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/event.h"
#include "base/time.h"
#include "host/vhost_user.h"

#define QUEUES 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct step {
	uint8_t kind; /* 0, 1: adds; 2: takes; others: writes */
	uint8_t size;
	uint16_t at;
	uint32_t value;
};

static struct mem mem;
static struct event_loop *loop;
static uint8_t *bytes;
static unsigned losses;

static void make_once(void)
{
	if (loop)
		return;
	loop = event_loop_new(NULL);
	bytes = aligned_alloc(4096, VHOST_RING_BYTES);
	if (!loop || !bytes || mem_init(&mem, MEM_SHARED, NULL) ||
	    mem_add_ram(&mem, 0, MIB(1), NULL))
		abort();
}

static void on_lost(void *opaque, const char *why)
{
	(void)opaque;
	assert(why && *why);
	losses++;
}

static void answers(const uint8_t *data, size_t size)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	const struct vhost_user_client client = {.lock = &lock, .lost = on_lost};
	struct vhost_user_config config = {
		.mem = &mem, .queues = QUEUES, .begin = NS_PER_SEC, .patience = NS_PER_SEC};
	struct vhost_user *v;
	struct err e = ERR_INIT;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		abort();
	/* All that it will ever say, and then it says that this was all. */
	if (size && send(ends[1], data, size, 0) != (ssize_t)size)
		abort();
	shutdown(ends[1], SHUT_WR);
	config.fd = ends[0];
	losses = 0;
	v = vhost_user_open(loop, &config, &e);
	assert(v || e.code);
	if (v) {
		vhost_user_connect(v, &client);
		for (unsigned i = 0; i < QUEUES; i++) {
			bool good = vhost_user_start(v, i);

			assert(good == !losses && good == !!vhost_user_ring(v, i));
		}
		vhost_user_kick(v, 0);
		vhost_user_stop(v, 1);
		vhost_user_start(v, 1);
		assert(losses <= 1);
		vhost_user_free(v);
	}
	close(ends[1]);
}

static void rings(const uint8_t *data, size_t size)
{
	static const struct vhost_segment segments[] = {{0x1000, 16}, {0x2000, 4096}};
	bool has[VHOST_RING_SIZE] = {false};
	struct vhost_ring ring;
	struct step s;
	unsigned count = 0, slot;
	uint32_t written;

	vhost_ring_init(&ring, bytes, BIT(51));
	vhost_ring_reset(&ring);
	for (; size >= sizeof(s); data += sizeof(s), size -= sizeof(s)) {
		memcpy(&s, data, sizeof(s));
		if (s.kind < 2) {
			if (count == VHOST_RING_SIZE)
				continue;
			slot = vhost_ring_free_slot(&ring);
			assert(!has[slot]);
			vhost_ring_add(&ring, slot, segments, s.kind, 1);
			has[slot] = true;
			count++;
		} else if (s.kind == 2) {
			int rc = vhost_ring_next(&ring, &slot, &written);

			if (rc < 0)
				break;
			assert(!rc || has[slot]);
			if (rc)
				has[slot] = false;
			count -= rc > 0;
		} else {
			/* Mostly the used ring; else anywhere. */
			unsigned len = 1u << s.size % 3;
			unsigned at = s.kind & 1 ? VHOST_RING_USED + s.at % 0x900 : s.at;

			memcpy(bytes + at, &s.value, len);
			(void)vhost_ring_wants_kick(&ring);
		}
		assert(ring.under_way == count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len;

	make_once();
	if (size < 2 || size > 1u << 15)
		return 0;
	len = MIN(load_le(data, 2), size - 2);
	answers(data + 2, len);
	rings(data + 2 + len, size - 2 - len);
	return 0;
}
