/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs cases on the host's processor.
 *
 *	native_run: copies the state in          EXIT_ADDR: a copy of native_leave
 *	     |                                        ^            |
 *	     v                                        | jump at    | stores the state
 *	native_enter: XRSTOR, segments, IRETQ ----> the case       v
 *	                                              |       back in native_run
 *	                                              v            ^
 *	                          exception -> signal -> native_signal
 *
 * So a case that ends well costs no system call. IRETQ sets RIP, CS (64-bit or compatibility
 * mode), RFLAGS and RSP at once and serializes, so that code written just before is what runs.
 * The state stands in a page at SCRATCH, far from addresses that cases could hit by chance.
 * A signal's frame has the exception's vector, error code and CR2, and all registers but DS to
 * GS and their bases: the stub stores those first.
 */
#include <errno.h>
#include <immintrin.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "insn.h"

/* Far from where a stack pointer with the upper part of SCRATCH can get: a signal would be taken to
 * come on this stack already. */
#define SIGNAL_STACK 0x7c2000000000

#define STR_(x) #x
#define STR(x)  STR_(x)

struct scratch {
	uint64_t gpr[16];                    /* 0; RSP's is not used on the way in */
	uint64_t rip, cs, rflags, rsp, ss;   /* 128: IRETQ's frame */
	uint64_t fs_base, gs_base;           /* 168 */
	uint16_t ds, es, fs, gs;             /* 184 */
	uint64_t host_rsp, host_fs, host_gs; /* 192, 200, 208 */
	uint64_t active;                     /* 216 */
	uint64_t serial;                     /* 224 */
	uint64_t mxcsr;                      /* 232: of the host */
	uint8_t fill[16];                    /* 240 */
	uint8_t xsave[XSAVE_AREA];           /* 256 */
	uint8_t more[3008];                  /* 1088: a stack for PUSHFQ */
};
_Static_assert(offsetof(struct scratch, rip) == 128, "used by number below");
_Static_assert(offsetof(struct scratch, fs_base) == 168, "used by number below");
_Static_assert(offsetof(struct scratch, host_rsp) == 192, "used by number below");
_Static_assert(offsetof(struct scratch, mxcsr) == 232, "used by number below");
_Static_assert(offsetof(struct scratch, xsave) == 256, "used by number below");
_Static_assert(sizeof(struct scratch) == PAGE, "a page");

int native_enter(void);
void native_signal(int sig, siginfo_t *info, void *context);
void native_abort(void);
int native_fault(int sig, siginfo_t *info, ucontext_t *uc);
extern const uint8_t native_leave[], native_leave_end[];

/* clang-format off */
__asm__(
	".text\n"
	".globl native_enter\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	movabs $" STR(SCRATCH) ", %rbx\n"
	"	stmxcsr 232(%rbx)\n"
	"	mov %rsp, 192(%rbx)\n"
	"	rdfsbase %rax; mov %rax, 200(%rbx)\n"
	"	rdgsbase %rax; mov %rax, 208(%rbx)\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xrstor64 256(%rbx)\n"
	"	mov 184(%rbx), %ds; mov 186(%rbx), %es\n"
	"	mov 188(%rbx), %fs; mov 190(%rbx), %gs\n"
	"	mov 168(%rbx), %rax; wrfsbase %rax\n"
	"	mov 176(%rbx), %rax; wrgsbase %rax\n"
	"	movq $1, 216(%rbx)\n"
	"	mov 0(%rbx), %rax; mov 8(%rbx), %rcx; mov 16(%rbx), %rdx\n"
	"	mov 40(%rbx), %rbp; mov 48(%rbx), %rsi; mov 56(%rbx), %rdi\n"
	"	mov 64(%rbx), %r8; mov 72(%rbx), %r9; mov 80(%rbx), %r10; mov 88(%rbx), %r11\n"
	"	mov 96(%rbx), %r12; mov 104(%rbx), %r13; mov 112(%rbx), %r14; mov 120(%rbx), %r15\n"
	"	lea 128(%rbx), %rsp\n"
	"	mov 24(%rbx), %rbx\n"
	"	iretq\n"

	/* What EXIT_ADDR holds. The first instructions change no flags. */
	".globl native_leave\n"
	".globl native_leave_end\n"
	"native_leave:\n"
	"	movabs %rax, " STR(SCRATCH) "\n"
	"	movabs $" STR(SCRATCH) ", %rax\n"
	"	mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax); mov %rsp, 32(%rax)\n"
	"	lea 4080(%rax), %rsp\n"
	"	pushfq\n"
	"	push $2; popfq\n"
	"	mov %rbp, 40(%rax); mov %rsi, 48(%rax); mov %rdi, 56(%rax)\n"
	"	mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax); mov %r11, 88(%rax)\n"
	"	mov %r12, 96(%rax); mov %r13, 104(%rax); mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
	"	mov %rax, %rbx\n"
	"	popq 144(%rbx)\n"
	"	mov %ss, %eax; mov %eax, 160(%rbx)\n"
	"	mov $" STR(SEL_DATA) ", %eax; mov %eax, %ss\n"
	"	movq $0, 216(%rbx)\n"
	"	movq $0, 768(%rbx)\n"
	"	mov $7, %eax; xor %edx, %edx\n"
	"	xsave64 256(%rbx)\n"
	"	xor %ebp, %ebp\n"
	"	jmp 2f\n"
	"1:\n"
	"2:	rdfsbase %rax; mov %rax, 168(%rbx)\n"
	"	rdgsbase %rax; mov %rax, 176(%rbx)\n"
	"	mov %ds, 184(%rbx); mov %es, 186(%rbx); mov %fs, 188(%rbx); mov %gs, 190(%rbx)\n"
	"	xor %eax, %eax\n"
	"	mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs\n"
	"	mov 200(%rbx), %rax; wrfsbase %rax\n"
	"	mov 208(%rbx), %rax; wrgsbase %rax\n"
	"	fninit\n"
	"	ldmxcsr 232(%rbx)\n"
	"	vzeroupper\n"
	"	mov 192(%rbx), %rsp\n"
	"	mov %ebp, %eax\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	"native_leave_end:\n"

	/* On the alternate stack, with FS and GS as the case left them. */
	".globl native_signal\n"
	"native_signal:\n"
	"	push $2; popfq\n"
	"	movabs $" STR(SCRATCH) ", %rbx\n"
	"	cmpq $0, 216(%rbx)\n"
	"	je 3f\n"
	"	movq $0, 216(%rbx)\n"
	"	rdfsbase %rax; mov %rax, 168(%rbx)\n"
	"	rdgsbase %rax; mov %rax, 176(%rbx)\n"
	"	mov %ds, 184(%rbx); mov %es, 186(%rbx); mov %fs, 188(%rbx); mov %gs, 190(%rbx)\n"
	"	xor %eax, %eax\n"
	"	mov %eax, %ds; mov %eax, %es; mov %eax, %fs; mov %eax, %gs\n"
	"	mov 200(%rbx), %rax; wrfsbase %rax\n"
	"	mov 208(%rbx), %rax; wrgsbase %rax\n"
	"	fninit\n"
	"	ldmxcsr 232(%rbx)\n"
	"	and $-16, %rsp\n"
	"	call native_fault\n"
	"	mov 192(%rbx), %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	/* No case runs: the interpreter's own, or a crash of this program. */
	"3:	jmp native_other\n"

	/* Where a case is sent that does not end. */
	".globl native_abort\n"
	"native_abort:\n"
	"	push $2; popfq\n" /* NT survives sigreturn */
	"	movabs $" STR(SCRATCH) ", %rbx\n"
	"	movq $0, 216(%rbx)\n"
	"	mov $2, %ebp\n"
	"	jmp 1b\n"
);
/* clang-format on */

void native_other(int sig, siginfo_t *info, void *context);

static struct scratch *const scratch = (struct scratch *)SCRATCH;
static struct outcome *result;
static uint64_t last_serial;
static struct sigaction theirs; /* who had SIGFPE before */

/* A signal while no case runs: of the interpreter's own use of SIGFPE, or a crash. */
void native_other(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	char line[128];
	int n;

	if (sig == SIGFPE && theirs.sa_sigaction) {
		theirs.sa_sigaction(sig, info, context);
		return;
	}
	n = snprintf(line, sizeof line, "insn: signal %d at %#llx, address %p\n", sig,
		     (unsigned long long)uc->uc_mcontext.gregs[REG_RIP], info->si_addr);
	if (write(2, line, (size_t)n) < 0)
		_exit(3);
	signal(sig, SIG_DFL);
	raise(sig);
	_exit(3);
}

int native_fault(int sig, siginfo_t *info, ucontext_t *uc)
{
	static const uint8_t order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
					  REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
					  REG_R12, REG_R13, REG_R14, REG_R15};
	const greg_t *g = uc->uc_mcontext.gregs;
	struct outcome *o = result;

	(void)sig;
	(void)info;
	for (unsigned i = 0; i < 16; i++)
		o->s.gpr[i] = (uint64_t)g[order[i]];
	o->s.rip = (uint64_t)g[REG_RIP];
	o->s.rflags = (uint64_t)g[REG_EFL];
	o->s.sel[SEG_CS_] = (uint16_t)g[REG_CSGSFS];
	o->s.sel[SEG_SS_] = (uint16_t)(g[REG_CSGSFS] >> 48);
	o->end = (unsigned)g[REG_TRAPNO];
	o->error = (uint32_t)g[REG_ERR];
	o->cr2 = (uint64_t)g[REG_CR2];
	memcpy(o->s.xsave, uc->uc_mcontext.fpregs, XSAVE_AREA);
	return 1;
}

/* A case that still runs at the second tick is stopped. */
static void tick(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	(void)sig;
	(void)info;
	if (!scratch->active) {
		lodge_tick();
		return;
	}
	if (scratch->serial != last_serial) {
		last_serial = scratch->serial;
		return;
	}
	g[REG_RIP] = (greg_t)(uintptr_t)native_abort;
	g[REG_RSP] = SCRATCH + 4080;
	g[REG_EFL] = 2;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000) | SEL_CODE64 | (greg_t)SEL_DATA << 48;
}

static void *map_at(uint64_t addr, size_t len, int prot, int fd, off_t offset)
{
	int flags = MAP_FIXED_NOREPLACE | (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
	void *p = mmap((void *)addr, len, prot, flags | MAP_POPULATE, fd, offset);

	return p == MAP_FAILED || p != (void *)addr ? NULL : p;
}

static uint8_t *map_alias(int fd, size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

static bool map_windows(struct memory *m)
{
	int code = memfd_create("code", 0), data = memfd_create("data", 0);

	if (code < 0 || data < 0 || ftruncate(code, CODE_SIZE) || ftruncate(data, DATA_SIZE))
		return false;
	m->code = map_alias(code, CODE_SIZE);
	m->data = map_alias(data, DATA_SIZE);
	return m->code && m->data && map_at(CODE_ADDR, CODE_SIZE, PROT_READ | PROT_EXEC, code, 0) &&
	       map_at(DATA_ADDR, DATA_RW, PROT_READ | PROT_WRITE, data, 0) &&
	       map_at(DATA_ADDR + DATA_RW, PAGE, PROT_READ, data, DATA_RW) &&
	       map_at(HIGH_ADDR, PAGE, PROT_READ | PROT_WRITE, data, 0) &&
	       map_at(HIGH_ADDR + 2 * PAGE, PAGE, PROT_READ | PROT_WRITE, data, PAGE) &&
	       map_at(HIGH_ADDR + 3 * PAGE, PAGE, PROT_READ, data, 2 * PAGE);
}

static bool map_exit(void)
{
	uint8_t *p = map_at(EXIT_ADDR, PAGE, PROT_READ | PROT_WRITE, -1, 0);

	if (!p)
		return false;
	memset(p, 0xcc, PAGE);
	memcpy(p, native_leave, (size_t)(native_leave_end - native_leave));
	return mprotect(p, PAGE, PROT_READ | PROT_EXEC) == 0;
}

const uint8_t *native_exit_page(void)
{
	return (const uint8_t *)(uintptr_t)EXIT_ADDR;
}

static int catch_signals(void)
{
	static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	size_t size = 64 * 1024;
	stack_t stack = {.ss_sp = map_at(SIGNAL_STACK, size, PROT_READ | PROT_WRITE, -1, 0),
			 .ss_size = size};
	struct sigaction act = {.sa_sigaction = native_signal,
				.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	struct sigaction alarm = {.sa_sigaction = tick,
				  .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
	struct itimerval often = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};

	if (sigaction(SIGFPE, NULL, &theirs))
		return -errno;
	if (!(theirs.sa_flags & SA_SIGINFO))
		theirs.sa_sigaction = NULL;
	if (!stack.ss_sp || sigaltstack(&stack, NULL))
		return -errno;
	for (unsigned i = 0; i < sizeof faults / sizeof *faults; i++)
		if (sigaction(faults[i], &act, NULL))
			return -errno;
	if (sigaction(SIGVTALRM, &alarm, NULL) || setitimer(ITIMER_VIRTUAL, &often, NULL))
		return -errno;
	return 0;
}

int native_init(struct memory *m)
{
	if (!map_at(SCRATCH, PAGE, PROT_READ | PROT_WRITE, -1, 0) || !map_windows(m) || !map_exit())
		return -ENOMEM;
	memset(m->code, 0xcc, CODE_SIZE);
	return catch_signals();
}

static void store(struct outcome *out, bool fault)
{
	struct state *s = &out->s;

	s->fs_base = scratch->fs_base;
	s->gs_base = scratch->gs_base;
	s->sel[SEG_DS_] = scratch->ds;
	s->sel[SEG_ES_] = scratch->es;
	s->sel[SEG_FS_] = scratch->fs;
	s->sel[SEG_GS_] = scratch->gs;
	if (fault)
		return;
	memcpy(s->gpr, scratch->gpr, sizeof s->gpr);
	memcpy(s->xsave, scratch->xsave, XSAVE_AREA);
	s->rflags = scratch->rflags;
	s->sel[SEG_SS_] = (uint16_t)scratch->ss;
	s->sel[SEG_CS_] = 0;
	s->rip = 0;
}

void native_run(const struct state *in, struct outcome *out)
{
	static const unsigned ends[] = {END_REACHED, 0, END_TIMEOUT};
	int left;

	memcpy(scratch->gpr, in->gpr, sizeof in->gpr);
	memcpy(scratch->xsave, in->xsave, XSAVE_AREA);
	scratch->rip = in->rip;
	scratch->cs = in->sel[SEG_CS_];
	scratch->rflags = in->rflags;
	scratch->rsp = in->gpr[4];
	scratch->ss = in->sel[SEG_SS_];
	scratch->fs_base = in->fs_base;
	scratch->gs_base = in->gs_base;
	scratch->ds = in->sel[SEG_DS_];
	scratch->es = in->sel[SEG_ES_];
	scratch->fs = in->sel[SEG_FS_];
	scratch->gs = in->sel[SEG_GS_];
	scratch->serial++;
	result = out;
	left = native_enter();
	if (left != 1) {
		out->end = ends[left];
		out->error = 0;
		out->cr2 = 0;
	}
	store(out, left == 1);
}
