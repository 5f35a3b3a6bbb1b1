/* SPDX-License-Identifier: Apache-2.0 */
/* RFLAGS.RF as interrupts push it, and single steps by branches, of the software engine in 64-bit
 * mode. Expectations from Intel SDM vol. 3B 18.3.1.1 (RF), 18.4.3 (branches). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "engine/bt/bt.h"
#include "engine_box.h"

#define INTR_VECTOR 0x21
#define RAISE_INTR  0x30 /* ports */
#define RAISE_NMI   0x31
#define DATA        0x40000

static struct cpuid_table cpuid;

static void raise_event(struct box *b, uint64_t port, uint64_t value)
{
	(void)value;
	if (port == RAISE_INTR)
		bt_engine.intr(b->vcpus[0], true);
	else if (port == RAISE_NMI)
		bt_engine.nmi(b->vcpus[0]);
}

static void begin(struct box *b, struct vcpu_state *s, const char *code, const char *end)
{
	box_init(b, &bt_engine, &cpuid, 1);
	b->wired = false;
	b->ack_vector = INTR_VECTOR;
	b->wrote = raise_event;
	box_load(b, code, end);
	box_long_mode(b, s);
	s->rflags &= ~RFLAGS_IF;
}

/* --- RF -------------------------------------------------------------------------------------- */

/* The interrupt waits until STI's shadow, which the first repetitions are in, is over. The handler
 * tells RFLAGS, the part of RIP that counts, and RCX. */
GUEST_ASM(c_repeat, 64,
	  "out %al, $0x30\n"
	  "sti\n"
	  ".globl c_repeat_at\n"
	  "c_repeat_at: rep stosb\n"
	  "nop\n"
	  "nop\n"
	  ".globl c_repeat_21\n"
	  "c_repeat_21: mov 16(%rsp), %eax\nout %eax, $0xf8\n"
	  "mov (%rsp), %eax\nout %eax, $0xf8\n"
	  "mov %ecx, %eax\nout %eax, $0xf8\n"
	  "out %al, $0xf0\n");
extern const char c_repeat_at[], c_repeat_21[];

static void interrupts_between_repetitions_push_rf(void **state)
{
	static const struct {
		uint64_t count;
		bool between;
	} runs[] = {{1, false}, {0x8000, true}, {0, false}};
	const uint32_t at = GUEST_CODE + (uint32_t)(c_repeat_at - c_repeat);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(runs); i++) {
		struct vcpu_state s;
		struct box b;

		begin(&b, &s, c_repeat, c_repeat_end);
		box_gate64(&b, INTR_VECTOR, c_repeat, c_repeat_21);
		s.gpr[GPR_RCX] = runs[i].count;
		s.gpr[GPR_RDI] = DATA;
		box_set(&b, 0, &s);
		box_run(&b, 0, ENGINE_KICKED);
		assert_int_equal(b.tells, 3);
		assert_int_equal(b.tell[0] & RFLAGS_RF, runs[i].between ? RFLAGS_RF : 0);
		assert_int_equal(b.tell[1], runs[i].between ? at : at + 2);
		if (runs[i].between)
			assert_in_range(b.tell[2], 1, runs[i].count - 1);
		else
			assert_int_equal(b.tell[2], 0);
		box_release(&b);
	}
}

/* Before the first repetition there is none between; an NMI is an interrupt, too. */
GUEST_ASM(c_before, 64,
	  "out %al, $0x31\n"
	  "rep stosb\n"
	  ".globl c_before_2\n"
	  "c_before_2: mov 16(%rsp), %eax\nout %eax, $0xf8\n"
	  "out %al, $0xf0\n");
extern const char c_before_2[];

static void before_the_first_it_is_clear(void **state)
{
	struct vcpu_state s;
	struct box b;

	(void)state;
	begin(&b, &s, c_before, c_before_end);
	box_gate64(&b, VECTOR_NMI, c_before, c_before_2);
	s.gpr[GPR_RCX] = 0x8000;
	s.gpr[GPR_RDI] = DATA;
	box_set(&b, 0, &s);
	box_run(&b, 0, ENGINE_KICKED);
	assert_int_equal(b.tell[0] & RFLAGS_RF, 0);
	box_release(&b);
}

/* A vCPU taken away between two repetitions has RF in its state: whoever goes on with it may
 * interrupt it at once. OUTS asks a device, which kicks. */
GUEST_ASM(c_kicked, 64, "rep outsb\nnop\n");

static void a_state_between_repetitions_has_rf(void **state)
{
	struct vcpu_state s;
	struct box b;

	(void)state;
	begin(&b, &s, c_kicked, c_kicked_end);
	s.gpr[GPR_RCX] = 4;
	s.gpr[GPR_RSI] = DATA;
	s.gpr[GPR_RDX] = BOX_STOP;
	box_set(&b, 0, &s);
	box_run(&b, 0, ENGINE_KICKED);
	box_get(&b, 0, &s);
	assert_int_equal(s.gpr[GPR_RCX], 3);
	assert_int_equal(s.rip, GUEST_CODE);
	assert_int_equal(s.rflags & RFLAGS_RF, RFLAGS_RF);
	box_run(&b, 0, ENGINE_KICKED);
	box_run(&b, 0, ENGINE_KICKED);
	box_run(&b, 0, ENGINE_KICKED);
	box_get(&b, 0, &s);
	assert_int_equal(s.gpr[GPR_RCX], 0);
	assert_int_equal(s.rip, GUEST_CODE + 2);
	assert_int_equal(s.rflags & RFLAGS_RF, 0);
	box_release(&b);
}

/* --- single steps by branches ---------------------------------------------------------------- */

GUEST_ASM(c_branch, 64,
	  "nop\n"
	  "cmp %eax, %eax\n"
	  "jnz 1f\n" /* not taken */
	  "nop\n"
	  "jz 1f\n"
	  "nop\n"
	  ".globl c_branch_target\n"
	  "1: c_branch_target: nop\n"
	  "nop\n"
	  ".globl c_branch_1\n"
	  "c_branch_1: mov (%rsp), %eax\nout %eax, $0xf8\n"
	  "mov $0x1d9, %ecx\nrdmsr\nout %eax, $0xf8\n"
	  "mov %dr6, %rax\nout %eax, $0xf8\n"
	  "out %al, $0xf0\n"
	  "iretq\n");
extern const char c_branch_target[], c_branch_1[];

static void set_debugctl(struct vcpu_state *s, uint64_t value)
{
	for (unsigned i = 0; i < s->msr_count; i++) {
		if (s->msrs[i].index == MSR_IA32_DEBUGCTL)
			s->msrs[i].value = value;
	}
}

/* The trap comes after the branch that is taken, and clears BTF: the next comes after one
 * instruction. */
static void btf_steps_by_taken_branches(void **state)
{
	const uint32_t target = GUEST_CODE + (uint32_t)(c_branch_target - c_branch);
	struct vcpu_state s;
	struct box b;

	(void)state;
	begin(&b, &s, c_branch, c_branch_end);
	box_gate64(&b, VECTOR_DB, c_branch, c_branch_1);
	box_set(&b, 0, &s);
	box_get(&b, 0, &s);
	s.rflags |= RFLAGS_TF;
	set_debugctl(&s, 2);
	box_set(&b, 0, &s);
	box_get(&b, 0, &s);
	box_run(&b, 0, ENGINE_KICKED);
	assert_int_equal(b.tells, 3);
	assert_int_equal(b.tell[0], target);
	assert_int_equal(b.tell[1], 0);
	assert_int_equal(b.tell[2] & DR6_BS, DR6_BS);
	b.tells = 0;
	box_run(&b, 0, ENGINE_KICKED);
	assert_int_equal(b.tell[0], target + 1);
	box_release(&b);
}

static int group_setup(void **state)
{
	const struct engine_ops *engines[] = {&bt_engine};

	(void)state;
	box_cpuid(&cpuid, engines, 1);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(interrupts_between_repetitions_push_rf),
		cmocka_unit_test(before_the_first_it_is_clear),
		cmocka_unit_test(a_state_between_repetitions_has_rf),
		cmocka_unit_test(btf_steps_by_taken_branches),
	};

	return cmocka_run_group_tests(tests, group_setup, NULL);
}
