/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "core/x86/segment.h"
#include "system_rig.h"

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];
static struct vcpu_state in, out;

static int setup(void **state)
{
	(void)state;
	system_rig_init(&r);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

/* A 64-bit program's state with another value in every field that can have one. */
static void fill(struct vcpu_state *s)
{
	vcpu_state_reset(s, 0);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		s->gpr[i] = 0x0123456789abcdefULL * (i + 1);
	s->rip = 0xffffffff81234567;
	s->rflags = RFLAGS_FIXED | RFLAGS_CF | RFLAGS_IF | RFLAGS_AC | RFLAGS_ID | RFLAGS_RF;
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		s->seg[i] = segment_flat_data((uint16_t)(0x20 + 8 * i));
		s->seg[i].base = 0x1000 * i;
		s->seg[i].limit = 0xffff + i;
	}
	s->seg[SEG_CS] = segment_flat_code64(0x30);
	s->seg[SEG_CS].attr |= 3u << SEG_ATTR_DPL_SHIFT;
	s->seg[SEG_SS].attr |= 3u << SEG_ATTR_DPL_SHIFT;
	s->seg[SEG_ES].attr |= SEG_ATTR_UNUSABLE;
	s->seg[SEG_GS].base = 0xffff888000000000;
	s->ldtr = (struct segment){.selector = 0x50,
				   .attr = SEG_TYPE_LDT | SEG_ATTR_P,
				   .limit = 0x77,
				   .base = 0xfffffe0000001000};
	s->tr = segment_tss(0x40, 0xfffffe0000003000, 0x206f);
	s->gdt = (struct descriptor_table){.base = 0xfffffe0000002000, .limit = 0x7f};
	s->idt = (struct descriptor_table){.base = 0xfffffe0000000000, .limit = 0xfff};
	s->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_WP | CR0_TS;
	s->cr2 = 0x7fff12345678;
	s->cr3 = 0x12345000;
	s->cr4 = CR4_PAE | CR4_PCIDE | CR4_OSFXSR | CR4_OSXSAVE | CR4_SMEP | CR4_PGE;
	s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	s->xcr0 = XSTATE_X87 | XSTATE_SSE;
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = 0xffffffff80000000 + i;
	s->dr6 = DR6_RESET | DR6_B(2) | DR6_BS;
	s->dr7 = DR7_RESET | DR7_L(1) | DR7_GE;
	s->apic_base |= APIC_BASE_EXTD;
	s->tsc = 123456789012345678;
	s->events.shadow_sti = true;
	s->events.shadow_mov_ss = true;
	s->events.nmi_pending = true;
	s->events.nmi_masked = true;
	s->activity = VCPU_HALTED;
}

/* Values that the registers take, other than those of power-on. */
static const struct vcpu_msr msrs[] = {
	{MSR_IA32_MISC_ENABLE, 0x1800},
	{MSR_IA32_SYSENTER_CS, 0x10},
	{MSR_IA32_SYSENTER_ESP, 0xfffffe0000003200},
	{MSR_IA32_SYSENTER_EIP, 0xffffffff81801000},
	{MSR_IA32_STAR, 0x23001000000000},
	{MSR_IA32_LSTAR, 0xffffffff81800000},
	{MSR_IA32_CSTAR, 0xffffffff81801100},
	{MSR_IA32_FMASK, 0x257fd5},
	{MSR_IA32_KERNEL_GS_BASE, 0x7fff00001000},
	{MSR_IA32_TSC_AUX, 0x1003},
	{MSR_IA32_PAT, 0x0407050600070106},
	{MSR_IA32_MTRR_FIX64K_00000, 0x0606060606060606},
	{MSR_IA32_MTRR_FIX16K_A0000, 0x0505050505050505},
	{MSR_IA32_MTRR_FIX4K_C0000 + 7, 0x0404040404040404},
	{MSR_IA32_MTRR_PHYSBASE(0), 0xc0000000},
	{MSR_IA32_MTRR_PHYSMASK(7), 0xc0000800},
	{MSR_IA32_MTRR_DEF_TYPE, 0xc06},
	{MSR_IA32_MCG_STATUS, 4},
	{MSR_IA32_MCG_CTL, UINT64_MAX},
	{MSR_IA32_MC_CTL(3), UINT64_MAX},
	{MSR_IA32_MC_STATUS(3), 0x8000000000000001},
	{MSR_IA32_MC_ADDR(9), 0x1234},
	{MSR_IA32_TSC_ADJUST, 0x1000000},
	{MSR_KVM_WALL_CLOCK, 0x3000},
	{MSR_KVM_SYSTEM_TIME, 0x4001},
	{MSR_IA32_TSC_DEADLINE, UINT64_MAX / 2},
};

static void fill_msrs(struct vcpu_state *s)
{
	for (unsigned i = 0; i < ARRAY_LEN(msrs); i++)
		assert_true(vcpu_state_set_msr(s, msrs[i].index, msrs[i].value));
}

static void fill_xsave(struct vcpu_state *s)
{
	memset(s->xsave, 0, sizeof(s->xsave));
	store_le(s->xsave + XSAVE_FCW, 2, 0x27f);
	store_le(s->xsave + XSAVE_FSW, 2, 0x3800);
	store_le(s->xsave + XSAVE_FTW, 1, 0x80);
	store_le(s->xsave + XSAVE_MXCSR, 4, 0x1fa0);
	store_le(s->xsave + XSAVE_MXCSR_MASK, 4, cpu->fpu.host.mxcsr_mask);
	store_le(s->xsave + XSAVE_ST, 8, 0xc000000000000000);
	store_le(s->xsave + XSAVE_ST + 8, 2, 0x3fff);
	for (unsigned i = 0; i < 256; i++)
		s->xsave[XSAVE_XMM + i] = (uint8_t)(i + 1);
	store_le(s->xsave + XSAVE_XSTATE_BV, 8, XSTATE_X87 | XSTATE_SSE);
	if (!(cpu->msrs->xcr0_allowed & XSTATE_AVX))
		return;
	for (unsigned i = 0; i < 256; i++)
		s->xsave[FPU_YMM_HI + i] = (uint8_t)(0xff - i);
	store_le(s->xsave + XSAVE_XSTATE_BV, 8, XSTATE_X87 | XSTATE_SSE | XSTATE_AVX);
	s->xcr0 |= XSTATE_AVX;
}

/* Field by field, so that padding does not count. */
#define SAME(field) assert_memory_equal(&out.field, &in.field, sizeof(in.field))

static void assert_segments_equal(const struct segment *a, const struct segment *b)
{
	assert_int_equal(a->selector, b->selector);
	assert_int_equal(a->attr, b->attr);
	assert_int_equal(a->limit, b->limit);
	assert_int_equal(a->base, b->base);
}

static void assert_same(void)
{
	SAME(gpr);
	SAME(rip);
	SAME(rflags);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		assert_segments_equal(&out.seg[i], &in.seg[i]);
	assert_segments_equal(&out.ldtr, &in.ldtr);
	assert_segments_equal(&out.tr, &in.tr);
	SAME(gdt.base);
	SAME(gdt.limit);
	SAME(idt.base);
	SAME(idt.limit);
	SAME(cr0);
	SAME(cr2);
	SAME(cr3);
	SAME(cr4);
	SAME(efer);
	SAME(apic_base);
	SAME(pdptr_valid);
	SAME(xcr0);
	SAME(dr);
	SAME(dr6);
	SAME(dr7);
	SAME(activity);
	assert_memory_equal(&out.events, &in.events, sizeof(in.events));
	assert_memory_equal(out.xsave, in.xsave, sizeof(in.xsave));
	assert_true(out.tsc - in.tsc < 10000000000ULL); /* it goes on */
	for (unsigned i = 0; i < out.msr_count; i++) {
		uint64_t value;

		assert_true(vcpu_state_get_msr(&in, out.msrs[i].index, &value));
		if (out.msrs[i].value != value)
			fail_msg("MSR 0x%x", out.msrs[i].index);
	}
}

static void every_field_comes_back(void **state)
{
	(void)state;
	fill(&in);
	fill_msrs(&in);
	fill_xsave(&in);
	in.cr8 = 7; /* the local APIC's: the machine restores it */
	r.lapic[0].cr8 = 5;
	memset(&out, 0xa5, sizeof(out));
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_same();
	assert_int_equal(out.cr8, 5);
	assert_int_equal(out.tsc_khz, r.vm.tsc_khz);
	for (unsigned i = 0; i < VCPU_LAPIC_SIZE; i++)
		assert_int_equal(out.lapic[i], 0xa5); /* left alone */
	for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
		uint64_t value;

		assert_true(vcpu_state_get_msr(&out, msrs[i].index, &value));
		assert_int_equal(value, msrs[i].value);
	}
	assert_int_equal(cpu->cpl, 3);
	assert_int_equal(cpu->mode, CPU_LONG);
	assert_int_equal(cpu->attention,
			 ATTENTION_SHADOW | ATTENTION_HALT | ATTENTION_NMI | ATTENTION_TRACE);
	assert_int_equal(r.lapic[0].deadlines, 2); /* at power-on, with 0, and now */
	assert_true(r.lapic[0].deadline);
}

static void power_on_comes_back(void **state)
{
	(void)state;
	fill(&in);
	fill_msrs(&in);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	vcpu_state_reset(&in, 0);
	store_le(in.xsave + XSAVE_MXCSR_MASK, 4, cpu->fpu.host.mxcsr_mask);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_same();
	assert_int_equal(cpu->mode, CPU_REAL);
	assert_int_equal(cpu->attention, 0);
	assert_int_equal(cpu->cpl, 0);
}

/* What XSTATE_BV says not to be there is in its initial state, whatever stands in the image. */
static void components_not_there_are_initial(void **state)
{
	(void)state;
	fill(&in);
	fill_xsave(&in);
	store_le(in.xsave + XSAVE_XSTATE_BV, 8, 0);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_int_equal(load_le(out.xsave + XSAVE_FCW, 2), 0x37f);
	assert_int_equal(load_le(out.xsave + XSAVE_FTW, 1), 0);
	assert_int_equal(load_le(out.xsave + XSAVE_MXCSR, 4), 0x1fa0);
	assert_int_equal(load_le(out.xsave + XSAVE_XSTATE_BV, 8), 0);
	for (unsigned i = XSAVE_ST; i < XSAVE_XMM + 256; i++)
		assert_int_equal(out.xsave[i], 0);
}

static void events_come_back(void **state)
{
	struct vcpu_events *e = &in.events;

	(void)state;
	fill(&in);
	memset(e, 0, sizeof(*e));
	e->exception_pending = true;
	e->exception_vector = VECTOR_PF;
	e->exception_has_error = true;
	e->exception_error = 6;
	e->exception_has_payload = true;
	e->exception_payload = 0x1234;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_memory_equal(&out.events, e, sizeof(*e));
	/* One begun already has told CR2. */
	memset(e, 0, sizeof(*e));
	e->exception_injected = true;
	e->exception_vector = VECTOR_PF;
	e->exception_has_error = true;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	assert_int_equal(cpu->exception.payload, in.cr2);
	memset(e, 0, sizeof(*e));
	e->interrupt_injected = true;
	e->interrupt_vector = 0x31;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	assert_true(cpu->exception.pending && cpu->exception.vector == 0x31);
	cpu_get_state(cpu, &out);
	assert_memory_equal(&out.events, e, sizeof(*e));
	/* INT n is executed again. */
	e->interrupt_soft = true;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	assert_false(cpu->exception.pending);
	memset(e, 0, sizeof(*e));
	e->nmi_injected = true;
	e->nmi_masked = true;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_memory_equal(&out.events, e, sizeof(*e));
}

static void pae_pointers(void **state)
{
	uint8_t *ram = mem_ptr_rw(&r.mem, 0, RIG_RAM);

	(void)state;
	vcpu_state_reset(&in, 0);
	in.cr0 = CR0_PE | CR0_PG | CR0_ET;
	in.cr4 = CR4_PAE;
	in.cr3 = 0x1000;
	for (unsigned i = 0; i < 4; i++)
		store_le(ram + 0x1000 + 8 * i, 8, (0x2000 + 0x1000 * i) | PTE_P);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0); /* from memory */
	cpu_get_state(cpu, &out);
	assert_true(out.pdptr_valid);
	assert_int_equal(out.pdptr[3], 0x5001);
	in.pdptr_valid = true;
	in.pdptr[3] = 0x9001;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu_get_state(cpu, &out);
	assert_int_equal(out.pdptr[3], 0x9001);
	in.pdptr_valid = false;
	store_le(ram + 0x1000, 8, 2 | PTE_P);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), -EINVAL);
}

/* --- what is refused ------------------------------------------------------------------------- */

#define REFUSED(change, rc)                                             \
	do {                                                            \
		struct err e = ERR_INIT;                                \
                                                                        \
		fill(&in);                                              \
		fill_xsave(&in);                                        \
		in.gpr[0] = 99;                                         \
		change;                                                 \
		if (cpu_set_state(cpu, &in, &e) != (rc))                \
			fail_msg("%s", #change);                        \
		assert_true(e.text[0]);                                 \
		assert_int_equal(cpu->gpr[0], 1);                       \
		assert_int_equal(cpu->msrs->lstar, 0xffffffff81800000); \
	} while (0)

static void a_refused_state_changes_nothing(void **state)
{
	(void)state;
	fill(&in);
	fill_msrs(&in);
	in.gpr[0] = 1;
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	REFUSED(in.cr0 &= ~CR0_PE, -EINVAL);
	REFUSED(in.cr0 |= CR0_NW, -EINVAL);
	REFUSED(in.cr0 |= BIT(40), -EINVAL);
	REFUSED(in.cr0 &= ~CR0_PG, -EINVAL); /* LMA stays behind */
	REFUSED(in.cr4 &= ~CR4_PAE, -EINVAL);
	REFUSED(in.cr4 |= CR4_VMXE, -EINVAL);
	REFUSED(in.efer &= ~EFER_LMA, -EINVAL);
	REFUSED(in.efer |= EFER_SVME, -EINVAL);
	REFUSED(in.cr3 |= BIT(cpu->phys_bits), -EINVAL);
	REFUSED(in.seg[SEG_CS].attr |= SEG_ATTR_DB, -EINVAL);
	REFUSED(in.seg[SEG_FS].base = BIT(63), -EINVAL);
	REFUSED(in.seg[SEG_GS].base = BIT(57), -EINVAL);
	REFUSED(in.tr.base = BIT(57), -EINVAL);
	REFUSED(in.ldtr.base = BIT(57), -EINVAL);
	REFUSED(in.gdt.base = BIT(57), -EINVAL);
	REFUSED(in.idt.base = BIT(57), -EINVAL);
	REFUSED(in.rflags |= RFLAGS_VM, -EINVAL);
	REFUSED(in.rflags |= BIT(40), -EINVAL);
	REFUSED(in.apic_base |= BIT(9), -EINVAL);
	REFUSED(in.apic_base &= ~APIC_BASE_ENABLE, -EINVAL);
	REFUSED(in.dr7 |= BIT(32), -EINVAL);
	REFUSED(in.xcr0 = 0, -EINVAL);
	REFUSED(in.xcr0 |= XSTATE_PKRU, -EINVAL);
	REFUSED(in.pdptr_valid = true, -EINVAL);
	REFUSED(in.activity = 9, -EINVAL);
	REFUSED(in.events.triple_fault_pending = true, -EINVAL);
	REFUSED(in.events.smm = true, -ENOTSUP);
	REFUSED(in.msr_count = VCPU_MSRS_MAX + 1, -EINVAL);
	REFUSED(in.tsc_khz = r.vm.tsc_khz / 2, -ENOTSUP);
	REFUSED(store_le(in.xsave + XSAVE_MXCSR, 4, UINT32_MAX), -EINVAL);
	REFUSED(in.xsave[XSAVE_XCOMP_BV + 7] = 0x80, -EINVAL);
	REFUSED(in.xsave[2000] = 1, -ENOTSUP);
	REFUSED(vcpu_state_set_msr(&in, MSR_IA32_LSTAR, BIT(57)), -EINVAL);
	REFUSED(vcpu_state_set_msr(&in, MSR_IA32_PAT, 2), -EINVAL);
	REFUSED(vcpu_state_set_msr(&in, MSR_KVM_STEAL_TIME, 1), -ENOTSUP);
	REFUSED(vcpu_state_set_msr(&in, MSR_IA32_SPEC_CTRL, 1), -ENOTSUP);
}

/* The vCPUs of a VM are set one after the other; their counters then agree exactly. */
static void counters_of_all_vcpus_agree(void **state)
{
	struct cpu *other = &r.cpu[1];

	(void)state;
	assert_int_equal(cpu->tsc_offset, other->tsc_offset); /* of power-on */
	fill(&in);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	assert_true(cpu->tsc_offset != other->tsc_offset);
	in.tsc += 1000; /* read a little later */
	assert_int_equal(cpu_set_state(other, &in, NULL), 0);
	assert_int_equal(cpu->tsc_offset, other->tsc_offset);
	/* But for what the guest itself has set apart. */
	in.tsc += 500;
	vcpu_state_set_msr(&in, MSR_IA32_TSC_ADJUST, 500);
	assert_int_equal(cpu_set_state(other, &in, NULL), 0);
	assert_int_equal(cpu->tsc_offset + 500, other->tsc_offset);
}

/* A 64-bit code segment that legacy mode has loaded: no obstacle to setting the state again. */
static void long_code_of_legacy_mode(void **state)
{
	(void)state;
	vcpu_state_reset(&in, 0);
	in.cr0 |= CR0_PE;
	in.seg[SEG_CS] = segment_flat_code32(0x8);
	assert_int_equal(cpu_set_state(cpu, &in, NULL), 0);
	cpu->seg[SEG_CS].attr |= SEG_ATTR_L;
	cpu_update_mode(cpu);
	cpu_get_state(cpu, &out);
	assert_int_equal(cpu_set_state(cpu, &out, NULL), 0);
	assert_int_equal(cpu->mode, CPU_PROTECTED);
	assert_int_equal(cpu->decode, DECODE_32);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(every_field_comes_back),
		TEST(power_on_comes_back),
		TEST(components_not_there_are_initial),
		TEST(events_come_back),
		TEST(pae_pointers),
		TEST(long_code_of_legacy_mode),
		TEST(a_refused_state_changes_nothing),
		TEST(counters_of_all_vcpus_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
