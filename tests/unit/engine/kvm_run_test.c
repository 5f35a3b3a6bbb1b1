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

#define PATTERN 0x8877665544332211ULL

static uint64_t answer_pattern(struct guest *g, const struct guest_access *a)
{
	(void)g;
	(void)a;
	return PATTERN;
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
	guest_expect(&g, 0, (struct guest_access){true, false, 0x10, 1, 0xdd});
	guest_expect(&g, 1, (struct guest_access){true, false, 0x20, 2, 0xccdd});
	guest_expect(&g, 2, (struct guest_access){true, false, 0x30, 4, 0xaabbccdd});
	guest_expect(&g, 3, (struct guest_access){false, false, 0x41, 1, 0});
	guest_expect(&g, 4, (struct guest_access){false, false, 0x1234, 2, 0});
	guest_expect(&g, 5, (struct guest_access){false, false, 0x43, 4, 0});
	guest_get(&g, 0, &s);
	assert_int_equal(s.gpr[GPR_RBX], 0x11);
	assert_int_equal(s.gpr[GPR_RCX], 0x2211);
	assert_int_equal(s.gpr[GPR_RSI], 0x44332211);
	/* The write that kicked is complete: RIP is behind it. */
	assert_int_equal(s.rip, GUEST_CODE + (ports_end - ports));
	assert_int_equal(guest_stat(&g, "port-reads"), 3);
	assert_int_equal(guest_stat(&g, "port-writes"), 4);
	assert_int_equal(guest_stat(&g, "exits"), 7);
	guest_release(&g);
}

GUEST_ASM(strings, 16,
	  "cld\n"
	  "movw $0x10, %dx\n"
	  "movw $0x2000, %si\n"
	  "movw $5, %cx\n"
	  "rep outsb\n"
	  "movw $3, %cx\n"
	  "rep outsw\n"
	  "movw $0x3000, %di\n"
	  "movw $4, %cx\n"
	  "rep insb\n"
	  "movw $2, %cx\n"
	  "rep insl\n"
	  "out %al, $0xf4\n");

static uint64_t answer_count(struct guest *g, const struct guest_access *a)
{
	(void)a;
	return 0x10101010ULL * (g->accesses & 0xf);
}

static void string_io_moves_every_element_in_order(void **state)
{
	static const uint8_t out[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
	struct guest g;
	uint8_t in[12];

	(void)state;
	guest_init(&g, 1);
	g.answer = answer_count;
	guest_load16(&g, strings, strings_end);
	assert_true(mem_write(&g.mem, 0x2000, out, sizeof(out)));
	guest_run(&g, 0, ENGINE_KICKED);
	for (unsigned i = 0; i < 5; i++)
		guest_expect(&g, i, (struct guest_access){true, false, 0x10, 1, out[i]});
	for (unsigned i = 0; i < 3; i++)
		guest_expect(&g, 5 + i,
			     (struct guest_access){true, false, 0x10, 2,
						   out[5 + 2 * i] | out[6 + 2 * i] << 8});
	/* An element read is asked for once: reads of a device have effects. */
	assert_int_equal(g.accesses, 5 + 3 + 4 + 2 + 1);
	assert_true(mem_read(&g.mem, 0x3000, in, sizeof(in)));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(in[i], 0x10 * (8 + i));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(in[4 + i], 0x10 * (12 + i / 4));
	guest_release(&g);
}

GUEST_ASM(mmio, 64,
	  "movl $0xc0000000, %ebx\n"
	  "movabsq $0x1122334455667788, %rax\n"
	  "movb %al, 1(%rbx)\n"
	  "movw %ax, 2(%rbx)\n"
	  "movl %eax, 4(%rbx)\n"
	  "movq %rax, 8(%rbx)\n"
	  "movl %eax, 0x13(%rbx)\n"
	  "xorl %ecx, %ecx\n"
	  "movb 0x20(%rbx), %cl\n"
	  "movzwl 0x22(%rbx), %edx\n"
	  "movl 0x24(%rbx), %esi\n"
	  "movq 0x28(%rbx), %rdi\n"
	  "addl $1, 0x30(%rbx)\n"
	  "out %al, $0xf4\n");

static void device_memory_in_all_sizes(void **state)
{
	const uint64_t at = 0xc0000000;
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	g.answer = answer_pattern;
	guest_load64(&g, mmio, mmio_end);
	guest_run(&g, 0, ENGINE_KICKED);
	guest_expect(&g, 0, (struct guest_access){true, true, at + 1, 1, 0x88});
	guest_expect(&g, 1, (struct guest_access){true, true, at + 2, 2, 0x7788});
	guest_expect(&g, 2, (struct guest_access){true, true, at + 4, 4, 0x55667788});
	guest_expect(&g, 3, (struct guest_access){true, true, at + 8, 8, 0x1122334455667788});
	guest_expect(&g, 4, (struct guest_access){true, true, at + 0x13, 4, 0x55667788});
	guest_expect(&g, 5, (struct guest_access){false, true, at + 0x20, 1, 0});
	guest_expect(&g, 6, (struct guest_access){false, true, at + 0x22, 2, 0});
	guest_expect(&g, 7, (struct guest_access){false, true, at + 0x24, 4, 0});
	guest_expect(&g, 8, (struct guest_access){false, true, at + 0x28, 8, 0});
	guest_expect(&g, 9, (struct guest_access){false, true, at + 0x30, 4, 0});
	guest_expect(&g, 10, (struct guest_access){true, true, at + 0x30, 4, 0x44332212});
	guest_get(&g, 0, &s);
	assert_int_equal(s.gpr[GPR_RCX], 0x11);
	assert_int_equal(s.gpr[GPR_RDX], 0x2211);
	assert_int_equal(s.gpr[GPR_RSI], 0x44332211);
	assert_true(s.gpr[GPR_RDI] == PATTERN);
	assert_int_equal(guest_stat(&g, "mmio-reads"), 5);
	assert_int_equal(guest_stat(&g, "mmio-writes"), 6);
	guest_release(&g);
}

/* No IDT: the first fault becomes a double, then a triple one. */
GUEST_ASM(triple, 64, "lidt idt_none(%rip)\nud2\nidt_none: .quad 0, 0\n");

static void a_triple_fault_is_shutdown(void **state)
{
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	guest_load64(&g, triple, triple_end);
	guest_run(&g, 0, ENGINE_SHUTDOWN);
	guest_release(&g);
}

/* x87 loads from device memory are not in KVM's emulator. */
GUEST_ASM(odd, 64,
	  "movl $0xc0000000, %ebx\n"
	  "fninit\n"
	  "fldl (%rbx)\n");

static void what_kvm_cannot_emulate_is_an_error_with_the_instruction(void **state)
{
	static const uint8_t fldl[2] = {0xdd, 0x03};
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	guest_load64(&g, odd, odd_end);
	guest_run(&g, 0, ENGINE_ERROR);
	if (!strstr(g.detail.text, "emulator"))
		fail_msg("%s", g.detail.text);
	if (g.detail.insn_len) {
		assert_true(g.detail.insn_len >= 2);
		assert_memory_equal(g.detail.insn, fldl, 2);
		assert_non_null(strstr(g.detail.text, "dd 03"));
	}
	guest_release(&g);
}

GUEST_ASM(spin, 16, "out %al, $0x10\n1: jmp 1b\n");

static void a_kick_ends_a_busy_guest(void **state)
{
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	guest_load16(&g, spin, spin_end);
	for (unsigned i = 0; i < 20; i++) {
		guest_start(&g, 0);
		guest_wait(&g, 1);
		kvm_engine.kick(g.vcpus[0]);
		assert_int_equal(guest_join(&g, 0), ENGINE_KICKED);
	}
	guest_release(&g);
}

static void a_kick_before_run_ends_the_next_run_once(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_load16(&g, ports, ports_end);
	kvm_engine.kick(g.vcpus[0]);
	kvm_engine.kick(g.vcpus[0]);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(g.accesses, 0);
	guest_get(&g, 0, &s);
	assert_int_equal(s.rip, GUEST_CODE);
	guest_run(&g, 0, ENGINE_KICKED); /* by the guest's own write at its end */
	assert_int_equal(g.accesses, 7);
	guest_release(&g);
}

GUEST_ASM(halt, 16, "out %al, $0x10\nsti\n1: hlt\njmp 1b\n");

static void a_kick_ends_a_halted_guest(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_load16(&g, halt, halt_end);
	for (unsigned i = 0; i < 20; i++) {
		guest_start(&g, 0);
		guest_wait(&g, 1);
		kvm_engine.kick(g.vcpus[0]);
		assert_int_equal(guest_join(&g, 0), ENGINE_KICKED);
	}
	guest_get(&g, 0, &s);
	assert_true(s.activity == VCPU_HALTED || s.activity == VCPU_RUNNING);
	guest_release(&g);
}

static void a_kick_reaches_a_cpu_that_waits_for_init(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 2);
	guest_start(&g, 1);
	kvm_engine.kick(g.vcpus[1]);
	assert_int_equal(guest_join(&g, 1), ENGINE_KICKED);
	guest_get(&g, 1, &s);
	assert_int_equal(s.activity, VCPU_WAIT_INIT);
	guest_release(&g);
}

/* A guest that reads a port 200 times while another thread kicks: no access may be lost or made
 * twice, whenever the kick comes. */
GUEST_ASM(counting, 16,
	  "movw $200, %cx\n"
	  "xorw %bx, %bx\n"
	  "1: in $0x40, %al\n"
	  "incw %bx\n"
	  "decw %cx\n"
	  "jnz 1b\n"
	  "out %al, $0xf5\n"
	  "2: jmp 2b\n");

static void kicks_lose_no_access(void **state)
{
	struct guest g;
	struct vcpu_state s;
	unsigned done;

	(void)state;
	guest_init(&g, 1);
	guest_load16(&g, counting, counting_end);
	for (unsigned i = 0; g.accesses < 201; i++) {
		guest_start(&g, 0);
		guest_wait(&g, MIN(i, 201u));
		kvm_engine.kick(g.vcpus[0]);
		assert_int_equal(guest_join(&g, 0), ENGINE_KICKED);
		guest_get(&g, 0, &s);
		/* An IN that the device answered is complete: at most its INC has not run. */
		done = MIN(g.accesses, 200u);
		assert_in_range(s.gpr[GPR_RBX], done ? done - 1 : 0, done);
	}
	assert_int_equal(g.accesses, 201);
	guest_get(&g, 0, &s);
	assert_int_equal(s.gpr[GPR_RBX], 200);
	guest_release(&g);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ports_in_all_sizes),
		cmocka_unit_test(string_io_moves_every_element_in_order),
		cmocka_unit_test(device_memory_in_all_sizes),
		cmocka_unit_test(a_triple_fault_is_shutdown),
		cmocka_unit_test(what_kvm_cannot_emulate_is_an_error_with_the_instruction),
		cmocka_unit_test(a_kick_ends_a_busy_guest),
		cmocka_unit_test(a_kick_before_run_ends_the_next_run_once),
		cmocka_unit_test(a_kick_ends_a_halted_guest),
		cmocka_unit_test(a_kick_reaches_a_cpu_that_waits_for_init),
		cmocka_unit_test(kicks_lose_no_access),
	};

	guest_require_kvm(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
