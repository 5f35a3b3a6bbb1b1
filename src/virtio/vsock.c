/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	queue 0  receive    driver's empty buffers -> filled with packets  (vsock_rx.c)
 *	queue 1  transmit   driver's packets -> connections                (vsock_conn.c)
 *	queue 2  event      the transport was reset
 *
 * Everything happens where its cause is: on a notification, or when the portal says
 * that a line is ready; there are no timers.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <stdlib.h>

#include "virtio/vsock_int.h"

#define QUEUE_SIZE 256u

#define EVENT_TRANSPORT_RESET 0u
#define EVENT_SIZE            4u

/* The header of a packet of the driver's; false: the driver has broken a rule. */
static bool parse(const struct virtq_chain *chain, struct vsock_header *h)
{
	uint8_t bytes[VSOCK_HEADER_SIZE];

	if (chain->writable || virtq_chain_read(chain, 0, bytes, sizeof(bytes)) < sizeof(bytes))
		return false;
	*h = (struct vsock_header){
		.src_cid = load_le(bytes, 8),
		.dst_cid = load_le(bytes + 8, 8),
		.src_port = (uint32_t)load_le(bytes + 16, 4),
		.dst_port = (uint32_t)load_le(bytes + 20, 4),
		.len = (uint32_t)load_le(bytes + 24, 4),
		.type = (uint16_t)load_le(bytes + 28, 2),
		.op = (uint16_t)load_le(bytes + 30, 2),
		.flags = (uint32_t)load_le(bytes + 32, 4),
		.buf_alloc = (uint32_t)load_le(bytes + 36, 4),
		.fwd_cnt = (uint32_t)load_le(bytes + 40, 4),
	};
	return h->len <= VSOCK_PAYLOAD_MAX && h->len <= chain->readable_len - VSOCK_HEADER_SIZE;
}

static void transmit(struct virtio_vsock *v)
{
	struct virtio_device *d = &v->device;
	struct vsock_header h;

	while (virtio_take(d, VSOCK_TX, &d->chain)) {
		if (!parse(&d->chain, &h)) {
			virtio_need_reset(d);
			return;
		}
		/* Packets from or to elsewhere are nobody's. */
		if (h.src_cid == v->cid && h.dst_cid == VSOCK_CID_HOST)
			vsock_handle(v, &h, &d->chain);
		virtio_put(d, VSOCK_TX, &d->chain, 0);
	}
	virtio_finish(d, VSOCK_TX);
}

static void send_event(struct virtio_vsock *v)
{
	static const uint8_t event[EVENT_SIZE] = {EVENT_TRANSPORT_RESET};
	struct virtio_device *d = &v->device;

	if (!v->event_owed || !virtio_take(d, VSOCK_EVENT, &d->chain))
		return;
	if (virtq_chain_write(&d->queues[VSOCK_EVENT].ring, &d->chain, 0, event, sizeof(event)) <
	    sizeof(event)) {
		virtio_need_reset(d);
		return;
	}
	v->event_owed = false;
	virtio_put(d, VSOCK_EVENT, &d->chain, sizeof(event));
	virtio_finish(d, VSOCK_EVENT);
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_vsock *v = vsock_of(d);

	v->counts.rx_notifications += queue == VSOCK_RX;
	v->counts.tx_notifications += queue == VSOCK_TX;
	if (queue == VSOCK_TX)
		transmit(v);
	else if (queue == VSOCK_EVENT)
		send_event(v);
	vsock_pump(v);
}

static void started(struct virtio_device *d)
{
	virtio_begin_turn(d);
	vsock_pump(vsock_of(d));
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_vsock *v = vsock_of(d);

	if (queue == VSOCK_RX || queue == VIRTIO_QUEUES_MAX)
		v->spare = false;
	if (queue != VIRTIO_QUEUES_MAX)
		return;
	vsock_remove_all(v);
	v->reset_count = 0;
	v->event_owed = false;
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_vsock, "connections", counts.added),
	VIRTIO_STAT(struct virtio_vsock, "closed", counts.removed),
	VIRTIO_STAT(struct virtio_vsock, "broken", counts.broken),
	VIRTIO_STAT(struct virtio_vsock, "refused", counts.refused),
	VIRTIO_STAT(struct virtio_vsock, "received", counts.received),
	VIRTIO_STAT(struct virtio_vsock, "received_bytes", counts.received_bytes),
	VIRTIO_STAT(struct virtio_vsock, "sent", counts.sent),
	VIRTIO_STAT(struct virtio_vsock, "sent_bytes", counts.sent_bytes),
	VIRTIO_STAT(struct virtio_vsock, "rx_notifications", counts.rx_notifications),
	VIRTIO_STAT(struct virtio_vsock, "tx_notifications", counts.tx_notifications),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.started = started,
	.notified = notified,
	.stopped = stopped,
	.stats = stats,
};

static bool on_called(void *opaque, struct portal_line *line, uint32_t port)
{
	struct virtio_vsock *v = opaque;

	virtio_begin_turn(&v->device);
	return vsock_called(v, line, port);
}

static void on_ready(void *opaque, struct portal_line *line, unsigned events)
{
	struct virtio_vsock *v = opaque;

	virtio_begin_turn(&v->device);
	vsock_ready(v, line->owner, events);
}

static void on_exhausted(void *opaque, int error)
{
	struct virtio_vsock *v = opaque;

	if (v->exhausted)
		v->exhausted(v->opaque, error);
}

struct virtio_vsock *virtio_vsock_new(struct mem *mem, const struct virtio_vsock_config *config,
				      struct err *e)
{
	struct virtio_vsock *v = calloc(1, sizeof(*v));
	struct virtio_kind kind = {
		.ops = &ops,
		.features = VSOCK_F_STREAM | VSOCK_F_SEQPACKET,
		.config_len = sizeof(v->config),
		.queue_count = VSOCK_QUEUES,
		.queue_size = QUEUE_SIZE,
	};
	struct portal_user user = {
		.called = on_called,
		.ready = on_ready,
		.exhausted = on_exhausted,
		.opaque = v,
	};

	if (!v) {
		err_errno(e, ENOMEM, "cannot make virtio-vsock");
		return NULL;
	}
	v->cid = config->cid;
	v->portal = config->portal;
	v->exhausted = config->exhausted;
	v->opaque = config->opaque;
	store_le(v->config, sizeof(v->config), v->cid);
	kind.config = v->config;
	virtio_device_init(&v->device, mem, &kind);
	user.lock = &v->device.lock;
	portal_connect(v->portal, &user);
	return v;
}

void virtio_vsock_free(struct virtio_vsock *v)
{
	vsock_remove_all(v);
	virtio_device_release(&v->device);
	free(v);
}

struct virtio_device *virtio_vsock_device(struct virtio_vsock *v)
{
	return &v->device;
}

void virtio_vsock_transport_reset(struct virtio_vsock *v)
{
	vsock_remove_all(v);
	v->reset_count = 0;
	v->event_owed = true;
	virtio_begin_turn(&v->device);
	send_event(v);
}

struct virtio_vsock_counts virtio_vsock_counts(const struct virtio_vsock *v)
{
	return v->counts;
}
