/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One instruction:
 *
 *	bytes -> prefixes (scan) -> Zydis -> operation, feature, unit -> operands
 *
 * Zydis knows opcodes, operands and lengths. The prefixes are looked at here too, as
 * which of several counts, and which are part of the opcode, decides about segments,
 * REP, and what processors do differently from Zydis:
 * real_mode_invalid, xchg_not_pause,
 * amd.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/dynlib.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode_int.h"

#define LIBRARY "libZydis.so.4.0"
#define PACKAGE "libzydis4.0"

static const char *const names[] = {CALLS(DYNLIB_NAME)};

DYNLIB_NOTE(zydis, LIBRARY, "instruction decoding of the software engine");

/* Of the opcodes that are hint NOPs on processors without a feature, those whose feature no model
 * has. */
static const ZydisDecoderMode absent[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
					  ZYDIS_DECODER_MODE_CLDEMOTE};

static bool set_up(struct decoder *d, enum decode_mode mode)
{
	static const ZydisMachineMode machine[] = {
		[DECODE_REAL] = ZYDIS_MACHINE_MODE_REAL_16,
		[DECODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
		[DECODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
		[DECODE_64] = ZYDIS_MACHINE_MODE_LONG_64,
	};
	static const ZydisStackWidth stack[] = {
		[DECODE_REAL] = ZYDIS_STACK_WIDTH_16,
		[DECODE_16] = ZYDIS_STACK_WIDTH_16,
		[DECODE_32] = ZYDIS_STACK_WIDTH_32,
		[DECODE_64] = ZYDIS_STACK_WIDTH_64,
	};
	ZydisDecoder *z = &d->modes[mode];
	bool ok = ZYAN_SUCCESS(d->calls.ZydisDecoderInit(z, machine[mode], stack[mode]));

	for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		ok = ok && ZYAN_SUCCESS(d->calls.ZydisDecoderEnableMode(z, absent[i], ZYAN_FALSE));
	return ok && ZYAN_SUCCESS(d->calls.ZydisDecoderEnableMode(
			     z, ZYDIS_DECODER_MODE_AMD_BRANCHES, d->amd));
}

struct decoder *decoder_new(bool amd, struct err *e)
{
	struct decoder *d = calloc(1, sizeof(*d));
	bool ok;

	if (!d) {
		err_set(e, ENOMEM, "cannot decode instructions: out of memory");
		return NULL;
	}
	d->amd = amd;
	d->library = dynlib_open(LIBRARY, names, sizeof(names) / sizeof(names[0]), &d->calls);
	if (!d->library) {
		err_set(e, ENOENT, "the library " LIBRARY " is missing: install " PACKAGE);
		free(d);
		return NULL;
	}
	ok = ZYAN_SUCCESS(d->calls.ZydisFormatterInit(&d->formatter, ZYDIS_FORMATTER_STYLE_INTEL));
	for (unsigned mode = 0; mode < DECODE_MODES; mode++)
		ok = ok && set_up(d, mode);
	if (ok)
		return d;
	err_set(e, EINVAL, "the library " LIBRARY " does not work");
	decoder_free(d);
	return NULL;
}

void decoder_free(struct decoder *d)
{
	if (!d)
		return;
	dynlib_close(d->library);
	free(d);
}

static uint8_t segment_prefix(uint8_t byte)
{
	switch (byte) {
	case 0x26:
		return SEG_ES;
	case 0x2e:
		return SEG_CS;
	case 0x36:
		return SEG_SS;
	case 0x3e:
		return SEG_DS;
	case 0x64:
		return SEG_FS;
	case 0x65:
		return SEG_GS;
	default:
		return SEG_NONE;
	}
}

/* One byte; false: it is no prefix. A REX that another prefix follows does not count. */
static bool scan_byte(struct prefixes *p, uint8_t byte, bool wide)
{
	uint8_t segment = segment_prefix(byte);

	if (wide && (byte & 0xf0) == 0x40) {
		p->rex = byte;
		return true;
	}
	if (segment != SEG_NONE) {
		if (!wide || segment == SEG_FS || segment == SEG_GS)
			p->segment = segment;
	} else if (byte == 0xf0) {
		p->lock = true;
	} else if (byte == 0xf2 || byte == 0xf3) {
		p->repeat = byte == 0xf2 ? INSN_REPNE : INSN_REP;
	} else if (byte == 0x66) {
		p->op_size = true;
	} else if (byte != 0x67) {
		return false;
	}
	p->rex = 0;
	return true;
}

static void scan(struct prefixes *p, const uint8_t *bytes, size_t len, bool wide)
{
	*p = (struct prefixes){.segment = SEG_NONE};
	while (p->count < len && scan_byte(p, bytes[p->count], wide))
		p->count++;
}

static void fill_layout(struct insn_layout *at, const struct zydis *z, const struct prefixes *p)
{
	const ZydisDecodedInstruction *zi = &z->insn;
	bool vex = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;

	at->rex = p->rex ? p->count - 1 : INSN_AT_NONE;
	at->vex = vex ? zi->raw.vex.offset : INSN_AT_NONE;
	at->modrm = zi->raw.modrm.offset;
	at->disp = zi->raw.disp.size ? zi->raw.disp.offset : 0;
	at->imm = zi->raw.imm[0].size ? zi->raw.imm[0].offset : 0;
	if (at->modrm)
		at->opcode = at->modrm - 1;
	else if (vex)
		at->opcode = zi->raw.vex.offset + zi->raw.vex.size;
	else
		at->opcode = p->count + (zi->opcode_map == ZYDIS_OPCODE_MAP_0F);
}

/* F2 and F3 as far as they are prefixes and not part of the opcode. To Zydis they are part of REP
 * MOVS, too: of the one-byte opcodes that is so for PAUSE only. */
static uint8_t prefixes_of(const struct zydis *z, const struct prefixes *p)
{
	uint8_t bits = (p->lock ? INSN_LOCK : 0) | p->repeat;

	if (z->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    z->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	    z->insn.mnemonic != ZYDIS_MNEMONIC_PAUSE)
		return bits;
	for (unsigned i = 0; i < z->insn.raw.prefix_count; i++) {
		uint8_t value = z->insn.raw.prefixes[i].value;

		if (z->insn.raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY &&
		    (value == 0xf2 || value == 0xf3))
			bits &= INSN_LOCK;
	}
	return bits;
}

/* Zydis's flags have RFLAGS's places. */
static void fill_flags(struct insn *insn, const ZydisAccessedFlags *flags)
{
	const uint32_t status = RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF |
				RFLAGS_OF;

	if (!flags)
		return;
	insn->flags_read = flags->tested & status;
	insn->flags_written = (flags->modified | flags->set_0 | flags->set_1) & status;
	insn->flags_touched = insn->flags_written | (flags->undefined & status);
}

static bool fill(const struct decoder *d, enum decode_mode mode, struct insn *insn,
		 const struct zydis *z, const struct prefixes *p)
{
	*insn = (struct insn){
		.op = operation_of(z),
		.len = z->insn.length,
		.unit = operation_unit(z),
		.feature = operation_feature(z, mode),
		.addr_size = z->insn.address_width / 8,
		.prefixes = prefixes_of(z, p),
		.vex_l = z->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && z->insn.raw.vex.L,
	};
	if (insn->op == OP_WBINVD && p->repeat == INSN_REP)
		insn->op = OP_WBNOINVD; /* Zydis has no name for it */
	if (insn->feature == FEATURE_NEVER || (insn->op == OP_NATIVE && insn->unit == UNIT_INTEGER))
		return false;
	if (insn->op == OP_JCC || insn->op == OP_SETCC || insn->op == OP_CMOVCC)
		insn->cond = z->insn.opcode & 15;
	insn->op_size = 2u << z->context.eosz_index;
	fill_flags(insn, z->insn.cpu_flags);
	fill_layout(&insn->at, z, p);
	if (!operands_fill(insn, z, p))
		return false;
	insn->aligned = operand_alignment(insn, z);
	if (d->amd)
		amd_adjust(insn, mode, p);
	return true;
}

/* C4, C5 and 62 are no VEX and EVEX there: LES, LDS and BOUND, which want memory. */
static bool real_mode_invalid(const uint8_t *bytes, size_t len, const struct prefixes *p)
{
	uint8_t opcode = p->count < len ? bytes[p->count] : 0;

	return (opcode == 0xc4 || opcode == 0xc5 || opcode == 0x62) && p->count + 1u < len &&
	       bytes[p->count + 1] >= 0xc0;
}

/* F3 90 is PAUSE, but with REX.B it is XCHG R8, RAX, as without F3; Zydis has PAUSE. F3 is replaced
 * by a prefix that does nothing. */
static const uint8_t *xchg_not_pause(const uint8_t *bytes, size_t len, struct prefixes *p,
				     uint8_t other[INSN_BYTES_MAX])
{
	if (!(p->rex & 1) || p->repeat != INSN_REP || bytes[p->count] != 0x90)
		return bytes;
	memcpy(other, bytes, len);
	for (unsigned i = 0; i < p->count; i++)
		if (other[i] == 0xf3)
			other[i] = 0x3e;
	p->repeat = 0;
	return other;
}

static enum decode_status status_of(ZyanStatus status, size_t len)
{
	if (status == ZYDIS_STATUS_NO_MORE_DATA)
		return len < INSN_BYTES_MAX ? DECODE_MORE : DECODE_TOO_LONG;
	return status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? DECODE_TOO_LONG : DECODE_INVALID;
}

static enum decode_status decode_plain(const struct decoder *d, enum decode_mode mode,
				       const uint8_t *bytes, size_t len, const struct prefixes *p,
				       struct insn *insn)
{
	struct zydis z;
	ZyanStatus status = d->calls.ZydisDecoderDecodeInstruction(&d->modes[mode], &z.context,
								   bytes, len, &z.insn);

	if (!ZYAN_SUCCESS(status))
		return status_of(status, len);
	status = d->calls.ZydisDecoderDecodeOperands(&d->modes[mode], &z.context, &z.insn,
						     z.operands, z.insn.operand_count);
	if (!ZYAN_SUCCESS(status) || !fill(d, mode, insn, &z, p))
		return DECODE_INVALID;
	return DECODE_OK;
}

static enum decode_status decode_amd(const struct decoder *d, enum decode_mode mode,
				     const uint8_t *bytes, size_t len, struct prefixes *p,
				     struct insn *insn)
{
	uint8_t other[INSN_BYTES_MAX];
	enum amd_meant meant;
	enum decode_status status;

	if (amd_invalid(mode, bytes, len, p))
		return DECODE_INVALID;
	meant = amd_meant(mode, bytes, len, p, other);
	status = decode_plain(d, mode, other, len, p, insn);
	if (status == DECODE_OK && !amd_complete(insn, meant))
		return DECODE_INVALID;
	return status;
}

/* Bytes that are undefined are fetched nevertheless, and may be too many. */
static enum decode_status amd_undefined(enum decode_mode mode, const uint8_t *bytes, size_t len,
					const struct prefixes *p)
{
	unsigned length = amd_length(mode, bytes, len, p);

	if (length > INSN_BYTES_MAX)
		return DECODE_TOO_LONG;
	return length > len ? DECODE_MORE : DECODE_INVALID;
}

enum decode_status decode(const struct decoder *d, enum decode_mode mode, const uint8_t *bytes,
			  size_t len, struct insn *insn)
{
	uint8_t other[INSN_BYTES_MAX];
	const uint8_t *meant;
	struct prefixes p;
	struct insn result;
	enum decode_status status;

	if (len > INSN_BYTES_MAX)
		len = INSN_BYTES_MAX;
	scan(&p, bytes, len, mode == DECODE_64);
	if (p.count == len)
		return len < INSN_BYTES_MAX ? DECODE_MORE : DECODE_TOO_LONG;
	if (mode == DECODE_REAL && real_mode_invalid(bytes, len, &p))
		return DECODE_INVALID;
	meant = xchg_not_pause(bytes, len, &p, other);
	if (d->amd)
		status = decode_amd(d, mode, meant, len, &p, &result);
	else
		status = decode_plain(d, mode, meant, len, &p, &result);
	if (status == DECODE_INVALID && d->amd)
		return amd_undefined(mode, bytes, len, &p);
	if (status != DECODE_OK)
		return status;
	memcpy(result.bytes, bytes, result.len);
	*insn = result;
	return DECODE_OK;
}
