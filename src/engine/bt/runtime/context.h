/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LODGE_ENGINE_BT_RUNTIME_CONTEXT_H
#define LODGE_ENGINE_BT_RUNTIME_CONTEXT_H

#include "engine/bt/translate/block.h"

struct cpu;

/* The context of the code at RIP. What the interpreter alone knows how to do (alignment checks, the
 * middle rings, other modes and segments) it does: BLOCK_NONE. Sets cpu->native.whole. What changes
 * the answer is the interpreter's to execute, so it is asked after each such instruction. */
enum block_context context_now(struct cpu *cpu);

#endif
