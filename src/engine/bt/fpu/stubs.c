/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache of stubs, in code memory (base/code_memory.h).
 *
 * A stub is a slot of SLOT bytes:
 *
 *	endbr64
 *	[push flags; popfq]   where the instruction may use flags
 *	the instruction
 *	[pushfq; pop flags]
 *	ret
 *	int3 ...
 *	ret                   the way out when the instruction trapped
 *
 * called with RDI = struct fpu and RSI = its operand buffer, which it leaves alone. Slots are
 * given out in turn and found again by hashing all that the copy depends on; when they
 * are used up all are forgotten. x86 processors see a write to code that another
 * address of the same memory executes (SDM vol. 3A 11.6), so nothing is flushed.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/code_memory.h"
#include "engine/bt/fpu/rewrite.h"
#include "engine/bt/fpu/stubs.h"

#define SLOT    64u
#define SLOTS   4096u
#define MEMORY  (SLOTS * SLOT)
#define BUCKETS (2 * SLOTS) /* at most half full */

struct key {
	uint64_t word[3];
};

struct fpu_stubs {
	struct code_memory memory;
	unsigned used;
	struct key key[SLOTS];
	uint16_t bucket[BUCKETS]; /* slot + 1; 0: empty */
};

int stubs_new(struct fpu_stubs **stubs, struct err *e)
{
	struct fpu_stubs *s = calloc(1, sizeof(*s));
	int ret;

	*stubs = NULL;
	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	ret = code_memory_init(&s->memory, "lodge-stubs", MEMORY, e);
	if (ret) {
		stubs_free(s);
		return ret;
	}
	*stubs = s;
	return 0;
}

void stubs_free(struct fpu_stubs *s)
{
	if (!s)
		return;
	code_memory_release(&s->memory);
	free(s);
}

/* All that rewrite() looks at. */
static struct key key_of(const struct fpu_insn *insn)
{
	struct key k = {{0}};

	memcpy(k.word, insn->bytes, MIN(insn->len, 15));
	k.word[2] = insn->len | insn->opcode << 8 | insn->modrm << 16 | (uint64_t)insn->tail << 24 |
		    (uint64_t)insn->vex << 32 | (uint64_t)insn->long_mode << 33 |
		    (uint64_t)insn->x87 << 34 | (uint64_t)insn->memory << 35 |
		    (uint64_t)insn->gpr << 36;
	return k;
}

static unsigned hash(const struct key *k)
{
	uint64_t h = (k->word[0] ^ k->word[2] << 20) * 0x9e3779b97f4a7c15ULL;

	h = (h ^ h >> 32 ^ k->word[1]) * 0xc2b2ae3d27d4eb4fULL;
	return h >> 40 & (BUCKETS - 1);
}

static const uint8_t return_insn = 0xc3;

static uint8_t *put(uint8_t *at, const void *bytes, size_t len)
{
	memcpy(at, bytes, len);
	return at + len;
}

/* An instruction FF /digit or 8F /digit with operand [RDI + offset of the flags]. */
static uint8_t *put_flags_operand(uint8_t *at, uint8_t opcode, unsigned digit)
{
	uint8_t insn[6] = {opcode, 0x87 | digit << 3};

	store_le(insn + 2, 4, offsetof(struct fpu, rflags));
	return put(at, insn, sizeof(insn));
}

static void make(uint8_t *slot, const struct fpu_insn *insn)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa}, popfq = 0x9d, pushfq = 0x9c;
	bool flags = rewrite_uses_flags(insn);
	uint8_t copy[REWRITE_MAX], *at = slot;
	unsigned len = rewrite(insn, copy);

	memset(slot, 0xcc, SLOT); /* int3 */
	at = put(at, endbr64, sizeof(endbr64));
	if (flags) {
		at = put_flags_operand(at, 0xff, 6);
		at = put(at, &popfq, 1);
	}
	at = put(at, copy, len);
	if (flags) {
		at = put(at, &pushfq, 1);
		at = put_flags_operand(at, 0x8f, 0);
	}
	put(at, &return_insn, 1);
	slot[SLOT - 1] = return_insn;
}

const void *stubs_find(struct fpu_stubs *s, const struct fpu_insn *insn)
{
	struct key k = key_of(insn);
	unsigned b = hash(&k);

	for (; s->bucket[b]; b = (b + 1) % BUCKETS)
		if (!memcmp(&s->key[s->bucket[b] - 1], &k, sizeof(k)))
			return s->memory.exec + (s->bucket[b] - 1) * SLOT;
	if (s->used == SLOTS) {
		memset(s->bucket, 0, sizeof(s->bucket));
		s->used = 0;
		b = hash(&k);
	}
	make(s->memory.write + s->used * SLOT, insn);
	s->key[s->used] = k;
	s->bucket[b] = ++s->used;
	return s->memory.exec + (s->used - 1) * SLOT;
}

uintptr_t stubs_way_out(const struct fpu_stubs *s, uintptr_t pc)
{
	uintptr_t start = (uintptr_t)s->memory.exec;

	if (pc < start || pc >= start + MEMORY)
		return 0;
	return start + align_down(pc - start, SLOT) + SLOT - 1;
}
