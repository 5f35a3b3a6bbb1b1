/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata: one JSON value, read by guests and changed by the host at any time. A reader sees
 * the value before a change or after it, nothing between.
 *
 * Source: RFC 7396 "JSON Merge Patch"; RFC 6901 "JSON Pointer".
 *
 * Any thread; its lock is innermost.
 */
#ifndef LODGE_MMDS_STORE_H
#define LODGE_MMDS_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

/* Bytes of the value, as compact JSON, unless its owner says otherwise. */
#define MMDS_STORE_DEFAULT 51200u

struct mmds_store;

/* Makes one without a value, held once; NULL if memory is out. limit: bytes that the value may have
 * as compact JSON. */
struct mmds_store *mmds_store_new(size_t limit);

/* Holds it once more, and gives it; lets it go, for whoever is the last to free it. NULL is allowed
 * in the latter. */
struct mmds_store *mmds_store_hold(struct mmds_store *s);
void mmds_store_drop(struct mmds_store *s);

/* Replaces the value by a JSON text. 0; -EINVAL: it is no JSON, or nested more than 128 deep;
 * -EMSGSIZE: it is over the limit; -ENOMEM; with e set, and the value as it was. */
int mmds_store_put(struct mmds_store *s, const char *text, size_t len, struct err *e);

/* Changes the value by a merge patch, in the same way; -ENOENT: there is no value yet. */
int mmds_store_patch(struct mmds_store *s, const char *text, size_t len, struct err *e);

/* The value as compact JSON, "{}" where there is none; free() it. NULL if memory is out. */
char *mmds_store_text(struct mmds_store *s);

enum mmds_found {
	MMDS_FOUND,
	MMDS_NOT_FOUND,
	MMDS_NO_TEXT, /* numbers, lists and such are there as JSON only */
};

/*
 * Appends to out what lies at a path ("/latest/meta-data", ends and doubles of '/' do not matter):
 * as JSON; or as text, which of a string is its characters, and of an object the names in it, one a
 * line, sorted, those of objects with a '/'.
 */
enum mmds_found mmds_store_find(struct mmds_store *s, const char *path, bool json, struct buf *out);

#endif
