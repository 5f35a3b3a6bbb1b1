/* SPDX-License-Identifier: Apache-2.0 */
/* One instruction executed by the host directly: what the software engine is compared with. */
#ifndef LODGE_TESTS_UNIT_ENGINE_BT_FPU_NATIVE_H
#define LODGE_TESTS_UNIT_ENGINE_BT_FPU_NATIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct native {
	uint8_t xsave[832] __attribute__((aligned(64))); /* standard format, x87 to AVX */
	uint64_t gpr[16];                                /* not RSP */
	uint64_t rflags;
	bool trapped; /* out: SIGFPE */
};

/* Executes insn with the state in n, which then has the state after it. */
void native_run(struct native *n, const uint8_t *insn, size_t len);

/* Installs the handler of SIGFPE that native_run needs to survive unmasked exceptions. */
void native_catch(void);

/* Whether the host can: it has AVX and XSAVE. */
bool native_possible(void);

#endif
