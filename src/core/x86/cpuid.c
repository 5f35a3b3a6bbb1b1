/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composing a guest's CPUID: choose the features (cpuid_model.c says which may be
 * had and which must), then write every leaf anew. Nothing is copied from the
 * host but feature bits, address widths, XSAVE offsets, what "host" shows of its
 * identity, and the engine's own paravirtual leaves.
 *
 * The vendor is the host's in each model, because the behaviour of some
 * instructions goes with it (SYSCALL and SYSENTER in compatibility mode, VMCALL
 * or VMMCALL, the segment bases after a null selector). The named models have one
 * family and model for each vendor, chosen so that guests switch on the
 * mitigations that real processors of the vendor need: a hypervisor cannot undo
 * the speculation of the silicon.
 */
#include "core/x86/cpuid.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/cpuid_int.h"
#include "core/x86/regs.h"

enum cpuid_reg { EAX, EBX, ECX, EDX };

static const struct {
	uint32_t leaf;
	uint32_t subleaf;
	enum cpuid_reg reg;
} words[CPUID_WORDS] = {
	[W_1_ECX] = {1, 0, ECX},
	[W_1_EDX] = {1, 0, EDX},
	[W_6_EAX] = {6, 0, EAX},
	[W_7_EBX] = {7, 0, EBX},
	[W_7_ECX] = {7, 0, ECX},
	[W_7_EDX] = {7, 0, EDX},
	[W_71_EAX] = {7, 1, EAX},
	[W_71_EDX] = {7, 1, EDX},
	[W_72_EDX] = {7, 2, EDX},
	[W_D1_EAX] = {0xd, 1, EAX},
	[W_81_ECX] = {0x80000001, 0, ECX},
	[W_81_EDX] = {0x80000001, 0, EDX},
	[W_87_EDX] = {0x80000007, 0, EDX},
	[W_88_EBX] = {0x80000008, 0, EBX},
	[W_821_EAX] = {0x80000021, 0, EAX},
	[W_821_ECX] = {0x80000021, 0, ECX},
	[W_C1_EDX] = {0xc0000001, 0, EDX},
};

const struct cpuid_entry *cpuid_find(const struct cpuid_table *t, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < t->count; i++) {
		const struct cpuid_entry *entry = &t->entries[i];

		if (entry->leaf == leaf && (!entry->indexed || entry->subleaf == subleaf))
			return entry;
	}
	return NULL;
}

bool cpuid_put(struct cpuid_table *t, const struct cpuid_entry *entry)
{
	for (unsigned i = 0; i < t->count; i++) {
		struct cpuid_entry *old = &t->entries[i];

		if (old->leaf == entry->leaf && old->indexed == entry->indexed &&
		    (!entry->indexed || old->subleaf == entry->subleaf)) {
			*old = *entry;
			return true;
		}
	}
	if (t->count == CPUID_ENTRIES_MAX)
		return false;
	t->entries[t->count++] = *entry;
	return true;
}

void cpuid_put4(struct cpuid_table *t, uint32_t leaf, const uint32_t regs[4])
{
	bool put = cpuid_put(t, &(struct cpuid_entry){leaf, 0, false, regs[EAX], regs[EBX],
						      regs[ECX], regs[EDX]});

	assert(put);
	(void)put;
}

void cpuid_put_sub(struct cpuid_table *t, uint32_t leaf, uint32_t subleaf, const uint32_t regs[4])
{
	bool put = cpuid_put(t, &(struct cpuid_entry){leaf, subleaf, true, regs[EAX], regs[EBX],
						      regs[ECX], regs[EDX]});

	assert(put);
	(void)put;
}

uint32_t cpuid_word_get(const struct cpuid_table *t, enum cpuid_word word)
{
	const struct cpuid_entry *e = cpuid_find(t, words[word].leaf, words[word].subleaf);

	if (!e)
		return 0;
	return (const uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx}[words[word].reg];
}

bool cpuid_word_is(enum cpuid_word word, uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	return words[word].leaf == leaf && words[word].subleaf == subleaf && words[word].reg == reg;
}

const char *cpuid_model_name(unsigned n)
{
	return n < CPUID_MODELS ? cpuid_models[n].name : NULL;
}

static enum cpuid_vendor vendor_of(const struct cpuid_table *supported)
{
	static const struct {
		char name[13];
		enum cpuid_vendor vendor;
	} vendors[] = {
		{"GenuineIntel", VENDOR_INTEL},   {"AuthenticAMD", VENDOR_AMD},
		{"HygonGenuine", VENDOR_HYGON},   {"CentaurHauls", VENDOR_CENTAUR},
		{"  Shanghai  ", VENDOR_CENTAUR},
	};
	const struct cpuid_entry *e = cpuid_find(supported, 0, 0);
	uint32_t name[3];

	if (!e)
		return VENDOR_OTHER;
	name[0] = e->ebx;
	name[1] = e->edx;
	name[2] = e->ecx;
	for (unsigned i = 0; i < ARRAY_LEN(vendors); i++)
		if (!memcmp(name, vendors[i].name, sizeof(name)))
			return vendors[i].vendor;
	return VENDOR_OTHER;
}

/* Features that the model promises and the host does not have. */
struct missing {
	const char *names[4];
	unsigned count;
};

/* Fills b->words and b->components for a model. */
static void choose_features(struct cpuid_build *b, unsigned model, struct missing *missing)
{
	uint64_t usable = cpuid_xsave_usable(b->supported);

	memset(b->words, 0, sizeof(b->words));
	missing->count = 0;
	b->components = 0;
	for (unsigned i = 0; i < cpuid_feature_count; i++) {
		const struct cpuid_feature *f = &cpuid_features[i];
		bool has = cpuid_word_get(b->supported, f->word) & BIT(f->bit) &&
			   (usable & f->xstate) == f->xstate;

		if (f->use[model] == USE_NO || !(f->vendors & b->vendor))
			continue;
		if (has) {
			b->words[f->word] |= BIT(f->bit);
			b->components |= f->xstate;
		} else if (f->use[model] == USE_DEMAND) {
			if (missing->count < ARRAY_LEN(missing->names))
				missing->names[missing->count] = f->name;
			missing->count++;
		}
	}
	/* Bits that lodge itself gives: it is a hypervisor, and describes the topology. */
	b->words[W_1_ECX] |= BIT(31);
	if (b->topology->cpus > 1)
		b->words[W_1_EDX] |= BIT(28); /* HTT: the counts of leaves 1 and 4 are valid */
	if (b->vendor & VENDORS_AMD) {
		b->words[W_81_ECX] |= BIT(22) | (b->topology->cpus > 1 ? BIT(1) : 0);
		/* AMD repeats the common bits of leaf 1. */
		b->words[W_81_EDX] |= b->words[W_1_EDX] & 0x0183f3ff;
	}
}

/* Appends to text, which holds size bytes; what does not fit is cut. */
static void append(char *text, size_t size, const char *sep, const char *more)
{
	size_t used = strlen(text);

	snprintf(text + used, size - used, "%s%s", used ? sep : "", more);
}

static int fail_unknown(const char *model, struct err *e)
{
	char known[128] = "";

	for (unsigned i = 0; i < CPUID_MODELS; i++)
		append(known, sizeof(known), ", ", cpuid_models[i].name);
	return err_set(e, EINVAL, "no CPU model '%s': there are %s", model, known);
}

static int fail_missing(struct cpuid_build *b, unsigned model, const struct missing *missing,
			struct err *e)
{
	char lacks[128] = "", would_do[128] = "", more[32];
	unsigned shown = MIN(missing->count, (unsigned)ARRAY_LEN(missing->names));

	for (unsigned i = 0; i < shown; i++)
		append(lacks, sizeof(lacks), ", ", missing->names[i]);
	if (missing->count > shown) {
		snprintf(more, sizeof(more), "%u more", missing->count - shown);
		append(lacks, sizeof(lacks), " and ", more);
	}
	for (unsigned i = 0; i < CPUID_MODELS; i++) {
		struct missing other;

		choose_features(b, i, &other);
		if (!other.count)
			append(would_do, sizeof(would_do), " or ", cpuid_models[i].name);
	}
	return err_set(e, ENOTSUP, "no CPU model %s here: this host lacks %s: use %s",
		       cpuid_models[model].name, lacks, would_do);
}

/* Family, model and stepping as in leaf 1. */
static uint32_t signature(const struct cpuid_build *b, const struct cpuid_model *model)
{
	const struct cpuid_entry *host = cpuid_find(b->supported, 1, 0);

	if (model->brand && b->vendor == VENDOR_INTEL)
		return 0x00050654; /* family 6, model 0x55, stepping 4 */
	if (model->brand && b->vendor == VENDOR_AMD)
		return 0x00830f10; /* family 0x17, model 0x31, stepping 0 */
	return host ? host->eax : 0;
}

static void put_basic(struct cpuid_build *b, uint32_t sig)
{
	const struct cpuid_entry *vendor = cpuid_find(b->supported, 0, 0);
	unsigned cpus = b->topology->cpus;
	/* Intel counts the ids that there could be, AMD the cores that there are. */
	unsigned logical = b->vendor & VENDORS_AMD ? cpus : 1u << cpuid_order(cpus);
	unsigned subleaves = 0;

	if (vendor)
		cpuid_put4(b->out, 0, (uint32_t[4]){0, vendor->ebx, vendor->ecx, vendor->edx});
	else
		cpuid_put4(b->out, 0, (uint32_t[4]){0});
	cpuid_put4(b->out, 1,
		   (uint32_t[4]){sig, b->topology->apic_id << 24 | logical << 16 | 8 << 8,
				 b->words[W_1_ECX], b->words[W_1_EDX]});
	cpuid_put4(b->out, 6, (uint32_t[4]){b->words[W_6_EAX], 0, 0, 0});
	if (b->words[W_71_EAX] || b->words[W_71_EDX])
		subleaves = 1;
	if (b->words[W_72_EDX])
		subleaves = 2;
	cpuid_put_sub(
		b->out, 7, 0,
		(uint32_t[4]){subleaves, b->words[W_7_EBX], b->words[W_7_ECX], b->words[W_7_EDX]});
	if (subleaves >= 1)
		cpuid_put_sub(b->out, 7, 1,
			      (uint32_t[4]){b->words[W_71_EAX], 0, 0, b->words[W_71_EDX]});
	if (subleaves >= 2)
		cpuid_put_sub(b->out, 7, 2, (uint32_t[4]){0, 0, 0, b->words[W_72_EDX]});
}

/* The TSC's and the processor's frequency, if the engine says them. */
static void put_frequencies(struct cpuid_build *b)
{
	for (uint32_t leaf = 0x15; leaf <= 0x16; leaf++) {
		const struct cpuid_entry *e = cpuid_find(b->supported, leaf, 0);

		if (e && e->eax && e->ebx)
			cpuid_put4(b->out, leaf, (uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx});
	}
}

static void put_brand(struct cpuid_build *b, const struct cpuid_model *model)
{
	char brand[48] = "";

	if (model->brand)
		snprintf(brand, sizeof(brand), "%s", model->brand);
	for (unsigned i = 0; i < 3 && !model->brand; i++) {
		const struct cpuid_entry *e = cpuid_find(b->supported, 0x80000002 + i, 0);

		if (e)
			memcpy(brand + i * 16, (const uint32_t[4]){e->eax, e->ebx, e->ecx, e->edx},
			       16);
	}
	if (!brand[0])
		snprintf(brand, sizeof(brand), "lodge %s", model->name);
	for (unsigned i = 0; i < 3; i++) {
		uint32_t regs[4];

		memcpy(regs, brand + i * 16, sizeof(regs));
		cpuid_put4(b->out, 0x80000002 + i, regs);
	}
}

static void put_extended(struct cpuid_build *b, uint32_t sig)
{
	const struct cpuid_entry *widths = cpuid_find(b->supported, 0x80000008, 0);
	uint32_t bits = widths && widths->eax & 0xff ? widths->eax & 0xffff : 48 << 8 | 36;
	bool amd = b->vendor & VENDORS_AMD;
	unsigned cpus = b->topology->cpus;

	/* Linear addresses of more than 48 bits are those of 5-level paging. */
	if (!(b->words[W_7_ECX] & BIT(16)) && bits >> 8 > 48)
		bits = 48 << 8 | (bits & 0xff);
	cpuid_put4(b->out, 0x80000001,
		   (uint32_t[4]){amd ? sig : 0, 0, b->words[W_81_ECX], b->words[W_81_EDX]});
	cpuid_put4(b->out, 0x80000007, (uint32_t[4]){0, 0, 0, b->words[W_87_EDX]});
	cpuid_put4(b->out, 0x80000008,
		   (uint32_t[4]){bits, b->words[W_88_EBX],
				 amd ? (cpus - 1) | cpuid_order(cpus) << 12 : 0, 0});
	if (b->words[W_821_EAX] || b->words[W_821_ECX])
		cpuid_put4(b->out, 0x80000021,
			   (uint32_t[4]){b->words[W_821_EAX], 0, b->words[W_821_ECX], 0});
	if (b->words[W_C1_EDX]) {
		cpuid_put4(b->out, 0xc0000000, (uint32_t[4]){0xc0000001, 0, 0, 0});
		cpuid_put4(b->out, 0xc0000001, (uint32_t[4]){0, 0, 0, b->words[W_C1_EDX]});
	}
}

/* KVM's features, Linux Documentation/virt/kvm/x86/cpuid.rst. Those that need help from the machine
 * (extended MSI destinations, live migration, encrypted memory) are left out. */
#define PARAVIRT_CLOCK (BIT(0) | BIT(3) | BIT(24))
#define PARAVIRT_OTHER                                                                       \
	(BIT(1) | BIT(4) | BIT(5) | BIT(6) | BIT(7) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | \
	 BIT(13) | BIT(14))

static void put_paravirt(struct cpuid_build *b)
{
	const struct cpuid_entry *name = cpuid_find(b->supported, 0x40000000, 0);
	const struct cpuid_entry *f = cpuid_find(b->supported, 0x40000001, 0);
	uint32_t allowed = PARAVIRT_OTHER;

	if (!name || !f || b->topology->paravirt == CPUID_PARAVIRT_NONE)
		return;
	if (b->topology->paravirt == CPUID_PARAVIRT_ALL)
		allowed |= PARAVIRT_CLOCK;
	cpuid_put4(b->out, 0x40000000, (uint32_t[4]){0x40000001, name->ebx, name->ecx, name->edx});
	cpuid_put4(b->out, 0x40000001, (uint32_t[4]){f->eax & allowed, 0, 0, 0});
}

/* The highest leaf of a range, given in the EAX of its first. */
static void put_highest(struct cpuid_table *t, uint32_t first)
{
	uint32_t highest = first;
	struct cpuid_entry *at = NULL;

	for (unsigned i = 0; i < t->count; i++) {
		struct cpuid_entry *e = &t->entries[i];

		if (e->leaf >> 16 == first >> 16)
			highest = MAX(highest, e->leaf);
		if (e->leaf == first)
			at = e;
	}
	assert(at);
	at->eax = highest;
}

int cpuid_compose(struct cpuid_table *out, const char *model, const struct cpuid_table *supported,
		  const struct cpuid_topology *topology, struct err *e)
{
	struct cpuid_build b = {.out = out, .supported = supported, .topology = topology};
	const struct cpuid_entry *vendor = cpuid_find(supported, 0, 0);
	struct missing missing;
	unsigned n = 0;
	uint32_t sig;

	assert(topology->cpus >= 1 && topology->cpus <= 64 && topology->apic_id < topology->cpus);
	while (n < CPUID_MODELS && strcmp(model, cpuid_models[n].name) != 0)
		n++;
	if (n == CPUID_MODELS)
		return fail_unknown(model, e);
	b.vendor = vendor_of(supported);
	choose_features(&b, n, &missing);
	if (missing.count)
		return fail_missing(&b, n, &missing, e);
	sig = signature(&b, &cpuid_models[n]);

	out->count = 0;
	put_basic(&b, sig);
	cpuid_put_caches(&b);
	cpuid_put_topology(&b);
	cpuid_put_xsave(&b);
	put_frequencies(&b);
	put_paravirt(&b);
	if (vendor && b.vendor & VENDORS_AMD)
		cpuid_put4(out, 0x80000000,
			   (uint32_t[4]){0, vendor->ebx, vendor->ecx, vendor->edx});
	else
		cpuid_put4(out, 0x80000000, (uint32_t[4]){0});
	put_brand(&b, &cpuid_models[n]);
	put_extended(&b, sig);
	put_highest(out, 0);
	put_highest(out, 0x80000000);
	return 0;
}
