/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <sched.h>

void thread_yield(void)
{
	sched_yield();
}
