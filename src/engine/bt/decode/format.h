/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions as text, in Intel's syntax. */
#ifndef LODGE_ENGINE_BT_DECODE_FORMAT_H
#define LODGE_ENGINE_BT_DECODE_FORMAT_H

#include "engine/bt/decode/decode.h"

#define DECODE_TEXT 96 /* characters, with the last NUL */

/* Writes the instruction at the beginning of bytes[0..len), len not 0, which lies at address, to
 * text, and returns its length; of what is none, the first byte. Any thread. */
unsigned decode_format(const struct decoder *d, enum decode_mode mode, const uint8_t *bytes,
		       unsigned len, uint64_t address, char text[DECODE_TEXT]);

#endif
