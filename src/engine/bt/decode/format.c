/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/decode/format.h"

#include <stdio.h>

#include "engine/bt/decode/decode_int.h"

unsigned decode_format(const struct decoder *d, enum decode_mode mode, const uint8_t *bytes,
		       unsigned len, uint64_t address, char text[DECODE_TEXT])
{
	struct zydis z;
	const ZydisDecoder *decoder = &d->modes[mode];

	if (ZYAN_SUCCESS(d->calls.ZydisDecoderDecodeInstruction(decoder, &z.context, bytes, len,
								&z.insn)) &&
	    ZYAN_SUCCESS(d->calls.ZydisDecoderDecodeOperands(decoder, &z.context, &z.insn,
							     z.operands, z.insn.operand_count)) &&
	    ZYAN_SUCCESS(d->calls.ZydisFormatterFormatInstruction(
		    &d->formatter, &z.insn, z.operands, z.insn.operand_count_visible, text,
		    DECODE_TEXT, address, NULL)))
		return z.insn.length;
	snprintf(text, DECODE_TEXT, "db 0x%02X", bytes[0]);
	return 1;
}
