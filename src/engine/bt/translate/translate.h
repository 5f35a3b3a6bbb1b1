/* SPDX-License-Identifier: Apache-2.0 */
/* From guest code to a block. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_TRANSLATE_H
#define LODGE_ENGINE_BT_TRANSLATE_TRANSLATE_H

#include "engine/bt/translate/translator.h"

/* Translates what lies at linear, in RAM at gpa, for b->context, from reading guest code to the
 * block that is found by its address. b has its place already, its part counts it after this.
 * False: the part is full, nothing has happened. May wait for other vCPUs. */
bool translate(struct translator *t, struct block *b, uint64_t linear, uint64_t gpa);

#endif
