/* SPDX-License-Identifier: Apache-2.0 */
/* By XSAVE and XRSTOR with the x87's component alone, in the area's own place. */
#include "engine/bt/runtime/x87.h"

#include "core/x86/regs.h"
#include "engine/bt/translate/lower.h"

#define FCW_MASKS   0x3f
#define AREA(field) (CTX(fpu.area) + XSAVE_##field)

enum digit { XSAVE_DIGIT = 4, XRSTOR_DIGIT = 5 };

/* XSAVE64 or XRSTOR64 gs:[area], of the x87. */
static void emit_state(struct emit *e, enum digit digit)
{
	const uint8_t insn[] = {0x65, 0x48, 0x0f, 0xae, (uint8_t)(digit << 3 | 4), 0x25};

	emit_set(e, GPR_RAX, XSTATE_X87);
	emit_set(e, GPR_RDX, 0);
	emit_bytes(e, insn, sizeof(insn));
	emit_le(e, 4, (uint32_t)CTX(fpu.area));
}

/* FNSTCW or FLDCW gs:[host_fcw]. */
static void emit_host_control(struct emit *e, bool store)
{
	const uint8_t insn[] = {0x65, 0xd9, store ? 0x3c : 0x2c, 0x25};

	emit_bytes(e, insn, sizeof(insn));
	emit_le(e, 4, (uint32_t)CTX(fpu.host_fcw));
}

void x87_emit_load(struct emit *e)
{
	emit_host_control(e, true);
	emit_ctx_set(e, 8, AREA(XSTATE_BV), XSTATE_X87);
	emit_ctx_set(e, 8, AREA(XCOMP_BV), 0);
	emit_state(e, XRSTOR_DIGIT);
}

void x87_emit_store(struct emit *e)
{
	static const uint8_t fninit[] = {0xdb, 0xe3};

	emit_ctx(e, EMIT_MOV, 8, GPR_RCX, AREA(FCW)); /* with FOP on top */
	emit_ctx(e, EMIT_MOV, 8, GPR_RSI, AREA(FIP));
	emit_ctx(e, EMIT_MOV, 8, GPR_RDI, AREA(FDP));
	emit_state(e, XSAVE_DIGIT);
	emit_shift(e, false, 8, GPR_RCX, 8 * (XSAVE_FOP - XSAVE_FCW));
	emit_ctx(e, EMIT_MOV_TO, 2, GPR_RCX, AREA(FOP));
	emit_ctx(e, EMIT_MOV_TO, 8, GPR_RSI, AREA(FIP));
	emit_ctx(e, EMIT_MOV_TO, 8, GPR_RDI, AREA(FDP));
	emit_bytes(e, fninit, sizeof(fninit));
	emit_host_control(e, false);
}

void x87_emit_ask(struct emit *e, uint8_t *distance[X87_REFUSALS])
{
	emit_ctx(e, EMIT_MOV, 4, GPR_RAX, CTX(cr0));
	emit_imm(e, EMIT_AND_IMM, 4, GPR_RAX, CR0_EM | CR0_TS);
	distance[0] = emit_jcc(e, EMIT_NOT_EQUAL);
	emit_ctx(e, EMIT_MOV, 4, GPR_RAX, AREA(FCW));
	emit_imm(e, EMIT_AND_IMM, 4, GPR_RAX, FCW_MASKS);
	emit_imm(e, EMIT_CMP_IMM, 4, GPR_RAX, FCW_MASKS);
	distance[1] = emit_jcc(e, EMIT_NOT_EQUAL);
}
