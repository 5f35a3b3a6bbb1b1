/* SPDX-License-Identifier: Apache-2.0 */
/* The host's clocks, in nanoseconds. Any thread. */
#ifndef LODGE_BASE_TIME_H
#define LODGE_BASE_TIME_H

#include <stdint.h>

#define NS_PER_SEC 1000000000ULL
#define NS_PER_MS  1000000ULL
#define NS_PER_US  1000ULL

/* CLOCK_MONOTONIC: never steps, does not count while the host sleeps. */
uint64_t time_monotonic_ns(void);

/* CLOCK_REALTIME: wall clock, since 1970-01-01 00:00 UTC. */
uint64_t time_wall_ns(void);

/* CPU time that this process has used so far, all threads. */
uint64_t time_process_cpu_ns(void);

/* value * mul / div without overflow in between; div is not 0, the result must fit. */
static inline uint64_t time_scale(uint64_t value, uint64_t mul, uint64_t div)
{
	return (uint64_t)((unsigned __int128)value * mul / div);
}

#endif
