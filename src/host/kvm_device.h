/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's KVM as a user meets it from outside: the device node, who may open
 * it, the kernel modules. What KVM itself can do is asked by the engine.
 */
#ifndef LODGE_HOST_KVM_DEVICE_H
#define LODGE_HOST_KVM_DEVICE_H

#include <stdbool.h>

#include "host/cpuinfo.h"

struct host_kvm {
	bool present;        /* /dev/kvm is there, and is a character device */
	int open_error;      /* errno of opening it to read and write; 0: it opened */
	unsigned mode;       /* permission bits, where present */
	char owner[33];      /* names, or numbers where they have none */
	char group[33];      /* likewise */
	char user[33];       /* whom this process runs as */
	bool group_may_open; /* the mode lets its group read and write */
	bool listed;         /* the user database has this user in that group */
	bool member;         /* this process is in that group */
	char module[16];     /* "kvm_intel", "kvm_amd", "kvm_pvm": loaded or built in; else "" */
	enum host_answer nested_paging; /* the module uses EPT or NPT; unknown if it does not say */
};

/* Reads them. root stands before every path, "" for this host; a test gives a tree of its own. The
 * device is opened and closed. Any thread. */
void host_kvm_read(struct host_kvm *kvm, const char *root);

#endif
