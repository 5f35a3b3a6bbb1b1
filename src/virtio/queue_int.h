/* SPDX-License-Identifier: Apache-2.0 */
/* What the two forms of a virtqueue share: not for other files. */
#ifndef LODGE_VIRTIO_QUEUE_INT_H
#define LODGE_VIRTIO_QUEUE_INT_H

#include "virtio/queue.h"

/* Flags of a descriptor, and of nothing else (2.7.5, 2.8.19). */
#define VIRTQ_DESC_NEXT     (1u << 0)
#define VIRTQ_DESC_WRITE    (1u << 1)
#define VIRTQ_DESC_INDIRECT (1u << 2)

#define VIRTQ_DESC_SIZE 16u

/* Sizes and alignments of the three areas. */
struct virtq_shape {
	uint64_t len;
	unsigned align;
};

/* A form of virtqueue. The functions are called on started queues that are not broken. */
struct virtq_form {
	/* The shapes of desc, driver and device area for a queue of size; false: a size that the
	 * form cannot have. */
	bool (*shapes)(unsigned size, struct virtq_shape shapes[3]);
	void (*start)(struct virtq *q);
	/* virtq_take, but that a rule broken is returned in *broken. */
	enum virtq_taken (*take)(struct virtq *q, struct virtq_chain *chain, const char **broken);
	/* Writes one buffer's used descriptor, for the driver to see, or, while q->holding, for
	 * publish to show. */
	void (*use)(struct virtq *q, const struct virtq_done *buffer);
	void (*publish)(struct virtq *q);
	bool (*should_interrupt)(struct virtq *q);
	void (*want_kicks)(struct virtq *q, bool want);
};

extern const struct virtq_form virtq_split;
extern const struct virtq_form virtq_packed;

/* A descriptor in memory: address, length and two more fields, which differ. */
struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t low;  /* split: flags; packed: buffer id */
	uint16_t high; /* split: next; packed: flags */
};

/* Loads that happen once each, at any alignment: another processor may be writing there. */
struct virtq_desc virtq_load_desc(const uint8_t *p);
uint16_t virtq_load16(const uint8_t *p);

/* The same with the ordering between two processors; p is aligned. */
uint16_t virtq_load16_acquire(const uint8_t *p);
void virtq_store16_release(uint8_t *p, uint16_t v);

/* Tells memory's observers that len bytes at offset of one of the queue's areas were written. */
void virtq_wrote(struct virtq *q, const struct virtq_part *part, uint64_t offset, uint64_t len);

/* Begins a chain; appends a descriptor's buffer to it, as a segment for each region of RAM that it
 * lies in; and looks up an indirect table. NULL, or the rule that was broken. */
void virtq_chain_begin(struct virtq *q, struct virtq_chain *chain);
const char *virtq_chain_add(struct virtq *q, struct virtq_chain *chain,
			    const struct virtq_desc *desc, bool write);
const char *virtq_find_table(struct virtq *q, const struct virtq_desc *desc, const uint8_t **table,
			     unsigned *count);

/* Whether a move of the index from old to new passes event (virtio 1.2, 2.7.7.1: "MUST send a
 * notification" when the index that was used equals it). */
static inline bool virtq_passes(uint16_t event, uint16_t new, uint16_t old)
{
	return (uint16_t)(new - event - 1) < (uint16_t)(new - old);
}

#endif
