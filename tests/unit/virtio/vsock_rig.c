/* SPDX-License-Identifier: Apache-2.0 */
#include "vsock_rig.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define RX_AREA  0x10000u
#define TX_AREA  0x30000u
#define EV_AREA  0x50000u
#define RX_DATA  0x100000u
#define RX_SIZE  4096u
#define TX_DATA  0x300000u
#define CID_HOST 2u
#define HEADER   44u

static struct vsock_rig *rig_of(struct portal *p)
{
	return container_of(p, struct vsock_rig, portal);
}

static struct srig_line *line_of(struct portal_line *line)
{
	return container_of(line, struct srig_line, line);
}

static struct srig_line *new_line(struct vsock_rig *r, bool packets)
{
	for (unsigned i = 0; i < SRIG_LINES; i++) {
		struct srig_line *l = &r->lines[i];

		if (l->used)
			continue;
		memset(l, 0, sizeof(*l));
		l->used = true;
		l->line.packets = packets;
		l->room = sizeof(l->got);
		l->refusal = -EAGAIN;
		return l;
	}
	return NULL;
}

static int dial(struct portal *p, uint32_t port, bool packets, struct portal_line **line)
{
	struct vsock_rig *r = rig_of(p);
	struct srig_line *l = r->dial_result ? NULL : new_line(r, packets);

	r->dialed = port;
	if (!l)
		return r->dial_result ? r->dial_result : -ENOBUFS;
	*line = &l->line;
	return 0;
}

static int answer(struct portal *p, struct portal_line *line, uint32_t port)
{
	(void)p;
	line_of(line)->answered = port;
	return 0;
}

static long send_spans(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		       unsigned count)
{
	struct srig_line *l = line_of(line);
	size_t total = 0, done = 0;

	(void)p;
	assert(!l->hung_up);
	for (unsigned i = 0; i < count; i++)
		total += spans[i].len;
	if (!l->room || (line->packets && l->room < total))
		return l->refusal;
	for (unsigned i = 0; i < count && l->room; i++) {
		size_t len = MIN(spans[i].len, l->room);

		memcpy(l->got + l->got_len, spans[i].base, len);
		l->got_len += len;
		l->room -= len;
		done += len;
	}
	l->got_packets++;
	return (long)done;
}

static long packet_len(struct portal *p, struct portal_line *line)
{
	const struct srig_line *l = line_of(line);

	(void)p;
	assert(!l->hung_up);
	if (!l->said_len)
		return l->said_end ? 0 : -EAGAIN;
	return (long)l->said_len;
}

static long receive(struct portal *p, struct portal_line *line, const struct portal_span *spans,
		    unsigned count)
{
	struct srig_line *l = line_of(line);
	long rc = packet_len(p, line);
	size_t done = 0;

	if (rc <= 0)
		return rc;
	for (unsigned i = 0; i < count && l->said_len; i++) {
		size_t len = MIN(spans[i].len, l->said_len);

		memcpy(spans[i].base, l->said, len);
		l->said += len;
		l->said_len -= len;
		done += len;
	}
	return (long)done;
}

static bool deaf(struct portal *p, struct portal_line *line)
{
	(void)p;
	return line_of(line)->deaf;
}

static void shut(struct portal *p, struct portal_line *line, unsigned events)
{
	(void)p;
	line_of(line)->shut |= events;
}

static void watch(struct portal *p, struct portal_line *line, unsigned events)
{
	(void)p;
	assert(!line_of(line)->hung_up);
	line_of(line)->watched = events;
}

static void hang_up(struct portal *p, struct portal_line *line)
{
	(void)p;
	assert(!line_of(line)->hung_up);
	line_of(line)->hung_up = true;
}

static void free_portal(struct portal *p)
{
	(void)p;
}

static const struct portal_ops ops = {
	.dial = dial,
	.answer = answer,
	.send = send_spans,
	.receive = receive,
	.packet_len = packet_len,
	.deaf = deaf,
	.shut = shut,
	.watch = watch,
	.hang_up = hang_up,
	.free = free_portal,
};

void srig_make(struct vsock_rig *r)
{
	struct virtio_vsock_config config = {.cid = SRIG_CID, .portal = &r->portal};

	memset(r, 0, sizeof(*r));
	vrig_make(&r->v, true, false);
	r->portal.ops = &ops;
	r->vsock = virtio_vsock_new(&r->v.mem, &config, NULL);
	assert(r->vsock);
	vrig_connect(&r->v, virtio_vsock_device(r->vsock));
}

void srig_release(struct vsock_rig *r)
{
	vrig_release(&r->v);
	virtio_vsock_free(r->vsock);
	for (unsigned i = 0; i < SRIG_LINES; i++)
		assert(!r->lines[i].used || r->lines[i].hung_up);
}

void srig_start(struct vsock_rig *r, uint64_t features)
{
	static const uint64_t areas[] = {RX_AREA, TX_AREA, EV_AREA};
	struct driver *drivers[] = {&r->rx, &r->tx, &r->event};

	vrig_set_status(&r->v, 0);
	vrig_set_status(&r->v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vrig_accept(&r->v, features | VIRTIO_F_VERSION_1);
	vrig_set_status(&r->v, vrig_status(&r->v) | VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < ARRAY_LEN(areas); i++) {
		struct driver *d = drivers[i];
		struct virtq_place place;

		driver_init(d, &r->v.mem, features & VIRTIO_F_RING_PACKED, 64, areas[i]);
		place = (struct virtq_place){64, d->desc, d->driver, d->device};
		vrig_place_queue(&r->v, i, &place);
		vrig_enable_queue(&r->v, i);
	}
	vrig_set_status(&r->v, vrig_status(&r->v) | VIRTIO_DRIVER_OK);
	r->rx_given = 0;
}

void srig_give(struct vsock_rig *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t at = RX_DATA + (r->rx_given++ % 64) * 0x2000u;
		const struct driver_buffer b[] = {{at, HEADER, true}, {at + 0x1000, RX_SIZE, true}};
		int id = driver_add(&r->rx, b, 2, false);

		assert(id >= 0);
		r->rx_at[id] = at;
	}
	vrig_notify(&r->v, 0);
}

void srig_send(struct vsock_rig *r, const struct srig_packet *p, const void *data, size_t len)
{
	const struct driver_buffer b[] = {{TX_DATA, HEADER, false},
					  {TX_DATA + 0x1000, (uint32_t)len, false}};
	uint8_t *h = mem_ptr_rw(&r->v.mem, TX_DATA, 0x12000);
	uint32_t written;

	store_le(h, 8, SRIG_CID);
	store_le(h + 8, 8, CID_HOST);
	store_le(h + 16, 4, p->src);
	store_le(h + 20, 4, p->dst);
	store_le(h + 24, 4, p->len);
	store_le(h + 28, 2, p->type);
	store_le(h + 30, 2, p->op);
	store_le(h + 32, 4, p->flags);
	store_le(h + 36, 4, p->alloc);
	store_le(h + 40, 4, p->fwd);
	memset(h + 0x1000, 0, len);
	if (data)
		memcpy(h + 0x1000, data, len);
	driver_add(&r->tx, b, len ? 2 : 1, false);
	vrig_notify(&r->v, 1);
	driver_get_used(&r->tx, &written);
}

bool srig_take(struct vsock_rig *r, struct srig_packet *p)
{
	uint32_t written;
	int id = driver_get_used(&r->rx, &written);
	const uint8_t *h;

	if (id < 0)
		return false;
	h = mem_ptr(&r->v.mem, r->rx_at[id], 0x2000);
	assert(load_le(h, 8) == CID_HOST && load_le(h + 8, 8) == SRIG_CID);
	*p = (struct srig_packet){
		.src = (uint32_t)load_le(h + 16, 4),
		.dst = (uint32_t)load_le(h + 20, 4),
		.len = (uint32_t)load_le(h + 24, 4),
		.type = (uint16_t)load_le(h + 28, 2),
		.op = (uint16_t)load_le(h + 30, 2),
		.flags = (uint32_t)load_le(h + 32, 4),
		.alloc = (uint32_t)load_le(h + 36, 4),
		.fwd = (uint32_t)load_le(h + 40, 4),
	};
	assert(written == HEADER + p->len);
	memcpy(p->data, h + 0x1000, p->len);
	return true;
}

struct srig_line *srig_call(struct vsock_rig *r, uint32_t port, bool packets)
{
	struct srig_line *l = new_line(r, packets);

	pthread_mutex_lock(r->portal.user.lock);
	if (!r->portal.user.called(r->portal.user.opaque, &l->line, port)) {
		l->hung_up = true;
		l = NULL;
	}
	pthread_mutex_unlock(r->portal.user.lock);
	return l;
}

void srig_ready(struct vsock_rig *r, struct srig_line *l, unsigned events)
{
	pthread_mutex_lock(r->portal.user.lock);
	if (!l->hung_up && l->watched & events)
		r->portal.user.ready(r->portal.user.opaque, &l->line, l->watched & events);
	pthread_mutex_unlock(r->portal.user.lock);
}
