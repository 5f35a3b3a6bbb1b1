/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host offers: whether a VM can be made, and whether KVM is efficient.
 *
 * /dev/kvm can exist and work and yet be of no use: KVM under some hypervisors is
 * given no hardware virtualization and interprets guest kernels at a few hundred
 * thousand instructions a second. So the probe runs a small loop in a throwaway VM,
 * in 64-bit kernel mode with paging on, and the same loop natively, and compares.
 * Within 10 times is efficient; with hardware it is nearly 1, an interpreter is
 * thousands of times slower.
 *
 * The measurement is bounded: the number of rounds grows from a few hundred until
 * it takes half a millisecond, and a timer ends it after 50 ms whatever happens; so
 * does it the first run, which brings in memory and code.
 */
#include "engine/kvm/kvm.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine/kvm/kvm_int.h"

#define EFFICIENT_RATIO 10.0
#define LIMIT_NS        (50 * NS_PER_MS)
#define ENOUGH_NS       (500 * NS_PER_US)
#define FIRST_ROUNDS    256u
#define MOST_ROUNDS     (1u << 22)
#define NATIVE_ROUNDS   (1u << 16)
#define TRIES           16u

/* RDI rounds of arithmetic, a load and a store at RSI: the guest's part ends at kvm_loop_end, where
 * its copy goes on with an OUT. */
__asm__(".pushsection .text\n"
	".type kvm_loop, @function\n"
	".hidden kvm_loop, kvm_loop_end\n"
	".globl kvm_loop, kvm_loop_end\n"
	"kvm_loop:\n"
	"1:	movq (%rsi), %rax\n"
	"	addq %rdi, %rax\n"
	"	rorq $7, %rax\n"
	"	movq %rax, (%rsi)\n"
	"	decq %rdi\n"
	"	jnz 1b\n"
	"kvm_loop_end:\n"
	"	ret\n"
	".size kvm_loop, . - kvm_loop\n"
	".popsection\n");
void kvm_loop(uint64_t rounds, uint64_t *cell);
extern const char kvm_loop_end[];

/* The throwaway VM's memory: page tables that map the first 2 MiB, the loop, its cell. */
#define RAM_SIZE  0x8000
#define RAM_PML4  0x1000
#define RAM_PDPT  0x2000
#define RAM_PD    0x3000
#define RAM_CODE  0x4000
#define RAM_CELL  0x5000
#define DONE_PORT 0x80

static void fill_ram(uint8_t *ram)
{
	const char *loop = (const char *)kvm_loop;
	size_t len = (size_t)(kvm_loop_end - loop);
	/* out %al, $DONE_PORT; jmp kvm_loop: for the next measurement */
	uint8_t end[] = {0xe6, DONE_PORT, 0xeb, (uint8_t)(-4 - (int)len)};

	store_le(ram + RAM_PML4, 8, RAM_PDPT | PTE_P | PTE_RW);
	store_le(ram + RAM_PDPT, 8, RAM_PD | PTE_P | PTE_RW);
	store_le(ram + RAM_PD, 8, PTE_P | PTE_RW | PTE_PS);
	memcpy(ram + RAM_CODE, loop, len);
	memcpy(ram + RAM_CODE + len, end, sizeof(end));
}

static void fill_state(struct vcpu_state *s)
{
	vcpu_state_reset(s, 0);
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	s->cr3 = RAM_PML4;
	s->cr4 = CR4_PAE;
	s->efer = EFER_LME | EFER_LMA;
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment_flat_data(0x18);
	s->seg[SEG_CS] = segment_flat_code64(0x10);
	s->tr = segment_tss(0x20, 0, 0x67);
	s->rip = RAM_CODE;
	s->gpr[GPR_RSI] = RAM_CELL;
}

/* Nanoseconds that the guest takes for so many rounds; 0 if the timer came first or KVM failed. */
static uint64_t guest_time(struct engine_vcpu *v, uint64_t rounds)
{
	struct kvm_regs regs;
	uint64_t begin;

	if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0)
		return 0;
	regs.rdi = rounds;
	if (ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return 0;
	begin = time_monotonic_ns();
	if (ioctl(v->fd, KVM_RUN, 0) < 0 || v->run->exit_reason != KVM_EXIT_IO)
		return 0;
	return MAX(time_monotonic_ns() - begin, (uint64_t)1);
}

/* Kicks this thread in LIMIT_NS from now, and again: one could come just before KVM_RUN begins. */
static void arm(timer_t timer)
{
	const struct itimerspec when = {
		.it_value.tv_nsec = LIMIT_NS,
		.it_interval.tv_nsec = LIMIT_NS / 4,
	};

	timer_settime(timer, 0, &when, NULL);
}

/* Nanoseconds a round in the guest: the best of the measurements that ended within the limit; if
 * none did, a lower bound, and *ended is set. What is not good enough is measured again: on a busy
 * host the guest may have waited for a processor. */
static double guest_round_ns(struct engine_vcpu *v, timer_t timer, double good_enough, bool *ended)
{
	uint64_t rounds = FIRST_ROUNDS, taken, begin;
	double best = 0;

	arm(timer);
	guest_time(v, 1); /* brings in memory and code */
	arm(timer);
	for (unsigned tries = 0; tries < TRIES;) {
		begin = time_monotonic_ns();
		taken = guest_time(v, rounds);
		if (!taken)
			break;
		if (best == 0 || (double)taken / (double)rounds < best)
			best = (double)taken / (double)rounds;
		if (taken < ENOUGH_NS && rounds < MOST_ROUNDS)
			rounds *= 4;
		else if (best <= good_enough)
			break;
		else
			tries++;
	}
	*ended = best == 0;
	return *ended ? (double)(time_monotonic_ns() - begin) / (double)rounds : best;
}

static double native_round_ns(void)
{
	uint64_t best = UINT64_MAX, cell = 0;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t begin = time_monotonic_ns();

		kvm_loop(NATIVE_ROUNDS, &cell);
		best = MIN(best, time_monotonic_ns() - begin);
	}
	return (double)MAX(best, (uint64_t)1) / NATIVE_ROUNDS;
}

static int make_timer(timer_t *timer)
{
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = kvm_kick_signal()};

	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	return timer_create(CLOCK_MONOTONIC, &event, timer);
}

static void judge(struct engine_vcpu *v, struct engine_offer *offer)
{
	double native = native_round_ns();
	bool ended = true;
	timer_t timer;

	kvm_kick_enter(v);
	if (make_timer(&timer) == 0) {
		offer->ratio = guest_round_ns(v, timer, native * EFFICIENT_RATIO, &ended) / native;
		timer_delete(timer);
	}
	kvm_kick_leave(v);
	offer->efficient = !ended && offer->ratio <= EFFICIENT_RATIO;
	if (!offer->efficient)
		snprintf(offer->why, sizeof(offer->why),
			 "guest code runs %s%.0f times slower than the CPU: this KVM has no "
			 "hardware "
			 "virtualization to use: switch on nested virtualization on the host of "
			 "this "
			 "machine, or use another machine",
			 ended ? "more than " : "", offer->ratio);
}

/* Leaves offer->why set if the guest cannot be made. */
static void measure_in(struct engine_vm *vm, uint8_t *ram, struct engine_offer *offer)
{
	struct mem_region region = {.size = RAM_SIZE, .host = ram};
	struct engine_vcpu_config config = {0};
	struct cpuid_table cpuid;
	struct vcpu_state state;
	struct engine_vcpu *v;
	struct err e = ERR_INIT;

	fill_ram(ram);
	fill_state(&state);
	config.cpuid = &cpuid;
	if (kvm_map(vm, &region, &e) || kvm_cpuid_supported(vm, &cpuid, &e) ||
	    kvm_vcpu_create(vm, &config, &v, &e)) {
		snprintf(offer->why, sizeof(offer->why), "%.255s", e.text);
		return;
	}
	if (kvm_set_state(v, &state, &e))
		snprintf(offer->why, sizeof(offer->why), "%.255s", e.text);
	else
		judge(v, offer);
	kvm_vcpu_destroy(v);
}

static void measure_efficiency(struct engine_vm *vm, struct engine_offer *offer)
{
	uint8_t *ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	if (ram == MAP_FAILED)
		return;
	measure_in(vm, ram, offer);
	munmap(ram, RAM_SIZE);
}

void kvm_probe_path(const char *path, struct engine_offer *offer, bool measure)
{
	struct engine_env env = {0};
	struct engine_vm *vm;
	struct err e = ERR_INIT;

	*offer = (struct engine_offer){.api_version = kvm_host_version(path)};
	if (kvm_vm_open(&vm, path, &env, &e)) {
		snprintf(offer->why, sizeof(offer->why), "%.255s", e.text);
		return;
	}
	offer->usable = true;
	offer->caps = ENGINE_HAS_LAPIC | ENGINE_HAS_IRQFD | ENGINE_HAS_DOORBELL;
	if (measure)
		measure_efficiency(vm, offer);
	kvm_vm_destroy(vm);
}

void kvm_probe(struct engine_offer *offer, bool measure)
{
	kvm_probe_path(KVM_DEVICE, offer, measure);
}
