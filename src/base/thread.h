/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that calls. */
#ifndef LODGE_BASE_THREAD_H
#define LODGE_BASE_THREAD_H

/* Lets another thread have the processor, if one waits for it. */
void thread_yield(void);

#endif
