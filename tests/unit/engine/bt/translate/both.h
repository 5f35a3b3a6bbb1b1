/* SPDX-License-Identifier: Apache-2.0 */
/* Guest code in the interpreter and translated. */
#ifndef LODGE_TESTS_TRANSLATE_BOTH_H
#define LODGE_TESTS_TRANSLATE_BOTH_H

#include "../interp/integer_rig.h"

struct both {
	const char *name;
	enum ir_mode mode;
	unsigned cpl;
	/* Called before each run, after the registers were set. May be NULL. */
	void (*prepare)(struct integer_rig *r);
};

/* Runs code at IR_CODE, until it halts or is shut down, in the interpreter, then twice translated,
 * the second time by what the first has linked, and twice as hot code: fails where registers, flags
 * or memory differ in the end, or where nothing was translated. */
void both(const struct both *b, const uint8_t *code, size_t len);

#endif
