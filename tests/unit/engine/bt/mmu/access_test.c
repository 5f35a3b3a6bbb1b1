/* SPDX-License-Identifier: Apache-2.0 */
/* Accesses of every size and place: within and across pages, to devices and the local APIC, with
 * alignment checks and data breakpoints. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "mmu_guest.h"

#define RWU (PTE_P | PTE_RW | PTE_US)

/* Two pages next to each other, whose memory is not. */
#define FIRST  0x00010000ULL
#define SECOND 0x00011000ULL
#define GPA1   0x00800000ULL
#define GPA2   0x00700000ULL

static struct mg *two_pages(uint64_t rights1, uint64_t rights2)
{
	struct mg *g = mg_new();

	mg_mode(g, MG_4LEVEL);
	mg_set(g, FIRST, 1, GPA1 | rights1);
	mg_set(g, SECOND, 1, GPA2 | rights2);
	for (unsigned i = 0; i < MG_PAGE; i++) {
		*mg_ram(g, GPA1 + i) = (uint8_t)(i * 7 + 1);
		*mg_ram(g, GPA2 + i) = (uint8_t)(i * 11 + 5);
	}
	return g;
}

/* A byte at FIRST + at, by the tables above. */
static uint8_t *ram_at(struct mg *g, uint64_t at)
{
	return mg_ram(g, at < MG_PAGE ? GPA1 + at : GPA2 + at - MG_PAGE);
}

static void assert_value(struct mg *g, uint64_t at, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		assert_int_equal(*ram_at(g, at + i), value >> (8 * i) & 0xff);
}

static uint64_t read_at(struct mg *g, uint64_t linear, unsigned size)
{
	uint64_t value;

	assert_true(mg_read(g->cpu, linear, size, &value));
	return value;
}

static void write_at(struct mg *g, uint64_t linear, unsigned size, uint64_t value)
{
	assert_true(mg_write(g->cpu, linear, size, value));
}

static void every_size_at_every_place(void **state)
{
	struct mg *g = two_pages(RWU, RWU);
	uint64_t back;

	(void)state;
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (uint64_t at = MG_PAGE - 20; at < MG_PAGE + 20; at++) {
			uint64_t value = 0x0123456789abcdef * (at | 1) & MASK(size * 8);
			uint8_t before = *ram_at(g, at - 1), behind = *ram_at(g, at + size);

			assert_value(g, at, size, read_at(g, FIRST + at, size));
			write_at(g, FIRST + at, size, value);
			assert_value(g, at, size, value);
			assert_int_equal(*ram_at(g, at - 1), before);
			assert_int_equal(*ram_at(g, at + size), behind);
			assert_true(mg_system_read(g->cpu, FIRST + at, size, &back));
			assert_int_equal(back, value);
		}
	}
	mg_free(g);
}

static void bytes_of_every_length(void **state)
{
	struct mg *g = two_pages(RWU, RWU);
	uint8_t data[MG_PAGE], back[MG_PAGE];
	static const uint16_t lengths[] = {0, 1, 3, 10, 15, 16, 17, 32, 48, 64, 512, 832, 4096};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lengths); i++) {
		unsigned len = lengths[i];

		for (uint64_t at = 0; at + len <= 2 * MG_PAGE; at += 61) {
			memset(data, (int)(at + i), sizeof(data));
			assert_true(mg_write_bytes(g->cpu, FIRST + at, data, len));
			for (unsigned n = 0; n < len; n++)
				assert_int_equal(*ram_at(g, at + n), data[n]);
			memset(back, 0xcc, sizeof(back));
			assert_true(mg_read_bytes(g->cpu, FIRST + at, back, len));
			assert_memory_equal(back, data, len);
			assert_true(len == MG_PAGE || back[len] == 0xcc);
		}
	}
	mg_free(g);
}

static void try_faulting(struct mg *g, uint64_t linear, uint64_t faults, uint32_t code)
{
	struct cpu *cpu = g->cpu;
	struct mmu_rmw rmw;
	uint8_t bytes[16] = {0}, was[32];

	for (unsigned i = 0; i < sizeof(was); i++)
		was[i] = *ram_at(g, MG_PAGE - 16 + i);
	mg_assert_fault(cpu, mmu_write(cpu, linear, 8, 0), faults, code);
	mg_assert_fault(cpu, mmu_write_bytes(cpu, linear, bytes, 16), faults, code);
	mg_assert_fault(cpu, mmu_probe(cpu, linear, 8, true), faults, code);
	mg_assert_fault(cpu, mmu_rmw_begin(cpu, &rmw, linear, 8, false), faults, code);
	mg_assert_fault(cpu, mmu_rmw_begin(cpu, &rmw, linear, 8, true), faults, code);
	mg_assert_fault(cpu, mmu_system_write(cpu, linear, 8, 0), faults, code);
	for (unsigned i = 0; i < sizeof(was); i++)
		assert_int_equal(was[i], *ram_at(g, MG_PAGE - 16 + i));
}

/* The address that CR2 gets is that of the first byte in the page that faults. */
static void nothing_is_written_where_the_second_page_faults(void **state)
{
	struct mg *g = two_pages(RWU, PTE_P);

	(void)state;
	for (unsigned again = 0; again < 2; again++) {
		try_faulting(g, SECOND - 3, SECOND, PFERR_P | PFERR_W);
		assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, FIRST, 8, 1))); /* warm */
	}
	mg_set(g, SECOND, 1, 0);
	mmu_invlpg(g->cpu, SECOND);
	try_faulting(g, SECOND - 3, SECOND, PFERR_W);
	mg_set(g, FIRST, 1, GPA1 | PTE_P);
	mmu_invlpg(g->cpu, FIRST);
	try_faulting(g, SECOND - 3, SECOND - 3, PFERR_P | PFERR_W); /* the first comes first */
	mg_assert_fault(g->cpu, mmu_read(g->cpu, SECOND - 1, 2), SECOND, 0);
	mg_free(g);
}

static void addresses_wrap(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	mg_mode(g, MG_32BIT);
	mg_set(g, 0xfffff000, 1, GPA1 | RWU);
	mg_set(g, 0, 1, GPA2 | RWU);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0xfffffffe, 4, 0x11223344)));
	assert_int_equal(mg_ram64(g, GPA1 + 0xff8) >> 48, 0x3344);
	assert_int_equal(mg_ram64(g, GPA2) & 0xffff, 0x1122);
	mg_set(g, 0, 1, 0);
	mmu_invlpg(g->cpu, 0);
	mg_assert_fault(g->cpu, mmu_write(g->cpu, 0xfffffffe, 4, 0), 0, PFERR_W);
	mg_mode(g, MG_4LEVEL);
	mg_set(g, 0xfffffffffffff000, 1, GPA1 | RWU);
	mg_set(g, 0, 1, GPA2 | RWU);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, 0xfffffffffffffffe, 4, 0x55667788)));
	assert_int_equal(mg_ram64(g, GPA1 + 0xff8) >> 48, 0x7788);
	assert_int_equal(mg_ram64(g, GPA2) & 0xffff, 0x5566);
	mg_free(g);
}

static void devices_get_what_the_guest_does(void **state)
{
	struct mg *g = mg_new();
	uint8_t bytes[20], back[20];

	(void)state;
	for (unsigned size = 1; size <= 8; size *= 2) {
		for (unsigned at = 0; at < 16; at++) {
			uint64_t value = 0x8877665544332211 + at;

			g->device_accesses = 0;
			write_at(g, MG_MMIO + at, size, value);
			assert_int_equal(g->device_accesses, 1);
			assert_int_equal(g->device_last, at);
			assert_int_equal(g->device_size, size);
			assert_int_equal(read_at(g, MG_MMIO + at, size), value & MASK(size * 8));
			assert_int_equal(g->device_accesses, 2);
		}
	}
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i + 100);
	assert_true(mg_write_bytes(g->cpu, MG_MMIO + 3, bytes, 20));
	assert_memory_equal(g->device + 3, bytes, 20);
	assert_true(mg_read_bytes(g->cpu, MG_MMIO + 3, back, 20));
	assert_memory_equal(back, bytes, 20);
	/* Into the page behind, where nothing is. */
	write_at(g, MG_MMIO + MG_PAGE - 2, 4, 0x44332211);
	assert_int_equal(g->device[MG_PAGE - 1], 0x22);
	assert_int_equal(read_at(g, MG_MMIO + MG_PAGE - 2, 4), 0xffff2211);
	mg_free(g);
}

static void half_memory_half_device(void **state)
{
	struct mg *g = two_pages(RWU, RWU);

	(void)state;
	mg_set(g, SECOND, 1, MG_MMIO | RWU);
	assert_false(MG_RAISES(g->cpu, mmu_write(g->cpu, SECOND - 3, 8, 0x8877665544332211)));
	assert_int_equal(mg_ram64(g, GPA1 + 0xff8) >> 40, 0x332211);
	assert_int_equal(load_le(g->device, 5), 0x8877665544);
	assert_false(MG_RAISES(
		g->cpu, assert_int_equal(mmu_read(g->cpu, SECOND - 3, 8), 0x8877665544332211)));
	mg_free(g);
}

static void lapic_on(struct mg *g, uint64_t base, bool x2apic)
{
	g->cpu->apic_base = base | APIC_BASE_ENABLE | (x2apic ? APIC_BASE_EXTD : 0);
	mmu_flush(g->cpu, true);
}

static void the_local_apic(void **state)
{
	struct mg *g = mg_new();

	(void)state;
	lapic_on(g, MG_LAPIC, false);
	g->lapic[2] = 0x44332211;
	assert_int_equal(read_at(g, MG_LAPIC + 0x20, 4), 0x44332211);
	assert_int_equal(read_at(g, MG_LAPIC + 0x20, 1), 0x11);
	assert_int_equal(read_at(g, MG_LAPIC + 0x21, 2), 0x3322);
	assert_int_equal(read_at(g, MG_LAPIC + 0x20, 8), 0x44332211);
	assert_int_equal(read_at(g, MG_LAPIC + 0x24, 4), 0);
	assert_int_equal(read_at(g, MG_LAPIC + 0x22, 4), 0);
	write_at(g, MG_LAPIC + 0x80, 4, 0xaabbccdd);
	assert_int_equal(g->lapic[8], 0xaabbccdd);
	write_at(g, MG_LAPIC + 0x80, 8, 0x1111111122222222);
	assert_int_equal(g->lapic[8], 0x22222222);
	write_at(g, MG_LAPIC + 0x80, 2, 0);
	write_at(g, MG_LAPIC + 0x81, 4, 0);
	write_at(g, MG_LAPIC + 0x84, 4, 0);
	assert_int_equal(g->lapic[8], 0x22222222);
	assert_int_equal(g->lapic_accesses, 6);
	mg_free(g);
}

/* Its page wins over RAM, and is given back. */
static void the_local_apic_in_ram(void **state)
{
	struct mg *g = mg_new();
	uint8_t *host;

	(void)state;
	write_at(g, GPA1 + 0x30, 4, 1); /* known as RAM */
	lapic_on(g, GPA1, false);
	write_at(g, GPA1 + 0x30, 4, 2);
	assert_int_equal(g->lapic[3], 2);
	assert_int_equal(read_at(g, GPA1 + 0x30, 4), 2);
	assert_int_equal(mmu_span(g->cpu, GPA1 + 0x30, 4, true, &host), 0);
	lapic_on(g, GPA1, true); /* x2APIC: no page */
	assert_int_equal(read_at(g, GPA1 + 0x30, 4), 1);
	g->cpu->apic_base = GPA1;
	mmu_flush(g->cpu, true);
	assert_int_equal(read_at(g, GPA1 + 0x30, 4), 1);
	mg_free(g);
}

static void spans(void **state)
{
	struct mg *g = two_pages(RWU, PTE_P);
	uint8_t *host = NULL;

	(void)state;
	assert_int_equal(mmu_span(g->cpu, FIRST + 10, 100, false, &host), 0); /* not known yet */
	read_at(g, FIRST, 1);
	assert_int_equal(mmu_span(g->cpu, FIRST + 10, 100, false, &host), 100);
	assert_ptr_equal(host, mg_ram(g, GPA1 + 10));
	assert_int_equal(mmu_span(g->cpu, FIRST + 10, 100000, false, &host), MG_PAGE - 10);
	assert_int_equal(mmu_span(g->cpu, FIRST + 10, 100, true, &host), 0); /* D is not set */
	write_at(g, FIRST, 1, 0);
	assert_int_equal(mmu_span(g->cpu, FIRST + 10, 100, true, &host), 100);
	read_at(g, SECOND, 1);
	assert_int_equal(mmu_span(g->cpu, SECOND, 4, false, &host), 4);
	assert_int_equal(mmu_span(g->cpu, SECOND, 4, true, &host), 0);
	g->cpu->cpl = 3; /* of a supervisor page */
	assert_int_equal(mmu_span(g->cpu, SECOND, 4, false, &host), 0);
	mg_free(g);
}

static void fetches_end_with_their_page(void **state)
{
	struct mg *g = two_pages(RWU, RWU);
	uint8_t bytes[16];
	uint64_t page = 0, len = 0;
	bool ram = false;

	(void)state;
	assert_false(
		MG_RAISES(g->cpu, len = mmu_fetch(g->cpu, SECOND - 5, bytes, 15, &page, &ram)));
	assert_int_equal(len, 5);
	assert_int_equal(page, GPA1);
	assert_true(ram);
	assert_memory_equal(bytes, mg_ram(g, GPA1 + MG_PAGE - 5), 5);
	mg_set(g, FIRST, 1, MG_MMIO | RWU);
	mmu_invlpg(g->cpu, FIRST);
	memcpy(g->device + 0x100, "device's bytes", 14);
	assert_false(
		MG_RAISES(g->cpu, len = mmu_fetch(g->cpu, FIRST + 0x100, bytes, 14, &page, &ram)));
	assert_int_equal(len, 14);
	assert_false(ram);
	assert_int_equal(page, MG_MMIO);
	assert_memory_equal(bytes, "device's bytes", 14);
	mg_free(g);
}

/* #AC(0), only with AM, AC and CPL 3, and before a page fault. */
static void alignment_checks(void **state)
{
	struct mg *g = two_pages(RWU, RWU);
	struct cpu *cpu = g->cpu;
	uint64_t value;

	(void)state;
	for (unsigned bits = 0; bits < 8; bits++) {
		cpu->cr0 = (cpu->cr0 & ~CR0_AM) | (bits & 1 ? CR0_AM : 0);
		cpu->rflags = RFLAGS_FIXED | (bits & 2 ? RFLAGS_AC : 0);
		cpu->cpl = bits & 4 ? 3 : 2;
		mmu_flush(cpu, true);
		for (unsigned i = 0; i < 64; i++) {
			unsigned size = 1 << i % 4, at = i / 4;
			bool may = bits != 7 || at % size == 0;

			assert_int_equal(mg_read(cpu, FIRST + at, size, &value), may);
			if (!may)
				assert_int_equal(cpu->exception.vector, VECTOR_AC);
			assert_int_equal(mg_write(cpu, FIRST + at, size, 1), may);
			assert_int_equal(mg_add(cpu, FIRST + at, size, false, 1), may);
			assert_true(mg_system_read(cpu, FIRST + at, size, &value));
		}
	}
	mg_set(g, FIRST, 1, 0);
	mmu_invlpg(cpu, FIRST);
	assert_false(mg_read(cpu, FIRST + 1, 4, &value));
	assert_int_equal(cpu->exception.vector, VECTOR_AC);
	assert_true(cpu->exception.has_error);
	assert_int_equal(cpu->exception.error, 0);
	mg_assert_fault(cpu, mmu_read(cpu, FIRST + 4, 4), FIRST + 4, PFERR_U);
	mg_free(g);
}

static unsigned hits(struct mg *g, uint64_t linear, unsigned size, bool write)
{
	g->cpu->debug_hits = 0;
	if (write)
		write_at(g, linear, size, 0);
	else
		read_at(g, linear, size);
	return (unsigned)g->cpu->debug_hits;
}

static void data_breakpoints(void **state)
{
	struct mg *g = two_pages(RWU, RWU);
	struct cpu *cpu = g->cpu;

	(void)state;
	write_at(g, FIRST, 8, 0);  /* known: the fast path would take it */
	cpu->dr[0] = FIRST + 0x10; /* written, 4 bytes */
	cpu->dr[1] = FIRST + 0x20; /* read or written, 8 bytes */
	cpu->dr[2] = FIRST + 0x30; /* executed */
	cpu->dr[3] = FIRST + 0x40; /* read or written, 1 byte, not enabled */
	cpu_set_dr7(cpu, DR7_RESET | DR7_L(0) | DR7_G(1) | DR7_L(2) | 0xdULL << 16 | 0xbULL << 20 |
				 0x3ULL << 28);
	assert_int_equal(hits(g, FIRST + 0x10, 4, true), 1);
	assert_int_equal(hits(g, FIRST + 0x10, 4, false), 0);
	assert_int_equal(hits(g, FIRST + 0x13, 1, true), 1);
	assert_int_equal(hits(g, FIRST + 0x14, 1, true), 0);
	assert_int_equal(hits(g, FIRST + 0x0f, 1, true), 0);
	assert_int_equal(hits(g, FIRST + 0x0f, 2, true), 1);
	assert_int_equal(hits(g, FIRST + 0x1e, 4, false), 2);
	assert_int_equal(hits(g, FIRST + 0x27, 1, true), 2);
	assert_int_equal(hits(g, FIRST + 0x28, 1, true), 0);
	assert_int_equal(hits(g, FIRST + 0x30, 1, true), 0);
	assert_int_equal(hits(g, FIRST + 0x40, 1, true), 0);
	cpu_set_dr7(cpu, DR7_RESET);
	assert_int_equal(hits(g, FIRST + 0x10, 4, true), 0);
	mg_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_size_at_every_place),
		cmocka_unit_test(bytes_of_every_length),
		cmocka_unit_test(nothing_is_written_where_the_second_page_faults),
		cmocka_unit_test(addresses_wrap),
		cmocka_unit_test(devices_get_what_the_guest_does),
		cmocka_unit_test(half_memory_half_device),
		cmocka_unit_test(the_local_apic),
		cmocka_unit_test(the_local_apic_in_ram),
		cmocka_unit_test(spans),
		cmocka_unit_test(fetches_end_with_their_page),
		cmocka_unit_test(alignment_checks),
		cmocka_unit_test(data_breakpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
