/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which engine --engine auto takes on a host, and what its user can do to get a
 * better one.
 *
 * The engine's own words say what it met ("permission denied"). The advice here
 * knows more of the host, and is about the commands to type: who owns the device,
 * whose group it is, which module belongs to this processor, what lies outside
 * where this machine is a virtual one.
 */
#include "lib/host_report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "machine/engines.h"

__attribute__((format(printf, 2, 3))) static void advise(struct host_verdict *v, const char *fmt,
							 ...)
{
	va_list ap;

	if (v->advice_count == HOST_ADVICE_MAX)
		return;
	va_start(ap, fmt);
	vsnprintf(v->advice[v->advice_count++], sizeof(v->advice[0]), fmt, ap);
	va_end(ap);
}

/* How each hypervisor gives its guests hardware virtualization; the first one for those not known
 * by name. */
static const struct {
	const char *signature;
	const char *how;
} outer[] = {
	{"", "switch on nested virtualization for this machine on its host; in a cloud, choose a "
	     "machine type that offers it, or a bare-metal one"},
	{"KVMKVMKVM", "on its host, load kvm_intel or kvm_amd with nested=1 and give this machine "
		      "the host's CPU model (QEMU: -cpu host); in a cloud, choose a machine type "
		      "that offers nested virtualization, or a bare-metal one"},
	{"Microsoft Hv", "on its Hyper-V host: Set-VMProcessor -VMName NAME "
			 "-ExposeVirtualizationExtensions $true; in Azure, choose a size that "
			 "offers nested virtualization"},
	{"VMwareVMware", "in its VMware settings, processors: \"Virtualize Intel VT-x/EPT or "
			 "AMD-V/RVI\""},
	{"VBoxVBoxVBox", "on its host: VBoxManage modifyvm NAME --nested-hw-virt on"},
	{"XenVMMXenVMM", "in its Xen configuration: hvm guest with nestedhvm=1; in a cloud, choose "
			 "a bare-metal machine type"},
	{"TCGTCGTCGTCG", "give QEMU -accel kvm -cpu host on a host with nested virtualization, or "
			 "have it emulate AMD-V: -cpu EPYC"},
};

static void advise_nested(struct host_verdict *v, const struct host_cpu *cpu)
{
	const char *how = outer[0].how;

	for (unsigned i = 1; i < ARRAY_LEN(outer); i++)
		if (!strcmp(cpu->hypervisor, outer[i].signature))
			how = outer[i].how;
	advise(v, "this machine is virtual and is given no hardware virtualization: %s", how);
}

static void advise_firmware(struct host_verdict *v, const struct host_cpu *cpu)
{
	const char *name = cpu->kind == HOST_VIRT_AMDV  ? "SVM (AMD-V)"
			   : cpu->kind == HOST_VIRT_VIA ? "VIA VT"
							: "VT-x";

	advise(v,
	       "switch on %s in the firmware setup (BIOS), under CPU or security, then switch the "
	       "machine off and on",
	       name);
}

/* The device is there, but not for this user. */
static void advise_permission(struct host_verdict *v, const struct host_kvm *kvm)
{
	/* root's group owns the device where nothing has given it to a group of its own. */
	bool own_group = kvm->group_may_open && strcmp(kvm->group, "root") != 0;

	if (own_group && kvm->member)
		advise(v,
		       "%s is in group %s, yet may not open /dev/kvm: look for an access "
		       "control list (getfacl /dev/kvm) or a device cgroup",
		       kvm->user, kvm->group);
	else if (own_group && kvm->listed)
		advise(v, "%s is in group %s, but not yet in this session: log in again", kvm->user,
		       kvm->group);
	else if (own_group)
		advise(v,
		       "join the group that owns /dev/kvm: sudo usermod -aG %s %s; then log in "
		       "again",
		       kvm->group, kvm->user);
	else
		advise(v,
		       "only %s may open /dev/kvm (mode %04o): sudo setfacl -m u:%s:rw "
		       "/dev/kvm; or give it to a group for good by a udev rule: "
		       "KERNEL==\"kvm\", GROUP=\"kvm\", MODE=\"0660\"",
		       kvm->owner, kvm->mode, kvm->user);
}

static void advise_no_device(struct host_verdict *v, const struct host_facts *f)
{
	const struct host_cpu *cpu = &f->cpu;
	const char *module = cpu->kind == HOST_VIRT_AMDV ? "kvm_amd" : "kvm_intel";

	if (f->kvm.module[0]) {
		advise(v,
		       "%s is loaded but /dev/kvm is not here: pass it into this container "
		       "(docker run --device /dev/kvm), or make it: sudo mknod /dev/kvm c 10 "
		       "232",
		       f->kvm.module);
	} else if (cpu->has_virt && !cpu->firmware_off) {
		advise(v, "load the module: sudo modprobe %s; in a container, pass /dev/kvm in",
		       module);
		if (!cpu->is_virtual)
			advise_firmware(v, cpu);
	} else if (cpu->is_virtual) {
		advise_nested(v, cpu);
	} else if (cpu->kind != HOST_VIRT_NONE) {
		advise_firmware(v, cpu);
		advise(v, "then load the module: sudo modprobe %s", module);
	} else {
		advise(v, "this processor's maker is unknown to lodge: KVM may not support it");
	}
}

/* What stands between this host and an efficient kvm. */
static void advise_kvm(struct host_verdict *v, const struct host_facts *f,
		       const struct engine_offer *offer)
{
	const struct host_kvm *kvm = &f->kvm;

	if (offer->efficient)
		return;
	if (!kvm->present)
		advise_no_device(v, f);
	else if (kvm->open_error == EACCES || kvm->open_error == EPERM)
		advise_permission(v, kvm);
	else if (!kvm->module[0] && kvm->open_error)
		advise_no_device(v, f);
	else if (!f->cpu.has_virt && f->cpu.is_virtual)
		advise_nested(v, &f->cpu);
	else if (f->cpu.has_virt && f->cpu.nested == HOST_YES && kvm->nested_paging == HOST_NO)
		advise(v, "%s runs without nested paging: load it again with %s=1", kvm->module,
		       f->cpu.kind == HOST_VIRT_AMDV ? "npt" : "ept");
}

/* As lodge run does. */
static int choose(const struct host_facts *f)
{
	struct engine_offer offers[HOST_ENGINES_MAX];

	for (unsigned i = 0; i < f->engine_count; i++)
		offers[i] = f->engines[i].offer;
	return engines_pick(offers, f->engine_count);
}

/* An engine that is not efficient was taken: because of what the first one is. */
static void explain_fallback(struct host_verdict *v, const struct host_engine *first,
			     const struct host_engine *taken)
{
	const char *why = first->offer.why;

	if (taken == first)
		snprintf(v->why, sizeof(v->why),
			 "%s is not efficient here, but nothing better is usable%s%s", first->name,
			 why[0] ? ": " : "", why);
	else
		snprintf(v->why, sizeof(v->why),
			 "%s executes guest code in software, on any host; %s is not %s here%s%s",
			 taken->name, first->name, first->offer.usable ? "efficient" : "usable",
			 why[0] ? ": " : "", why);
}

void host_verdict(struct host_verdict *v, const struct host_facts *f)
{
	const struct host_engine *engine;

	*v = (struct host_verdict){.engine = choose(f)};
	if (f->engine_count == 0) {
		snprintf(v->why, sizeof(v->why), "this lodge was built without engines");
		return;
	}
	engine = &f->engines[v->engine < 0 ? 0 : v->engine];
	if (v->engine < 0)
		snprintf(v->why, sizeof(v->why), "no engine is usable: %s: %s", engine->name,
			 engine->offer.why);
	else if (engine->offer.efficient)
		snprintf(v->why, sizeof(v->why), "%s is efficient here", engine->name);
	else
		explain_fallback(v, &f->engines[0], engine);
	for (unsigned i = 0; i < f->engine_count; i++)
		if (!strcmp(f->engines[i].name, "kvm"))
			advise_kvm(v, f, &f->engines[i].offer);
}
