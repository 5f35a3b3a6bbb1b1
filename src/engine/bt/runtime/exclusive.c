/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU that wants to be alone takes itself out of the count, waits until the count is
 * zero, and keeps `wanted` set until it is done; whoever enters, or wants the same, waits
 * for that. So two that want it at once do it one after the other: the second is out of
 * the count while it waits, like any vCPU between two instructions, and finds caches
 * changed when its turn comes.
 */
#include "engine/bt/runtime/exclusive.h"

#include <assert.h>

#include "engine/bt/vm.h"
#include "engine/bt/cpu.h"

void exclusive_init(struct exclusive *x)
{
	pthread_mutex_init(&x->lock, NULL);
	pthread_cond_init(&x->changed, NULL);
	x->inside = 0;
	x->wanted = false;
}

void exclusive_release(struct exclusive *x)
{
	assert(!x->inside && !x->wanted);
	pthread_cond_destroy(&x->changed);
	pthread_mutex_destroy(&x->lock);
}

static void wait_while_wanted(struct exclusive *x)
{
	while (x->wanted)
		pthread_cond_wait(&x->changed, &x->lock);
}

static void set_cpu(struct vm *vm, unsigned id, struct cpu *cpu)
{
	pthread_mutex_lock(&vm->exclusive.lock);
	wait_while_wanted(&vm->exclusive);
	vm->cpu[id] = cpu;
	pthread_mutex_unlock(&vm->exclusive.lock);
}

void exclusive_join(struct cpu *cpu)
{
	set_cpu(cpu->vm, cpu->id, cpu);
}

void exclusive_part(struct cpu *cpu)
{
	set_cpu(cpu->vm, cpu->id, NULL);
}

void exclusive_enter(struct cpu *cpu)
{
	struct exclusive *x = &cpu->vm->exclusive;

	pthread_mutex_lock(&x->lock);
	wait_while_wanted(x);
	x->inside++;
	pthread_mutex_unlock(&x->lock);
}

/* One less inside; lock held. */
static void step_out(struct exclusive *x)
{
	assert(x->inside);
	if (!--x->inside)
		pthread_cond_broadcast(&x->changed);
}

void exclusive_leave(struct cpu *cpu)
{
	struct exclusive *x = &cpu->vm->exclusive;

	pthread_mutex_lock(&x->lock);
	step_out(x);
	pthread_mutex_unlock(&x->lock);
}

/* Takes the turn, calls the others out and waits until they are; lock held. */
static void begin(struct vm *vm, const struct cpu *self)
{
	struct exclusive *x = &vm->exclusive;

	wait_while_wanted(x);
	x->wanted = true;
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++)
		if (vm->cpu[i] && vm->cpu[i] != self)
			cpu_attention(vm->cpu[i], ATTENTION_EXCLUSIVE);
	while (x->inside)
		pthread_cond_wait(&x->changed, &x->lock);
}

static void end(struct exclusive *x)
{
	x->wanted = false;
	pthread_cond_broadcast(&x->changed);
}

void exclusive_begin(struct cpu *cpu)
{
	struct exclusive *x = &cpu->vm->exclusive;

	pthread_mutex_lock(&x->lock);
	step_out(x);
	begin(cpu->vm, cpu);
	pthread_mutex_unlock(&x->lock);
}

void exclusive_end(struct cpu *cpu)
{
	struct exclusive *x = &cpu->vm->exclusive;

	pthread_mutex_lock(&x->lock);
	end(x);
	x->inside++;
	pthread_mutex_unlock(&x->lock);
}

void exclusive_begin_outside(struct vm *vm)
{
	pthread_mutex_lock(&vm->exclusive.lock);
	begin(vm, NULL);
	pthread_mutex_unlock(&vm->exclusive.lock);
}

void exclusive_end_outside(struct vm *vm)
{
	pthread_mutex_lock(&vm->exclusive.lock);
	end(&vm->exclusive);
	pthread_mutex_unlock(&vm->exclusive.lock);
}
