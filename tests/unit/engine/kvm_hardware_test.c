/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only hardware virtualization does right: an interpreter that poses as KVM was seen to let
 * the window for an interrupt pass, to know no vector instructions, and to leave the TSC as the
 * host's. Not run where KVM is not efficient.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/x86/regs.h"
#include "engine/kvm/kvm.h"
#include "kvm_guest.h"

/* Real mode. Port 0x30's write is where the device raises INTR, with interrupts disabled; they are
 * enabled later. */
GUEST_ASM(extint, 16,
	  "	out %al, $0x30\n"
	  "	out %al, $0x31\n"
	  "	sti\n"
	  "	nop\n"
	  "	nop\n"
	  "	cli\n"
	  "	out %al, $0xf4\n"
	  ".globl extint_handler\n"
	  "extint_handler: out %al, $0x32\n"
	  "	iretw\n");
extern const char extint_handler[];

static void raise_at_30(struct guest *g, const struct guest_access *a)
{
	if (a->write && a->addr == 0x30)
		kvm_engine.extint(g->vm, true);
	if (a->write && a->addr == 0x31)
		assert_int_equal(g->acks, 0); /* IF is clear: not acknowledged yet */
}

static void intr_is_acknowledged_when_the_guest_takes_it(void **state)
{
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	g.seen = raise_at_30;
	g.ack_vector = 0x21;
	guest_load16(&g, extint, extint_end);
	guest_vector(&g, 0x21, extint, extint_handler);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(g.acks, 1);
	assert_int_equal(g.accesses, 4);
	guest_expect(&g, 2, (struct guest_access){true, false, 0x32, 1, 0x0});
	guest_release(&g);
}

static void raise_and_lower(struct guest *g, const struct guest_access *a)
{
	if (a->write && a->addr == 0x30)
		kvm_engine.extint(g->vm, true);
	if (a->write && a->addr == 0x31)
		kvm_engine.extint(g->vm, false);
}

static void intr_that_falls_again_is_never_acknowledged(void **state)
{
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	g.seen = raise_and_lower;
	guest_load16(&g, extint, extint_end);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(g.acks, 0);
	assert_int_equal(g.accesses, 3);
	guest_release(&g);
}

static void masked_lint0_takes_no_intr(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	g.seen = raise_at_30;
	guest_load16(&g, extint, extint_end);
	guest_state16(&s, 0);
	store_le(s.lapic + 0x350, 4, 0x10700);
	guest_set(&g, 0, &s);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(g.acks, 0);
	guest_release(&g);
}

GUEST_ASM(vectors, 64,
	  "movabs $0x0102030405060708, %rax\n"
	  "movq %rax, %xmm3\n"
	  "out %al, $0xf4\n"
	  "paddq %xmm3, %xmm3\n"
	  "movq %xmm3, %rdx\n"
	  "out %al, $0xf4\n");

static void vector_registers_survive(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_load64(&g, vectors, vectors_end);
	guest_run(&g, 0, ENGINE_KICKED);
	guest_get(&g, 0, &s);
	assert_true(load_le(s.xsave + XSAVE_XMM + 3 * 16, 8) == 0x0102030405060708);
	store_le(s.xsave + XSAVE_XMM + 3 * 16, 8, 0x1112131415161718);
	guest_set(&g, 0, &s);
	guest_run(&g, 0, ENGINE_KICKED);
	guest_get(&g, 0, &s);
	assert_true(s.gpr[GPR_RDX] == 0x222426282a2c2e30);
	guest_release(&g);
}

static void the_tsc_runs_on_from_where_it_was_set(void **state)
{
	const uint64_t set = 0x100000000000ULL;
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_state64(&g, &s, 0);
	s.tsc = set;
	guest_set(&g, 0, &s);
	guest_get(&g, 0, &s);
	/* Within the hour. */
	assert_in_range(s.tsc, set, set + 3600ULL * 1000 * s.tsc_khz);
	guest_release(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intr_is_acknowledged_when_the_guest_takes_it),
		cmocka_unit_test(intr_that_falls_again_is_never_acknowledged),
		cmocka_unit_test(masked_lint0_takes_no_intr),
		cmocka_unit_test(vector_registers_survive),
		cmocka_unit_test(the_tsc_runs_on_from_where_it_was_set),
	};

	guest_require_kvm(argc, argv);
	guest_require_hardware();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
