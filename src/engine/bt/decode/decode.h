/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to struct insn, by the Zydis library. Pure: the same bytes in the
 * same mode give the same result; nothing of a guest's state but the mode matters.
 */
#ifndef LODGE_ENGINE_BT_DECODE_DECODE_H
#define LODGE_ENGINE_BT_DECODE_DECODE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "engine/bt/decode/insn.h"

/* What the processor's mode says about code. */
enum decode_mode {
	DECODE_REAL, /* real and virtual-8086 mode: 16 bits, no VEX */
	DECODE_16,   /* protected mode, 16-bit code segment */
	DECODE_32,   /* 32-bit code segment, also under IA-32e (compatibility) */
	DECODE_64,
	DECODE_MODES
};

enum decode_status {
	DECODE_OK,
	DECODE_MORE,     /* the bytes end before the instruction does; never with 15 bytes */
	DECODE_INVALID,  /* #UD; len says nothing */
	DECODE_TOO_LONG, /* over 15 bytes with its prefixes: #GP(0) */
};

struct decoder; /* the library, loaded, with a set-up for each mode; immutable */

/* Loads the library; amd: branches as AMD processors decode them (a 66 prefix counts in 64-bit
 * mode). One a VM; any thread. NULL with e set where the library is not installed. */
struct decoder *decoder_new(bool amd, struct err *e);
void decoder_free(struct decoder *d);

/* Decodes the instruction at the beginning of bytes[0..len). Any thread. insn is written only with
 * DECODE_OK. */
enum decode_status decode(const struct decoder *d, enum decode_mode mode, const uint8_t *bytes,
			  size_t len, struct insn *insn);

#endif
