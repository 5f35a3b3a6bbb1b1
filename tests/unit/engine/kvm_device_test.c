/* SPDX-License-Identifier: Apache-2.0 */
/* Between guest and devices: doorbells, memory slots, the log of written pages, MSRs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "engine/kvm/kvm.h"
#include "kvm_guest.h"

static uint64_t rings(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

GUEST_ASM(bells, 64,
	  "mov $0xc0000050, %ebx\n"
	  "mov $3, %eax\n"
	  "movl %eax, (%rbx)\n"  /* rings m3 */
	  "movl %eax, (%rbx)\n"  /* rings m3 */
	  "movl $4, (%rbx)\n"    /* another value: the device */
	  "movw %ax, (%rbx)\n"   /* another size: the device */
	  "movw %ax, 8(%rbx)\n"  /* rings any */
	  "movl %eax, 8(%rbx)\n" /* rings any */
	  "outw %ax, $0x60\n"    /* rings p */
	  "outb %al, $0x60\n"    /* another size: the device */
	  "outb %al, $0xf4\n");

static void doorbells_ring_in_the_devices_place(void **state)
{
	struct engine_doorbell m3, any, p;
	struct err e = ERR_INIT;
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	m3 = (struct engine_doorbell){.bus = &g.mmio,
				      .addr = 0xc0000050,
				      .size = 4,
				      .matching = true,
				      .match = 3,
				      .eventfd = eventfd(0, EFD_NONBLOCK)};
	any = (struct engine_doorbell){
		.bus = &g.mmio, .addr = 0xc0000058, .eventfd = eventfd(0, EFD_NONBLOCK)};
	p = (struct engine_doorbell){
		.bus = &g.pio, .addr = 0x60, .size = 2, .eventfd = eventfd(0, EFD_NONBLOCK)};
	assert_int_equal(kvm_engine.doorbell_add(g.vm, &m3, &e), 0);
	assert_int_equal(kvm_engine.doorbell_add(g.vm, &any, &e), 0);
	assert_int_equal(kvm_engine.doorbell_add(g.vm, &p, &e), 0);
	assert_int_equal(kvm_engine.doorbell_add(g.vm, &p, &e), -EEXIST);
	guest_load64(&g, bells, bells_end);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(rings(m3.eventfd), 2);
	assert_int_equal(rings(any.eventfd), 2);
	assert_int_equal(rings(p.eventfd), 1);
	assert_int_equal(g.accesses, 4);
	guest_expect(&g, 0, (struct guest_access){true, true, 0xc0000050, 4, 4});
	guest_expect(&g, 1, (struct guest_access){true, true, 0xc0000050, 2, 3});
	guest_expect(&g, 2, (struct guest_access){true, false, 0x60, 1, 3});

	assert_int_equal(kvm_engine.doorbell_remove(g.vm, &m3, &e), 0);
	assert_int_equal(kvm_engine.doorbell_remove(g.vm, &any, &e), 0);
	assert_int_equal(kvm_engine.doorbell_remove(g.vm, &p, &e), 0);
	assert_int_equal(kvm_engine.doorbell_remove(g.vm, &p, &e), -ENOENT);
	guest_load64(&g, bells, bells_end);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(rings(m3.eventfd) + rings(any.eventfd) + rings(p.eventfd), 0);
	assert_int_equal(g.accesses, 4 + 9);
	close(m3.eventfd);
	close(any.eventfd);
	close(p.eventfd);
	guest_release(&g);
}

GUEST_ASM(writer, 64,
	  "movb $1, 0x100000\n"
	  "movb $1, 0x110fff\n"
	  "movb $1, 0x1ff000\n"
	  "outb %al, $0xf4\n"
	  "movb $2, 0x110000\n"
	  "outb %al, $0xf4\n"
	  "movb $3, 0x120000\n"
	  "outb %al, $0xf4\n");

#define PAGE_BIT(bitmap, gpa) (((bitmap)[(gpa) >> 18] >> (((gpa) >> 12) & 63)) & 1)

static void written_pages_are_logged_once(void **state)
{
	uint64_t bitmap[GUEST_RAM >> 18] = {0}, again[GUEST_RAM >> 18] = {0};
	struct mem_region *region;
	struct err e = ERR_INIT;
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	region = &g.mem.regions[0];
	assert_int_not_equal(kvm_engine.dirty_take(g.vm, region, bitmap, &e), 0);
	err_clear(&e);
	assert_int_equal(kvm_engine.dirty_start(g.vm, &e), 0);
	guest_load64(&g, writer, writer_end);
	guest_run(&g, 0, ENGINE_KICKED);
	bitmap[2] = 1; /* is added to, not replaced */
	assert_int_equal(kvm_engine.dirty_take(g.vm, region, bitmap, &e), 0);
	assert_true(PAGE_BIT(bitmap, 0x100000) && PAGE_BIT(bitmap, 0x110000) &&
		    PAGE_BIT(bitmap, 0x1ff000) && PAGE_BIT(bitmap, 0x80000));
	assert_false(PAGE_BIT(bitmap, 0x101000) || PAGE_BIT(bitmap, 0x120000));
	assert_int_equal(kvm_engine.dirty_take(g.vm, region, again, &e), 0);
	assert_false(PAGE_BIT(again, 0x100000) || PAGE_BIT(again, 0x110000));
	/* A page that is written again is reported again. */
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(kvm_engine.dirty_take(g.vm, region, again, &e), 0);
	assert_true(PAGE_BIT(again, 0x110000));
	assert_false(PAGE_BIT(again, 0x100000));
	assert_int_equal(kvm_engine.dirty_stop(g.vm, &e), 0);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_not_equal(kvm_engine.dirty_take(g.vm, region, again, &e), 0);
	guest_release(&g);
}

GUEST_ASM(high_ram, 64,
	  "mov $0xc0200000, %ebx\n"
	  "movl $0x1234, (%rbx)\n"
	  "mov (%rbx), %ecx\n"
	  "outb %al, $0xf4\n"
	  "mov (%rbx), %edx\n"
	  "outb %al, $0xf4\n");

static void memory_can_be_taken_away(void **state)
{
	struct err e = ERR_INIT;
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	assert_int_equal(mem_add_ram(&g.mem, 0xc0200000, 0x1000, &e), 0);
	assert_int_equal(kvm_engine.map(g.vm, &g.mem.regions[1], &e), 0);
	guest_load64(&g, high_ram, high_ram_end);
	guest_run(&g, 0, ENGINE_KICKED);
	guest_get(&g, 0, &s);
	assert_int_equal(s.gpr[GPR_RCX], 0x1234);
	assert_int_equal(g.accesses, 1);
	assert_int_equal(load_le(mem_ptr(&g.mem, 0xc0200000, 4), 4), 0x1234);
	assert_int_equal(kvm_engine.unmap(g.vm, &g.mem.regions[1], &e), 0);
	guest_run(&g, 0, ENGINE_KICKED);
	guest_expect(&g, 1, (struct guest_access){false, true, 0xc0200000, 4, 0});
	guest_release(&g);
}

static void overlapping_memory_is_refused(void **state)
{
	struct mem_region twice;
	struct err e = ERR_INIT;
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	twice = g.mem.regions[0];
	twice.slot = 1;
	assert_int_equal(kvm_engine.map(g.vm, &twice, &e), -EEXIST);
	assert_true(e.text[0]);
	guest_release(&g);
}

/* Reads the MSR in ECX; #GP goes to a handler that tells port 0x13 and skips the instruction, which
 * is 2 bytes long. Real mode. */
GUEST_ASM(msrs, 16,
	  "	movl $0xce, %ecx\n" /* PLATFORM_INFO: not the guest's business */
	  "	rdmsr\n"
	  "	movl $0x40000000, %ecx\n" /* Hyper-V's first */
	  "	rdmsr\n"
	  "	movl $0xc0010015, %ecx\n" /* HWCR: answered */
	  "	rdmsr\n"
	  "	movl %eax, %esi\n"
	  "	wrmsr\n"
	  "	movl $0x277, %ecx\n" /* PAT: KVM's */
	  "	rdmsr\n"
	  "	movl %eax, %edi\n"
	  "	movl $0xfe, %ecx\n" /* MTRRCAP is read-only */
	  "	wrmsr\n"
	  "	outb %al, $0xf4\n"
	  ".globl msrs_gp\n"
	  "msrs_gp: outb %al, $0x13\n"
	  "	movw %sp, %bp\n"
	  "	addw $2, (%bp)\n"
	  "	iretw\n");
extern const char msrs_gp[];

static void foreign_msrs_fault_and_are_counted(void **state)
{
	struct guest g;
	struct vcpu_state s;

	(void)state;
	guest_init(&g, 1);
	guest_load16(&g, msrs, msrs_end);
	guest_vector(&g, VECTOR_GP, msrs, msrs_gp);
	guest_run(&g, 0, ENGINE_KICKED);
	assert_int_equal(g.accesses, 3 + 1);
	assert_int_equal(guest_stat(&g, "msr-denied"), 3);
	assert_int_equal(guest_stat(&g, "msr-emulated"), 2);
	guest_get(&g, 0, &s);
	assert_true(s.gpr[GPR_RSI] & BIT(24)); /* TscFreqSel */
	assert_int_equal(s.gpr[GPR_RDI], 0x00070406);
	guest_release(&g);
}

static void the_supported_cpuid_has_what_kvm_leaves_out(void **state)
{
	const struct cpuid_entry *one, *kvm;
	struct guest g;

	(void)state;
	guest_init(&g, 1);
	one = cpuid_find(&g.cpuid, 1, 0);
	kvm = cpuid_find(&g.cpuid, 0x40000000, 0);
	assert_non_null(one);
	assert_true(one->ecx & BIT(21));
	assert_true(one->ecx & BIT(24));
	assert_false(one->ecx & BIT(5));
	assert_non_null(kvm);
	assert_memory_equal(&kvm->ebx, "KVMK", 4);
	assert_int_equal(kvm->eax, 0x40000001);
	guest_release(&g);
}

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* Creation with ever more descriptors allowed: each failing step must close what it opened. */
static void no_descriptor_is_lost_when_creation_fails(void **state)
{
	struct engine_env env = {0};
	struct rlimit old, now;
	unsigned before, failures = 0;

	(void)state;
	before = open_fds();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	for (unsigned spare = 0; spare < 4; spare++) {
		struct engine_vcpu_config config = {0};
		struct engine_vcpu *v = NULL;
		struct engine_vm *vm = NULL;
		struct cpuid_table cpuid = {.count = 0};
		struct err e = ERR_INIT;
		int rc, lowest = dup(0);

		assert_true(lowest > 0);
		close(lowest);
		now = old;
		now.rlim_cur = (rlim_t)lowest + spare;
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
		rc = kvm_engine.vm_create(&vm, &env, &e);
		config.cpuid = &cpuid;
		if (!rc)
			rc = kvm_engine.vcpu_create(vm, &config, &v, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
		if (rc) {
			assert_int_equal(rc, -EMFILE);
			assert_true(e.text[0]);
			failures++;
		}
		kvm_engine.vcpu_destroy(v);
		kvm_engine.vm_destroy(vm);
		assert_int_equal(open_fds(), before);
	}
	assert_int_equal(failures, 3);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doorbells_ring_in_the_devices_place),
		cmocka_unit_test(written_pages_are_logged_once),
		cmocka_unit_test(memory_can_be_taken_away),
		cmocka_unit_test(overlapping_memory_is_refused),
		cmocka_unit_test(foreign_msrs_fault_and_are_counted),
		cmocka_unit_test(the_supported_cpuid_has_what_kvm_leaves_out),
		cmocka_unit_test(no_descriptor_is_lost_when_creation_fails),
	};

	guest_require_kvm(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
