/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tiny machine for the tests of engine/kvm: RAM at 0, both buses claimed whole by
 * one recording device, guest code written in assembly inside the test.
 *
 * The tests need a working /dev/kvm. Where there is none the program says so and
 * exits with status 77, which is neither passed nor failed.
 */
#ifndef LODGE_TESTS_UNIT_ENGINE_KVM_GUEST_H
#define LODGE_TESTS_UNIT_ENGINE_KVM_GUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/engine.h"

#define GUEST_RAM  0x200000ULL
#define GUEST_CODE 0x1000
#define GUEST_MMIO 0x10000000ULL /* device memory from here to 4 GiB */
#define GUEST_LOG  256

#define GUEST_NOT_HERE 77 /* exit status of a test program that cannot run on this machine */

/* Assembles text for the given mode (16 or 64) into NAME and NAME_end, at file level. */
#define GUEST_ASM(name, bits, text)                                                             \
	__asm__(".pushsection .rodata\n.globl " #name ", " #name "_end\n.code" #bits "\n" #name \
		":\n" text "\n" #name "_end:\n.code64\n.popsection");                           \
	extern const char name[], name##_end[]

struct guest_access {
	bool write;
	bool mmio;
	uint64_t addr;
	unsigned size;
	uint64_t value;
};

struct guest {
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock;
	struct engine_env env;
	struct engine_vm *vm;
	struct cpuid_table cpuid;
	struct engine_vcpu *vcpus[4];
	struct engine_detail detail;

	pthread_t threads[4];
	enum engine_exit why[4];
	struct engine_detail details[4];

	pthread_mutex_t lock; /* guards the log */
	pthread_cond_t more;  /* accesses has grown */
	struct guest_access log[GUEST_LOG];
	unsigned accesses;
	uint64_t (*answer)(struct guest *g, const struct guest_access *a); /* NULL: all ones */
	void (*seen)(struct guest *g, const struct guest_access *a);
	unsigned acks;
	uint8_t ack_vector;
	bool ack_keeps_intr; /* else the acknowledge cycle lowers INTR, as an 8259 does */
	unsigned eois;
	uint8_t eoi_vector;
	void *test; /* the test's own */
};

/* A machine with cpus vCPUs in the reset state. Asserts that all goes well. */
void guest_init(struct guest *g, unsigned cpus);
void guest_release(struct guest *g);

/* Copies code to GUEST_CODE and makes vCPU 0 begin there: in real mode with all segments 0 and the
 * stack at 0x8000, or in 64-bit mode with the first GiB and the fourth mapped one to one. Local
 * APICs are enabled, LINT0 of vCPU 0 takes ExtINT. */
void guest_load16(struct guest *g, const char *code, const char *end);
void guest_load64(struct guest *g, const char *code, const char *end);
void guest_state16(struct vcpu_state *s, unsigned apic_id);
void guest_state64(struct guest *g, struct vcpu_state *s, unsigned apic_id);

/* Runs vCPU n, and asserts that it returned for this reason. */
void guest_run(struct guest *g, unsigned n, enum engine_exit expected);

/* The state of vCPU n. */
void guest_get(struct guest *g, unsigned n, struct vcpu_state *s);
void guest_set(struct guest *g, unsigned n, const struct vcpu_state *s);

/* Real-mode interrupt vector: handler is a label inside code that was loaded at GUEST_CODE. */
void guest_vector(struct guest *g, unsigned vector, const char *code, const char *handler);

/* Asserts that access number n was this one. */
void guest_expect(struct guest *g, unsigned n, struct guest_access want);

/* Runs vCPU n on a thread of its own; guest_join waits for run() to return and gives why. */
void guest_start(struct guest *g, unsigned n);
enum engine_exit guest_join(struct guest *g, unsigned n);

/* Waits until the guest has made so many accesses in all. */
void guest_wait(struct guest *g, unsigned accesses);

/* The value of a counter of the engine. */
uint64_t guest_stat(struct guest *g, const char *name);

/* The device's port 0xf4: a write kicks vCPU 0 out of run(), so that a test's guest code ends by
 * "out %al, $0xf4". */
#define GUEST_DONE_PORT 0xf4

/* Exits with GUEST_NOT_HERE where KVM cannot be used. First in main, which gives its arguments: the
 * first, if any, is a pattern of the tests to run (* and ?). */
void guest_require_kvm(int argc, char **argv);

/* Likewise where KVM is not efficient, for tests that an interpreter posing as KVM fails. */
void guest_require_hardware(void);

#endif
