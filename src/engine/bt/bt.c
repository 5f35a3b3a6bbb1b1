/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/bt.h"

#include <stdio.h>

#include "engine/bt/decode/decode.h"
#include "engine/bt/features.h"
#include "engine/bt/runtime/vcpu.h"
#include "engine/bt/runtime/vm.h"

/* Guest code is translated: on every x86-64 host, at a part of its speed. */
static void probe(struct engine_offer *offer, bool measure)
{
	struct err e = ERR_INIT;
	struct decoder *decoder = decoder_new(false, &e);

	(void)measure;
	*offer = (struct engine_offer){.usable = decoder != NULL};
	snprintf(offer->why, sizeof(offer->why), "%.255s",
		 decoder ? "guest code is translated, some times slower than the CPU" : e.text);
	decoder_free(decoder);
}

static int cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct err *e)
{
	int rc = features_supported(table, e);

	if (!rc && !vm->vm.amd)
		features_put_tsc(table, vm->vm.tsc_khz);
	return rc;
}

/* clang-format off */
#define OPS(title, create) \
	.name = title, \
	.probe = probe, \
	.vm_create = create, \
	.vm_destroy = bt_vm_destroy, \
	.cpuid_supported = cpuid_supported, \
	.map = bt_vm_map, \
	.unmap = bt_vm_unmap, \
	.dirty_start = bt_vm_dirty_start, \
	.dirty_stop = bt_vm_dirty_stop, \
	.dirty_take = bt_vm_dirty_take, \
	.vcpu_create = bt_vcpu_create, \
	.vcpu_destroy = bt_vcpu_destroy, \
	.run = bt_vcpu_run, \
	.kick = bt_vcpu_kick, \
	.get_state = bt_vcpu_get_state, \
	.set_state = bt_vcpu_set_state, \
	.intr = bt_vcpu_intr, \
	.nmi = bt_vcpu_nmi, \
	.stats = bt_vm_stats,
/* clang-format on */

const struct engine_ops bt_engine = {OPS("bt", bt_vm_create)};
const struct engine_ops bt_engine_eager = {OPS("bt,eager", bt_vm_create_eager)};
const struct engine_ops bt_engine_hot = {OPS("bt,hot", bt_vm_create_hot)};
const struct engine_ops bt_engine_interp = {OPS("bt,interp", bt_vm_create_interpreted)};
const struct engine_ops bt_engine_check = {OPS("bt,check", bt_vm_create_checked)};
