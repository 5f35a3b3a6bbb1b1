/* SPDX-License-Identifier: Apache-2.0 */
/* What a VM's metadata service has done, on all networks. Any thread counts, any reads. */
#ifndef LODGE_MMDS_COUNTS_H
#define LODGE_MMDS_COUNTS_H

#include <stdatomic.h>
#include <stdint.h>

struct mmds_counts {
	_Atomic uint64_t frames;                       /* of the guest's that were for it */
	_Atomic uint64_t unusual;                      /* of these: that it can do nothing with */
	_Atomic uint64_t requests;                     /* of HTTP, good and bad ones */
	_Atomic uint64_t refused;                      /* of these: all but 200 OK */
	_Atomic uint64_t without_token, invalid_token; /* of these, for that */
	_Atomic uint64_t sent, sent_bytes;             /* frames to the guest */
	_Atomic uint64_t connections, closed;          /* closed: of these, however they ended */
};

static inline void mmds_count(_Atomic uint64_t *count, uint64_t n)
{
	atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

#endif
