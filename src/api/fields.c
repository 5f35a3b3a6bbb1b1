/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct field fields_any[] = {{0}};

json_t *fields_load(const char *what, const char *file, size_t flags, struct err *e)
{
	FILE *from = fopen(file, "re");
	json_error_t error;
	json_t *value;
	int failed;

	if (!from) {
		err_errno(e, errno, "cannot read the %s %s", what, file);
		return NULL;
	}
	errno = 0;
	value = json_loadf(from, flags | JSON_REJECT_DUPLICATES, &error);
	failed = ferror(from) ? errno : 0;
	fclose(from);
	if (failed)
		err_errno(e, failed, "cannot read the %s %s", what, file);
	else if (!value)
		err_set(e, EINVAL, "the %s %s is no JSON: line %d: %s", what, file, error.line,
			error.text);
	return value;
}

static int refuse_type(const struct field *f, struct err *e)
{
	static const char *const types[] = {
		[FIELD_TEXT] = "a string",     [FIELD_FLAG] = "true or false",
		[FIELD_NUMBER] = "an integer", [FIELD_WORD] = "a string",
		[FIELD_OBJECT] = "an object",  [FIELD_LIST] = "a list",
	};

	return err_set(e, EINVAL, "the field '%s' is to be %s", f->name, types[f->type]);
}

static int check_text(const struct field *f, const json_t *value, struct err *e)
{
	const char *text = json_string_value(value);

	if (!text)
		return refuse_type(f, e);
	if (!*text)
		return err_set(e, EINVAL, "the field '%s' is empty", f->name);
	return 0;
}

static int check_word(const struct field *f, const json_t *value, struct err *e)
{
	int rc = check_text(f, value, e);

	for (const char *const *word = f->words; !rc && *word; word++)
		if (!(f->any_case ? strcasecmp : strcmp)(*word, json_string_value(value)))
			return 0;
	return rc ? rc
		  : err_set(e, EINVAL, "the field '%s' cannot be '%.64s'", f->name,
			    json_string_value(value));
}

static int check_number(const struct field *f, const json_t *value, struct err *e)
{
	if (!json_is_integer(value))
		return refuse_type(f, e);
	if (json_integer_value(value) < f->min || json_integer_value(value) > f->max)
		return err_set(e, EINVAL, "the field '%s' is to be from %lld to %lld", f->name,
			       (long long)f->min, (long long)f->max);
	return 0;
}

static int check_object(const struct field *fields, const json_t *body, bool lenient,
			struct err *e);

static int check_list(const struct field *f, const json_t *list, struct err *e)
{
	const json_t *item;
	int rc = json_is_array(list) ? 0 : refuse_type(f, e);
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (rc)
			break;
		if (!f->fields)
			rc = check_text(f, item, e);
		else if (json_is_object(item))
			rc = check_object(f->fields, item, false, e);
		else
			rc = err_set(e, EINVAL, "the list '%s' is to be one of objects", f->name);
	}
	return rc;
}

static int check(const struct field *f, const json_t *value, struct err *e)
{
	switch (f->type) {
	case FIELD_TEXT:
		return check_text(f, value, e);
	case FIELD_WORD:
		return check_word(f, value, e);
	case FIELD_NUMBER:
		return check_number(f, value, e);
	case FIELD_FLAG:
		return json_is_boolean(value) ? 0 : refuse_type(f, e);
	case FIELD_OBJECT:
		return json_is_object(value) ? check_object(f->fields, value, f->lenient, e)
					     : refuse_type(f, e);
	case FIELD_LIST:
		return check_list(f, value, e);
	}
	return refuse_type(f, e);
}

static const struct field *find(const struct field *fields, const char *name)
{
	while (fields->name && strcmp(fields->name, name))
		fields++;
	return fields->name ? fields : NULL;
}

static int check_object(const struct field *fields, const json_t *body, bool lenient, struct err *e)
{
	const char *name;
	json_t *value;
	int rc = 0;

	json_object_foreach((json_t *)body, name, value)
	{
		const struct field *f = find(fields, name);

		if (!f && lenient)
			continue;
		if (!f)
			return err_set(e, EINVAL, "there is no field '%.64s'", name);
		if (!json_is_null(value))
			rc = check(f, value, e);
		if (rc)
			return rc;
	}
	for (const struct field *f = fields; f->name; f++) {
		value = json_object_get(body, f->name);
		if (f->required && (!value || json_is_null(value)))
			return err_set(e, EINVAL, "the field '%s' is missing", f->name);
	}
	return 0;
}

int fields_check(const struct field *fields, const json_t *body, struct err *e)
{
	if (fields == fields_any)
		return 0;
	if (!json_is_object(body))
		return err_set(e, EINVAL, "the body is to be a JSON object");
	return check_object(fields, body, false, e);
}

bool fields_deprecated(const struct field *fields, const json_t *body)
{
	for (const struct field *f = fields; f && f->name; f++) {
		const json_t *value = json_object_get(body, f->name);

		if (f->deprecated && value && !json_is_null(value))
			return true;
	}
	return false;
}

static json_t *describe_words(const char *const *words)
{
	json_t *list = json_array();

	for (; words && *words; words++)
		json_array_append_new(list, json_string(*words));
	return list;
}

static json_t *describe(const struct field *f)
{
	static const char *const types[] = {
		[FIELD_TEXT] = "text", [FIELD_FLAG] = "flag",     [FIELD_NUMBER] = "number",
		[FIELD_WORD] = "word", [FIELD_OBJECT] = "object", [FIELD_LIST] = "list",
	};
	json_t *o = json_pack("{s:s, s:s, s:b, s:b}", "name", f->name, "type", types[f->type],
			      "required", f->required, "deprecated", f->deprecated);

	if (f->type == FIELD_NUMBER) {
		json_object_set_new(o, "min", json_integer(f->min));
		json_object_set_new(o, "max", json_integer(f->max));
	}
	if (f->type == FIELD_WORD) {
		json_object_set_new(o, "words", describe_words(f->words));
		json_object_set_new(o, "any_case", json_boolean(f->any_case));
	}
	if (f->fields)
		json_object_set_new(o, "fields", fields_describe(f->fields));
	if (f->type == FIELD_OBJECT)
		json_object_set_new(o, "lenient", json_boolean(f->lenient));
	return o;
}

json_t *fields_describe(const struct field *fields)
{
	json_t *list = json_array();

	for (; fields->name; fields++)
		json_array_append_new(list, describe(fields));
	return list;
}

size_t fields_find(const json_t *list, const char *name, const char *text)
{
	size_t i = 0;

	while (i < json_array_size(list) &&
	       strcmp(fields_text(json_array_get(list, i), name, ""), text) != 0)
		i++;
	return i;
}

json_t *fields_compact(const json_t *object)
{
	json_t *copy = json_object(), *value;
	const char *name;

	json_object_foreach((json_t *)object, name, value)
	{
		if (json_is_null(value))
			continue;
		value = json_is_object(value) ? fields_compact(value) : json_deep_copy(value);
		if (json_object_set_new(copy, name, value)) {
			json_decref(copy);
			return NULL;
		}
	}
	return copy;
}

const char *fields_text(const json_t *object, const char *name, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : otherwise;
}

bool fields_flag(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}

int64_t fields_number(const json_t *object, const char *name, int64_t otherwise)
{
	const json_t *value = json_object_get(object, name);

	return json_is_integer(value) ? json_integer_value(value) : otherwise;
}
