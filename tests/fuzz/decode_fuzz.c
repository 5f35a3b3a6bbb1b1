/* SPDX-License-Identifier: Apache-2.0 */
/* The input is a byte that says how to decode, then an instruction: what the decoder promises of
 * any bytes must hold. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/vcpu_state.h"
#include "engine/bt/decode/decode.h"

#define TRIED_MAX 20 /* more than an instruction's length */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_insn(const struct insn *insn)
{
	assert(insn->len >= 1 && insn->len <= INSN_BYTES_MAX);
	assert(insn->op < OP_COUNT && insn->unit <= UNIT_AVX);
	assert(insn->op != OP_NATIVE || insn->unit != UNIT_INTEGER);
	assert(insn->feature < FEATURE_COUNT && insn->feature != FEATURE_NEVER);
	assert(insn->op_size == 2 || insn->op_size == 4 || insn->op_size == 8);
	assert(insn->addr_size == 2 || insn->addr_size == 4 || insn->addr_size == 8);
	assert(insn->cond < 16 && insn->operands <= INSN_OPERANDS_MAX);
	assert(!(insn->aligned & (insn->aligned - 1)));
	assert(!(insn->prefixes & INSN_REP) || !(insn->prefixes & INSN_REPNE));

	assert(insn->at.opcode < insn->len && insn->at.modrm < insn->len);
	assert(insn->at.disp < insn->len && insn->at.imm < insn->len);
	assert(insn->at.rex < insn->len || insn->at.rex == INSN_AT_NONE);
	assert(insn->at.vex < insn->len || insn->at.vex == INSN_AT_NONE);

	assert(insn->mem.seg < SEG_COUNT && insn->mem.base <= MEM_REG_RIP);
	assert(insn->mem.index <= MEM_REG_NONE && insn->mem.shift <= 3);
}

static void check_operands(const struct insn *insn)
{
	static const uint8_t limits[] = {
		[OPERAND_GPR] = GPR_COUNT, [OPERAND_SEG] = SEG_COUNT, [OPERAND_CR] = 9,
		[OPERAND_DR] = 8,          [OPERAND_VECTOR] = 16,     [OPERAND_MMX] = 8,
		[OPERAND_X87] = 8,
	};

	for (unsigned i = 0; i < insn->operands; i++) {
		const struct insn_operand *o = &insn->operand[i];

		assert(o->kind != OPERAND_NONE && o->kind <= OPERAND_IMPLICIT);
		if (o->kind < sizeof(limits) && limits[o->kind])
			assert(o->reg < limits[o->kind]);
		assert(!o->high || (o->kind == OPERAND_GPR && o->reg < 4 && o->size == 1));
		assert(o->kind != OPERAND_MEM || insn->has_mem);
	}
}

static bool same(const struct insn *a, const struct insn *b)
{
	return a->op == b->op && a->len == b->len && a->prefixes == b->prefixes &&
	       a->operands == b->operands && a->op_size == b->op_size && a->imm == b->imm &&
	       a->mem.disp == b->mem.disp && !memcmp(&a->at, &b->at, sizeof(a->at));
}

/* With one byte more each time: wants more, up to a verdict, which then stays. */
static void check_growth(const struct decoder *d, enum decode_mode mode, const uint8_t *bytes,
			 size_t len)
{
	enum decode_status before = DECODE_MORE;
	struct insn first = {0}, insn;

	for (size_t n = 0; n <= len; n++) {
		enum decode_status status = decode(d, mode, bytes, n, &insn);

		assert(before == DECODE_MORE || status == before);
		assert(status != DECODE_MORE || n < INSN_BYTES_MAX);
		if (status == DECODE_OK && before == DECODE_MORE) {
			check_insn(&insn);
			check_operands(&insn);
			assert(insn.len == n && !memcmp(insn.bytes, bytes, n));
			first = insn;
		} else if (status == DECODE_OK) {
			assert(same(&first, &insn));
		}
		before = status;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decoder *decoders[2];
	uint8_t *bytes;
	size_t len;

	for (unsigned amd = 0; amd < 2; amd++)
		if (!decoders[amd] && !(decoders[amd] = decoder_new(amd, NULL)))
			abort();
	if (!size)
		return 0;
	len = size - 1 < TRIED_MAX ? size - 1 : TRIED_MAX;
	bytes = malloc(len + 1); /* its own memory: reading further is seen */
	if (!bytes)
		abort();
	memcpy(bytes, data + 1, len);
	check_growth(decoders[data[0] >> 2 & 1], data[0] % DECODE_MODES, bytes, len);
	free(bytes);
	return 0;
}
