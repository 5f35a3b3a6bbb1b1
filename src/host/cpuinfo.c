/* SPDX-License-Identifier: Apache-2.0 */
#include "host/cpuinfo.h"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

#define LEAF_FEATURES     1
#define LEAF_HYPERVISOR   0x40000000
#define LEAF_EXTENDED     0x80000000
#define LEAF_EXT_FEATURES 0x80000001
#define LEAF_BRAND        0x80000002 /* three leaves of 16 characters */
#define LEAF_SVM          0x8000000a

#define ECX_VMX        BIT(5)  /* leaf 1 */
#define ECX_HYPERVISOR BIT(31) /* leaf 1 */
#define ECX_SVM        BIT(2)  /* leaf 0x80000001 */
#define EDX_NPT        BIT(0)  /* leaf 0x8000000a */

enum { EAX, EBX, ECX, EDX };

static const struct {
	char vendor[13];
	enum host_virt kind;
} vendors[] = {
	{"GenuineIntel", HOST_VIRT_VTX},  {"AuthenticAMD", HOST_VIRT_AMDV},
	{"HygonGenuine", HOST_VIRT_AMDV}, {"CentaurHauls", HOST_VIRT_VIA},
	{"  Shanghai  ", HOST_VIRT_VIA},
};

static const struct {
	char signature[13];
	const char *name;
} hypervisors[] = {
	{"KVMKVMKVM", "KVM"},           {"TCGTCGTCGTCG", "QEMU without KVM"},
	{"Microsoft Hv", "Hyper-V"},    {"VMwareVMware", "VMware"},
	{"VBoxVBoxVBox", "VirtualBox"}, {"XenVMMXenVMM", "Xen"},
	{"bhyve bhyve ", "bhyve"},      {"OpenBSDVMM58", "OpenBSD vmm"},
	{"___ NVMM ___", "NVMM"},       {"ACRNACRNACRN", "ACRN"},
	{" lrpepyh  vr", "Parallels"},
};

static void this_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	(void)opaque;
	__cpuid_count(leaf, subleaf, regs[EAX], regs[EBX], regs[ECX], regs[EDX]);
}

const char *host_virt_name(enum host_virt kind)
{
	static const char *const names[] = {
		[HOST_VIRT_NONE] = NULL,
		[HOST_VIRT_VTX] = "VT-x",
		[HOST_VIRT_AMDV] = "AMD-V",
		[HOST_VIRT_VIA] = "VIA VT",
	};

	return names[kind];
}

/* Keeps what a terminal and JSON can show: printable ASCII, without spaces around it. */
static void tidy(char *text)
{
	size_t start = strspn(text, " ");
	size_t len = strlen(text + start);

	memmove(text, text + start, len + 1);
	while (len > 0 && text[len - 1] == ' ')
		text[--len] = 0;
	for (char *p = text; *p; p++)
		if (*p < ' ' || *p > '~')
			*p = '?';
}

/* Whether the first of /proc/cpuinfo's lines that begin with key has the word. Each processor has
 * the same lines; the first stands for all. */
static enum host_answer cpuinfo_has(const char *path, const char *key, const char *word)
{
	enum host_answer answer = HOST_UNKNOWN;
	FILE *f = fopen(path, "re");
	char *line = NULL, *save, *value;
	size_t room = 0, len = strlen(key);

	if (!f)
		return HOST_UNKNOWN;
	while (answer == HOST_UNKNOWN && getline(&line, &room, f) > 0) {
		if (strncmp(line, key, len) || !strchr("\t :", line[len]))
			continue;
		value = strchr(line, ':');
		if (!value)
			continue;
		answer = HOST_NO;
		for (char *p = strtok_r(value + 1, " \t\n", &save); p;
		     p = strtok_r(NULL, " \t\n", &save))
			if (!strcmp(p, word))
				answer = HOST_YES;
	}
	free(line);
	fclose(f);
	return answer;
}

static void read_vendor(struct host_cpu *cpu, const struct host_cpu_source *s)
{
	uint32_t r[4];

	s->cpuid(s->opaque, 0, 0, r);
	memcpy(cpu->vendor, &r[EBX], 4);
	memcpy(cpu->vendor + 4, &r[EDX], 4);
	memcpy(cpu->vendor + 8, &r[ECX], 4);
	for (unsigned i = 0; i < ARRAY_LEN(vendors); i++)
		if (!memcmp(cpu->vendor, vendors[i].vendor, 12))
			cpu->kind = vendors[i].kind;
	tidy(cpu->vendor);
}

static void read_model(struct host_cpu *cpu, const struct host_cpu_source *s, uint32_t last)
{
	if (last < LEAF_BRAND + 2)
		return;
	for (unsigned i = 0; i < 3; i++)
		s->cpuid(s->opaque, LEAF_BRAND + i, 0, (uint32_t *)(void *)(cpu->model + 16 * i));
	tidy(cpu->model);
}

static void read_hypervisor(struct host_cpu *cpu, const struct host_cpu_source *s)
{
	uint32_t r[4];

	s->cpuid(s->opaque, LEAF_HYPERVISOR, 0, r);
	memcpy(cpu->hypervisor, &r[EBX], 12);
	for (unsigned i = 0; i < ARRAY_LEN(hypervisors); i++)
		if (!strncmp(cpu->hypervisor, hypervisors[i].signature, 12))
			cpu->hypervisor_name = hypervisors[i].name;
	tidy(cpu->hypervisor);
}

static void read_amdv(struct host_cpu *cpu, const struct host_cpu_source *s, uint32_t last)
{
	uint32_t r[4];

	if (last >= LEAF_EXT_FEATURES) {
		s->cpuid(s->opaque, LEAF_EXT_FEATURES, 0, r);
		cpu->has_virt = r[ECX] & ECX_SVM;
	}
	if (cpu->has_virt && last >= LEAF_SVM) {
		s->cpuid(s->opaque, LEAF_SVM, 0, r);
		cpu->nested = r[EDX] & EDX_NPT ? HOST_YES : HOST_NO;
	}
}

/* Before Linux 5.11 the kernel's short list of VMX features stood among the other flags. */
static void read_vtx(struct host_cpu *cpu, const struct host_cpu_source *s)
{
	uint32_t r[4];

	s->cpuid(s->opaque, LEAF_FEATURES, 0, r);
	cpu->has_virt = r[ECX] & ECX_VMX;
	if (!cpu->has_virt)
		return;
	cpu->nested = cpuinfo_has(s->cpuinfo, "vmx flags", "ept");
	if (cpu->nested == HOST_UNKNOWN)
		cpu->nested = cpuinfo_has(s->cpuinfo, "flags", "ept");
}

void host_cpu_read(struct host_cpu *cpu, const struct host_cpu_source *source)
{
	static const struct host_cpu_source this_host = {this_cpuid, NULL, "/proc/cpuinfo"};
	const struct host_cpu_source *s = source ? source : &this_host;
	uint32_t r[4], last;

	*cpu = (struct host_cpu){.nested = HOST_NO};
	s->cpuid(s->opaque, LEAF_EXTENDED, 0, r);
	last = r[EAX] >= LEAF_EXTENDED ? r[EAX] : 0;
	read_vendor(cpu, s);
	read_model(cpu, s, last);
	s->cpuid(s->opaque, LEAF_FEATURES, 0, r);
	cpu->is_virtual = r[ECX] & ECX_HYPERVISOR;
	if (cpu->is_virtual)
		read_hypervisor(cpu, s);
	if (cpu->kind == HOST_VIRT_AMDV)
		read_amdv(cpu, s, last);
	else if (cpu->kind != HOST_VIRT_NONE)
		read_vtx(cpu, s);
	if (cpu->has_virt)
		cpu->firmware_off = cpuinfo_has(s->cpuinfo, "flags",
						cpu->kind == HOST_VIRT_AMDV ? "svm" : "vmx") ==
				    HOST_NO;
}
