/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU of the software engine, from its creation to its end: the entries of struct engine_ops
 * (core/engine.h) that concern one. */
#ifndef LODGE_ENGINE_BT_RUNTIME_VCPU_H
#define LODGE_ENGINE_BT_RUNTIME_VCPU_H

#include "core/engine.h"

int bt_vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		   struct engine_vcpu **vcpu, struct err *e);
void bt_vcpu_destroy(struct engine_vcpu *vcpu);
enum engine_exit bt_vcpu_run(struct engine_vcpu *vcpu, struct engine_detail *detail);
void bt_vcpu_kick(struct engine_vcpu *vcpu);
void bt_vcpu_intr(struct engine_vcpu *vcpu, bool level);
void bt_vcpu_nmi(struct engine_vcpu *vcpu);
int bt_vcpu_get_state(struct engine_vcpu *vcpu, struct vcpu_state *state, struct err *e);
int bt_vcpu_set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e);

#endif
