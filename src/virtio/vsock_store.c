/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes and packets that wait for the host's program to read. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/vsock_int.h"

/* A packet's length takes place as well. Packets of a byte each make the most of it; those without
 * any cost the guest no credit, so this is their bound. */
#define LENGTH_SIZE 4u
#define ROOM_MAX    ((1u + LENGTH_SIZE) * VSOCK_BUFFER)

/* Makes room for len bytes more behind those that are there. */
static bool make_room(struct vsock_store *s, size_t len)
{
	size_t room = s->room ? s->room : VSOCK_PAYLOAD_MAX;
	uint8_t *more;

	if (s->at && s->at + s->len + len > s->room) {
		memmove(s->bytes, s->bytes + s->at, s->len);
		s->at = 0;
	}
	if (s->len + len > ROOM_MAX)
		return false;
	while (room < s->len + len)
		room *= 2;
	if (room == s->room)
		return true;
	more = realloc(s->bytes, room);
	if (!more)
		return false;
	s->bytes = more;
	s->room = room;
	return true;
}

bool vsock_store_add(struct vsock_store *s, const struct virtq_chain *chain, uint64_t offset,
		     size_t len, bool packets, bool end)
{
	uint32_t packet_len;
	uint8_t *open;

	if (!make_room(s, len + LENGTH_SIZE))
		return false;
	if (packets && !s->open)
		s->len += s->open = LENGTH_SIZE;
	s->len += virtq_chain_read(chain, offset, s->bytes + s->at + s->len, len);
	if (!packets)
		return true;
	s->open += len;
	open = s->bytes + s->at + s->len - s->open;
	packet_len = (uint32_t)(s->open - LENGTH_SIZE);
	memcpy(open, &packet_len, sizeof(packet_len));
	if (end)
		s->open = 0;
	return true;
}

static void drop(struct vsock_store *s, size_t len)
{
	s->at += len;
	s->len -= len;
	if (!s->len)
		vsock_store_release(s);
}

static long send_bytes(struct vsock_store *s, struct portal *p, struct portal_line *line,
		       uint32_t *sent)
{
	while (s->len) {
		const struct portal_span span = {s->bytes + s->at, s->len};
		long n = portal_send(p, line, &span, 1);

		if (n < 0)
			return n;
		assert(n && (size_t)n <= s->len);
		*sent += (uint32_t)n;
		drop(s, (size_t)n);
	}
	return 0;
}

static long send_packets(struct vsock_store *s, struct portal *p, struct portal_line *line,
			 uint32_t *sent)
{
	while (s->len > s->open) {
		struct portal_span span = {s->bytes + s->at + LENGTH_SIZE, 0};
		uint32_t len;
		long n;

		memcpy(&len, s->bytes + s->at, sizeof(len));
		span.len = len;
		n = portal_send(p, line, &span, 1);
		if (n < 0)
			return n;
		*sent += len;
		drop(s, LENGTH_SIZE + len);
	}
	return 0;
}

long vsock_store_send(struct vsock_store *s, struct portal *p, struct portal_line *line,
		      uint32_t *sent)
{
	*sent = 0;
	return line->packets ? send_packets(s, p, line, sent) : send_bytes(s, p, line, sent);
}

void vsock_store_release(struct vsock_store *s)
{
	free(s->bytes);
	*s = (struct vsock_store){NULL, 0, 0, 0, 0};
}
