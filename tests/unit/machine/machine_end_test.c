/* SPDX-License-Identifier: Apache-2.0 */
/* How machines end, each way that a guest, an engine or a user has. */
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
#include "devices/acpi/erst.h"
#include "devices/legacy/pvpanic.h"
#include "machine/layout.h"
#include "machine_rig.h"

static void power_off_by_the_pm1_control_register(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_string_equal(r.result.text, "");
	assert_string_equal(r.result.dump, "");
	rig_release(&r);
}

static void a_sleep_type_that_does_not_exist_does_nothing(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_out(&p, 2, LAYOUT_ACPI_PM + 4, 3 << 10 | 1 << 13);
	rig_out(&p, 1, LAYOUT_DEBUG_EXIT, 7);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_DEBUG_EXIT);
	rig_release(&r);
}

static void a_reset_ends_a_machine_that_is_not_to_reboot(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.reboot = false;
	rig_start(&r);
	rig_ends(&r, MACHINE_REBOOT);
	rig_release(&r);
}

static void a_triple_fault_is_a_crash_with_registers(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	fake_emit(&p, FAKE_MOVI, GPR_RDI, 0, 0, 0x5eed);
	rig_triple_fault(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_CRASHED);
	assert_string_equal(r.result.text,
			    "vCPU 0: triple fault: invalid opcode 00 without a handler");
	assert_non_null(strstr(r.result.dump, "5eed"));
	assert_non_null(strstr(r.result.dump, "instruction: 00 00 00 00 00 00 00 00\n"));
	rig_release(&r);
}

static void a_panic_reported_by_pvpanic_is_a_crash(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	fake_emit(&p, FAKE_MOVI, GPR_RDI, 0, 0, 0x5eed);
	rig_out(&p, 1, LAYOUT_PVPANIC, PVPANIC_CRASH_LOADED); /* to be told, no more */
	rig_out(&p, 1, LAYOUT_PVPANIC, PVPANIC_PANICKED);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_CRASHED);
	assert_string_equal(r.result.text, "the guest reported a panic");
	assert_non_null(strstr(r.result.dump, "5eed"));
	rig_release(&r);
}

static void perform(struct buf *p, enum erst_action action, uint32_t value)
{
	struct erst_instruction table[ERST_INSTRUCTIONS_MAX];
	unsigned count = erst_instructions(LAYOUT_ERST, table);

	for (unsigned i = 0; i < count; i++) {
		const struct erst_instruction *in = &table[i];

		if (in->action != action)
			continue;
		if (in->instruction == ERST_WRITE_REGISTER_VALUE)
			rig_store(p, in->reg_width / 8u, (uint32_t)in->reg, (uint32_t)in->value);
		else if (in->instruction == ERST_WRITE_REGISTER)
			rig_store(p, in->reg_width / 8u, (uint32_t)in->reg, value);
	}
}

/* A record as Linux's pstore writes it, its words uncompressed. */
static void write_record(struct buf *p, const char *words)
{
	static const uint8_t creator[16] = {0xe3, 0x74, 0xa5, 0x75, 0x52, 0x50, 0x29, 0x4b,
					    0x8a, 0x8e, 0xbe, 0x2c, 0x64, 0x90, 0xb8, 0x9d};
	static const uint8_t dmesg[16] = {0x4e, 0xe0, 0x97, 0xc1, 0x45, 0xd5, 0x70, 0x4a,
					  0x9c, 0x17, 0xa5, 0x54, 0x94, 0x19, 0xeb, 0x12};
	uint8_t record[512] = "CPER";
	size_t len = 200 + strlen(words);

	store_le(record + 20, 4, len);
	memcpy(record + 64, creator, 16);
	store_le(record + 96, 8, 1);
	store_le(record + 128, 4, 200);
	store_le(record + 132, 4, strlen(words));
	memcpy(record + 144, dmesg, 16);
	memcpy(record + 200, words, strlen(words));
	perform(p, ERST_BEGIN_WRITE, 0);
	for (uint32_t at = 0; at < len; at += 4)
		if (load_le(record + at, 4))
			rig_store(p, 4, (uint32_t)LAYOUT_ERST + ERST_BUFFER + at,
				  (uint32_t)load_le(record + at, 4));
	perform(p, ERST_SET_RECORD_OFFSET, 0);
	perform(p, ERST_EXECUTE, 0);
	perform(p, ERST_END, 0);
}

static void a_panic_in_an_error_record_is_a_crash_with_its_reason(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	write_record(&p, "Panic#1 Part1\n<0>[ 1.0] Kernel panic - not syncing: no \x1binit\n");
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_CRASHED);
	assert_string_equal(r.result.text, "the guest's kernel panicked: no ");
	assert_non_null(strstr(r.result.dump, "RIP"));
	rig_release(&r);
}

static void an_oops_in_an_error_record_is_no_end(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	write_record(&p, "Oops#1 Part1\n<1>[ 1.0] BUG: kernel NULL pointer dereference\n");
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	assert_string_equal(r.result.text, "");
	rig_release(&r);
}

static void a_debug_exit_has_its_code(void **state)
{
	static const uint32_t codes[] = {0, 1, 0x42, 255};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(codes); i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		rig_out(&p, 1, LAYOUT_DEBUG_EXIT, codes[i]);
		rig_spin(&p);
		rig_init(&r, &p);
		rig_start(&r);
		rig_ends(&r, MACHINE_DEBUG_EXIT);
		assert_int_equal(r.result.code, codes[i]);
		rig_release(&r);
	}
}

static void the_debug_exit_port_is_there_only_if_asked_for(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_out(&p, 1, LAYOUT_DEBUG_EXIT, 1);
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.debug_exit = false;
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
}

static void paravirtual_exits_are_what_their_ports_are(void **state)
{
	static const struct {
		enum engine_exit exit;
		enum machine_end end;
		const char *text;
	} cases[] = {
		{ENGINE_POWEROFF, MACHINE_POWEROFF, ""},
		{ENGINE_RESET, MACHINE_REBOOT, ""},
		{ENGINE_SHUTDOWN, MACHINE_CRASHED, "vCPU 0: triple fault"},
		{ENGINE_CRASHED, MACHINE_CRASHED, "vCPU 0: guest crash reported"},
		{ENGINE_ERROR, MACHINE_FAILED, "vCPU 0: the engine cannot go on"},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		fake_emit(&p, FAKE_EXIT, 0, 0, 0, cases[i].exit);
		rig_spin(&p);
		rig_init(&r, &p);
		r.config.reboot = false;
		rig_start(&r);
		rig_ends(&r, cases[i].end);
		assert_string_equal(r.result.text, cases[i].text);
		rig_release(&r);
	}
}

/* Where the guest ended the machine, its next instruction is not executed: what follows a power-off
 * would otherwise now and then count for more than the power-off. */
static void nothing_is_executed_after_the_end(void **state)
{
	static const struct {
		unsigned size;
		uint16_t port;
		uint16_t value;
		enum machine_end end;
	} cases[] = {
		{2, LAYOUT_ACPI_PM + 4, 7 << 10 | 1 << 13, MACHINE_POWEROFF},
		{1, LAYOUT_DEBUG_EXIT, 3, MACHINE_DEBUG_EXIT},
		{1, LAYOUT_RESET, 6, MACHINE_REBOOT},
		{1, LAYOUT_I8042 + 4, 0xfe, MACHINE_REBOOT},
	};

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		rig_out(&p, cases[i % 4].size, cases[i % 4].port, cases[i % 4].value);
		rig_out(&p, 1, LAYOUT_DEBUG_EXIT, 9);
		rig_triple_fault(&p);
		rig_init(&r, &p);
		r.config.reboot = false;
		rig_start(&r);
		rig_ends(&r, cases[i % 4].end);
		if (cases[i % 4].end == MACHINE_DEBUG_EXIT)
			assert_int_equal(r.result.code, 3);
		rig_release(&r);
	}
}

/* An exit that the engine reports is such an end as well. */
static void nothing_is_executed_after_a_paravirtual_end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
		rig_triple_fault(&p);
		rig_init(&r, &p);
		rig_start(&r);
		rig_ends(&r, MACHINE_POWEROFF);
		rig_release(&r);
	}
}

static void the_end_is_told_once_and_stays(void **state)
{
	struct machine_result again;
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_triple_fault(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_CRASHED);
	machine_stop(r.machine);
	machine_power_button(r.machine);
	machine_ctrl_alt_del(r.machine);
	assert_true(rig_readable(machine_ended_fd(r.machine), 0));
	machine_result(r.machine, &again);
	assert_int_equal(again.end, MACHINE_CRASHED);
	assert_ptr_equal(again.text, r.result.text);
	assert_ptr_equal(again.dump, r.result.dump);
	rig_release(&r);
}

static void a_running_machine_has_no_result(void **state)
{
	struct machine_result result;
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	machine_result(r.machine, &result);
	assert_int_equal(result.end, MACHINE_RUNNING);
	assert_string_equal(result.text, "");
	assert_false(rig_readable(machine_ended_fd(r.machine), 0));
	rig_release(&r);
}

/* What the guest printed last is there at the end, and input is taken. */
static void the_console_is_written_out_before_the_end(void **state)
{
	struct buf p = BUF_INIT;
	int out[2];
	char text[8];
	struct rig r;

	(void)state;
	assert_int_equal(pipe(out), 0);
	rig_out(&p, 1, LAYOUT_COM1, 'b');
	rig_out(&p, 1, LAYOUT_COM1, 'y');
	rig_out(&p, 1, LAYOUT_COM1, 'e');
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	r.config.console_out = out[1];
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
	close(out[1]);
	assert_int_equal(read(out[0], text, sizeof(text)), 3);
	assert_memory_equal(text, "bye", 3);
	close(out[0]);
}

static atomic_bool posted;
static struct bus *_Atomic posted_bus;

static int post(struct engine_vm *vm, const struct bus *bus, uint64_t addr, unsigned size, bool on,
		struct err *e)
{
	(void)vm;
	(void)addr;
	(void)size;
	(void)e;
	posted_bus = (struct bus *)(uintptr_t)bus;
	if (on)
		atomic_store(&posted, true); /* as if the guest wrote at once */
	return 0;
}

static bool post_drain(struct engine_vm *vm)
{
	(void)vm;
	if (!atomic_exchange(&posted, false))
		return false;
	bus_write(posted_bus, LAYOUT_COM1, 1, 'z');
	return true;
}

/* The engine may hold the last bytes: a crash is no access that would make it hand them over. */
static void posted_writes_are_handed_over_at_the_end(void **state)
{
	(void)state;
	for (unsigned freed = 0; freed < 2; freed++) {
		struct buf p = BUF_INIT;
		char text[8];
		struct rig r;
		int out[2];

		assert_int_equal(pipe(out), 0);
		fake_emit(&p, FAKE_IN, GPR_RDI, 0, 1, LAYOUT_COM1 + 5);
		if (!freed)
			rig_triple_fault(&p);
		rig_spin(&p);
		rig_init(&r, &p);
		r.engine.post = post;
		r.engine.post_drain = post_drain;
		r.config.console_out = out[1];
		rig_start(&r);
		if (!freed)
			rig_ends(&r, MACHINE_CRASHED);
		else
			while (!posted_bus)
				usleep(100);
		rig_release(&r);
		close(out[1]);
		assert_int_equal(read(out[0], text, sizeof(text)), 1);
		assert_int_equal(text[0], 'z');
		close(out[0]);
		posted_bus = NULL;
	}
}

static void counters_have_names_and_count(void **state)
{
	struct engine_stat stats[64] = {{NULL, 0}};
	struct buf p = BUF_INIT;
	uint64_t unclaimed = 0;
	struct rig r;
	size_t n;

	(void)state;
	rig_out(&p, 1, 0x1234, 0);
	rig_poweroff(&p);
	rig_spin(&p);
	rig_init(&r, &p);
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	n = machine_stats(r.machine, stats, ARRAY_LEN(stats));
	assert_in_range(n, 5, ARRAY_LEN(stats));
	for (size_t i = 0; i < n; i++)
		if (!strcmp(stats[i].name, "pio unclaimed writes"))
			unclaimed = stats[i].count;
	assert_int_equal(unclaimed, 1);
	memset(stats, 0, sizeof(stats));
	assert_int_equal(machine_stats(r.machine, stats, 2), n);
	assert_non_null(stats[1].name);
	assert_null(stats[2].name);
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(power_off_by_the_pm1_control_register),
		cmocka_unit_test(a_sleep_type_that_does_not_exist_does_nothing),
		cmocka_unit_test(a_reset_ends_a_machine_that_is_not_to_reboot),
		cmocka_unit_test(a_triple_fault_is_a_crash_with_registers),
		cmocka_unit_test(a_panic_reported_by_pvpanic_is_a_crash),
		cmocka_unit_test(a_panic_in_an_error_record_is_a_crash_with_its_reason),
		cmocka_unit_test(an_oops_in_an_error_record_is_no_end),
		cmocka_unit_test(a_debug_exit_has_its_code),
		cmocka_unit_test(the_debug_exit_port_is_there_only_if_asked_for),
		cmocka_unit_test(paravirtual_exits_are_what_their_ports_are),
		cmocka_unit_test(nothing_is_executed_after_the_end),
		cmocka_unit_test(nothing_is_executed_after_a_paravirtual_end),
		cmocka_unit_test(the_end_is_told_once_and_stays),
		cmocka_unit_test(a_running_machine_has_no_result),
		cmocka_unit_test(the_console_is_written_out_before_the_end),
		cmocka_unit_test(posted_writes_are_handed_over_at_the_end),
		cmocka_unit_test(counters_have_names_and_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
