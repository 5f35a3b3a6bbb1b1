/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID leaf 0xD: where each XSAVE component lies in the standard format. The
 * offsets are the host's (they differ between vendors), since the guest's own
 * XSAVE instruction obeys them. Supervisor components are not offered: they have no
 * place in the standard format, in which a vCPU's state is kept.
 *
 * Source: Intel SDM vol. 1, 13.2 and 13.4.
 */
#include "base/bits.h"
#include "base/checked.h"
#include "core/x86/cpuid_int.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"

#define ECX_SUPERVISOR BIT(0)
#define ECX_ALIGN      BIT(1)

/* A component of the extended region that fits a vCPU's state. */
static bool component_fits(const struct cpuid_table *t, unsigned n)
{
	const struct cpuid_entry *c = cpuid_find(t, 0xd, n);

	return c && c->eax && !(c->ecx & ECX_SUPERVISOR) && c->ebx >= XSAVE_MIN_SIZE &&
	       range_within(c->ebx, c->eax, VCPU_XSAVE_SIZE);
}

static bool components_fit(const struct cpuid_table *t, uint64_t described, uint64_t wanted)
{
	if ((described & wanted) != wanted)
		return false;
	for (unsigned n = 2; n < 64; n++)
		if (wanted & BIT(n) && !component_fits(t, n))
			return false;
	return true;
}

uint64_t cpuid_xsave_usable(const struct cpuid_table *supported)
{
	const struct cpuid_entry *leaf = cpuid_find(supported, 0xd, 0);
	uint32_t f1 = cpuid_word_get(supported, W_1_ECX);
	uint64_t described, usable = XSTATE_X87 | XSTATE_SSE;

	if (!leaf || !(f1 & BIT(26)))
		return 0;
	described = leaf->eax | (uint64_t)leaf->edx << 32;
	if ((described & usable) != usable)
		return 0;
	if (f1 & BIT(28) && components_fit(supported, described, XSTATE_AVX))
		usable |= XSTATE_AVX;
	if (usable & XSTATE_AVX && cpuid_word_get(supported, W_7_EBX) & BIT(16) &&
	    components_fit(supported, described, XSTATE_AVX512))
		usable |= XSTATE_AVX512;
	if (cpuid_word_get(supported, W_7_ECX) & BIT(3) &&
	    components_fit(supported, described, XSTATE_PKRU))
		usable |= XSTATE_PKRU;
	return usable;
}

void cpuid_put_xsave(struct cpuid_build *b)
{
	uint32_t size = XSAVE_MIN_SIZE;

	if (!b->components)
		return;
	for (unsigned n = 2; n < 64; n++) {
		const struct cpuid_entry *c = cpuid_find(b->supported, 0xd, n);

		if (!(b->components & BIT(n)))
			continue;
		cpuid_put_sub(b->out, 0xd, n, (uint32_t[4]){c->eax, c->ebx, c->ecx & ECX_ALIGN, 0});
		size = MAX(size, c->ebx + c->eax);
	}
	/* The sizes for the XCR0 and XSS of power-on; the engine follows the guest's. */
	cpuid_put_sub(b->out, 0xd, 0,
		      (uint32_t[4]){(uint32_t)b->components, XSAVE_MIN_SIZE, size, 0});
	cpuid_put_sub(b->out, 0xd, 1,
		      (uint32_t[4]){b->words[W_D1_EAX],
				    b->words[W_D1_EAX] & (BIT(1) | BIT(3)) ? XSAVE_MIN_SIZE : 0, 0,
				    0});
}
