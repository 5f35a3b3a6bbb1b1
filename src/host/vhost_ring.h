/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A queue of buffers in memory shared with another process, seen by who fills it: the
 * driver's side of a split virtqueue (virtio 1.2, 2.7), by which a vhost-user daemon
 * gets its work.
 *
 * The other process can write all of the queue at any time. So nothing is kept in it:
 * what is under way is remembered here, and what the daemon says is checked against
 * that.
 *
 * A buffer is a slot: its one descriptor points to a table of its own, of up to
 * VHOST_RING_SEGMENTS_MAX pieces of guest memory.
 *
 * Threads: no lock; its owner's guards it.
 */
#ifndef LODGE_HOST_VHOST_RING_H
#define LODGE_HOST_VHOST_RING_H

#include <stdbool.h>
#include <stdint.h>

#define VHOST_RING_SIZE         256u /* slots */
#define VHOST_RING_SEGMENTS_MAX 256u

/* A piece of guest memory. */
struct vhost_segment {
	uint64_t gpa;
	uint32_t len;
};

struct vhost_ring {
	uint8_t *base; /* VHOST_RING_BYTES, page-aligned */
	uint64_t addr; /* where the daemon believes them to be */
	uint16_t added, used;
	unsigned under_way;
	uint64_t busy[VHOST_RING_SIZE / 64]; /* slots that are under way */
};

/* The parts of a ring. */
#define VHOST_RING_DESC   0u
#define VHOST_RING_AVAIL  0x1000u
#define VHOST_RING_USED   0x2000u
#define VHOST_RING_TABLES 0x3000u
#define VHOST_RING_TABLE  (VHOST_RING_SEGMENTS_MAX * 16u) /* bytes of a table */
#define VHOST_RING_BYTES  (VHOST_RING_TABLES + VHOST_RING_SIZE * VHOST_RING_TABLE)

/* Makes an empty ring at base, which is the caller's. */
void vhost_ring_init(struct vhost_ring *r, uint8_t *base, uint64_t addr);

/* Empties it; the daemon does not look at it. */
void vhost_ring_reset(struct vhost_ring *r);

/* A slot that is not under way; there is one (up to VHOST_RING_SIZE are). */
unsigned vhost_ring_free_slot(const struct vhost_ring *r);

/* Gives the buffer of readable, then writable segments, one at least, to the daemon as slot, which
 * is not under way. */
void vhost_ring_add(struct vhost_ring *r, unsigned slot, const struct vhost_segment *segments,
		    unsigned readable, unsigned writable);

/* Whether the daemon wants to be kicked; after buffers were added. */
bool vhost_ring_wants_kick(const struct vhost_ring *r);

/* The next slot that the daemon has used, and the bytes that it claims to have written: 1; none: 0;
 * -EPROTO: it has said what cannot be. */
int vhost_ring_next(struct vhost_ring *r, unsigned *slot, uint32_t *written);

static inline bool vhost_ring_busy(const struct vhost_ring *r, unsigned slot)
{
	return r->busy[slot / 64] >> slot % 64 & 1;
}

#endif
