/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes between the guest's instruction and its copy in a stub:
 *
 *  - prefixes that only address memory go (segments, 67), and a REX that is not where it
 *    counts; 66, F2 and F3 may be part of the opcode and stay;
 *  - ModRM, SIB and displacement of a memory operand become [RSI];
 *  - an explicit general register becomes RBX. No instruction that is executed here has
 *    two, and which part of ModRM holds it follows from the opcode;
 *  - what 16- and 32-bit code ignores but 64-bit code obeys gets the value that it
 *    stands for there (SDM vol. 2A 2.3.5 to 2.3.8): VEX.B, VEX.vvvv's and
 *    the immediate register's highest bit; VEX.W where it selects a 64-bit general register.
 *
 * REX.R, X, B and VEX's, which are stored inverted, extend ModRM.reg, SIB.index and
 * ModRM.rm.
 */
#include <string.h>

#include "base/bits.h"
#include "engine/bt/fpu/rewrite.h"

#define REX_R 0x04
#define REX_X 0x02
#define REX_B 0x01

#define VEX_NOT_R 0x80 /* second byte */
#define VEX_NOT_X 0x40
#define VEX_NOT_B 0x20
#define VEX_MAP   0x1f
#define VEX_W     0x80 /* third byte */
#define VEX_VVVV3 0x40

#define RBX 3
#define RSI 6

enum map { MAP_NONE, MAP_0F, MAP_0F38, MAP_0F3A };

static bool is_prefix(uint8_t byte)
{
	static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65,
					   0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return memchr(prefixes, byte, sizeof(prefixes));
}

/* None of the opcodes here is 40 to 4F. */
static bool is_rex(uint8_t byte)
{
	return (byte & 0xf0) == 0x40;
}

/* The instruction without its prefixes: VEX, an escape or the opcode. */
static unsigned first_byte(const struct fpu_insn *insn)
{
	unsigned i = 0;

	while (i < insn->opcode && (is_prefix(insn->bytes[i]) || is_rex(insn->bytes[i])))
		i++;
	return i;
}

static enum map map_of(const struct fpu_insn *insn)
{
	const uint8_t *b = insn->bytes + first_byte(insn);

	if (insn->vex)
		return b[0] == 0xc5 ? MAP_0F : b[1] & VEX_MAP;
	if (b[0] != 0x0f)
		return MAP_NONE;
	return b[1] == 0x38 ? MAP_0F38 : b[1] == 0x3a ? MAP_0F3A : MAP_0F;
}

static bool one_of(uint8_t opcode, const uint8_t *list, size_t count)
{
	return memchr(list, opcode, count);
}

/* MOVMSKPS, PEXTRW, PMOVMSKB and the conversions to an integer have it in ModRM.reg. */
static bool gpr_is_reg(const struct fpu_insn *insn)
{
	static const uint8_t opcodes[] = {0x2c, 0x2d, 0x50, 0xc5, 0xd7};

	return map_of(insn) == MAP_0F &&
	       one_of(insn->bytes[insn->opcode], opcodes, ARRAY_LEN(opcodes));
}

/* MOVD, CVTSI2SS, CVTSS2SI, PEXTRD, PINSRD and PCMPESTRx are their 64-bit forms with VEX.W. */
static bool w_is_size(const struct fpu_insn *insn)
{
	static const uint8_t in_0f[] = {0x2a, 0x2c, 0x2d, 0x6e, 0x7e};
	static const uint8_t in_0f3a[] = {0x16, 0x22, 0x60, 0x61};
	uint8_t opcode = insn->bytes[insn->opcode];

	switch (map_of(insn)) {
	case MAP_0F:
		return one_of(opcode, in_0f, ARRAY_LEN(in_0f));
	case MAP_0F3A:
		return one_of(opcode, in_0f3a, ARRAY_LEN(in_0f3a));
	default:
		return false;
	}
}

/* VBLENDVPS, VBLENDVPD and VPBLENDVB name a register in their immediate. */
static bool has_is4(const struct fpu_insn *insn)
{
	uint8_t opcode = insn->bytes[insn->opcode];

	return insn->vex && map_of(insn) == MAP_0F3A && opcode >= 0x4a && opcode <= 0x4c;
}

bool rewrite_uses_flags(const struct fpu_insn *insn)
{
	uint8_t opcode = insn->bytes[insn->opcode];

	switch (map_of(insn)) {
	case MAP_NONE: /* FCMOVcc; FCOMI */
		return opcode == 0xda || opcode == 0xdb || opcode == 0xdf;
	case MAP_0F: /* UCOMISS; COMISS */
		return opcode == 0x2e || opcode == 0x2f;
	case MAP_0F38: /* VTESTPS, VTESTPD; PTEST */
		return opcode == 0x0e || opcode == 0x0f || opcode == 0x17;
	case MAP_0F3A: /* PCMPESTRM to PCMPISTRI */
		return opcode >= 0x60 && opcode <= 0x63;
	}
	return true;
}

/* The register extensions, in REX's form, that the copy must not have. */
static uint8_t extensions_gone(const struct fpu_insn *insn)
{
	uint8_t gone = 0;

	if (insn->memory)
		gone |= REX_X | REX_B;
	if (insn->gpr)
		gone |= gpr_is_reg(insn) ? REX_R : REX_B;
	return gone;
}

static unsigned put_legacy(const struct fpu_insn *insn, uint8_t *out)
{
	const uint8_t *b = insn->bytes;
	unsigned n = 0, first = first_byte(insn);

	for (unsigned i = 0; i < first; i++)
		if (b[i] == 0x66 || b[i] == 0xf2 || b[i] == 0xf3)
			out[n++] = b[i];
	if (first && is_rex(b[first - 1]))
		out[n++] = b[first - 1] & ~extensions_gone(insn);
	for (unsigned i = first; i <= insn->opcode; i++)
		out[n++] = b[i];
	return n;
}

static unsigned put_vex(const struct fpu_insn *insn, uint8_t *out)
{
	const uint8_t *b = insn->bytes + first_byte(insn);
	uint8_t gone = extensions_gone(insn);
	uint8_t *last;
	unsigned n;

	out[0] = b[0];
	out[1] = b[1];
	if (gone & REX_R)
		out[1] |= VEX_NOT_R;
	n = 2;
	if (b[0] == 0xc4) {
		out[2] = b[2];
		n = 3;
		if (gone & REX_X)
			out[1] |= VEX_NOT_X;
		if (gone & REX_B || !insn->long_mode)
			out[1] |= VEX_NOT_B;
		if (!insn->long_mode && w_is_size(insn))
			out[2] &= ~VEX_W;
	}
	last = &out[n - 1];
	if (!insn->long_mode)
		*last |= VEX_VVVV3;
	out[n++] = insn->bytes[insn->opcode];
	return n;
}

unsigned rewrite(const struct fpu_insn *insn, uint8_t out[REWRITE_MAX])
{
	unsigned n = insn->vex ? put_vex(insn, out) : put_legacy(insn, out);

	if (insn->modrm) {
		uint8_t modrm = insn->bytes[insn->modrm];

		if (insn->memory)
			modrm = (modrm & 0x38) | RSI;
		if (insn->gpr)
			modrm = gpr_is_reg(insn) ? (modrm & 0xc7) | RBX << 3 : (modrm & 0xf8) | RBX;
		out[n++] = modrm;
	}
	for (unsigned i = insn->tail; i < insn->len; i++)
		out[n++] = insn->bytes[i];
	if (!insn->long_mode && has_is4(insn))
		out[n - 1] &= 0x7f;
	return n;
}
