/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sections of a VM's description: what fields each has, and what settings of the
 * library it stands for.
 */
#ifndef LODGE_API_SECTIONS_H
#define LODGE_API_SECTIONS_H

#include <jansson.h>

#include "api/fields.h"
#include "base/err.h"
#include "lodge/lodge.h"

extern const struct field sections_boot_source[];
extern const struct field sections_machine_config[]; /* PUT: two fields are required */
extern const struct field sections_machine_patch[];
extern const struct field sections_drive[];
extern const struct field sections_network[];
extern const struct field sections_drive_patch[];
extern const struct field sections_network_patch[];
extern const struct field sections_pmem[];
extern const struct field sections_pmem_patch[];
extern const struct field sections_vsock[];
extern const struct field sections_balloon[];
extern const struct field sections_balloon_patch[];
extern const struct field sections_entropy[];
extern const struct field sections_serial[];

/* A machine-config of the defaults; NULL if memory is out. */
json_t *sections_default_machine(void);

/* Sets what all sections say in a VM that is not started. 0, or -errno with e set, or with the VM's
 * own error. What is not of a section keeps its default. */
int sections_apply(lodge_vm *vm, const json_t *sections, struct err *e);

/* Opens the file of the serial console, which is made if it is not there. A descriptor, or -errno
 * with e set. */
int sections_open_serial(const char *path, struct err *e);

/* What lodge_vm_set and lodge_vm_attach take for a drive, or a network interface. 0, or -EINVAL
 * with e set. */
struct buf;
int sections_drive_value(struct buf *b, const json_t *drive, struct err *e);
int sections_network_value(struct buf *b, const json_t *network, struct err *e);

/* The number that the guest's disk has which is the list's item `at`, when it starts. */
int sections_drive_place(const json_t *drives, size_t at);

/* The limits that a PATCH of a drive or network interface asks for: values of lodge_vm_change, with
 * ';' between. 0, or -errno with e set. */
int sections_change(const json_t *patch, char *values, size_t size, struct err *e);

#endif
