/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that calls. */
#ifndef LODGE_BASE_THREAD_H
#define LODGE_BASE_THREAD_H

#include <stdbool.h>

/* Lets another thread have the processor, if one waits for it. */
void thread_yield(void);

/* A patient thread that wakes lets the one that has the processor go on for its share, while others
 * take it away from that at once, mostly: sched(7), SCHED_BATCH. Does nothing where whoever started
 * the program gave it another policy than the usual one. */
void thread_set_patient(bool patient);

#endif
