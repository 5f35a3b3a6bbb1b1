/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels do at every turn, in ring 0: CLI, STI, PUSHF, RDTSC.
 *
 * STI holds interrupts off for one instruction. That needs nothing here: interrupts are taken
 * where a block polls, which STI itself is not; and where something waits to be attended to
 * already, which may be the interrupt, STI is the interpreter's.
 */
#include "engine/bt/translate/lower.h"

#define WIDTH 8

/* The byte of RFLAGS that has IF, and IF in it. */
#define IF_AT  (CTX(rflags) + 1)
#define IF_BIT (RFLAGS_IF >> 8)

/* AND or OR byte gs:[disp], imm. */
static void emit_ctx_byte(struct emit *e, enum emit_group op, int32_t disp, uint8_t imm)
{
	const uint8_t insn[] = {0x65, 0x80, 0x04 | op << 3, 0x25};

	emit_bytes(e, insn, sizeof(insn));
	emit_le(e, 4, (uint32_t)disp);
	emit_byte(e, imm);
}

void lower_cli(struct lower *l)
{
	flags_clobber(l, flags_live_before(l));
	emit_ctx_byte(l->e, EMIT_AND_IMM, IF_AT, (uint8_t)~IF_BIT);
}

void lower_sti(struct lower *l)
{
	flags_clobber(l, flags_live_before(l));
	emit_ctx_imm32(l->e, EMIT_CMP_IMM, 4, CTX(attention), 0);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
	emit_ctx_byte(l->e, EMIT_OR_IMM, IF_AT, IF_BIT);
}

/* MOVZX reg, byte gs:[disp]. */
static void emit_ctx_zero_extend(struct emit *e, unsigned reg, int32_t disp)
{
	const uint8_t insn[] = {0x65, 0x44, 0x0f, 0xb6, 0x04 | (reg & 7) << 3, 0x25};

	emit_bytes(e, insn, sizeof(insn));
	emit_le(e, 4, (uint32_t)disp);
}

/* RFLAGS as PUSHF has it, from what is in memory and the saved flags, to native.scratch. */
static void put_together(struct lower *l)
{
	struct emit *e = l->e;

	emit_ctx_zero_extend(e, HOST_SPARE, CTX(native.flags) + 1);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, FLAGS_STATUS & 0xff);
	emit_ctx_zero_extend(e, HOST_ADDRESS, CTX(native.flags));
	emit_shift(e, true, 4, HOST_ADDRESS, 11); /* OF */
	emit_reg(e, EMIT_OR, 4, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV, 4, HOST_ADDRESS, CTX(rflags));
	emit_imm(e, EMIT_AND_IMM, 4, HOST_ADDRESS,
		 (int32_t) ~(uint32_t)(FLAGS_STATUS | RFLAGS_RF | RFLAGS_VM));
	emit_reg(e, EMIT_OR, 4, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.scratch));
}

void lower_pushf(struct lower *l)
{
	flags_clobber(l, FLAGS_STATUS);
	put_together(l);
	address_stack(l, GPR_RSP, -WIDTH);
	address_check(l, WIDTH, true);
	emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
	emit_mem(l->e, EMIT_MOV_TO, 8, HOST_SPARE, HOST_ADDRESS);
	emit_lea_disp(l->e, 8, GPR_RSP, GPR_RSP, -WIDTH);
}

void lower_rdtsc(struct lower *l)
{
	static const uint8_t rdtsc[] = {0x0f, 0x31};

	flags_clobber(l, flags_live_before(l));
	emit_bytes(l->e, rdtsc, sizeof(rdtsc));
	emit_shift(l->e, true, 8, GPR_RDX, 32);
	emit_reg(l->e, EMIT_OR, 8, GPR_RDX, GPR_RAX);
	emit_ctx(l->e, EMIT_ADD, 8, GPR_RDX, CTX(tsc_offset));
	emit_reg(l->e, EMIT_MOV, 4, GPR_RAX, GPR_RDX);
	emit_shift(l->e, false, 8, GPR_RDX, 32);
}
