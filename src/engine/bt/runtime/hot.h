/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds hot code: when translated code is left because the vCPU is wanted elsewhere, which a
 * guest's timer sees to some hundred times a second, where it was left is a sample. It costs
 * translated code nothing.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_HOT_H
#define LODGE_ENGINE_BT_RUNTIME_HOT_H

#include "engine/bt/translate/translator.h"

/* Translated code was left at linear, or would have gone on there. Blocks may be forgotten, so none
 * may be under way. */
void hot_sample(struct translator *t, uint64_t linear, enum block_context context);

#endif
