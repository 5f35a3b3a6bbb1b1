/* SPDX-License-Identifier: Apache-2.0 */
/* The run loop: what guests do, and what the devices and run()'s caller see of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "core/x86/regs.h"
#include "engine/kvm/kvm.h"
#include "kvm_guest.h"

static void expect_access(const struct guest *g, unsigned n, struct guest_access want)
{
	const struct guest_access *a = &g->log[n];

	assert_true(n < g->accesses);
	if (a->write != want.write || a->mmio != want.mmio || a->addr != want.addr ||
	    a->size != want.size || a->value != want.value)
		fail_msg("access %u: %s %s 0x%llx size %u value 0x%llx", n,
			 a->mmio ? "memory" : "port", a->write ? "write" : "read",
			 (unsigned long long)a->addr, a->size, (unsigned long long)a->value);
}

static struct vcpu_state state_of(struct guest *g, unsigned n)
{
	struct vcpu_state s;
	struct err e = ERR_INIT;

	if (kvm_engine.get_state(g->vcpus[n], &s, &e))
		fail_msg("%s", e.text);
	return s;
}

static uint64_t answer_pattern(struct guest *g, const struct guest_access *a)
{
	(void)g;
	(void)a;
	return 0x8877665544332211ULL;
}

GUEST_ASM(ports, 16,
	  "movl $0xaabbccdd, %eax\n"
	  "out %al, $0x10\n"
	  "out %ax, $0x20\n"
	  "out %eax, $0x30\n"
	  "movl $0, %eax\n"
	  "in $0x41, %al\n"
	  "movl %eax, %ebx\n"
	  "movl $0, %eax\n"
	  "movw $0x1234, %dx\n"
	  "in %dx, %ax\n"
	  "movl %eax, %ecx\n"
	  "in $0x43, %eax\n"
	  "movl %eax, %esi\n"
	  "out %al, $0xf4\n");

static void ports_in_all_sizes(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	g.answer = answer_pattern;
	guest_load16(&g, ports, ports_end);
	guest_run(&g, 0, ENGINE_KICKED);
	expect_access(&g, 0, (struct guest_access){true, false, 0x10, 1, 0xdd});
	expect_access(&g, 1, (struct guest_access){true, false, 0x20, 2, 0xccdd});
	expect_access(&g, 2, (struct guest_access){true, false, 0x30, 4, 0xaabbccdd});
	expect_access(&g, 3, (struct guest_access){false, false, 0x41, 1, 0});
	expect_access(&g, 4, (struct guest_access){false, false, 0x1234, 2, 0});
	expect_access(&g, 5, (struct guest_access){false, false, 0x43, 4, 0});
	s = state_of(&g, 0);
	assert_int_equal(s.gpr[GPR_RBX], 0x11);
	assert_int_equal(s.gpr[GPR_RCX], 0x2211);
	assert_int_equal(s.gpr[GPR_RSI], 0x44332211);
	/* The write that kicked is complete: RIP is behind it. */
	assert_int_equal(s.rip, GUEST_CODE + (ports_end - ports));
	assert_int_equal(guest_stat(&g, "port-reads"), 3);
	assert_int_equal(guest_stat(&g, "port-writes"), 4);
	guest_release(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_in_all_sizes),
	};

	guest_require_kvm();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
