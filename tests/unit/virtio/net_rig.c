/* SPDX-License-Identifier: Apache-2.0 */
#include "net_rig.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define COMMAND 0x3f0000u
#define ACK     0x3ff000u

const uint8_t nrig_mac[6] = {0x02, 1, 2, 3, 4, 5};

static struct nrig_netif *fake_of(struct netif *n)
{
	return container_of(n, struct nrig_netif, netif);
}

static int fake_send(struct netif *n, unsigned queue, const struct netif_span *spans,
		     unsigned count)
{
	struct nrig_netif *f = fake_of(n);

	if (f->refuse)
		return f->refuse;
	f->sent++;
	f->sent_pair = queue;
	f->sent_len = 0;
	assert(count && count <= NETIF_SPANS_MAX);
	for (unsigned i = 0; i < count; i++) {
		assert(f->sent_len + spans[i].len <= sizeof(f->sent_frame));
		memcpy(f->sent_frame + f->sent_len, spans[i].base, spans[i].len);
		f->sent_len += spans[i].len;
	}
	return 0;
}

static int fake_receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	struct nrig_netif *f = fake_of(n);

	if (!f->in[queue].count)
		return -EAGAIN;
	*frame = f->in[queue].frame[0];
	*len = f->in[queue].len[0];
	return 0;
}

static void fake_received(struct netif *n, unsigned queue)
{
	struct nrig_netif *f = fake_of(n);

	assert(f->in[queue].count);
	f->in[queue].count--;
	memmove(f->in[queue].frame[0], f->in[queue].frame[1], sizeof(f->in[queue].frame[0]) * 7);
	memmove(f->in[queue].len, f->in[queue].len + 1, sizeof(f->in[queue].len[0]) * 7);
}

static bool fake_staged(struct netif *n, unsigned queue)
{
	return fake_of(n)->in[queue].count;
}

static int fake_offload(struct netif *n, unsigned offloads)
{
	fake_of(n)->offloads = offloads;
	return 0;
}

static int fake_use(struct netif *n, unsigned queues)
{
	fake_of(n)->used = queues;
	return 0;
}

static const struct netif_ops ops = {
	.send = fake_send,
	.receive = fake_receive,
	.received = fake_received,
	.staged = fake_staged,
	.offload = fake_offload,
	.use = fake_use,
};

static void on_gone(void *opaque, const char *why)
{
	((struct net_rig *)opaque)->fake.gone = why;
}

void nrig_make(struct net_rig *r, bool header, unsigned pairs)
{
	struct nrig_netif *f = &r->fake;
	struct virtio_net_config config = {.netif = &f->netif,
					   .mtu = 1400,
					   .clock = &r->clock,
					   .stream = &r->stream,
					   .gone = on_gone,
					   .opaque = r};
	int rc;

	memset(f, 0, sizeof(*f));
	vrig_make(&r->v, true, false);
	clock_init_manual(&r->clock);
	net_stream_init(&r->stream, &r->clock, NULL, NULL);
	for (unsigned i = 0; i < pairs; i++)
		f->fds[i] = eventfd(0, EFD_CLOEXEC);
	f->netif = (struct netif){
		.ops = &ops, .loop = r->v.loop, .queues = pairs, .header = header};
	f->netif.sends = f->netif.receives = NETIF_CSUM | NETIF_TSO4;
	rc = netif_open_ports(&f->netif, f->fds, NULL);
	assert(!rc);
	(void)rc;
	memcpy(config.mac, nrig_mac, sizeof(config.mac));
	config.tx = r->tx;
	r->net = virtio_net_new(&r->v.mem, &config, NULL);
	vrig_connect(&r->v, virtio_net_device(r->net));
}

void nrig_release(struct net_rig *r)
{
	netif_close_ports(&r->fake.netif);
	for (unsigned i = 0; i < r->fake.netif.queues; i++)
		close(r->fake.fds[i]);
	vrig_release(&r->v);
	virtio_net_free(r->net);
	net_stream_release(&r->stream);
	clock_release(&r->clock);
	r->tx = (struct limiter_config){.ops = {.size = 0}};
}

void nrig_start(struct net_rig *r, uint64_t features, unsigned size)
{
	unsigned queues = r->fake.netif.queues * 2 + 1;

	vrig_set_status(&r->v, 0);
	vrig_set_status(&r->v, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	vrig_accept(&r->v, features | VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC);
	vrig_set_status(&r->v, vrig_status(&r->v) | VIRTIO_FEATURES_OK);
	assert(vrig_status(&r->v) & VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < queues; i++) {
		struct driver *d = &r->queue[i];
		struct virtq_place place;

		driver_init(d, &r->v.mem, features & VIRTIO_F_RING_PACKED, size,
			    0x10000 + 0x20000 * i);
		place = (struct virtq_place){size, d->desc, d->driver, d->device};
		vrig_place_queue(&r->v, i, &place);
		vrig_enable_queue(&r->v, i);
	}
	vrig_set_status(&r->v, vrig_status(&r->v) | VIRTIO_DRIVER_OK);
}

void nrig_came(struct net_rig *r, unsigned pair, const void *frame, size_t len)
{
	struct nrig_netif *f = &r->fake;
	unsigned at = f->in[pair].count++;

	assert(at < NRIG_FRAMES && len <= sizeof(f->in[pair].frame[at]));
	memcpy(f->in[pair].frame[at], frame, len);
	f->in[pair].len[at] = len;
}

bool nrig_turn(struct net_rig *r, unsigned pair)
{
	struct netif_port *p = &r->fake.netif.ports[pair];

	if (atomic_exchange(&p->resume, false))
		p->paused = false;
	if (p->paused)
		return false;
	p->paused = !r->fake.netif.user.readable(r->fake.netif.user.opaque, pair);
	return true;
}

int nrig_give(struct net_rig *r, unsigned queue, uint64_t gpa, uint32_t len, bool write)
{
	const struct driver_buffer b = {gpa, len, write};
	int id = driver_add(&r->queue[queue], &b, 1, false);

	vrig_notify(&r->v, queue);
	return id;
}

int nrig_command(struct net_rig *r, unsigned queue, const void *bytes, size_t len)
{
	const struct driver_buffer b[] = {{COMMAND, (uint32_t)len, false}, {ACK, 1, true}};
	uint32_t written;

	memcpy(nrig_at(r, COMMAND), bytes, len);
	*nrig_at(r, ACK) = 0xee;
	driver_add(&r->queue[queue], b, 2, false);
	vrig_notify(&r->v, queue);
	if (driver_get_used(&r->queue[queue], &written) < 0)
		return -1;
	assert(written == 1);
	return *nrig_at(r, ACK);
}

uint8_t *nrig_at(struct net_rig *r, uint64_t gpa)
{
	return mem_ptr_rw(&r->v.mem, gpa, 1);
}
