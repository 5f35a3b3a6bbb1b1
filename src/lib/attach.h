/* SPDX-License-Identifier: Apache-2.0 */
/* Devices that come to a running VM and go from it, in the words of the public API. */
#ifndef LODGE_LIB_ATTACH_H
#define LODGE_LIB_ATTACH_H

#include "base/err.h"
#include "machine/machine.h"

/* kind: "disk" or "net"; value: as the setting of that name has it. The device's number, or -errno
 * with e set, see machine_attach. */
int attach_device(struct machine *m, const char *kind, const char *value, struct err *e);

/* device: "diskN" or "netN". 0, or -errno with e set, see machine_detach. */
int detach_device(struct machine *m, const char *device, struct err *e);

#endif
