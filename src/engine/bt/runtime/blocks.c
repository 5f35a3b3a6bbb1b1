/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks are found in three steps, each slower than the one before:
 *
 *	direct jumps      linked, guarded by the epoch where they leave the page
 *	the jump table    by linear address, for indirect jumps and the runtime
 *	the hash          by linear and guest physical address, for what the TLB says that
 *	                  the address is now
 *
 * The first two are good only while translations of addresses stay: blocks_remapped begins
 * a new epoch, and empties the jump tables. Blocks stay: the guest's processes come back.
 *
 * A block whose page has been written is dead: its entries become jumps to code that
 * asks for the address anew, so that whatever still leads to them is harmless, and exits that
 * were linked to it are unlinked.
 *
 * Code memory and the array of blocks have PARTS parts, which are filled in turns. When the next
 * one is not empty, its blocks, the oldest, are forgotten: they leave the tables, and what
 * was linked to them is unlinked. That takes a fraction of the time in which so many blocks
 * have been translated, and most of what the guest runs stays.
 */
#include "engine/bt/runtime/blocks.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/bt/cpu.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/runtime/host.h"
#include "engine/bt/translate/dump.h"
#include "engine/bt/translate/translate.h"
#include "engine/bt/vm.h"

/* Bytes of code of a block on average, at least: where it is less, the array of blocks is full
 * first. A boot of Linux has 270. */
#define CODE_PER_BLOCK 256

static unsigned hash(uint64_t a, unsigned size)
{
	return (a * 0x9e3779b97f4a7c15ULL) >> 32 & (size - 1);
}

static struct block **bucket(struct translator *t, uint64_t linear, unsigned context)
{
	return &t->hash[hash(linear ^ (uint64_t)context << 60, BLOCK_HASH)];
}

static struct block **page_bucket(struct translator *t, uint64_t gpa)
{
	return &t->page_hash[hash(gpa >> GUEST_PAGE_SHIFT, PAGE_HASH)];
}

static struct jump *jump_of(struct translator *t, uint64_t linear, unsigned context)
{
	return &t->jumps[context][linear % jump_entries(context)];
}

/* An address that is not looked for in entry n. */
static uint64_t no_address(size_t n)
{
	return n ? 0 : 1;
}

static void clear_jump(struct translator *t, unsigned context, unsigned n)
{
	t->jumps[context][n].linear = no_address(n);
}

/* Empties a table of what leads to one zone of the addresses, or more. */
static void clear_jumps(struct translator *t, unsigned context, enum block_zone zone)
{
	unsigned half = block_half(zone);
	unsigned count = t->jumped[context][half].count;

	for (unsigned n = 0; count <= JUMPS_LISTED && n < count; n++)
		clear_jump(t, context, t->jumped[context][half].at[n]);
	for (unsigned n = 0; count > JUMPS_LISTED && n < jump_entries(context); n++)
		clear_jump(t, context, n);
	t->jumped[context][half].count = 0;
}

static void add_jump(struct translator *t, unsigned context, uint64_t linear, const uint8_t *far)
{
	unsigned half = block_half(block_zone(context, linear));
	unsigned n = linear % jump_entries(context);
	unsigned count = t->jumped[context][half].count;

	if (count < JUMPS_LISTED)
		t->jumped[context][half].at[count] = (uint16_t)n;
	if (count <= JUMPS_LISTED)
		t->jumped[context][half].count++;
	t->jumps[context][n] = (struct jump){linear, far};
}

/* The bit of a linear page in code_pages. */
static unsigned page_bit(uint64_t linear)
{
	return hash(linear >> GUEST_PAGE_SHIFT, CODE_PAGES);
}

static void remap(struct translator *t, enum block_zone zone)
{
	for (unsigned context = 0; context < BLOCK_CONTEXTS; context++)
		if (block_narrow(context) == zone_narrow(zone))
			clear_jumps(t, context, zone);
	t->cpu->native.epoch[zone]++;
	t->local[zone] = false;
}

/* Whether code of this zone may have other translations, by what has been remapped. */
static bool is_remapped(const struct translator *t, enum block_zone zone)
{
	const struct cpu_native *n = &t->cpu->native;
	unsigned bit = page_bit(n->remapped_page);
	bool narrow = zone_narrow(zone);
	enum block_context context = narrow ? BLOCK_NARROW : BLOCK_SUPERVISOR;

	if (n->remapped & (zone == ZONE_UPPER ? REMAPPED_UPPER : REMAPPED_LOWER))
		return true;
	if (n->remapped & REMAPPED_LOCAL && (!block_half(zone) || t->local[zone]))
		return true;
	return n->remapped & REMAPPED_PAGE && t->code_pages[bit / 64] & BIT(bit % 64) &&
	       block_zone(context, n->remapped_page) == zone && !(narrow && n->remapped_page >> 32);
}

static void forget_all(struct translator *t);

void blocks_remapped(struct translator *t)
{
	for (unsigned zone = 0; zone < BLOCK_ZONES; zone++)
		if (is_remapped(t, zone))
			remap(t, zone);
	t->cpu->native.remapped = 0;
	if ((t->cpu->cr4 ^ t->cr4) & KIND_CR4) {
		t->cr4 = t->cpu->cr4;
		forget_all(t);
	}
}

/* Blocks are put into part n, which is empty, from now on. */
static void fill_part(struct translator *t, unsigned n)
{
	t->now = n;
	t->emit.at = t->part[n].code;
	t->emit.end = t->part[n].end;
	t->emit.full = false;
}

static void forget_all(struct translator *t)
{
	for (unsigned n = 0; n < PARTS; n++)
		t->part[n].used = 0;
	fill_part(t, 0);
	memset(t->hash, 0, sizeof(t->hash));
	memset(t->page_hash, 0, sizeof(t->page_hash));
	memset(t->code_pages, 0, sizeof(t->code_pages));
	for (unsigned zone = 0; zone < BLOCK_ZONES; zone++)
		remap(t, zone);
	sites_empty_all(t->cpu->tlb->sites);
	t->hot.sites = 0;
	t->forgotten++;
}

static int32_t displacement(const struct cpu *cpu, const void *p)
{
	intptr_t d = (const char *)p - (const char *)cpu;

	assert(d == (int32_t)d);
	return (int32_t)d;
}

size_t blocks_code_size(size_t bound)
{
	size_t fixed = sizeof(struct translator) + BLOCKS_ROOM;
	size_t rest = bound > fixed ? bound - fixed : 0;

	return align_down(rest / (CODE_PER_BLOCK + sizeof(struct block)) * CODE_PER_BLOCK,
			  BLOCKS_CODE_MIN);
}

static size_t blocks_size(const struct translator *t)
{
	return (size_t)t->max * PARTS * sizeof(*t->blocks);
}

/* The gates are before the first. */
static void divide(struct translator *t, size_t size)
{
	for (unsigned n = 0; n < PARTS; n++) {
		t->part[n].code = t->memory.write + size / PARTS * n;
		t->part[n].end = t->part[n].code + size / PARTS;
		t->part[n].block = t->blocks + (size_t)t->max * n;
	}
	t->part[0].code = t->emit.at;
	fill_part(t, 0);
}

static void lay_out_jumps(struct translator *t, struct jump *room)
{
	for (unsigned n = 0; n < BLOCK_CONTEXTS; n++) {
		t->jumps[n] = room;
		t->jumps_at[n] = displacement(t->cpu, room);
		clear_jump(t, n, 0);
		room += jump_entries(n);
	}
}

int blocks_init(struct cpu *cpu, size_t size, void *room, struct err *e)
{
	struct translator *t = calloc(1, sizeof(*t));
	int rc;

	if (!t)
		return err_errno(e, ENOMEM, "cannot make a translator");
	cpu->translator = t;
	cpu->memo = &t->memo;
	t->cpu = cpu;
	pthread_mutex_init(&t->stale.lock, NULL);
	t->max = (unsigned)(size / CODE_PER_BLOCK / PARTS);
	rc = code_memory_init(&t->memory, "lodge-translated", size, e);
	if (rc)
		return rc;
	t->blocks = mmap(NULL, blocks_size(t), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (t->blocks == MAP_FAILED) {
		t->blocks = NULL;
		return err_errno(e, errno, "cannot make a translator");
	}
	lay_out_jumps(t, room);
	t->bmi2 = host_has_bmi2();
	for (unsigned n = 0; n < BLOCK_CONTEXTS; n++)
		t->tlb_at[n] = displacement(cpu, &cpu->tlb->set[block_access(n)]);
	t->sites_at = displacement(cpu, cpu->tlb->sites);
	t->emit = (struct emit){
		.at = t->memory.write,
		.end = t->memory.write + size,
		.shift = t->memory.exec - t->memory.write,
	};
	gates_emit(t);
	divide(t, size);
	return 0;
}

void blocks_release(struct cpu *cpu)
{
	struct translator *t = cpu->translator;

	if (!t)
		return;
	if (t->blocks)
		munmap(t->blocks, blocks_size(t));
	code_memory_release(&t->memory);
	pthread_mutex_destroy(&t->stale.lock);
	free(t);
	cpu->translator = NULL;
	cpu->memo = NULL;
}

static void list_exit(struct block_exit *exit, struct block *to)
{
	exit->to = to;
	exit->next = to->incoming;
	exit->link = &to->incoming;
	if (exit->next)
		exit->next->link = &exit->next;
	to->incoming = exit;
}

/* Takes exit from the list of where it leads to. */
static void unlist_exit(struct block_exit *exit)
{
	*exit->link = exit->next;
	if (exit->next)
		exit->next->link = exit->link;
	exit->to = NULL;
}

static void unlink_exit(struct translator *t, struct block_exit *exit)
{
	emit_patch_to(exit->distance, t->emit.shift, exit->unlinked);
	unlist_exit(exit);
}

/* The entry becomes a jump. */
static void redirect(struct translator *t, const uint8_t *entry, const uint8_t *to)
{
	struct emit e = t->emit;

	e.at = (uint8_t *)(uintptr_t)(entry - e.shift);
	emit_jmp_to(&e, to);
}

/* The block is not found by its address any more, and nothing is linked to it. It stays listed with
 * its page. */
static void drop(struct translator *t, struct block *b)
{
	struct jump *jump = jump_of(t, b->linear, b->context);
	struct block **p = bucket(t, b->linear, b->context);

	while (*p && *p != b)
		p = &(*p)->next;
	assert(*p);
	*p = b->next;
	if (jump->linear == b->linear)
		jump->linear = no_address(b->linear % jump_entries(b->context));
	while (b->incoming)
		unlink_exit(t, b->incoming);
	b->dead = true;
	dump_forgotten(t, b);
}

/* What still leads to the block is to do no harm. */
static void kill(struct translator *t, struct block *b)
{
	drop(t, b);
	redirect(t, b->near, b->dead_near);
	redirect(t, b->far, b->dead_far);
}

/* It is not listed with its page any more. */
static void unlist(struct translator *t, struct block *b)
{
	struct block **p = page_bucket(t, b->gpa);

	while (*p && *p != b)
		p = &(*p)->next_in_page;
	assert(*p);
	*p = b->next_in_page;
}

struct block *blocks_of_page(struct translator *t, uint64_t gpa)
{
	return *page_bucket(t, gpa);
}

void blocks_retire(struct translator *t, struct block *b)
{
	unlist(t, b);
	kill(t, b);
}

/* Its place is wanted. Nothing is in its code, and nothing leads there but what it is itself
 * reached by. */
static void give_up(struct translator *t, struct block *b)
{
	for (unsigned n = 0; n < BLOCK_EXITS; n++)
		if (b->exit[n].to)
			unlist_exit(&b->exit[n]);
	if (b->dead)
		return;
	drop(t, b);
	unlist(t, b);
}

/* The oldest part's blocks are forgotten, and it is filled anew. */
static void next_part(struct translator *t)
{
	unsigned n = (t->now + 1) % PARTS;
	struct part *part = &t->part[n];

	if (part->used)
		t->forgotten++;
	while (part->used)
		give_up(t, &part->block[--part->used]);
	fill_part(t, n);
}

/* Kills the blocks of a page (of any: all) that are stale. */
static void forget_page(struct translator *t, struct block **head, uint64_t gpa, bool any)
{
	struct block **p = head, *b;

	while ((b = *p)) {
		bool same = any || !((b->gpa ^ gpa) >> GUEST_PAGE_SHIFT);

		if (same && b->page && b->generation != atomic_load(&b->page->generation)) {
			*p = b->next_in_page;
			kill(t, b);
		} else {
			p = &b->next_in_page;
		}
	}
}

void blocks_forget_stale(struct translator *t)
{
	uint64_t gpa[STALE_MAX];
	unsigned count;
	bool all;

	pthread_mutex_lock(&t->stale.lock);
	atomic_store(&t->stale.some, false);
	count = t->stale.count;
	all = t->stale.all;
	t->stale.all = false;
	t->stale.count = 0;
	memcpy(gpa, t->stale.gpa, MIN(count, STALE_MAX) * sizeof(gpa[0]));
	pthread_mutex_unlock(&t->stale.lock);
	if (all) {
		forget_all(t);
		return;
	}
	for (unsigned n = 0; count <= STALE_MAX && n < count; n++)
		forget_page(t, page_bucket(t, gpa[n]), gpa[n], false);
	for (unsigned n = 0; count > STALE_MAX && n < PAGE_HASH; n++)
		forget_page(t, &t->page_hash[n], 0, true);
}

void blocks_written(struct translator *t, uint64_t gpa)
{
	pthread_mutex_lock(&t->stale.lock);
	if (t->stale.count < STALE_MAX)
		t->stale.gpa[t->stale.count] = gpa;
	if (t->stale.count <= STALE_MAX)
		t->stale.count++;
	atomic_store(&t->stale.some, true);
	pthread_mutex_unlock(&t->stale.lock);
	atomic_store_explicit(&t->cpu->native.poll, 1, memory_order_release);
}

void blocks_forget(struct translator *t)
{
	pthread_mutex_lock(&t->stale.lock);
	t->stale.all = true;
	atomic_store(&t->stale.some, true);
	pthread_mutex_unlock(&t->stale.lock);
	atomic_store_explicit(&t->cpu->native.poll, 1, memory_order_release);
}

/* A block, installed; NULL where the part is full. */
static struct block *make(struct translator *t, uint64_t linear, uint64_t gpa, unsigned context)
{
	struct part *part = &t->part[t->now];
	struct block *b;

	if (part->used == t->max)
		return NULL;
	b = &part->block[part->used];
	memset(b, 0, sizeof(*b));
	b->context = (uint8_t)context;
	if (!translate(t, b, linear, gpa))
		return NULL;
	part->used++;
	return b;
}

static struct block *make_and_insert(struct translator *t, uint64_t linear, uint64_t gpa,
				     unsigned context)
{
	struct block *b = make(t, linear, gpa, context);

	if (!b) {
		next_part(t);
		b = make(t, linear, gpa, context);
		assert(b); /* a part has room for one */
	}
	return b;
}

void blocks_install(struct translator *t, struct block *b)
{
	struct block **same = bucket(t, b->linear, b->context);
	struct block **page = page_bucket(t, b->gpa);

	b->next = *same;
	*same = b;
	b->next_in_page = *page;
	*page = b;
	dump_installed(t, b);
}

/* Remembers what has to happen when the page's translation changes. Its TLB entry is there. */
static void note_page(struct translator *t, uint64_t linear, enum block_context context)
{
	const struct tlb_entry *e = tlb_entry(&t->cpu->tlb->set[block_access(context)], linear);
	unsigned bit = page_bit(linear);

	t->code_pages[bit / 64] |= BIT(bit % 64);
	if (!e->global)
		t->local[block_zone(context, linear)] = true;
}

/* The guest physical address of code at linear; false: not in RAM. Raises what fetching it
 * raises. */
static bool place_of(struct translator *t, uint64_t linear, enum block_context context,
		     uint64_t *gpa)
{
	const struct tlb_entry *e = tlb_entry(&t->cpu->tlb->set[block_access(context)], linear);
	uint8_t byte;
	bool ram;

	if (e->exec == (linear & ~PAGE_OFFSET)) {
		*gpa = e->gpa | (linear & PAGE_OFFSET);
		return true;
	}
	if (!linear_canonical(t->cpu, linear))
		return false;
	mmu_fetch(t->cpu, linear, &byte, 1, gpa, &ram);
	*gpa |= linear & PAGE_OFFSET;
	return ram;
}

static bool is_at(const struct block *b, uint64_t linear, uint64_t gpa, enum block_context context)
{
	return b->linear == linear && b->gpa == gpa && b->context == context;
}

/* Others with the same bit are taken for it: they are translated sooner. */
static bool wanted_before(struct translator *t, uint64_t key)
{
	unsigned bit = hash(key, WANTED);
	bool before = t->wanted[bit / 64] & BIT(bit % 64);

	if (!before && ++t->wanted_count > WANTED / 4) {
		memset(t->wanted, 0, sizeof(t->wanted));
		t->wanted_count = 0;
	}
	t->wanted[bit / 64] |= BIT(bit % 64);
	return before;
}

/* The block at linear, by what the TLB says now; NULL: not in RAM. maybe: a block that it may be,
 * or NULL. */
static struct block *find_block(struct translator *t, uint64_t linear, enum block_context context,
				struct block *maybe)
{
	struct block *b = maybe;
	uint64_t gpa;

	if (!place_of(t, linear, context, &gpa))
		return NULL;
	note_page(t, linear, context);
	if (!b || !is_at(b, linear, gpa, context)) {
		b = *bucket(t, linear, context);
		while (b && !is_at(b, linear, gpa, context))
			b = b->next;
	}
	if (b && b->page && b->generation != atomic_load(&b->page->generation)) {
		forget_page(t, page_bucket(t, gpa), gpa, false);
		b = NULL;
	}
	if (!b && t->lazy && !wanted_before(t, linear ^ (uint64_t)context << 60)) {
		t->is_cold = true;
		t->cold = linear;
		return NULL;
	}
	return b ? b : make_and_insert(t, linear, gpa, context);
}

const uint8_t *blocks_find(struct translator *t, uint64_t linear, enum block_context context)
{
	struct jump *jump = jump_of(t, linear, context);
	const uint8_t *far;
	struct block *b;

	if (jump->linear == linear)
		return jump->far;
	b = find_block(t, linear, context, NULL);
	if (!b)
		return NULL;
	far = b->count ? b->far : t->gates.interpret;
	t->checked = b;
	if (t->cpu->journal)
		return far; /* block by block */
	add_jump(t, context, linear, far);
	return far;
}

const uint8_t *blocks_link(struct translator *t, struct block_exit *exit)
{
	uint64_t forgotten = t->forgotten;
	enum block_context context = (enum block_context)exit->context;
	struct block *b = find_block(t, exit->target, context, exit->to);
	uint32_t epoch = t->cpu->native.epoch[block_zone(context, exit->target)];

	if (!b)
		return NULL;
	if (forgotten != t->forgotten)
		return b->far; /* the exit's block may be gone */
	if (!exit->guard && (b->gpa ^ exit->gpa) >> GUEST_PAGE_SHIFT)
		return b->far; /* the page was mapped elsewhere meanwhile: not for ever */
	if (exit->to != b) {
		if (exit->to)
			unlist_exit(exit);
		list_exit(exit, b);
		emit_patch_to(exit->distance, t->emit.shift, exit->far ? b->far : b->near);
	}
	if (exit->guard)
		memcpy(exit->guard, &epoch, sizeof(epoch));
	dump_linked(t, exit);
	cpu_count(&t->cpu->stats.links);
	return b->far;
}
