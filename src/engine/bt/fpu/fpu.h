/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87, MMX, SSE and AVX state, and the execution of their instructions by the
 * host's own processor on the guest's values.
 *
 * An instruction that only computes is copied into a stub of executable memory, with
 * its memory operand redirected to a buffer and its general register to RBX. The stub's
 * caller loads the guest's registers, calls it, and stores them; so results, MXCSR and x87
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
 * MXCSR and XMM; then the header; then the upper halves of YMM. The header is not kept: which
 * components are in their initial configuration is found out where XSAVE has to say so
 * (fpu_in_use). The x87 pointers are the 64-bit ones, and are there even where the processor's
 * FXSAVE would not show them. */
#define FPU_YMM_HI    576
#define FPU_AREA_SIZE 832

/* What differs between processors, as the host's does it. */
struct fpu_host {
	uint32_t mxcsr_mask; /* bits that MXCSR has */
	bool avx;
	bool fop_always;      /* every x87 instruction sets the last opcode, not only one that meets
			       an unmasked exception */
	bool fdp_always;      /* ... and the last data pointer */
	bool hides_pointer;   /* FXSAVE and XSAVE give zeros for the pointers while no exception is
			       pending (AMD) */
	uint8_t pointer_bits; /* of the x87 pointers, the rest is sign: 48, 57 or 64 */
	bool selectors;       /* the pointers have their selectors: not CPUID.7:EBX.ZERO_FCS_FDS */
};

struct fpu {
	uint8_t area[FPU_AREA_SIZE] __attribute__((aligned(64)));
	uint64_t gpr[4];                                  /* RAX, RCX, RDX, RBX for the stub */
	uint64_t rflags;                                  /* status flags for the stub */
	uint8_t operand[64] __attribute__((aligned(64))); /* the memory operand */
	uint16_t fcs, fds; /* the x87 pointers' selectors, which area has no place for */
	struct fpu_host host;
	struct fpu_stubs *stubs;
	/* Of fpu_run: */
	uint32_t host_mxcsr;
	uint16_t host_fcw;
	volatile int trapped; /* the signal that ended the stub, or 0 */
};

/* 0, or -errno with e set (executable memory may be forbidden here). release also after a failure,
 * or of a zeroed struct. Any thread. */
int fpu_init(struct fpu *fpu, struct err *e);
void fpu_release(struct fpu *fpu);

/* The state after power-on; INIT leaves it alone. FNINIT's part only. */
void fpu_reset(struct fpu *fpu);
void fpu_fninit(struct fpu *fpu);

/* An instruction to execute: its bytes, and where its parts lie (offsets; modrm 0: none). */
struct fpu_insn {
	const uint8_t *bytes;
	uint8_t len;
	uint8_t opcode; /* its last byte */
	uint8_t modrm;
	uint8_t tail; /* what follows ModRM, SIB and displacement: the immediate; len: nothing */
	bool vex;
	bool long_mode; /* it is 64-bit code */
	bool x87;       /* uses x87 or MMX registers */
	bool memory;    /* has a memory operand: fpu->operand takes its place */
	bool gpr;       /* has an explicit general register: fpu->gpr[3] takes its place */
};

enum fpu_result {
	FPU_DONE,
	FPU_SIMD_EXCEPTION, /* #XM: unmasked; MXCSR has its flags, nothing else changed */
	FPU_UNDEFINED,      /* #UD: the host's processor does not have it; nothing changed */
};

/*
 * Executes insn on the state, fpu->gpr, fpu->rflags and fpu->operand. A waiting x87 instruction
 * or one of MMX must not be handed over while fpu_pending, nor an MXCSR with bits that
 * host.mxcsr_mask does not have. The x87 instruction and data pointers in area are left
 * alone (fpu_point). The first time, a handler of SIGILL is installed for the process, and the
 * first time that MXCSR has an exception unmasked one of SIGFPE; they hand on what is not their
 * own. The thread must not block these signals. vCPU's thread.
 */
enum fpu_result fpu_run(struct fpu *fpu, const struct fpu_insn *insn);

/* Where an x87 instruction was, and its operand. */
struct fpu_pointers {
	uint16_t opcode; /* low 3 bits of the first byte, and ModRM */
	uint16_t cs, ds;
	uint64_t ip, dp;
	bool memory; /* dp and ds mean something */
};

/* Sets the pointers after a non-control x87 instruction, as the host's processor does. */
void fpu_point(struct fpu *fpu, const struct fpu_pointers *p);

/* An unmasked x87 exception waits for the next waiting instruction (#MF). */
bool fpu_pending(const struct fpu *fpu);

/* Which components (XSTATE_X87, _SSE, _AVX) are not in their initial configuration: XINUSE. MXCSR
 * does not count (SDM vol. 1, 13.6). */
uint64_t fpu_in_use(const struct fpu *fpu);

/* Brings x87 state that was put into area (by XRSTOR or a snapshot) into a form that a processor
 * has: fixed bits, FSW.ES. MXCSR must be valid. */
void fpu_normalise(struct fpu *fpu);

/* The formats of FNSTENV and FNSAVE, by operand size and mode (SDM vol. 1, 8.1.10). */
enum fpu_format { FPU_PROTECTED_32, FPU_REAL_32, FPU_PROTECTED_16, FPU_REAL_16 };

#define FPU_ENV_MAX  28
#define FPU_SAVE_MAX (FPU_ENV_MAX + 80)

/* The environment (with_registers false) or the whole of the x87 state to and from buf, which has
 * fpu_image_size bytes. Storing changes nothing in fpu. */
unsigned fpu_image_size(enum fpu_format format, bool with_registers);
void fpu_store_image(const struct fpu *fpu, enum fpu_format format, bool with_registers,
		     uint8_t *buf);
void fpu_load_image(struct fpu *fpu, enum fpu_format format, bool with_registers,
		    const uint8_t *buf);

/* The first 160 bytes of FXSAVE's image, of which 32 to 160 are ST0 to ST7; wide: the form with
 * 64-bit pointers. MXCSR and its mask are there too. What the processor leaves alone in memory is
 * what buf holds before. */
void fpu_store_x87(const struct fpu *fpu, bool wide, uint8_t buf[160]);
/* Takes over the x87 state from such an image, but not MXCSR. */
void fpu_load_x87(struct fpu *fpu, bool wide, const uint8_t buf[160]);

#endif
