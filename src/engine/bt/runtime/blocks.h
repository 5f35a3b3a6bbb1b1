/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translated blocks of a vCPU: made when first wanted, found by address, linked, and
 * forgotten when their page is written or memory is used up.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_BLOCKS_H
#define LODGE_ENGINE_BT_RUNTIME_BLOCKS_H

#include "base/err.h"
#include "engine/bt/translate/translator.h"

/* Bytes of the tables that have to lie beside struct cpu. */
#define BLOCKS_ROOM    \
	(BLOCK_PLAIN * \
	 (sizeof(struct jump[JUMP_ENTRIES]) + sizeof(struct jump[JUMP_ENTRIES_PLAIN])))

/* Code memory is a multiple of this, and at least this. */
#define BLOCKS_CODE_MIN (PARTS * 32768u)

/* How much code memory a translator may have so that it takes up to bound bytes in all, with what
 * it remembers of the code; 0: none. */
size_t blocks_code_size(size_t bound);

/* A translator for cpu, whose TLB is there, with size bytes of code memory, and BLOCKS_ROOM zeroed
 * bytes within 2 GiB of it, the caller's. 0 or -errno with e set. Any thread, while it does not
 * run. */
int blocks_init(struct cpu *cpu, size_t size, void *room, struct err *e);
void blocks_release(struct cpu *cpu);

/* The code at linear for the context, translated if need be; NULL: the interpreter does the
 * instruction (and where t->is_cold those that follow it). Raises what fetching it raises, with
 * cpu->rip at linear. */
const uint8_t *blocks_find(struct translator *t, uint64_t linear, enum block_context context);

/* The same, and exit, whose target linear is, leads there from now on. */
const uint8_t *blocks_link(struct translator *t, struct block_exit *exit);

/* The block, whole now, is found by its address. For translate(). */
void blocks_install(struct translator *t, struct block *b);

/* Translations of addresses may have changed: what has been found by address is looked up anew. */
void blocks_remapped(struct translator *t);

/* Forgets the blocks of pages that have been written; as soon as t->stale.some. */
void blocks_forget_stale(struct translator *t);

/* All of them, before the vCPU looks for another. Any thread. */
void blocks_forget(struct translator *t);

/* The first of a chain (next_in_page) that all blocks of the page at gpa are in, with others. */
struct block *blocks_of_page(struct translator *t, uint64_t gpa);

/* A block, not a dead one, is to be translated again when it is wanted. While none runs. */
void blocks_retire(struct translator *t, struct block *b);

/* The page at gpa was written where code had been translated from. Any thread. */
void blocks_written(struct translator *t, uint64_t gpa);

#endif
