/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Internet's checksum (RFC 1071), of a frame that its sender left it to do.
 * Pure: nothing is asked of anyone.
 */
#ifndef LODGE_VIRTIO_NET_CHECKSUM_H
#define LODGE_VIRTIO_NET_CHECKSUM_H

#include <stdbool.h>

#include "host/netif.h"

/* Bytes of a frame that the place of a checksum may lie in: any headers there are. */
#define NET_CHECKSUM_HEAD 256u

/*
 * Fills in the checksum of all bytes of a frame from start on at start + offset, as virtio 1.2,
 * 5.1.6.2 has it: what stands there already is part of the sum. The place lies in the first span,
 * or nothing is done and false returned.
 */
bool net_checksum_finish(const struct netif_span *spans, unsigned count, unsigned start,
			 unsigned offset);

#endif
