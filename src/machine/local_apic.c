/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's local APICs, for an engine that has none (it has no msi entry).
 *
 * The APICs' lock comes after those of devices, 8259s and I/O APIC, and before the
 * machine's, which wakes a vCPU. What comes out of them:
 *
 *	intr, nmi	told the engine, then the vCPU's thread is woken. The engine has
 *			noted it by then, so that a run() that ended before it is begun
 *			again: none is lost (vcpu.c)
 *	init, sipi	noted, and executed by the vCPU's own thread between two run(), as
 *			a change of state. An INIT supersedes a SIPI that came before; of
 *			several SIPIs the first counts, and only while the vCPU waits
 *			for one
 */
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "machine/machine_int.h"

_Static_assert(LAPICS_MAX >= ENGINE_VCPUS_MAX, "a local APIC for each vCPU");
_Static_assert(LAPIC_PAGE == VCPU_LAPIC_SIZE, "the local APIC's page");

#define CPUID_ECX_X2APIC       BIT(21)
#define CPUID_ECX_TSC_DEADLINE BIT(24)

/* --- what comes out of them ------------------------------------------------------------------ */

static void on_intr(void *opaque, unsigned id, bool level)
{
	struct machine *m = opaque;
	struct machine_vcpu *v = &m->vcpus[id];

	if (!v->engine_vcpu) /* not made yet, or gone */
		return;
	m->engine->intr(v->engine_vcpu, level);
	if (level)
		machine_vcpu_wake(v);
}

static void on_nmi(void *opaque, unsigned id)
{
	struct machine *m = opaque;

	m->engine->nmi(m->vcpus[id].engine_vcpu);
	machine_vcpu_wake(&m->vcpus[id]);
}

static void on_init(void *opaque, unsigned id)
{
	struct machine *m = opaque;
	struct machine_vcpu *v = &m->vcpus[id];

	pthread_mutex_lock(&m->lock);
	v->init = true;
	v->sipi = -1;
	pthread_mutex_unlock(&m->lock);
	machine_vcpu_kick(v);
}

static void on_sipi(void *opaque, unsigned id, uint8_t vector)
{
	struct machine *m = opaque;
	struct machine_vcpu *v = &m->vcpus[id];

	pthread_mutex_lock(&m->lock);
	if (v->sipi < 0)
		v->sipi = vector;
	pthread_mutex_unlock(&m->lock);
	machine_vcpu_kick(v);
}

static uint8_t on_intack(void *opaque)
{
	struct machine *m = opaque;

	return pc_intack(m->pc);
}

static void on_eoi(void *opaque, uint8_t vector)
{
	struct machine *m = opaque;

	pc_eoi(m->pc, vector);
}

/* --- what the engine asks of them: env->lapic ------------------------------------------------ */

static struct lapics *lapics_of(void *opaque)
{
	return &((struct machine *)opaque)->lapics;
}

static uint32_t env_read(void *opaque, unsigned vcpu, unsigned offset)
{
	return lapics_read(lapics_of(opaque), vcpu, offset);
}

static void env_write(void *opaque, unsigned vcpu, unsigned offset, uint32_t value)
{
	lapics_write(lapics_of(opaque), vcpu, offset, value);
}

static bool env_x2apic_read(void *opaque, unsigned vcpu, unsigned offset, uint64_t *value)
{
	return lapics_x2apic_read(lapics_of(opaque), vcpu, offset, value);
}

static bool env_x2apic_write(void *opaque, unsigned vcpu, unsigned offset, uint64_t value)
{
	return lapics_x2apic_write(lapics_of(opaque), vcpu, offset, value);
}

static bool env_set_base(void *opaque, unsigned vcpu, uint64_t value)
{
	return lapics_set_base(lapics_of(opaque), vcpu, value);
}

static uint8_t env_get_cr8(void *opaque, unsigned vcpu)
{
	return lapics_cr8(lapics_of(opaque), vcpu);
}

static void env_set_cr8(void *opaque, unsigned vcpu, uint8_t cr8)
{
	lapics_set_cr8(lapics_of(opaque), vcpu, cr8);
}

static void env_set_deadline(void *opaque, unsigned vcpu, uint64_t ns)
{
	lapics_set_deadline(lapics_of(opaque), vcpu, ns);
}

static bool env_deadline_armed(void *opaque, unsigned vcpu)
{
	return lapics_deadline_armed(lapics_of(opaque), vcpu);
}

const struct engine_lapic_ops machine_lapic_ops = {
	.read = env_read,
	.write = env_write,
	.x2apic_read = env_x2apic_read,
	.x2apic_write = env_x2apic_write,
	.set_base = env_set_base,
	.get_cr8 = env_get_cr8,
	.set_cr8 = env_set_cr8,
	.set_deadline = env_set_deadline,
	.deadline_armed = env_deadline_armed,
};

/* --- life and state -------------------------------------------------------------------------- */

void machine_lapics_init(struct machine *m)
{
	const struct lapic_wires wires = {
		.intr = on_intr,
		.nmi = on_nmi,
		.init = on_init,
		.sipi = on_sipi,
		.intack = on_intack,
		.eoi = on_eoi,
		.opaque = m,
	};

	lapics_init(&m->lapics, m->config.cpus, &m->clock, &wires);
}

void machine_lapics_offer(struct machine *m, const struct cpuid_table *cpuid)
{
	const struct cpuid_entry *basic = cpuid_find(cpuid, 1, 0);
	uint32_t ecx = basic ? basic->ecx : 0;

	lapics_offer(&m->lapics, ecx & CPUID_ECX_X2APIC, ecx & CPUID_ECX_TSC_DEADLINE);
}

void machine_lapics_reset(struct machine *m)
{
	lapics_reset(&m->lapics);
	for (unsigned i = 0; i < m->config.cpus; i++) {
		m->vcpus[i].init = false;
		m->vcpus[i].sipi = -1;
	}
}

int machine_get_state(struct machine_vcpu *v, struct vcpu_state *state, struct err *e)
{
	struct machine *m = v->machine;
	int rc = m->engine->get_state(v->engine_vcpu, state, e);

	if (!rc && machine_has_lapics(m))
		lapics_get(&m->lapics, v->id, state->lapic);
	return rc;
}

/* The APIC first: setting the vCPU arms the timer's deadline. */
int machine_set_state(struct machine_vcpu *v, const struct vcpu_state *state, struct err *e)
{
	struct machine *m = v->machine;
	int rc;

	if (!machine_has_lapics(m))
		return m->engine->set_state(v->engine_vcpu, state, e);
	lapics_set(&m->lapics, v->id, state->apic_base, state->lapic);
	rc = m->engine->set_state(v->engine_vcpu, state, e);
	v->activity = state->activity;
	lapics_announce(&m->lapics, v->id);
	return rc;
}

static int execute_init(struct machine_vcpu *v, struct err *e)
{
	struct machine *m = v->machine;
	struct vcpu_state state;
	int rc = machine_get_state(v, &state, e);

	if (rc)
		return rc;
	vcpu_state_init(&state);
	state.gpr[GPR_RDX] = m->cpu.signature;
	lapics_restart(&m->lapics, v->id);
	lapics_get(&m->lapics, v->id, state.lapic);
	return machine_set_state(v, &state, e);
}

static int execute_sipi(struct machine_vcpu *v, uint8_t vector, struct err *e)
{
	struct vcpu_state state;
	int rc = machine_get_state(v, &state, e);

	if (rc)
		return rc;
	vcpu_state_start_up(&state, vector);
	return machine_set_state(v, &state, e);
}

int machine_start_up(struct machine_vcpu *v, struct err *e)
{
	struct machine *m = v->machine;
	bool init;
	int sipi, rc = 0;

	pthread_mutex_lock(&m->lock);
	init = v->init;
	sipi = v->sipi;
	v->init = false;
	v->sipi = -1;
	pthread_mutex_unlock(&m->lock);
	if (init)
		rc = execute_init(v, e);
	if (!rc && sipi >= 0 && v->activity == VCPU_WAIT_SIPI)
		rc = execute_sipi(v, (uint8_t)sipi, e);
	return rc;
}
