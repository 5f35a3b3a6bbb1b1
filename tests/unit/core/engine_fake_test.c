/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border core/engine.h, driven from both sides: by a small machine that knows nothing but
 * engine_ops (engine_rig.h), and by an engine that knows nothing of KVM. What is asserted here is
 * what the contract promises of every engine: entries, accesses, state, memory.
 */
#include "engine_rig.h"

#include <string.h>

static void the_mandatory_entries_are_there(void **state)
{
	const struct engine_ops *o = &fake_engine;
	struct engine_offer offer;

	(void)state;
	assert_non_null(o->name);
	assert_true(o->probe && o->vm_create && o->vm_destroy && o->cpuid_supported && o->map &&
		    o->unmap && o->dirty_start && o->dirty_stop && o->dirty_take &&
		    o->vcpu_create && o->vcpu_destroy && o->run && o->kick && o->get_state &&
		    o->set_state && o->msi && o->extint && o->nmi && o->stats);
	o->probe(&offer, true);
	assert_true(offer.usable && offer.efficient && offer.ratio > 0);
	assert_int_equal(offer.caps, ENGINE_HAS_LAPIC);
}

static void accesses_go_through_the_buses_while_run_runs(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT;
	struct engine_stat stats[16];
	size_t n;

	(void)state;
	engine_rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0x41);
	fake_emit(&p, FAKE_OUT, 1, 0, 1, 0x3f8);
	fake_emit(&p, FAKE_IN, 2, 0, 2, 0x3fa);
	fake_emit(&p, FAKE_MOVI, 3, 0, 0, (int32_t)0xd0000000);
	fake_emit(&p, FAKE_LOAD, 4, 3, 8, 0x10);
	fake_emit(&p, FAKE_STORE, 4, 3, 4, 0x20);
	fake_emit(&p, FAKE_LOAD, 5, 3, 4, 0x1000); /* nobody there */
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	engine_rig_load(&r, &p, NULL);
	assert_int_equal(engine_rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(r.writes, 2);
	assert_int_equal(r.written[0], 0x41);
	assert_int_equal(r.sizes[0], 1);
	assert_int_equal(r.written[1], 0x55667798);
	assert_int_equal(r.sizes[1], 4);
	assert_int_equal(state_of(&r, 0).gpr[2], 0x778a);
	assert_true(state_of(&r, 0).gpr[4] == 0x1122334455667798ULL);
	assert_int_equal(state_of(&r, 0).gpr[5], 0xffffffff);
	n = r.engine->stats(r.vm, stats, 16);
	assert_true(n >= 3 && n <= 16);
	assert_string_equal(stats[1].name, "pio");
	assert_int_equal(stats[1].count, 2);
	assert_int_equal(stats[2].count, 3);
	assert_int_equal(r.engine->stats(r.vm, stats, 0), n);
	engine_rig_release(&r);
}

static void state_is_given_back_as_it_was_set(void **state)
{
	static struct engine_rig r;
	static struct vcpu_state a, b;
	uint8_t *bytes = a.xsave;

	(void)state;
	engine_rig_init(&r, 2);
	vcpu_state_reset(&a, 1);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		a.gpr[i] = 0x0101010101010101ULL * (i + 1);
	for (unsigned i = 0; i < sizeof(a.xsave); i++)
		bytes[i] = (uint8_t)(i * 7);
	a.cr3 = 0x123000;
	a.activity = VCPU_HALTED;
	a.events.nmi_pending = true;
	a.lapic[0x200 + 16] = 0x80; /* vector 39 requested */
	vcpu_state_set_msr(&a, MSR_IA32_LSTAR, 0xffffffff82000080ULL);
	assert_int_equal(r.engine->set_state(r.vcpu[1], &a, NULL), 0);
	memset(&b, 0xee, sizeof(b));
	assert_int_equal(r.engine->get_state(r.vcpu[1], &b, NULL), 0);
	assert_memory_equal(a.gpr, b.gpr, sizeof(a.gpr));
	assert_memory_equal(a.xsave, b.xsave, sizeof(a.xsave));
	assert_memory_equal(a.lapic, b.lapic, sizeof(a.lapic));
	assert_memory_equal(a.seg, b.seg, sizeof(a.seg));
	assert_int_equal(b.cr3, 0x123000);
	assert_int_equal(b.activity, VCPU_HALTED);
	assert_true(b.events.nmi_pending);
	assert_int_equal(a.msr_count, b.msr_count);
	assert_memory_equal(a.msrs, b.msrs, a.msr_count * sizeof(a.msrs[0]));
	engine_rig_release(&r);
}

static void a_guest_without_handlers_ends_in_shutdown(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	fake_emit(&p, FAKE_UD, 0x12, 0, 0, 0);
	engine_rig_load(&r, &p, NULL);
	assert_int_equal(engine_rig_run(&r), ENGINE_SHUTDOWN);
	assert_true(r.cpu[0].detail.text[0]);
	assert_int_equal(r.cpu[0].detail.insn_len, FAKE_INSN_SIZE);
	assert_int_equal(r.cpu[0].detail.insn[1], 0x12);
	assert_int_equal(state_of(&r, 0).rip, PROGRAM); /* at the instruction, not after it */
	fake_emit(&p, FAKE_UD, 0, 0, 0, 0);
	fake_emit(&h, FAKE_EXIT, 0, 0, 0, ENGINE_CRASHED);
	engine_rig_load(&r, &p, &h);
	assert_int_equal(engine_rig_run(&r), ENGINE_CRASHED);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, 0x1000000); /* out of RAM */
	engine_rig_load(&r, &p, NULL);
	assert_int_equal(engine_rig_run(&r), ENGINE_SHUTDOWN);
	engine_rig_release(&r);
}

static void the_guest_s_writes_are_recorded_from_start_to_stop(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT;
	uint64_t bitmap[4] = {0};

	(void)state;
	engine_rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0x20000);
	fake_emit(&p, FAKE_STORE, 1, 1, 4, 0x0);
	fake_emit(&p, FAKE_STORE, 1, 1, 4, 0x2ffe); /* over a page's end */
	fake_emit(&p, FAKE_LOAD, 2, 1, 4, 0x5000);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -6);
	engine_rig_load(&r, &p, NULL);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), -22);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET);
	assert_int_equal(r.engine->dirty_start(r.vm, NULL), 0);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET);
	bitmap[0] = 1; /* ORed into what is there */
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_true(bitmap[0] == (BIT(0x20) | BIT(0x22) | BIT(0x23) | 1));
	memset(bitmap, 0, sizeof(bitmap));
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[1], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(r.engine->dirty_stop(r.vm, NULL), 0);
	engine_rig_release(&r);
}

static void what_is_not_mapped_is_not_ram(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT;

	(void)state;
	engine_rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, (int32_t)0xfffffff8);
	fake_emit(&p, FAKE_MOVI, 2, 0, 0, 77);
	fake_emit(&p, FAKE_STORE, 2, 1, 8, 8); /* 4 GiB */
	fake_emit(&p, FAKE_LOAD, 3, 1, 8, 8);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	engine_rig_load(&r, &p, NULL);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET);
	assert_int_equal(state_of(&r, 0).gpr[3], 77);
	assert_int_equal(r.engine->unmap(r.vm, &r.mem.regions[1], NULL), 0);
	assert_true(r.engine->unmap(r.vm, &r.mem.regions[1], NULL) < 0);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET);
	assert_true(state_of(&r, 0).gpr[3] == UINT64_MAX);
	assert_int_equal(atomic_load(&r.mmio.unclaimed_writes), 1);
	assert_int_equal(r.engine->map(r.vm, &r.mem.regions[1], NULL), 0);
	assert_true(r.engine->map(r.vm, &r.mem.regions[1], NULL) < 0);
	assert_int_equal(engine_rig_run(&r), ENGINE_RESET);
	assert_int_equal(state_of(&r, 0).gpr[3], 77);
	engine_rig_release(&r);
}

/* What one VM was doing, another goes on with: state and RAM are all there is. */
static void a_guest_goes_on_in_another_vm(void **state)
{
	static struct engine_rig a, b;
	static struct vcpu_state s;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	engine_rig_init(&a, 1);
	engine_rig_init(&b, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 42);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_ADD, 1, 1, 0, 0);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	engine_rig_load(&a, &p, &h);
	assert_int_equal(engine_rig_run(&a), ENGINE_RESET);
	a.engine->msi(a.vm, &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_LEVEL | 0x71});
	clock_advance(&a.clock, 12345);
	assert_int_equal(a.engine->get_state(a.vcpu[0], &s, NULL), 0);
	assert_int_equal(s.tsc, 12345);
	memcpy(b.mem.regions[0].host, a.mem.regions[0].host, MIB(1));
	engine_rig_release(&a);
	assert_int_equal(b.engine->set_state(b.vcpu[0], &s, NULL), 0);
	assert_int_equal(engine_rig_run(&b), ENGINE_POWEROFF);
	assert_int_equal(state_of(&b, 0).gpr[1], 84);
	assert_int_equal(state_of(&b, 0).tsc, 12345);
	assert_int_equal(counter(&b, 1), 1); /* the interrupt came along */
	assert_int_equal(atomic_load(&b.eoi_vector), 0x71);
	engine_rig_release(&b);
}

static void the_guest_sees_the_cpuid_that_was_composed(void **state)
{
	static struct engine_rig r;
	struct buf p = BUF_INIT;
	struct vcpu_state s;

	(void)state;
	engine_rig_init(&r, 3);
	fake_emit(&p, FAKE_MOVI, GPR_RAX, 0, 0, 0xb);
	fake_emit(&p, FAKE_MOVI, GPR_RCX, 0, 0, 1);
	fake_emit(&p, FAKE_CPUID, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	engine_rig_load(&r, &p, NULL);
	s = state_of(&r, 0);
	s.activity = VCPU_RUNNING;
	assert_int_equal(r.engine->set_state(r.vcpu[2], &s, NULL), 0);
	assert_int_equal(r.engine->run(r.vcpu[2], &r.cpu[2].detail), ENGINE_POWEROFF);
	s = state_of(&r, 2);
	assert_int_equal(s.gpr[GPR_RBX], 3);
	assert_int_equal(s.gpr[GPR_RDX], 2);
	engine_rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mandatory_entries_are_there),
		cmocka_unit_test(accesses_go_through_the_buses_while_run_runs),
		cmocka_unit_test(state_is_given_back_as_it_was_set),
		cmocka_unit_test(a_guest_without_handlers_ends_in_shutdown),
		cmocka_unit_test(the_guest_s_writes_are_recorded_from_start_to_stop),
		cmocka_unit_test(what_is_not_mapped_is_not_ram),
		cmocka_unit_test(a_guest_goes_on_in_another_vm),
		cmocka_unit_test(the_guest_sees_the_cpuid_that_was_composed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
