/* SPDX-License-Identifier: Apache-2.0 */
/* cpu->step where there is a translator. */
#ifndef LODGE_ENGINE_BT_RUNTIME_STEP_H
#define LODGE_ENGINE_BT_RUNTIME_STEP_H

struct cpu;

/* Executes guest code until there is something to attend to: translated where it can be, in the
 * interpreter an instruction at a time where not. Raises what the guest's instructions raise, at
 * cpu->rip. */
void translated_step(struct cpu *cpu);

#endif
