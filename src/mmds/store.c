/* SPDX-License-Identifier: Apache-2.0 */
#include "mmds/store.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define JSON_FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS)

/* A guest is answered on its vCPU's thread, whose stack is short: each level takes some of it. */
#define DEPTH_MAX 128u

struct mmds_store {
	pthread_mutex_t lock;
	atomic_uint holders;
	size_t limit;
	json_t *value; /* NULL: none yet */
};

struct mmds_store *mmds_store_new(size_t limit)
{
	struct mmds_store *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->holders = 1;
	s->limit = limit;
	return s;
}

struct mmds_store *mmds_store_hold(struct mmds_store *s)
{
	atomic_fetch_add(&s->holders, 1);
	return s;
}

void mmds_store_drop(struct mmds_store *s)
{
	if (!s || atomic_fetch_sub(&s->holders, 1) != 1)
		return;
	json_decref(s->value);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* Nested no deeper than that many objects and lists. */
static bool is_flat(const json_t *value, unsigned levels)
{
	const json_t *item;
	const char *name;
	size_t i;

	if (!json_is_object(value) && !json_is_array(value))
		return true;
	if (!levels)
		return false;
	json_object_foreach((json_t *)value, name, item)
	{
		if (!is_flat(item, levels - 1))
			return false;
	}
	json_array_foreach(value, i, item)
	{
		if (!is_flat(item, levels - 1))
			return false;
	}
	return true;
}

static json_t *parse(const char *text, size_t len, struct err *e)
{
	json_error_t error;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);

	if (!value)
		err_set(e, EINVAL, "the metadata is no JSON: line %d: %s", error.line, error.text);
	if (!value || is_flat(value, DEPTH_MAX))
		return value;
	json_decref(value);
	err_set(e, EINVAL, "the metadata is nested too deep: give up to %u levels", DEPTH_MAX);
	return NULL;
}

/* Takes the value over, if it fits; it is dropped if not. The lock is held. */
static int replace(struct mmds_store *s, json_t *value, struct err *e)
{
	size_t len = value ? json_dumpb(value, NULL, 0, JSON_FLAGS) : 0;

	if (!value)
		return err_set(e, ENOMEM, "memory is out");
	if (len > s->limit) {
		json_decref(value);
		return err_set(e, EMSGSIZE, "the metadata would be %zu bytes: give up to %zu", len,
			       s->limit);
	}
	json_decref(s->value);
	s->value = value;
	return 0;
}

int mmds_store_put(struct mmds_store *s, const char *text, size_t len, struct err *e)
{
	json_t *value = parse(text, len, e);
	int rc;

	if (!value)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	rc = replace(s, value, e);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* RFC 7396, 2: the patched form of target, which is taken over; NULL if memory is out. Depth is
 * that of texts which were parsed: bounded. */
static json_t *merge(json_t *target, const json_t *patch)
{
	const char *name;
	json_t *value;
	int rc = 0;

	if (!json_is_object(patch)) {
		json_decref(target);
		return json_deep_copy(patch);
	}
	if (!json_is_object(target)) {
		json_decref(target);
		target = json_object();
	}
	json_object_foreach((json_t *)patch, name, value)
	{
		if (json_is_null(value))
			json_object_del(target, name);
		else
			rc |= json_object_set_new(
				target, name,
				merge(json_incref(json_object_get(target, name)), value));
	}
	if (!rc)
		return target;
	json_decref(target);
	return NULL;
}

int mmds_store_patch(struct mmds_store *s, const char *text, size_t len, struct err *e)
{
	json_t *patch = parse(text, len, e);
	int rc;

	if (!patch)
		return -EINVAL;
	pthread_mutex_lock(&s->lock);
	rc = s->value ? replace(s, merge(json_deep_copy(s->value), patch), e)
		      : err_set(e, ENOENT, "there is no metadata yet: PUT some before a PATCH");
	pthread_mutex_unlock(&s->lock);
	json_decref(patch);
	return rc;
}

char *mmds_store_text(struct mmds_store *s)
{
	char *text;

	pthread_mutex_lock(&s->lock);
	text = s->value ? json_dumps(s->value, JSON_FLAGS) : strdup("{}");
	pthread_mutex_unlock(&s->lock);
	return text;
}

/* Undoes RFC 6901's "~1" and "~0" in place; false: it is no name. */
static bool unescape(char *name)
{
	char *to = name;

	for (; *name; name++) {
		*to = *name;
		if (*name == '~') {
			if (name[1] != '0' && name[1] != '1')
				return false;
			*to = *++name == '1' ? '/' : '~';
		}
		to++;
	}
	*to = '\0';
	return true;
}

/* What an object or a list has by that name or number, without leading zeroes. */
static const json_t *member(const json_t *of, char *name)
{
	size_t len = strlen(name);

	if (!unescape(name))
		return NULL;
	if (!json_is_array(of))
		return json_object_get(of, name);
	if (strspn(name, "0123456789") != len || len > 9 || (len > 1 && *name == '0'))
		return NULL;
	return json_array_get(of, (size_t)atol(name));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list(const json_t *object, struct buf *out)
{
	size_t count = json_object_size(object), n = 0;
	const char **names = calloc(count + 1, sizeof(*names)), *name;
	json_t *value;

	if (!names) {
		out->failed = true;
		return;
	}
	json_object_foreach((json_t *)object, name, value) names[n++] = name;
	qsort(names, n, sizeof(*names), compare);
	for (size_t i = 0; i < n; i++) {
		buf_add(out, "\n", i ? 1 : 0);
		buf_add(out, names[i], strlen(names[i]));
		buf_add(out, "/", json_is_object(json_object_get(object, names[i])) ? 1 : 0);
	}
	free(names);
}

static enum mmds_found show(const json_t *value, bool json, struct buf *out)
{
	char *text;

	if (json) {
		text = json_dumps(value, JSON_FLAGS);
		if (text)
			buf_add(out, text, strlen(text));
		else
			out->failed = true;
		free(text);
	} else if (json_is_string(value)) {
		buf_add(out, json_string_value(value), json_string_length(value));
	} else if (json_is_object(value)) {
		list(value, out);
	} else {
		return MMDS_NO_TEXT;
	}
	return MMDS_FOUND;
}

enum mmds_found mmds_store_find(struct mmds_store *s, const char *path, bool json, struct buf *out)
{
	char *copy = strdup(path), *rest = copy, *name;
	enum mmds_found found = MMDS_NOT_FOUND;
	const json_t *value;

	pthread_mutex_lock(&s->lock);
	value = copy ? s->value : NULL;
	while (value && (name = strsep(&rest, "/")))
		if (*name)
			value = member(value, name);
	if (value)
		found = show(value, json, out);
	pthread_mutex_unlock(&s->lock);
	free(copy);
	return found;
}
