/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and rates in the words of a configuration. */
#ifndef LODGE_LIB_CONFIG_NUMBER_H
#define LODGE_LIB_CONFIG_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "machine/machine.h"

/* A decimal number without sign, which ends at *end; false if there is none or it does not fit. */
bool config_number(const char *value, const char **end, uint64_t *number);

/* A size with K, M, G, T or nothing behind it, and nothing more; what is larger than it can be is
 * UINT64_MAX. False: it is something else. */
bool config_bytes(const char *value, uint64_t *size);

/*
 * "SIZE[/MS][+BURST]": so many bytes or operations in that many milliseconds (1000), and BURST more
 * once. what names it for the user; value has len characters. 0, or -EINVAL with e set.
 */
int config_limit(struct limiter_bucket *b, const char *what, const char *value, size_t len,
		 struct err *e);

#endif
