/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions executed by the host directly: what the software engine is compared with.
 *
 * Code and data have fixed low addresses, so that a guest can have the same ones.
 */
#ifndef LODGE_TESTS_UNIT_ENGINE_BT_FPU_NATIVE_H
#define LODGE_TESTS_UNIT_ENGINE_BT_FPU_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NATIVE_CODE      0x1f000000UL
#define NATIVE_DATA      0x20000000UL
#define NATIVE_DATA_SIZE 0x4000UL /* the page behind it faults */

struct native {
	uint8_t xsave[832] __attribute__((aligned(64))); /* standard format, x87 to AVX */
	uint64_t gpr[16];                                /* not RSP */
	uint64_t rflags;
	/* After the run: */
	int vector; /* of the exception that ended it; -1: none */
	uint64_t rip;
};

/* Executes code with the state in n, which then has the state after it. */
void native_run(struct native *n, const uint8_t *code, size_t len);

/* The same for 32-bit code: in compatibility mode. Upper halves of registers mean nothing then. */
void native_run_32(struct native *n, const uint8_t *code, size_t len);

/* Installs the handlers of signals that native_run needs to survive exceptions. */
void native_catch(void);

/* Whether the host can: it has AVX2, FMA and XSAVE. */
bool native_possible(void);

/* Random states: registers and memory with values that arithmetic treats specially among them. */
uint64_t native_random(void);
uint64_t native_value(void);
void native_fill(uint8_t *at, size_t len);
/* All registers, and NATIVE_DATA; x87 with its exceptions masked. mmx: as after MMX instructions.
 */
void native_randomise(struct native *n, bool mmx, uint32_t mxcsr);

#endif
