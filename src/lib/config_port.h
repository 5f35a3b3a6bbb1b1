/* SPDX-License-Identifier: Apache-2.0 */
/* The named ports of a VM's configuration: NAME,socket=PATH or NAME,file=PATH or NAME,pty=LINK. */
#ifndef LODGE_LIB_CONFIG_PORT_H
#define LODGE_LIB_CONFIG_PORT_H

#include "base/err.h"
#include "machine/machine.h"

struct config_ports {
	struct machine_port port[MACHINE_PORTS_MAX]; /* the texts are ours */
	unsigned count;
};

/* Appends a port: 0, -EINVAL or -ENOMEM with e set. */
int config_ports_add(struct config_ports *p, const char *value, struct err *e);
void config_ports_release(struct config_ports *p);

#endif
