/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border core/engine.h, driven from both sides: by a small machine that knows nothing but
 * engine_ops (engine_rig.h), and by an engine that knows nothing of KVM. What is asserted here is
 * what the contract promises of every engine: kicks, interrupts, several vCPUs.
 */
#include "engine_rig.h"

static void a_kick_is_not_lost(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	engine_rig_load(&r, &p, NULL);
	/* Before run: it returns without guest progress. Two kicks are one. */
	r.engine->kick(r.vcpu[0]);
	r.engine->kick(r.vcpu[0]);
	assert_int_equal(engine_rig_run(&r), ENGINE_KICKED);
	assert_int_equal(state_of(&r, 0).rip, PROGRAM);
	/* In the middle of an endless loop. */
	engine_rig_start(&r);
	await(&r, 0, 1000);
	r.engine->kick(r.vcpu[0]);
	engine_rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_KICKED);
	engine_rig_release(&r);
}

static void a_halted_vcpu_is_woken_by_a_kick_and_by_a_message(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	engine_rig_load(&r, &p, &h);
	engine_rig_start(&r);
	await(&r, 0, 1);
	r.engine->kick(r.vcpu[0]);
	engine_rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_KICKED);
	engine_rig_start(&r); /* it goes on with its halt, or comes to it */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_ASSERT | 0x41});
	engine_rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_RESET);
	assert_int_equal(counter(&r, 1), 1);
	assert_int_equal(atomic_load(&r.eois), 0); /* an edge has no EOI to report */
	engine_rig_release(&r);
}

static void only_level_triggered_vectors_report_their_eoi(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	engine_rig_load(&r, &p, &h);
	/* Sent while interrupts are off: they wait, the higher vector goes first, each once. */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x30});
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x30});
	r.engine->msi(r.vm,
		      &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_ASSERT | MSI_DATA_LEVEL | 0x51});
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x05});            /* no such vector */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE | 9u << 12, 0x60}); /* no such APIC */
	assert_int_equal(counter(&r, 1), 0);
	assert_int_equal(engine_rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(counter(&r, 1), 2);
	assert_int_equal(atomic_load(&r.eois), 1);
	assert_int_equal(atomic_load(&r.eoi_vector), 0x51);
	engine_rig_release(&r);
}

static void the_8259_is_asked_when_its_interrupt_is_taken(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 2);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	engine_rig_load(&r, &p, &h);
	r.intack_vector = 0x08;
	r.engine->extint(r.vm, true);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET); /* interrupts are off */
	assert_int_equal(atomic_load(&r.intacks), 0);
	r.engine->extint(r.vm, false);
	r.engine->extint(r.vm, true);
	assert_int_equal(engine_rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(atomic_load(&r.intacks), 1);
	assert_int_equal(counter(&r, 1), 1);
	engine_rig_release(&r);
}

static void an_nmi_comes_through_with_interrupts_off(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_MOVI, 9, 0, 0, COUNTER + 8);
	fake_emit(&p, FAKE_LOAD, 5, 9, 8, 0);
	fake_emit(&p, FAKE_JNZ, 5, 0, 0, 1);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	engine_rig_load(&r, &p, &h);
	engine_rig_start(&r);
	await(&r, 0, 1);
	r.engine->nmi(r.vcpu[0]);
	engine_rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_POWEROFF);
	assert_int_equal(counter(&r, 1), 1);
	engine_rig_release(&r);
}

/* The bootstrap processor starts the others by INIT and SIPI; all count; it waits for them. */
static void several_vcpus_run_on_their_threads(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, ap = BUF_INIT;

	(void)state;
	engine_rig_init(&r, CPUS);
	/* The application processors' code, at the page that their SIPI names. */
	fake_emit(&ap, FAKE_MOVI, 3, 0, 0, 5000);
	fake_emit(&ap, FAKE_MOVI, 4, 0, 0, 0);
	emit_count(&ap, 0);
	fake_emit(&ap, FAKE_ADD, 3, 4, 0, -1);
	fake_emit(&ap, FAKE_JNZ, 3, 0, 0, -5);
	emit_count(&ap, 1);
	fake_emit(&ap, FAKE_HLT, 0, 0, 0, 0);
	assert_true(mem_write(&r.mem, 0x6000, ap.data, ap.len));
	buf_release(&ap);
	fake_emit(&p, FAKE_MOVI, 2, 0, 0, 5 << 8);        /* INIT */
	fake_emit(&p, FAKE_MOVI, 3, 0, 0, 6 << 8 | 0x06); /* SIPI to 0x6000 */
	for (int id = 1; id < CPUS; id++) {
		fake_emit(&p, FAKE_MOVI, 1, 0, 0, id);
		fake_emit(&p, FAKE_IPI, 1, 2, 0, 0);
		fake_emit(&p, FAKE_IPI, 1, 3, 0, 0);
	}
	fake_emit(&p, FAKE_MOVI, 9, 0, 0, COUNTER + 8);
	fake_emit(&p, FAKE_MOVI, 4, 0, 0, 0);
	fake_emit(&p, FAKE_LOAD, 5, 9, 8, 0);
	fake_emit(&p, FAKE_ADD, 5, 4, 0, -(CPUS - 1));
	fake_emit(&p, FAKE_JNZ, 5, 0, 0, -3);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	engine_rig_load(&r, &p, NULL);
	engine_rig_start(&r);
	pthread_join(r.cpu[0].thread, NULL);
	assert_int_equal(r.cpu[0].exit, ENGINE_POWEROFF);
	for (unsigned i = 1; i < CPUS; i++)
		r.engine->kick(r.vcpu[i]);
	for (unsigned i = 1; i < CPUS; i++) {
		pthread_join(r.cpu[i].thread, NULL);
		assert_int_equal(r.cpu[i].exit, ENGINE_KICKED);
	}
	assert_int_equal(counter(&r, 0), 5000 * (CPUS - 1));
	for (unsigned i = 1; i < CPUS; i++)
		assert_int_equal(state_of(&r, i).seg[SEG_CS].selector, 0x0600);
	engine_rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kick_is_not_lost),
		cmocka_unit_test(a_halted_vcpu_is_woken_by_a_kick_and_by_a_message),
		cmocka_unit_test(only_level_triggered_vectors_report_their_eoi),
		cmocka_unit_test(the_8259_is_asked_when_its_interrupt_is_taken),
		cmocka_unit_test(an_nmi_comes_through_with_interrupts_off),
		cmocka_unit_test(several_vcpus_run_on_their_threads),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
