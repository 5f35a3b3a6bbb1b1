/* SPDX-License-Identifier: Apache-2.0 */
#include "host_step.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE   4096
#define CODE   0x10000000ULL
#define DATA   0x20000000ULL
#define CODE64 0x33
#define CODE32 0x23
#define SEGS   0x2b
#define USER   0x202 /* RFLAGS: IF */

static _Noreturn void child(int code, int data)
{
	/* Mapped alone: the pages around stay free. */
	void *c = mmap((void *)CODE, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE,
		       code, 0);
	void *d = mmap((void *)DATA, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE,
		       data, 0);

	if (c == (void *)CODE && d == (void *)DATA && !ptrace(PTRACE_TRACEME, 0, 0, 0))
		raise(SIGSTOP);
	_exit(1);
}

static uint8_t *shared(int *fd)
{
	void *p;

	*fd = memfd_create("host_step", 0);
	if (*fd < 0 || ftruncate(*fd, PAGE))
		return NULL;
	p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

bool host_step_open(struct host_step *h)
{
	int code, data, status;

	*h = (struct host_step){.code_end = CODE + PAGE, .data_start = DATA};
	h->code = shared(&code);
	h->data = shared(&data);
	if (!h->code || !h->data)
		return false;
	h->child = fork();
	if (!h->child)
		child(code, data);
	close(code);
	close(data);
	if (h->child < 0 || waitpid(h->child, &status, 0) != h->child)
		return false;
	return WIFSTOPPED(status) && !ptrace(PTRACE_SETOPTIONS, h->child, 0, PTRACE_O_EXITKILL) &&
	       !ptrace(PTRACE_GETFPREGS, h->child, 0, &h->fpregs);
}

void host_step_close(struct host_step *h)
{
	if (h->child > 0) {
		kill(h->child, SIGKILL);
		waitpid(h->child, NULL, 0);
	}
	munmap(h->code, PAGE);
	munmap(h->data, PAGE);
}

static void set_registers(struct host_step *h, bool wide, size_t len, uint64_t reg)
{
	struct user_regs_struct r = {
		.rax = reg,
		.rbx = reg,
		.rcx = reg,
		.rdx = reg,
		.rsi = reg,
		.rdi = reg,
		.rbp = reg,
		.rsp = reg,
		.r8 = reg,
		.r9 = reg,
		.r10 = reg,
		.r11 = reg,
		.r12 = reg,
		.r13 = reg,
		.r14 = reg,
		.r15 = reg,
		.orig_rax = -1,
		.rip = h->code_end - len,
		.eflags = USER,
		.cs = wide ? CODE64 : CODE32,
		.ss = SEGS,
		.ds = SEGS,
		.es = SEGS,
		.fs_base = DATA,
		.gs_base = DATA,
	};

	ptrace(PTRACE_SETREGS, h->child, 0, &r);
	ptrace(PTRACE_SETFPREGS, h->child, 0, &h->fpregs);
}

enum host_step_result host_step(struct host_step *h, bool wide, const uint8_t *bytes, size_t len,
				uint64_t reg)
{
	struct user_regs_struct r;
	siginfo_t info;
	int status;

	memcpy(h->code + PAGE - len, bytes, len);
	set_registers(h, wide, len, reg);
	/* System calls are not carried out. */
	if (ptrace(PTRACE_SYSEMU_SINGLESTEP, h->child, 0, 0) ||
	    waitpid(h->child, &status, 0) != h->child || !WIFSTOPPED(status))
		return HOST_DONE;
	ptrace(PTRACE_GETREGS, h->child, 0, &r);
	h->rip = r.rip;
	if (WSTOPSIG(status) == SIGILL)
		return HOST_INVALID;
	if (WSTOPSIG(status) != SIGSEGV)
		return HOST_DONE;
	ptrace(PTRACE_GETSIGINFO, h->child, 0, &info);
	h->fault = (uint64_t)info.si_addr;
	if (info.si_code == SI_KERNEL)
		return HOST_GP;
	return h->fault == h->code_end && r.rip == h->code_end - len ? HOST_FETCH : HOST_PF;
}
