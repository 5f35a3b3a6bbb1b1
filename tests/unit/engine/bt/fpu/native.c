/* SPDX-License-Identifier: Apache-2.0 */
#include "native.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define CODE_SIZE 4096

static uint8_t *code; /* the instruction and RET */
static size_t code_len;
static struct native *native_trapped;

void native_call(struct native *n, const void *insn);

/* RSP is never the test's, and RDI, RSI are loaded last and stored first. */
__asm__(".text\n"
	".type native_call, @function\n"
	"native_call:\n\t"
	"endbr64\n\t"
	"push %rbx\n\tpush %rbp\n\tpush %r12\n\tpush %r13\n\tpush %r14\n\tpush %r15\n\t"
	"push %rdi\n\t"
	"push %rsi\n\t"
	"mov $7, %eax\n\txor %edx, %edx\n\t"
	"xrstor64 (%rdi)\n\t"
	"push 960(%rdi)\n\tpopfq\n\t"
	"mov 832(%rdi), %rax\n\tmov 840(%rdi), %rcx\n\tmov 848(%rdi), %rdx\n\t"
	"mov 856(%rdi), %rbx\n\tmov 872(%rdi), %rbp\n\tmov 880(%rdi), %rsi\n\t"
	"mov 896(%rdi), %r8\n\tmov 904(%rdi), %r9\n\tmov 912(%rdi), %r10\n\t"
	"mov 920(%rdi), %r11\n\tmov 928(%rdi), %r12\n\tmov 936(%rdi), %r13\n\t"
	"mov 944(%rdi), %r14\n\tmov 952(%rdi), %r15\n\tmov 888(%rdi), %rdi\n\t"
	"call *(%rsp)\n\t"
	"pushfq\n\t"
	"push %rdi\n\t"
	"mov 24(%rsp), %rdi\n\t"
	"mov %rax, 832(%rdi)\n\tmov %rcx, 840(%rdi)\n\tmov %rdx, 848(%rdi)\n\t"
	"mov %rbx, 856(%rdi)\n\tmov %rbp, 872(%rdi)\n\tmov %rsi, 880(%rdi)\n\t"
	"mov %r8, 896(%rdi)\n\tmov %r9, 904(%rdi)\n\tmov %r10, 912(%rdi)\n\t"
	"mov %r11, 920(%rdi)\n\tmov %r12, 928(%rdi)\n\tmov %r13, 936(%rdi)\n\t"
	"mov %r14, 944(%rdi)\n\tmov %r15, 952(%rdi)\n\tpop 888(%rdi)\n\tpop 960(%rdi)\n\t"
	"mov $7, %eax\n\txor %edx, %edx\n\t"
	"xsave64 (%rdi)\n\t"
	"fninit\n\tvzeroupper\n\t"
	"movl $0x1f80, -8(%rsp)\n\tldmxcsr -8(%rsp)\n\t"
	"pop %rsi\n\tpop %rdi\n\t"
	"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
	"cld\n\t"
	"ret\n");

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)sig;
	(void)info;
	assert((uint8_t *)u->uc_mcontext.gregs[REG_RIP] == code);
	native_trapped->trapped = true;
	u->uc_mcontext.gregs[REG_RIP] += (greg_t)code_len;
}

static void prepare(void)
{
	code = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert(code != MAP_FAILED);
}

void native_catch(void)
{
	struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO};

	assert(!sigaction(SIGFPE, &action, NULL));
}

void native_run(struct native *n, const uint8_t *insn, size_t len)
{
	static_assert(offsetof(struct native, gpr) == 832, "as the code above has it");
	static_assert(offsetof(struct native, rflags) == 960, "as the code above has it");
	if (!code)
		prepare();
	memcpy(code, insn, len);
	code[len] = 0xc3; /* ret */
	code_len = len;
	native_trapped = n;
	n->trapped = false;
	memset(n->xsave + 512, 0, 64);
	n->xsave[512] = 7;
	native_call(n, code);
}

bool native_possible(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
