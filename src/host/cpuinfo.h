/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this processor offers for running virtual machines, and whether it is
 * itself a virtual one.
 *
 * CPUID tells most: Intel SDM vol. 2A "CPUID", AMD APM vol. 3 appendix E. Whether
 * a VT-x processor has extended page tables stands in MSRs that only the kernel
 * reads; it prints them as "vmx flags" in /proc/cpuinfo. The kernel also takes a
 * flag out of /proc/cpuinfo that the firmware has switched off.
 */
#ifndef LODGE_HOST_CPUINFO_H
#define LODGE_HOST_CPUINFO_H

#include <stdbool.h>
#include <stdint.h>

enum host_virt {
	HOST_VIRT_NONE, /* a vendor that lodge knows of no virtualization by */
	HOST_VIRT_VTX,  /* Intel VT-x */
	HOST_VIRT_AMDV, /* AMD-V, also Hygon's */
	HOST_VIRT_VIA,  /* VIA VT (VIA, Zhaoxin): VT-x by another name */
};

/* An answer that the host may be unable to give. */
enum host_answer {
	HOST_NO,
	HOST_YES,
	HOST_UNKNOWN,
};

struct host_cpu {
	char vendor[13];             /* as CPUID leaf 0 spells it */
	char model[49];              /* brand string, "" if there is none */
	enum host_virt kind;         /* what a CPU of this vendor has, if it has it */
	bool has_virt;               /* CPUID shows the flag, VMX or SVM */
	bool firmware_off;           /* it does, but the kernel found it switched off */
	enum host_answer nested;     /* nested paging (EPT or NPT) */
	bool is_virtual;             /* this machine is a virtual one */
	char hypervisor[13];         /* its signature, CPUID leaf 0x40000000; "" if it has none */
	const char *hypervisor_name; /* the product of that signature, or NULL */
};

/* Where the facts come from; a test gives its own. */
struct host_cpu_source {
	void (*cpuid)(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
	void *opaque;
	const char *cpuinfo; /* path of /proc/cpuinfo */
};

/* Reads them of this host (source NULL), or of source. Any thread. */
void host_cpu_read(struct host_cpu *cpu, const struct host_cpu_source *source);

/* "VT-x", "AMD-V", "VIA VT"; NULL for HOST_VIRT_NONE. */
const char *host_virt_name(enum host_virt kind);

#endif
