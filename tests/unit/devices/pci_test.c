/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration space against PCI 3.0 chapters 3.2.2.3 and 6, ECAM against PCIe 3.0, 7.2.2. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/bus.h"
#include "devices/acpi/reset.h"
#include "devices/pci/host.h"

#define ECAM 0xe8000000ULL
#define DEV  PCI_DEVFN(3, 0)

struct moves {
	unsigned maps, unmaps;
	uint64_t at[PCI_BARS];
	bool mapped[PCI_BARS];
	unsigned reads, writes, last_reg;
};

static struct bus pio, mmio;
static struct pci_host host;
static struct reset_control reset;
static unsigned resets;
static struct pci_function fn;
static struct moves moves;

static void on_reset(void *opaque)
{
	(void)opaque;
	resets++;
}

static void on_reading(void *opaque, unsigned reg, unsigned size)
{
	struct moves *m = opaque;

	(void)size;
	m->reads++;
	if (reg == 0x80)
		pci_function_set(&fn, 0x80, 4, 0xabcd0000 + m->reads);
}

static void on_written(void *opaque, unsigned reg, unsigned size)
{
	struct moves *m = opaque;

	(void)size;
	m->writes++;
	m->last_reg = reg;
}

static void on_moved(void *opaque, unsigned bar, uint64_t addr, bool mapped)
{
	struct moves *m = opaque;

	if (mapped)
		m->maps++;
	else
		m->unmaps++;
	assert_int_not_equal(m->mapped[bar], mapped);
	if (!mapped)
		assert_int_equal(addr, m->at[bar]);
	m->at[bar] = addr;
	m->mapped[bar] = mapped;
}

static const struct pci_function_ops fn_ops = {on_reading, on_written, on_moved};

static int setup(void **state)
{
	static const struct pci_identity id = {
		.vendor = 0x1af4,
		.device = 0x1041,
		.class_code = 0x020000,
		.revision = 1,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x0040,
		.interrupt_pin = 1,
	};

	(void)state;
	resets = 0;
	moves = (struct moves){0};
	bus_init(&pio, "pio", 0x10000);
	bus_init(&mmio, "mmio", BIT(46));
	pci_host_init(&host);
	reset_control_init(&reset, on_reset, NULL);
	pci_host_set_cf9(&host, &reset_control_ops, &reset, &reset.lock);
	bus_add(&pio, 0xcf8, PCI_HOST_PORTS, &pci_host_port_ops, &host, &host.lock, NULL);
	bus_add(&mmio, ECAM, MIB(1), &pci_host_ecam_ops, &host, &host.lock, NULL);
	pci_function_init(&fn, &id, &fn_ops, &moves);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	reset_control_release(&reset);
	pci_host_release(&host);
	bus_release(&pio);
	bus_release(&mmio);
	return 0;
}

static uint64_t ecam(unsigned devfn, unsigned reg)
{
	return ECAM + (devfn << 12) + reg;
}

static uint32_t get(unsigned reg, unsigned size)
{
	return bus_read(&mmio, ecam(DEV, reg), size);
}

static void put(unsigned reg, unsigned size, uint32_t value)
{
	bus_write(&mmio, ecam(DEV, reg), size, value);
}

static void the_host_bridge_is_there(void **state)
{
	(void)state;
	assert_int_equal(bus_read(&mmio, ecam(0, 0), 4), 0x29c08086);
	assert_int_equal(bus_read(&mmio, ecam(0, 0x08), 4), 0x06000000);
	assert_int_equal(bus_read(&mmio, ecam(0, 0x0c), 4), 0);
	assert_int_equal(bus_read(&mmio, ecam(0, PCI_CAPABILITIES), 1), 0);
	assert_int_equal(bus_read(&mmio, ecam(0, PCI_INTERRUPT_PIN), 1), 0);
	/* no extended capabilities */
	assert_int_equal(bus_read(&mmio, ecam(0, 0x100), 4), 0);
	/* eight bytes are two registers */
	assert_int_equal(bus_read(&mmio, ecam(0, 0), 8), 0x29c08086);
}

static void absent_functions_give_ones(void **state)
{
	(void)state;
	assert_int_equal(bus_read(&mmio, ecam(PCI_DEVFN(1, 0), 0), 4), 0xffffffff);
	assert_int_equal(bus_read(&mmio, ecam(PCI_DEVFN(0, 1), 0), 2), 0xffff);
	assert_int_equal(bus_read(&mmio, ecam(255, 0xfff), 1), 0xff);
	bus_write(&mmio, ecam(PCI_DEVFN(1, 0), 4), 4, 0xffffffff);
	bus_write(&pio, 0xcf8, 4, 0x80010000); /* bus 1 */
	assert_int_equal(bus_read(&pio, 0xcfc, 4), 0xffffffff);
	/* an access that crosses from one function into the next reaches neither */
	pci_host_attach(&host, PCI_DEVFN(0, 1), &fn);
	assert_int_equal(bus_read(&mmio, ecam(0, 0xffe), 4), 0xffffffff);
}

static void mechanism_1(void **state)
{
	(void)state;
	pci_host_attach(&host, DEV, &fn);
	assert_int_equal(bus_read(&pio, 0xcf8, 4), 0);
	assert_int_equal(bus_read(&pio, 0xcfc, 4), 0xffffffff); /* not enabled */
	bus_write(&pio, 0xcf8, 4, 0xff001803);                  /* reserved bits */
	assert_int_equal(bus_read(&pio, 0xcf8, 4), 0x80001800);
	assert_int_equal(bus_read(&pio, 0xcfc, 4), 0x10411af4);
	assert_int_equal(bus_read(&pio, 0xcfe, 2), 0x1041);
	assert_int_equal(bus_read(&pio, 0xcfd, 1), 0x1a);
	bus_write(&pio, 0xcf8, 4, 0x80001808);
	assert_int_equal(bus_read(&pio, 0xcff, 1), 0x02);
	bus_write(&pio, 0xcf8, 4, 0x8000183c);
	bus_write(&pio, 0xcfc, 1, 0x0b);
	assert_int_equal(bus_read(&pio, 0xcfc, 4), 0x0000010b);
	bus_write(&pio, 0xcf8, 4, 0x00001800);
	bus_write(&pio, 0xcfc, 4, 0);
	assert_int_equal(bus_read(&pio, 0xcfc, 1), 0xff);
}

static void the_address_register_takes_dwords_only(void **state)
{
	(void)state;
	bus_write(&pio, 0xcf8, 4, 0x80000000);
	bus_write(&pio, 0xcf8, 2, 0x1234);
	bus_write(&pio, 0xcf8, 1, 0x12);
	bus_write(&pio, 0xcfb, 1, 0);
	assert_int_equal(bus_read(&pio, 0xcf8, 4), 0x80000000);
	assert_int_equal(bus_read(&pio, 0xcf8, 2), 0xffff);
	assert_int_equal(bus_read(&pio, 0xcfa, 1), 0xff);
	/* as Linux probes it: a byte to 0xCFB, then the dword is there */
	assert_int_equal(bus_read(&pio, 0xcfb, 1), 0xff);
}

static void port_cf9_is_the_reset_register(void **state)
{
	(void)state;
	bus_write(&pio, 0xcf8, 4, 0x80000600); /* not a reset */
	assert_int_equal(resets, 0);
	assert_int_equal(bus_read(&pio, 0xcf9, 1), 0);
	bus_write(&pio, 0xcf9, 1, 0x02);
	assert_int_equal(bus_read(&pio, 0xcf9, 1), 0x02);
	bus_write(&pio, 0xcf9, 1, 0x06);
	assert_int_equal(resets, 1);
	assert_int_equal(bus_read(&pio, 0xcf8, 4), 0x80000600);
}

static void the_header_is_mostly_read_only(void **state)
{
	(void)state;
	pci_host_attach(&host, DEV, &fn);
	for (unsigned reg = 0; reg < 0x40; reg += 4)
		put(reg, 4, 0xffffffff);
	assert_int_equal(get(0x00, 4), 0x10411af4);
	assert_int_equal(get(0x04, 4), 0x00000547);
	assert_int_equal(get(0x08, 4), 0x02000001);
	assert_int_equal(get(0x0c, 4), 0x000000ff);
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		assert_int_equal(get(PCI_BAR(bar), 4), 0);
	assert_int_equal(get(0x2c, 4), 0x00401af4);
	assert_int_equal(get(0x30, 4), 0); /* no expansion ROM */
	assert_int_equal(get(0x3c, 4), 0x000001ff);
}

static void status_bits_clear_by_ones(void **state)
{
	(void)state;
	pci_host_attach(&host, DEV, &fn);
	pci_function_set(&fn, PCI_STATUS, 2, 0x2010);
	put(PCI_STATUS, 2, 0x0000);
	assert_int_equal(get(PCI_STATUS, 2), 0x2010);
	put(PCI_STATUS, 2, 0xffff);
	assert_int_equal(get(PCI_STATUS, 2), 0x0010);
	pci_function_set(&fn, PCI_STATUS, 2, 0x2000);
	put(PCI_COMMAND, 2, 0x0002); /* the register beside it */
	assert_int_equal(get(PCI_STATUS, 2), 0x2000);
}

static void bars_tell_their_size(void **state)
{
	(void)state;
	pci_function_add_bar(&fn, 0, PCI_BAR_IO, 0x20);
	pci_function_add_bar(&fn, 1, PCI_BAR_MEM32, 0x1000);
	pci_function_add_bar(&fn, 2, PCI_BAR_MEM64, 0x4000);
	pci_function_add_bar(&fn, 4, PCI_BAR_MEM64_PREFETCH, GIB(8));
	pci_host_attach(&host, DEV, &fn);
	for (unsigned bar = 0; bar < PCI_BARS; bar++)
		put(PCI_BAR(bar), 4, 0xffffffff);
	assert_int_equal(get(PCI_BAR(0), 4), 0xffffffe1);
	assert_int_equal(get(PCI_BAR(1), 4), 0xfffff000);
	assert_int_equal(get(PCI_BAR(2), 4), 0xffffc004);
	assert_int_equal(get(PCI_BAR(3), 4), 0xffffffff);
	assert_int_equal(get(PCI_BAR(4), 4), 0x0000000c);
	assert_int_equal(get(PCI_BAR(5), 4), 0xfffffffe);
	/* nothing was claimed meanwhile */
	assert_int_equal(moves.maps + moves.unmaps, 0);
}

static void bars_move(void **state)
{
	(void)state;
	pci_function_add_bar(&fn, 0, PCI_BAR_IO, 0x20);
	pci_function_add_bar(&fn, 2, PCI_BAR_MEM64, 0x4000);
	pci_host_attach(&host, DEV, &fn);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY); /* not placed yet */
	assert_int_equal(moves.maps, 0);
	put(PCI_COMMAND, 2, 0);
	put(PCI_BAR(0), 4, 0xc000);
	put(PCI_BAR(2), 4, 0x10000);
	put(PCI_BAR(3), 4, 0x40);
	assert_int_equal(moves.maps, 0);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(moves.maps, 1);
	assert_int_equal(moves.at[2], 0x4000010000ULL);
	put(PCI_COMMAND, 1, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	assert_int_equal(moves.at[0], 0xc000);
	put(PCI_BAR(2), 4, 0x20000);
	assert_int_equal(moves.unmaps, 1);
	assert_int_equal(moves.maps, 3);
	assert_int_equal(moves.at[2], 0x4000020000ULL);
	put(PCI_BAR(2), 4, 0x20004); /* the same place */
	assert_int_equal(moves.maps, 3);
	put(PCI_COMMAND, 2, 0);
	assert_false(moves.mapped[0] || moves.mapped[2]);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	pci_host_reset(&host);
	assert_false(moves.mapped[2]);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(get(PCI_BAR(2), 4), 0x00000004);
	assert_int_equal(get(PCI_VENDOR_ID, 4), 0x10411af4);
}

static void two_bars_change_places(void **state)
{
	(void)state;
	pci_function_add_bar(&fn, 0, PCI_BAR_MEM32, 0x1000);
	pci_function_add_bar(&fn, 1, PCI_BAR_MEM32, 0x1000);
	put(PCI_COMMAND, 2, 0);
	pci_host_attach(&host, DEV, &fn);
	put(PCI_BAR(0), 4, 0xd0000000);
	put(PCI_BAR(1), 4, 0xd0001000);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	put(PCI_COMMAND, 2, 0);
	put(PCI_BAR(0), 4, 0xd0001000);
	put(PCI_BAR(1), 4, 0xd0000000);
	put(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(moves.at[0], 0xd0001000);
	assert_int_equal(moves.at[1], 0xd0000000);
	/* a snapshot's state, set below the device's feet */
	pci_function_set(&fn, PCI_BAR(0), 4, 0xd0008000);
	pci_function_resume(&fn);
	assert_int_equal(moves.at[0], 0xd0008000);
	assert_true(moves.mapped[0]);
}

static void capabilities_are_a_list(void **state)
{
	unsigned first, second;

	(void)state;
	first = pci_function_add_cap(&fn, 0x09, 16);
	second = pci_function_add_cap(&fn, 0x11, 11);
	assert_int_equal(pci_function_add_cap(&fn, 0x05, 10), second + 12);
	pci_function_allow(&fn, second + 2, 2, 0xc000);
	pci_host_attach(&host, DEV, &fn);
	assert_int_equal(get(PCI_STATUS, 2), PCI_STATUS_CAPABILITIES);
	assert_int_equal(get(PCI_CAPABILITIES, 1), first);
	assert_int_equal(first, 0x40);
	assert_int_equal(get(first, 2), second << 8 | 0x09);
	assert_int_equal(get(second, 2), (second + 12) << 8 | 0x11);
	assert_int_equal(get(second + 12, 2), 0x05);
	put(second, 4, 0xffffffff);
	assert_int_equal(get(second, 4), 0xc0000000 | (second + 12) << 8 | 0x11);
}

static void the_device_sees_accesses(void **state)
{
	(void)state;
	pci_host_attach(&host, DEV, &fn);
	assert_int_equal(get(0x80, 4), 0xabcd0001);
	assert_int_equal(get(0x80, 4), 0xabcd0002);
	put(0x84, 2, 1);
	assert_int_equal(moves.writes, 1);
	assert_int_equal(moves.last_reg, 0x84);
	assert_int_equal(get(0x84, 2), 0);
}

static void function_0_tells_of_others(void **state)
{
	struct pci_function other = fn;

	(void)state;
	pci_host_attach(&host, PCI_DEVFN(3, 5), &other);
	pci_host_attach(&host, DEV, &fn);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), PCI_HEADER_MULTIPLE);
	assert_int_equal(bus_read(&mmio, ecam(0, PCI_HEADER_TYPE), 1), 0);
	pci_host_reset(&host);
	assert_int_equal(get(PCI_HEADER_TYPE, 1), PCI_HEADER_MULTIPLE);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_host_bridge_is_there),
		TEST(absent_functions_give_ones),
		TEST(mechanism_1),
		TEST(the_address_register_takes_dwords_only),
		TEST(port_cf9_is_the_reset_register),
		TEST(the_header_is_mostly_read_only),
		TEST(status_bits_clear_by_ones),
		TEST(bars_tell_their_size),
		TEST(bars_move),
		TEST(two_bars_change_places),
		TEST(capabilities_are_a_list),
		TEST(the_device_sees_accesses),
		TEST(function_0_tells_of_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
