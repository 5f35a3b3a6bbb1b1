/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an instruction gets here:
 *
 *	linear address --mmu_fetch--> guest physical page
 *	  the page is marked as code (from now on a write to it raises its generation)
 *	  the generation is noted, then the bytes are read, then they are decoded
 *
 * in this order, so that a write between any two steps makes what was decoded stale
 * rather than wrong. An instruction that crosses its page's end, or does not lie in RAM,
 * is decoded each time.
 *
 * The cache is bounded: when its pages, of which each takes memory even without a valid
 * instruction, have reached memory_max it is emptied.
 */
#include "engine/bt/interp/code_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bt/decode/memo.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define CODE_ROOM_FIRST 16u

int code_cache_init(struct cpu *cpu)
{
	cpu->code = calloc(1, sizeof(*cpu->code));
	cpu_forget_code(cpu);
	if (!cpu->code)
		return -ENOMEM;
	cpu->code->memory_max = CODE_MEMORY_MAX;
	return 0;
}

static void empty(struct code_cache *c)
{
	for (unsigned i = 0; i < CODE_HASH_SIZE; i++) {
		while (c->hash[i]) {
			struct code_page *p = c->hash[i];

			c->hash[i] = p->next;
			free(p->code);
			free(p);
		}
	}
	c->memory = 0;
	c->stale = false;
	c->current = NULL; /* the caller forgets or sets cpu->code_linear */
}

void code_cache_release(struct cpu *cpu)
{
	if (cpu->code)
		empty(cpu->code);
	free(cpu->code);
	cpu->code = NULL;
}

void code_cache_forget(struct cpu *cpu)
{
	cpu->code->stale = true;
}

uint64_t code_cache_decoded(const struct cpu *cpu)
{
	return cpu_counted(&cpu->code->decoded);
}

/* What decoding says, as the exception it is. */
static void check_status(struct cpu *cpu, enum decode_status status)
{
	if (status == DECODE_OK)
		return;
	if (status == DECODE_INVALID)
		cpu_raise(cpu, VECTOR_UD);
	cpu_raise_error(cpu, VECTOR_GP, 0); /* too long */
}

/* Bytes from rip that CS lets be executed. */
static uint64_t within_limit(const struct cpu *cpu, uint64_t linear)
{
	uint64_t limit = cpu->seg[SEG_CS].limit;

	if (cpu->mode == CPU_LONG) {
		uint64_t half = BIT(cpu->cr4 & CR4_LA57 ? 56 : 47);

		/* Only the lower half ends within reach; the upper one ends with the addresses. */
		return linear < half ? half - linear : (linear >= -half ? 4096 : 0);
	}
	return cpu->rip <= limit ? limit - cpu->rip + 1 : 0;
}

/* Decodes what lies at linear for this once. #GP(0) where the instruction leaves CS, #PF where it
 * reaches a page that is not there. */
static const struct code *decode_single(struct cpu *cpu, uint64_t linear)
{
	uint8_t bytes[INSN_BYTES_MAX];
	struct code *code = &cpu->code->single;
	uint64_t most = MIN(within_limit(cpu, linear), sizeof(bytes));
	size_t have = 0;
	enum decode_status status = DECODE_MORE;
	uint64_t page;
	bool ram;

	while (status == DECODE_MORE) {
		uint64_t from = linear + have;

		if (have >= most)
			cpu_raise_error(cpu, VECTOR_GP, 0);
		if (cpu->mode != CPU_LONG)
			from = (uint32_t)from;
		have += mmu_fetch(cpu, from, bytes + have, most - have, &page, &ram);
		status = decode(cpu->vm->decoder, cpu->decode, bytes, have, &code->insn);
	}
	check_status(cpu, status);
	cpu_count(&cpu->code->decoded);
	code->fn = interp_handler(cpu, &code->insn);
	return code;
}

static struct code_page **chain(struct code_cache *c, uint64_t gpa, unsigned mode)
{
	uint64_t h = ((gpa >> GUEST_PAGE_SHIFT) * DECODE_MODES + mode) * 0x9e3779b97f4a7c15ULL;

	return &c->hash[h >> 54];
}

_Static_assert(CODE_HASH_SIZE == 1 << (64 - 54), "chain() takes so many bits");

/* Forgets what was decoded from a page that was written since. */
static void renew(struct code_page *p, uint32_t generation)
{
	memset(p->slot, 0, sizeof(p->slot));
	p->count = 0;
	p->generation = generation;
}

/* The page's instructions, none at first; NULL: no memory for them. */
static struct code_page *find_page(struct cpu *cpu, uint64_t gpa, struct page *page)
{
	struct code_cache *c = cpu->code;
	struct code_page **head = chain(c, gpa, cpu->decode);
	struct code_page *p = *head;
	uint32_t generation = atomic_load(&page->generation);

	while (p && (p->gpa != gpa || p->mode != cpu->decode))
		p = p->next;
	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		p->gpa = gpa;
		p->mode = cpu->decode;
		p->page = page;
		p->generation = generation;
		p->next = *head;
		*head = p;
		c->memory += sizeof(*p);
	} else if (p->generation != generation) {
		renew(p, generation);
	}
	return p;
}

/* A place for one more instruction; NULL: no memory. */
static struct code *grow(struct code_cache *c, struct code_page *p)
{
	if (p->count == p->room) {
		unsigned room = p->room ? p->room * 2 : CODE_ROOM_FIRST;
		struct code *code = realloc(p->code, room * sizeof(*code));

		if (!code)
			return NULL;
		c->memory += (room - p->room) * sizeof(*code);
		p->code = code;
		p->room = room;
	}
	return &p->code[p->count];
}

static enum decode_status decode_known(struct cpu *cpu, const uint8_t *bytes, size_t len,
				       struct insn *insn)
{
	if (cpu->memo)
		return decode_memo(cpu->memo, cpu->vm->decoder, cpu->decode, bytes, len, insn);
	return decode(cpu->vm->decoder, cpu->decode, bytes, len, insn);
}

/* Decodes the instruction at offset into page p; NULL where it has to be decoded each time, or all
 * that is cached has become stale meanwhile. */
static const struct code *decode_into(struct cpu *cpu, struct code_page *p, unsigned offset)
{
	struct code_cache *c = cpu->code;
	unsigned len = MIN(DECODE_MEMO_BYTES, CODE_PAGE_SIZE - offset);
	uint8_t bytes[DECODE_MEMO_BYTES];
	enum decode_status status;
	uint32_t generation;
	struct code *code;
	struct page *page;

	generation = mmu_protect_code(cpu, p->gpa + offset, len);
	if (c->stale)
		return NULL;
	if (p->generation != generation)
		renew(p, generation);
	memcpy(bytes, pages_host(&cpu->vm->pages, p->gpa, &page) + offset, len);
	code = grow(c, p);
	if (!code)
		return NULL;
	status = decode_known(cpu, bytes, len, &code->insn);
	if (status == DECODE_MORE)
		return NULL;
	check_status(cpu, status);
	code->fn = interp_handler(cpu, &code->insn);
	p->slot[offset] = ++p->count;
	cpu_count(&c->decoded);
	return code;
}

const struct code *code_fetch_slow(struct cpu *cpu, uint64_t linear)
{
	struct code_cache *c = cpu->code;
	unsigned offset = linear & MASK(12);
	uint64_t most = within_limit(cpu, linear);
	const struct code *code = NULL;
	struct code_page *p;
	uint64_t gpa;
	uint8_t byte;
	bool ram;

	if (!most)
		cpu_raise_error(cpu, VECTOR_GP, 0);
	mmu_fetch(cpu, linear, &byte, 1, &gpa, &ram);
	if (!ram)
		return decode_single(cpu, linear);
	if (c->stale || c->memory >= c->memory_max)
		empty(c);
	cpu_forget_code(cpu);
	/* Bytes beyond the limit must not decide what it is: not even that it is undefined. */
	if (most < INSN_BYTES_MAX)
		return decode_single(cpu, linear);
	gpa &= ~MASK(12);
	p = find_page(cpu, gpa, pages_find(&cpu->vm->pages, gpa));
	if (!p)
		return decode_single(cpu, linear);
	/* A page that CS's limit or the canonical addresses end in is looked up each time. */
	if (most >= CODE_PAGE_SIZE - offset && cpu->rip >= offset) {
		c->current = p;
		cpu->code_linear = linear - offset;
	}
	if (p->slot[offset])
		code = &p->code[p->slot[offset] - 1];
	else
		code = decode_into(cpu, p, offset);
	if (c->stale) /* what linear leads to may have gone, too */
		return code_fetch_slow(cpu, linear);
	return code ? code : decode_single(cpu, linear);
}
