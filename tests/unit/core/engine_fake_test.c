/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border core/engine.h, driven from both sides: by a small machine that knows
 * nothing but engine_ops, and by an engine that knows nothing of KVM. What is
 * asserted here is what the contract promises of every engine.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/engine.h"
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine_fake.h"

#define PROGRAM  0x1000
#define HANDLERS 0x8000 /* table, 256 entries */
#define HANDLER  0x4000 /* program of the handlers */
#define STACKS   0xa000
#define COUNTER  0xc000
#define CPUS     4

/* A machine: RAM, two buses with a device each, vCPUs on threads. */
struct rig {
	const struct engine_ops *engine;
	struct engine_vm *vm;
	struct engine_env env;
	struct mem mem;
	struct bus pio, mmio;
	struct clock clock;
	struct engine_vcpu *vcpu[CPUS];
	unsigned cpus;
	struct cpu {
		struct rig *rig;
		struct engine_vcpu *vcpu;
		pthread_t thread;
		enum engine_exit exit;
		struct engine_detail detail;
	} cpu[CPUS];
	/* Of the devices and of the callbacks. */
	uint64_t written[8];
	unsigned writes, sizes[8];
	atomic_uint eois, eoi_vector, intacks;
	uint8_t intack_vector;
};

static uint64_t dev_read(void *opaque, uint64_t offset, unsigned size)
{
	(void)opaque;
	return (0x1122334455667788ULL + offset) & MASK(size * 8);
}

static void dev_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
	struct rig *r = opaque;

	(void)offset;
	if (r->writes < 8) {
		r->written[r->writes] = value;
		r->sizes[r->writes++] = size;
	}
}

static const struct bus_ops dev_ops = {"device", 8, dev_read, dev_write};

static uint8_t intack(void *opaque, unsigned vcpu)
{
	struct rig *r = opaque;

	assert_int_equal(vcpu, 0);
	atomic_fetch_add(&r->intacks, 1);
	r->engine->extint(r->vm, false);
	return r->intack_vector;
}

static void eoi(void *opaque, uint8_t vector)
{
	struct rig *r = opaque;

	atomic_store(&r->eoi_vector, vector);
	atomic_fetch_add(&r->eois, 1);
}

static void rig_cpu(struct rig *r, unsigned id, const struct cpuid_table *supported)
{
	const struct cpuid_topology topology = {.apic_id = id, .cpus = r->cpus};
	static struct cpuid_table table;
	const struct engine_vcpu_config config = {id, &table};

	assert_int_equal(cpuid_compose(&table, "x86-64-v3", supported, &topology, NULL), 0);
	assert_int_equal(r->engine->vcpu_create(r->vm, &config, &r->vcpu[id], NULL), 0);
	r->cpu[id] = (struct cpu){.rig = r, .vcpu = r->vcpu[id]};
}

static void rig_init(struct rig *r, unsigned cpus)
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
		rig_cpu(r, i, &supported);
}

static void rig_release(struct rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		r->engine->vcpu_destroy(r->vcpu[i]);
	r->engine->vm_destroy(r->vm);
	clock_release(&r->clock);
	bus_release(&r->pio);
	bus_release(&r->mmio);
	mem_release(&r->mem);
}

/* Loads a program for the first vCPU, and handlers of all vectors that run `handler`. */
static void rig_load(struct rig *r, struct buf *program, struct buf *handler)
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
		s.idt = (struct descriptor_table){HANDLERS, 0x7ff};
		buf_release(handler);
	}
	assert_int_equal(r->engine->set_state(r->vcpu[0], &s, &e), 0);
	buf_release(program);
}

static enum engine_exit rig_run(struct rig *r)
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

static void rig_start(struct rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		assert_int_equal(pthread_create(&r->cpu[i].thread, NULL, cpu_thread, &r->cpu[i]),
				 0);
}

static void rig_join(struct rig *r)
{
	for (unsigned i = 0; i < r->cpus; i++)
		pthread_join(r->cpu[i].thread, NULL);
}

static uint64_t counter(struct rig *r, unsigned n)
{
	const _Atomic uint64_t *p = mem_ptr_rw(&r->mem, COUNTER + n * 8, 8);

	return atomic_load(p);
}

/* Waits until the guest has written what it has to. */
static void await(struct rig *r, unsigned n, uint64_t value)
{
	while (counter(r, n) < value)
		sched_yield();
}

static struct vcpu_state state_of(struct rig *r, unsigned id)
{
	struct vcpu_state s;

	assert_int_equal(r->engine->get_state(r->vcpu[id], &s, NULL), 0);
	return s;
}

/* The guest adds 1 to counter n; uses registers 8 and 9. */
static void emit_count(struct buf *p, unsigned n)
{
	fake_emit(p, FAKE_MOVI, 8, 0, 0, 1);
	fake_emit(p, FAKE_MOVI, 9, 0, 0, (int32_t)(COUNTER + n * 8));
	fake_emit(p, FAKE_XADD, 8, 9, 0, 0);
}

static void the_mandatory_entries_are_there(void **state)
{
	const struct engine_ops *o = &fake_engine;
	struct engine_offer offer;

	(void)state;
	assert_non_null(o->name);
	assert_true(o->probe && o->vm_create && o->vm_destroy && o->cpuid_supported && o->map &&
		    o->unmap && o->dirty_start && o->dirty_stop && o->dirty_take &&
		    o->vcpu_create && o->vcpu_destroy && o->run && o->kick && o->get_state &&
		    o->set_state && o->msi && o->extint && o->nmi && o->stats);
	o->probe(&offer, true);
	assert_true(offer.usable && offer.efficient && offer.ratio > 0);
	assert_int_equal(offer.caps, ENGINE_HAS_LAPIC);
}

static void accesses_go_through_the_buses_while_run_runs(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT;
	struct engine_stat stats[16];
	size_t n;

	(void)state;
	rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0x41);
	fake_emit(&p, FAKE_OUT, 1, 0, 1, 0x3f8);
	fake_emit(&p, FAKE_IN, 2, 0, 2, 0x3fa);
	fake_emit(&p, FAKE_MOVI, 3, 0, 0, (int32_t)0xd0000000);
	fake_emit(&p, FAKE_LOAD, 4, 3, 8, 0x10);
	fake_emit(&p, FAKE_STORE, 4, 3, 4, 0x20);
	fake_emit(&p, FAKE_LOAD, 5, 3, 4, 0x1000); /* nobody there */
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	rig_load(&r, &p, NULL);
	assert_int_equal(rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(r.writes, 2);
	assert_int_equal(r.written[0], 0x41);
	assert_int_equal(r.sizes[0], 1);
	assert_int_equal(r.written[1], 0x55667798);
	assert_int_equal(r.sizes[1], 4);
	assert_int_equal(state_of(&r, 0).gpr[2], 0x778a);
	assert_true(state_of(&r, 0).gpr[4] == 0x1122334455667798ULL);
	assert_int_equal(state_of(&r, 0).gpr[5], 0xffffffff);
	n = r.engine->stats(r.vm, stats, 16);
	assert_true(n >= 3 && n <= 16);
	assert_string_equal(stats[1].name, "pio");
	assert_int_equal(stats[1].count, 2);
	assert_int_equal(stats[2].count, 3);
	assert_int_equal(r.engine->stats(r.vm, stats, 0), n);
	rig_release(&r);
}

static void state_is_given_back_as_it_was_set(void **state)
{
	static struct rig r;
	static struct vcpu_state a, b;
	uint8_t *bytes = a.xsave;

	(void)state;
	rig_init(&r, 2);
	vcpu_state_reset(&a, 1);
	for (unsigned i = 0; i < GPR_COUNT; i++)
		a.gpr[i] = 0x0101010101010101ULL * (i + 1);
	for (unsigned i = 0; i < sizeof(a.xsave); i++)
		bytes[i] = (uint8_t)(i * 7);
	a.cr3 = 0x123000;
	a.activity = VCPU_HALTED;
	a.events.nmi_pending = true;
	a.lapic[0x200 + 16] = 0x80; /* vector 39 requested */
	vcpu_state_set_msr(&a, MSR_IA32_LSTAR, 0xffffffff82000080ULL);
	assert_int_equal(r.engine->set_state(r.vcpu[1], &a, NULL), 0);
	memset(&b, 0xee, sizeof(b));
	assert_int_equal(r.engine->get_state(r.vcpu[1], &b, NULL), 0);
	assert_memory_equal(a.gpr, b.gpr, sizeof(a.gpr));
	assert_memory_equal(a.xsave, b.xsave, sizeof(a.xsave));
	assert_memory_equal(a.lapic, b.lapic, sizeof(a.lapic));
	assert_memory_equal(a.seg, b.seg, sizeof(a.seg));
	assert_int_equal(b.cr3, 0x123000);
	assert_int_equal(b.activity, VCPU_HALTED);
	assert_true(b.events.nmi_pending);
	assert_int_equal(a.msr_count, b.msr_count);
	assert_memory_equal(a.msrs, b.msrs, a.msr_count * sizeof(a.msrs[0]));
	rig_release(&r);
}

static void a_kick_is_not_lost(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	rig_load(&r, &p, NULL);
	/* Before run: it returns without guest progress. Two kicks are one. */
	r.engine->kick(r.vcpu[0]);
	r.engine->kick(r.vcpu[0]);
	assert_int_equal(rig_run(&r), ENGINE_KICKED);
	assert_int_equal(state_of(&r, 0).rip, PROGRAM);
	/* In the middle of an endless loop. */
	rig_start(&r);
	await(&r, 0, 1000);
	r.engine->kick(r.vcpu[0]);
	rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_KICKED);
	rig_release(&r);
}

static void a_halted_vcpu_is_woken_by_a_kick_and_by_a_message(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	rig_load(&r, &p, &h);
	rig_start(&r);
	await(&r, 0, 1);
	r.engine->kick(r.vcpu[0]);
	rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_KICKED);
	rig_start(&r); /* it goes on with its halt, or comes to it */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_ASSERT | 0x41});
	rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_RESET);
	assert_int_equal(counter(&r, 1), 1);
	assert_int_equal(atomic_load(&r.eois), 0); /* an edge has no EOI to report */
	rig_release(&r);
}

static void only_level_triggered_vectors_report_their_eoi(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	rig_load(&r, &p, &h);
	/* Sent while interrupts are off: they wait, the higher vector goes first, each once. */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x30});
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x30});
	r.engine->msi(r.vm,
		      &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_ASSERT | MSI_DATA_LEVEL | 0x51});
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE, 0x05});            /* no such vector */
	r.engine->msi(r.vm, &(struct msi_msg){MSI_ADDR_BASE | 9u << 12, 0x60}); /* no such APIC */
	assert_int_equal(counter(&r, 1), 0);
	assert_int_equal(rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(counter(&r, 1), 2);
	assert_int_equal(atomic_load(&r.eois), 1);
	assert_int_equal(atomic_load(&r.eoi_vector), 0x51);
	rig_release(&r);
}

static void the_8259_is_asked_when_its_interrupt_is_taken(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&r, 2);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	rig_load(&r, &p, &h);
	r.intack_vector = 0x08;
	r.engine->extint(r.vm, true);
	assert_int_equal(rig_run(&r), ENGINE_RESET); /* interrupts are off */
	assert_int_equal(atomic_load(&r.intacks), 0);
	r.engine->extint(r.vm, false);
	r.engine->extint(r.vm, true);
	assert_int_equal(rig_run(&r), ENGINE_POWEROFF);
	assert_int_equal(atomic_load(&r.intacks), 1);
	assert_int_equal(counter(&r, 1), 1);
	rig_release(&r);
}

static void an_nmi_comes_through_with_interrupts_off(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	emit_count(&p, 0);
	fake_emit(&p, FAKE_MOVI, 9, 0, 0, COUNTER + 8);
	fake_emit(&p, FAKE_LOAD, 5, 9, 8, 0);
	fake_emit(&p, FAKE_JNZ, 5, 0, 0, 1);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	rig_load(&r, &p, &h);
	rig_start(&r);
	await(&r, 0, 1);
	r.engine->nmi(r.vcpu[0]);
	rig_join(&r);
	assert_int_equal(r.cpu[0].exit, ENGINE_POWEROFF);
	assert_int_equal(counter(&r, 1), 1);
	rig_release(&r);
}

/* The bootstrap processor starts the others by INIT and SIPI; all count; it waits for them. */
static void several_vcpus_run_on_their_threads(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, ap = BUF_INIT;

	(void)state;
	rig_init(&r, CPUS);
	/* The application processors' code, at the page that their SIPI names. */
	fake_emit(&ap, FAKE_MOVI, 3, 0, 0, 5000);
	fake_emit(&ap, FAKE_MOVI, 4, 0, 0, 0);
	emit_count(&ap, 0);
	fake_emit(&ap, FAKE_ADD, 3, 4, 0, -1);
	fake_emit(&ap, FAKE_JNZ, 3, 0, 0, -5);
	emit_count(&ap, 1);
	fake_emit(&ap, FAKE_HLT, 0, 0, 0, 0);
	assert_true(mem_write(&r.mem, 0x6000, ap.data, ap.len));
	buf_release(&ap);
	fake_emit(&p, FAKE_MOVI, 2, 0, 0, 5 << 8);        /* INIT */
	fake_emit(&p, FAKE_MOVI, 3, 0, 0, 6 << 8 | 0x06); /* SIPI to 0x6000 */
	for (int id = 1; id < CPUS; id++) {
		fake_emit(&p, FAKE_MOVI, 1, 0, 0, id);
		fake_emit(&p, FAKE_IPI, 1, 2, 0, 0);
		fake_emit(&p, FAKE_IPI, 1, 3, 0, 0);
	}
	fake_emit(&p, FAKE_MOVI, 9, 0, 0, COUNTER + 8);
	fake_emit(&p, FAKE_MOVI, 4, 0, 0, 0);
	fake_emit(&p, FAKE_LOAD, 5, 9, 8, 0);
	fake_emit(&p, FAKE_ADD, 5, 4, 0, -(CPUS - 1));
	fake_emit(&p, FAKE_JNZ, 5, 0, 0, -3);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	rig_load(&r, &p, NULL);
	rig_start(&r);
	pthread_join(r.cpu[0].thread, NULL);
	assert_int_equal(r.cpu[0].exit, ENGINE_POWEROFF);
	for (unsigned i = 1; i < CPUS; i++)
		r.engine->kick(r.vcpu[i]);
	for (unsigned i = 1; i < CPUS; i++) {
		pthread_join(r.cpu[i].thread, NULL);
		assert_int_equal(r.cpu[i].exit, ENGINE_KICKED);
	}
	assert_int_equal(counter(&r, 0), 5000 * (CPUS - 1));
	for (unsigned i = 1; i < CPUS; i++)
		assert_int_equal(state_of(&r, i).seg[SEG_CS].selector, 0x0600);
	rig_release(&r);
}

static void a_guest_without_handlers_ends_in_shutdown(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	fake_emit(&p, FAKE_UD, 0x12, 0, 0, 0);
	rig_load(&r, &p, NULL);
	assert_int_equal(rig_run(&r), ENGINE_SHUTDOWN);
	assert_true(r.cpu[0].detail.text[0]);
	assert_int_equal(r.cpu[0].detail.insn_len, FAKE_INSN_SIZE);
	assert_int_equal(r.cpu[0].detail.insn[1], 0x12);
	assert_int_equal(state_of(&r, 0).rip, PROGRAM); /* at the instruction, not after it */
	fake_emit(&p, FAKE_UD, 0, 0, 0, 0);
	fake_emit(&h, FAKE_EXIT, 0, 0, 0, ENGINE_CRASHED);
	rig_load(&r, &p, &h);
	assert_int_equal(rig_run(&r), ENGINE_CRASHED);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, 0x1000000); /* out of RAM */
	rig_load(&r, &p, NULL);
	assert_int_equal(rig_run(&r), ENGINE_SHUTDOWN);
	rig_release(&r);
}

static void the_guest_s_writes_are_recorded_from_start_to_stop(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT;
	uint64_t bitmap[4] = {0};

	(void)state;
	rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 0x20000);
	fake_emit(&p, FAKE_STORE, 1, 1, 4, 0x0);
	fake_emit(&p, FAKE_STORE, 1, 1, 4, 0x2ffe); /* over a page's end */
	fake_emit(&p, FAKE_LOAD, 2, 1, 4, 0x5000);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -6);
	rig_load(&r, &p, NULL);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), -22);
	assert_int_equal(rig_run(&r), ENGINE_RESET);
	assert_int_equal(r.engine->dirty_start(r.vm, NULL), 0);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(rig_run(&r), ENGINE_RESET);
	bitmap[0] = 1; /* ORed into what is there */
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_true(bitmap[0] == (BIT(0x20) | BIT(0x22) | BIT(0x23) | 1));
	memset(bitmap, 0, sizeof(bitmap));
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[0], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(r.engine->dirty_take(r.vm, &r.mem.regions[1], bitmap, NULL), 0);
	assert_int_equal(bitmap[0], 0);
	assert_int_equal(r.engine->dirty_stop(r.vm, NULL), 0);
	rig_release(&r);
}

static void what_is_not_mapped_is_not_ram(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT;

	(void)state;
	rig_init(&r, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, (int32_t)0xfffffff8);
	fake_emit(&p, FAKE_MOVI, 2, 0, 0, 77);
	fake_emit(&p, FAKE_STORE, 2, 1, 8, 8); /* 4 GiB */
	fake_emit(&p, FAKE_LOAD, 3, 1, 8, 8);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, -4);
	rig_load(&r, &p, NULL);
	assert_int_equal(rig_run(&r), ENGINE_RESET);
	assert_int_equal(state_of(&r, 0).gpr[3], 77);
	assert_int_equal(r.engine->unmap(r.vm, &r.mem.regions[1], NULL), 0);
	assert_true(r.engine->unmap(r.vm, &r.mem.regions[1], NULL) < 0);
	assert_int_equal(rig_run(&r), ENGINE_RESET);
	assert_true(state_of(&r, 0).gpr[3] == UINT64_MAX);
	assert_int_equal(atomic_load(&r.mmio.unclaimed_writes), 1);
	assert_int_equal(r.engine->map(r.vm, &r.mem.regions[1], NULL), 0);
	assert_true(r.engine->map(r.vm, &r.mem.regions[1], NULL) < 0);
	assert_int_equal(rig_run(&r), ENGINE_RESET);
	assert_int_equal(state_of(&r, 0).gpr[3], 77);
	rig_release(&r);
}

/* What one VM was doing, another goes on with: state and RAM are all there is. */
static void a_guest_goes_on_in_another_vm(void **state)
{
	static struct rig a, b;
	static struct vcpu_state s;
	struct buf p = BUF_INIT, h = BUF_INIT;

	(void)state;
	rig_init(&a, 1);
	rig_init(&b, 1);
	fake_emit(&p, FAKE_MOVI, 1, 0, 0, 42);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_RESET);
	fake_emit(&p, FAKE_ADD, 1, 1, 0, 0);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	emit_count(&h, 1);
	fake_emit(&h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(&h, FAKE_IRET, 0, 0, 0, 0);
	rig_load(&a, &p, &h);
	assert_int_equal(rig_run(&a), ENGINE_RESET);
	a.engine->msi(a.vm, &(struct msi_msg){MSI_ADDR_BASE, MSI_DATA_LEVEL | 0x71});
	clock_advance(&a.clock, 12345);
	assert_int_equal(a.engine->get_state(a.vcpu[0], &s, NULL), 0);
	assert_int_equal(s.tsc, 12345);
	memcpy(b.mem.regions[0].host, a.mem.regions[0].host, MIB(1));
	rig_release(&a);
	assert_int_equal(b.engine->set_state(b.vcpu[0], &s, NULL), 0);
	assert_int_equal(rig_run(&b), ENGINE_POWEROFF);
	assert_int_equal(state_of(&b, 0).gpr[1], 84);
	assert_int_equal(state_of(&b, 0).tsc, 12345);
	assert_int_equal(counter(&b, 1), 1); /* the interrupt came along */
	assert_int_equal(atomic_load(&b.eoi_vector), 0x71);
	rig_release(&b);
}

static void the_guest_sees_the_cpuid_that_was_composed(void **state)
{
	static struct rig r;
	struct buf p = BUF_INIT;
	struct vcpu_state s;

	(void)state;
	rig_init(&r, 3);
	fake_emit(&p, FAKE_MOVI, GPR_RAX, 0, 0, 0xb);
	fake_emit(&p, FAKE_MOVI, GPR_RCX, 0, 0, 1);
	fake_emit(&p, FAKE_CPUID, 0, 0, 0, 0);
	fake_emit(&p, FAKE_EXIT, 0, 0, 0, ENGINE_POWEROFF);
	rig_load(&r, &p, NULL);
	s = state_of(&r, 0);
	s.activity = VCPU_RUNNING;
	assert_int_equal(r.engine->set_state(r.vcpu[2], &s, NULL), 0);
	assert_int_equal(r.engine->run(r.vcpu[2], &r.cpu[2].detail), ENGINE_POWEROFF);
	s = state_of(&r, 2);
	assert_int_equal(s.gpr[GPR_RBX], 3);
	assert_int_equal(s.gpr[GPR_RDX], 2);
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mandatory_entries_are_there),
		cmocka_unit_test(accesses_go_through_the_buses_while_run_runs),
		cmocka_unit_test(state_is_given_back_as_it_was_set),
		cmocka_unit_test(a_kick_is_not_lost),
		cmocka_unit_test(a_halted_vcpu_is_woken_by_a_kick_and_by_a_message),
		cmocka_unit_test(only_level_triggered_vectors_report_their_eoi),
		cmocka_unit_test(the_8259_is_asked_when_its_interrupt_is_taken),
		cmocka_unit_test(an_nmi_comes_through_with_interrupts_off),
		cmocka_unit_test(several_vcpus_run_on_their_threads),
		cmocka_unit_test(a_guest_without_handlers_ends_in_shutdown),
		cmocka_unit_test(the_guest_s_writes_are_recorded_from_start_to_stop),
		cmocka_unit_test(what_is_not_mapped_is_not_ram),
		cmocka_unit_test(a_guest_goes_on_in_another_vm),
		cmocka_unit_test(the_guest_sees_the_cpuid_that_was_composed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
