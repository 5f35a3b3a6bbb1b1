/* SPDX-License-Identifier: Apache-2.0 */
/* The engine-neutral state: what is set is read, also by another vCPU, also after running. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "engine/kvm/kvm.h"
#include "kvm_guest.h"

#define SAME(field)                                                                                \
	do {                                                                                       \
		if (memcmp(&a->field, &b->field, sizeof(a->field)) != 0)                           \
			fail_msg(                                                                  \
				#field " differs: 0x%llx, 0x%llx",                                 \
				(unsigned long long)load_le(&a->field, MIN(sizeof(a->field), 8u)), \
				(unsigned long long)load_le(&b->field,                             \
							    MIN(sizeof(b->field), 8u)));           \
	} while (0)

static void same_segment(const char *name, const struct segment *a, const struct segment *b)
{
	if (a->selector != b->selector || a->attr != b->attr || a->limit != b->limit ||
	    a->base != b->base)
		fail_msg("%s differs: %x %x %x %llx, %x %x %x %llx", name, a->selector, a->attr,
			 a->limit, (unsigned long long)a->base, b->selector, b->attr, b->limit,
			 (unsigned long long)b->base);
}

static void same_events(const struct vcpu_events *a, const struct vcpu_events *b)
{
	SAME(exception_pending);
	SAME(exception_injected);
	SAME(exception_vector);
	SAME(exception_has_error);
	SAME(exception_error);
	SAME(exception_has_payload);
	SAME(exception_payload);
	SAME(interrupt_injected);
	SAME(interrupt_vector);
	/* AMD-V has one flag for both. */
	assert_int_equal(a->shadow_sti || a->shadow_mov_ss, b->shadow_sti || b->shadow_mov_ss);
	SAME(nmi_injected);
	SAME(nmi_pending);
	SAME(nmi_masked);
	SAME(smi_pending);
	SAME(smm);
	SAME(init_latched);
	SAME(triple_fault_pending);
}

/* Registers of the APIC's page that count or are computed: PPR, the timer's current count. */
static bool volatile_register(unsigned at)
{
	return at == 0xa0 || at == 0x90 || at == 0x30 || at == 0x390;
}

static void same_state(const struct vcpu_state *a, const struct vcpu_state *b)
{
	SAME(gpr);
	SAME(rip);
	SAME(rflags);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		char name[8];

		snprintf(name, sizeof(name), "seg %u", i);
		same_segment(name, &a->seg[i], &b->seg[i]);
	}
	same_segment("ldtr", &a->ldtr, &b->ldtr);
	same_segment("tr", &a->tr, &b->tr);
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
	SAME(dr);
	SAME(dr6);
	SAME(dr7);
	SAME(activity);
	same_events(&a->events, &b->events);
	for (unsigned i = 0; i < VCPU_LAPIC_SIZE; i += 16)
		if (!volatile_register(i) && memcmp(a->lapic + i, b->lapic + i, 4) != 0)
			fail_msg("APIC register 0x%x differs: %llx, %llx", i,
				 (unsigned long long)load_le(a->lapic + i, 4),
				 (unsigned long long)load_le(b->lapic + i, 4));
	for (unsigned i = 0; i < VCPU_XSAVE_SIZE; i++)
		if (a->xsave[i] != b->xsave[i] && (i < XSAVE_MXCSR_MASK || i >= XSAVE_ST))
			fail_msg("XSAVE byte %u differs: %x, %x", i, a->xsave[i], b->xsave[i]);
	for (unsigned i = 0; i < b->msr_count; i++) {
		uint64_t value;

		if (!vcpu_state_get_msr(a, b->msrs[i].index, &value))
			value = vcpu_msr_reset_value(b->msrs[i].index);
		if (value != b->msrs[i].value)
			fail_msg("MSR 0x%x differs: 0x%llx, 0x%llx", b->msrs[i].index,
				 (unsigned long long)value, (unsigned long long)b->msrs[i].value);
	}
}

static void set_msr(struct vcpu_state *s, uint32_t index, uint64_t value)
{
	assert_true(vcpu_state_set_msr(s, index, value));
}

/* A state in which as much as possible differs from power-on and from each other. */
static void pattern(struct guest *g, struct vcpu_state *s, unsigned id, uint64_t salt)
{
	guest_state64(g, s, id);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		s->gpr[i] = 0x0101010101010101ULL * (i + 1) + salt;
	s->rip = 0x1234;
	s->rflags |= RFLAGS_CF | RFLAGS_IF | RFLAGS_DF | RFLAGS_ID;
	s->seg[SEG_FS].base = 0x00007f1122334000ULL + salt;
	s->seg[SEG_GS].base = 0xffff888000000000ULL + salt;
	s->gdt = (struct descriptor_table){.base = 0xfffffe0000001000ULL, .limit = 0x7f};
	s->idt = (struct descriptor_table){.base = 0xfffffe0000000000ULL, .limit = 0xfff};
	s->cr0 |= CR0_WP | CR0_AM | CR0_MP;
	s->cr2 = 0xffffc90000abc000ULL + salt;
	s->cr4 |= CR4_PGE | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_DE;
	s->efer |= EFER_NXE;
	s->cr8 = 5;
	store_le(s->lapic + 0x80, 4, 0x50); /* TPR: the same register */
	store_le(s->lapic + 0xd0, 4, 0x04000000);
	store_le(s->lapic + 0x320, 4, 0x000100ec);
	store_le(s->lapic + 0x360, 4, 0x400); /* LINT1: NMI */
	store_le(s->lapic + 0x3e0, 4, 0xb);
	store_le(s->lapic + 0x210, 4, 1u << 20); /* IRR: vector 0x34 */
	s->dr[0] = 0x1111 + salt;
	s->dr[3] = 0x3333 + salt;
	s->dr7 = DR7_RESET | DR7_LE;
	s->tsc = 0x100000000000ULL;
	s->xcr0 = XSTATE_X87 | XSTATE_SSE;
	for (unsigned i = 0; i < 256; i++)
		s->xsave[XSAVE_XMM + i] = (uint8_t)(i + salt);
	store_le(s->xsave + XSAVE_FCW, 2, 0x37f);
	store_le(s->xsave + XSAVE_MXCSR, 4, 0x1fa0);
	store_le(s->xsave + XSAVE_XSTATE_BV, 8, XSTATE_X87 | XSTATE_SSE);
	set_msr(s, MSR_IA32_STAR, 0x0023001000000000ULL);
	set_msr(s, MSR_IA32_LSTAR, 0xffffffff81800000ULL + salt);
	set_msr(s, MSR_IA32_CSTAR, 0xffffffff81801000ULL);
	set_msr(s, MSR_IA32_FMASK, 0x47700);
	set_msr(s, MSR_IA32_KERNEL_GS_BASE, 0x00007fff00001000ULL + salt);
	set_msr(s, MSR_IA32_SYSENTER_CS, 0x10);
	set_msr(s, MSR_IA32_SYSENTER_EIP, 0x81802000);
	set_msr(s, MSR_IA32_PAT, 0x0407050600070106ULL);
	set_msr(s, MSR_IA32_MTRR_DEF_TYPE, MTRR_DEF_TYPE_ENABLE | MTRR_TYPE_WB);
	set_msr(s, MSR_IA32_MTRR_PHYSBASE(0), 0xc0000000ULL | MTRR_TYPE_UC);
	set_msr(s, MSR_IA32_MTRR_PHYSMASK(0), 0xffc0000000ULL | MTRR_PHYSMASK_VALID);
	set_msr(s, MSR_IA32_MC_CTL(0), UINT64_MAX);
	set_msr(s, MSR_IA32_TSC_ADJUST, 0);
}

static void what_is_set_is_read(void **state)
{
	struct guest g;
	struct vcpu_state want, got;

	(void)state;
	guest_init(&g, 1);
	pattern(&g, &want, 0, 0);
	guest_set(&g, 0, &want);
	guest_get(&g, 0, &got);
	same_state(&want, &got);
	assert_true(got.tsc_khz > 0);
	guest_release(&g);
}

static void the_reset_state_leaves_nothing_behind(void **state)
{
	struct guest g;
	struct vcpu_state want, got;

	(void)state;
	guest_init(&g, 1);
	pattern(&g, &want, 0, 0);
	guest_set(&g, 0, &want);
	vcpu_state_reset(&want, 0);
	guest_set(&g, 0, &want);
	guest_get(&g, 0, &got);
	/* KVM clears these two in CR0 (KVM_X86_QUIRK_CD_NW_CLEARED). */
	want.cr0 &= ~(CR0_CD | CR0_NW);
	got.cr0 &= ~(CR0_CD | CR0_NW);
	same_state(&want, &got);
	/* An MSR that a state does not name gets its power-on value. */
	pattern(&g, &want, 0, 0);
	guest_set(&g, 0, &want);
	vcpu_state_reset(&want, 0);
	want.msr_count = 0;
	guest_set(&g, 0, &want);
	guest_get(&g, 0, &got);
	want.cr0 &= ~(CR0_CD | CR0_NW);
	got.cr0 &= ~(CR0_CD | CR0_NW);
	same_state(&want, &got);
	guest_release(&g);
}

static void two_vcpus_exchange_their_states(void **state)
{
	struct guest g;
	struct vcpu_state a, b, got;

	(void)state;
	guest_init(&g, 2);
	pattern(&g, &a, 0, 0);
	pattern(&g, &b, 1, 0x40);
	guest_set(&g, 0, &a);
	guest_set(&g, 1, &b);
	guest_get(&g, 0, &a);
	guest_get(&g, 1, &b);
	/* All but what says which processor it is. */
	store_le(a.lapic + 0x20, 4, 1u << 24);
	store_le(b.lapic + 0x20, 4, 0);
	a.apic_base &= ~APIC_BASE_BSP;
	b.apic_base |= APIC_BASE_BSP;
	guest_set(&g, 1, &a);
	guest_set(&g, 0, &b);
	guest_get(&g, 1, &got);
	same_state(&a, &got);
	guest_get(&g, 0, &got);
	same_state(&b, &got);
	guest_release(&g);
}

static void x2apic_mode_keeps_its_id(void **state)
{
	struct guest g;
	struct vcpu_state want, got;

	(void)state;
	guest_init(&g, 2);
	pattern(&g, &want, 1, 0);
	want.apic_base |= APIC_BASE_EXTD;
	store_le(want.lapic + 0x20, 4, 1);
	store_le(want.lapic + 0xd0, 4, 1u << 1); /* logical: cluster 0, bit 1 */
	store_le(want.lapic + 0xe0, 4, 0xffffffff);
	guest_set(&g, 1, &want);
	guest_get(&g, 1, &got);
	same_state(&want, &got);
	guest_release(&g);
}

static void events_survive(void **state)
{
	static const struct vcpu_events cases[] = {
		{.exception_pending = true, .exception_vector = VECTOR_UD},
		{.exception_injected = true,
		 .exception_vector = VECTOR_GP,
		 .exception_has_error = true,
		 .exception_error = 0x28},
		{.exception_pending = true,
		 .exception_vector = VECTOR_PF,
		 .exception_has_error = true,
		 .exception_error = 2,
		 .exception_has_payload = true,
		 .exception_payload = 0x1234000},
		{.interrupt_injected = true, .interrupt_vector = 0x31},
		{.nmi_pending = true, .nmi_masked = true},
		{.nmi_injected = true, .nmi_masked = true},
		{.shadow_sti = true},
		{.triple_fault_pending = true},
	};
	struct guest g;
	struct vcpu_state want, got;

	(void)state;
	guest_init(&g, 1);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		guest_state64(&g, &want, 0);
		want.events = cases[i];
		guest_set(&g, 0, &want);
		guest_get(&g, 0, &got);
		same_events(&want.events, &got.events);
	}
	guest_release(&g);
}

static void activities_survive(void **state)
{
	static const enum vcpu_activity all[] = {VCPU_HALTED, VCPU_WAIT_INIT, VCPU_WAIT_SIPI,
						 VCPU_RUNNING};
	struct guest g;
	struct vcpu_state want, got;

	(void)state;
	guest_init(&g, 2);
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		guest_state16(&want, 1);
		want.activity = all[i];
		guest_set(&g, 1, &want);
		guest_get(&g, 1, &got);
		assert_int_equal(got.activity, all[i]);
	}
	want.activity = 77;
	assert_int_equal(kvm_engine.set_state(g.vcpus[1], &want, NULL), -EINVAL);
	guest_release(&g);
}

/* Sums what it reads from the port, in memory and in a register; and is moved to another vCPU and
 * back after every read. */
GUEST_ASM(summing, 64,
	  "	xor %ebx, %ebx\n"
	  "	movq $0, 0x5000\n"
	  "	mov $20, %ecx\n"
	  "1:	xor %eax, %eax\n"
	  "	in $0x40, %al\n"
	  "	add %rax, %rbx\n"
	  "	add %rax, 0x5000\n"
	  "	dec %ecx\n"
	  "	jnz 1b\n"
	  "	out %al, $0xf4\n");

static uint64_t answer_three_and_kick(struct guest *g, const struct guest_access *a)
{
	(void)a;
	kvm_engine.kick(g->vcpus[0]);
	kvm_engine.kick(g->vcpus[1]);
	return 3;
}

static void a_guest_runs_on_wherever_its_state_is_set(void **state)
{
	struct guest g;
	struct vcpu_state s;
	unsigned n = 0, tries = 0;

	(void)state;
	guest_init(&g, 2);
	g.answer = answer_three_and_kick;
	guest_load64(&g, summing, summing_end);
	do {
		guest_run(&g, n, ENGINE_KICKED);
		guest_get(&g, n, &s);
		n ^= 1;
		store_le(s.lapic + 0x20, 4, n << 24);
		s.apic_base ^= APIC_BASE_BSP;
		guest_set(&g, n, &s);
		assert_true(++tries < 200);
	} while (g.accesses < 21);
	assert_int_equal(s.gpr[GPR_RBX], 60);
	assert_int_equal(load_le(mem_ptr(&g.mem, 0x5000, 8), 8), 60);
	guest_release(&g);
}

static void a_state_that_cannot_be_had_is_refused(void **state)
{
	struct err e = ERR_INIT;
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_state64(&g, &s, 0);
	/* An MSR that no KVM has, with a value that would be lost. */
	s.msrs[s.msr_count++] = (struct vcpu_msr){.index = 0x12345678, .value = 1};
	assert_int_equal(kvm_engine.set_state(g.vcpus[0], &s, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "0x12345678"));
	s.msrs[s.msr_count - 1].value = 0;
	err_clear(&e);
	assert_int_equal(kvm_engine.set_state(g.vcpus[0], &s, &e), 0);
	/* Paging without protection is a state of no processor. */
	s.cr0 = CR0_PG | CR0_ET;
	assert_int_equal(kvm_engine.set_state(g.vcpus[0], &s, &e), -EINVAL);
	assert_true(e.text[0]);
	s.msr_count = VCPU_MSRS_MAX + 1;
	s.cr0 |= CR0_PE;
	assert_int_equal(kvm_engine.set_state(g.vcpus[0], &s, NULL), -EINVAL);
	guest_release(&g);
}

static void the_clock_is_set_and_runs(void **state)
{
	const uint64_t hour = 3600ULL * 1000000000ULL;
	struct err e = ERR_INIT;
	struct guest g;
	uint64_t a, b;

	(void)state;
	guest_init(&g, 1);
	assert_int_equal(kvm_engine.clock_set(g.vm, 5 * hour, &e), 0);
	assert_int_equal(kvm_engine.clock_get(g.vm, &a, &e), 0);
	assert_int_equal(kvm_engine.clock_get(g.vm, &b, &e), 0);
	assert_true(a >= 5 * hour && a < 6 * hour && b >= a);
	guest_release(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_set_is_read),
		cmocka_unit_test(the_reset_state_leaves_nothing_behind),
		cmocka_unit_test(two_vcpus_exchange_their_states),
		cmocka_unit_test(x2apic_mode_keeps_its_id),
		cmocka_unit_test(events_survive),
		cmocka_unit_test(activities_survive),
		cmocka_unit_test(a_guest_runs_on_wherever_its_state_is_set),
		cmocka_unit_test(a_state_that_cannot_be_had_is_refused),
		cmocka_unit_test(the_clock_is_set_and_runs),
	};

	guest_require_kvm(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
