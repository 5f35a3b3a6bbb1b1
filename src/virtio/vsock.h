/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket device: connections between programs in the guest and on the host,
 * without a network. The host's end is a portal (host/portal.h).
 *
 * Source: virtio 1.2, 5.10 "Socket Device", with seqpacket sockets.
 */
#ifndef LODGE_VIRTIO_VSOCK_H
#define LODGE_VIRTIO_VSOCK_H

#include "base/err.h"
#include "host/portal.h"
#include "virtio/device.h"

/* Context IDs of guests: 0, 1 and 2 are the hypervisor's, the local and the host's, and the last is
 * nobody's. */
#define VIRTIO_VSOCK_CID_MIN 3u
#define VIRTIO_VSOCK_CID_MAX 0xfffffffeu

struct virtio_vsock;

struct virtio_vsock_config {
	uint32_t cid;          /* the guest's */
	struct portal *portal; /* the caller's; outlives the device */
	/* optional: told once that the host has no more descriptors or memory; the device's lock is
	 * held. */
	void (*exhausted)(void *opaque, int error);
	void *opaque;
};

struct virtio_vsock_counts {
	uint64_t opened;   /* connections */
	uint64_t refused;  /* that were asked for */
	uint64_t broken;   /* that were reset here: credit not kept, no memory */
	uint64_t silenced; /* resets that there was no room for */
	uint64_t added, removed;
	uint64_t received, received_bytes; /* packets that the guest has got, and their payload */
	uint64_t sent, sent_bytes;         /* that it has sent */
	uint64_t rx_notifications, tx_notifications;
};

/* Makes a device; NULL with e set. Before vCPUs run. */
struct virtio_vsock *virtio_vsock_new(struct mem *mem, const struct virtio_vsock_config *config,
				      struct err *e);

/* No thread uses it any more. */
void virtio_vsock_free(struct virtio_vsock *v);

struct virtio_device *virtio_vsock_device(struct virtio_vsock *v);

/* The host's side of all connections is gone, as where the guest was brought back elsewhere: its
 * driver is told, resets them all and asks for its context ID again. The lock is held. */
void virtio_vsock_transport_reset(struct virtio_vsock *v);

/* The device's lock is held. */
struct virtio_vsock_counts virtio_vsock_counts(const struct virtio_vsock *v);

#endif
