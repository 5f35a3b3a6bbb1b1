/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_compare.h"

#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/regs.h"

static void differs(struct buf *out, const char *name, uint64_t a, uint64_t b)
{
	if (a != b)
		buf_printf(out, "%s: 0x%llx, 0x%llx\n", name, (unsigned long long)a,
			   (unsigned long long)b);
}

#define SAME(field) differs(out, #field, a->field, b->field)

static void numbered(struct buf *out, const char *name, unsigned n, uint64_t a, uint64_t b)
{
	char text[32];

	snprintf(text, sizeof(text), "%s 0x%x", name, n);
	differs(out, text, a, b);
}

static void segment(struct buf *out, const char *name, const struct segment *a,
		    const struct segment *b)
{
	bool unusable = a->attr & b->attr & SEG_ATTR_UNUSABLE;
	bool base = !unusable || name[0] == 'F' || name[0] == 'G';

	if (a->selector == b->selector && (!base || a->base == b->base) &&
	    (unusable || (a->attr == b->attr && a->limit == b->limit)))
		return;
	buf_printf(out, "%s: %x %x %x %llx, %x %x %x %llx\n", name, a->selector, a->attr, a->limit,
		   (unsigned long long)a->base, b->selector, b->attr, b->limit,
		   (unsigned long long)b->base);
}

static void registers(struct buf *out, const struct vcpu_state *a, const struct vcpu_state *b)
{
	static const char *const names[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};

	for (unsigned i = 0; i < GPR_COUNT; i++)
		numbered(out, "register", i, a->gpr[i], b->gpr[i]);
	SAME(rip);
	SAME(rflags);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		segment(out, names[i], &a->seg[i], &b->seg[i]);
	segment(out, "LDTR", &a->ldtr, &b->ldtr);
	segment(out, "TR", &a->tr, &b->tr);
	SAME(gdt.base);
	SAME(gdt.limit);
	SAME(idt.base);
	SAME(idt.limit);
	SAME(cr0);
	SAME(cr2);
	SAME(cr3);
	SAME(cr4);
	SAME(cr8);
	SAME(efer);
	SAME(apic_base);
	SAME(xcr0);
	SAME(pdptr_valid);
	for (unsigned i = 0; a->pdptr_valid && b->pdptr_valid && i < 4; i++)
		numbered(out, "pdptr", i, a->pdptr[i], b->pdptr[i]);
	for (unsigned i = 0; i < 4; i++)
		numbered(out, "DR", i, a->dr[i], b->dr[i]);
	SAME(dr6);
	SAME(dr7);
	SAME(activity);
}

static void events(struct buf *out, const struct vcpu_events *a, const struct vcpu_events *b)
{
	bool exception = a->exception_pending || a->exception_injected;

	differs(out, "exception", exception, b->exception_pending || b->exception_injected);
	if (exception) {
		SAME(exception_vector);
		SAME(exception_has_error);
		if (a->exception_has_error)
			SAME(exception_error);
		if (a->exception_has_payload && b->exception_has_payload)
			SAME(exception_payload);
	}
	SAME(interrupt_injected);
	if (a->interrupt_injected) {
		SAME(interrupt_soft);
		SAME(interrupt_vector);
	}
	differs(out, "shadow", a->shadow_sti || a->shadow_mov_ss,
		b->shadow_sti || b->shadow_mov_ss);
	SAME(nmi_injected);
	SAME(nmi_pending);
	SAME(nmi_masked);
	SAME(smi_pending);
	SAME(smm);
	SAME(smm_inside_nmi);
	SAME(init_latched);
	SAME(triple_fault_pending);
}

static uint64_t msr(const struct vcpu_state *s, uint32_t index)
{
	uint64_t value;

	return vcpu_state_get_msr(s, index, &value) ? value : vcpu_msr_reset_value(index);
}

static void msrs(struct buf *out, const struct vcpu_state *a, const struct vcpu_state *b)
{
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);

	for (unsigned i = 0; i < count; i++)
		numbered(out, "MSR", list[i], msr(a, list[i]), msr(b, list[i]));
}

/* A component of the image; all in the initial state where XSTATE_BV says so. */
static void component(struct buf *out, const struct vcpu_state *a, const struct vcpu_state *b,
		      uint64_t bit)
{
	static const uint8_t initial_x87[8] = {0x7f, 0x03};
	static const struct {
		uint64_t bit;
		unsigned first, end;
	} parts[] = {
		{XSTATE_X87, XSAVE_FCW, XSAVE_FTW + 1},
		{XSTATE_X87, XSAVE_ST, XSAVE_XMM},
		{XSTATE_SSE, XSAVE_XMM, XSAVE_XMM + 256},
		{XSTATE_AVX, XSAVE_MIN_SIZE, XSAVE_MIN_SIZE + 256},
	};
	bool in_a = load_le(a->xsave + XSAVE_XSTATE_BV, 8) & bit;
	bool in_b = load_le(b->xsave + XSAVE_XSTATE_BV, 8) & bit;

	for (unsigned p = 0; p < ARRAY_LEN(parts); p++) {
		for (unsigned i = parts[p].first; parts[p].bit == bit && i < parts[p].end; i++) {
			uint8_t none = i < sizeof(initial_x87) ? initial_x87[i] : 0;

			/* The last six bytes of an x87 register's sixteen are nothing's. */
			if (i >= XSAVE_ST && i < XSAVE_XMM && i % 16 >= 10)
				continue;
			numbered(out, "XSAVE byte", i, in_a ? a->xsave[i] : none,
				 in_b ? b->xsave[i] : none);
		}
	}
}

static void vectors(struct buf *out, const struct vcpu_state *a, const struct vcpu_state *b)
{
	component(out, a, b, XSTATE_X87);
	component(out, a, b, XSTATE_SSE);
	component(out, a, b, XSTATE_AVX);
	differs(out, "MXCSR", load_le(a->xsave + XSAVE_MXCSR, 4),
		load_le(b->xsave + XSAVE_MXCSR, 4));
}

#define APIC_VERSION     0x30
#define APIC_PPR         0xa0
#define APIC_CURRENT     0x390
#define APIC_VERSION_EOI BIT(24) /* EOI messages can be suppressed */

static void lapic(struct buf *out, const struct vcpu_state *a, const struct vcpu_state *b)
{
	for (unsigned at = 0; at < VCPU_LAPIC_SIZE; at += 16) {
		uint64_t mask = at == APIC_PPR || at == APIC_CURRENT ? 0
				: at == APIC_VERSION                 ? ~APIC_VERSION_EOI
								     : UINT64_MAX;

		numbered(out, "APIC register", at, load_le(a->lapic + at, 4) & mask,
			 load_le(b->lapic + at, 4) & mask);
	}
}

void engine_compare(const struct vcpu_state *a, const struct vcpu_state *b, struct buf *out)
{
	registers(out, a, b);
	events(out, &a->events, &b->events);
	msrs(out, a, b);
	vectors(out, a, b);
	lapic(out, a, b);
}
