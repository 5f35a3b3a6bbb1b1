/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Caches and topology: one package whose cores have one thread each, private
 * first- and second-level caches, and a last-level cache that all share. The sizes
 * are lodge's own, not the host's: programs size their buffers by them, and where
 * the vCPUs really run may change from moment to moment.
 *
 * The APIC ids are 0 to cpus - 1, so that each layer's share of the id is the bits
 * that the count needs (SDM vol. 3A 8.9).
 */
#include "base/bits.h"
#include "core/x86/cpuid_int.h"

enum cache_type { CACHE_DATA = 1, CACHE_CODE = 2, CACHE_UNIFIED = 3 };

#define CACHES    4
#define LINE_SIZE 64

struct cache {
	enum cache_type type;
	unsigned level;
	unsigned ways;
	unsigned sets;
	bool shared;
};

unsigned cpuid_order(unsigned count)
{
	unsigned bits = 0;

	while (1u << bits < count)
		bits++;
	return bits;
}

/* 32 KiB of each kind and 512 KiB a core; 2 MiB of last-level cache for each, 16 MiB at least. */
static void caches(const struct cpuid_build *b, struct cache c[CACHES])
{
	unsigned mib = 2u << cpuid_order(b->topology->cpus);

	c[0] = (struct cache){CACHE_DATA, 1, 8, 64, false};
	c[1] = (struct cache){CACHE_CODE, 1, 8, 64, false};
	c[2] = (struct cache){CACHE_UNIFIED, 2, 8, 1024, false};
	c[3] = (struct cache){CACHE_UNIFIED, 3, 16, MAX(mib, 16u) * 1024, true};
}

/* Leaf 4 of Intel and 0x8000001D of AMD, which are alike but for the count of cores. */
static void put_cache(struct cpuid_build *b, uint32_t leaf, unsigned n, const struct cache *c,
		      uint32_t cores)
{
	uint32_t sharing = c->shared ? (1u << cpuid_order(b->topology->cpus)) - 1 : 0;

	cpuid_put_sub(b->out, leaf, n,
		      (uint32_t[4]){c->type | c->level << 5 | BIT(8) | sharing << 14 | cores << 26,
				    (LINE_SIZE - 1) | (c->ways - 1) << 22, c->sets - 1, 0});
}

static unsigned cache_kib(const struct cache *c)
{
	return c->ways * c->sets * LINE_SIZE / 1024;
}

/* 0x80000005 and 6 in AMD's form. */
static void put_caches_amd(struct cpuid_build *b, const struct cache c[CACHES])
{
	uint32_t tlb1 = 0xff40ff40; /* 64 entries for data and for code, fully associative */
	uint32_t tlb2 = 0x66006400; /* 1536 and 1024 entries, 8-way */
	uint32_t l1 = cache_kib(&c[0]) << 24 | c[0].ways << 16 | 1 << 8 | LINE_SIZE;

	cpuid_put4(b->out, 0x80000005, (uint32_t[4]){tlb1, tlb1, l1, l1});
	cpuid_put4(b->out, 0x80000006,
		   (uint32_t[4]){tlb2, tlb2, cache_kib(&c[2]) << 16 | 6 << 12 | 1 << 8 | LINE_SIZE,
				 cache_kib(&c[3]) / 512 << 18 | 8 << 12 | 1 << 8 | LINE_SIZE});
}

void cpuid_put_caches(struct cpuid_build *b)
{
	struct cache c[CACHES];
	uint32_t cores = (1u << cpuid_order(b->topology->cpus)) - 1;

	caches(b, c);
	if (b->vendor & VENDORS_AMD) {
		put_caches_amd(b, c);
		for (unsigned n = 0; n < CACHES; n++)
			put_cache(b, 0x8000001d, n, &c[n], 0);
		cpuid_put_sub(b->out, 0x8000001d, CACHES, (uint32_t[4]){0});
		return;
	}
	/* Descriptors: FFh says "see leaf 4", F0h 64-byte prefetching. */
	cpuid_put4(b->out, 2, (uint32_t[4]){0x0000ff01, 0x000000f0, 0, 0});
	for (unsigned n = 0; n < CACHES; n++)
		put_cache(b, 4, n, &c[n], cores);
	cpuid_put_sub(b->out, 4, CACHES, (uint32_t[4]){0});
	cpuid_put4(b->out, 0x80000006,
		   (uint32_t[4]){0, 0, cache_kib(&c[2]) << 16 | 6 << 12 | LINE_SIZE, 0});
}

#define LEVEL_THREAD (1u << 8)
#define LEVEL_CORE   (2u << 8)

void cpuid_put_topology(struct cpuid_build *b)
{
	unsigned cpus = b->topology->cpus, id = b->topology->apic_id;

	cpuid_put_sub(b->out, 0xb, 0, (uint32_t[4]){0, 1, LEVEL_THREAD, id});
	cpuid_put_sub(b->out, 0xb, 1, (uint32_t[4]){cpuid_order(cpus), cpus, LEVEL_CORE | 1, id});
	cpuid_put_sub(b->out, 0xb, 2, (uint32_t[4]){0, 0, 2, id});
	if (b->vendor & VENDORS_AMD) /* extended APIC id, core id, node 0 of 1 */
		cpuid_put4(b->out, 0x8000001e, (uint32_t[4]){id, id & 0xff, 0, 0});
}
