/* SPDX-License-Identifier: Apache-2.0 */
#include "mmds_rig.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bits.h"

#define FRAME_MAX 70000u

#define TSO_FROM  1514u
#define GSO_TCPV4 1

const uint8_t mrig_mac[6] = {0x52, 1, 2, 3, 4, 5};

static const uint8_t guest_ip[4] = {10, 0, 0, 2}, service_ip[4] = {169, 254, 169, 254};

static struct mmds_rig *rig_of(struct netif *n)
{
	return container_of(n, struct mmds_rig, netif);
}

static int fake_send(struct netif *n, unsigned queue, const struct netif_span *spans,
		     unsigned count)
{
	(void)queue;
	(void)spans;
	(void)count;
	rig_of(n)->host_frames++;
	return 0;
}

static int fake_receive(struct netif *n, unsigned queue, const uint8_t **frame, size_t *len)
{
	(void)queue;
	*frame = rig_of(n)->host_frame;
	*len = rig_of(n)->host_len;
	return *len ? 0 : -EAGAIN;
}

static void fake_received(struct netif *n, unsigned queue)
{
	(void)queue;
	assert(rig_of(n)->host_len);
	rig_of(n)->host_len = 0;
}

static bool fake_staged(struct netif *n, unsigned queue)
{
	(void)queue;
	return rig_of(n)->host_len;
}

static const struct netif_ops ops = {
	.send = fake_send,
	.receive = fake_receive,
	.received = fake_received,
	.staged = fake_staged,
};

void mrig_make(struct mmds_rig *r, bool header, const char *json)
{
	struct mmds_config config = {.netif = &r->netif, .clock = &r->clock};
	int rc;

	memset(r, 0, sizeof(*r));
	r->loop = event_loop_new(NULL);
	r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r->netif = (struct netif){.ops = &ops, .loop = r->loop, .queues = 1, .header = header};
	rc = netif_open_ports(&r->netif, &r->fd, NULL);
	assert(!rc);
	clock_init_manual(&r->clock);
	clock_advance(&r->clock, 1000);
	r->store = mmds_store_new(100000);
	rc = mmds_store_put(r->store, json, strlen(json), NULL);
	assert(!rc);
	(void)rc;
	config.service = r->service = mmds_service_new(r->store, false, false);
	memcpy(config.address, service_ip, sizeof(service_ip));
	r->mmds = mmds_new(&config, NULL);
}

void mrig_release(struct mmds_rig *r)
{
	mmds_free(r->mmds);
	mmds_service_free(r->service);
	mmds_store_drop(r->store);
	netif_close_ports(&r->netif);
	close(r->fd);
	event_loop_free(r->loop);
	clock_release(&r->clock);
}

bool mrig_send(struct mmds_rig *r, const uint8_t *frame, size_t len, unsigned spans, bool partial)
{
	size_t offset = r->netif.header ? NETIF_HEADER_SIZE : 0, whole = offset + len, done = 0;
	uint8_t *copy = calloc(1, whole);
	struct netif_span span[8];
	unsigned before = r->host_frames;
	int rc;

	assert(spans && spans <= ARRAY_LEN(span) && (!partial || offset));
	memcpy(copy + offset, frame, len);
	copy[0] = offset ? partial : copy[0];
	if (partial && len > TSO_FROM) { /* struct virtio_net_hdr: to be cut into several */
		copy[1] = GSO_TCPV4;
		copy[4] = (TSO_FROM - 40) & 0xff;
		copy[5] = (TSO_FROM - 40) >> 8;
	}
	for (unsigned i = 0; i < spans; i++) {
		size_t part = i + 1 < spans ? whole / spans : whole - done;

		/* Each of its own: beyond its end is not this frame's next span. */
		span[i] = (struct netif_span){malloc(part), part};
		memcpy(span[i].base, copy + done, part);
		done += part;
	}
	rc = netif_send(&r->netif, 0, span, spans);
	assert(!rc);
	(void)rc;
	for (unsigned i = 0; i < spans; i++)
		free(span[i].base);
	free(copy);
	return r->host_frames != before;
}

const uint8_t *mrig_take(struct mmds_rig *r, size_t *len)
{
	static const uint8_t none[NETIF_HEADER_SIZE];
	static uint8_t copy[FRAME_MAX];
	size_t offset = r->netif.header ? NETIF_HEADER_SIZE : 0;
	const uint8_t *frame, *again;

	if (netif_receive(&r->netif, 0, &frame, len))
		return NULL;
	/* It stays the same until it is done with. */
	assert(!netif_receive(&r->netif, 0, &again, len) && frame == again);
	(void)again;
	assert(*len > offset + 14 && *len < sizeof(copy));
	assert(!memcmp(frame, none, offset));
	*len -= offset;
	memcpy(copy, frame + offset, *len);
	netif_received(&r->netif, 0);
	return copy;
}

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return get16(p) << 16 | get16(p + 2);
}

static void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v & 0xffff);
}

/* RFC 1071, as plainly as it can be: byte by byte. */
static unsigned checksum(unsigned long sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sum += (unsigned long)p[i] << (i & 1 ? 0 : 8);
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static unsigned tcp_checksum(const uint8_t *ip, size_t len)
{
	uint8_t pseudo[12] = {0};

	memcpy(pseudo, ip + 12, 8);
	pseudo[9] = 6;
	set16(pseudo + 10, (unsigned)len);
	return checksum(~checksum(0, pseudo, 12) & 0xffff, ip + 20, len);
}

void mrig_say(struct mmds_rig *r, const struct mrig_segment *s)
{
	size_t options = s->mss ? 8 : 0, len = 20 + options + s->len;
	uint8_t *frame = calloc(1, 34 + len), *ip = frame + 14, *tcp = ip + 20;

	memcpy(frame, "\x02lodge", 6);
	memcpy(frame + 6, mrig_mac, 6);
	set16(frame + 12, 0x800);
	ip[0] = 0x45;
	set16(ip + 2, (unsigned)(20 + len));
	set16(ip + 6, s->ip_flags);
	ip[8] = 64;
	ip[9] = 6;
	memcpy(ip + 12, guest_ip, 4);
	memcpy(ip + 16, service_ip, 4);
	set16(ip + 10, checksum(0, ip, 20));
	set16(tcp, s->port);
	set16(tcp + 2, s->to ? s->to : 80);
	set32(tcp + 4, s->seq);
	set32(tcp + 8, s->ack);
	tcp[12] = (uint8_t)((20 + options) / 4 << 4);
	tcp[13] = s->flags;
	set16(tcp + 14, 65535);
	if (s->mss) {
		memcpy(tcp + 20, "\x01\x03\x03\x07\x02\x04", 6); /* NOP, a window scale, MSS */
		set16(tcp + 26, s->mss);
	}
	if (s->len)
		memcpy(tcp + 20 + options, s->data, s->len);
	set16(tcp + 16, s->partial ? 0x1234 : tcp_checksum(ip, len) ^ s->wrong);
	if (mrig_send(r, frame, 34 + len, 1 + (unsigned)(s->seq % 3), s->partial))
		abort();
	free(frame);
}

bool mrig_hear(struct mmds_rig *r, struct mrig_segment *s)
{
	static char data[FRAME_MAX];
	size_t len, head;
	const uint8_t *frame = mrig_take(r, &len), *ip, *tcp;

	if (!frame)
		return false;
	ip = frame + 14;
	tcp = ip + 20;
	assert(len >= 54 && get16(frame + 12) == 0x800 && !memcmp(frame, mrig_mac, 6));
	assert(ip[0] == 0x45 && ip[9] == 6 && get16(ip + 2) == len - 14);
	assert(!memcmp(ip + 12, service_ip, 4) && !memcmp(ip + 16, guest_ip, 4));
	assert(!checksum(0, ip, 20) && !tcp_checksum(ip, len - 34));
	head = (size_t)(tcp[12] >> 4) * 4;
	assert(head >= 20 && head <= len - 34);
	*s = (struct mrig_segment){
		.port = (uint16_t)get16(tcp + 2),
		.to = (uint16_t)get16(tcp),
		.seq = get32(tcp + 4),
		.ack = get32(tcp + 8),
		.flags = tcp[13],
		.data = data,
		.len = len - 34 - head,
	};
	if (head == 24 && tcp[20] == 2 && tcp[21] == 4)
		s->mss = (uint16_t)get16(tcp + 22);
	memcpy(data, tcp + head, s->len);
	return true;
}

void mrig_connect(struct mrig_client *c, struct mmds_rig *r, uint16_t port)
{
	struct mrig_segment s = {
		.port = port, .seq = 0xfffffe00u + port, .flags = TCP_SYN, .mss = 1460};
	bool heard;

	*c = (struct mrig_client){.rig = r, .port = port};
	mrig_say(r, &s);
	heard = mrig_hear(r, &s);
	assert(heard && s.flags == (TCP_SYN | TCP_ACK) && s.ack == 0xfffffe00u + port + 1);
	(void)heard;
	c->seq = s.ack;
	c->ack = s.seq + 1;
	mrig_write(c, "", TCP_ACK);
}

void mrig_write(struct mrig_client *c, const char *words, uint8_t flags)
{
	const struct mrig_segment s = {
		.port = c->port,
		.seq = c->seq,
		.ack = c->ack,
		.flags = flags,
		.data = words,
		.len = strlen(words),
		.partial = c->rig->netif.header,
	};

	c->seq += (uint32_t)s.len + !!(flags & TCP_FIN);
	mrig_say(c->rig, &s);
}

unsigned mrig_read(struct mrig_client *c, unsigned lose)
{
	struct mrig_segment s;
	unsigned count = 0;

	while (mrig_hear(c->rig, &s)) {
		count++;
		if (lose && !(count % lose))
			continue;
		assert(s.port == c->port && s.to == 80);
		c->got_rst |= !!(s.flags & TCP_RST);
		if (s.flags & TCP_RST)
			continue;
		if (s.seq == c->ack) {
			assert(c->got_len + s.len < sizeof(c->got));
			memcpy(c->got + c->got_len, s.data, s.len);
			c->got_len += s.len;
			c->got[c->got_len] = '\0';
			c->ack += (uint32_t)s.len + !!(s.flags & TCP_FIN);
			c->got_fin |= !!(s.flags & TCP_FIN);
		}
		if (s.len || s.flags & TCP_FIN)
			mrig_write(c, "", TCP_ACK);
	}
	return count;
}

int mrig_ask(struct mrig_client *c, const char *request)
{
	int status = 0;

	c->got_len = 0;
	mrig_write(c, request, TCP_ACK | TCP_PSH);
	mrig_read(c, 0);
	sscanf(c->got, "HTTP/1.1 %d", &status);
	return status;
}
