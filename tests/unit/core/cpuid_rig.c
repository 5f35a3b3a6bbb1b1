/* SPDX-License-Identifier: Apache-2.0 */
#include "cpuid_rig.h"

#include <string.h>

#include "base/bits.h"

const char *const vendors[VENDORS] = {"GenuineIntel", "AuthenticAMD", "HygonGenuine",
				      "CentaurHauls", "SomethingNew"};

void put(struct cpuid_table *t, uint32_t leaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
	assert_true(cpuid_put(t, &(struct cpuid_entry){leaf, 0, false, a, b, c, d}));
}

void put_text(struct cpuid_table *t, uint32_t leaf, const char *text)
{
	char padded[48] = "";
	uint32_t r[12];

	memcpy(padded, text, strlen(text));
	memcpy(r, padded, sizeof(r));
	for (unsigned i = 0; i < 3; i++)
		put(t, leaf + i, r[i * 4], r[i * 4 + 1], r[i * 4 + 2], r[i * 4 + 3]);
}

static void put_vendor(struct cpuid_table *t, const char *vendor, uint32_t highest)
{
	uint32_t r[3];

	memcpy(r, vendor, sizeof(r));
	put(t, 0, highest, r[0], r[2], r[1]);
}

void host_all(struct cpuid_table *t, const char *vendor)
{
	t->count = 0;
	put_vendor(t, vendor, 0x24);
	put(t, 1, 0x000806f8, 0x12345678, ~0u, ~0u);
	put(t, 3, 0, 0, 0xdead, 0xbeef);
	put_sub(t, 4, 0, 0xfc004121, 0x01c0003f, 0x3f, 0);
	put(t, 5, 0x40, 0x40, 3, 0x2020);
	put(t, 6, ~0u, ~0u, ~0u, ~0u);
	put_sub(t, 7, 0, 2, ~0u, ~0u, ~0u);
	put_sub(t, 7, 1, ~0u, ~0u, ~0u, ~0u);
	put_sub(t, 7, 2, ~0u, ~0u, ~0u, ~0u);
	put(t, 0xa, 0x08300805, 0, 0, 0x8603);
	put_sub(t, 0xd, 0, 0x000602ff, 11008, 11008, 0);
	put_sub(t, 0xd, 1, 0x1f, 11008, 0x1900, 0);
	put_sub(t, 0xd, 2, 256, 576, 0, 0);
	put_sub(t, 0xd, 3, 64, 960, 0, 0);
	put_sub(t, 0xd, 4, 64, 1024, 0, 0);
	put_sub(t, 0xd, 5, 64, 1088, 0, 0);
	put_sub(t, 0xd, 6, 512, 1152, 0, 0);
	put_sub(t, 0xd, 7, 1024, 1664, 0, 0);
	put_sub(t, 0xd, 8, 128, 0, 1, 0);
	put_sub(t, 0xd, 9, 8, 2688, 0, 0);
	put_sub(t, 0xd, 17, 64, 2752, 2, 0);
	put_sub(t, 0xd, 18, 8192, 2816, 6, 0);
	put_sub(t, 0x12, 0, 3, 1, 0, 0x241f);
	put_sub(t, 0x14, 0, 1, 0xf, 7, 0);
	put(t, 0x40000000, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	put(t, 0x40000001, ~0u, 0, 0, 1);
	put(t, 0x80000000, 0x80000021, 0, 0, 0);
	put(t, 0x80000001, 0x000806f8, 0x40000000, ~0u, ~0u);
	put_text(t, 0x80000002, "  Some Vendor(R) CPU 1234 @ 3.00GHz");
	put(t, 0x80000007, 0, ~0u, 0, ~0u);
	put(t, 0x80000008, 0x00003934, ~0u, 0xf0ff, ~0u);
	put(t, 0x8000000a, 1, 8, 0, ~0u);
	put(t, 0x8000001f, ~0u, ~0u, ~0u, ~0u);
	put(t, 0x80000021, ~0u, ~0u, ~0u, ~0u);
	put(t, 0xc0000000, 0xc0000004, 0, 0, 0);
	put(t, 0xc0000001, 0, 0, 0, ~0u);
}

void host_nehalem(struct cpuid_table *t)
{
	t->count = 0;
	put_vendor(t, "GenuineIntel", 0xb);
	put(t, 1, 0x000106a5, 0, 0x00bae209 & ~8u, 0x078bfbff);
	put(t, 0x80000001, 0, 0, 1, 0x28100800);
	put(t, 0x80000008, 0x3024, 0, 0, 0);
}

struct cpuid_entry leaf(const struct cpuid_table *t, uint32_t number, uint32_t sub)
{
	const struct cpuid_entry *e = cpuid_find(t, number, sub);

	return e ? *e : (struct cpuid_entry){0};
}

void compose(struct cpuid_table *out, const char *model, const struct cpuid_table *host,
	     unsigned id, unsigned cpus)
{
	struct cpuid_topology topology = {.apic_id = id, .cpus = cpus};
	struct err e = ERR_INIT;

	if (cpuid_compose(out, model, host, &topology, &e))
		fail_msg("%s: %s", model, e.text);
}
