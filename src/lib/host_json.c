/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report on this host as JSON. docs/lodge-host.1.scd tells the fields; names
 * stay, new ones may come. What does not apply is null, so that every field is
 * always there.
 */
#include <jansson.h>
#include <stdio.h>

#include "lib/host_report.h"

/* Text from the host is ASCII already; an empty one is null. */
static json_t *text(const char *s)
{
	return s && s[0] ? json_string(s) : json_null();
}

static json_t *answer(enum host_answer a)
{
	return a == HOST_UNKNOWN ? json_null() : json_boolean(a == HOST_YES);
}

static json_t *cpu_json(const struct host_cpu *cpu)
{
	return json_pack("{s:o, s:o, s:o, s:b, s:b, s:o}", "vendor", text(cpu->vendor), "model",
			 text(cpu->model), "virtualization", text(host_virt_name(cpu->kind)),
			 "present", cpu->has_virt, "switched_off", cpu->firmware_off,
			 "nested_paging", answer(cpu->nested));
}

static json_t *machine_json(const struct host_facts *f)
{
	return json_pack("{s:o, s:o, s:b, s:o, s:o}", "kernel", text(f->kernel), "product",
			 text(f->machine), "virtual", f->cpu.is_virtual, "hypervisor",
			 text(f->cpu.hypervisor_name), "hypervisor_signature",
			 text(f->cpu.hypervisor));
}

static json_t *kvm_json(const struct host_kvm *kvm)
{
	char mode[8] = "";

	if (kvm->present)
		snprintf(mode, sizeof(mode), "%04o", kvm->mode);
	return json_pack("{s:s, s:b, s:b, s:o, s:o, s:o, s:o, s:o}", "device", "/dev/kvm",
			 "present", kvm->present, "permitted", kvm->present && kvm->open_error == 0,
			 "owner", text(kvm->owner), "group", text(kvm->group), "mode", text(mode),
			 "module", text(kvm->module), "nested_paging", answer(kvm->nested_paging));
}

static json_t *engine_json(const struct host_engine *e)
{
	const struct engine_offer *o = &e->offer;
	json_t *features = json_object();

	for (size_t i = 0; features && i < e->feature_count; i++)
		json_object_set_new(features, e->features[i].name,
				    json_pack("{s:b, s:b}", "required", e->features[i].required,
					      "present", e->features[i].present));
	return json_pack(
		"{s:s, s:b, s:b, s:o, s:o, s:o, s:o}", "name", e->name, "usable", o->usable,
		"efficient", o->efficient, "ratio",
		o->ratio > 0 ? json_real((double)(long)(o->ratio * 100 + 0.5) / 100) : json_null(),
		"api_version", o->api_version > 0 ? json_integer(o->api_version) : json_null(),
		"why", text(o->why), "features", features);
}

static json_t *verdict_json(const struct host_facts *f, const struct host_verdict *v)
{
	json_t *advice = json_array();

	for (unsigned i = 0; advice && i < v->advice_count; i++)
		json_array_append_new(advice, text(v->advice[i]));
	return json_pack("{s:o, s:o, s:o}", "engine",
			 text(v->engine < 0 ? NULL : f->engines[v->engine].name), "why",
			 text(v->why), "advice", advice);
}

char *host_json(const struct host_facts *f, const struct host_verdict *v)
{
	json_t *engines = json_array();
	json_t *root;
	char *dump;

	for (unsigned i = 0; engines && i < f->engine_count; i++)
		json_array_append_new(engines, engine_json(&f->engines[i]));
	root = json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "lodge", LODGE_VERSION, "cpu",
			 cpu_json(&f->cpu), "machine", machine_json(f), "kvm", kvm_json(&f->kvm),
			 "engines", engines, "verdict", verdict_json(f, v));
	if (!root)
		return NULL;
	dump = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
	json_decref(root);
	return dump;
}
