/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Translated code held against the interpreter.
 *
 * Before a block is run, the interpreter executes its instructions, with its writes to RAM
 * noted; they are taken back, and the block is run. Where registers, live flags or the
 * bytes that were written differ, lodge ends, after both states and the instructions have
 * been printed: it is a mistake of lodge's own.
 *
 * Meant for one vCPU: another that writes to the same memory meanwhile looks like a difference.
 */
#ifndef LODGE_ENGINE_BT_RUNTIME_TANDEM_H
#define LODGE_ENGINE_BT_RUNTIME_TANDEM_H

#include <stdint.h>

struct cpu;

/* Runs the block at cpu->rip, which begins at far, in both ways, and goes on with the outcome. */
void tandem(struct cpu *cpu, const uint8_t *far);

#endif
