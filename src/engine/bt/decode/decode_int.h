/* SPDX-License-Identifier: Apache-2.0 */
/* Private to decode/: what its files tell each other, in Zydis's terms. */
#ifndef LODGE_ENGINE_BT_DECODE_DECODE_INT_H
#define LODGE_ENGINE_BT_DECODE_DECODE_INT_H

#include <Zydis/Zydis.h>

#include "base/dynlib.h"
#include "engine/bt/decode/decode.h"

/* What is used of the library. */
#define CALLS(X)                         \
	X(ZydisDecoderInit)              \
	X(ZydisDecoderEnableMode)        \
	X(ZydisDecoderDecodeInstruction) \
	X(ZydisDecoderDecodeOperands) X(ZydisFormatterInit) X(ZydisFormatterFormatInstruction)

struct decoder {
	void *library;
	bool amd;
	struct {
		CALLS(DYNLIB_MEMBER)
	} calls;
	ZydisDecoder modes[DECODE_MODES];
	ZydisFormatter formatter;
};

/* The legacy prefixes of an instruction. */
struct prefixes {
	uint8_t count;   /* bytes before the opcode, REX among them */
	uint8_t segment; /* SEG_*, the override that counts, or SEG_NONE */
	uint8_t repeat;  /* INSN_REP or INSN_REPNE: the last of them; or 0 */
	uint8_t rex;     /* its byte, 0: none */
	bool lock;
	bool op_size; /* 66 */
};

#define SEG_NONE 0xff

/* What Zydis says about an instruction. */
struct zydis {
	ZydisDecoderContext context;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

/* enum insn_op; OP_NATIVE also for all that nobody knows. */
unsigned operation_of(const struct zydis *z);

/* enum insn_feature; FEATURE_NEVER for what our models do not have. */
unsigned operation_feature(const struct zydis *z, enum decode_mode mode);

/* enum insn_unit. */
unsigned operation_unit(const struct zydis *z);

/* The instruction is MOVS, CMPS, SCAS, LODS, STOS, INS or OUTS. */
bool operation_string(const struct zydis *z);

/* Fills insn's operands, memory operand and immediates; op is set. False: of a shape that no
 * instruction of ours has. */
bool operands_fill(struct insn *insn, const struct zydis *z, const struct prefixes *p);

/* The alignment that insn's memory operand must have, or 0; the operands are filled. */
unsigned operand_alignment(const struct insn *insn, const struct zydis *z);

/* Bytes that are #UD on AMD's processors although Zydis knows an instruction for them. */
bool amd_invalid(enum decode_mode mode, const uint8_t *bytes, size_t len, const struct prefixes *p);

/* Bytes that stand for others there: these are put into meant, and p is adapted. */
enum amd_meant { AMD_AS_IT_IS, AMD_VPERM, AMD_MOV_CR8 };

enum amd_meant amd_meant(enum decode_mode mode, const uint8_t *bytes, size_t len,
			 struct prefixes *p, uint8_t meant[INSN_BYTES_MAX]);

/* Sizes and alignment that are others there, in an instruction that is filled. */
void amd_adjust(struct insn *insn, enum decode_mode mode, const struct prefixes *p);

/* Completes what was decoded from them; false: it is invalid. */
bool amd_complete(struct insn *insn, enum amd_meant meant);

/* The length of bytes that are undefined, as far as AMD's processors know it, or 0. More than len:
 * bytes that are not there belong to it, so that the length itself may be more. */
unsigned amd_length(enum decode_mode mode, const uint8_t *bytes, size_t len,
		    const struct prefixes *p);

#endif
