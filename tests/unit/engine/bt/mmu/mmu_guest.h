/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU with RAM, a bus and page tables, and no engine around it: what the tests of
 * mmu/ run on. Page tables are written by the test, entry by entry.
 *
 * RAM is 16 MiB at 0 and 4 MiB at 4 GiB; MMIO_BASE is a device of bytes that remembers.
 */
#ifndef LODGE_TESTS_MMU_GUEST_H
#define LODGE_TESTS_MMU_GUEST_H

#include <setjmp.h>

#include "core/bus.h"
#include "core/mem.h"
#include "engine/bt/cpu.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define MG_PAGE  4096u
#define MG_RAM   MIB(16)
#define MG_HIGH  GIB(4)
#define MG_MMIO  0xe0000000ULL /* a page of device */
#define MG_NONE  0xd0000000ULL /* nothing answers there */
#define MG_LAPIC 0xfee00000ULL

#define MG_PHYS_BITS 40

enum mg_mode { MG_OFF, MG_32BIT, MG_PAE, MG_4LEVEL, MG_5LEVEL, MG_MODES };

struct mg {
	struct vm vm;
	struct cpu *cpu; /* vm.cpu[0] */
	struct mem mem;
	struct bus mmio;
	struct engine_env env;
	enum mg_mode mode;
	uint64_t next_table;     /* gpa of the next page that becomes a table */
	uint8_t device[MG_PAGE]; /* MG_MMIO's bytes */
	unsigned device_accesses;
	uint64_t device_last; /* offset of the last access */
	unsigned device_size; /* its size */
	uint32_t lapic[256];  /* by offset / 16 */
	unsigned lapic_accesses;
};

/* A machine with one vCPU, paging off, ring 0; exclusive_enter is done for it. */
struct mg *mg_new(void);
void mg_free(struct mg *g);

/* One more vCPU with the registers of the first; not entered. */
struct cpu *mg_add_cpu(struct mg *g);

/* Empty tables for a mode: CR0.PG|PE|WP, ring 0. */
void mg_mode(struct mg *g, enum mg_mode mode);

/* The entry of linear at a level (1: PTE, 2: PDE, ...), whose upper levels are made with all rights
 * where they are missing. */
void mg_set(struct mg *g, uint64_t linear, unsigned level, uint64_t value);
uint64_t mg_get(struct mg *g, uint64_t linear, unsigned level);
/* Levels of a mode; the bytes that an entry at a level maps. */
unsigned mg_levels(enum mg_mode mode);
unsigned mg_shift(enum mg_mode mode, unsigned level);

/* The host's address of a byte of RAM. */
uint8_t *mg_ram(struct mg *g, uint64_t gpa);
uint64_t mg_ram64(struct mg *g, uint64_t gpa);

/* Accesses; false: an exception was raised, which is in cpu->exception. */
bool mg_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value);
bool mg_system_read(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t *value);
bool mg_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value);
bool mg_read_bytes(struct cpu *cpu, uint64_t linear, void *buf, size_t len);
bool mg_write_bytes(struct cpu *cpu, uint64_t linear, const void *buf, size_t len);
/* Adds by a read-modify-write; size up to 8. */
bool mg_add(struct cpu *cpu, uint64_t linear, unsigned size, bool locked, uint64_t value);

/* What a vCPU does between two instructions: lets others be alone. */
void mg_between(struct cpu *cpu);

/* Executes a statement; whether it raised, with the exception in cpu->exception. */
#define MG_RAISES(cpu, statement)                                            \
	({                                                                   \
		volatile bool raised_ = true;                                \
		(cpu)->exception = (struct cpu_exception){.pending = false}; \
		if (!_setjmp((cpu)->unwind)) {                               \
			statement;                                           \
			raised_ = false;                                     \
		}                                                            \
		raised_;                                                     \
	})

/* ... and that it raised exactly this page fault. */
#define mg_assert_fault(cpu, statement, linear, code)                 \
	do {                                                          \
		assert_true(MG_RAISES(cpu, statement));               \
		assert_int_equal((cpu)->exception.vector, VECTOR_PF); \
		assert_int_equal((cpu)->exception.error, code);       \
		assert_int_equal((cpu)->exception.payload, linear);   \
	} while (0)

#endif
