/* SPDX-License-Identifier: Apache-2.0 */
#include "engine_rig.h"

#include <sched.h>
#include <string.h>

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	return (0x1122334455667788ULL + offset) & MASK(size * 8);
}

static void dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct engine_rig *r = opaque;

	(void)offset;
	if (r->writes < 8) {
		r->written[r->writes] = value;
		r->sizes[r->writes++] = size;
	}
}

static const struct bus_ops dev_ops = {"device", 8, dev_read, dev_write};

static uint8_t intack(void *opaque, unsigned vcpu)
{
	struct engine_rig *r = opaque;

	assert_int_equal(vcpu, 0);
	atomic_fetch_add(&r->intacks, 1);
	r->engine->extint(r->vm, false);
	return r->intack_vector;
}

static void eoi(void *opaque, uint8_t vector)
{
	struct engine_rig *r = opaque;

	atomic_store(&r->eoi_vector, vector);
	atomic_fetch_add(&r->eois, 1);
}

static void add_cpu(struct engine_rig *r, unsigned id, const struct cpuid_table *supported)
{
	const struct cpuid_topology topology = {.apic_id = id, .cpus = r->cpus};
	static struct cpuid_table table;
	const struct engine_vcpu_config config = {id, &table};

	assert_int_equal(cpuid_compose(&table, "x86-64-v3", supported, &topology, NULL), 0);
	assert_int_equal(r->engine->vcpu_create(r->vm, &config, &r->vcpu[id], NULL), 0);
	r->cpu[id] = (struct cpu){.rig = r, .vcpu = r->vcpu[id]};
}

void engine_rig_init(struct engine_rig *r, unsigned cpus)
{
	static struct cpuid_table supported;
	struct err e = ERR_INIT;

	memset(r, 0, sizeof(*r));
	r->engine = &fake_engine;
	r->cpus = cpus;
	assert_int_equal(mem_init(&r->mem, 0, &e), 0);
	assert_int_equal(mem_add_ram(&r->mem, 0, MIB(1), &e), 0);
	assert_int_equal(mem_add_ram(&r->mem, GIB(4), MIB(1), &e), 0);
	bus_init(&r->pio, "pio", 0x10000);
	bus_init(&r->mmio, "mmio", BIT(52));
	assert_int_equal(bus_add(&r->pio, 0x3f8, 8, &dev_ops, r, NULL, &e), 0);
	assert_int_equal(bus_add(&r->mmio, 0xd0000000, 0x1000, &dev_ops, r, NULL, &e), 0);
	clock_init_manual(&r->clock);
	r->env = (struct engine_env){.mem = &r->mem,
				     .pio = &r->pio,
				     .mmio = &r->mmio,
				     .clock = &r->clock,
				     .opaque = r,
				     .intack = intack,
				     .eoi = eoi};
	assert_int_equal(r->engine->vm_create(&r->vm, &r->env, &e), 0);
	for (unsigned i = 0; i < r->mem.count; i++)
		assert_int_equal(r->engine->map(r->vm, &r->mem.regions[i], &e), 0);
	assert_int_equal(r->engine->cpuid_supported(r->vm, &supported, &e), 0);
	for (unsigned i = 0; i < cpus; i++)
		add_cpu(r, i, &supported);
}

void engine_rig_release(struct engine_rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		r->engine->vcpu_destroy(r->vcpu[i]);
	r->engine->vm_destroy(r->vm);
	clock_release(&r->clock);
	bus_release(&r->pio);
	bus_release(&r->mmio);
	mem_release(&r->mem);
}

void engine_rig_load(struct engine_rig *r, struct buf *program, struct buf *handler)
{
	static struct vcpu_state s;
	struct err e = ERR_INIT;

	assert_true(mem_write(&r->mem, PROGRAM, program->data, program->len));
	vcpu_state_reset(&s, 0);
	s.seg[SEG_CS] = segment_flat_code64(0x10);
	s.rip = PROGRAM;
	s.gpr[GPR_RSP] = STACKS + 0x1000;
	s.idt.limit = 0;
	if (handler) {
		const uint64_t at = HANDLER;

		assert_true(mem_write(&r->mem, HANDLER, handler->data, handler->len));
		for (unsigned i = 0; i < 256; i++)
			assert_true(mem_write(&r->mem, HANDLERS + i * 8, &at, 8));
		s.idt = (struct descriptor_table){.base = HANDLERS, .limit = 0x7ff};
		buf_release(handler);
	}
	assert_int_equal(r->engine->set_state(r->vcpu[0], &s, &e), 0);
	buf_release(program);
}

enum engine_exit engine_rig_run(struct engine_rig *r)
{
	r->cpu[0].detail = (struct engine_detail){.insn_len = 0};
	return r->engine->run(r->vcpu[0], &r->cpu[0].detail);
}

static void *cpu_thread(void *opaque)
{
	struct cpu *c = opaque;

	c->exit = c->rig->engine->run(c->vcpu, &c->detail);
	return NULL;
}

void engine_rig_start(struct engine_rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		assert_int_equal(pthread_create(&r->cpu[i].thread, NULL, cpu_thread, &r->cpu[i]),
				 0);
}

void engine_rig_join(struct engine_rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		pthread_join(r->cpu[i].thread, NULL);
}

uint64_t counter(struct engine_rig *r, unsigned n)
{
	const _Atomic uint64_t *p = mem_ptr_rw(&r->mem, COUNTER + n * 8, 8);

	return atomic_load(p);
}

void await(struct engine_rig *r, unsigned n, uint64_t value)
{
	while (counter(r, n) < value)
		sched_yield();
}

struct vcpu_state state_of(struct engine_rig *r, unsigned id)
{
	struct vcpu_state s;

	assert_int_equal(r->engine->get_state(r->vcpu[id], &s, NULL), 0);
	return s;
}

void emit_count(struct buf *p, unsigned n)
{
	fake_emit(p, FAKE_MOVI, 8, 0, 0, 1);
	fake_emit(p, FAKE_MOVI, 9, 0, 0, (int32_t)(COUNTER + n * 8));
	fake_emit(p, FAKE_XADD, 8, 9, 0, 0);
}
