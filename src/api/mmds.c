/* SPDX-License-Identifier: Apache-2.0 */
#include "api/mmds.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/request.h"
#include "base/buf.h"

static const char *const versions[] = {"V1", "V2", NULL};

const struct field mmds_config[] = {
	{.name = "network_interfaces", .type = FIELD_LIST, .required = true},
	{.name = "version", .type = FIELD_WORD, .words = versions},
	{.name = "ipv4_address", .type = FIELD_TEXT},
	{.name = "imds_compat", .type = FIELD_FLAG},
	{0},
};

int mmds_get(const struct job *j, json_t **shown, struct err *e)
{
	lodge_metadata *md = vmm_metadata(j->vmm, e);
	char *text = md ? lodge_metadata_json(md) : NULL;
	json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;

	free(text);
	return job_show(value, shown, e);
}

/* Hands a value to one of the two ways to change the metadata. */
static int change(struct vmm *v, const json_t *value,
		  int (*how)(lodge_metadata *md, const char *json, char *why, size_t size),
		  struct err *e)
{
	lodge_metadata *md = vmm_metadata(v, e);
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY), why[ERR_TEXT_MAX] = "";
	int rc = md && text ? how(md, text, why, sizeof(why)) : -ENOMEM;

	free(text);
	return rc ? err_set(e, -rc, "%s", *why ? why : "memory is out") : 0;
}

int mmds_put(const struct job *j, json_t **shown, struct err *e)
{
	(void)shown;
	return change(j->vmm, j->body, lodge_metadata_put, e);
}

int mmds_patch(const struct job *j, json_t **shown, struct err *e)
{
	(void)shown;
	return change(j->vmm, j->body, lodge_metadata_patch, e);
}

int mmds_put_config(const struct job *j, json_t **shown, struct err *e)
{
	int rc = vmm_before_start(j->vmm, e);

	(void)shown;
	if (!strcmp(fields_text(j->body, "version", "V1"), "V1"))
		j->answer->deprecated = true;
	return rc ? rc : vmm_set_section(j->vmm, "mmds-config", j->body, e);
}

/* The networks that the service is on, as options of the library's setting. */
static int add_networks(struct buf *b, const json_t *sections, const json_t *names, struct err *e)
{
	const json_t *networks = json_object_get(sections, "network-interfaces"), *name;
	size_t i;

	if (!json_array_size(names))
		return err_set(e, EINVAL, "network_interfaces is empty: name one");
	json_array_foreach(names, i, name)
	{
		size_t at = fields_find(networks, "iface_id", json_string_value(name));

		if (at == json_array_size(networks))
			return err_set(e, EINVAL,
				       "there is no '%.64s' among the network-interfaces",
				       json_string_value(name));
		buf_printf(b, ",net=%zu", at);
	}
	return 0;
}

int mmds_apply(lodge_vm *vm, const json_t *sections, struct err *e)
{
	const json_t *config = json_object_get(sections, "mmds-config");
	const char *address = fields_text(config, "ipv4_address", NULL);
	struct buf b = BUF_INIT;
	int rc;

	if (!config)
		return 0;
	if (address && strchr(address, ','))
		return err_set(e, EINVAL, "ipv4_address cannot have a comma");
	buf_printf(&b, ",version=%s", fields_text(config, "version", "V1") + 1);
	if (address)
		buf_printf(&b, ",address=%s", address);
	if (fields_flag(config, "imds_compat"))
		buf_printf(&b, ",imds");
	rc = add_networks(&b, sections, json_object_get(config, "network_interfaces"), e);
	if (!rc)
		rc = buf_failed(&b) ? err_set(e, ENOMEM, "memory is out")
				    : lodge_vm_set(vm, "metadata", buf_str(&b));
	buf_release(&b);
	return rc;
}

int mmds_load(struct vmm *v, const char *file, struct err *e)
{
	json_t *value = fields_load("metadata", file, JSON_DECODE_ANY, e);
	struct err why = ERR_INIT;
	int rc;

	if (!value)
		return e->code;
	rc = change(v, value, lodge_metadata_put, &why);
	json_decref(value);
	return rc ? err_set(e, -rc, "the metadata %s is refused: %s", file, why.text) : 0;
}
