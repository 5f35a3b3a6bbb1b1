/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oldkvm CAPABILITY COMMAND...: runs a command for which /dev/kvm lacks a capability, by number;
 * "version": for which it speaks API version 0. The kernel itself answers so: a seccomp filter has
 * it return 0 from these ioctls, and from no other.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
/* Unless the loaded word is k, skips what follows, up to the end, that many instructions. */
#define UNLESS(k, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, skip)

int main(int argc, char **argv)
{
	int version = argc > 2 && !strcmp(argv[1], "version");
	unsigned capability = argc > 2 ? (unsigned)atoi(argv[1]) : 0;
	struct sock_filter filter[] = {
		LOAD(nr),
		UNLESS(SYS_ioctl, 5),
		LOAD(args[1]),
		UNLESS(version ? KVM_GET_API_VERSION : KVM_CHECK_EXTENSION, 3),
		LOAD(args[2]),
		UNLESS(capability, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO), /* errno 0: it returns 0 */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};

	if (argc < 3) {
		fprintf(stderr, "usage: oldkvm CAPABILITY|version COMMAND...\n");
		return 2;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("oldkvm: seccomp");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
