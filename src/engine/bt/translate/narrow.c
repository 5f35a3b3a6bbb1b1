/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Most instructions of 32-bit code have the same bytes in 64-bit code. Not so:
 *
 *	40 to 4f    INC and DEC: REX prefixes there. FF /0 and /1 are the same.
 *	82          a name of 80 that is not there
 *	A0 to A3    MOV of AL or EAX and an address of 32 bits, 64 there: 88 to 8B, with [R10]
 *	VEX         the bits that extend register numbers count there only, as does W, for
 *	            general registers, also implicit ones
 *	VZEROALL    and VZEROUPPER are about eight registers here, 16 there
 *
 * What narrow_takes leaves out is done by its handler.
 *
 * Sources: Intel SDM vol. 2A 2.2.1.2, 2.3.5; vol. 2 by mnemonic; AMD APM vol. 3 1.2.
 */
#include "engine/bt/translate/narrow.h"

#include "core/x86/vcpu_state.h"

#define VEX3          0xc4
#define VEX3_MAP_0F3A 3
#define VEX3_PLAIN    0xe0 /* R, X and B are not used, which is 1 */
#define VEX3_W        0x80
#define VEX3_VVVV_8   0x40

static bool primary(const struct insn *insn)
{
	return insn->at.vex == INSN_AT_NONE &&
	       (!insn->at.opcode || insn->bytes[insn->at.opcode - 1] != 0x0f);
}

bool narrow_is_short(const struct insn *insn)
{
	return (insn->op == OP_INC || insn->op == OP_DEC) && !insn->at.modrm;
}

uint8_t narrow_opcode(const struct insn *insn)
{
	static const uint8_t with_modrm[] = {0x8a, 0x8b, 0x88, 0x89};
	uint8_t opcode = insn->bytes[insn->at.opcode];

	if (narrow_is_short(insn))
		return 0xff;
	if (insn->op == OP_MOV && primary(insn) && opcode >= 0xa0 && opcode <= 0xa3)
		return with_modrm[opcode - 0xa0];
	return opcode == 0x82 && primary(insn) ? 0x80 : opcode;
}

static bool has_gpr(const struct insn *insn)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_GPR)
			return true;
	return false;
}

/* VPCMPESTRM and VPCMPESTRI, whose lengths are in EAX and EDX. */
static bool takes_lengths(const struct insn *insn)
{
	return (insn->bytes[insn->at.vex + 1] & 0x1f) == VEX3_MAP_0F3A &&
	       (insn->bytes[insn->at.opcode] & 0xfe) == 0x60;
}

/* Of VEX with three bytes. With a memory operand, X and B are that one's. */
static bool vex_copies(const struct insn *insn)
{
	const uint8_t *vex = insn->bytes + insn->at.vex;
	bool register_in_imm = (vex[1] & 0x1f) == VEX3_MAP_0F3A && insn->operands == 4;

	if (vex[0] != VEX3)
		return true; /* else it would be LDS */
	if ((vex[1] & VEX3_PLAIN) != VEX3_PLAIN || !(vex[2] & VEX3_VVVV_8))
		return false;
	if (vex[2] & VEX3_W && (has_gpr(insn) || insn->has_mem || takes_lengths(insn)))
		return false;
	return !register_in_imm || !(insn->bytes[insn->len - 1] & 0x80);
}

static bool writes(const struct insn *insn)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_MEM && insn->operand[n].write)
			return true;
	return false;
}

bool narrow_takes(const struct insn *insn)
{
	if (insn->op == OP_VZEROALL || insn->op == OP_VZEROUPPER)
		return false;
	if (insn->at.vex != INSN_AT_NONE && !vex_copies(insn))
		return false;
	return !insn->has_mem ||
	       (insn->addr_size == 4 && !(insn->mem.seg == SEG_CS && writes(insn)));
}
