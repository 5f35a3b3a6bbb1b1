/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's reset, in process: everything as at power-on, as often as the guest likes. */
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "machine/layout.h"
#include "machine_rig.h"

#define TURN        0x300000 /* how often the machine was started before, left here by the test */
#define DIRTY       0x310000
#define COUNTER     0x320000
#define AP_CODE     0x10000
#define MANY        64
#define RESET_INSNS (RIG_OUT_INSNS + 1)

/* What a vCPU and RAM are at each start, seen where the machine sets the vCPU's state. */
static struct {
	const struct engine_env *env;
	struct engine_vcpu *bsp;
	struct vcpu_state first;
	_Atomic unsigned starts;
	bool registers_differ;
	bool ram_differs;
} seen;

static int vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	seen.env = env;
	return fake_engine.vm_create(vm, env, e);
}

static int vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		       struct engine_vcpu **vcpu, struct err *e)
{
	int rc = fake_engine.vcpu_create(vm, config, vcpu, e);

	if (!rc && !config->id)
		seen.bsp = *vcpu;
	return rc;
}

static bool segments_differ(const struct segment *a, const struct segment *b)
{
	return a->selector != b->selector || a->attr != b->attr || a->limit != b->limit ||
	       a->base != b->base;
}

/* By members: what lies between them means nothing, and compilers differ about it. */
static bool states_differ(const struct vcpu_state *a, const struct vcpu_state *b)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		if (segments_differ(&a->seg[i], &b->seg[i]))
			return true;
	for (unsigned i = 0; i < a->msr_count; i++)
		if (a->msrs[i].index != b->msrs[i].index || a->msrs[i].value != b->msrs[i].value)
			return true;
	return memcmp(a->gpr, b->gpr, sizeof(a->gpr)) != 0 || a->rip != b->rip ||
	       a->rflags != b->rflags || segments_differ(&a->ldtr, &b->ldtr) ||
	       segments_differ(&a->tr, &b->tr) || a->gdt.base != b->gdt.base ||
	       a->gdt.limit != b->gdt.limit || a->idt.base != b->idt.base ||
	       a->idt.limit != b->idt.limit || a->cr0 != b->cr0 || a->cr2 != b->cr2 ||
	       a->cr3 != b->cr3 || a->cr4 != b->cr4 || a->cr8 != b->cr8 || a->efer != b->efer ||
	       a->xcr0 != b->xcr0 || a->apic_base != b->apic_base ||
	       memcmp(a->dr, b->dr, sizeof(a->dr)) != 0 || a->dr6 != b->dr6 || a->dr7 != b->dr7 ||
	       a->msr_count != b->msr_count || a->activity != b->activity ||
	       memcmp(a->xsave, b->xsave, sizeof(a->xsave)) != 0 ||
	       memcmp(a->lapic, b->lapic, sizeof(a->lapic)) != 0;
}

static int set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e)
{
	uint64_t turn = atomic_load(&seen.starts), ram;

	if (vcpu != seen.bsp)
		return fake_engine.set_state(vcpu, state, e);
	if (!turn)
		seen.first = *state;
	seen.registers_differ |= states_differ(&seen.first, state);
	mem_read(seen.env->mem, DIRTY, &ram, 8);
	seen.ram_differs |= ram != 0;
	mem_write(seen.env->mem, TURN, &turn, 8);
	atomic_store(&seen.starts, turn + 1);
	return fake_engine.set_state(vcpu, state, e);
}

static void watch(struct rig *r)
{
	memset(&seen, 0, sizeof(seen));
	r->engine.vm_create = vm_create;
	r->engine.vcpu_create = vcpu_create;
	r->engine.set_state = set_state;
}

static void a_reset_is_a_power_on(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} ways[] = {{LAYOUT_RESET, 6}, {LAYOUT_I8042 + 4, 0xfe}, {LAYOUT_RESET, 0xe}};
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	/* Everything that a reset has to undo: RAM, registers, a device. */
	rig_store(&p, 8, DIRTY, 0xdead);
	fake_emit(&p, FAKE_MOVI, GPR_RDI, 0, 0, 0x5eed);
	fake_emit(&p, FAKE_IN, GPR_RSI, 0, 1, LAYOUT_COM1 + 7);
	fake_emit(&p, FAKE_JNZ, GPR_RSI, 0, 0, 1);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, 1);
	rig_triple_fault(&p);
	rig_out(&p, 1, LAYOUT_COM1 + 7, 0x55);
	for (int i = 0; i < 3; i++) {
		rig_unless(&p, TURN, i, RESET_INSNS);
		rig_out(&p, 1, ways[i].port, ways[i].value);
		rig_spin(&p);
	}
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	watch(&r);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_int_equal(atomic_load(&seen.starts), 4);
	assert_false(seen.registers_differ);
	assert_false(seen.ram_differs);
	rig_release(&r);
}

static void a_paravirtual_reset_is_one_too(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_unless(&p, TURN, 0, 1);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	watch(&r);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_int_equal(atomic_load(&seen.starts), 2);
	rig_release(&r);
}

/* The PIT is made to raise its interrupt soon and the machine is reset before: after the reset no
 * interrupt is there, at neither controller. */
static void an_interrupt_under_way_does_not_survive_a_reset(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_unless(&p, TURN, 0, 7 * RIG_OUT_INSNS + 1);
	rig_out(&p, 1, 0x43, 0x34); /* channel 0, mode 2 */
	rig_out(&p, 1, 0x40, 0x20);
	rig_out(&p, 1, 0x40, 0x00);
	rig_out(&p, 1, LAYOUT_COM1 + 4, 8); /* OUT2 */
	rig_out(&p, 1, LAYOUT_COM1 + 1, 2); /* and the transmitter's interrupt, a level */
	rig_out(&p, 1, LAYOUT_I8042 + 4, 0x20);
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	rig_out(&p, 1, LAYOUT_PIC_MASTER, 0x0a);
	fake_emit(&p, FAKE_IN, GPR_RDI, 0, 1, LAYOUT_PIC_MASTER);
	fake_emit(&p, FAKE_OUT, GPR_RDI, 0, 1, LAYOUT_DEBUG_EXIT);
	rig_spin(&p);
	rig_init(&r, &p);
	watch(&r);
	rig_start(&r);
	rig_ends(&r, MACHINE_DEBUG_EXIT);
	assert_int_equal(r.result.code, 0);
	assert_int_equal(atomic_load(&seen.starts), 2);
	rig_release(&r);
}

/* Starts every application processor, which count and halt, and waits for them all. */
static void start_processors(struct buf *p)
{
	struct buf ap = BUF_INIT;

	fake_emit(&ap, FAKE_MOVI, GPR_RAX, 0, 0, 1);
	fake_emit(&ap, FAKE_MOVI, GPR_RCX, 0, 0, COUNTER);
	fake_emit(&ap, FAKE_XADD, GPR_RAX, GPR_RCX, 0, 0);
	fake_emit(&ap, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&ap, FAKE_JMP, 0, 0, 0, -2);
	for (uint32_t at = 0; at < ap.len; at += 4)
		rig_store(p, 4, AP_CODE + at, (uint32_t)load_le(ap.data + at, 4));
	buf_release(&ap);
	/* id 63 down to 1 */
	fake_emit(p, FAKE_MOVI, GPR_RDI, 0, 0, MANY - 1);
	fake_emit(p, FAKE_MOVI, GPR_RSI, 0, 0, 5 << MSI_DATA_DELIVERY_SHIFT);
	fake_emit(p, FAKE_IPI, GPR_RDI, GPR_RSI, 0, 0);
	fake_emit(p, FAKE_MOVI, GPR_RSI, 0, 0, 6 << MSI_DATA_DELIVERY_SHIFT | AP_CODE >> 12);
	fake_emit(p, FAKE_IPI, GPR_RDI, GPR_RSI, 0, 0);
	fake_emit(p, FAKE_MOVI, GPR_RSI, 0, 0, 0);
	fake_emit(p, FAKE_ADD, GPR_RDI, GPR_RSI, 0, -1);
	fake_emit(p, FAKE_JNZ, GPR_RDI, 0, 0, -7);
	rig_unless(p, COUNTER, MANY - 1, 1);
	fake_emit(p, FAKE_JMP, 0, 0, 0, 1);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -7);
}

static void many_processors_are_parked_and_started_again(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	start_processors(&p);
	rig_unless(&p, TURN, 3, RIG_OUT_INSNS + 1);
	rig_poweroff(&p);
	rig_spin(&p);
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.cpus = MANY;
	watch(&r);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_int_equal(atomic_load(&seen.starts), 4);
	rig_release(&r);
}

static int refuse_the_second(struct engine_vcpu *vcpu, const struct vcpu_state *state,
			     struct err *e)
{
	if (atomic_fetch_add(&seen.starts, 1))
		return err_set(e, EIO, "the registers cannot be set");
	return fake_engine.set_state(vcpu, state, e);
}

static void a_reset_that_the_host_refuses_is_a_failure(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	rig_init(&r, &p);
	watch(&r);
	r.engine.set_state = refuse_the_second;
	rig_start(&r);
	rig_ends(&r, MACHINE_FAILED);
	assert_string_equal(r.result.text, "the registers cannot be set");
	rig_release(&r);
}

/* Input that came before a reset and was not taken does not stop what comes after it. */
static void the_console_takes_input_after_a_reset(void **state)
{
	struct buf p = BUF_INIT;
	int in[2];
	struct rig r;

	(void)state;
	assert_int_equal(pipe(in), 0);
	assert_int_equal(write(in[1], "0123456789", 10), 10);
	rig_unless(&p, TURN, 0, 2 * RIG_OUT_INSNS + 3 + 1);
	rig_out(&p, 1, LAYOUT_COM1 + 4, 3); /* RTS: some input comes in */
	fake_emit(&p, FAKE_IN, GPR_RAX, 0, 1, LAYOUT_COM1 + 5);
	fake_emit(&p, FAKE_ADD, GPR_RAX, GPR_RBP, 0, -0x60); /* until there is some */
	fake_emit(&p, FAKE_JNZ, GPR_RAX, 0, 0, 1);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	rig_out(&p, 1, LAYOUT_RESET, 6);
	/* second turn: the rest of it, up to the 9 */
	rig_out(&p, 1, LAYOUT_COM1 + 4, 3);
	fake_emit(&p, FAKE_MOVI, GPR_RDI, 0, 0, 0);
	fake_emit(&p, FAKE_IN, GPR_RAX, 0, 1, LAYOUT_COM1);
	fake_emit(&p, FAKE_ADD, GPR_RAX, GPR_RDI, 0, -'9');
	fake_emit(&p, FAKE_JNZ, GPR_RAX, 0, 0, -3);
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.console_in = in[0];
	watch(&r);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
	close(in[0]);
	close(in[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reset_is_a_power_on),
		cmocka_unit_test(a_paravirtual_reset_is_one_too),
		cmocka_unit_test(an_interrupt_under_way_does_not_survive_a_reset),
		cmocka_unit_test(many_processors_are_parked_and_started_again),
		cmocka_unit_test(a_reset_that_the_host_refuses_is_a_failure),
		cmocka_unit_test(the_console_takes_input_after_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
