/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hardware task switches by JMP, CALL, IRET, interrupts and exceptions.
 *
 * Up to the commit point what fails raises with nothing changed. After it the processor is
 * in the new task: what is raised then is raised at its first instruction.
 */
#ifndef LODGE_ENGINE_BT_INTERP_TASK_H
#define LODGE_ENGINE_BT_INTERP_TASK_H

#include "engine/bt/interp/descriptor.h"

enum task_source { TASK_JMP, TASK_CALL, TASK_IRET };

/* JMP or CALL to a TSS, or through a task gate. */
void task_by_selector(struct cpu *cpu, const struct descriptor *tss, enum task_source source);
void task_by_gate(struct cpu *cpu, const struct descriptor *gate, enum task_source source);

/* IRET with NT set: back to the task of the back link. */
void task_return(struct cpu *cpu);

/* An interrupt or exception through a task gate to TSS selector. The old task's state is saved
 * with rip and rflags; error, where has_error, is pushed on the new task's stack. */
struct task_event {
	uint64_t rip;
	uint64_t rflags;
	uint32_t ext;
	bool has_error;
	uint32_t error;
};
void task_by_event(struct cpu *cpu, uint16_t selector, const struct task_event *event);

#endif
