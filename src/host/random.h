/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the host's kernel. */
#ifndef LODGE_HOST_RANDOM_H
#define LODGE_HOST_RANDOM_H

#include <stddef.h>

/* Fills buf with len bytes that are fit for keys. Does not block on a host that is up. Any
 * thread. */
void host_random(void *buf, size_t len);

#endif
