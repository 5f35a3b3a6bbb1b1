/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory's name may have any character: options are taken from the end, and
 * what stands behind the last colon is a tag unless it has a slash.
 */
#include "lib/config_share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The tag of a directory that is given none: its own name. */
static const char *own_name(const char *path, size_t len, size_t *name_len)
{
	size_t end = len, begin;

	while (end && path[end - 1] == '/')
		end--;
	begin = end;
	while (begin && path[begin - 1] != '/')
		begin--;
	*name_len = end - begin;
	return path + begin;
}

static int set_tag(const struct config_shares *s, struct machine_share *share, const char *tag,
		   size_t len, struct err *e)
{
	if (!len || len > MACHINE_TAG_MAX || !strncmp(tag, ".", len) || !strncmp(tag, "..", len))
		return err_set(e, EINVAL,
			       "share: '%.*s' cannot be a tag: give one of up to %d bytes as in "
			       "DIR:TAG",
			       (int)len, tag, MACHINE_TAG_MAX);
	memcpy(share->tag, tag, len);
	for (unsigned i = 0; i < s->count; i++)
		if (!strcmp(s->share[i].tag, share->tag))
			return err_set(e, EINVAL,
				       "share: there are two of the tag '%s': give another one as "
				       "in DIR:TAG",
				       share->tag);
	return 0;
}

int config_shares_add(struct config_shares *s, const char *value, struct err *e)
{
	static const char ro[] = ",ro";
	struct machine_share share = {0};
	size_t len = strlen(value), tag_len;
	const char *colon, *tag;
	int rc;

	if (s->count == MACHINE_SHARES_MAX)
		return err_set(e, EINVAL, "share '%s' is one too many: give up to %d", value,
			       MACHINE_SHARES_MAX);
	if (len >= strlen(ro) && !strcmp(value + len - strlen(ro), ro)) {
		share.readonly = true;
		len -= strlen(ro);
	}
	colon = memrchr(value, ':', len);
	if (colon && !memchr(colon, '/', len - (size_t)(colon - value))) {
		tag = colon + 1;
		tag_len = len - (size_t)(tag - value);
		len = (size_t)(colon - value);
	} else {
		tag = own_name(value, len, &tag_len);
	}
	if (!len)
		return err_set(e, EINVAL, "share '%s' names no directory: give DIR[:TAG][,ro]",
			       value);
	rc = set_tag(s, &share, tag, tag_len, e);
	if (rc)
		return rc;
	share.path = strndup(value, len);
	if (!share.path)
		return err_errno(e, ENOMEM, "cannot configure");
	s->share[s->count++] = share;
	return 0;
}

void config_shares_release(struct config_shares *s)
{
	for (unsigned i = 0; i < s->count; i++)
		free(s->share[i].path);
	s->count = 0;
}
