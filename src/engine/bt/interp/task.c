/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/interp/task.h"

void task_by_selector(struct cpu *cpu, uint16_t selector, enum task_source source)
{
	(void)source;
	raise_selector(cpu, VECTOR_GP, selector, 0);
}

void task_by_gate(struct cpu *cpu, const struct descriptor *gate, enum task_source source)
{
	(void)source;
	raise_selector(cpu, VECTOR_GP, gate->selector, 0);
}

void task_return(struct cpu *cpu)
{
	raise_selector(cpu, VECTOR_TS, 0, 0);
}

void task_by_event(struct cpu *cpu, uint16_t selector, const struct task_event *event)
{
	raise_selector(cpu, VECTOR_TS, selector, event->ext);
}
