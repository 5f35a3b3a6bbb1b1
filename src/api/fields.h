/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shape of a request's body: a table of the fields that an object may have.
 *
 * The interface is strict: a field that is unknown, missing or of another type refuses
 * the whole request, by name. A field that is null counts as one that is not there.
 */
#ifndef LODGE_API_FIELDS_H
#define LODGE_API_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum field_type {
	FIELD_TEXT,   /* not empty */
	FIELD_FLAG,   /* true or false */
	FIELD_NUMBER, /* an integer from min to max */
	FIELD_WORD,   /* one of words */
	FIELD_OBJECT, /* of the fields of its own table */
	FIELD_LIST,   /* of objects of such fields, or of texts where it has no table */
};

struct field {
	const char *name; /* NULL ends a table */
	enum field_type type;
	bool required;
	int64_t min, max;
	const char *const *words;   /* FIELD_WORD: NULL ends them */
	bool any_case;              /* FIELD_WORD: in capitals or not */
	const struct field *fields; /* FIELD_OBJECT, FIELD_LIST */
	bool lenient;               /* FIELD_OBJECT: fields that are not in its table do no harm */
	bool deprecated;
};

/* The table of a body that may be any JSON value, and is taken as it is. */
extern const struct field fields_any[];

/* The JSON text in a file, to be given back by json_decref; flags are json_loadf's, what is the
 * file's part in words. NULL with e set: -errno where it cannot be read, -EINVAL where it is no
 * JSON. */
json_t *fields_load(const char *what, const char *file, size_t flags, struct err *e);

/* Checks body against the table. 0, or -EINVAL with e set to words that name the field. */
int fields_check(const struct field *fields, const json_t *body, struct err *e);

/* Whether body, which was checked, has a field that is deprecated. */
bool fields_deprecated(const struct field *fields, const json_t *body);

/* The table as JSON: a list of objects that say of each field what struct field says. NULL if
 * memory is out. */
json_t *fields_describe(const struct field *fields);

/* The item of a list whose field `name` is that text: its place, or the list's length. */
size_t fields_find(const json_t *list, const char *name, const char *text);

/* A copy of an object without its fields that are null, in depth; NULL if memory is out. */
json_t *fields_compact(const json_t *object);

/* A field's value, or a default where it is not there. What is read was checked before. */
const char *fields_text(const json_t *object, const char *name, const char *otherwise);
bool fields_flag(const json_t *object, const char *name);
int64_t fields_number(const json_t *object, const char *name, int64_t otherwise);

#endif
