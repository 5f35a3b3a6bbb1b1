/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's /dev/kvm: opens it and checks that this kernel's KVM has what lodge
 * needs. Whatever is missing is told in words that say what to do about it.
 *
 * Capabilities and the kernels that brought them: Linux
 * Documentation/virt/kvm/api.rst and the history of include/uapi/linux/kvm.h.
 */
#include "engine/kvm/kvm_int.h"

#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct cap {
	int number;
	const char *name;
	const char *since; /* Linux version */
};

static const struct cap required[] = {
	{KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY", "2.6.25"},
	{KVM_CAP_MP_STATE, "KVM_CAP_MP_STATE", "2.6.26"},
	{KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING", "2.6.30"},
	{KVM_CAP_IRQFD, "KVM_CAP_IRQFD", "2.6.32"},
	{KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD", "2.6.32"},
	{KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK", "2.6.33"},
	{KVM_CAP_VCPU_EVENTS, "KVM_CAP_VCPU_EVENTS", "2.6.33"},
	{KVM_CAP_DEBUGREGS, "KVM_CAP_DEBUGREGS", "2.6.35"},
	{KVM_CAP_XSAVE, "KVM_CAP_XSAVE", "2.6.36"},
	{KVM_CAP_XCRS, "KVM_CAP_XCRS", "2.6.36"},
	{KVM_CAP_GET_TSC_KHZ, "KVM_CAP_GET_TSC_KHZ", "3.0"},
	{KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI", "3.5"},
	{KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP", "4.4"},
	{KVM_CAP_X2APIC_API, "KVM_CAP_X2APIC_API", "4.8"},
	{KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT", "4.11"},
};

static const struct {
	int number;
	const char *name;
	uint64_t has;
} optional[] = {
	{KVM_CAP_SREGS2, "KVM_CAP_SREGS2", KVM_HAS_SREGS2},
	{KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2",
	 KVM_HAS_MANUAL_DIRTY},
	{KVM_CAP_TSC_CONTROL, "KVM_CAP_TSC_CONTROL", KVM_HAS_TSC_CONTROL},
	{KVM_CAP_EXCEPTION_PAYLOAD, "KVM_CAP_EXCEPTION_PAYLOAD", KVM_HAS_PAYLOAD},
	{KVM_CAP_X86_TRIPLE_FAULT_EVENT, "KVM_CAP_X86_TRIPLE_FAULT_EVENT", KVM_HAS_TRIPLE_FAULT},
	{KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR", KVM_HAS_MSR_EXITS},
	{KVM_CAP_X86_MSR_FILTER, "KVM_CAP_X86_MSR_FILTER", KVM_HAS_MSR_FILTER},
	{KVM_CAP_ENFORCE_PV_FEATURE_CPUID, "KVM_CAP_ENFORCE_PV_FEATURE_CPUID",
	 KVM_HAS_PV_ENFORCEMENT},
	{KVM_CAP_TSC_DEADLINE_TIMER, "KVM_CAP_TSC_DEADLINE_TIMER", KVM_HAS_TSC_DEADLINE},
	{KVM_CAP_IOEVENTFD_ANY_LENGTH, "KVM_CAP_IOEVENTFD_ANY_LENGTH", KVM_HAS_DOORBELL_NOSIZE},
	{KVM_CAP_PMU_CAPABILITY, "KVM_CAP_PMU_CAPABILITY", KVM_HAS_PMU_SWITCH},
};

int kvm_refused(struct err *e, const char *what)
{
	return err_errno(e, errno, "KVM refuses %s", what);
}

/* Whether the CPU says that it has VT-x or AMD-V, and whether it is itself a virtual one. CPUID
 * leaf 1 ECX bits 5 and 31, leaf 0x80000001 ECX bit 2. */
static bool cpu_has_virtualization(bool *is_virtual)
{
	unsigned a, b, c, d;
	bool vmx = false, svm = false;

	*is_virtual = false;
	if (__get_cpuid(1, &a, &b, &c, &d)) {
		vmx = c & BIT(5);
		*is_virtual = c & BIT(31);
	}
	if (__get_cpuid(0x80000001, &a, &b, &c, &d))
		svm = c & BIT(2);
	return vmx || svm;
}

static int device_missing(const char *path, int code, struct err *e)
{
	bool is_virtual;

	if (cpu_has_virtualization(&is_virtual))
		return err_set(e, code,
			       "cannot use %s: the CPU has hardware virtualization but the KVM "
			       "module is not loaded: try \"modprobe kvm_intel\" or \"modprobe "
			       "kvm_amd\"; if that fails, switch on VT-x or SVM in the firmware "
			       "setup",
			       path);
	if (is_virtual)
		return err_set(e, code,
			       "cannot use %s: this machine is itself virtual and is given no "
			       "hardware virtualization: switch on nested virtualization for it on "
			       "its host, or choose a cloud machine type that offers it",
			       path);
	return err_set(e, code,
		       "cannot use %s: the CPU shows no VT-x or AMD-V: switch on virtualization "
		       "(VT-x, SVM) in the firmware setup, if the CPU has it",
		       path);
}

static int device_open(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	switch (errno) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return device_missing(path, errno, e);
	case EACCES:
	case EPERM:
		return err_set(e, errno,
			       "cannot open %s: permission denied: add yourself to the group that "
			       "owns it (usually \"kvm\") and log in again",
			       path);
	default:
		return err_errno(e, errno, "cannot open %s", path);
	}
}

static int check_version(int fd, const char *path, struct err *e)
{
	int version = ioctl(fd, KVM_GET_API_VERSION, 0);

	if (version < 0)
		return err_set(e, errno == ENOTTY ? ENODEV : errno,
			       "cannot use %s: it is not a KVM device", path);
	if (version != KVM_API_VERSION)
		return err_set(e, ENOTSUP,
			       "cannot use %s: it speaks KVM API version %d, lodge needs %d", path,
			       version, KVM_API_VERSION);
	return 0;
}

static int check_required(int fd, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_LEN(required); i++) {
		if (ioctl(fd, KVM_CHECK_EXTENSION, required[i].number) > 0)
			continue;
		return err_set(e, ENOTSUP,
			       "KVM is too old or incomplete: it lacks %s: Linux %s or newer is "
			       "needed",
			       required[i].name, required[i].since);
	}
	return 0;
}

int kvm_host_version(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int version = 0;

	if (fd >= 0) {
		version = ioctl(fd, KVM_GET_API_VERSION, 0);
		close(fd);
	}
	return MAX(version, 0);
}

int kvm_host_open(const char *path, uint64_t *has, struct err *e)
{
	int fd = device_open(path, e);
	int rc;

	if (fd < 0)
		return fd;
	rc = check_version(fd, path, e);
	if (!rc)
		rc = check_required(fd, e);
	if (rc) {
		close(fd);
		return rc;
	}
	*has = 0;
	for (unsigned i = 0; i < ARRAY_LEN(optional); i++)
		if (ioctl(fd, KVM_CHECK_EXTENSION, optional[i].number) > 0)
			*has |= optional[i].has;
	return fd;
}

static void feature_put(struct engine_feature *features, size_t at, size_t max,
			struct engine_feature feature)
{
	if (at < max)
		features[at] = feature;
}

size_t kvm_features(struct engine_feature *features, size_t max)
{
	int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);
	size_t n = 0;

	if (fd < 0)
		return 0;
	for (unsigned i = 0; i < ARRAY_LEN(required); i++)
		feature_put(features, n++, max,
			    (struct engine_feature){
				    required[i].name, true,
				    ioctl(fd, KVM_CHECK_EXTENSION, required[i].number) > 0});
	for (unsigned i = 0; i < ARRAY_LEN(optional); i++)
		feature_put(features, n++, max,
			    (struct engine_feature){
				    optional[i].name, false,
				    ioctl(fd, KVM_CHECK_EXTENSION, optional[i].number) > 0});
	close(fd);
	return n;
}
