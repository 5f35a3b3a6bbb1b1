/* SPDX-License-Identifier: Apache-2.0 */
#include "host/random.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

void host_random(void *buf, size_t len)
{
	uint8_t *at = buf;
	ssize_t n;

	for (; len; at += n, len -= (size_t)n) {
		n = getrandom(at, len, 0);
		if (n < 0 && errno != EINTR)
			abort(); /* anything else than random bytes would be worse */
		if (n < 0)
			n = 0;
	}
}
