/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page that a vCPU's guest reads: guest time was system_time when the vCPU's TSC
 * was tsc_timestamp, and goes on at mul / 2^32 ns a tick of TSC << shift. Between two
 * writes nothing here runs, so the guest's clock follows the TSC, not the host's
 * corrected clock.
 *
 * All vCPUs' pages tell of one moment, so that no vCPU's clock is behind another's
 * (TSC_STABLE: the guest need not look). A new moment is taken when guest time went on
 * after standing still, which core/clock.h shows by a new host_base; by then no vCPU
 * runs, and each has its page written anew before it does.
 *
 * Version: odd while the page is being written.
 */
#include "engine/bt/kvmclock.h"

#include <stddef.h>

#include "base/bits.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/vm.h"

#define ENABLED    BIT(0) /* in MSR_KVM_SYSTEM_TIME; the rest is the page's address */
#define TSC_STABLE 1u
#define NS_PER_SEC 1000000000ULL
#define HZ_PER_KHZ 1000ULL

/* struct pvclock_vcpu_time_info and struct pvclock_wall_clock of the source in kvmclock.h. */
struct time_page {
	uint32_t version;
	uint32_t pad;
	uint64_t tsc_timestamp;
	uint64_t system_time;
	uint32_t mul;
	int8_t shift;
	uint8_t flags;
	uint8_t pad2[2];
};

struct wall_page {
	uint32_t version;
	uint32_t sec;
	uint32_t nsec;
};

_Static_assert(sizeof(struct time_page) == 32, "the guest's layout");
_Static_assert(sizeof(struct wall_page) == 12, "the guest's layout");

void kvmclock_init(struct kvmclock *k)
{
	*k = (struct kvmclock){.epoch = 0};
	pthread_mutex_init(&k->lock, NULL);
}

void kvmclock_release(struct kvmclock *k)
{
	pthread_mutex_destroy(&k->lock);
}

/* The factor whose highest bit is set, for the best precision. */
static void scale(uint32_t khz, uint32_t *mul, int8_t *shift)
{
	unsigned __int128 ratio = ((unsigned __int128)NS_PER_SEC << 32) / (khz * HZ_PER_KHZ);
	int8_t by = 0;

	while (ratio > UINT32_MAX) {
		ratio >>= 1;
		by++;
	}
	/* Divided again, not shifted: the low bits matter. */
	while (ratio < BIT(31)) {
		by--;
		ratio = ((unsigned __int128)NS_PER_SEC << (32 - by)) / (khz * HZ_PER_KHZ);
	}
	*mul = (uint32_t)ratio;
	*shift = by;
}

/* A version counts up, and is odd meanwhile; the guest may have left anything there. */
static void write_page(struct cpu *cpu, uint64_t gpa, void *page, size_t len)
{
	uint32_t *version = page;
	uint8_t *to = mem_ptr_rw(cpu->vm->env->mem, gpa, len);

	if (!to)
		return; /* not RAM: nobody reads it */
	*version = ((uint32_t)load_le(to, sizeof(*version)) + 1) | 1;
	store_le(to, sizeof(*version), *version);
	atomic_thread_fence(memory_order_seq_cst);
	__builtin_memcpy(to + sizeof(*version), version + 1, len - sizeof(*version));
	atomic_thread_fence(memory_order_seq_cst);
	store_le(to, sizeof(*version), *version + 1);
	mem_written(cpu->vm->env->mem, gpa, len);
}

/* The moment and what it is for this vCPU. The guest's clock is asked first and the TSC just
 * after, so that the two belong together as nearly as can be. */
static bool moment(struct cpu *cpu, struct time_page *page)
{
	struct kvmclock *k = &cpu->vm->kvmclock;
	struct clock *clock = cpu->vm->env->clock;
	uint64_t base;
	bool new;

	pthread_mutex_lock(&clock->lock);
	base = clock->host_base;
	pthread_mutex_unlock(&clock->lock);
	pthread_mutex_lock(&k->lock);
	if (!k->epoch || base != k->clock_base) {
		k->guest_ns = clock_now(clock);
		k->host_tsc = __builtin_ia32_rdtsc();
		k->clock_base = base;
		k->epoch++;
	}
	new = cpu->msrs->clock_epoch != k->epoch;
	cpu->msrs->clock_epoch = k->epoch;
	page->tsc_timestamp = k->host_tsc + cpu->tsc_offset;
	page->system_time = k->guest_ns;
	pthread_mutex_unlock(&k->lock);
	return new;
}

void kvmclock_refresh(struct cpu *cpu)
{
	struct time_page page = {.flags = cpu->msrs->stable_clock ? TSC_STABLE : 0};

	if (!(cpu->msrs->system_time & ENABLED) || !moment(cpu, &page))
		return;
	scale(cpu->vm->tsc_khz, &page.mul, &page.shift);
	write_page(cpu, cpu->msrs->system_time & ~ENABLED, &page, sizeof(page));
}

void kvmclock_set_system_time(struct cpu *cpu, uint64_t value)
{
	cpu->msrs->system_time = value;
	cpu->msrs->clock_epoch = 0;
	kvmclock_refresh(cpu);
}

void kvmclock_set_wall_clock(struct cpu *cpu, uint64_t value)
{
	struct clock *clock = cpu->vm->env->clock;
	uint64_t start = clock_wall(clock) - clock_now(clock);
	struct wall_page page = {
		.sec = (uint32_t)(start / NS_PER_SEC),
		.nsec = (uint32_t)(start % NS_PER_SEC),
	};

	cpu->msrs->wall_clock = value;
	if (value)
		write_page(cpu, value, &page, sizeof(page));
}
