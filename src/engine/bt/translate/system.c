/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels do at every turn, in ring 0, and CLD, STD, RDTSC and RDTSCP.
 *
 * STI holds interrupts off for one instruction. That needs nothing here: interrupts are taken
 * where a block polls, which STI itself is not; and where something waits to be attended to
 * already, which may be the interrupt, STI is the interpreter's; so is POPF that sets IF, then. And
 * so is STI with which the block ends: interrupts are also taken where a jump is not linked.
 *
 * STAC and CLAC change what the kernel may access: the block's context (block.h), in which what
 * comes next is another block.
 */
#include "engine/bt/interp/msr.h"
#include "engine/bt/translate/lower.h"

/* The byte of RFLAGS that has IF and DF, and these in it. */
#define IF_AT  (CTX(rflags) + 1)
#define IF_BIT (RFLAGS_IF >> 8)
#define DF_BIT (RFLAGS_DF >> 8)

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

/* Behind the instruction comes a jump to another block. */
static bool is_followed_by_jump(const struct lower *l)
{
	uint64_t next = l->r->linear + l->r->bytes;

	return l->i == &l->r->insn[l->r->count - 1] &&
	       (l->r->count == REGION_MAX || (next ^ l->r->linear) & ~MASK(12));
}

void lower_sti(struct lower *l)
{
	flags_clobber(l, flags_live_before(l));
	if (is_followed_by_jump(l)) {
		lower_leaves(l, emit_jmp(l->e));
		return;
	}
	emit_ctx_imm32(l->e, EMIT_CMP_IMM, 4, CTX(attention), 0);
	lower_leaves(l, emit_jcc(l->e, EMIT_NOT_EQUAL));
	emit_ctx_byte(l->e, EMIT_OR_IMM, IF_AT, IF_BIT);
}

void lower_cld(struct lower *l)
{
	flags_clobber(l, flags_live_before(l));
	emit_ctx_byte(l->e, EMIT_AND_IMM, IF_AT, (uint8_t)~DF_BIT);
}

void lower_std(struct lower *l)
{
	flags_clobber(l, flags_live_before(l));
	emit_ctx_byte(l->e, EMIT_OR_IMM, IF_AT, DF_BIT);
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
	address_stack(l, GPR_RSP, -l->word);
	address_check(l, l->word, true);
	emit_ctx(l->e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
	emit_mem(l->e, EMIT_MOV_TO, l->word, HOST_SPARE, HOST_ADDRESS);
	emit_lea_disp(l->e, l->word, GPR_RSP, GPR_RSP, -l->word);
}

/* Bits that POPF changes here; where others would change it is the interpreter's. */
#define POPPED (FLAGS_STATUS | RFLAGS_IF | RFLAGS_DF)

/* From RFLAGS in HOST_ADDRESS to native.flags. */
static void split(struct lower *l)
{
	static const uint8_t movzx_r10d_r10b[] = {0x45, 0x0f, 0xb6, 0xd2};
	struct emit *e = l->e;

	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_shift(e, false, 4, HOST_SPARE, 11); /* OF */
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, 1);
	emit_bytes(e, movzx_r10d_r10b, sizeof(movzx_r10d_r10b));
	emit_shift(e, true, 4, HOST_ADDRESS, 8);
	emit_reg(e, EMIT_OR, 4, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV_TO, 4, HOST_SPARE, CTX(native.flags));
	l->flags_saved = true;
	l->flags_host = false;
}

void lower_popf(struct lower *l)
{
	struct emit *e = l->e;
	uint8_t *masked;

	address_stack(l, GPR_RSP, 0);
	address_check(l, l->word, false);
	emit_mem(e, EMIT_MOV, l->word, HOST_ADDRESS, HOST_ADDRESS);
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_XOR, 4, HOST_SPARE, CTX(rflags));
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, (int32_t) ~(uint32_t)POPPED);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, RFLAGS_IF);
	masked = emit_jcc(e, EMIT_EQUAL);
	emit_ctx_imm32(e, EMIT_CMP_IMM, 4, CTX(attention), 0);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	emit_patch(e, masked);
	emit_ctx(e, EMIT_MOV_TO, 4, HOST_ADDRESS, CTX(rflags));
	split(l);
	emit_lea_disp(e, l->word, GPR_RSP, GPR_RSP, l->word);
}

#define GS_BASE (CTX(seg[SEG_GS].base))

/* No XCHG with memory, which is locked. Flags stay. */
void lower_swapgs(struct lower *l)
{
	struct emit *e = l->e;

	emit_set(e, HOST_ADDRESS, (uintptr_t)&l->t->cpu->msrs->kernel_gs_base);
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, GS_BASE);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.scratch));
	emit_mem(e, EMIT_MOV, 8, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, GS_BASE);
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(native.scratch));
	emit_mem(e, EMIT_MOV_TO, 8, HOST_SPARE, HOST_ADDRESS);
}

/* AC is what it is not to be. Flags stay. */
void lower_ac(struct lower *l)
{
	bool set = l->i->insn.op == OP_STAC;
	int32_t change = set ? (int32_t)RFLAGS_AC : -(int32_t)RFLAGS_AC;

	emit_ctx(l->e, EMIT_MOV, 4, HOST_SPARE, CTX(rflags));
	emit_lea_disp(l->e, 4, HOST_SPARE, HOST_SPARE, change);
	emit_ctx(l->e, EMIT_MOV_TO, 4, HOST_SPARE, CTX(rflags));
	lower_fall(l);
	l->b->exit[l->exits - 1].context = (uint8_t)((l->narrow ? BLOCK_NARROW : 0) +
						     (set ? BLOCK_SUPERVISOR_ANY
							  : BLOCK_SUPERVISOR));
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

/* What comes before it has been done: LFENCE. */
void lower_rdtscp(struct lower *l)
{
	static const uint8_t lfence[] = {0x0f, 0xae, 0xe8};

	emit_bytes(l->e, lfence, sizeof(lfence));
	lower_rdtsc(l);
	emit_set(l->e, HOST_ADDRESS, (uintptr_t)&l->t->cpu->msrs->tsc_aux);
	emit_mem(l->e, EMIT_MOV, 4, GPR_RCX, HOST_ADDRESS);
}
