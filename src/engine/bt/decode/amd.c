/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encodings that AMD's processors take or refuse otherwise than Zydis, which follows Intel's
 * manual. Found by executing every opcode on a Zen 4 (tests/unit/engine/bt/decode), where the
 * AMD APM vol. 3 does not say it.
 */
#include <string.h>

#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode_int.h"

#define VEX3_MAP_0F3A 3
#define VEX3_W        0x80

/* The bytes after the prefixes. */
struct rest {
	const uint8_t *bytes;
	size_t len;
	enum decode_mode mode;
};

/* Outside 64-bit mode C4 with a ModRM of memory is LES. */
static bool vex3_0f3a(const struct rest *r)
{
	return r->len > 3 && (r->mode == DECODE_64 || r->bytes[1] >= 0xc0) && r->bytes[0] == 0xc4 &&
	       (r->bytes[1] & 0x1f) == VEX3_MAP_0F3A;
}

bool amd_invalid(enum decode_mode mode, const uint8_t *bytes, size_t len, const struct prefixes *p)
{
	static const uint8_t no_modrm[] = {0xa6, 0xa7, 0xb9, 0xff};
	struct rest r = {bytes + p->count, len - p->count, mode};

	/* PREFETCH and PREFETCHW of a register: Intel has a NOP there. */
	if (r.len > 2 && r.bytes[0] == 0x0f && r.bytes[1] == 0x0d && r.bytes[2] >= 0xc0)
		return true;
	/* UD0, UD1 and the VIA's have no ModRM there: amd_length. */
	if (r.len > 1 && r.bytes[0] == 0x0f && memchr(no_modrm, r.bytes[1], sizeof(no_modrm)))
		return true;
	/* VPEXTRQ and VPINSRQ exist in 64-bit mode only; Intel ignores VEX.W elsewhere. */
	return mode != DECODE_64 && vex3_0f3a(&r) && r.bytes[2] & VEX3_W &&
	       (r.bytes[3] == 0x16 || r.bytes[3] == 0x22);
}

/* LOCK MOV CR0 is MOV CR8 (APM vol. 3, MOV CRn), for modes without REX. LOCK is replaced by a
 * prefix that does nothing. */
static bool lock_mov_cr(const struct rest *r, const struct prefixes *p, uint8_t *bytes)
{
	if (!p->lock || r->len < 2 || r->bytes[0] != 0x0f ||
	    (r->bytes[1] != 0x20 && r->bytes[1] != 0x22))
		return false;
	for (unsigned i = 0; i < p->count; i++)
		if (bytes[i] == 0xf0)
			bytes[i] = 0x3e;
	return true;
}

/* VPERMQ and VPERMPD with an immediate ignore VEX.W, which Intel wants set. */
static bool vperm_without_w(const struct rest *r, const struct prefixes *p, uint8_t *bytes)
{
	if (!vex3_0f3a(r) || r->bytes[3] > 1 || r->bytes[2] & VEX3_W)
		return false;
	bytes[p->count + 2] |= VEX3_W;
	return true;
}

/* LOCK is ignored before VERW of memory, and #UD before its kin (seen on Zen 4). */
static void lock_verw(const struct rest *r, struct prefixes *p, uint8_t *bytes)
{
	if (!p->lock || r->len < 3 || r->bytes[0] != 0x0f || r->bytes[1] != 0 ||
	    (r->bytes[2] & 0x38) != 0x28 || r->bytes[2] >= 0xc0)
		return;
	for (unsigned i = 0; i < p->count; i++)
		if (bytes[i] == 0xf0)
			bytes[i] = 0x3e;
	p->lock = false;
}

enum amd_meant amd_meant(enum decode_mode mode, const uint8_t *bytes, size_t len,
			 struct prefixes *p, uint8_t meant[INSN_BYTES_MAX])
{
	struct rest r = {bytes + p->count, len - p->count, mode};

	memcpy(meant, bytes, len);
	lock_verw(&r, p, meant);
	if (lock_mov_cr(&r, p, meant)) {
		p->lock = false;
		return AMD_MOV_CR8;
	}
	return vperm_without_w(&r, p, meant) ? AMD_VPERM : AMD_AS_IT_IS;
}

bool amd_complete(struct insn *insn, enum amd_meant meant)
{
	struct insn_operand *cr = &insn->operand[insn->operand[0].kind == OPERAND_CR ? 0 : 1];

	if (meant == AMD_VPERM)
		insn->op_size = 4; /* W is not there */
	if (meant != AMD_MOV_CR8)
		return true;
	if (cr->reg != 0)
		return false;
	cr->reg = 8;
	return true;
}

static void set_size(struct insn *insn, unsigned op_size, unsigned memory, unsigned gpr)
{
	insn->op_size = op_size;
	for (unsigned i = 0; i < insn->operands; i++) {
		if (insn->operand[i].kind == OPERAND_MEM)
			insn->operand[i].size = memory;
		else if (insn->operand[i].kind == OPERAND_GPR)
			insn->operand[i].size = gpr;
	}
}

void amd_adjust(struct insn *insn, enum decode_mode mode, const struct prefixes *p)
{
	bool wide = p->rex & 8;

	if (insn->feature == FEATURE_SHA)
		insn->aligned = 0; /* of the legacy instructions with 128 bits only these */
	if (mode != DECODE_64)
		return;
	switch (insn->op) {
	/* 66 counts for every near branch. Zydis knows that of 32-bit distances. */
	case OP_JMP:
	case OP_JCC:
	case OP_CALL:
	case OP_RET:
		if (p->op_size && !wide)
			set_size(insn, 2, 2, 2);
		break;
	case OP_LOOP:
	case OP_LOOPE:
	case OP_LOOPNE:
	case OP_JECXZ:
	case OP_JRCXZ:
		if (p->op_size && !wide)
			insn->op_size = 2;
		break;
	/* There are no far pointers with 64-bit offsets: REX.W makes it 32 bits, though CALL pushes
	 * 64. */
	case OP_LSS:
	case OP_LFS:
	case OP_LGS:
	case OP_JMP_FAR:
		if (wide)
			set_size(insn, 4, 6, 4);
		break;
	case OP_CALL_FAR:
		if (wide)
			set_size(insn, 8, 6, 4);
		break;
	default:
		break;
	}
}
