/* SPDX-License-Identifier: Apache-2.0 */
#include "api/vmm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/sections.h"

int vmm_init(struct vmm *v, struct err *e)
{
	v->sections = json_object();
	v->places = json_object();
	v->vm = NULL;
	v->metadata = NULL;
	logger_init(&v->logger, v->id);
	metrics_init(&v->metrics);
	return v->sections && v->places ? 0 : err_set(e, ENOMEM, "memory is out");
}

void vmm_release(struct vmm *v)
{
	lodge_vm_free(v->vm);
	lodge_metadata_free(v->metadata);
	logger_release(&v->logger);
	metrics_release(&v->metrics);
	json_decref(v->sections);
	json_decref(v->places);
}

const char *vmm_state(const struct vmm *v)
{
	if (!v->vm)
		return "Not started";
	return lodge_vm_state(v->vm) == LODGE_PAUSED ? "Paused" : "Running";
}

int vmm_before_start(const struct vmm *v, struct err *e)
{
	return v->vm ? err_set(e, EBUSY, "the VM was started: this is to be done before") : 0;
}

int vmm_after_start(const struct vmm *v, struct err *e)
{
	return v->vm ? 0 : err_set(e, ESRCH, "the VM was not started: this is to be done after");
}

json_t *vmm_section(const struct vmm *v, const char *name)
{
	return json_object_get(v->sections, name);
}

/* Sets what the server's flags and all sections say. */
static int configure(const struct vmm *v, lodge_vm *vm, const json_t *sections, struct err *e)
{
	const char *engine = fields_text(json_object_get(sections, "lodge"), "engine", v->engine);
	int rc = sections_apply(vm, sections, e);

	if (!rc)
		rc = lodge_vm_set(vm, "virtio", v->pci ? "pci" : "mmio");
	if (!rc && engine)
		rc = lodge_vm_set(vm, "engine", engine);
	if (!rc && v->boot_timer)
		rc = lodge_vm_set(vm, "boot-timer", "on");
	if (!rc)
		rc = lodge_vm_set(vm, "reboot", "off");
	return rc && !e->code ? err_set(e, -rc, "%s", lodge_vm_error(vm)) : rc;
}

static lodge_vm *new_vm(struct err *e)
{
	lodge_vm *vm = lodge_vm_new();

	if (!vm)
		err_set(e, ENOMEM, "memory is out");
	return vm;
}

int vmm_set_section(struct vmm *v, const char *name, json_t *section, struct err *e)
{
	json_t *sections = json_copy(v->sections);
	lodge_vm *judge = new_vm(e);
	int rc = e->code;

	if (!rc && json_object_set(sections, name, section))
		rc = err_set(e, ENOMEM, "memory is out");
	if (!rc)
		rc = configure(v, judge, sections, e);
	lodge_vm_free(judge);
	if (rc) {
		json_decref(sections);
		return rc;
	}
	json_decref(v->sections);
	v->sections = sections;
	return 0;
}

/* The serial console: a file that the section names, or the process's own input and output. */
static int give_console(const struct vmm *v, lodge_vm *vm, struct err *e)
{
	const char *path = json_string_value(
		json_object_get(vmm_section(v, "serial"), "serial_out_path"));
	int out, rc;

	if (!path)
		return lodge_vm_console(vm, v->console_in, v->console_out);
	out = sections_open_serial(path, e);
	if (out < 0)
		return out;
	rc = lodge_vm_console(vm, -1, out);
	close(out);
	return rc;
}

lodge_metadata *vmm_metadata(struct vmm *v, struct err *e)
{
	if (!v->metadata)
		v->metadata = lodge_metadata_new(v->metadata_max);
	if (!v->metadata)
		err_set(e, ENOMEM, "memory is out");
	return v->metadata;
}

/* The metadata service's store, if there is a service. */
static int give_metadata(struct vmm *v, lodge_vm *vm, struct err *e)
{
	lodge_metadata *md;

	if (!vmm_section(v, "mmds-config"))
		return 0;
	md = vmm_metadata(v, e);
	return md ? lodge_vm_metadata(vm, md) : e->code;
}

int vmm_start(struct vmm *v, struct err *e)
{
	lodge_vm *vm;
	int rc = vmm_before_start(v, e);

	if (!rc && !vmm_section(v, "boot-source"))
		rc = err_set(e, EINVAL, "no kernel is given: PUT /boot-source first");
	vm = rc ? NULL : new_vm(e);
	if (!vm)
		return e->code;
	rc = configure(v, vm, v->sections, e);
	if (!rc)
		rc = give_console(v, vm, e);
	if (!rc)
		rc = give_metadata(v, vm, e);
	if (!rc)
		rc = lodge_vm_start(vm);
	if (!rc) {
		v->vm = vm;
		return 0;
	}
	if (!e->code)
		err_set(e, -rc, "%s", lodge_vm_error(vm));
	lodge_vm_free(vm);
	return rc;
}
