/* SPDX-License-Identifier: Apache-2.0 */
/* From guest code to a block. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_TRANSLATE_H
#define LODGE_ENGINE_BT_TRANSLATE_TRANSLATE_H

#include "engine/bt/translate/translator.h"

/* Translates what lies at linear, in RAM at gpa, for the context. b has its place already; it is
 * not yet found by anybody. False: code memory is used up. May wait for other vCPUs. */
bool translate(struct translator *t, struct block *b, uint64_t linear, uint64_t gpa);

#endif
