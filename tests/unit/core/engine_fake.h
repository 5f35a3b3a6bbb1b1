/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine for tests: everything that core/engine.h asks for, by a processor that
 * does not exist. Its instructions are 8 bytes,
 *
 *	byte 0   opcode, enum fake_op
 *	byte 1   register a       byte 2   register b
 *	byte 3   size in bytes of the access: 1, 2, 4 or 8
 *	byte 4   imm, 32 bits, little-endian
 *
 * fetched from guest RAM at CS.base + RIP. Addresses are physical: there is no
 * paging and no privilege. It has local APICs of its own (ENGINE_HAS_LAPIC), without
 * registers: see FAKE_EOI and FAKE_IPI. Interrupts go through a table of 8-byte
 * handler addresses at IDT.base, vector by vector, and push RFLAGS and RIP on the
 * stack at RSP. Where there is no handler (IDT.limit too small) it is a triple fault.
 *
 * fake_bare_engine is the same without local APICs of its own: a page at 0xFEE00000
 * reaches the machine's (env->lapic), as do FAKE_EOI and FAKE_IPI; a vCPU that halts
 * leaves run().
 */
#ifndef LODGE_TESTS_CORE_ENGINE_FAKE_H
#define LODGE_TESTS_CORE_ENGINE_FAKE_H

#include <stdint.h>

#include "base/buf.h"
#include "core/engine.h"

enum fake_op {
	FAKE_UD,    /* zeroed memory is no program: invalid opcode, vector 6 */
	FAKE_MOVI,  /* a = imm, zero-extended */
	FAKE_MOV,   /* a = b */
	FAKE_ADD,   /* a += b + imm, imm sign-extended */
	FAKE_LOAD,  /* a = memory at b + imm */
	FAKE_STORE, /* memory at b + imm = a */
	FAKE_XADD,  /* a = old 8 bytes of RAM at b + imm, to which a is added, atomically */
	FAKE_IN,    /* a = port imm */
	FAKE_OUT,   /* port imm = a */
	FAKE_JMP,   /* by imm instructions from the next one */
	FAKE_JNZ,   /* the same, if a is not 0 */
	FAKE_CLI,
	FAKE_STI,
	FAKE_HLT,
	FAKE_IRET,
	FAKE_EOI,   /* ends the interrupt of highest vector in service */
	FAKE_IPI,   /* message to the APIC of id a: vector and delivery mode as in MSI data b */
	FAKE_CPUID, /* RAX, RBX, RCX, RDX as the real one */
	FAKE_RDTSC, /* a = time stamp counter */
	FAKE_EXIT,  /* run() returns imm, an enum engine_exit */
};

#define FAKE_INSN_SIZE 8

/* Appends an instruction to a program. */
void fake_emit(struct buf *program, enum fake_op op, unsigned a, unsigned b, unsigned size,
	       int32_t imm);

extern const struct engine_ops fake_engine;
extern const struct engine_ops fake_bare_engine;

#endif
