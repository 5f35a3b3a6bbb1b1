/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions against the hardware: what the parts of this test share.
 *
 * A case is a few bytes of code, the registers before it, and some memory. It is
 * made from a seed and a number alone (generate.c), runs on the host's processor (native.c) and
 * in the interpreter (lodge.c), at the same linear addresses, until it reaches its end or an
 * exception; then every register and all its memory are compared (compare.c).
 *
 *	linear address                native                     lodge
 *	CODE_ADDR, 2 pages            r-x, INT3 around the code  the same
 *	  ... 2 pages more            nothing                    nothing
 *	DATA_ADDR, 2 pages            rw-                        the same
 *	  ... 1 page more             r--                        the same
 *	HIGH_ADDR                     the first page again, then nothing, the second, and the
 *	                              third; above 4 GiB
 *	EXIT_ADDR                     r-x, leaves the case       the same bytes; lodge stops there
 *
 * 64-bit code runs in the host's segment, 32-bit code in the host's or one of ours, 16-bit code in
 * one of ours; so do stacks and data (segments.h).
 *
 * Everything of a worker process is in struct worker; workers share nothing.
 */
#ifndef LODGE_TESTS_INSN_INSN_H
#define LODGE_TESTS_INSN_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PAGE 4096u

#define CODE_ADDR  0x10000000u
#define CASE_PAGES 2u
#define CODE_SIZE  (CASE_PAGES * PAGE)
#define DATA_ADDR  0x20000000u
#define DATA_PAGES 3u
#define DATA_SIZE  (DATA_PAGES * PAGE)
#define DATA_RW    (2 * PAGE) /* so much of it can be written */
#define HIGH_ADDR  0x7a0000000000u
#define EXIT_ADDR  0x18000000 /* no suffix: the assembler reads it, too */

/* native.c's own page. IRETQ to a stack segment of 16 bits loads SP alone: the upper part of ESP is
 * that of this address. */
#define SCRATCH 0x7c1230000000

#define SEL_CODE32 0x23 /* Linux's, the same in all its versions */
#define SEL_DATA   0x2b
#define SEL_CODE64 0x33

enum { SEG_ES_, SEG_CS_, SEG_SS_, SEG_DS_, SEG_FS_, SEG_GS_, SEGS };

#define XSAVE_AREA 832 /* standard format: legacy, header, AVX */

struct state {
	uint8_t xsave[XSAVE_AREA] __attribute__((aligned(64)));
	uint64_t gpr[16];
	uint64_t rip;
	uint64_t rflags;
	uint16_t sel[SEGS];
	uint64_t fs_base, gs_base;
};

#define END_REACHED 256 /* the code was left at its end */
#define END_TIMEOUT 257

struct outcome {
	struct state s;
	unsigned end; /* an exception's vector, or END_* */
	uint32_t error;
	uint64_t cr2;
	uint64_t status_lost; /* status flags that may have any value, at an exception */
};

enum { MODE_64, MODE_32, MODE_16, MODES };

#define PATCHES_MAX 8
#define PATCH_MAX   96

struct patch {
	unsigned offset; /* in the data pages */
	unsigned len;
	uint8_t bytes[PATCH_MAX];
};

#define CODE_MAX 96

struct test_case {
	uint64_t seed, number;
	unsigned mode;
	uint8_t code[CODE_MAX];
	unsigned len;
	unsigned insns; /* how many instructions it was made of; 0: not known */
	unsigned tail;  /* bytes of the jump to EXIT_ADDR that follows at len; 0: none does */
	uint32_t addr;  /* of the first byte, linear */
	struct state in;
	struct patch patch[PATCHES_MAX];
	unsigned patches;
};

/* The memory that a case sees, in one of its two worlds. */
struct memory {
	uint8_t *code;
	uint8_t *data;
};

/* native.c: the host's processor. One use a process. */
int native_init(struct memory *m);
void native_run(const struct state *in, struct outcome *out);
/* The bytes at EXIT_ADDR, a page. */
const uint8_t *native_exit_page(void);

/* lodge.c: the engine's vCPU, driven by an executor of execute.c. */
int lodge_init(struct memory *m, const char *executor);
void lodge_run(const struct test_case *c, struct outcome *out);
/* Whether a case is to be run twice, so that what was found out by the first run (translations,
 * links between them) is used by the second. */
bool lodge_learns(const struct test_case *c);
/* For a signal handler: a case that runs for so long now that it has no end is stopped. */
void lodge_tick(void);
/* The exit page is the host's: after native_init, which is to come after lodge_init. */
void lodge_exit_page(void);
/* [at, at + len) of the code pages was written. */
void lodge_code_written(uint64_t at, uint64_t len);

/* generate.c: the case of this seed and number, or false where it is none to run. */
struct generator {
	uint64_t seed;
	const char *only; /* NULL, or what the case's name must contain */
	bool ldt;         /* the segments of segments.h are there */
};
bool generate(const struct generator *g, struct test_case *c, uint64_t number);
/* What the data pages hold before a case's patches. */
void generate_background(uint8_t *data, uint64_t seed);

/* encode.c: what an instruction is called: map, opcode, prefix and /reg. */
#define NAME_MAX 40
struct head {
	unsigned map; /* 0 primary, 1 0F, 2 0F38, 3 0F3A; 4 + n: VEX map n; 8: XOP; 9: EVEX */
	uint8_t opcode;
	uint8_t pp; /* the mandatory prefix that counts: 0, 0x66, 0xf2 or 0xf3 */
	uint8_t modrm;
	uint8_t rex; /* also from VEX: W at least */
	bool has_modrm, l, opsize, addrsize, lock;
	uint8_t seg;       /* prefix byte, or 0 */
	unsigned modrm_at; /* offset */
};
/* Parses prefixes and opcode of the instruction at code; false: longer than len. */
bool head_parse(struct head *h, unsigned mode, const uint8_t *code, unsigned len);
/* Whether ModRM.reg says which instruction it is: of map and opcode. */
bool head_is_group(const struct head *h);
extern const char *const mode_names[MODES];
void head_name(const struct head *h, unsigned mode, char name[NAME_MAX]);
/* Why this instruction cannot be compared, or NULL. */
const char *excluded(const struct head *h, unsigned mode, const uint8_t *code, unsigned len);

/* compare.c: the first difference's name, or NULL; out: all of them, in lines, where not NULL. */
const char *compare(const struct test_case *c, const struct outcome *native,
		    const struct outcome *lodge, const struct memory *nm, const struct memory *lm,
		    FILE *out);
void print_case(const struct test_case *c, FILE *out);

#endif
