/* SPDX-License-Identifier: Apache-2.0 */
/* The public API's metadata: a store, and its errors in words. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "lodge/lodge.h"
#include "mmds/store.h"

static struct mmds_store *store_of(lodge_metadata *md)
{
	return (struct mmds_store *)(void *)md;
}

lodge_metadata *lodge_metadata_new(size_t limit)
{
	return (lodge_metadata *)(void *)mmds_store_new(limit ? limit : MMDS_STORE_DEFAULT);
}

void lodge_metadata_free(lodge_metadata *md)
{
	mmds_store_drop(store_of(md));
}

/* Tells why, if anybody asks. */
static int tell(int rc, const struct err *e, char *why, size_t size)
{
	if (why && size)
		snprintf(why, size, "%s", e->text);
	return rc;
}

int lodge_metadata_put(lodge_metadata *md, const char *json, char *why, size_t size)
{
	struct err e = ERR_INIT;

	return tell(mmds_store_put(store_of(md), json, strlen(json), &e), &e, why, size);
}

int lodge_metadata_patch(lodge_metadata *md, const char *patch, char *why, size_t size)
{
	struct err e = ERR_INIT;

	return tell(mmds_store_patch(store_of(md), patch, strlen(patch), &e), &e, why, size);
}

char *lodge_metadata_json(lodge_metadata *md)
{
	return mmds_store_text(store_of(md));
}
