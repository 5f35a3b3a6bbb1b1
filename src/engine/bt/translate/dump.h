/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stages of translation (translate.c) made of a block, as text: for those who work on the
 * translator, and who look for a mistake in it (--bt-dump, docs/bt.md).
 *
 * Nothing is done for a stage that is not asked for. A block's stage is one write, so that
 * what several vCPUs tell does not mix.
 */
#ifndef LODGE_ENGINE_BT_TRANSLATE_DUMP_H
#define LODGE_ENGINE_BT_TRANSLATE_DUMP_H

#include "engine/bt/translate/region.h"
#include "engine/bt/translate/translator.h"

/* The bytes of the guest, and where they lie. */
void dump_guest(const struct translator *t, const struct region *r);
/* Its instructions. */
void dump_decoded(const struct translator *t, const struct region *r);
/* The same, with the flags that are live after each. */
void dump_flags(const struct translator *t, const struct region *r);
/* The host's instructions. */
void dump_host(const struct translator *t, const struct block *b);
/* It is found by its address from now on; its exit leads to another; it is forgotten. */
void dump_installed(const struct translator *t, const struct block *b);
void dump_linked(const struct translator *t, const struct block_exit *exit);
void dump_forgotten(const struct translator *t, const struct block *b);

#endif
