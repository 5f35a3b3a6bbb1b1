/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tiny machine for the tests that hold for every engine: RAM at 0, ports that are a
 * recording device, and the local APICs of devices/irqchip for an engine that brings none.
 *
 * Ports:
 *	BOX_STOP	a write kicks vCPU 0: run() returns behind the instruction
 *	BOX_TELL	a write of 32 bits is recorded
 *	others		go to the test's port functions, if it has any
 */
#ifndef LODGE_TESTS_UNIT_ENGINE_ENGINE_BOX_H
#define LODGE_TESTS_UNIT_ENGINE_ENGINE_BOX_H

#include "core/engine.h"
#include "devices/irqchip/lapic.h"
#include "kvm_guest.h"

#define BOX_VCPUS 4
#define BOX_RAM   0x200000ULL
#define BOX_MMIO  0xd0000000ULL /* a page of device memory */
#define BOX_TELLS 64

#define BOX_STOP 0xf0
#define BOX_TELL 0xf8

/* Guest physical addresses of what box_long_mode writes. */
#define BOX_GDT    0x6000
#define BOX_TSS    0x6800
#define BOX_IDT    0x7000
#define BOX_TABLES 0x9000 /* four pages */
#define BOX_STACK  0x18000

/* Selectors of BOX_GDT. */
#define BOX_CODE64  0x08
#define BOX_DATA    0x10
#define BOX_CODE32  0x18
#define BOX_USER32  0x23
#define BOX_USER_DS 0x2b
#define BOX_USER64  0x33
#define BOX_ODD     0x38 /* data, its base 0x20000, limit 0xfff */
#define BOX_TR      0x40 /* two entries in IA-32e mode */

struct box {
	const struct engine_ops *engine;
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock;
	struct lapics lapics; /* where the engine has none */
	struct engine_env env;
	struct engine_vm *vm;
	struct engine_vcpu *vcpus[BOX_VCPUS];
	unsigned cpus;
	struct engine_detail detail;
	uint32_t tell[BOX_TELLS];
	unsigned tells;
	unsigned stops;
	bool wired; /* the APICs' requests reach the engine; else the test's intr() alone */
	unsigned acks;
	uint8_t ack_vector; /* without wired */
	void (*wrote)(struct box *b, uint64_t port, uint64_t value);
	uint64_t (*mmio_read)(struct box *b, uint64_t offset);
	void *test; /* the test's own */
};

/* What both, or one, of the engines can give: CPU model "host" of what all have in common. */
void box_cpuid(struct cpuid_table *out, const struct engine_ops *const *engines, unsigned count);

/* A machine with cpus vCPUs in the reset state. */
void box_init(struct box *b, const struct engine_ops *engine, const struct cpuid_table *cpuid,
	      unsigned cpus);
void box_release(struct box *b);

/* State of a vCPU, with its local APIC wherever that is. */
void box_get(struct box *b, unsigned n, struct vcpu_state *s);
void box_set(struct box *b, unsigned n, const struct vcpu_state *s);

/* Runs vCPU n and asserts why it returned. */
void box_run(struct box *b, unsigned n, enum engine_exit expected);

/* Copies code to GUEST_CODE. */
void box_load(struct box *b, const char *code, const char *end);

/* A state that begins at GUEST_CODE: in real mode with segments and bases 0; in 64-bit mode, paging
 * by 2 MiB pages one to one below 1 GiB and from 3 to 4 GiB, or 32-bit mode without paging, with
 * descriptor tables in RAM in both. */
void box_real_mode(struct box *b, struct vcpu_state *s);
void box_long_mode(struct box *b, struct vcpu_state *s);
void box_protected_mode(struct box *b, struct vcpu_state *s);

/* An interrupt gate of ring 3's: a label inside code that is loaded at GUEST_CODE. */
void box_gate64(struct box *b, unsigned vector, const char *code, const char *handler);
void box_gate32(struct box *b, unsigned vector, const char *code, const char *handler);
void box_vector16(struct box *b, unsigned vector, const char *code, const char *handler);

/* Whether KVM can take part: it is there and is hardware, not an interpreter posing as it. */
bool box_has_kvm(void);

#endif
