/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87, MMX, SSE and AVX state, and the execution of their instructions by the
 * host's own processor on the guest's values.
 *
 * An instruction that only computes is copied into a stub of executable memory, with
 * its memory operand redirected to a buffer and its general register to RBX. The stub
 * loads the guest's registers, executes it, and stores them; so results, MXCSR and x87
 * status are the host processor's. Nothing here knows of guest memory, modes, or
 * exceptions but those of the arithmetic itself.
 *
 * Stubs are written by one mapping and executed by another: no memory is both
 * writable and executable. They are kept in a cache of bounded size, one a vCPU.
 *
 * Sources: Intel SDM vol. 1 chapters 8, 10, 11 and 13; AMD APM vol. 1 chapters 4 to 6.
 */
#ifndef LODGE_ENGINE_BT_FPU_FPU_H
#define LODGE_ENGINE_BT_FPU_FPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct fpu_stubs; /* the cache of stubs */

/* The state, in the standard XSAVE format (SDM vol. 1, 13.4) as far as AVX: legacy area with x87,
 * MXCSR and XMM; then the header; then the upper halves of YMM. Which components are in their
 * initial configuration is found out where XSAVE has to say so. */
#define FPU_YMM_HI    576
#define FPU_AREA_SIZE 832

struct fpu {
	uint8_t area[FPU_AREA_SIZE] __attribute__((aligned(64)));
	uint64_t gpr[4];                                  /* RAX, RCX, RDX, RBX for the stub */
	uint64_t rflags;                                  /* status flags for the stub */
	uint8_t operand[64] __attribute__((aligned(64))); /* the memory operand */
	struct fpu_stubs *stubs;
};

/* 0, or -errno with e set. release also after a failure. Any thread. */
int fpu_init(struct fpu *fpu, struct err *e);
void fpu_release(struct fpu *fpu);

/* The state after power-on, INIT leaves it alone; FNINIT's part only. */
void fpu_reset(struct fpu *fpu);
void fpu_fninit(struct fpu *fpu);

/* An instruction to execute: its bytes, and where its parts lie (offsets, as in struct insn_layout:
 * 0 is none, of rex and vex 0xff). */
struct fpu_insn {
	const uint8_t *bytes;
	uint8_t len;
	uint8_t rex, vex, modrm, opcode;
	bool x87;    /* uses x87 or MMX registers */
	bool memory; /* has a memory operand: fpu->operand takes its place */
	int8_t gpr; /* which operand of the encoding is a general register: 0 ModRM.reg, 1 ModRM.rm,
			2 VEX.vvvv; -1 none. fpu->gpr[3] takes its place */
};

enum fpu_result {
	FPU_DONE,
	FPU_SIMD_EXCEPTION, /* #XM: unmasked; MXCSR has its flags, nothing else changed */
};

/*
 * Executes insn on the state, fpu->gpr, fpu->rflags and fpu->operand. A waiting x87 instruction
 * must not be handed over while fpu_pending. The x87 instruction and data pointers in
 * area are the caller's to set afterwards. vCPU's thread.
 */
enum fpu_result fpu_run(struct fpu *fpu, const struct fpu_insn *insn);

/* An unmasked x87 exception waits for the next waiting instruction (#MF). */
bool fpu_pending(const struct fpu *fpu);

#endif
