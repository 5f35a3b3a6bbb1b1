/* SPDX-License-Identifier: Apache-2.0 */
/* What the host offers. */
#include "engine/kvm/kvm_int.h"

#include <stdio.h>

void kvm_probe_path(const char *path, struct engine_offer *offer, bool measure)
{
	struct engine_env env = {0};
	struct engine_vm *vm;
	struct err e = ERR_INIT;

	(void)measure;
	*offer = (struct engine_offer){0};
	if (kvm_vm_open(&vm, path, &env, &e)) {
		snprintf(offer->why, sizeof(offer->why), "%s", e.text);
		return;
	}
	kvm_vm_destroy(vm);
	offer->usable = true;
	offer->api_version = KVM_API_VERSION;
	offer->caps = ENGINE_HAS_LAPIC | ENGINE_HAS_IRQFD | ENGINE_HAS_DOORBELL;
}

void kvm_probe(struct engine_offer *offer, bool measure)
{
	kvm_probe_path(KVM_DEVICE, offer, measure);
}
