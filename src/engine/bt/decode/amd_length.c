/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long an undefined instruction is.
 *
 * AMD's processors know the length of what they do not execute: they fetch all of it,
 * and refuse more than 15 bytes, before they raise #UD. So it matters at a page's end,
 * and after many prefixes. Found by executing every opcode there on a Zen 4.
 *
 * Source: AMD APM vol. 3 appendix A (opcode maps).
 */
#include <string.h>

#include "engine/bt/decode/decode_int.h"

/* The primary map: m: ModRM; b, w, z, f: an immediate of 1, 2, 2 or 4 bytes, a far pointer; B, Z:
 * ModRM and the immediate; Q, R: the same of TEST, which only /0 and /1 have. */
static const char *const primary[16] = {
	"mmmmbz..mmmmbz..", "mmmmbz..mmmmbz..", "mmmmbz..mmmmbz..", "mmmmbz..mmmmbz..",
	"................", "................", "..mm....zZbB....", "bbbbbbbbbbbbbbbb",
	"BZBBmmmmmmmmmmmm", "..........f.....", "........bz......", "bbbbbbbb........",
	"BBw.mmBZ..w..b..", "mmmmbb..mmmmmmmm", "bbbbbbbb..f.....", "......QR......mm",
};

static unsigned immediate(char kind, uint8_t modrm, bool small)
{
	unsigned z = small ? 2 : 4;

	switch (kind) {
	case 'b':
	case 'B':
		return 1;
	case 'w':
		return 2;
	case 'z':
	case 'Z':
		return z;
	case 'd':
		return 4;
	case 'f':
		return z + 2;
	case 'Q':
		return (modrm & 0x38) < 0x10 ? 1 : 0;
	case 'R':
		return (modrm & 0x38) < 0x10 ? z : 0;
	default:
		return 0;
	}
}

/* Of the 0F map. */
static bool escape_has_modrm(uint8_t op)
{
	static const uint8_t none[] = {0x0e, 0x24, 0x25, 0x26, 0x27, 0x77, 0x7a, 0x7b,
				       0xa0, 0xa1, 0xa2, 0xa6, 0xa7, 0xb9, 0xff};

	return !((op >= 0x04 && op <= 0x0c) || (op >= 0x30 && op <= 0x3f) ||
		 (op >= 0x80 && op <= 0x8f) || (op >= 0xa8 && op <= 0xaa) ||
		 (op >= 0xc8 && op <= 0xcf) || memchr(none, op, sizeof(none)));
}

static char escape_immediate(uint8_t op)
{
	static const uint8_t byte[] = {0x0f, 0x70, 0x71, 0x72, 0x73, 0xa4,
				       0xac, 0xba, 0xc2, 0xc4, 0xc5, 0xc6};

	if (op == 0x78)
		return 'w'; /* EXTRQ, INSERTQ */
	if (op >= 0x80 && op <= 0x8f)
		return 'z';
	return memchr(byte, op, sizeof(byte)) ? 'b' : '.';
}

/* ModRM, SIB and displacement; at least 1. */
static unsigned modrm_length(const uint8_t *at, size_t len, unsigned addr_size)
{
	uint8_t modrm = at[0], mod = modrm >> 6, rm = modrm & 7;

	if (mod == 3)
		return 1;
	if (addr_size == 2)
		return 1 + (mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0);
	if (rm == 4) {
		bool disp = mod == 0 && len > 1 && (at[1] & 7) == 5;

		return 2 + (mod == 1 ? 1 : mod == 2 || disp ? 4 : 0);
	}
	return 1 + (mod == 1 ? 1 : mod == 2 || rm == 5 ? 4 : 0);
}

/* What follows the prefixes. */
struct form {
	unsigned opcode; /* bytes up to and with the opcode */
	bool modrm;      /* it is followed by one */
	bool registers;  /* whose mod does not matter: MOV CR, MOV DR */
	char kind;       /* of the immediate, as in primary */
};

static char xop_immediate(uint8_t second)
{
	switch (second & 0x1f) {
	case 8:
		return 'b';
	case 10:
		return 'd';
	default:
		return '.';
	}
}

static bool find_form(struct form *f, enum decode_mode mode, const uint8_t *at, size_t len)
{
	/* All of 8F but POP. */
	bool xop = mode != DECODE_REAL && len > 1 && at[0] == 0x8f && (at[1] & 0x38);
	bool vex = mode == DECODE_64 || (mode != DECODE_REAL && len > 1 && at[1] >= 0xc0);
	unsigned map = 1;

	*f = (struct form){.opcode = 1, .kind = '.'};
	vex &= at[0] == 0xc4 || at[0] == 0xc5;
	if (xop) {
		*f = (struct form){.opcode = 4, .modrm = true, .kind = xop_immediate(at[1])};
		return true;
	}
	if (vex) {
		f->opcode = at[0] == 0xc4 ? 4 : 3;
		map = at[0] == 0xc4 && len > 1 ? at[1] & 0x1f : 1;
	} else if (at[0] == 0x0f && len > 1) {
		map = at[1] == 0x38 ? 2 : at[1] == 0x3a ? 3 : 1;
		f->opcode = map == 1 ? 2 : 3;
	} else {
		f->kind = primary[at[0] >> 4][at[0] & 15];
		f->modrm = strchr("mBZQR", f->kind);
		return f->kind != '.';
	}
	if (len < f->opcode)
		return true;
	f->registers = map == 1 && at[f->opcode - 1] >= 0x20 && at[f->opcode - 1] <= 0x23;
	f->modrm = map > 1 || escape_has_modrm(at[f->opcode - 1]);
	f->kind = map == 1 ? escape_immediate(at[f->opcode - 1]) : map == 3 ? 'b' : '.';
	return map >= 1 && map <= 3;
}

unsigned amd_length(enum decode_mode mode, const uint8_t *bytes, size_t len,
		    const struct prefixes *p)
{
	bool wide = mode == DECODE_64, big = wide || mode == DECODE_32;
	bool addr = memchr(bytes, 0x67, p->count);
	bool small = big == p->op_size && !(wide && p->rex & 8);
	unsigned addr_size = wide ? (addr ? 4 : 8) : big == addr ? 2 : 4;
	unsigned n = p->count;
	struct form f;

	if (n >= len || !find_form(&f, mode, bytes + n, len - n))
		return 0;
	n += f.opcode;
	if (!f.modrm)
		return n + immediate(f.kind, 0, small);
	if (n >= len)
		return n + 1;
	if (f.registers)
		return n + 1;
	return n + modrm_length(bytes + n, len - n, addr_size) + immediate(f.kind, bytes[n], small);
}
