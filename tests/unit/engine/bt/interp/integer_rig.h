/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One vCPU in a mode, with RAM, ports and segments, that executes single instructions
 * from their bytes: for the tests of the integer instructions.
 */
#ifndef LODGE_TESTS_INTEGER_RIG_H
#define LODGE_TESTS_INTEGER_RIG_H

#include "core/bus.h"
#include "core/mem.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define IR_RAM   MIB(2)
#define IR_CODE  0x1000  /* RIP of what is executed */
#define IR_DATA  0x20000 /* where DS begins, outside of 64-bit mode */
#define IR_EXTRA 0x30000 /* ES */
#define IR_STACK 0x40000 /* SS; SP is IR_SP */
#define IR_SP    0x800
#define IR_TSS   0x50000

/* The segments of IR_16, IR_REAL and IR_VM86 are of 64 KiB, those of IR_32 and IR_COMPAT of
 * 0x10000 bytes too, with a 32-bit stack. In IR_64 addresses are linear and RSP is IR_STACK +
 * IR_SP. */
enum ir_mode { IR_REAL, IR_VM86, IR_16, IR_32, IR_COMPAT, IR_64, IR_MODES };

struct integer_rig {
	struct mem mem;
	struct bus pio, mmio;
	struct engine_env env;
	struct vm vm;
	struct cpu *cpu;
	uint8_t ports[256]; /* at IR_PORT, with a write count */
	unsigned port_reads, port_writes;
};

#define IR_PORT 0x200

/* Ring 0, 3 in virtual-8086 mode. */
struct integer_rig *ir_new(enum ir_mode mode);
void ir_free(struct integer_rig *r);
void ir_set_cpl(struct integer_rig *r, unsigned cpl);

/* Calls the handler of the instruction once: the vector that it raised, its error code in
 * cpu->exception; or IR_FINE, and rip is next_rip. RIP is IR_CODE before. */
#define IR_FINE -1
int ir_exec(struct integer_rig *r, const void *bytes, size_t len);
#define IR_EXEC(r, ...) \
	ir_exec(r, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* The same until RIP moves on (REP), or something is raised; calls in *calls if not NULL. */
int ir_repeat(struct integer_rig *r, const void *bytes, size_t len, unsigned *calls);
#define IR_REPEAT(r, calls, ...) \
	ir_repeat(r, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), calls)

/* IR_64: from now on interp_run has a translator, with size bytes of code memory. */
void ir_translate(struct integer_rig *r, size_t size);

/* Guest memory by its physical address. */
uint64_t ir_get(struct integer_rig *r, uint64_t gpa, unsigned size);
void ir_put(struct integer_rig *r, uint64_t gpa, unsigned size, uint64_t value);
uint8_t *ir_ram(struct integer_rig *r, uint64_t gpa);

/* IR_64: the page-table entry of a linear address below IR_RAM, where RAM is mapped to itself. */
void ir_map(struct integer_rig *r, uint64_t linear, uint64_t entry);

#endif
