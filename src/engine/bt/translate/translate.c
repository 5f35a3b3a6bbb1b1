/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All stages that a block goes through, each with what --bt-dump writes of it. The last one, its
 * links to others, comes as they are wanted: blocks_link (runtime/blocks.c).
 */
#include "engine/bt/translate/translate.h"

#include "engine/bt/cpu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/translate/dump.h"
#include "engine/bt/translate/lower.h"
#include "engine/bt/translate/region.h"
#include "engine/bt/vm.h"

bool translate(struct translator *t, struct block *b, uint64_t linear, uint64_t gpa)
{
	struct region r;

	region_read(t->cpu, &r, linear, gpa);
	b->hot = b->context < BLOCK_PLAIN && hot_block(&t->hot, linear, b->context);
	if (b->hot)
		region_unroll(&r);
	dump_guest(t, &r);
	dump_decoded(t, &r);
	region_analyse(t->cpu, &r);
	dump_flags(t, &r);
	b->linear = linear;
	b->gpa = gpa;
	b->page = pages_find(&t->cpu->vm->pages, gpa);
	b->generation = r.generation;
	b->bytes = (uint16_t)r.bytes;
	b->count = (uint16_t)r.count;
	if (!lower_region(t, &r, b))
		return false;
	dump_host(t, b);
	blocks_install(t, b);
	cpu_count(&t->cpu->stats.blocks);
	return true;
}
