/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metrics of a VM's devices: groups by Firecracker's names ("block_ID" and, over all of a kind,
 * "block"; "entropy") with those of its fields that lodge's own counters mean as well. What has no
 * such counter is left out, so that no number is made up.
 */
#ifndef LODGE_API_DEVICE_METRICS_H
#define LODGE_API_DEVICE_METRICS_H

#include <jansson.h>

#include "lodge/lodge.h"

/*
 * Adds the groups to all. places: the numbers of devices by section and id (struct vmm). told: what
 * was told last, an object of the caller's, empty at first. Counters are since then, but the
 * shortest and the longest times since the start. vm was started, and may have ended.
 */
void device_metrics_put(json_t *all, json_t *told, lodge_vm *vm, const json_t *places);

/* A device has gone ("disk1"): another of its name begins anew. */
void device_metrics_forget(json_t *told, const char *device);

#endif
