/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows that /dev/kvm works: makes a VM, runs seven real-mode instructions in it and checks what
 * they did.  Prints "kvmprobe: ok" and ends with 0, or says what failed and ends with 1.
 *
 * The guest adds two numbers, writes the sum to a port, stores it in memory and halts.  With a
 * count as argument it first reads the port that many times, each of which is an exit to here.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PORT     0xe9
#define MEMORY   0x10000
#define ENTRY    0x1000
#define SUM_HERE 0x2000

/* clang-format off */
static const uint8_t code[] = {
	0x66, 0x85, 0xc9,	/*	test ecx, ecx */
	0x74, 0x06,		/*	jz 1f */
	0xe4, PORT,		/* 0:	in al, PORT */
	0x66, 0x49,		/*	dec ecx */
	0x75, 0xfa,		/*	jnz 0b */
	0x88, 0xd8,		/* 1:	mov al, bl */
	0x00, 0xd0,		/*	add al, dl */
	0xe6, PORT,		/*	out PORT, al */
	0xa2, 0x00, 0x20,	/*	mov [0x2000], al */
	0xf4,			/*	hlt */
};
/* clang-format on */

static int fail(const char *what)
{
	fflush(stdout);
	perror(what);
	return 1;
}

/* Runs the VM to its halt; returns the number of port reads, or -1. */
static long run(int vcpu, struct kvm_run *run, uint8_t *sum)
{
	long reads = 0;

	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) < 0) {
			fail("KVM_RUN");
			return -1;
		}
		if (run->exit_reason == KVM_EXIT_HLT)
			return reads;
		if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT || run->io.size != 1) {
			fprintf(stderr, "kvmprobe: exit reason %u\n", run->exit_reason);
			return -1;
		}
		if (run->io.direction == KVM_EXIT_IO_IN)
			reads++;
		else
			*sum = *((uint8_t *)run + run->io.data_offset);
	}
}

static int start(int vm, int vcpu, uint8_t *memory, uint32_t reads)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = MEMORY,
		.userspace_addr = (uintptr_t)memory,
	};
	struct kvm_regs regs = {.rip = ENTRY, .rflags = 2, .rbx = 40, .rdx = 2, .rcx = reads};
	struct kvm_sregs sregs;

	memcpy(memory + ENTRY, code, sizeof(code));
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return fail("KVM_SET_USER_MEMORY_REGION");
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return fail("KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return fail("KVM_SET_REGS");
	return 0;
}

int main(int argc, char **argv)
{
	uint32_t wanted = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 0;
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm, vcpu, size;
	struct kvm_run *shared;
	uint8_t *memory, sum = 0;
	long reads;

	if (kvm < 0)
		return fail("/dev/kvm");
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	vcpu = vm < 0 ? -1 : ioctl(vm, KVM_CREATE_VCPU, 0);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vcpu < 0 || size < 0)
		return fail("creating a VM");
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (memory == MAP_FAILED || shared == MAP_FAILED)
		return fail("mmap");
	if (start(vm, vcpu, memory, wanted))
		return 1;
	reads = run(vcpu, shared, &sum);
	if (reads != (long)wanted || sum != 42 || memory[SUM_HERE] != 42) {
		fprintf(stderr, "kvmprobe: %ld reads, sum %u, in memory %u\n", reads, sum,
			memory[SUM_HERE]);
		return 1;
	}
	printf("kvmprobe: ok\n");
	return 0;
}
