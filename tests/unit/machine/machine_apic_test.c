/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Machines whose engine has no local APICs: interrupts of every kind reach their vCPU,
 * whether it runs, halts or waits; INIT and SIPI; nothing is lost, nothing spins.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "base/time.h"
#include "core/x86/regs.h"
#include "machine/layout.h"
#include "machine_rig.h"

#define IDT      0x8000
#define STACKS   0x9000
#define AP_CODE  0x10000 /* where a SIPI of vector 10h starts */
#define AP_CODE2 0x11000
#define HANDLERS 0x20000
#define FLAG_A   0x30000
#define FLAG_B   0x30008
#define COUNT    0x30010
#define READY    0x30018

#define APIC      0xfee00000
#define SVR       0x0f0
#define LVT_TIMER 0x320
#define INITIAL   0x380
#define DIVIDE    0x3e0

#define INIT  0x4500
#define SIPI  0x4610 /* at AP_CODE */
#define NMI   0x4400
#define FIXED 0x4000

/* What the guest finds in its RAM besides its kernel: handlers, and code for other vCPUs. */
static struct {
	const struct engine_env *env;
	struct buf handler[256];
	struct buf ap, ap2;
	struct vcpu_state last[2]; /* as the machine set it */
	atomic_uint sets[2];
} guest;

static int vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	guest.env = env;
	return fake_bare_engine.vm_create(vm, env, e);
}

static void put(uint64_t gpa, const struct buf *code)
{
	if (code->len)
		assert_true(mem_write(guest.env->mem, gpa, code->data, code->len));
}

static void fill_ram(void)
{
	put(AP_CODE, &guest.ap);
	put(AP_CODE2, &guest.ap2);
	for (unsigned v = 0; v < 256; v++) {
		uint64_t at = HANDLERS + v * 0x100;

		put(at, &guest.handler[v]);
		if (guest.handler[v].len)
			assert_true(mem_write(guest.env->mem, IDT + v * 8, &at, 8));
	}
}

/* Every vCPU has the interrupt table, a stack and flat code, from wherever it begins. */
static int set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e)
{
	unsigned id = (unsigned)load_le(state->lapic + 0x20, 4) >> 24;
	struct vcpu_state s = *state;

	if (id == 0 && state->activity == VCPU_RUNNING && state->rip != 0xfff0)
		fill_ram();
	if (id < 2) {
		guest.last[id] = *state;
		guest.sets[id]++;
	}
	s.idt = (struct descriptor_table){.base = IDT, .limit = 0x7ff};
	if (!s.rip) { /* by a SIPI; handlers are where they are for everybody */
		s.rip = s.seg[SEG_CS].base;
		s.seg[SEG_CS].base = 0;
	}
	if (!s.gpr[GPR_RSP])
		s.gpr[GPR_RSP] = STACKS + (id + 1) * 0x100;
	return fake_bare_engine.set_state(vcpu, &s, e);
}

static int setup(void **state)
{
	(void)state;
	memset(&guest, 0, sizeof(guest));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (unsigned v = 0; v < 256; v++)
		buf_release(&guest.handler[v]);
	buf_release(&guest.ap);
	buf_release(&guest.ap2);
	return 0;
}

static void bare_init(struct rig *r, struct buf *p, unsigned cpus)
{
	rig_init(r, p);
	r->engine = fake_bare_engine;
	r->engine.vm_create = vm_create;
	r->engine.set_state = set_state;
	r->config.cpus = cpus;
}

static void runs_until(struct buf *p, unsigned cpus, enum machine_end end)
{
	struct rig r;

	bare_init(&r, p, cpus);
	rig_start(&r);
	rig_ends(&r, end);
	rig_release(&r);
}

/* --- programs -------------------------------------------------------------------------------- */

static void apic(struct buf *p, uint32_t reg, uint32_t value)
{
	rig_store(p, 4, APIC + reg, value);
}

static void enable(struct buf *p)
{
	apic(p, SVR, 0x1ff);
}

static void ipi(struct buf *p, unsigned to, uint32_t data)
{
	fake_emit(p, FAKE_MOVI, GPR_RDX, 0, 0, (int32_t)to);
	fake_emit(p, FAKE_MOVI, GPR_RSI, 0, 0, (int32_t)data);
	fake_emit(p, FAKE_IPI, GPR_RDX, GPR_RSI, 0, 0);
}

/* Turns round until the flag is set. */
static void await(struct buf *p, uint32_t flag)
{
	fake_emit(p, FAKE_MOVI, GPR_RCX, 0, 0, (int32_t)flag);
	fake_emit(p, FAKE_LOAD, GPR_RAX, GPR_RCX, 8, 0);
	fake_emit(p, FAKE_JNZ, GPR_RAX, 0, 0, 1);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -4);
}

/* Halts until the flag is set, as kernels do. */
#define SLEEP_INSNS 7
static void sleep_until(struct buf *p, uint32_t flag)
{
	fake_emit(p, FAKE_CLI, 0, 0, 0, 0);
	fake_emit(p, FAKE_MOVI, GPR_RCX, 0, 0, (int32_t)flag);
	fake_emit(p, FAKE_LOAD, GPR_RAX, GPR_RCX, 8, 0);
	fake_emit(p, FAKE_JNZ, GPR_RAX, 0, 0, 3);
	fake_emit(p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -SLEEP_INSNS);
}

static void halt_for_ever(struct buf *p)
{
	fake_emit(p, FAKE_STI, 0, 0, 0, 0);
	fake_emit(p, FAKE_HLT, 0, 0, 0, 0);
	fake_emit(p, FAKE_JMP, 0, 0, 0, -3);
}

/* Handlers have registers of their own: they come between any two instructions. */
#define OWN_A GPR_R8
#define OWN_B (GPR_R8 + 1)

static void own_store(struct buf *p, uint32_t address, uint32_t value)
{
	fake_emit(p, FAKE_MOVI, OWN_A, 0, 0, (int32_t)value);
	fake_emit(p, FAKE_MOVI, OWN_B, 0, 0, (int32_t)address);
	fake_emit(p, FAKE_STORE, OWN_A, OWN_B, 8, 0);
}

/* In a handler: the so-many-th time sets the flag. Who is interrupted cannot count: it need not run
 * between two of them. */
static void own_count(struct buf *p, uint32_t flag, int32_t times)
{
	fake_emit(p, FAKE_MOVI, OWN_A, 0, 0, 1);
	fake_emit(p, FAKE_MOVI, OWN_B, 0, 0, COUNT);
	fake_emit(p, FAKE_XADD, OWN_A, OWN_B, 8, 0);
	fake_emit(p, FAKE_MOVI, OWN_B, 0, 0, 0);
	fake_emit(p, FAKE_ADD, OWN_A, OWN_B, 0, 1 - times);
	fake_emit(p, FAKE_JNZ, OWN_A, 0, 0, 3);
	own_store(p, flag, 1);
}

/* A handler that sets a flag. */
static void on_vector(unsigned vector, uint32_t flag)
{
	struct buf *p = &guest.handler[vector];

	own_store(p, flag, 1);
	if (vector != VECTOR_NMI)
		fake_emit(p, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(p, FAKE_IRET, 0, 0, 0, 0);
}

static void start_ap(struct buf *p)
{
	ipi(p, 1, INIT);
	ipi(p, 1, SIPI);
	await(p, READY);
}

static void ready(struct buf *p)
{
	enable(p);
	rig_store(p, 8, READY, 1);
}

/* --- tests ----------------------------------------------------------------------------------- */

static void the_timer_wakes(void **state)
{
	struct buf p = BUF_INIT;

	(void)state;
	on_vector(0xec, FLAG_A);
	apic(&p, DIVIDE, 0xb);
	apic(&p, LVT_TIMER, 0xec);
	apic(&p, INITIAL, 2000000);
	sleep_until(&p, FLAG_A);
	rig_poweroff(&p);
	rig_spin(&p);
	runs_until(&p, 1, MACHINE_POWEROFF);
}

/* A processor that runs is interrupted, too. */
static void the_timer_interrupts(void **state)
{
	struct buf p = BUF_INIT;

	(void)state;
	on_vector(0xec, FLAG_A);
	apic(&p, DIVIDE, 0xb);
	apic(&p, LVT_TIMER, 0xec);
	apic(&p, INITIAL, 2000000);
	fake_emit(&p, FAKE_STI, 0, 0, 0, 0);
	await(&p, FLAG_A);
	rig_poweroff(&p);
	rig_spin(&p);
	runs_until(&p, 1, MACHINE_POWEROFF);
}

/* PIT, 8259, LINT0 as the firmware left it. */
static void the_8259s_reach_the_first_processor(void **state)
{
	static const struct {
		uint16_t port;
		uint8_t value;
	} setup_8259[] = {{0x20, 0x11}, {0x21, 0x30}, {0x21, 4}, {0x21, 1},
			  {0x21, 0xfe}, {0x43, 0x34}, {0x40, 0}, {0x40, 0x10}};
	struct buf p = BUF_INIT, *h = &guest.handler[0x30];

	(void)state;
	own_count(h, FLAG_A, 5);
	fake_emit(h, FAKE_MOVI, OWN_A, 0, 0, 0x20);
	fake_emit(h, FAKE_OUT, OWN_A, 0, 1, 0x20);
	fake_emit(h, FAKE_IRET, 0, 0, 0, 0);
	for (unsigned i = 0; i < ARRAY_LEN(setup_8259); i++)
		rig_out(&p, 1, setup_8259[i].port, setup_8259[i].value);
	sleep_until(&p, FLAG_A);
	rig_poweroff(&p);
	rig_spin(&p);
	runs_until(&p, 1, MACHINE_POWEROFF);
}

/* A level that nobody takes back comes again after each EOI. */
static void the_io_apic_hears_of_the_end(void **state)
{
	struct buf p = BUF_INIT, *h = &guest.handler[0x59];
	struct rig r;

	(void)state;
	own_count(h, FLAG_A, 3);
	fake_emit(h, FAKE_EOI, 0, 0, 0, 0);
	fake_emit(h, FAKE_IRET, 0, 0, 0, 0);
	rig_store(&p, 4, LAYOUT_IOAPIC, 0x10 + 2 * LAYOUT_IRQ_SCI);
	rig_store(&p, 4, LAYOUT_IOAPIC + 0x10, 0x8059);
	rig_out(&p, 2, LAYOUT_ACPI_PM + 2, 0x100); /* PM1 enable: the power button */
	rig_store(&p, 8, READY, 1);
	sleep_until(&p, FLAG_A);
	rig_poweroff(&p);
	rig_spin(&p);
	bare_init(&r, &p, 1);
	rig_start(&r);
	for (uint64_t is = 0; !is; usleep(1000))
		mem_read(guest.env->mem, READY, &is, 8);
	machine_power_button(r.machine);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
}

static void an_application_processor_runs_when_it_is_told(void **state)
{
	struct buf p = BUF_INIT;

	(void)state;
	rig_store(&guest.ap, 8, READY, 1);
	rig_poweroff(&guest.ap);
	rig_spin(&guest.ap);
	ipi(&p, 1, SIPI); /* it does not wait for that yet */
	ipi(&p, 1, FIXED | 0x50);
	ipi(&p, 1, NMI);
	for (int i = 0; i < 2000; i++)
		fake_emit(&p, FAKE_CLI, 0, 0, 0, 0); /* time */
	p.len = MIN(p.len, 300 * FAKE_INSN_SIZE);
	rig_unless(&p, READY, 0, RIG_OUT_INSNS);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, 1);
	rig_triple_fault(&p);
	start_ap(&p);
	halt_for_ever(&p);
	runs_until(&p, 2, MACHINE_POWEROFF);
	assert_int_equal(guest.sets[1], 3); /* power-on, INIT, SIPI */
	assert_int_equal(guest.last[1].seg[SEG_CS].selector, 0x1000);
	assert_int_equal(guest.last[1].seg[SEG_CS].base, 0x10000);
	assert_int_equal(guest.last[1].rip, 0);
	assert_int_equal(guest.last[1].cr0, 0x60000010);
	assert_int_equal(guest.last[1].gpr[GPR_RDX], 0x50654);
	assert_int_equal(guest.last[1].activity, VCPU_RUNNING);
}

/* INIT stops a processor that runs, with its local APIC; the next SIPI starts it elsewhere. One for
 * a processor that runs is nothing. */
static void init_stops_and_restarts(void **state)
{
	struct buf p = BUF_INIT;

	(void)state;
	ready(&guest.ap);
	apic(&guest.ap, LVT_TIMER, 0x55);
	rig_spin(&guest.ap);
	rig_store(&guest.ap2, 8, FLAG_A, 1);
	rig_spin(&guest.ap2);
	start_ap(&p);
	ipi(&p, 1, 0x4611); /* it runs */
	ipi(&p, 1, INIT);
	ipi(&p, 1, 0x4611);
	ipi(&p, 1, SIPI); /* it starts, or runs */
	await(&p, FLAG_A);
	rig_poweroff(&p);
	rig_spin(&p);
	runs_until(&p, 2, MACHINE_POWEROFF);
	assert_int_equal(guest.last[1].seg[SEG_CS].base, AP_CODE2);
	assert_int_equal(load_le(guest.last[1].lapic + LVT_TIMER, 4), 0x10000);
	assert_int_equal(load_le(guest.last[1].lapic + SVR, 4), 0xff);
	assert_int_equal(guest.sets[1], 5);
}

/* There is no firmware: the reset vector leads nowhere. */
static void init_of_the_first_processor(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	ipi(&p, 0, INIT);
	rig_spin(&p);
	bare_init(&r, &p, 1);
	rig_start(&r);
	rig_ends(&r, MACHINE_CRASHED);
	assert_non_null(strstr(r.result.text, "no RAM at RIP fffffff0"));
	rig_release(&r);
}

static void an_nmi_wakes_who_takes_no_interrupts(void **state)
{
	struct buf p = BUF_INIT;
	int32_t loop;

	(void)state;
	on_vector(VECTOR_NMI, FLAG_A);
	on_vector(0x50, FLAG_B);
	ready(&guest.ap);
	fake_emit(&guest.ap, FAKE_HLT, 0, 0, 0, 0); /* interrupts are off */
	rig_unless(&guest.ap, FLAG_B, 0, 2);
	fake_emit(&guest.ap, FAKE_JMP, 0, 0, 0, 1);
	rig_triple_fault(&guest.ap);
	rig_poweroff(&guest.ap);
	rig_spin(&guest.ap);
	start_ap(&p);
	ipi(&p, 1, FIXED | 0x50);
	/* The first NMI may come before it halts; none is sent before the last has been taken: the
	 * fake processor does not mask them in their handler. */
	loop = (int32_t)(p.len / FAKE_INSN_SIZE);
	rig_store(&p, 8, FLAG_A, 0);
	ipi(&p, 1, NMI);
	await(&p, FLAG_A);
	fake_emit(&p, FAKE_JMP, 0, 0, 0, loop - (int32_t)(p.len / FAKE_INSN_SIZE) - 1);
	runs_until(&p, 2, MACHINE_POWEROFF);
}

/* Two processors wake each other, so often. */
static void ping_pong(struct buf *p, int32_t rounds)
{
	int32_t loop;

	on_vector(0x50, FLAG_A);
	on_vector(0x51, FLAG_B);
	ready(&guest.ap);
	loop = (int32_t)(guest.ap.len / FAKE_INSN_SIZE);
	sleep_until(&guest.ap, FLAG_A);
	rig_store(&guest.ap, 8, FLAG_A, 0);
	ipi(&guest.ap, 0, FIXED | 0x51);
	fake_emit(&guest.ap, FAKE_JMP, 0, 0, 0,
		  loop - (int32_t)(guest.ap.len / FAKE_INSN_SIZE) - 1);
	start_ap(p);
	fake_emit(p, FAKE_MOVI, GPR_RBX, 0, 0, rounds);
	loop = (int32_t)(p->len / FAKE_INSN_SIZE);
	ipi(p, 1, FIXED | 0x50);
	sleep_until(p, FLAG_B);
	rig_store(p, 8, FLAG_B, 0);
	fake_emit(p, FAKE_MOVI, GPR_RCX, 0, 0, 0);
	fake_emit(p, FAKE_ADD, GPR_RBX, GPR_RCX, 0, -1);
	fake_emit(p, FAKE_JNZ, GPR_RBX, 0, 0, loop - (int32_t)(p->len / FAKE_INSN_SIZE) - 1);
	rig_poweroff(p);
	rig_spin(p);
}

static void no_wake_up_is_lost(void **state)
{
	struct buf p = BUF_INIT;

	(void)state;
	ping_pong(&p, 20000);
	runs_until(&p, 2, MACHINE_POWEROFF);
}

/* The engine is slow to leave run(): what comes meanwhile comes between its look and the sleep. */
static enum engine_exit run_slowly(struct engine_vcpu *v, struct engine_detail *detail)
{
	enum engine_exit exit = fake_bare_engine.run(v, detail);

	if (exit == ENGINE_HALTED)
		usleep(200);
	return exit;
}

static void no_wake_up_is_lost_on_the_way_to_sleep(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	ping_pong(&p, 500);
	bare_init(&r, &p, 2);
	r.engine.run = run_slowly;
	rig_start(&r);
	rig_ends(&r, MACHINE_POWEROFF);
	rig_release(&r);
}

static void stopped_at_any_moment(void **state)
{
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		struct buf p = BUF_INIT;
		struct rig r;

		ping_pong(&p, 1 << 30);
		bare_init(&r, &p, 3);
		rig_start(&r);
		seed = seed * 1103515245 + 12345;
		usleep((seed >> 8) % 3000);
		if (i % 2) {
			machine_stop(r.machine);
			rig_ends(&r, MACHINE_STOPPED);
		}
		rig_release(&r);
		teardown(NULL);
		setup(NULL);
	}
}

/* A reset finds one processor running, one asleep, one that never ran; afterwards only the first
 * runs. */
static void a_reset_stops_application_processors(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	ready(&guest.ap);
	apic(&guest.ap, LVT_TIMER, 0x55);
	halt_for_ever(&guest.ap);
	start_ap(&p);
	rig_out(&p, 1, LAYOUT_RESET, 6);
	rig_spin(&p);
	bare_init(&r, &p, 3);
	rig_start(&r);
	for (unsigned ms = 0; atomic_load(&guest.sets[0]) < 10 && ms < 60000; ms++)
		usleep(1000);
	assert_in_range(atomic_load(&guest.sets[0]), 10, UINT32_MAX);
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	rig_release(&r);
}

/* CPU time that this process takes in 300 ms, in parts of a thousand. */
static unsigned busy(void)
{
	uint64_t begin = time_process_cpu_ns();

	usleep(300000);
	return (unsigned)((time_process_cpu_ns() - begin) / (300 * NS_PER_US));
}

static void wait_for(uint32_t flag)
{
	for (uint64_t is = 0; !is; usleep(1000))
		mem_read(guest.env->mem, flag, &is, 8);
}

static void idle_processors_cost_nothing(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	ready(&guest.ap);
	halt_for_ever(&guest.ap);
	start_ap(&p);
	halt_for_ever(&p);
	bare_init(&r, &p, 4); /* two of which never start */
	rig_start(&r);
	wait_for(READY);
	assert_in_range(busy(), 0, 19);
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	rig_release(&r);
}

/* A timer of 1 ns whose interrupts nobody takes. */
static void an_absurd_timer_does_not_burn_a_core(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	apic(&p, DIVIDE, 0xb);
	apic(&p, LVT_TIMER, 0x20055);
	apic(&p, INITIAL, 1);
	rig_store(&p, 8, READY, 1);
	fake_emit(&p, FAKE_HLT, 0, 0, 0, 0);
	bare_init(&r, &p, 1);
	rig_start(&r);
	wait_for(READY);
	assert_in_range(busy(), 0, 700); /* burning, it is 1000 */
	machine_stop(r.machine);
	rig_ends(&r, MACHINE_STOPPED);
	rig_release(&r);
}

static int refuse_to_set(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e)
{
	if (state->activity == VCPU_WAIT_SIPI)
		return err_set(e, EINVAL, "this cannot be");
	return set_state(vcpu, state, e);
}

static void an_init_that_fails_ends_the_machine(void **state)
{
	struct buf p = BUF_INIT;
	struct rig r;

	(void)state;
	ipi(&p, 1, INIT);
	rig_spin(&p);
	bare_init(&r, &p, 2);
	r.engine.set_state = refuse_to_set;
	rig_start(&r);
	rig_ends(&r, MACHINE_FAILED);
	assert_string_equal(r.result.text, "vCPU 1: cannot be started: this cannot be");
	rig_release(&r);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_timer_wakes),
		TEST(the_timer_interrupts),
		TEST(the_8259s_reach_the_first_processor),
		TEST(the_io_apic_hears_of_the_end),
		TEST(an_application_processor_runs_when_it_is_told),
		TEST(init_stops_and_restarts),
		TEST(init_of_the_first_processor),
		TEST(an_nmi_wakes_who_takes_no_interrupts),
		TEST(no_wake_up_is_lost),
		TEST(no_wake_up_is_lost_on_the_way_to_sleep),
		TEST(stopped_at_any_moment),
		TEST(a_reset_stops_application_processors),
		TEST(idle_processors_cost_nothing),
		TEST(an_absurd_timer_does_not_burn_a_core),
		TEST(an_init_that_fails_ends_the_machine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
