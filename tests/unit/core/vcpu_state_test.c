/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/buf.h"
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "core/x86/vcpu_state.h"

static struct vcpu_state s;

/* SDM vol. 3A table 9-1, column "Power up". */
static void power_on_is_as_the_manual_says(void **state)
{
	(void)state;
	memset(&s, 0x5a, sizeof(s));
	vcpu_state_reset(&s, 0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.rip, 0xfff0);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.cr2 | s.cr3 | s.cr4 | s.cr8 | s.efer, 0);
	assert_int_equal(s.seg[SEG_CS].selector, 0xf000);
	assert_int_equal(s.seg[SEG_CS].base, 0xffff0000);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		assert_int_equal(s.seg[i].limit, 0xffff);
		assert_true(s.seg[i].attr & SEG_ATTR_P && s.seg[i].attr & SEG_ATTR_S);
		if (i == SEG_CS)
			continue;
		assert_int_equal(s.seg[i].selector, 0);
		assert_int_equal(s.seg[i].base, 0);
		assert_int_equal(s.seg[i].attr, 0x93);
	}
	assert_int_equal(s.gdt.base | s.idt.base, 0);
	assert_int_equal(s.gdt.limit, 0xffff);
	assert_int_equal(s.idt.limit, 0xffff);
	assert_int_equal(s.ldtr.attr, 0x82);
	assert_int_equal(s.ldtr.limit, 0xffff);
	assert_int_equal(s.tr.attr, 0x8b);
	assert_int_equal(s.tr.limit, 0xffff);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		if (i != GPR_RDX)
			assert_int_equal(s.gpr[i], 0);
	assert_int_equal(s.gpr[GPR_RDX] & 0xf00, 0x600);
	assert_int_equal(s.dr[0] | s.dr[1] | s.dr[2] | s.dr[3], 0);
	assert_int_equal(s.dr6, 0xffff0ff0);
	assert_int_equal(s.dr7, 0x400);
	assert_int_equal(s.xcr0, 1);
	assert_int_equal(s.tsc, 0);
	/* x87: FCW 0040H, FSW 0, tags "zero"; MXCSR 1F80H */
	assert_int_equal(load_le(s.xsave, 2), 0x40);
	assert_int_equal(load_le(s.xsave + 2, 2), 0);
	assert_int_equal(s.xsave[4], 0xff);
	assert_int_equal(load_le(s.xsave + 24, 4), 0x1f80);
	assert_int_equal(load_le(s.xsave + 512, 8), 1);
	assert_int_equal(load_le(s.xsave + 520, 8), 0);
	assert_int_equal(s.apic_base, 0xfee00900);
	assert_int_equal(s.activity, VCPU_RUNNING);
	assert_false(s.events.exception_pending || s.events.interrupt_injected || s.events.smm);
}

/* SDM vol. 3A table 9-1, column "INIT": what it resets, and what it leaves alone. */
static void init_is_as_the_manual_says(void **state)
{
	static struct vcpu_state before;
	uint64_t value;

	(void)state;
	vcpu_state_reset(&s, 2);
	memset(s.gpr, 0x5a, sizeof(s.gpr));
	memset(s.seg, 0x5a, sizeof(s.seg));
	memset(s.dr, 0x5a, sizeof(s.dr));
	memset(s.xsave, 0x5a, sizeof(s.xsave));
	memset(&s.events, 1, sizeof(s.events));
	s.rip = 0x1234;
	s.rflags = 0x202;
	s.gdt = (struct descriptor_table){.base = 0x1000, .limit = 0x7f};
	s.idt = s.gdt;
	s.cr0 = 0x80000011 | BIT(29);
	s.cr2 = s.cr3 = 0x1000;
	s.cr4 = 0x20;
	s.cr8 = 3;
	s.efer = 0x500;
	s.xcr0 = 7;
	s.tsc = 12345;
	s.apic_base = 0xfee00c00;
	s.activity = VCPU_HALTED;
	vcpu_state_set_msr(&s, MSR_IA32_LSTAR, 0x1111);
	vcpu_state_set_msr(&s, MSR_IA32_PAT, 0x2222);
	vcpu_state_set_msr(&s, MSR_IA32_TSC_DEADLINE, 0x3333);
	vcpu_state_set_msr(&s, MSR_KVM_SYSTEM_TIME, 0x4001);
	before = s;
	vcpu_state_init(&s);
	assert_int_equal(s.rip, 0xfff0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.cr0, BIT(29) | 0x10); /* CD and NW stay */
	assert_int_equal(s.cr2 | s.cr3 | s.cr4 | s.cr8 | s.efer, 0);
	assert_int_equal(s.seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(s.seg[SEG_DS].attr, 0x93);
	assert_int_equal(s.gdt.base | s.idt.base, 0);
	assert_int_equal(s.gdt.limit, 0xffff);
	assert_int_equal(s.gpr[GPR_RAX] | s.gpr[GPR_R8] | s.gpr[15], 0);
	assert_int_equal(s.dr[0] | s.dr[3], 0);
	assert_int_equal(s.dr6, 0xffff0ff0);
	assert_int_equal(s.dr7, 0x400);
	assert_false(s.events.nmi_masked || s.events.exception_pending || s.events.shadow_sti);
	assert_int_equal(s.activity, VCPU_WAIT_SIPI);
	/* TSC, XCR0, x87 to AVX, MSRs */
	assert_int_equal(s.tsc, 12345);
	assert_int_equal(s.xcr0, 7);
	assert_memory_equal(s.xsave, before.xsave, sizeof(s.xsave));
	assert_int_equal(s.apic_base, 0xfee00c00);
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_LSTAR, &value));
	assert_int_equal(value, 0x1111);
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_PAT, &value));
	assert_int_equal(value, 0x2222);
	/* with the local APIC's timer, and with the guest that registered the clock */
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_TSC_DEADLINE, &value));
	assert_int_equal(value, 0);
	assert_true(vcpu_state_get_msr(&s, MSR_KVM_SYSTEM_TIME, &value));
	assert_int_equal(value, 0);
	/* the bootstrap processor goes on */
	s.apic_base = 0xfee00900;
	vcpu_state_init(&s);
	assert_int_equal(s.activity, VCPU_RUNNING);
}

/* SDM vol. 3A 8.4.3: the vector is the page number. */
static void a_sipi_starts_in_real_mode(void **state)
{
	(void)state;
	vcpu_state_reset(&s, 1);
	vcpu_state_init(&s);
	vcpu_state_start_up(&s, 0x9a);
	assert_int_equal(s.seg[SEG_CS].selector, 0x9a00);
	assert_int_equal(s.seg[SEG_CS].base, 0x9a000);
	assert_int_equal(s.seg[SEG_CS].limit, 0xffff);
	assert_int_equal(s.rip, 0);
	assert_int_equal(s.activity, VCPU_RUNNING);
}

static void application_processors_wait_and_know_their_id(void **state)
{
	(void)state;
	vcpu_state_reset(&s, 63);
	assert_int_equal(s.apic_base, 0xfee00800);
	assert_int_equal(s.activity, VCPU_WAIT_INIT);
	assert_int_equal(load_le(s.lapic + 0x20, 4), 63u << 24);
}

/* SDM vol. 3A 11.4.7.1 */
static void the_local_apic_starts_disabled_and_masked(void **state)
{
	static const unsigned lvts[] = {0x320, 0x330, 0x340, 0x350, 0x360, 0x370};

	(void)state;
	vcpu_state_reset(&s, 0);
	for (unsigned i = 0; i < ARRAY_LEN(lvts); i++)
		assert_int_equal(load_le(s.lapic + lvts[i], 4), 0x10000);
	assert_int_equal(load_le(s.lapic + 0x30, 4), 0x50014);
	assert_int_equal(load_le(s.lapic + 0xe0, 4), 0xffffffff);
	assert_int_equal(load_le(s.lapic + 0xf0, 4), 0xff);
	assert_int_equal(load_le(s.lapic + 0x80, 4) | load_le(s.lapic + 0x380, 4), 0);
}

static unsigned position(uint32_t msr)
{
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);

	for (unsigned i = 0; i < count; i++)
		if (list[i] == msr)
			return i;
	fail_msg("MSR %x is not in the list", msr);
	return 0;
}

static void the_msr_list_is_whole_ordered_and_without_doubles(void **state)
{
	static const uint32_t must[] = {
		MSR_IA32_SYSENTER_CS,
		MSR_IA32_SYSENTER_ESP,
		MSR_IA32_SYSENTER_EIP,
		MSR_IA32_STAR,
		MSR_IA32_LSTAR,
		MSR_IA32_CSTAR,
		MSR_IA32_FMASK,
		MSR_IA32_KERNEL_GS_BASE,
		MSR_IA32_PAT,
		MSR_IA32_MISC_ENABLE,
		MSR_IA32_TSC_AUX,
		MSR_IA32_TSC_ADJUST,
		MSR_IA32_SPEC_CTRL,
		MSR_IA32_XSS,
		MSR_KVM_WALL_CLOCK,
		MSR_KVM_SYSTEM_TIME,
		MSR_KVM_STEAL_TIME,
		MSR_KVM_PV_EOI_EN,
		0x201,
		0x20e,
		0x20f,
		0x250,
		0x26f,
	};
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);

	(void)state;
	assert_true(count <= VCPU_MSRS_MAX);
	for (unsigned i = 0; i < count; i++) {
		/* These have fields of their own. */
		assert_true(list[i] != MSR_IA32_EFER && list[i] != MSR_IA32_APIC_BASE &&
			    list[i] != MSR_IA32_TSC && list[i] != MSR_IA32_FS_BASE &&
			    list[i] != MSR_IA32_GS_BASE);
		for (unsigned j = 0; j < i; j++)
			assert_true(list[i] != list[j]);
	}
	for (unsigned i = 0; i < ARRAY_LEN(must); i++)
		position(must[i]);
	assert_int_equal(position(MSR_IA32_TSC_DEADLINE), count - 1);
	assert_true(position(MSR_IA32_MTRR_DEF_TYPE) > position(MSR_IA32_MTRR_PHYSMASK(7)));
	assert_true(position(MSR_KVM_ASYNC_PF_EN) > position(MSR_KVM_ASYNC_PF_INT));
}

static void reset_gives_every_msr_its_power_on_value(void **state)
{
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);
	uint64_t v;

	(void)state;
	vcpu_state_reset(&s, 0);
	assert_int_equal(s.msr_count, count);
	for (unsigned i = 0; i < count; i++) {
		assert_int_equal(s.msrs[i].index, list[i]);
		assert_int_equal(s.msrs[i].value, vcpu_msr_reset_value(list[i]));
	}
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_PAT, &v));
	assert_int_equal(v, 0x0007040600070406ULL);
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_MISC_ENABLE, &v));
	assert_true(v & 1); /* fast strings */
	assert_int_equal(vcpu_msr_reset_value(MSR_IA32_LSTAR), 0);
	/* A page that a former kernel gave to the host must not be written after a reset. */
	assert_int_equal(vcpu_msr_reset_value(MSR_KVM_SYSTEM_TIME), 0);
	assert_true(vcpu_state_set_msr(&s, MSR_IA32_LSTAR, 0x1234));
	assert_true(vcpu_state_get_msr(&s, MSR_IA32_LSTAR, &v));
	assert_int_equal(v, 0x1234);
	assert_false(vcpu_state_set_msr(&s, 0x12345, 1));
	assert_false(vcpu_state_get_msr(&s, 0x12345, &v));
}

static void flat_segments_are_those_of_the_boot_protocols(void **state)
{
	struct segment seg;

	(void)state;
	/* The descriptors that the Linux boot protocol's __BOOT_CS and __BOOT_DS have. */
	seg = segment_flat_code64(0x10);
	assert_int_equal(segment_to_descriptor(&seg), 0x00af9b000000ffffULL);
	seg = segment_flat_code32(0x10);
	assert_int_equal(segment_to_descriptor(&seg), 0x00cf9b000000ffffULL);
	seg = segment_flat_data(0x18);
	assert_int_equal(segment_to_descriptor(&seg), 0x00cf93000000ffffULL);
	assert_int_equal(seg.selector, 0x18);
	assert_int_equal(seg.limit, 0xffffffff);
	seg = segment_real(0x1234);
	assert_int_equal(seg.base, 0x12340);
	seg = segment_null();
	assert_true(seg.attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(segment_to_descriptor(&seg), 0);
}

static void a_descriptor_and_its_register_are_the_same(void **state)
{
	static const uint64_t descriptors[] = {
		0x00af9b000000ffffULL, 0x00cf93000000ffffULL, 0x12408b345678abcdULL,
		0x8900f2fedcba0123ULL, 0xff9f9b1122334455ULL,
	};
	struct segment seg;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(descriptors); i++) {
		seg = segment_from_descriptor(8, descriptors[i]);
		assert_int_equal(segment_to_descriptor(&seg), descriptors[i]);
	}
	seg = segment_from_descriptor(8, 0x12408b345678abcdULL);
	assert_int_equal(seg.base, 0x12345678);
	assert_int_equal(seg.limit, 0xabcd);
	seg = segment_from_descriptor(8, 0x008f93000000ffffULL); /* limit in pages */
	assert_int_equal(seg.limit, 0xffffffff);
	seg = segment_from_descriptor(8, 0x00cf13000000ffffULL);
	assert_true(seg.attr & SEG_ATTR_UNUSABLE);
	seg = segment_tss(0x28, 0xfffffe0000001000ULL, 0x67);
	assert_int_equal(seg.base, 0xfffffe0000001000ULL);
	assert_int_equal(seg.attr, 0x8b);
}

static const char *dump(struct buf *b)
{
	buf_release(b);
	vcpu_state_dump(&s, 7, b);
	assert_false(buf_failed(b));
	assert_int_equal(b->data[b->len - 1], '\n');
	for (const char *line = buf_str(b), *end; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_true(end - line <= 132 && end[-1] != ' ');
	}
	return buf_str(b);
}

static void the_dump_says_what_a_person_wants_to_know(void **state)
{
	struct buf b = BUF_INIT;
	const char *text;

	(void)state;
	vcpu_state_reset(&s, 7);
	text = dump(&b);
	assert_non_null(strstr(text, "vCPU 7: waiting for INIT, real mode, ring 0, no paging\n"));
	assert_non_null(strstr(text, "RIP=000000000000fff0 RFLAGS=00000002\n"));
	assert_non_null(strstr(text, "CR0=60000010 [ET NW CD]\n"));
	assert_non_null(strstr(text, "CR4=00000000\n"));
	assert_null(strstr(text, "DR7")); /* nothing set: no line */
	assert_null(strstr(text, "NMI"));

	s.activity = VCPU_RUNNING;
	s.cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET;
	s.cr4 = CR4_PAE | CR4_PGE;
	s.efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s.seg[SEG_CS] = segment_flat_code64(0x33);
	s.seg[SEG_SS].attr |= 3 << SEG_ATTR_DPL_SHIFT;
	s.rip = 0xffffffff81000123ULL;
	s.gpr[GPR_R8 + 7] = 0xdeadbeef;
	s.rflags = RFLAGS_FIXED | RFLAGS_ZF | RFLAGS_IF;
	s.dr7 = 0x401;
	s.dr[0] = 0x1000;
	s.events.exception_injected = true;
	s.events.exception_vector = VECTOR_PF;
	s.events.exception_has_error = true;
	s.events.exception_error = 0x11;
	s.events.nmi_masked = true;
	vcpu_state_set_msr(&s, MSR_IA32_LSTAR, 0xffffffff82000080ULL);
	text = dump(&b);
	assert_non_null(strstr(text, "vCPU 7: running, 64-bit mode, ring 3, 4-level paging\n"));
	assert_non_null(strstr(text, "RIP=ffffffff81000123 RFLAGS=00000242 [ZF IF]\n"));
	assert_non_null(strstr(text, "R15=00000000deadbeef\n"));
	assert_non_null(strstr(text, "CS   0033 base=0000000000000000 limit=ffffffff"));
	assert_non_null(strstr(text, "code64\n"));
	assert_non_null(strstr(text, "EFER=00000d01 [SCE LME LMA NXE]\n"));
	assert_non_null(strstr(text, "LSTAR=ffffffff82000080\n"));
	assert_non_null(strstr(text, "DR7=00000401\n"));
	assert_non_null(strstr(text, "exception 14 being delivered, error code 0011\n"));
	assert_non_null(strstr(text, "NMI masked\n"));
	s.activity = (enum vcpu_activity)77; /* a state from a file may hold anything */
	assert_non_null(strstr(dump(&b), "vCPU 7: ?, "));
	buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_on_is_as_the_manual_says),
		cmocka_unit_test(init_is_as_the_manual_says),
		cmocka_unit_test(a_sipi_starts_in_real_mode),
		cmocka_unit_test(application_processors_wait_and_know_their_id),
		cmocka_unit_test(the_local_apic_starts_disabled_and_masked),
		cmocka_unit_test(the_msr_list_is_whole_ordered_and_without_doubles),
		cmocka_unit_test(reset_gives_every_msr_its_power_on_value),
		cmocka_unit_test(flat_segments_are_those_of_the_boot_protocols),
		cmocka_unit_test(a_descriptor_and_its_register_are_the_same),
		cmocka_unit_test(the_dump_says_what_a_person_wants_to_know),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
