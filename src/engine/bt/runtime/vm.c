/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/vm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bt/cpu.h"
#include "engine/bt/features.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/tsc.h"

/* A device wrote to RAM: code decoded from there is stale. */
static void device_wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	pages_written(opaque, gpa, len);
}

/* Translations are kept by vCPUs, each its own. */
static void code_written(void *opaque, uint64_t gpa)
{
	struct vm *vm = opaque;

	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++)
		if (vm->cpu[i] && vm->cpu[i]->translator)
			blocks_written(vm->cpu[i]->translator, gpa);
}

static int create(struct engine_vm **vm, const struct engine_env *env, enum vm_way way,
		  struct err *e)
{
	struct engine_vm *v = calloc(1, sizeof(*v));

	assert(env->lapic); /* core/engine.h: an engine without local APICs reaches the machine's */
	if (!v)
		return err_errno(e, ENOMEM, "cannot make a VM");
	v->vm.env = env;
	v->vm.way = way;
	v->vm.amd = features_amd();
	v->vm.tsc_khz = tsc_khz();
	v->vm.decoder = decoder_new(v->vm.amd, e);
	if (!v->vm.decoder) {
		free(v);
		return -ENOENT;
	}
	exclusive_init(&v->vm.exclusive);
	kvmclock_init(&v->vm.kvmclock);
	v->vm.pages.stale = code_written;
	v->vm.pages.opaque = &v->vm;
	env->mem->observer = (struct mem_observer){device_wrote, &v->vm.pages};
	*vm = v;
	return 0;
}

int bt_vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return create(vm, env, VM_TRANSLATED, e);
}

int bt_vm_create_eager(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return create(vm, env, VM_EAGER, e);
}

int bt_vm_create_hot(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return create(vm, env, VM_HOT, e);
}

int bt_vm_create_interpreted(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return create(vm, env, VM_INTERPRETED, e);
}

int bt_vm_create_checked(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	return create(vm, env, VM_CHECKED, e);
}

void bt_vm_destroy(struct engine_vm *vm)
{
	vm->vm.env->mem->observer = (struct mem_observer){NULL, NULL};
	pages_release(&vm->vm.pages);
	kvmclock_release(&vm->vm.kvmclock);
	exclusive_release(&vm->vm.exclusive);
	decoder_free(vm->vm.decoder);
	free(vm);
}

/* No vCPU may know what the region's addresses were: a device's, or another region's. */
static void forget_memory(struct vm *vm)
{
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++) {
		if (!vm->cpu[i])
			continue;
		mmu_flush(vm->cpu[i], true);
		code_cache_forget(vm->cpu[i]);
		if (vm->cpu[i]->translator)
			blocks_forget(vm->cpu[i]->translator);
	}
}

int bt_vm_map(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	int rc;

	exclusive_begin_outside(&vm->vm);
	rc = pages_map(&vm->vm.pages, region);
	if (!rc)
		forget_memory(&vm->vm);
	exclusive_end_outside(&vm->vm);
	return rc ? err_errno(e, rc, "cannot keep track of %llu MiB of RAM",
			      (unsigned long long)(region->size >> 20))
		  : 0;
}

int bt_vm_unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	(void)e;
	exclusive_begin_outside(&vm->vm);
	forget_memory(&vm->vm);
	pages_withdraw(&vm->vm.pages, region);
	exclusive_end_outside(&vm->vm);
	return 0;
}

int bt_vm_dirty_start(struct engine_vm *vm, struct err *e)
{
	(void)e;
	exclusive_begin_outside(&vm->vm);
	pages_dirty_start(&vm->vm.pages);
	mmu_drop_writable_all(&vm->vm);
	exclusive_end_outside(&vm->vm);
	return 0;
}

int bt_vm_dirty_stop(struct engine_vm *vm, struct err *e)
{
	(void)e;
	pages_dirty_stop(&vm->vm.pages);
	return 0;
}

/* The bitmap is taken while no vCPU writes, and before one writes again its writable TLB entries
 * are gone: a page written later is noted later. */
int bt_vm_dirty_take(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
		     struct err *e)
{
	(void)e;
	exclusive_begin_outside(&vm->vm);
	pages_dirty_take(&vm->vm.pages, region, bitmap);
	mmu_drop_writable_all(&vm->vm);
	exclusive_end_outside(&vm->vm);
	return 0;
}

/* Sums of all vCPUs. They run meanwhile: recent figures, not exact ones. The lock keeps them from
 * being destroyed. */
size_t bt_vm_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max)
{
	struct engine_stat sum[] = {
		{"instructions interpreted", 0},
		{"instructions decoded for that", 0},
		{"blocks translated", 0},
		{"blocks linked", 0},
		{"entries of translated code", 0},
		{"exceptions", 0},
		{"interrupts", 0},
		{"halts", 0},
		{"port accesses", 0},
		{"mmio accesses", 0},
		{"tlb fills", 0},
		{"tlb flushes", 0},
	};

	pthread_mutex_lock(&vm->vm.exclusive.lock);
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++) {
		const struct cpu *cpu = vm->vm.cpu[i];
		unsigned n = 0;

		if (!cpu)
			continue;
		sum[n++].count += cpu_counted(&cpu->instructions);
		sum[n++].count += code_cache_decoded(cpu);
		sum[n++].count += cpu_counted(&cpu->stats.blocks);
		sum[n++].count += cpu_counted(&cpu->stats.links);
		sum[n++].count += cpu_counted(&cpu->stats.entries);
		sum[n++].count += cpu_counted(&cpu->stats.exceptions);
		sum[n++].count += cpu_counted(&cpu->stats.interrupts);
		sum[n++].count += cpu_counted(&cpu->stats.halts);
		sum[n++].count += cpu_counted(&cpu->stats.port_accesses);
		sum[n++].count += cpu_counted(&cpu->stats.mmio_accesses);
		sum[n++].count += cpu_counted(&cpu->stats.tlb_fills);
		sum[n++].count += cpu_counted(&cpu->stats.tlb_flushes);
	}
	pthread_mutex_unlock(&vm->vm.exclusive.lock);
	memcpy(stats, sum, MIN(max, ARRAY_LEN(sum)) * sizeof(*stats));
	return ARRAY_LEN(sum);
}
