/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translated code held against the interpreter.
 *
 * Before a block is run (tandem_due), the interpreter executes its instructions, with its
 * writes to RAM noted; they are taken back, and the block is run. Where registers, live flags or
 * the bytes that were written differ, lodge ends, after both states and the instructions have
 * been printed: it is a mistake of lodge's own.
 *
 * Meant for one vCPU: another that writes to the same memory meanwhile looks like a difference.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_TANDEM_H
#define LODGE_ENGINE_BT_RUNTIME_TANDEM_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct translator;

/* Whether the block found last is to be checked now: a block's first runs are, and then one in
 * many. A boot executes some hundred million blocks, few of them new. */
bool tandem_due(struct translator *t);

/* Runs the block at cpu->rip, which begins at far, in both ways, and goes on with the outcome. */
void tandem(struct cpu *cpu, const uint8_t *far);

#endif
