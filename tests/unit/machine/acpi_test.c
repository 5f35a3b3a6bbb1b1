/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables as a guest finds them in its RAM, read by this test and by
 * ACPICA: iasl disassembles each table and compiles the DSDT again, acpiexec
 * loads the DSDT and evaluates it. Both come with Debian's acpica-tools, which
 * the tests need.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/buf.h"
#include "machine/acpi/tables.h"
#include "machine/layout.h"

#define HEADER 36

struct fixture {
	struct mem mem;
	char dir[64];
	uint64_t rsdp;
	struct erst_instruction erst[ERST_INSTRUCTIONS_MAX];
};

static const struct acpi_mmio_device virtio[] = {
	{.name = "VM00", .hid = "LNRO0005", .uid = 0, .base = 0xc0100000, .size = 0x1000, .gsi = 5},
	{.name = "VM01",
	 .hid = "LNRO0005",
	 .uid = 1,
	 .base = 0xc0101000,
	 .size = 0x1000,
	 .gsi = 6,
	 .edge = true},
};

static const struct acpi_config plain = {
	.cpus = 1,
	.pci64_base = 0x400000000ULL,
	.pci64_size = 0x4000000000ULL,
	.keyboard = true,
	.pvpanic = true,
};

static struct acpi_config everything(struct fixture *f, unsigned cpus)
{
	struct acpi_config config = plain;

	config.cpus = cpus;
	config.pci_slots = 32;
	config.eject_slots = 1;
	config.mouse = true;
	config.devices = virtio;
	config.device_count = ARRAY_LEN(virtio);
	config.erst = f->erst;
	config.erst_count = erst_instructions(LAYOUT_ERST, f->erst);
	return config;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	strcpy(f->dir, "/tmp/acpi_test.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(mem_init(&f->mem, 0, NULL), 0);
	assert_int_equal(mem_add_ram(&f->mem, 0, MIB(2), NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", f->dir);
	assert_int_equal(system(command), 0);
	mem_release(&f->mem);
	free(f);
	return 0;
}

static void build(struct fixture *f, const struct acpi_config *config)
{
	struct err e = ERR_INIT;

	assert_int_equal(mem_reset(&f->mem, &e), 0);
	assert_int_equal(acpi_build(config, &f->mem, &f->rsdp, &e), 0);
	assert_int_equal(e.code, 0);
}

static uint64_t number(const struct fixture *f, uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	assert_true(mem_read(&f->mem, gpa, &v, size));
	return v;
}

static uint8_t sum(const struct fixture *f, uint64_t gpa, uint64_t len)
{
	const uint8_t *p = mem_ptr(&f->mem, gpa, len);
	uint8_t total = 0;

	assert_non_null(p);
	while (len-- > 0)
		total += *p++;
	return total;
}

static bool signature_is(const struct fixture *f, uint64_t gpa, const char *signature)
{
	return !memcmp(mem_ptr(&f->mem, gpa, 8), signature, strlen(signature));
}

/* As ACPI 6.3, 5.2.5.1 says: the first on a 16-byte boundary in the BIOS area. */
static uint64_t rsdp_by_scan(const struct fixture *f)
{
	for (uint64_t gpa = 0xe0000; gpa < 0x100000; gpa += 16) {
		if (signature_is(f, gpa, "RSD PTR ") && !sum(f, gpa, 20))
			return gpa;
	}
	fail_msg("no RSDP");
	return 0;
}

/* The table that the XSDT lists, 0 if it does not; DSDT and FACS are found by the FADT. */
static uint64_t table_find(const struct fixture *f, const char *signature)
{
	uint64_t xsdt = number(f, f->rsdp + 24, 8);
	uint64_t end = xsdt + number(f, xsdt + 4, 4);

	assert_true(signature_is(f, xsdt, "XSDT"));
	if (!strcmp(signature, "XSDT"))
		return xsdt;
	if (!strcmp(signature, "DSDT"))
		return number(f, table_find(f, "FACP") + 140, 8);
	if (!strcmp(signature, "FACS"))
		return number(f, table_find(f, "FACP") + 36, 4);
	for (uint64_t at = xsdt + HEADER; at < end; at += 8) {
		if (signature_is(f, number(f, at, 8), signature))
			return number(f, at, 8);
	}
	return 0;
}

/* What a shell command prints, standard error too; it must exit with the given status. */
static char *run(struct buf *out, int status, const char *fmt, ...)
{
	char command[1024], line[4096];
	va_list ap;
	size_t n;
	FILE *p;

	va_start(ap, fmt);
	n = (size_t)vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	assert_true(n < sizeof(command));
	p = popen(command, "r");
	assert_non_null(p);
	while ((n = fread(line, 1, sizeof(line), p)) > 0)
		buf_add(out, line, n);
	n = (size_t)pclose(p);
	buf_add_le(out, 0, 1);
	assert_false(buf_failed(out));
	if (n != (size_t)status << 8)
		fail_msg("%s: status %#zx: %s", command, n, (char *)out->data);
	return (char *)out->data;
}

static void contains(const char *text, const char *wanted)
{
	if (!strstr(text, wanted))
		fail_msg("\"%s\" is not in: %s", wanted, text);
}

static void lacks(const char *text, const char *unwanted)
{
	if (strstr(text, unwanted))
		fail_msg("\"%s\" is in: %s", unwanted, text);
}

static void dump(const struct fixture *f, const char *signature)
{
	uint64_t at = table_find(f, signature);
	char path[128];
	uint64_t len;
	FILE *out;

	assert_int_not_equal(at, 0);
	assert_true(signature_is(f, at, signature));
	len = number(f, at + 4, 4);
	snprintf(path, sizeof(path), "%s/%s.dat", f->dir, signature);
	out = fopen(path, "wb");
	assert_non_null(out);
	assert_int_equal(fwrite(mem_ptr(&f->mem, at, len), 1, len, out), len);
	assert_int_equal(fclose(out), 0);
}

static void found_by_scan_and_sums_are_zero(void **state)
{
	static const char *const names[] = {"XSDT", "FACP", "APIC", "MCFG", "ERST", "DSDT"};
	static const unsigned cpus[] = {1, 2, 8, 64};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(cpus); i++) {
		struct acpi_config config = everything(f, cpus[i]);

		build(f, &config);
		assert_int_equal(rsdp_by_scan(f), f->rsdp);
		assert_int_equal(f->rsdp, LAYOUT_ACPI);
		assert_int_equal(number(f, f->rsdp + 15, 1), 2);
		assert_int_equal(number(f, f->rsdp + 20, 4), 36);
		assert_int_equal(sum(f, f->rsdp, 36), 0);
		for (unsigned n = 0; n < ARRAY_LEN(names); n++) {
			uint64_t at = table_find(f, names[n]);
			uint64_t len;

			assert_true(signature_is(f, at, names[n]));
			len = number(f, at + 4, 4);
			assert_int_equal(sum(f, at, len), 0);
			assert_true(at + len <= LAYOUT_ACPI + LAYOUT_ACPI_SIZE);
		}
	}
}

static void without_erst_there_is_no_such_table(void **state)
{
	struct fixture *f = *state;

	build(f, &plain);
	assert_int_equal(table_find(f, "ERST"), 0);
	assert_int_not_equal(table_find(f, "MCFG"), 0);
}

static void facs_is_aligned(void **state)
{
	struct fixture *f = *state;
	uint64_t facs;

	build(f, &plain);
	facs = table_find(f, "FACS");
	assert_true(signature_is(f, facs, "FACS"));
	assert_int_equal(facs % 64, 0);
	assert_int_equal(number(f, facs + 4, 4), 64);
	/* X_FIRMWARE_CTRL must be 0 where FIRMWARE_CTRL is given. */
	assert_int_equal(number(f, table_find(f, "FACP") + 132, 8), 0);
	assert_int_equal(number(f, table_find(f, "FACP") + 40, 4), table_find(f, "DSDT"));
}

static void madt_lists_every_processor_once(void **state)
{
	static const unsigned cpus[] = {1, 2, 8, 64};
	struct fixture *f = *state;

	for (unsigned i = 0; i < ARRAY_LEN(cpus); i++) {
		struct acpi_config config = everything(f, cpus[i]);
		unsigned seen = 0, nmis = 0;
		uint64_t at, end;

		build(f, &config);
		at = table_find(f, "APIC");
		end = at + number(f, at + 4, 4);
		assert_int_equal(number(f, at + 36, 4), 0xfee00000);
		for (at += 44; at < end; at += number(f, at + 1, 1)) {
			switch (number(f, at, 1)) {
			case 0:
				assert_int_equal(number(f, at + 2, 1), seen);
				assert_int_equal(number(f, at + 3, 1), seen);
				assert_int_equal(number(f, at + 4, 4), 1);
				seen++;
				break;
			case 4:
				assert_int_equal(number(f, at + 2, 1), 0xff);
				assert_int_equal(number(f, at + 5, 1), 1);
				nmis++;
				break;
			}
			assert_true(number(f, at + 1, 1) > 0);
		}
		assert_int_equal(at, end);
		assert_int_equal(seen, cpus[i]);
		assert_int_equal(nmis, 1);
	}
}

static void iasl_reads_every_table(void **state)
{
	static const char *const names[] = {"XSDT", "FACP", "APIC", "MCFG", "ERST", "FACS"};
	struct fixture *f = *state;
	struct acpi_config config = everything(f, 2);

	build(f, &config);
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		struct buf out = BUF_INIT;
		char *text;

		dump(f, names[i]);
		text = run(&out, 0, "cd %s && iasl -d %s.dat 2>&1 && cat %s.dsl", f->dir, names[i],
			   names[i]);
		lacks(text, "Invalid");
		lacks(text, "Unknown");
		lacks(text, "Warning");
		lacks(text, "Error:");
		lacks(text, "ERROR");
		lacks(text, "Incorrect");
		contains(text, names[i]);
		buf_release(&out);
	}
}

static void iasl_sees_the_fixed_hardware(void **state)
{
	struct acpi_config config = plain;
	struct fixture *f = *state;
	struct buf out = BUF_INIT;
	char *text;

	build(f, &config);
	dump(f, "FACP");
	text = run(&out, 0, "cd %s && iasl -d FACP.dat >log 2>&1 && tr -s ' ' <FACP.dsl", f->dir);
	contains(text, "SCI Interrupt : 0009");
	contains(text, "SMI Command Port : 00000000");
	contains(text, "PM1A Event Block Address : 00000600");
	contains(text, "PM1A Control Block Address : 00000604");
	contains(text, "PM Timer Block Address : 00000608");
	contains(text, "GPE0 Block Address : 00000610");
	contains(text, "8042 Present on ports 60/64 (V2) : 1");
	contains(text, "Legacy Devices Supported (V2) : 1");
	contains(text, "VGA Not Present (V4) : 1");
	contains(text, "CMOS RTC Not Present (V5) : 0");
	contains(text, "Control Method Power Button (V1) : 0");
	contains(text, "Control Method Sleep Button (V1) : 1");
	contains(text, "32-bit PM Timer (V1) : 1");
	contains(text, "Reset Register Supported (V2) : 1");
	contains(text, "Address : 0000000000000CF9");
	contains(text, "Value to cause reset : 06");
	contains(text, "Hardware Reduced (V5) : 0");
	buf_release(&out);

	config.keyboard = false;
	build(f, &config);
	dump(f, "FACP");
	text = run(&out, 0, "cd %s && iasl -d FACP.dat >log 2>&1 && tr -s ' ' <FACP.dsl", f->dir);
	contains(text, "8042 Present on ports 60/64 (V2) : 0");
	buf_release(&out);
}

static void iasl_sees_the_configuration_space(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT;
	char *text;

	build(f, &plain);
	dump(f, "MCFG");
	text = run(&out, 0, "cd %s && iasl -d MCFG.dat >log 2>&1 && tr -s ' ' <MCFG.dsl", f->dir);
	contains(text, "Base Address : 00000000E8000000");
	contains(text, "Segment Group Number : 0000");
	contains(text, "Start Bus Number : 00");
	contains(text, "End Bus Number : 00");
	buf_release(&out);
}

static void dsdt_compiles_again_without_a_warning(void **state)
{
	static const unsigned cpus[] = {1, 2, 8, 64};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2 * ARRAY_LEN(cpus); i++) {
		struct acpi_config config = i % 2 ? everything(f, cpus[i / 2]) : plain;
		struct buf out = BUF_INIT;
		char *text;

		config.cpus = cpus[i / 2];
		build(f, &config);
		dump(f, "DSDT");
		text = run(&out, 0, "cd %s && iasl -d DSDT.dat 2>&1 && iasl -p again DSDT.dsl 2>&1",
			   f->dir);
		contains(text, "0 Errors, 0 Warnings, 0 Remarks");
		lacks(text, "Invalid");
		/* The same code but for the header: lengths were the shortest and right. */
		run(&out, 0,
		    "cd %s && tail -c +37 DSDT.dat >a && tail -c +37 again.aml >b && "
		    "cmp a b 2>&1",
		    f->dir);
		buf_release(&out);
	}
}

/* acpiexec's batch mode; what it prints. */
static char *evaluate(struct fixture *f, struct buf *out, const char *commands)
{
	return run(out, 0, "cd %s && acpiexec -b '%s' DSDT.dat 2>&1", f->dir, commands);
}

static void acpica_loads_it_and_finds_s5(void **state)
{
	struct fixture *f = *state;
	struct acpi_config config = everything(f, 8);
	struct buf out = BUF_INIT;
	char *text;

	build(f, &config);
	dump(f, "DSDT");
	text = evaluate(f, &out, "evaluate \\_S5_; namespace");
	lacks(text, "ACPI Error");
	lacks(text, "ACPI Warning");
	lacks(text, "ACPI BIOS");
	contains(text, "[Package] Contains 4 Elements");
	contains(text, "[Integer] = 0000000000000007");
	contains(text, "C007");
	lacks(text, "C008");
	contains(text, "PEVT");
	buf_release(&out);
}

#define OSC_UUID "(5B 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66)"

static void osc_grants_all_native_control(void **state)
{
	struct fixture *f = *state;
	struct buf out = BUF_INIT;
	char *text;

	build(f, &plain);
	dump(f, "DSDT");
	text = evaluate(f, &out,
			"evaluate \\_SB.PCI0._OSC " OSC_UUID
			" 1 3 (00 00 00 00 1F 00 00 00 3F 00 00 00)");
	contains(text, "00 00 00 00 1F 00 00 00 3F 00 00 00");
	lacks(text, "ACPI Error");
	buf_release(&out);

	/* Bits that nobody has defined come back cleared, with "masked". */
	text = evaluate(f, &out,
			"evaluate \\_SB.PCI0._OSC " OSC_UUID
			" 1 3 (00 00 00 00 1F 00 00 00 FF 80 00 00)");
	contains(text, "10 00 00 00 1F 00 00 00 BF 00 00 00");
	buf_release(&out);

	text = evaluate(f, &out,
			"evaluate \\_SB.PCI0._OSC " OSC_UUID
			" 2 3 (00 00 00 00 1F 00 00 00 01 00 00 00)");
	contains(text, "08 00 00 00 1F 00 00 00 01 00 00 00");
	buf_release(&out);

	text = evaluate(f, &out,
			"evaluate \\_SB.PCI0._OSC "
			"(01 4D DB 33 F7 1F 1C 40 96 57 74 41 C0 3D D7 66)"
			" 1 3 (00 00 00 00 1F 00 00 00 01 00 00 00)");
	contains(text, "04 00 00 00 1F 00 00 00 01 00 00 00");
	buf_release(&out);
}

static void slots_can_be_ejected(void **state)
{
	struct fixture *f = *state;
	struct acpi_config config = everything(f, 1);
	struct buf out = BUF_INIT;
	char *text;

	build(f, &config);
	dump(f, "DSDT");
	text = run(&out, 0, "cd %s && iasl -d DSDT.dat >log 2>&1 && tr -d ' \\n' <DSDT.dsl",
		   f->dir);
	contains(text, "OperationRegion(SLOT,SystemIO,0x0620,0x10)"
		       "Field(SLOT,DWordAcc,NoLock,Preserve)"
		       "{CAME,32,ASKD,32,EJCT,32,ANSW,32}");
	contains(text, "Device(S031){Name(_ADR,0x001F0000)");
	lacks(text, "S000");
	contains(text, "Scope(_GPE){Method(_E01,0,Serialized)");
	contains(text, "Local0=\\_SB.PCI0.CAME");
	contains(text, "If((Local0&0x80000000)){Notify(\\_SB.PCI0.S031,One)");
	contains(text, "If((Local0&0x02)){Notify(\\_SB.PCI0.S001,0x03)");
	buf_release(&out);

	/* acpiexec has memory for the registers: what the methods write is what is read then. */
	text = evaluate(f, &out,
			"evaluate \\_SB.PCI0.S017._SUN; evaluate \\_SB.PCI0.S017._EJ0 1; "
			"evaluate \\_SB.PCI0.EJCT; evaluate \\_SB.PCI0.S017._OST 3 0x82 (00); "
			"evaluate \\_SB.PCI0.ANSW; evaluate \\_GPE._E01");
	lacks(text, "ACPI Error");
	contains(text, "[Integer] = 0000000000000011");
	contains(text, "[Integer] = 0000000000020000");
	contains(text, "[Integer] = 0000000000110082");
	buf_release(&out);
}

static void interrupt_pins_are_swizzled(void **state)
{
	struct fixture *f = *state;
	struct acpi_config config = everything(f, 1);
	struct buf out = BUF_INIT;
	char *text;

	build(f, &config);
	dump(f, "DSDT");
	text = run(&out, 0, "cd %s && iasl -d DSDT.dat >log 2>&1 && tr -d ' \\n' <DSDT.dsl",
		   f->dir);
	contains(text, "Package(0x80)");
	contains(text, "Package(0x04){0xFFFF,Zero,Zero,0x10}");
	contains(text, "Package(0x04){0xFFFF,0x03,Zero,0x13}");
	contains(text, "Package(0x04){0x0001FFFF,Zero,Zero,0x11}");
	contains(text, "Package(0x04){0x0005FFFF,0x03,Zero,0x10}");
	contains(text, "Package(0x04){0x001FFFFF,0x03,Zero,0x12}");
	buf_release(&out);
}

static void windows_are_those_of_the_layout(void **state)
{
	struct acpi_config config = plain;
	struct fixture *f = *state;
	struct buf out = BUF_INIT;
	char *text;

	build(f, &config);
	dump(f, "DSDT");
	text = evaluate(f, &out,
			"resources \\_SB.PCI0; resources \\_SB.MRES; "
			"resources \\_SB.COM1; resources \\_SB.KBD_; "
			"resources \\_SB.PEVT");
	lacks(text, "ACPI Error");
	contains(text, "64-Bit QWORD Address Space Resource");
	contains(text, "Address Minimum : 0000000400000000");
	contains(text, "Address Maximum : 00000043FFFFFFFF");
	contains(text, "Address Minimum : D0000000");
	contains(text, "Address Maximum : E7FFFFFF");
	contains(text, "Address Minimum : 0D00");
	contains(text, "Address : E8000000");
	contains(text, "Address Length : 00100000");
	contains(text, "Address Minimum : 0600");
	contains(text, "Address Minimum : 03F8");
	contains(text, "Address Minimum : 0505");
	buf_release(&out);

	config.pci64_size = 0;
	build(f, &config);
	dump(f, "DSDT");
	text = evaluate(f, &out, "resources \\_SB.PCI0");
	lacks(text, "64-Bit QWORD Address Space Resource");
	buf_release(&out);
}

static void what_cannot_be_described_is_refused(void **state)
{
	struct fixture *f = *state;
	struct acpi_config config = plain;
	struct err e = ERR_INIT;
	struct acpi_mmio_device *many;
	struct mem empty;

	config.cpus = 0;
	assert_int_equal(acpi_build(&config, &f->mem, &f->rsdp, &e), -EINVAL);
	contains(e.text, "0 CPUs");
	config.cpus = 65;
	assert_int_equal(acpi_build(&config, &f->mem, &f->rsdp, NULL), -EINVAL);
	config = plain;
	config.pci_slots = 33;
	assert_int_equal(acpi_build(&config, &f->mem, &f->rsdp, NULL), -EINVAL);
	config = plain;
	config.pci64_base = UINT64_MAX;
	assert_int_equal(acpi_build(&config, &f->mem, &f->rsdp, NULL), -EINVAL);

	/* More than fits: nothing beyond the area is touched. */
	config = plain;
	config.device_count = 4000;
	many = calloc(config.device_count, sizeof(*many));
	assert_non_null(many);
	for (unsigned i = 0; i < config.device_count; i++)
		many[i] = virtio[0];
	config.devices = many;
	err_clear(&e);
	assert_int_equal(acpi_build(&config, &f->mem, &f->rsdp, &e), -ENOSPC);
	assert_int_equal(number(f, LAYOUT_ACPI + LAYOUT_ACPI_SIZE, 8), 0);
	free(many);

	assert_int_equal(mem_init(&empty, 0, NULL), 0);
	assert_int_equal(acpi_build(&plain, &empty, &f->rsdp, NULL), -EFAULT);
	mem_release(&empty);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(found_by_scan_and_sums_are_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(without_erst_there_is_no_such_table, setup,
						teardown),
		cmocka_unit_test_setup_teardown(facs_is_aligned, setup, teardown),
		cmocka_unit_test_setup_teardown(madt_lists_every_processor_once, setup, teardown),
		cmocka_unit_test_setup_teardown(iasl_reads_every_table, setup, teardown),
		cmocka_unit_test_setup_teardown(iasl_sees_the_fixed_hardware, setup, teardown),
		cmocka_unit_test_setup_teardown(iasl_sees_the_configuration_space, setup, teardown),
		cmocka_unit_test_setup_teardown(dsdt_compiles_again_without_a_warning, setup,
						teardown),
		cmocka_unit_test_setup_teardown(acpica_loads_it_and_finds_s5, setup, teardown),
		cmocka_unit_test_setup_teardown(osc_grants_all_native_control, setup, teardown),
		cmocka_unit_test_setup_teardown(slots_can_be_ejected, setup, teardown),
		cmocka_unit_test_setup_teardown(interrupt_pins_are_swizzled, setup, teardown),
		cmocka_unit_test_setup_teardown(windows_are_those_of_the_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_described_is_refused, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
