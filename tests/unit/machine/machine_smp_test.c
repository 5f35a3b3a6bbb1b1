/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processors that wake each other round and round, while the machine parks them, lets them go and
 * kicks them for nothing, thousands of times: they may never stand still, and never run while they
 * are parked. Real code, so for the engines that lodge has; kvm where this host has it.
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/time.h"
#include "engine/bt/bt.h"
#include "engine/kvm/kvm.h"
#include "machine/machine_int.h"
#include "machine_rig.h"

#define CPUS     8
#define PASSED   0x4f08 /* how many tokens were passed on */
#define PATIENCE (60 * NS_PER_SEC)

/*
 * The first processor copies the code of the others to 0x10000, starts them one by one, gives three
 * of them a token each and halts for ever. The others, in real mode and with x2APIC, halt until
 * they have a token, and pass it on: 0x4000 + 8 * id counts those of processor id.
 */
__asm__(".pushsection .rodata\n"
	".globl smp_program, smp_limit, smp_program_end\n"
	".code32\n"
	"smp_program:\n"
	"	cli\n"
	"	cld\n"
	"	mov $0x5000, %esp\n"
	"	call 1f\n"
	"1:	pop %esi\n"
	"	add $(smp_ap - 1b), %esi\n"
	"	mov $0x10000, %edi\n"
	"	mov $(smp_program_end - smp_ap), %ecx\n"
	"	rep movsb\n"
	"	movl $(0x10000000 + smp_handler - smp_ap), 0x50 * 4\n"
	"	movl $0x1ff, 0xfee000f0\n"
	"	mov $1, %ebx\n"
	"2:	mov %ebx, %eax\n"
	"	shl $24, %eax\n"
	"	mov %eax, 0xfee00310\n"
	"	movl $0x4500, 0xfee00300\n" /* INIT */
	"	mov %eax, 0xfee00310\n"
	"	movl $0x4610, 0xfee00300\n" /* start up at 0x10000 */
	"3:	pause\n"
	"	cmp %ebx, 0x4f00\n"
	"	jne 3b\n"
	"	inc %ebx\n"
	"	cmp $8, %ebx\n"
	"	jb 2b\n"
	"	mov $1, %ebx\n"
	"4:	lock incl 0x4000(, %ebx, 8)\n"
	"	mov %ebx, %eax\n"
	"	shl $24, %eax\n"
	"	mov %eax, 0xfee00310\n"
	"	movl $0x4050, 0xfee00300\n"
	"	add $2, %ebx\n"
	"	.byte 0x83, 0xfb\n" /* cmp $7, %ebx */
	"smp_limit: .byte 7\n"
	"	jb 4b\n"
	"5:	hlt\n"
	"	jmp 5b\n"
	".code16\n"
	"smp_ap:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %ss\n"
	"	mov $0x1b, %ecx\n" /* IA32_APIC_BASE: x2APIC */
	"	rdmsr\n"
	"	or $0xc00, %eax\n"
	"	wrmsr\n"
	"	mov $0x80f, %ecx\n"
	"	mov $0x1ff, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	mov $0x802, %ecx\n"
	"	rdmsr\n"
	"	mov %eax, %ebx\n"
	"	shl $8, %eax\n"
	"	add $0x9100, %eax\n"
	"	mov %eax, %esp\n"
	"	mov %ebx, %edi\n"
	"	inc %edi\n"
	"	cmp $8, %edi\n"
	"	jb 6f\n"
	"	mov $1, %edi\n"
	"6:	lock incl 0x4f00\n"
	"7:	cli\n"
	"	cmpl $0, 0x4000(, %ebx, 8)\n"
	"	jne 8f\n"
	"	sti\n"
	"	hlt\n"
	"	jmp 7b\n"
	"8:	sti\n"
	"	lock decl 0x4000(, %ebx, 8)\n"
	"	lock incl 0x4f08\n"
	"	lock incl 0x4000(, %edi, 8)\n"
	"	mov $0x830, %ecx\n"
	"	mov $0x4050, %eax\n"
	"	mov %edi, %edx\n"
	"	wrmsr\n"
	"	jmp 7b\n"
	"smp_handler:\n"
	"	pushal\n"
	"	mov $0x80b, %ecx\n"
	"	xor %eax, %eax\n"
	"	xor %edx, %edx\n"
	"	wrmsr\n"
	"	popal\n"
	"	iret\n"
	"smp_program_end:\n"
	".code64\n"
	".popsection\n");
extern const uint8_t smp_program[], smp_limit[], smp_program_end[];

static struct {
	const struct engine_ops *engine;
	const struct engine_env *env;
	bool slow;           /* vCPUs take their time on the way to sleep */
	_Atomic int running; /* vCPUs in run() */
} under;

static int vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	under.env = env;
	return under.engine->vm_create(vm, env, e);
}

static enum engine_exit run(struct engine_vcpu *v, struct engine_detail *detail)
{
	enum engine_exit exit;

	atomic_fetch_add(&under.running, 1);
	exit = under.engine->run(v, detail);
	atomic_fetch_sub(&under.running, 1);
	if (under.slow && exit == ENGINE_HALTED)
		usleep(100);
	return exit;
}

static uint32_t passed(void)
{
	uint32_t n;

	assert_true(mem_read(under.env->mem, PASSED, &n, sizeof(n)));
	return n;
}

/* Waits until tokens were passed on so often. */
static void goes_on(uint32_t until, unsigned turn)
{
	uint64_t end = time_monotonic_ns() + PATIENCE;

	while ((int32_t)(passed() - until) < 0) {
		if (time_monotonic_ns() > end)
			fail_msg("nothing goes on after turn %u, at %u", turn, passed());
		usleep(20);
	}
}

static void start(struct rig *r, const struct engine_ops *engine, unsigned tokens)
{
	struct buf p = BUF_INIT;

	under.engine = engine;
	buf_add(&p, smp_program, (size_t)(smp_program_end - smp_program));
	p.data[smp_limit - smp_program] = (uint8_t)(2 * tokens + 1);
	rig_init(r, &p);
	r->engine = *engine;
	r->engine.vm_create = vm_create;
	r->engine.run = run;
	r->config.cpus = CPUS;
	rig_start(r);
	goes_on(1, 0);
}

static void stop(struct rig *r)
{
	machine_stop(r->machine);
	rig_ends(r, MACHINE_STOPPED);
	rig_release(r);
}

/* Parks, looks that nothing runs, lets go. */
static void parked_and_resumed(struct rig *r, bool look_long)
{
	uint32_t n;

	machine_vcpus_park(r->machine);
	assert_int_equal(atomic_load(&under.running), 0);
	n = passed();
	if (look_long)
		usleep(500);
	assert_int_equal(passed(), n);
	machine_vcpus_resume(r->machine);
}

/* Three tokens, and little time between two turns. */
static void parked_at_any_moment(const struct engine_ops *engine, unsigned turns)
{
	unsigned seed = 1;
	struct rig r;

	start(&r, engine, 3);
	for (unsigned turn = 1; turn <= turns; turn++) {
		seed = seed * 1103515245 + 12345;
		if (seed >> 16 & 1)
			usleep((seed >> 17) % 500);
		for (unsigned kicks = seed >> 26 & 3; kicks; kicks--)
			machine_vcpus_kick(r.machine);
		parked_and_resumed(&r, turn % 8 == 0);
		if (seed >> 28 & 1)
			goes_on(passed() + 1, turn);
	}
	stop(&r);
}

/* One token, which nothing but its own interrupt brings on, and a few turns. */
static void on_its_own(const struct engine_ops *engine, unsigned turns)
{
	struct rig r;

	start(&r, engine, 1);
	for (unsigned turn = 1; turn <= turns; turn++) {
		parked_and_resumed(&r, false);
		goes_on(passed() + 50, turn);
	}
	stop(&r);
}

static void bt_never_stands_still(void **state)
{
	(void)state;
	under.slow = false;
	parked_at_any_moment(&bt_engine, 4000);
	on_its_own(&bt_engine, 100);
	under.slow = true;
	parked_at_any_moment(&bt_engine, 500);
	on_its_own(&bt_engine, 20);
}

static void kvm_never_stands_still(void **state)
{
	(void)state;
	if (access("/dev/kvm", R_OK | W_OK)) {
		print_message("skipped: there is no /dev/kvm that this user may open\n");
		skip();
	}
	under.slow = false;
	parked_at_any_moment(&kvm_engine, 1000);
	on_its_own(&kvm_engine, 30);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bt_never_stands_still),
		cmocka_unit_test(kvm_never_stands_still),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
