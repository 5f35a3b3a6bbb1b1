/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding through the memo comes to what decoding does: of this program's own code, of the same
 * with other displacements and immediates, and of bytes at random. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "engine/bt/decode/memo.h"

#define WINDOW 32 /* bytes that are there */

extern const uint8_t etext[];

struct rig {
	struct decoder *decoder;
	struct decode_memo *memo;
	unsigned long valid;
	uint64_t random;
};

static unsigned any(struct rig *r, unsigned below)
{
	r->random = r->random * 6364136223846793005ULL + 1442695040888963407ULL;
	return (unsigned)(r->random >> 33) % below;
}

static bool same_operands(const struct insn *a, const struct insn *b)
{
	if (a->operands != b->operands)
		return false;
	for (unsigned n = 0; n < a->operands; n++) {
		const struct insn_operand *x = &a->operand[n], *y = &b->operand[n];

		if (x->kind != y->kind || x->reg != y->reg || x->size != y->size ||
		    x->high != y->high || x->read != y->read || x->write != y->write)
			return false;
	}
	return true;
}

static bool same_memory(const struct insn_mem *a, const struct insn_mem *b)
{
	return a->seg == b->seg && a->base == b->base && a->index == b->index &&
	       a->shift == b->shift && a->vsib == b->vsib && a->disp == b->disp;
}

static bool same(const struct insn *a, const struct insn *b)
{
	return a->op == b->op && a->len == b->len && a->unit == b->unit &&
	       a->feature == b->feature && a->op_size == b->op_size &&
	       a->addr_size == b->addr_size && a->prefixes == b->prefixes && a->cond == b->cond &&
	       same_operands(a, b) && same_memory(&a->mem, &b->mem) && a->has_mem == b->has_mem &&
	       a->vex_l == b->vex_l && a->aligned == b->aligned &&
	       !memcmp(&a->at, &b->at, sizeof(a->at)) &&
	       !memcmp(a->bytes, b->bytes, sizeof(a->bytes)) && a->flags_read == b->flags_read &&
	       a->flags_written == b->flags_written && a->flags_touched == b->flags_touched &&
	       a->imm_signed == b->imm_signed && a->imm == b->imm && a->imm2 == b->imm2;
}

static void is_same(enum decode_mode mode, const uint8_t *bytes, const struct insn *want,
		    const struct insn *got)
{
	if (got && same(want, got))
		return;
	for (unsigned n = 0; n < want->len; n++)
		print_error("%02x ", bytes[n]);
	fail_msg("in mode %d: another instruction", mode);
}

/* Its length; 0: none. Looked at, copied, and looked at again, when it is remembered. */
static unsigned check(struct rig *r, enum decode_mode mode, const uint8_t *bytes, size_t len)
{
	struct insn want, got;
	enum decode_status expected = decode(r->decoder, mode, bytes, len, &want);
	const struct insn *seen = decode_memo_look(r->memo, r->decoder, mode, bytes, len);

	if (expected != DECODE_OK) {
		assert_null(seen);
		assert_int_equal(decode_memo(r->memo, r->decoder, mode, bytes, len, &got),
				 expected);
		return 0;
	}
	r->valid++;
	is_same(mode, bytes, &want, seen);
	assert_int_equal(decode_memo(r->memo, r->decoder, mode, bytes, len, &got), DECODE_OK);
	is_same(mode, bytes, &want, &got);
	is_same(mode, bytes, &want, decode_memo_look(r->memo, r->decoder, mode, bytes, len));
	return want.len;
}

/* The instruction's last bytes are replaced: most displacements and immediates stand there. */
static void vary(struct rig *r, enum decode_mode mode, const uint8_t *from, unsigned len)
{
	static const uint8_t some[] = {0, 1, 0x7f, 0x80, 0xff};
	uint8_t bytes[WINDOW];

	memcpy(bytes, from, sizeof(bytes));
	for (unsigned n = 0; n < 3; n++) {
		unsigned count = 1 + any(r, MIN(len, 8));

		for (unsigned i = len - MIN(count, len); i < len; i++)
			bytes[i] = any(r, 2) ? some[any(r, sizeof(some))] : (uint8_t)any(r, 256);
		check(r, mode, bytes, sizeof(bytes));
	}
}

static int set_up(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->memo = calloc(1, sizeof(*r->memo));
	r->random = 1;
	*state = r;
	return 0;
}

static int tear_down(void **state)
{
	struct rig *r = *state;

	free(r->memo);
	free(r);
	return 0;
}

static void this_programs_code(void **state)
{
	struct rig *r = *state;

	for (int amd = 0; amd < 2; amd++) {
		r->decoder = decoder_new(amd, NULL);
		memset(r->memo, 0, sizeof(*r->memo));
		for (enum decode_mode mode = DECODE_32; mode <= DECODE_64; mode++) {
			const uint8_t *p = (const uint8_t *)(uintptr_t)this_programs_code;

			for (; p + WINDOW < etext; p++) {
				unsigned len = check(r, mode, p, WINDOW);

				if (len && !any(r, 4))
					vary(r, mode, p, len);
			}
		}
		decoder_free(r->decoder);
	}
	assert_true(r->valid > 10000);
}

static void bytes_at_random(void **state)
{
	struct rig *r = *state;
	uint8_t bytes[WINDOW];

	for (int amd = 0; amd < 2; amd++) {
		r->decoder = decoder_new(amd, NULL);
		memset(r->memo, 0, sizeof(*r->memo));
		for (unsigned n = 0; n < 300000; n++) {
			enum decode_mode mode = any(r, 4) ? DECODE_64 : any(r, DECODE_MODES);
			unsigned len;

			for (unsigned i = 0; i < sizeof(bytes); i++)
				bytes[i] = (uint8_t)any(r, 256);
			if (any(r, 2))
				bytes[0] = (uint8_t)(0x40 + any(r, 16));
			else if (any(r, 2))
				bytes[0] = 0x0f;
			len = check(r, mode, bytes, any(r, 8) ? sizeof(bytes) : any(r, 16));
			if (len)
				vary(r, mode, bytes, len);
		}
		decoder_free(r->decoder);
	}
	assert_true(r->valid > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(this_programs_code, set_up, tear_down),
		cmocka_unit_test_setup_teardown(bytes_at_random, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
