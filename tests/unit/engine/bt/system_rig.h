/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU of the software engine with a little RAM and a local APIC that only takes notes: for tests
 * of single handlers, which are called without a program around them. */
#ifndef LODGE_TESTS_UNIT_ENGINE_BT_SYSTEM_RIG_H
#define LODGE_TESTS_UNIT_ENGINE_BT_SYSTEM_RIG_H

#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/features.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define RIG_RAM      MIB(4)
#define RIG_VCPUS    2
#define RIG_NO_FAULT 256

struct rig_lapic {
	uint8_t cr8;
	uint64_t base;
	bool refuses; /* set_base and the x2APIC accesses give false */
	unsigned offset;
	uint64_t value;
	uint64_t deadline;
	unsigned deadlines; /* calls of set_deadline */
	bool armed;
};

struct rig {
	struct vm vm;
	struct engine_env env;
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock; /* manual */
	struct rig_lapic lapic[RIG_VCPUS];
	struct cpu cpu[RIG_VCPUS];
};

/* vCPUs of CPU model "host" as the engine creates them, at power-on; vendor as the host's, or as
 * rig_vendor said before. */
void system_rig_init(struct rig *r);
void rig_init_vendor(struct rig *r, bool amd);
void system_rig_release(struct rig *r);

/* 64-bit mode, ring 0, flat, with paging on, tables at 1 MiB that map RAM to itself. */
void rig_long_mode(struct cpu *cpu);

/* Ring 3 code in the mode that the vCPU is in. */
void rig_ring3(struct cpu *cpu);

/* Executes one instruction by its handler: the vector that it raised, or RIG_NO_FAULT; then rip is
 * next_rip. */
unsigned rig_run(struct cpu *cpu, const struct insn *insn);

/* An instruction without operands. */
unsigned rig_op(struct cpu *cpu, unsigned op);

/* MOV to and from a control or debug register, by RAX. */
unsigned rig_mov_to(struct cpu *cpu, unsigned op, unsigned n, uint64_t value);
unsigned rig_mov_from(struct cpu *cpu, unsigned op, unsigned n, uint64_t *value);

unsigned rig_wrmsr(struct cpu *cpu, uint32_t index, uint64_t value);
unsigned rig_rdmsr(struct cpu *cpu, uint32_t index, uint64_t *value);

#endif
