/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vms.h"

#include <stdlib.h>

#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/entry.h"

/* A VM that did not answer, or cannot. */
static json_t *look_silent(const struct entry *e)
{
	pid_t pid;
	enum entry_state state = entry_state(e, &pid);
	char path[ENTRY_PATH_MAX];
	json_t *json;

	if (state == ENTRY_RUNS)
		return json_pack("{s:s, s:s, s:I}", "name", e->name, "state", "no answer", "pid",
				 (json_int_t)pid);
	entry_path(e, "ended", path);
	json = json_load_file(path, 0, NULL);
	if (json_is_object(json))
		return json;
	json_decref(json);
	return json_pack("{s:s, s:s}", "name", e->name, "state", "killed");
}

/* The answer is taken over. */
static json_t *look(const char *name, json_t *answer, bool dead)
{
	struct entry e;
	json_t *json = NULL;

	if (answer && vms_text(answer, "state")[0])
		return answer;
	json_decref(answer);
	if (entry_open(&e, name))
		return NULL;
	if (dead || entry_state(&e, NULL) == ENTRY_RUNS)
		json = look_silent(&e);
	entry_close(&e);
	return json;
}

json_t *vms_look(bool dead, const char *request)
{
	char **names;
	int count = entry_names(&names);
	json_t *list = json_array(), **answers;

	if (count < 0) {
		json_decref(list);
		return NULL;
	}
	answers = ask_all(names, count, request);
	for (int i = 0; answers && i < count; i++) {
		json_t *vm = look(names[i], answers[i], dead);

		if (vm)
			json_array_append_new(list, vm);
	}
	entry_free_names(names, count);
	free(answers);
	return list;
}

json_t *vms_look_at(const char *name, const char *request)
{
	struct entry e;
	char *names[] = {(char *)name};
	json_t **answers, *json = NULL;

	if (entry_open(&e, name))
		return NULL;
	entry_close(&e);
	answers = ask_all(names, 1, request);
	if (answers)
		json = look(name, answers[0], true);
	free(answers);
	return json;
}

const char *vms_text(const json_t *vm, const char *key)
{
	const char *text = json_string_value(json_object_get(vm, key));

	return text ? text : "";
}

double vms_number(const json_t *vm, const char *key)
{
	return json_number_value(json_object_get(vm, key));
}

int vms_print(const json_t *json, bool pretty)
{
	char *text = json_dumps(json,
				(pretty ? JSON_INDENT(2) : JSON_COMPACT) | JSON_REAL_PRECISION(13));
	int status;

	if (!text) {
		cli_error("out of memory");
		return STATUS_FAILED;
	}
	status = cli_print(text);
	if (!status)
		status = cli_print("\n");
	free(text);
	return status;
}
