/* SPDX-License-Identifier: Apache-2.0 */
/* Unix sockets in an entry's directory, without waiting. */
#ifndef LODGE_CLI_LISTEN_H
#define LODGE_CLI_LISTEN_H

#include "cli/entry.h"

/* A listening socket of that name: its descriptor or -errno. */
int listen_open(const struct entry *entry, const char *file);

/* Who connects there: a descriptor, or -1 if there is nobody. */
int listen_accept(int fd);

/* Connects: a descriptor or -errno. It waits for what comes, and up to LISTEN_SECONDS to connect
 * and to send; -EAGAIN after that. */
#define LISTEN_SECONDS 2
int listen_connect(const struct entry *entry, const char *file);

#endif
