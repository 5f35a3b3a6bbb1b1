/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtiofsd, a process of its own that serves a directory of the host to a guest by
 * vhost-user (host/vhost_user.h).
 *
 * Source: virtiofsd(1) of QEMU 7.2, which is Debian 12's (package qemu-system-common),
 * and the README of virtiofsd 1.13, which is Debian 13's (package virtiofsd).
 *
 * It sees the directory and what is below it, nothing else: it makes that its root, in
 * namespaces of its own, before it takes a word from the guest. So no name and no link
 * in there leads out of it, whatever is renamed meanwhile. Where the host permits no
 * namespaces, root's is confined by chroot; without any of this there is no sharing.
 *
 * Read-only is a matter of the host's: of mounts in the daemon's own namespace.
 *
 * It ends when lodge's end of its socket is closed, however lodge ends.
 */
#ifndef LODGE_HOST_VIRTIOFSD_H
#define LODGE_HOST_VIRTIOFSD_H

#include <stdbool.h>

#include "base/err.h"
#include "core/mem.h"

struct event_loop;
struct vhost_user;

struct virtiofsd_config {
	const char *path; /* a directory */
	bool readonly;
	struct mem *mem; /* guest memory, MEM_SHARED */
};

/* Its queues: one for what must not wait, one for the rest. */
#define VIRTIOFSD_QUEUES 2u

/*
 * Starts one and agrees with it. NULL with e set: it is not installed, the directory cannot be
 * shared, it cannot be confined, or it refuses, for which it gives the words. *chroot_only: it has
 * no namespaces. Before the loop runs.
 */
struct vhost_user *virtiofsd_open(struct event_loop *loop, const struct virtiofsd_config *config,
				  bool *chroot_only, struct err *e);

#endif
