/* SPDX-License-Identifier: Apache-2.0 */
/* The report on this host in words: a line a fact, then the verdict. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/host_report.h"

#define LABEL_WIDTH 16

static void label(struct buf *out, const char *name)
{
	buf_printf(out, "%-*s", LABEL_WIDTH, name);
}

__attribute__((format(printf, 3, 4))) static void row(struct buf *out, const char *name,
						      const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	label(out, name);
	buf_printf(out, "%s\n", text);
}

static void processor(struct buf *out, const struct host_facts *f)
{
	static const char *const answers[] = {
		[HOST_NO] = "no", [HOST_YES] = "yes", [HOST_UNKNOWN] = "unknown"};
	const struct host_cpu *cpu = &f->cpu;
	const char *virt = host_virt_name(cpu->kind);

	row(out, "processor", "%s (%s)", cpu->model[0] ? cpu->model : "unnamed", cpu->vendor);
	if (!virt)
		row(out, "virtualization", "none that lodge knows of by this maker");
	else if (cpu->firmware_off)
		row(out, "virtualization", "%s: there, but the kernel finds it switched off", virt);
	else
		row(out, "virtualization", "%s: %s", virt,
		    cpu->has_virt ? "yes" : "no, the processor does not show it");
	row(out, "nested paging", "%s%s", answers[cpu->nested],
	    cpu->nested == HOST_YES && f->kvm.nested_paging == HOST_NO ? ", but KVM does not use it"
								       : "");
	if (!cpu->is_virtual)
		row(out, "hypervisor", "none");
	else if (cpu->hypervisor_name)
		row(out, "hypervisor", "%s: this machine is itself virtual", cpu->hypervisor_name);
	else
		row(out, "hypervisor", "\"%s\": this machine is itself virtual", cpu->hypervisor);
	if (f->machine[0])
		row(out, "machine", "%s", f->machine);
	row(out, "kernel", "%s", f->kernel);
}

static void device(struct buf *out, const struct host_kvm *kvm)
{
	row(out, "kvm module", "%s", kvm->module[0] ? kvm->module : "none");
	if (!kvm->present)
		row(out, "/dev/kvm", "not there");
	else if (kvm->open_error)
		row(out, "/dev/kvm",
		    "there, but %s cannot open it: %s (owner %s, group %s, mode %04o)", kvm->user,
		    strerror(kvm->open_error), kvm->owner, kvm->group, kvm->mode);
	else
		row(out, "/dev/kvm", "there, and %s may use it", kvm->user);
}

/* How many of the features there are, and the names of those missing. */
static void features(struct buf *out, const struct host_engine *e)
{
	size_t present[2] = {0, 0}, all[2] = {0, 0};
	const char *before = "; missing: ";
	char name[32];

	if (e->feature_count == 0)
		return;
	for (size_t i = 0; i < e->feature_count; i++) {
		all[e->features[i].required]++;
		present[e->features[i].required] += e->features[i].present;
	}
	snprintf(name, sizeof(name), "%s features", e->name);
	label(out, name);
	buf_printf(out, "%zu of %zu required, %zu of %zu optional", present[1], all[1], present[0],
		   all[0]);
	for (size_t i = 0; i < e->feature_count; i++) {
		if (e->features[i].present)
			continue;
		buf_printf(out, "%s%s", before, e->features[i].name);
		before = ", ";
	}
	buf_printf(out, "\n");
}

static void engine(struct buf *out, const struct host_engine *e)
{
	char name[32];

	snprintf(name, sizeof(name), "engine %s", e->name);
	label(out, name);
	if (!e->offer.usable) {
		buf_printf(out, "not usable: %s\n", e->offer.why);
	} else {
		buf_printf(out, "usable, %s", e->offer.efficient ? "efficient" : "not efficient");
		if (e->offer.ratio > 0)
			buf_printf(out, ": guest code takes %.*f times as long as the host's own",
				   e->offer.ratio < 100 ? 2 : 0, e->offer.ratio);
		else if (!e->offer.efficient && e->offer.why[0])
			buf_printf(out, ": %s", e->offer.why);
		if (e->offer.api_version > 0)
			buf_printf(out, "; API version %d", e->offer.api_version);
		buf_printf(out, "\n");
	}
	features(out, e);
}

void host_text(struct buf *out, const struct host_facts *f, const struct host_verdict *v)
{
	processor(out, f);
	device(out, &f->kvm);
	for (unsigned i = 0; i < f->engine_count; i++)
		engine(out, &f->engines[i]);
	if (v->engine < 0)
		row(out, "verdict", "--engine auto finds nothing: %s", v->why);
	else
		row(out, "verdict", "--engine auto takes %s: %s", f->engines[v->engine].name,
		    v->why);
	for (unsigned i = 0; i < v->advice_count; i++)
		row(out, "to do", "%s", v->advice[i]);
}
