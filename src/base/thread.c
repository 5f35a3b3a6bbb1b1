/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <sched.h>

void thread_yield(void)
{
	sched_yield();
}

void thread_set_patient(bool patient)
{
	const struct sched_param none = {.sched_priority = 0};

	if (sched_getscheduler(0) == (patient ? SCHED_OTHER : SCHED_BATCH))
		sched_setscheduler(0, patient ? SCHED_BATCH : SCHED_OTHER, &none);
}
