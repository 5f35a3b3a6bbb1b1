/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vCPU with descriptor tables and stacks, in a mode and at a level, that executes
 * single instructions from their bytes and tells the exception that each raised.
 */
#ifndef TESTS_UNIT_ENGINE_BT_INTERP_FAR_RIG_H
#define TESTS_UNIT_ENGINE_BT_INTERP_FAR_RIG_H

#include "core/x86/segment.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

/* Where things lie in RAM; there is no paging but in IA-32e mode, which maps RAM as it lies. */
#define FR_RAM    MIB(2)
#define FR_GDT    0x1000
#define FR_IDT    0x2000
#define FR_LDT    0x3000
#define FR_TSS    0x4000
#define FR_TSS2   0x5000
#define FR_STACK0 0x9000 /* tops of stacks that grow down, of the levels 0, 1 and 3 */
#define FR_STACK1 0xa000
#define FR_STACK3 0xb000
#define FR_IST    0xc008 /* not aligned to 16 bytes */
#define FR_TABLES 0x10000
#define FR_CODE   0x20000 /* RIP of the instruction */
#define FR_DATA   0x30000

/* Selectors of the GDT, without RPL. Those of data have a limit of 4 GiB, code of 1 MiB. */
enum {
	FR_CODE0 = 0x08,
	FR_DATA0 = 0x10,
	FR_CODE3 = 0x18,
	FR_DATA3 = 0x20,
	FR_LONG0 = 0x28, /* 64-bit code */
	FR_LONG3 = 0x30,
	FR_CONFORMING0 = 0x38,
	FR_CODE16 = 0x40, /* limit 64 KiB */
	FR_DATA16 = 0x48, /* limit 64 KiB */
	FR_ABSENT_DATA3 = 0x50,
	FR_ABSENT_CODE0 = 0x58,
	FR_EXECUTE_ONLY3 = 0x60,
	FR_READ_ONLY3 = 0x68,
	FR_LDT_SELECTOR = 0x70, /* 16 bytes in IA-32e mode, as the next */
	FR_TSS_SELECTOR = 0x80,
	FR_TSS2_SELECTOR = 0x90,
	FR_GATE = 0xa0, /* fr_gate */
	FR_CODE1 = 0xb0,
	FR_DATA1 = 0xb8,
	FR_LONG_BIG = 0xc0, /* L and D both set */
	FR_ABSENT_DATA0 = 0xc8,
	FR_LONG1 = 0xd0,
	FR_GDT_END = 0xd8,
};

enum fr_mode { FR_REAL, FR_VM86, FR_PROTECTED, FR_COMPAT, FR_64 };

struct far_rig {
	struct mem mem;
	struct engine_env env;
	struct vm vm;
	struct cpu *cpu;
	uint64_t exit_rip; /* rip when the exception was raised */
};

struct far_rig *fr_new(enum fr_mode mode, unsigned cpl);
void fr_free(struct far_rig *r);

/* Executes one instruction from its bytes: FR_FINE and rip is the next, or the vector raised, with
 * the error code in cpu->exception. */
#define FR_FINE -1
int fr_exec(struct far_rig *r, const void *bytes, size_t len);
#define FR_EXEC(r, ...) \
	fr_exec(r, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* interp_deliver. */
int fr_deliver(struct far_rig *r, enum deliver_kind kind, uint8_t vector, bool has_error,
	       uint32_t error);

/* Guest memory by its physical address. */
uint64_t fr_get(struct far_rig *r, uint64_t gpa, unsigned size);
void fr_put(struct far_rig *r, uint64_t gpa, unsigned size, uint64_t value);

/* The descriptor of a segment: attr as in struct segment, limit with granularity applied. */
void fr_descriptor(struct far_rig *r, unsigned selector, uint32_t attr, uint64_t base,
		   uint32_t limit);

/* A gate of the type, at gpa. */
struct fr_gate {
	unsigned type, dpl;
	uint16_t selector;
	uint64_t offset;
	unsigned params; /* or IST */
	bool absent;
};
void fr_put_gate(struct far_rig *r, uint64_t gpa, const struct fr_gate *g);

/* The value n places above the top of the stack, by places of size bytes. */
uint64_t fr_top(struct far_rig *r, unsigned n, unsigned size);

/* Loads a data segment register as if by an instruction that went well. */
void fr_load(struct far_rig *r, unsigned seg, uint16_t selector);

#endif
