/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decoder makes of encodings that were put together by hand from the manuals (Intel SDM
 * vol. 2, AMD APM vol. 3), as a line of text:
 *
 *	op op_size/addr_size operand ... ; other things
 *
 * r3:4 is general register 3 with 4 bytes (h0 is AH), m:4 memory of 4 bytes, i an immediate, j a
 * distance, far, s3 a segment register, c0 and d7 control and debug registers, v1:16 a vector
 * register, q1 MMX, t1 ST(1). seg[base+index<<shift+disp] is the memory operand, with x and y for
 * no register, RIP is "ip", * marks an index in a vector register. =1 is imm, ,2 imm2.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode.h"

enum vendor { BOTH, INTEL, AMD };

struct row {
	enum decode_mode mode;
	const char *bytes; /* in hexadecimal */
	const char *text;  /* or MORE, INVALID, TOO_LONG */
	enum vendor vendor;
};

#define M16 DECODE_16
#define M32 DECODE_32
#define M64 DECODE_64
#define RM  DECODE_REAL

/* clang-format off */
static const struct row rows[] = {
	/* ModRM, SIB, displacements, sizes */
	{M64, "01 d8",                   "ADD 4/8 r0:4 r3:4", 0},
	{M64, "66 01 d8",                "ADD 2/8 r0:2 r3:2", 0},
	{M64, "48 01 d8",                "ADD 8/8 r0:8 r3:8", 0},
	{M64, "66 48 01 d8",             "ADD 8/8 r0:8 r3:8", 0},
	{M64, "48 66 01 d8",             "ADD 2/8 r0:2 r3:2", 0}, /* a REX in the wrong place */
	{M64, "4d 01 c1",                "ADD 8/8 r9:8 r8:8", 0},
	{M64, "00 e0",                   "ADD 4/8 r0:1 h0:1", 0},
	{M64, "40 00 e0",                "ADD 4/8 r0:1 r4:1", 0},
	{M32, "01 d8",                   "ADD 4/4 r0:4 r3:4", 0},
	{M16, "01 d8",                   "ADD 2/2 r0:2 r3:2", 0},
	{M16, "66 01 d8",                "ADD 4/2 r0:4 r3:4", 0},
	{RM,  "67 66 01 44 8b 10",       "ADD 4/4 m:4 r0:4 ds[3+1<<2+10]", 0},
	{M64, "03 04 25 00 00 00 80",    "ADD 4/8 r0:4 m:4 ds[x+y<<0+ffffffff80000000]", 0},
	{M64, "03 05 fc ff ff ff",       "ADD 4/8 r0:4 m:4 ds[ip+y<<0+fffffffffffffffc]", 0},
	{M64, "67 03 05 01 00 00 00",    "ADD 4/4 r0:4 m:4 ds[ip+y<<0+1]", 0},
	{M32, "03 05 fc ff ff ff",       "ADD 4/4 r0:4 m:4 ds[x+y<<0+fffffffffffffffc]", 0},
	{M64, "43 03 44 ac 7f",          "ADD 4/8 r0:4 m:4 ds[12+13<<2+7f]", 0},
	{M64, "03 45 80",                "ADD 4/8 r0:4 m:4 ss[5+y<<0+ffffffffffffff80]", 0},
	{M64, "03 04 24",                "ADD 4/8 r0:4 m:4 ss[4+y<<0+0]", 0},
	{M64, "41 03 45 00",             "ADD 4/8 r0:4 m:4 ds[13+y<<0+0]", 0},
	{M64, "42 03 04 20",             "ADD 4/8 r0:4 m:4 ds[0+12<<0+0]", 0},
	{M32, "03 04 2d 10 00 00 00",    "ADD 4/4 r0:4 m:4 ds[x+5<<0+10]", 0},
	{M16, "03 02",                   "ADD 2/2 r0:2 m:2 ss[5+6<<0+0]", 0},
	{M16, "03 06 34 12",             "ADD 2/2 r0:2 m:2 ds[x+y<<0+1234]", 0},
	{M16, "03 47 ff",                "ADD 2/2 r0:2 m:2 ds[3+y<<0+ffffffffffffffff]", 0},
	/* segments */
	{M32, "26 03 00",                "ADD 4/4 r0:4 m:4 es[0+y<<0+0]", 0},
	{M32, "2e 3e 03 45 00",          "ADD 4/4 r0:4 m:4 ds[5+y<<0+0]", 0},
	{M64, "26 03 00",                "ADD 4/8 r0:4 m:4 ds[0+y<<0+0]", 0},
	{M64, "3e 03 45 00",             "ADD 4/8 r0:4 m:4 ss[5+y<<0+0]", 0},
	{M64, "64 2e 03 00",             "ADD 4/8 r0:4 m:4 fs[0+y<<0+0]", 0},
	{M64, "64 65 03 00",             "ADD 4/8 r0:4 m:4 gs[0+y<<0+0]", 0},
	/* immediates */
	{M64, "48 05 00 00 00 80",       "ADD 8/8 r0:8 i =ffffffff80000000", 0},
	{M64, "48 83 c0 ff",             "ADD 8/8 r0:8 i =ffffffffffffffff", 0},
	{M64, "48 b8 08 07 06 05 04 03 02 01", "MOV 8/8 r0:8 i =102030405060708", 0},
	{M64, "48 c7 c0 fe ff ff ff",    "MOV 8/8 r0:8 i =fffffffffffffffe", 0},
	{M64, "6a ff",                   "PUSH 8/8 i =ffffffffffffffff", 0},
	{M64, "68 00 00 00 80",          "PUSH 8/8 i =ffffffff80000000", 0},
	{M64, "66 6a 80",                "PUSH 2/8 i =ffffffffffffff80", 0},
	{M64, "cd 80",                   "INT 4/8 i =80", 0},
	{M64, "e4 ff",                   "IN 4/8 r0:1 i =ff", 0},
	{M64, "c1 e0 ff",                "SHL 4/8 r0:4 i =ff", 0},
	{M64, "d1 e0",                   "SHL 4/8 r0:4 i =1", 0},
	{M64, "d3 f0",                   "SHL 4/8 r0:4 r1:1", 0}, /* /6 */
	{M64, "c8 34 f2 05",             "ENTER 8/8 i i =f234,5", 0},
	{M64, "48 69 c3 ff ff ff ff",    "IMUL 8/8 r0:8 r3:8 i =ffffffffffffffff", 0},
	{M64, "a0 08 07 06 05 04 03 02 81", "MOV 4/8 r0:1 m:1 ds[x+y<<0+8102030405060708]", 0},
	{M32, "65 a3 04 00 00 f0",       "MOV 4/4 m:4 r0:4 gs[x+y<<0+f0000004]", 0},
	/* operations that share a mnemonic */
	{M64, "8e d8",                   "MOV_SEG 4/8 s3:2 r0:2", 0},
	{M64, "8c 18",                   "MOV_SEG 4/8 m:2 s3:2 ds[0+y<<0+0]", 0},
	{M64, "48 8c e0",                "MOV_SEG 8/8 r0:8 s4:2", 0},
	{M64, "0f 22 d8",                "MOV_CR 8/8 c3:8 r0:8", 0},
	{M64, "44 0f 20 c0",             "MOV_CR 8/8 r0:8 c8:8", 0},
	{M32, "0f 20 00",                "MOV_CR 4/4 r0:4 c0:4", 0}, /* ModRM.mod is ignored */
	{M64, "0f 23 f8",                "MOV_DR 8/8 d7:8 r0:8", 0},
	{M64, "0f a0",                   "PUSH_SEG 8/8 s4:2", 0},
	{M32, "17",                      "POP_SEG 4/4 s2:2", 0},
	{M64, "0f 47 c3",                "CMOVCC 4/8 r0:4 r3:4 cc7", 0},
	{M64, "0f 94 c0",                "SETCC 4/8 r0:1 cc4", 0},
	{M64, "75 fe",                   "JCC 8/8 j =fffffffffffffffe cc5", 0},
	{M32, "0f 8f 00 00 00 80",       "JCC 4/4 j =ffffffff80000000 ccf", 0},
	{M16, "e9 fd ff",                "JMP 2/2 j =fffffffffffffffd", 0},
	{M64, "ff 20",                   "JMP 8/8 m:8 ds[0+y<<0+0]", 0},
	{M64, "ff 28",                   "JMP_FAR 4/8 m:6 ds[0+y<<0+0]", 0},
	{M32, "ea 04 03 02 01 34 12",    "JMP_FAR 4/4 far =1020304,1234", 0},
	{M32, "66 9a 02 01 34 12",       "CALL_FAR 2/4 far =102,1234", 0},
	{M64, "c2 08 00",                "RET 8/8 i =8", 0},
	{M64, "48 cb",                   "RET_FAR 8/8", 0},
	{M64, "48 cf",                   "IRETQ 8/8", 0},
	{M16, "cf",                      "IRET 2/2", 0},
	{M64, "67 e3 00",                "JECXZ 8/4 j =0", 0},
	{M64, "0f 01 f8",                "SWAPGS 4/8", 0},
	{M64, "0f 01 38",                "INVLPG 4/8 m:0 ds[0+y<<0+0]", 0},
	{M64, "8d 40 01",                "LEA 4/8 r0:4 m:0 ds[0+y<<0+1]", 0},
	{M64, "d7",                      "XLAT 4/8 ds[3+y<<0+0]", 0},
	{M64, "65 d7",                   "XLAT 4/8 gs[3+y<<0+0]", 0},
	/* what does nothing */
	{M64, "90",                      "NOP 4/8", 0},
	{M64, "41 90",                   "XCHG 4/8 r8:4 r0:4", 0},
	{M64, "f3 90",                   "PAUSE 4/8", 0},
	{M64, "f3 41 90",                "XCHG 4/8 r8:4 r0:4", 0}, /* as a Zen 4 executes it */
	{M64, "f3 42 90",                "PAUSE 4/8", 0},
	{M64, "f3 0f 1e fa",             "NOP 4/8", 0}, /* ENDBR64 */
	{M64, "f3 48 0f 1e c8",          "NOP 8/8", 0}, /* RDSSPQ */
	{M64, "0f 18 08",                "NOP 4/8", 0}, /* PREFETCHT0 */
	{M64, "0f 0d 08",                "NOP 4/8", 0}, /* PREFETCHW */
	{M64, "0f 1a 00",                "NOP 4/8", 0}, /* BNDLDX */
	{M64, "66 0f 1f 44 00 00",       "NOP 2/8", 0},
	{M64, "0f 1c 00",                "NOP 4/8", 0}, /* CLDEMOTE */
	/* prefixes */
	{M64, "f0 01 18",                "ADD 4/8 m:4 r3:4 ds[0+y<<0+0] lock", 0},
	{M64, "f0 01 d8",                "INVALID", 0},
	{M64, "f0 8b 00",                "INVALID", 0},
	{M64, "f0 f2 87 18",             "XCHG 4/8 m:4 r3:4 ds[0+y<<0+0] lock repne", 0},
	{M64, "f0 0f c7 08",             "CMPXCHG8B 4/8 m:8 ds[0+y<<0+0] lock", 0},
	{M64, "f0 48 0f c7 08",          "CMPXCHG16B 8/8 m:16 ds[0+y<<0+0] lock al16", 0},
	{M64, "0f c7 c8",                "INVALID", 0},
	{M64, "f3 a4",                   "MOVSB 4/8 rep", 0},
	{M64, "f3 48 a5",                "MOVSQ 8/8 rep", 0},
	{M32, "64 f2 a6",                "CMPSB 4/4 repne", 0},
	{M64, "f2 f3 a5",                "MOVSD 4/8 rep", 0},
	{M64, "f2 e9 00 00 00 00",       "JMP 8/8 j =0 repne", 0}, /* BND */
	{M64, "f3 0f b8 c3",             "POPCNT 4/8 r0:4 r3:4", 0},
	{M64, "f3 0f bc c3",             "TZCNT 4/8 r0:4 r3:4", 0},
	{M64, "0f bd c3",                "BSR 4/8 r0:4 r3:4", 0},
	{M64, "66 f2 0f 38 f1 c3",       "CRC32 2/8 r0:4 r3:2", 0},
	{M64, "0f 38 f0 00",             "MOVBE 4/8 r0:4 m:4 ds[0+y<<0+0]", 0},
	{M64, "f3 0f 09",                "WBNOINVD 4/8 rep", 0},
	/* vectors */
	{M64, "0f 58 c1",                "NATIVE 4/8 v0:16 v1:16 sse", 0},
	{M64, "0f 58 01",                "NATIVE 4/8 v0:16 m:16 ds[1+y<<0+0] al16 sse", 0},
	{M64, "0f 10 01",                "NATIVE 4/8 v0:16 m:16 ds[1+y<<0+0] sse", 0},
	{M64, "f3 0f 58 01",             "NATIVE 4/8 v0:16 m:4 ds[1+y<<0+0] sse", 0},
	{M64, "f2 0f 10 01",             "NATIVE 4/8 v0:16 m:8 ds[1+y<<0+0] sse", 0}, /* MOVSD */
	{M64, "66 0f 2d 01",             "NATIVE 4/8 q0:8 m:16 ds[1+y<<0+0] al16 sse", 0},
	{M64, "f3 48 0f 2c 01",          "NATIVE 8/8 r0:8 m:4 ds[1+y<<0+0] sse", 0},
	{M64, "0f fc 01",                "NATIVE 4/8 q0:8 m:8 ds[1+y<<0+0] mmx", 0},
	{M64, "d9 01",                   "NATIVE 4/8 m:4 ds[1+y<<0+0] x87", 0},
	{M64, "d8 c1",                   "NATIVE 4/8 t0:10 t1:10 x87", 0},
	{M64, "9b",                      "FWAIT 4/8 x87", 0},
	{M64, "c5 f4 58 c2",             "NATIVE 4/8 v0:32 v1:32 v2:32 L avx", 0},
	{M64, "c5 f0 58 01",             "NATIVE 4/8 v0:16 v1:16 m:16 ds[1+y<<0+0] avx", 0},
	{M64, "c5 fc 28 01",             "NATIVE 4/8 v0:32 m:32 ds[1+y<<0+0] al32 L avx", 0},
	{M64, "c4 e2 69 92 04 8b",       "VGATHERDPS 4/8 v0:16 m:4 v2:16 ds[3+1*<<2+0] avx", 0},
	{M64, "c4 e2 70 f2 c2",          "ANDN 4/8 r0:4 r1:4 r2:4", 0},
	{M64, "c5 f8 77",                "VZEROUPPER 4/8 avx", 0},
	{M64, "c5 f8 ae 10",             "LDMXCSR 4/8 m:4 ds[0+y<<0+0] avx", 0},
	{M64, "48 0f ae 00",             "FXSAVE 8/8 m:0 ds[0+y<<0+0] al16", 0},
	{M64, "48 0f ae 20",             "XSAVE 8/8 m:0 ds[0+y<<0+0] al64", 0},
	{M64, "64 66 0f f7 c1",          "MASKMOVDQU 4/8 v0:16 v1:16 fs[7+y<<0+0] sse", 0},
	{M64, "66 c5 f8 77",             "INVALID", 0},
	{M64, "48 c5 f8 77",             "INVALID", 0},
	{M64, "62 f1 7c 48 58 c1",       "INVALID", 0}, /* EVEX */
	{M64, "8f e8 78 c2 c1 00",       "INVALID", 0}, /* XOP */
	{M64, "0f 0f c1 9e",             "INVALID", 0}, /* 3DNow! */
	{M64, "c7 f8 00 00 00 00",       "INVALID", 0}, /* XBEGIN */
	/* the same bytes in other modes */
	{M32, "c5 f8 77",                "VZEROUPPER 4/4 avx", 0},
	{RM,  "c5 f8 77",                "INVALID", 0},
	{RM,  "c5 07",                   "LDS 2/2 r0:2 m:4 ds[3+y<<0+0]", 0},
	{RM,  "c5 f8",                   "INVALID", 0},
	{M32, "c4 00",                   "LES 4/4 r0:4 m:6 ds[0+y<<0+0]", 0},
	{M32, "c4 43 01",                "LES 4/4 r0:4 m:6 ds[3+y<<0+1]", 0},
	{M32, "c4 83 02 00 00 00",       "LES 4/4 r0:4 m:6 ds[3+y<<0+2]", 0},
	{M32, "62 00",                   "BOUND 4/4 r0:4 m:8 ds[0+y<<0+0]", 0},
	{M32, "48",                      "DEC 4/4 r0:4", 0},
	{M32, "63 c1",                   "ARPL 4/4 r1:2 r0:2", 0},
	{M64, "48 63 c1",                "MOVSXD 8/8 r0:8 r1:4", 0},
	{M64, "06",                      "INVALID", 0},
	{M64, "9a 00 00 00 00 00 00",    "INVALID", 0},
	{M64, "d6",                      "INVALID", 0},
	{M32, "d6",                      "SALC 4/4", 0},
	{M16, "0f 05",                   "SYSCALL 2/2", 0},
	/* registers that are not there */
	{M64, "8e c8",                   "INVALID", 0}, /* MOV CS */
	{M64, "8e f0",                   "INVALID", 0},
	{M64, "0f 22 c8",                "INVALID", 0}, /* CR1 */
	{M64, "44 0f 22 c8",             "INVALID", 0}, /* CR9 */
	{M64, "44 0f 23 c0",             "INVALID", 0}, /* DR8 */
	{M64, "8d c0",                   "INVALID", 0},
	/* ends */
	{M64, "",                        "MORE", 0},
	{M64, "66 f2 48",                "MORE", 0},
	{M64, "0f",                      "MORE", 0},
	{M64, "0f 38",                   "MORE", 0},
	{M64, "03 04",                   "MORE", 0},
	{M64, "03 05 00 00 00",          "MORE", 0},
	{M64, "62 f1 7c",                "MORE", 0},
	{M64, "c5",                      "MORE", 0},
	{M64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 90", "NOP 2/8", 0},
	{M64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66", "MORE", 0},
	{M64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 66", "TOO_LONG", 0},
	{M64, "66 66 66 66 66 66 66 66 66 66 66 66 66 66 04", "TOO_LONG", 0},
	/* the vendors: APM vol. 3, and measured where it is silent (amd.c) */
	{M64, "66 e9 01 02",             "JMP 2/8 j =201", AMD},
	{M64, "66 e9 01 02 00 00",       "JMP 8/8 j =201", INTEL},
	{M64, "66 eb 00",                "JMP 2/8 j =0", AMD},
	{M64, "66 eb 00",                "JMP 8/8 j =0", INTEL},
	{M64, "66 ff 20",                "JMP 2/8 m:2 ds[0+y<<0+0]", AMD},
	{M64, "66 ff 20",                "JMP 8/8 m:8 ds[0+y<<0+0]", INTEL},
	{M64, "48 ff 28",                "JMP_FAR 4/8 m:6 ds[0+y<<0+0]", AMD},
	{M64, "48 ff 28",                "JMP_FAR 8/8 m:10 ds[0+y<<0+0]", INTEL},
	{M32, "f0 0f 20 c0",             "MOV_CR 4/4 r0:4 c8:4", AMD},
	{M32, "f0 0f 20 c0",             "INVALID", INTEL},
	{M32, "f0 0f 20 d8",             "INVALID", AMD},
	{M64, "0f 0d c8",                "INVALID", AMD},
	{M64, "0f 0d c8",                "NOP 4/8", INTEL},
	{M64, "c4 e3 7d 00 c1 00",       "NATIVE 4/8 v0:32 v1:32 i =0 L avx", AMD},
	{M64, "c4 e3 7d 00 c1 00",       "INVALID", INTEL},
	{M64, "0f 38 c8 01",             "NATIVE 4/8 v0:16 m:16 ds[1+y<<0+0] sse", AMD}, /* SHA */
	{M64, "0f 38 c8 01",             "NATIVE 4/8 v0:16 m:16 ds[1+y<<0+0] al16 sse", INTEL},
};
/* clang-format on */

static const char *const op_names[] = {"NATIVE",
#define X(name) #name,
				       INSN_OPS(X)
#undef X
};

/* A growing text. */
struct text {
	char s[200];
	size_t len;
};

static void __attribute__((format(printf, 2, 3))) add(struct text *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	t->len += vsnprintf(t->s + t->len, sizeof(t->s) - t->len, format, args);
	va_end(args);
	assert_true(t->len < sizeof(t->s));
}

static void add_operand(struct text *t, const struct insn_operand *o)
{
	static const char letters[] = {
		[OPERAND_GPR] = 'r',    [OPERAND_SEG] = 's', [OPERAND_CR] = 'c', [OPERAND_DR] = 'd',
		[OPERAND_VECTOR] = 'v', [OPERAND_MMX] = 'q', [OPERAND_X87] = 't'};

	switch (o->kind) {
	case OPERAND_MEM:
		return add(t, " m:%u", o->size);
	case OPERAND_IMM:
		return add(t, " i");
	case OPERAND_REL:
		return add(t, " j");
	case OPERAND_FAR:
		return add(t, " far");
	default:
		assert_true(o->kind < sizeof(letters) && letters[o->kind]);
		return add(t, " %c%u:%u", o->high ? 'h' : letters[o->kind], o->reg, o->size);
	}
}

static void add_register(struct text *t, unsigned reg, const char *none)
{
	if (reg == MEM_REG_NONE)
		add(t, "%s", none);
	else if (reg == MEM_REG_RIP)
		add(t, "ip");
	else
		add(t, "%u", reg);
}

static void add_memory(struct text *t, const struct insn_mem *m)
{
	static const char segments[][3] = {[SEG_ES] = "es", [SEG_CS] = "cs", [SEG_SS] = "ss",
					   [SEG_DS] = "ds", [SEG_FS] = "fs", [SEG_GS] = "gs"};

	add(t, " %s[", segments[m->seg]);
	add_register(t, m->base, "x");
	add(t, "+");
	add_register(t, m->index, "y");
	add(t, "%s<<%u+%llx]", m->vsib ? "*" : "", m->shift, (unsigned long long)m->disp);
}

static bool has_immediate(const struct insn *insn)
{
	for (unsigned i = 0; i < insn->operands; i++)
		if (insn->operand[i].kind == OPERAND_IMM || insn->operand[i].kind == OPERAND_REL ||
		    insn->operand[i].kind == OPERAND_FAR)
			return true;
	return false;
}

static void describe(struct text *t, const struct insn *insn)
{
	static const char *const units[] = {[UNIT_INTEGER] = "",
					    [UNIT_X87] = " x87",
					    [UNIT_MMX] = " mmx",
					    [UNIT_SSE] = " sse",
					    [UNIT_AVX] = " avx"};

	add(t, "%s %u/%u", op_names[insn->op], insn->op_size, insn->addr_size);
	for (unsigned i = 0; i < insn->operands && insn->op != OP_NOP; i++)
		add_operand(t, &insn->operand[i]);
	if (insn->has_mem && insn->op != OP_NOP)
		add_memory(t, &insn->mem);
	if (has_immediate(insn))
		add(t, " =%llx", (unsigned long long)insn->imm);
	if (insn->imm2)
		add(t, ",%x", insn->imm2);
	if (insn->op == OP_JCC || insn->op == OP_CMOVCC || insn->op == OP_SETCC)
		add(t, " cc%x", insn->cond);
	add(t, "%s%s%s", insn->prefixes & INSN_LOCK ? " lock" : "",
	    insn->prefixes & INSN_REP ? " rep" : "", insn->prefixes & INSN_REPNE ? " repne" : "");
	if (insn->aligned)
		add(t, " al%u", insn->aligned);
	add(t, "%s%s", insn->vex_l ? " L" : "", units[insn->unit]);
}

static size_t parse(const char *hex, uint8_t *bytes)
{
	size_t n = 0;
	char *end;

	for (;; n++) {
		unsigned long value = strtoul(hex, &end, 16);

		if (end == hex)
			return n;
		bytes[n] = value;
		hex = end;
	}
}

static struct decoder *new_decoder(bool amd)
{
	struct err e = ERR_INIT;
	struct decoder *d = decoder_new(amd, &e);

	if (!d)
		fail_msg("%s", e.text);
	return d;
}

/* The row's bytes, alone and with others after them. */
static unsigned check_row(const struct decoder *d, const struct row *row, bool followed)
{
	static const char *const statuses[] = {[DECODE_MORE] = "MORE",
					       [DECODE_INVALID] = "INVALID",
					       [DECODE_TOO_LONG] = "TOO_LONG"};
	uint8_t bytes[2 * INSN_BYTES_MAX];
	struct text t = {"", 0};
	struct insn insn;
	size_t len;
	enum decode_status status;

	memset(bytes, 0x90, sizeof(bytes));
	len = parse(row->bytes, bytes);
	status = decode(d, row->mode, bytes, followed ? sizeof(bytes) : len, &insn);
	if (status == DECODE_OK)
		describe(&t, &insn);
	else
		add(&t, "%s", statuses[status]);
	if (!strcmp(t.s, row->text) && (status != DECODE_OK || insn.len == len))
		return 0;
	print_error("mode %u: %s is %s (length %u), not %s\n", row->mode, row->bytes, t.s,
		    status == DECODE_OK ? insn.len : 0, row->text);
	return 1;
}

static void by_the_manuals(void **state)
{
	struct decoder *decoders[] = {[INTEL] = new_decoder(false), [AMD] = new_decoder(true)};
	unsigned wrong = 0;

	(void)state;
	for (unsigned v = INTEL; v <= AMD; v++) {
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
			if (rows[i].vendor != BOTH && rows[i].vendor != v)
				continue;
			wrong += check_row(decoders[v], &rows[i], false);
			if (strcmp(rows[i].text, "MORE"))
				wrong += check_row(decoders[v], &rows[i], true);
		}
		decoder_free(decoders[v]);
	}
	assert_int_equal(wrong, 0);
}

/* bytes, and the offsets of opcode, REX, VEX, ModRM, displacement and immediate. */
static const struct {
	const char *bytes;
	struct insn_layout at;
} layouts[] = {
	{"90", {0, 0xff, 0xff, 0, 0, 0}},
	{"48 01 d8", {1, 0, 0xff, 2, 0, 0}},
	{"66 48 81 44 88 10 01 02 03 04", {2, 1, 0xff, 3, 5, 6}},
	{"48 66 01 d8", {2, 0xff, 0xff, 3, 0, 0}},
	{"0f c7 08", {1, 0xff, 0xff, 2, 0, 0}},
	{"0f a2", {1, 0xff, 0xff, 0, 0, 0}},
	{"66 0f 38 00 05 01 02 03 04", {3, 0xff, 0xff, 4, 5, 0}},
	{"c5 f8 77", {2, 0xff, 0, 0, 0, 0}},
	{"64 c4 e3 75 0f 40 08 07", {4, 0xff, 1, 5, 6, 7}},
	{"b8 01 02 03 04", {0, 0xff, 0xff, 0, 0, 1}},
	{"a0 01 02 03 04 05 06 07 08", {0, 0xff, 0xff, 0, 1, 0}},
};

static void the_parts_are_where_they_lie(void **state)
{
	struct decoder *d = new_decoder(false);

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(layouts); i++) {
		uint8_t bytes[INSN_BYTES_MAX];
		struct insn insn;
		size_t len = parse(layouts[i].bytes, bytes);

		assert_int_equal(decode(d, DECODE_64, bytes, len, &insn), DECODE_OK);
		if (memcmp(&insn.at, &layouts[i].at, sizeof(insn.at)))
			fail_msg("%s", layouts[i].bytes);
		assert_memory_equal(insn.bytes, bytes, len);
	}
	decoder_free(d);
}

/* insn is written with DECODE_OK only. */
static void a_failure_writes_nothing(void **state)
{
	struct decoder *d = new_decoder(true);
	struct insn insn, before;

	(void)state;
	memset(&insn, 0xa5, sizeof(insn));
	before = insn;
	assert_int_equal(decode(d, DECODE_64, (const uint8_t *)"\x06", 1, &insn), DECODE_INVALID);
	assert_int_equal(decode(d, DECODE_64, (const uint8_t *)"\x0f", 1, &insn), DECODE_MORE);
	assert_memory_equal(&insn, &before, sizeof(insn));
	decoder_free(d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_the_manuals),
		cmocka_unit_test(the_parts_are_where_they_lie),
		cmocka_unit_test(a_failure_writes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
