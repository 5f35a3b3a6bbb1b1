/* SPDX-License-Identifier: Apache-2.0 */
/* The balloon of a VM: what it is asked for, its statistics, and hints of free pages. */
#ifndef LODGE_API_BALLOON_H
#define LODGE_API_BALLOON_H

#include "api/fields.h"
#include "api/job.h"

extern const struct field balloon_interval[];
extern const struct field balloon_start[];
extern const struct field balloon_stop[];

job_fn balloon_get, balloon_patch;
job_fn balloon_get_statistics, balloon_patch_statistics;
job_fn balloon_get_hinting, balloon_start_hinting, balloon_stop_hinting;

#endif
