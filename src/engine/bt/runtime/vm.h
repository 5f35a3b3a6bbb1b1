/* SPDX-License-Identifier: Apache-2.0 */
/* A VM of the software engine: the entries of struct engine_ops (core/engine.h) that concern the
 * whole. */
#ifndef LODGE_ENGINE_BT_RUNTIME_VM_H
#define LODGE_ENGINE_BT_RUNTIME_VM_H

#include "core/engine.h"
#include "engine/bt/vm.h"

struct engine_vm {
	struct vm vm;
};

int bt_vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e);
int bt_vm_create_eager(struct engine_vm **vm, const struct engine_env *env, struct err *e);
int bt_vm_create_hot(struct engine_vm **vm, const struct engine_env *env, struct err *e);
int bt_vm_create_interpreted(struct engine_vm **vm, const struct engine_env *env, struct err *e);
int bt_vm_create_checked(struct engine_vm **vm, const struct engine_env *env, struct err *e);
void bt_vm_destroy(struct engine_vm *vm);
int bt_vm_map(struct engine_vm *vm, const struct mem_region *region, struct err *e);
int bt_vm_unmap(struct engine_vm *vm, const struct mem_region *region, struct err *e);
int bt_vm_dirty_start(struct engine_vm *vm, struct err *e);
int bt_vm_dirty_stop(struct engine_vm *vm, struct err *e);
int bt_vm_dirty_take(struct engine_vm *vm, const struct mem_region *region, uint64_t *bitmap,
		     struct err *e);
size_t bt_vm_stats(struct engine_vm *vm, struct engine_stat *stats, size_t max);

#endif
