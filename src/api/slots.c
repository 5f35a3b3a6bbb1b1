/* SPDX-License-Identifier: Apache-2.0 */
#include "api/slots.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/fields.h"
#include "api/sections.h"
#include "base/bits.h"
#include "base/buf.h"

static const struct {
	const char *section, *field, *kind;
	/* NULL: they stay as they are at the start */
	int (*value)(struct buf *b, const json_t *item, struct err *e);
} lists[] = {
	{"pmem", "id", "pmem", NULL},
	{"drives", "drive_id", "disk", sections_drive_value},
	{"network-interfaces", "iface_id", "net", sections_network_value},
};

/* Which of the lists the section is. */
static size_t list_of(const char *section)
{
	size_t i = 0;

	while (i + 1 < ARRAY_LEN(lists) && strcmp(lists[i].section, section) != 0)
		i++;
	return i;
}

const char *slots_id_field(const char *section)
{
	return lists[list_of(section)].field;
}

const char *slots_kind(const char *section)
{
	return lists[list_of(section)].kind;
}

/* The numbers of a section's devices, by id; NULL if memory is out. */
static json_t *places(struct vmm *v, const char *section)
{
	json_t *of = json_object_get(v->places, section);

	if (!of && !json_object_set_new(v->places, section, json_object()))
		of = json_object_get(v->places, section);
	return of;
}

void slots_started(struct vmm *v)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const json_t *list = vmm_section(v, lists[i].section), *item;
		size_t at;

		json_array_foreach(list, at, item)
		{
			bool drives = !strcmp(lists[i].section, "drives");
			int number = drives ? sections_drive_place(list, at) : (int)at;

			json_object_set_new(places(v, lists[i].section),
					    fields_text(item, lists[i].field, ""),
					    json_integer(number));
		}
	}
}

int slots_place(const struct job *j, json_t **item, struct err *e)
{
	json_t *list = vmm_section(j->vmm, j->section);
	json_t *number = json_object_get(places(j->vmm, j->section), j->id);
	size_t at = fields_find(list, slots_id_field(j->section), j->id);

	if (at == json_array_size(list) || !number)
		return err_set(e, ENOENT, "there is no '%s' among the %s", j->id, j->section);
	*item = json_array_get(list, at);
	return (int)json_integer_value(number);
}

static int check_pci(const struct vmm *v, struct err *e)
{
	return v->pci ? 0
		      : err_set(e, EOPNOTSUPP,
				"a running VM's devices come and go on PCI only: start with "
				"--enable-pci");
}

/* Whether the VM has no such item, and may have this one. */
static int check_new(const struct job *j, const json_t *list, struct err *e)
{
	const char *mac = fields_text(j->body, "guest_mac", NULL);
	const json_t *item;
	size_t i;

	if (fields_find(list, slots_id_field(j->section), j->id) < json_array_size(list))
		return err_set(e, EEXIST, "there is a '%s' among the %s already", j->id,
			       j->section);
	if (fields_flag(j->body, "is_root_device"))
		return err_set(e, EINVAL,
			       "is_root_device cannot be true: the VM runs, and has its root");
	json_array_foreach(list, i, item)
	{
		if (mac && !strcasecmp(mac, fields_text(item, "guest_mac", "")))
			return err_set(e, EEXIST, "guest_mac %s is in use: give another", mac);
	}
	return 0;
}

/* The device is there: so is its item. */
static int note(const struct job *j, int number, struct err *e)
{
	json_t *list = vmm_section(j->vmm, j->section);

	if (!list && !json_object_set_new(j->vmm->sections, j->section, json_array()))
		list = vmm_section(j->vmm, j->section);
	if (!list || json_array_append(list, j->body) ||
	    json_object_set_new(places(j->vmm, j->section), j->id, json_integer(number)))
		return err_set(e, ENOMEM, "memory is out");
	return 0;
}

int slots_put(const struct job *j, json_t **shown, struct err *e)
{
	struct buf b = BUF_INIT;
	int rc = lists[list_of(j->section)].value ? check_pci(j->vmm, e)
						  : vmm_before_start(j->vmm, e);

	(void)shown;
	if (!rc)
		rc = check_new(j, vmm_section(j->vmm, j->section), e);
	if (!rc)
		rc = lists[list_of(j->section)].value(&b, j->body, e);
	if (!rc && buf_failed(&b))
		rc = err_set(e, ENOMEM, "memory is out");
	if (!rc) {
		rc = lodge_vm_attach(j->vmm->vm, slots_kind(j->section), buf_str(&b));
		rc = rc < 0 ? err_set(e, -rc, "%s", lodge_vm_error(j->vmm->vm)) : note(j, rc, e);
	}
	buf_release(&b);
	return rc;
}

int slots_delete(const struct job *j, json_t **shown, struct err *e)
{
	json_t *item = NULL;
	char device[32];
	int rc = vmm_after_start(j->vmm, e), number;

	(void)shown;
	if (!rc)
		rc = check_pci(j->vmm, e);
	number = rc ? rc : slots_place(j, &item, e);
	if (number < 0)
		return number;
	if (fields_flag(item, "is_root_device"))
		return err_set(e, EINVAL, "'%s' is the root device, which stays", j->id);
	snprintf(device, sizeof(device), "%s%d", slots_kind(j->section), number);
	rc = lodge_vm_detach(j->vmm->vm, device);
	return rc ? err_set(e, -rc, "%s", lodge_vm_error(j->vmm->vm)) : 0;
}

void slots_detached(struct vmm *v, const char *device)
{
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		size_t len = strlen(lists[i].kind), at;
		json_t *of = places(v, lists[i].section), *list = vmm_section(v, lists[i].section);
		json_t *number;
		const char *id;

		if (strncmp(device, lists[i].kind, len) != 0)
			continue;
		json_object_foreach(of, id, number)
		{
			if (json_integer_value(number) != atoi(device + len))
				continue;
			at = fields_find(list, lists[i].field, id);
			json_array_remove(list, at);
			json_object_del(of, id);
			return;
		}
	}
}
