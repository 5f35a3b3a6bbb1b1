/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of all VMs' entries (cli/entry.h): found, made, and trusted only if it is ours. */
#ifndef LODGE_CLI_BASE_H
#define LODGE_CLI_BASE_H

#include <stdbool.h>

/* Opens it; with `make` it is made if there is none, else *fd is -1 then. 0, or STATUS_FAILED after
 * telling the user. */
int base_open(int *fd, bool make);

/* Its name, for messages. */
const char *base_path(void);

/* Names of the directories in it that could be VMs, sorted; their number. free() each and the
 * list. */
int base_list(int fd, char ***names);

#endif
