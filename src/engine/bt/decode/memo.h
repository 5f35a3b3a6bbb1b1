/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Instructions that were decoded lately, found by their bytes.
 *
 * Decoding is pure: bytes that begin with those of a decoded instruction are that instruction,
 * wherever they lie. What differs in its displacement or immediate only, differs in two members
 * only. The translator looks beyond a block's end and so decodes most code twice; and code is
 * much alike: five of six instructions of a kernel's boot are found here.
 */
#ifndef LODGE_ENGINE_BT_DECODE_MEMO_H
#define LODGE_ENGINE_BT_DECODE_MEMO_H

#include "engine/bt/decode/decode.h"

#define DECODE_MEMO 4096u /* instructions; a power of two */

/* With fewer bytes nothing is looked for. */
#define DECODE_MEMO_BYTES 16u

struct decode_memo_entry {
	uint64_t mask[2], value[2]; /* bytes, masked, that are this instruction; value 0: none */
	struct insn insn;
	uint8_t mode;                /* enum decode_mode */
	uint8_t disp_size, imm_size; /* bytes that may be others; 0: none */
};

struct decode_memo {
	struct decode_memo_entry entry[DECODE_MEMO];
	struct insn other; /* that is in none of them */
};

/* decode, through a memo of the calling thread's, zeroed at first. It is good for one decoder, and
 * is not for 16-bit code. */
enum decode_status decode_memo(struct decode_memo *m, const struct decoder *d,
			       enum decode_mode mode, const uint8_t *bytes, size_t len,
			       struct insn *insn);

/* The same for who but looks at it: the instruction is the memo's own, and stands until the next is
 * asked for; NULL: none. */
const struct insn *decode_memo_look(struct decode_memo *m, const struct decoder *d,
				    enum decode_mode mode, const uint8_t *bytes, size_t len);

#endif
