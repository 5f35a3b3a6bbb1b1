/* SPDX-License-Identifier: Apache-2.0 */
/* What processors of every maker say by CPUID and /proc/cpuinfo, and what is read out of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"
#include "host/cpuinfo.h"

/* A processor by its registers: what is not listed reads as zero, as beyond the last leaf. */
struct fake {
	const char *vendor;
	const char *hypervisor;
	uint32_t features_ecx; /* leaf 1 */
	uint32_t ext_ecx;      /* leaf 0x80000001 */
	uint32_t svm_edx;      /* leaf 0x8000000a */
	uint32_t last_ext;
};

static void signature(uint32_t *a, uint32_t *b, uint32_t *c, const char *text)
{
	memcpy(a, text, 4);
	memcpy(b, text + 4, 4);
	memcpy(c, text + 8, 4);
}

static void fake_cpuid(void *opaque, uint32_t leaf, uint32_t subleaf, uint32_t regs[4])
{
	const struct fake *f = opaque;

	(void)subleaf;
	memset(regs, 0, 16);
	switch (leaf) {
	case 0:
		signature(&regs[1], &regs[3], &regs[2], f->vendor);
		break;
	case 1:
		regs[2] = f->features_ecx;
		break;
	case 0x40000000:
		if (f->hypervisor)
			signature(&regs[1], &regs[2], &regs[3], f->hypervisor);
		break;
	case 0x80000000:
		regs[0] = f->last_ext;
		break;
	case 0x80000001:
		regs[2] = f->ext_ecx;
		break;
	case 0x80000002:
		memcpy(regs, "  Some CPU\x01 at 2 ", 16);
		break;
	case 0x8000000a:
		regs[3] = f->svm_edx;
		break;
	}
}

static void read_cpu(struct host_cpu *cpu, const struct fake *fake, const char *cpuinfo)
{
	char path[] = "/tmp/cpuinfo_test.XXXXXX";
	struct host_cpu_source source = {fake_cpuid, (void *)(uintptr_t)fake, path};
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, cpuinfo, strlen(cpuinfo)), strlen(cpuinfo));
	close(fd);
	if (!cpuinfo[0])
		unlink(path);
	host_cpu_read(cpu, &source);
	unlink(path);
}

static void intel_has_vtx_and_ept(void **state)
{
	const struct fake f = {.vendor = "GenuineIntel", .features_ecx = BIT(5)};
	struct host_cpu cpu;

	(void)state;
	read_cpu(&cpu, &f, "processor\t: 0\nflags\t\t: fpu vmx sse\nvmx flags\t: vnmi ept vpid\n");
	assert_string_equal(cpu.vendor, "GenuineIntel");
	assert_string_equal(host_virt_name(cpu.kind), "VT-x");
	assert_true(cpu.has_virt);
	assert_false(cpu.firmware_off);
	assert_int_equal(cpu.nested, HOST_YES);
	assert_false(cpu.is_virtual);
	assert_string_equal(cpu.hypervisor, "");

	/* A name that only begins like it, and a list without it. */
	read_cpu(&cpu, &f, "flags\t\t: vmx\nvmx flags\t: ept_ad eptx\n");
	assert_int_equal(cpu.nested, HOST_NO);

	/* An older kernel keeps it among the other flags. */
	read_cpu(&cpu, &f, "flags\t\t: vmx ept\n");
	assert_int_equal(cpu.nested, HOST_YES);

	/* Nothing to read: nothing is claimed. */
	read_cpu(&cpu, &f, "");
	assert_int_equal(cpu.nested, HOST_UNKNOWN);
	assert_false(cpu.firmware_off);
}

static void flag_taken_away_by_the_kernel_means_firmware(void **state)
{
	const struct fake intel = {.vendor = "GenuineIntel", .features_ecx = BIT(5)};
	const struct fake amd = {
		.vendor = "AuthenticAMD", .ext_ecx = BIT(2), .last_ext = 0x8000001f};
	struct host_cpu cpu;

	(void)state;
	read_cpu(&cpu, &intel, "flags\t\t: fpu sse\n");
	assert_true(cpu.has_virt);
	assert_true(cpu.firmware_off);
	read_cpu(&cpu, &amd, "flags\t\t: fpu vmx\n");
	assert_true(cpu.firmware_off);
	read_cpu(&cpu, &amd, "flags\t\t: fpu svm\n");
	assert_false(cpu.firmware_off);
}

static void amd_has_amdv_and_npt(void **state)
{
	struct fake f = {.vendor = "AuthenticAMD",
			 .ext_ecx = BIT(2),
			 .svm_edx = BIT(0),
			 .last_ext = 0x8000001f,
			 .features_ecx = BIT(5)};
	struct host_cpu cpu;

	(void)state;
	read_cpu(&cpu, &f, "flags\t\t: svm\n");
	assert_string_equal(host_virt_name(cpu.kind), "AMD-V");
	assert_true(cpu.has_virt);
	assert_int_equal(cpu.nested, HOST_YES);
	assert_string_equal(cpu.model, "Some CPU? at 2");

	f.svm_edx = ~1u;
	read_cpu(&cpu, &f, "flags\t\t: svm\n");
	assert_int_equal(cpu.nested, HOST_NO);

	/* VMX's bit is not SVM's. */
	f.ext_ecx = 0;
	f.svm_edx = 1;
	read_cpu(&cpu, &f, "flags\t\t: svm\n");
	assert_false(cpu.has_virt);
	assert_int_equal(cpu.nested, HOST_NO);

	/* Leaves beyond the last are not read. */
	f.ext_ecx = BIT(2);
	f.last_ext = 0x80000001;
	read_cpu(&cpu, &f, "flags\t\t: svm\n");
	assert_true(cpu.has_virt);
	assert_int_equal(cpu.nested, HOST_NO);
	assert_string_equal(cpu.model, "");
}

static void makers_by_their_names(void **state)
{
	static const struct {
		const char *vendor;
		const char *shown;
		enum host_virt kind;
	} all[] = {
		{"HygonGenuine", "HygonGenuine", HOST_VIRT_AMDV},
		{"CentaurHauls", "CentaurHauls", HOST_VIRT_VIA},
		{"  Shanghai  ", "Shanghai", HOST_VIRT_VIA},
		{"GenuineTMx86", "GenuineTMx86", HOST_VIRT_NONE},
	};
	struct host_cpu cpu;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
		const struct fake f = {.vendor = all[i].vendor,
				       .features_ecx = BIT(5),
				       .ext_ecx = BIT(2),
				       .last_ext = 0x8000000a};

		read_cpu(&cpu, &f, "flags\t\t: vmx svm\nvmx flags\t: ept\n");
		assert_string_equal(cpu.vendor, all[i].shown);
		assert_int_equal(cpu.kind, all[i].kind);
		assert_int_equal(cpu.has_virt, all[i].kind != HOST_VIRT_NONE);
	}
	assert_string_equal(host_virt_name(HOST_VIRT_VIA), "VIA VT");
	assert_null(host_virt_name(HOST_VIRT_NONE));
}

static void hypervisors_by_their_signatures(void **state)
{
	struct fake f = {
		.vendor = "GenuineIntel", .features_ecx = BIT(31), .hypervisor = "KVMKVMKVM\0\0\0"};
	struct host_cpu cpu;

	(void)state;
	read_cpu(&cpu, &f, "flags\t\t: fpu\n");
	assert_true(cpu.is_virtual);
	assert_string_equal(cpu.hypervisor, "KVMKVMKVM");
	assert_string_equal(cpu.hypervisor_name, "KVM");
	assert_int_equal(cpu.nested, HOST_NO);

	f.hypervisor = "Microsoft Hv";
	read_cpu(&cpu, &f, "flags\t\t: fpu\n");
	assert_string_equal(cpu.hypervisor_name, "Hyper-V");

	f.hypervisor = "Nobody\tKnows";
	read_cpu(&cpu, &f, "flags\t\t: fpu\n");
	assert_string_equal(cpu.hypervisor, "Nobody?Knows");
	assert_null(cpu.hypervisor_name);

	/* Without the hypervisor bit the leaf means nothing. */
	f.features_ecx = 0;
	read_cpu(&cpu, &f, "flags\t\t: fpu\n");
	assert_string_equal(cpu.hypervisor, "");
}

static void this_host_can_be_read(void **state)
{
	struct host_cpu cpu;

	(void)state;
	host_cpu_read(&cpu, NULL);
	assert_true(strlen(cpu.vendor) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(intel_has_vtx_and_ept),
		cmocka_unit_test(flag_taken_away_by_the_kernel_means_firmware),
		cmocka_unit_test(amd_has_amdv_and_npt),
		cmocka_unit_test(makers_by_their_names),
		cmocka_unit_test(hypervisors_by_their_signatures),
		cmocka_unit_test(this_host_can_be_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
