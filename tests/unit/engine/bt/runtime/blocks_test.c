/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks and the links between them while code memory is used up again and again, and what a
 * translator takes in all. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/runtime/blocks.h"
#include "../interp/integer_rig.h"

#define CHAIN  0x110000u /* guest code: SITES of them, EACH bytes long */
#define SITES  6000u
#define EACH   16u
#define COMMON 0x100u /* of bytes behind the chain: a function that all call */
#define PASSES 4u

static void put(uint8_t **p, const void *bytes, size_t len)
{
	memcpy(*p, bytes, len);
	*p += len;
}

/* The distance of a jump or call whose last byte is the fourth at p. */
static void put_distance(uint8_t **p, const uint8_t *to)
{
	store_le(*p, 4, (uint64_t)(to - (*p + 4)));
	*p += 4;
}

/* CALL common; ADD RAX, 3; JMP to the next site; bytes that are not executed. Behind the last: DEC
 * EBX; JNZ to the first; HLT. */
static void write_chain(struct integer_rig *r)
{
	static const uint8_t add[] = {0x48, 0x83, 0xc0, 3}, dec[] = {0xff, 0xcb};
	static const uint8_t jump[] = {0xeb, EACH - 5 - 4 - 2}, jnz[] = {0x0f, 0x85};
	static const uint8_t common_code[] = {0xff, 0xc1, 0xc3}; /* INC ECX; RET */
	uint8_t *first = ir_ram(r, CHAIN), *p = first, *common = first + SITES * EACH + COMMON;

	for (unsigned n = 0; n < SITES; n++) {
		put(&p, "\xe8", 1);
		put_distance(&p, common);
		put(&p, add, sizeof(add));
		put(&p, jump, sizeof(jump));
		put(&p, "\xcc\xcc\xcc\xcc\xcc", EACH - 5 - 4 - 2);
	}
	put(&p, dec, sizeof(dec));
	put(&p, jnz, sizeof(jnz));
	put_distance(&p, first);
	put(&p, "\xf4", 1);
	memcpy(common, common_code, sizeof(common_code));
}

static bool listed(const struct block *to, const struct block_exit *exit)
{
	const struct block_exit *e = to->incoming;

	while (e && e != exit)
		e = e->next;
	return e;
}

static bool inside(const struct translator *t, const uint8_t *code, const struct part *part)
{
	const uint8_t *written = code - t->emit.shift;

	return written >= part->code && written < part->end;
}

/* Whatever is found, or linked, is a block that is there. */
static void check_tables(const struct translator *t)
{
	unsigned found = 0, alive = 0;

	for (unsigned n = 0; n < PARTS; n++) {
		for (unsigned i = 0; i < t->part[n].used; i++) {
			const struct block *b = &t->part[n].block[i];

			assert_true(inside(t, b->far, &t->part[n]));
			alive += !b->dead;
			for (unsigned x = 0; x < BLOCK_EXITS; x++)
				if (b->exit[x].to) {
					assert_false(b->exit[x].to->dead);
					assert_true(listed(b->exit[x].to, &b->exit[x]));
				}
		}
	}
	for (unsigned n = 0; n < BLOCK_HASH; n++) {
		for (const struct block *b = t->hash[n]; b; b = b->next) {
			assert_false(b->dead);
			found++;
		}
	}
	assert_int_equal(found, alive);
	for (unsigned n = 0, paged = 0; n < PAGE_HASH; n++) {
		for (const struct block *b = t->page_hash[n]; b; b = b->next_in_page) {
			assert_false(b->dead);
			paged++;
		}
		if (n + 1 == PAGE_HASH)
			assert_int_equal(paged, alive);
	}
}

static struct integer_rig *make_rig(size_t size)
{
	struct integer_rig *r = ir_new(IR_64);
	struct cpu *cpu = r->cpu;

	assert_int_equal(code_cache_init(cpu), 0);
	assert_int_equal(msr_init(cpu), 0);
	cpu->msrs->canonical_bits = 48;
	write_chain(r);
	ir_translate(r, size);
	return r;
}

static void free_rig(struct integer_rig *r)
{
	msr_release(r->cpu);
	code_cache_release(r->cpu);
	ir_free(r);
}

static void run_chain(struct integer_rig *r)
{
	struct cpu *cpu = r->cpu;

	cpu->rip = CHAIN;
	cpu->halted = false;
	atomic_store(&cpu->attention, 0);
	cpu->gpr[GPR_RAX] = cpu->gpr[GPR_RCX] = 0;
	cpu->gpr[GPR_RBX] = PASSES;
	cpu->gpr[GPR_RSP] = IR_STACK + IR_SP;
	assert_int_equal(interp_run(cpu, 0), INTERP_HALTED);
	assert_int_equal(cpu->gpr[GPR_RAX], 3 * SITES * PASSES);
	assert_int_equal(cpu->gpr[GPR_RCX], SITES * PASSES);
	assert_int_equal(cpu->gpr[GPR_RSP], IR_STACK + IR_SP);
}

static void the_oldest_are_forgotten(void **state)
{
	struct integer_rig *r = make_rig(BLOCKS_CODE_MIN);
	struct translator *t = r->cpu->translator;

	(void)state;
	run_chain(r);
	check_tables(t);
	assert_true(t->forgotten > PARTS);
	/* What is written is dead, and forgotten later all the same. */
	pages_written(&r->vm.pages, CHAIN + SITES * EACH - GUEST_PAGE_SIZE, 1);
	run_chain(r);
	check_tables(t);
	free_rig(r);
}

static void with_room_for_all_nothing_is(void **state)
{
	struct integer_rig *r = make_rig(MIB(16));
	struct translator *t = r->cpu->translator;
	uint64_t blocks;

	(void)state;
	run_chain(r);
	blocks = r->cpu->stats.blocks;
	assert_true(blocks >= 2 * SITES);
	run_chain(r);
	assert_int_equal(r->cpu->stats.blocks, blocks);
	assert_int_equal(t->forgotten, 0);
	check_tables(t);
	free_rig(r);
}

/* Code memory, the blocks in it, and the tables. */
static void a_translator_keeps_within_its_bound(void **state)
{
	static const size_t bounds[] = {MIB(7), MIB(8), MIB(9) + 12345, MIB(64), GIB(1)};

	(void)state;
	for (unsigned n = 0; n < ARRAY_LEN(bounds); n++) {
		size_t size = blocks_code_size(bounds[n]), all;
		struct integer_rig *r = make_rig(size);
		struct translator *t = r->cpu->translator;

		assert_int_equal(size % BLOCKS_CODE_MIN, 0);
		assert_int_equal(t->memory.size, size);
		all = size + (size_t)t->max * PARTS * sizeof(struct block) + sizeof(*t) +
		      BLOCKS_ROOM;
		assert_true(all <= bounds[n]);
		assert_true(all > bounds[n] / 2);
		free_rig(r);
	}
	assert_int_equal(blocks_code_size(KIB(64)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_oldest_are_forgotten),
		cmocka_unit_test(with_room_for_all_nothing_is),
		cmocka_unit_test(a_translator_keeps_within_its_bound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
