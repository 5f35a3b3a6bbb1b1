/* SPDX-License-Identifier: Apache-2.0 */
/* Private to core/x86/cpuid*.c: the models' tables and the parts of composing. */
#ifndef LODGE_CORE_X86_CPUID_INT_H
#define LODGE_CORE_X86_CPUID_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/x86/cpuid.h"

/* The registers that hold feature bits. */
enum cpuid_word {
	W_1_ECX,
	W_1_EDX,
	W_6_EAX,
	W_7_EBX,
	W_7_ECX,
	W_7_EDX,
	W_71_EAX, /* leaf 7, subleaf 1 */
	W_71_EDX,
	W_72_EDX,
	W_D1_EAX, /* leaf 0xD, subleaf 1 */
	W_81_ECX, /* leaf 0x80000001 */
	W_81_EDX,
	W_87_EDX,
	W_88_EBX,
	W_821_EAX, /* leaf 0x80000021 */
	W_821_ECX,
	W_C1_EDX, /* leaf 0xC0000001 */
	CPUID_WORDS,
};

enum cpuid_vendor { /* bits, so that a feature can name several */
		    VENDOR_INTEL = 1,
		    VENDOR_AMD = 2,
		    VENDOR_HYGON = 4,
		    VENDOR_CENTAUR = 8, /* and Zhaoxin: "CentaurHauls", "  Shanghai  " */
		    VENDOR_OTHER = 16,
};

#define VENDORS_AMD   (VENDOR_AMD | VENDOR_HYGON)
#define VENDORS_INTEL (VENDOR_INTEL | VENDOR_CENTAUR | VENDOR_OTHER)
#define VENDORS_ALL   (VENDORS_AMD | VENDORS_INTEL)

enum cpuid_use {
	USE_NO,
	USE_OFFER,  /* if supported */
	USE_DEMAND, /* the model promises it */
};

enum { MODEL_HOST, MODEL_V2, MODEL_V3, CPUID_MODELS };

struct cpuid_feature {
	const char *name;
	uint8_t word;
	uint8_t bit;
	uint8_t vendors;
	uint8_t use[CPUID_MODELS];
	uint16_t xstate; /* XSAVE components that it needs */
};

struct cpuid_model {
	const char *name;
	const char *brand; /* NULL: the host's brand, family, model and stepping */
};

/* What is being composed. */
struct cpuid_build {
	struct cpuid_table *out;
	const struct cpuid_table *supported;
	const struct cpuid_topology *topology;
	enum cpuid_vendor vendor;
	uint32_t words[CPUID_WORDS]; /* feature bits of the guest */
	uint64_t components;         /* XSAVE components of the guest */
};

extern const struct cpuid_model cpuid_models[CPUID_MODELS];
extern const struct cpuid_feature cpuid_features[];
extern const unsigned cpuid_feature_count;

/* The register behind a word; reads zero where the table has no such leaf. */
uint32_t cpuid_word_get(const struct cpuid_table *t, enum cpuid_word word);

/* Whether that register (EAX 0 to EDX 3) is the word. */
bool cpuid_word_is(enum cpuid_word word, uint32_t leaf, uint32_t subleaf, unsigned reg);

/* The XSAVE components that the table describes and a vCPU's state has room for. */
uint64_t cpuid_xsave_usable(const struct cpuid_table *supported);

/* Put leaves: of XSAVE; of caches and topology. */
void cpuid_put_xsave(struct cpuid_build *b);
void cpuid_put_caches(struct cpuid_build *b);
void cpuid_put_topology(struct cpuid_build *b);

/* The number of bits that hold numbers 0 to count - 1. */
unsigned cpuid_order(unsigned count);

/* Puts a leaf without, and one with a subleaf number. */
void cpuid_put4(struct cpuid_table *t, uint32_t leaf, const uint32_t regs[4]);
void cpuid_put_sub(struct cpuid_table *t, uint32_t leaf, uint32_t subleaf, const uint32_t regs[4]);

#endif
