/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/bt/cpu.h"
#include "engine/bt/features.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/kvmclock.h"
#include "engine/bt/mmu/journal.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/exclusive.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/step.h"
#include "engine/bt/runtime/vm.h"

/* Translated code addresses what is next to struct cpu by displacements: all is one mapping. */
struct engine_vcpu {
	struct cpu cpu;
	uint8_t room[] __attribute__((aligned(64))); /* mmu_room(), then BLOCKS_ROOM bytes */
};

static size_t vcpu_size(void)
{
	return sizeof(struct engine_vcpu) + mmu_room() + BLOCKS_ROOM;
}

/* Divides what the vCPU may have for code (struct engine_options) between the interpreter's decoded
 * instructions, which may exceed their part by those of one page, and translated code; gives the
 * size of the latter. */
static size_t divide_code_memory(struct cpu *cpu)
{
	uint64_t asked = cpu->vm->env->options.code_memory;
	size_t bound = asked ? asked : ENGINE_CODE_DEFAULT;
	size_t decoded = cpu->vm->way == VM_INTERPRETED ? bound : bound / 8;

	cpu->code->memory_max = decoded;
	return blocks_code_size(bound - decoded - (cpu->journal ? sizeof(*cpu->journal) : 0));
}

static int make_parts(struct engine_vcpu *v, struct err *e)
{
	struct cpu *cpu = &v->cpu;
	size_t code_size;
	int rc;

	cpu->tlb_room = v->room;
	if (mmu_init(cpu) || code_cache_init(cpu) || msr_init(cpu))
		return err_errno(e, ENOMEM, "cannot make vCPU %u", cpu->id);
	rc = fpu_init(&cpu->fpu, e);
	if (rc)
		return rc;
	if (cpu->vm->way == VM_CHECKED) {
		cpu->journal = calloc(1, sizeof(*cpu->journal));
		if (!cpu->journal)
			return err_errno(e, ENOMEM, "cannot make vCPU %u", cpu->id);
	}
	code_size = divide_code_memory(cpu);
	if (cpu->vm->way == VM_INTERPRETED)
		return 0;
	cpu->step = translated_step;
	rc = blocks_init(cpu, code_size, v->room + mmu_room(), e);
	if (!rc) {
		cpu->translator->dump.stages = cpu->vm->env->options.dump;
		cpu->translator->dump.fd = cpu->vm->env->options.dump_fd;
		cpu->translator->lazy = cpu->vm->way == VM_TRANSLATED;
		if (cpu->vm->way == VM_HOT)
			cpu->translator->hot.first = HOT_ALL;
		if (cpu->vm->way == VM_CHECKED)
			cpu->translator->hot.first = HOT_SOME;
	}
	return rc;
}

static void discard(struct engine_vcpu *vcpu)
{
	struct cpu *cpu = &vcpu->cpu;

	blocks_release(cpu);
	fpu_release(&cpu->fpu);
	msr_release(cpu);
	code_cache_release(cpu);
	mmu_release(cpu);
	free(cpu->journal);
	munmap(vcpu, vcpu_size());
}

int bt_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		   struct engine_vcpu **vcpu, struct err *e)
{
	struct engine_vcpu *v = mmap(NULL, vcpu_size(), PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vcpu_state *state = malloc(sizeof(*state));
	struct cpu *cpu = &v->cpu;
	int rc;

	if (v == MAP_FAILED || !state) {
		if (v != MAP_FAILED)
			munmap(v, vcpu_size());
		free(state);
		return err_errno(e, ENOMEM, "cannot make vCPU %u", config->id);
	}
	cpu->vm = &vm->vm;
	cpu->id = config->id;
	cpu->amd = vm->vm.amd;
	cpu->cpuid = *config->cpuid;
	features_apply(cpu);
	rc = make_parts(v, e);
	if (!rc) {
		vcpu_state_reset(state, config->id);
		rc = cpu_set_state(cpu, state, e);
	}
	free(state);
	if (rc) {
		discard(v);
		return rc;
	}
	exclusive_join(cpu);
	*vcpu = v;
	return 0;
}

void bt_vcpu_destroy(struct engine_vcpu *vcpu)
{
	exclusive_part(&vcpu->cpu);
	discard(vcpu);
}

/* What the processor was doing when it gave up, in a user's words. */
static void describe_shutdown(struct cpu *cpu, struct engine_detail *detail)
{
	const struct cpu_exception *x = &cpu->exception;
	uint64_t gpa;

	snprintf(detail->text, sizeof(detail->text),
		 "exception %u (error code %#x%s%#llx) while exception %u was delivered", x->vector,
		 x->error, x->vector == VECTOR_PF ? ", address " : ", payload ",
		 (unsigned long long)x->payload, cpu->delivering.vector);
	if (mmu_peek(cpu, cpu->seg[SEG_CS].base + cpu->rip, &gpa)) {
		unsigned len = MIN(sizeof(detail->insn), GUEST_PAGE_SIZE - (gpa & MASK(12)));

		if (mem_read(cpu->vm->env->mem, gpa, detail->insn, len))
			detail->insn_len = len;
	}
}

enum engine_exit bt_vcpu_run(struct engine_vcpu *vcpu, struct engine_detail *detail)
{
	struct cpu *cpu = &vcpu->cpu;
	enum interp_exit exit;

	gates_set_base(cpu);
	exclusive_enter(cpu);
	kvmclock_refresh(cpu); /* guest time may have stood still since the last run */
	exit = interp_run(cpu, 0);
	if (exit == INTERP_SHUTDOWN)
		describe_shutdown(cpu, detail);
	exclusive_leave(cpu);
	switch (exit) {
	case INTERP_HALTED:
		cpu_count(&cpu->stats.halts);
		return ENGINE_HALTED;
	case INTERP_SHUTDOWN:
		return ENGINE_SHUTDOWN;
	default:
		return ENGINE_KICKED;
	}
}

void bt_vcpu_kick(struct engine_vcpu *vcpu)
{
	cpu_attention(&vcpu->cpu, ATTENTION_KICK);
}

void bt_vcpu_intr(struct engine_vcpu *vcpu, bool level)
{
	if (level)
		cpu_attention(&vcpu->cpu, ATTENTION_INTR);
	else
		atomic_fetch_and(&vcpu->cpu.attention, ~ATTENTION_INTR);
}

void bt_vcpu_nmi(struct engine_vcpu *vcpu)
{
	cpu_attention(&vcpu->cpu, ATTENTION_NMI);
}

int bt_vcpu_get_state(struct engine_vcpu *vcpu, struct vcpu_state *state, struct err *e)
{
	(void)e;
	cpu_get_state(&vcpu->cpu, state);
	return 0;
}

int bt_vcpu_set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e)
{
	int rc;

	/* A vCPU that is started while others run: nobody else may be at its TLB meanwhile. */
	exclusive_enter(&vcpu->cpu);
	rc = cpu_set_state(&vcpu->cpu, state, e);
	exclusive_leave(&vcpu->cpu);
	return rc;
}
