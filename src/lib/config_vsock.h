/* SPDX-License-Identifier: Apache-2.0 */
/* The socket device of a VM's configuration: cid=N,socket=PATH. */
#ifndef LODGE_LIB_CONFIG_VSOCK_H
#define LODGE_LIB_CONFIG_VSOCK_H

#include "base/err.h"
#include "machine/machine.h"

/* Sets it: 0, -EINVAL or -ENOMEM with e set. The path is ours until release. */
int config_vsock_set(struct machine_vsock *vsock, const char *value, struct err *e);
void config_vsock_release(struct machine_vsock *vsock);

#endif
