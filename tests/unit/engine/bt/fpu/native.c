/* SPDX-License-Identifier: Apache-2.0 */
#include "native.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/bits.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"
#include "engine/bt/fpu/fpu.h"

#define CODE_SIZE 4096
#define FLAGS     0x8d5u

#define STACK_SIZE 65536
#define LOW_STACK  (NATIVE_DATA + 0x100000UL)
#define CS_32      0x23 /* Linux's user segments */
#define CS_64      0x33
#define DS_32      0x2b

static bool mapped;
static size_t code_len;
static struct native *running;
static uint64_t seed = 1;

void native_call(struct native *n, const void *code);

/* RSP is never the test's, and RDI is loaded last and stored first. */
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
	"push $0x202\n\tpopfq\n\t"
	"mov $7, %eax\n\txor %edx, %edx\n\t"
	"xsave64 (%rdi)\n\t"
	"fninit\n\tvzeroupper\n\t"
	"movl $0x1f80, -8(%rsp)\n\tldmxcsr -8(%rsp)\n\t"
	"pop %rsi\n\tpop %rdi\n\t"
	"pop %r15\n\tpop %r14\n\tpop %r13\n\tpop %r12\n\tpop %rbp\n\tpop %rbx\n\t"
	"ret\n");

/* The 32-bit code's way back, below 4 GiB: jumps here through a pointer in the code page. */
void native_back(void);

/* Called like an instruction of the above: RSP moves to where 32-bit code has a stack. */
struct far_pointer {
	uint32_t offset;
	uint16_t selector;
} __attribute__((packed));

static struct native_32 { /* aligned: the code may check that */
	uint64_t rsp;
	struct far_pointer entry;
} native_32 __attribute__((used));

void native_into_32(void);

__asm__(".text\n"
	".type native_into_32, @function\n"
	"native_into_32:\n\t"
	"mov %rsp, native_32(%rip)\n\t"
	"mov $0x20110000, %esp\n\t"
	"ljmp *8+native_32(%rip)\n"
	".type native_back, @function\n"
	"native_back:\n\t"
	"mov native_32(%rip), %rsp\n\t"
	"ret\n");

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	greg_t *regs = u->uc_mcontext.gregs;

	(void)info;
	/* The kernel leaves RFLAGS.AC as it was. */
	__asm__ volatile("pushfq\n\tandq $~0x40000, (%%rsp)\n\tpopfq" : : : "memory", "cc");
	if ((uint64_t)regs[REG_RIP] < NATIVE_CODE ||
	    (uint64_t)regs[REG_RIP] >= NATIVE_CODE + code_len) {
		signal(sig, SIG_DFL); /* the test's own mistake */
		return;
	}
	running->vector = (int)regs[REG_TRAPNO];
	running->rip = (uint64_t)regs[REG_RIP];
	regs[REG_RIP] = (greg_t)(NATIVE_CODE + code_len);
}

static void map(uint64_t address, size_t size, int prot)
{
	void *p = mmap((void *)address, size, prot,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	assert(p == (void *)address);
}

static void map_all(void)
{
	if (mapped)
		return;
	mapped = true;
	map(NATIVE_CODE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	map(NATIVE_DATA, NATIVE_DATA_SIZE, PROT_READ | PROT_WRITE);
	map(NATIVE_DATA + NATIVE_DATA_SIZE, CODE_SIZE, PROT_NONE);
	map(LOW_STACK, STACK_SIZE, PROT_READ | PROT_WRITE);
}

void native_catch(void)
{
	static const int signals[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL};
	struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO};

	for (size_t i = 0; i < ARRAY_LEN(signals); i++)
		assert(!sigaction(signals[i], &action, NULL));
}

static void run(struct native *n, const uint8_t *code, size_t len, const void *entry)
{
	static_assert(offsetof(struct native, gpr) == 832, "as the code above has it");
	static_assert(offsetof(struct native, rflags) == 960, "as the code above has it");
	memcpy((uint8_t *)NATIVE_CODE, code, len);
	code_len = len;
	running = n;
	n->vector = -1;
	n->rip = NATIVE_CODE + len;
	memset(n->xsave + XSAVE_LEGACY_SIZE, 0, XSAVE_HEADER_SIZE);
	n->xsave[XSAVE_XSTATE_BV] = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	native_call(n, entry);
}

void native_run(struct native *n, const uint8_t *code, size_t len)
{
	map_all();
	((uint8_t *)NATIVE_CODE)[len] = 0xc3; /* ret */
	run(n, code, len, (const void *)NATIVE_CODE);
}

/* Behind the 32-bit code: a far jump to 64-bit code in the same page, and from there anywhere. */
static void put_way_back(uint8_t *at)
{
	static const uint8_t jump[] = {0xff, 0x25, 2, 0, 0, 0, 0, 0}; /* jmp *2(%rip) */
	uint8_t *wide = (uint8_t *)NATIVE_CODE + CODE_SIZE / 2;

	at[0] = 0xea;
	store_le(at + 1, 4, (uintptr_t)wide);
	store_le(at + 5, 2, CS_64);
	memcpy(wide, jump, sizeof(jump));
	store_le(wide + sizeof(jump), 8, (uintptr_t)native_back);
}

void native_run_32(struct native *n, const uint8_t *code, size_t len)
{
	map_all();
	put_way_back((uint8_t *)NATIVE_CODE + len);
	native_32.entry = (struct far_pointer){NATIVE_CODE, CS_32};
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(DS_32));
	run(n, code, len, (const void *)native_into_32);
	__asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(0));
}

bool native_possible(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

uint64_t native_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1dULL;
}

uint64_t native_value(void)
{
	static const uint64_t special[] = {
		0,
		1,
		0x8000000000000000,
		0x7ff0000000000000,
		0xfff8000000000000,
		0x7ff4000000000000,
		0x3ff0000000000000,
		0xbff0000000000000,
		0x0010000000000000,
		0x000fffffffffffff,
		0x7fefffffffffffff,
		0x3f800000bf800000,
		0x7f8000007fc00000,
		0x7fa00000ff800000,
		0x0000000180000000,
		0x007fffff00800000,
		0x7f7fffff4b000000,
		0x3c00bc007c00fc00,
		0x7e007d0000010400,
		0x4330000000000001,
		0xc1e0000000000000,
		0xffffffffffffffff,
	};
	uint64_t r = native_random();

	if (r & 3)
		return r >> 2 ^ native_random() << 32;
	return special[(r >> 8) % ARRAY_LEN(special)];
}

void native_fill(uint8_t *at, size_t len)
{
	for (; len; at += 8, len -= 8)
		store_le(at, 8, native_value());
}

static void fill_x87(uint8_t *area, bool mmx)
{
	static const uint16_t exponents[] = {0, 0x7fff, 0xffff, 0x3fff, 0xbfff, 0x4000, 1, 0x403e};

	store_le(area + XSAVE_FCW, 2, 0x7f | (native_random() & 0xf00));
	store_le(area + XSAVE_FSW, 2, native_random() & 0x7f00);
	area[XSAVE_FTW] = native_random() & 1 ? 0xff : native_random();
	for (unsigned i = 0; i < 8; i++) {
		uint8_t *st = area + XSAVE_ST + 16 * i;
		uint64_t mantissa = native_value(), exponent = native_random();

		if (exponent & 1)
			exponent = 0x3ff0 + (exponent >> 1) % 64;
		if (native_random() & 7)
			mantissa |= BIT(63);
		if (!(native_random() & 3))
			exponent = exponents[native_random() % ARRAY_LEN(exponents)];
		store_le(st, 8, mantissa);
		store_le(st + 8, 2, mmx ? 0xffff : exponent);
	}
}

void native_randomise(struct native *n, bool mmx, uint32_t mxcsr)
{
	map_all();
	memset(n, 0, sizeof(*n));
	native_fill(n->xsave + XSAVE_XMM, 256);
	native_fill(n->xsave + FPU_YMM_HI, 256);
	fill_x87(n->xsave, mmx);
	store_le(n->xsave + XSAVE_MXCSR, 4, mxcsr);
	for (unsigned i = 0; i < 16; i++)
		n->gpr[i] = native_value();
	n->gpr[GPR_RAX] = native_random() % 24 - 2; /* PCMPESTRI's lengths */
	n->gpr[GPR_RDX] = native_random() % 24 - 2;
	n->gpr[GPR_RSP] = 0;
	n->rflags = 0x202 | (native_random() & FLAGS);
	native_fill((uint8_t *)NATIVE_DATA, NATIVE_DATA_SIZE);
}
