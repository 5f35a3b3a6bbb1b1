/* SPDX-License-Identifier: Apache-2.0 */
/* What comes first where one instruction, or one boundary between two, has several reasons: faults,
 * traps, NMI, interrupts, what STI and MOV SS hold off, and exceptions while one is delivered. SDM
 * vol. 3A 6.7 to 6.9, 6.15; APM vol. 2 8.5. */
#include "guest.h"

#define FLAG_TF     (1u << 8)
#define FLAG_IF     (1u << 9)
#define FLAG_RF     (1u << 16)
#define CR0_MP      2u
#define CR0_EM      4u
#define CR0_TS      8u
#define CR0_AM      (1u << 18)
#define DR6_ONE     0xffff0ff0ull
#define DR6_BS      0x4000ull
#define DR7_ONE     0x400ull
#define BP_EXECUTE  0x401ull       /* DR0, one byte */
#define BP_WRITE    0xd0401ull     /* DR0, four bytes */
#define NOT_PRESENT 0xd00000000ull /* 52 GiB: nothing is mapped there */
#define NO_ADDRESS  0x8000000000000000ull

#define LAPIC     0xfee00000ull
#define EOI       0xb0
#define SVR       0xf0
#define ICR       0x300
#define SELF      0x40000u
#define SELF_NMI  0x44400u
#define INTERRUPT 0x50
#define OTHER     0x60

extern struct {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
} __attribute__((packed)) guest_tss;

static void lapic(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(LAPIC + reg) = value;
}

/* --- two reasons in one instruction ---------------------------------------------------------- */

#define RUN(name, code)                                            \
	static void run_##name(uptr at)                            \
	{                                                          \
		__asm__ volatile(code                              \
				 :                                 \
				 : "D"(at), "a"(1), "c"(7), "d"(0) \
				 : "memory", "cc", "r8", "r9");    \
	}
RUN(movaps, "movaps 4(%0), %%xmm0")
RUN(cmpxchg16b, "cmpxchg16b 8(%0)")
RUN(fxsave, "fxsave 8(%0)")
RUN(lock_mov, ".byte 0xf0; mov %%eax, (%0)")
RUN(lock_hlt, ".byte 0xf0, 0xf4")
RUN(div, "divl (%0)")
RUN(fld, "fldt (%0)")
RUN(fnstsw, "fnstsw (%0)")
RUN(sse, "addps (%0), %%xmm0")
RUN(lgdt, "lgdt (%0)")
RUN(ltr, "ltr (%0)")
RUN(cr0, "mov %%cr0, %%rax")
RUN(cr5, ".byte 0x0f, 0x20, 0xe8")
RUN(invlpg, "invlpg (%0)")
RUN(outs, "mov %0, %%rsi; mov $0x80, %%edx; outsb")
RUN(push, "mov %%rsp, %%r9; mov %0, %%rsp; push %%rax; mov %%r9, %%rsp")
RUN(rbp, "mov %%rbp, %%r9; mov %0, %%rbp; mov (%%rbp), %%eax; mov %%r9, %%rbp")
RUN(load, "mov (%0), %%eax")
RUN(prefetch, "prefetcht0 (%0); int $0x80")
RUN(jump, "jmp *%0")
RUN(call, "mov $0x2000000000, %%rsp; call *%0")
RUN(misaligned, "pushf; orl $0x40000, (%%rsp); popf; mov 1(%0), %%r8d")
RUN(xgetbv, "xgetbv")
RUN(swapgs, "swapgs")

enum { RING0, RING3 };

static const struct reason {
	const char *name;
	void (*run)(uptr at);
	u64 at;
	u8 ring, vector;
} reasons[] = {
	{"MOVAPS misaligned, in no page: #GP", run_movaps, NOT_PRESENT, RING0, 13},
	{"CMPXCHG16B misaligned, in no page: #GP", run_cmpxchg16b, NOT_PRESENT, RING0, 13},
	{"FXSAVE misaligned, in no page: #GP", run_fxsave, NOT_PRESENT, RING0, 13},
	{"LOCK MOV, in no page: #UD", run_lock_mov, NOT_PRESENT, RING0, 6},
	{"LOCK HLT in ring 3: #UD", run_lock_hlt, 0, RING3, 6},
	{"DIV by what is in no page: #PF", run_div, NOT_PRESENT, RING0, 14},
	{"LGDT in ring 3, in no page: #GP", run_lgdt, NOT_PRESENT, RING3, 13},
	{"LTR in ring 3, in no page: #GP", run_ltr, NOT_PRESENT, RING3, 13},
	{"MOV from CR0 in ring 3: #GP", run_cr0, 0, RING3, 13},
	{"MOV from CR5 in ring 3: #UD", run_cr5, 0, RING3, 6},
	{"XGETBV without CR4.OSXSAVE in ring 3: #UD", run_xgetbv, 0, RING3, 6},
	{"SWAPGS in ring 3: #GP", run_swapgs, 0, RING3, 13},
	{"INVLPG in ring 3: #GP", run_invlpg, NO_ADDRESS, RING3, 13},
	{"OUTS in ring 3, from no page: #GP", run_outs, NOT_PRESENT, RING3, 13},
	{"no address: #GP", run_load, NO_ADDRESS, RING0, 13},
	{"  by RBP: #SS", run_rbp, NO_ADDRESS, RING0, 12},
	{"  of PUSH in ring 3: #SS", run_push, NO_ADDRESS, RING3, 12},
	{"  of a jump: #GP", run_jump, NO_ADDRESS, RING0, 13},
	{"  of PREFETCH: nothing", run_prefetch, NO_ADDRESS, RING0, VEC_EXIT},
	{"CALL to no address, the stack in no page: #PF", run_call, NO_ADDRESS, RING3, 14},
	{"misaligned with AC, in no page: #AC", run_misaligned, NOT_PRESENT, RING3, 17},
	{"misaligned with AC, no address: #GP", run_misaligned, NO_ADDRESS, RING3, 13},
};

static void one_instruction(void)
{
	write_cr0(read_cr0() | CR0_AM);
	for (unsigned n = 0; n < ARRAY_LEN(reasons); n++) {
		const struct reason *r = &reasons[n];
		struct fault f = r->ring == RING3 ? guest_try_user(r->run, r->at)
						  : guest_try(r->run, r->at);

		check(r->name, f.vector, r->vector);
	}
	write_cr0(read_cr0() & ~(uptr)CR0_AM);
}

/* CR0.TS and EM, and an x87 exception that waits. */
static void coprocessor(void)
{
	uptr cr0 = read_cr0();
	u16 cw = 0x37b;

	write_cr0(cr0 | CR0_TS);
	check("TS, the operand in no page: #NM", guest_try(run_fld, NOT_PRESENT).vector, 7);
	check("  SSE: #NM", guest_try(run_sse, NOT_PRESENT).vector, 7);
	write_cr0(cr0 | CR0_TS | CR0_EM);
	check("TS and EM, SSE: #UD", guest_try(run_sse, NOT_PRESENT).vector, 6);
	write_cr0(cr0);
	__asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp" : : "m"(cw));
	check("an x87 exception waits, the operand in no page: #MF",
	      guest_try(run_fld, NOT_PRESENT).vector, 16);
	check("  not for one that does not wait: #PF", guest_try(run_fnstsw, NOT_PRESENT).vector,
	      14);
	write_cr0(cr0 | CR0_TS);
	check("  with TS: #NM", guest_try(run_fld, NOT_PRESENT).vector, 7);
	write_cr0(cr0);
	__asm__ volatile("fninit");
}

static void load_ds(uptr selector)
{
	__asm__ volatile("mov %0, %%ds" : : "r"(selector) : "memory");
}

static void load_ss(uptr selector)
{
	__asm__ volatile("mov %0, %%ss" : : "r"(selector) : "memory");
}

static void load_tr(uptr selector)
{
	__asm__ volatile("ltr %w0" : : "r"(selector) : "memory");
}

static void load_ldt(uptr selector)
{
	__asm__ volatile("lldt %w0" : : "r"(selector) : "memory");
}

static void far_jump(uptr selector)
{
	struct {
		u32 offset;
		u16 selector;
	} __attribute__((packed)) to = {0, (u16)selector};

	__asm__ volatile("ljmpl *%0" : : "m"(to) : "memory");
}

static void int_31(uptr unused)
{
	(void)unused;
	__asm__ volatile("int $0x31");
}

/* A descriptor that is wrong in kind or privilege, and not present as well. */
static void descriptors(void)
{
	volatile u64 *own = (volatile u64 *)&gdt[SEL_FREE / 8];

	own[0] = 0x00af19000000ffffull; /* code, execute-only */
	own[1] = 0;
	check_fault("DS of the wrong kind, not present: #GP", guest_try(load_ds, SEL_FREE), 13,
		    SEL_FREE);
	own[0] = 0x00cf73000000ffffull; /* data of ring 3 */
	check_fault("SS of ring 3, not present: #GP", guest_try(load_ss, SEL_FREE), 13, SEL_FREE);
	check_fault("LTR of data, not present: #GP", guest_try(load_tr, SEL_FREE), 13, SEL_FREE);
	check_fault("LLDT of data, not present: #GP", guest_try(load_ldt, SEL_FREE), 13, SEL_FREE);
	check_fault("a jump to data, not present: #GP", guest_try(far_jump, SEL_FREE), 13,
		    SEL_FREE);
	own[0] = 0x0000090000000067ull; /* a TSS */
	check_fault("LTR, not present: #NP", guest_try(load_tr, SEL_FREE), 11, SEL_FREE);
	own[0] = 0x00af1b000000ffffull; /* code */
	check_fault("a jump, not present: #NP", guest_try(far_jump, SEL_FREE), 11, SEL_FREE);
	guest_gate_present(0x31, false);
	check("INT n through ring 0's gate, not present, in ring 3: #GP",
	      guest_try_user(int_31, 0).vector, 13);
	guest_gate_default(0x31);
}

/* --- boundaries ------------------------------------------------------------------------------ */

/* What came, in order: vectors, where, and DR6 of #DB. */
static struct {
	u8 vector;
	bool if_set;
	uptr ip;
	u64 dr6;
} came[16];
static unsigned count, depth, deepest;
static void (*in_nmi)(void);

static bool note(struct frame *frame)
{
	if (frame->vector == VEC_EXIT || count == ARRAY_LEN(came))
		return false;
	came[count].vector = (u8)frame->vector;
	came[count].ip = frame->ip;
	came[count].if_set = frame->flags & FLAG_IF;
	came[count].dr6 = read_dr6() & 0xf00f;
	count++;
	switch (frame->vector) {
	case 1:
		if (!(read_dr6() & DR6_BS))
			frame->flags |= FLAG_RF;
		write_dr6(DR6_ONE);
		return true;
	case 2:
		if (++depth > deepest)
			deepest = depth;
		if (in_nmi)
			in_nmi();
		depth--;
		return true;
	case 3:
		return true;
	case 6:
		frame->ip += 2; /* over UD2 */
		return true;
	case INTERRUPT:
	case OTHER:
		lapic(EOI, 0);
		return true;
	default:
		return false;
	}
}

static void start(void)
{
	count = depth = deepest = 0;
	write_dr6(DR6_ONE);
}

/* Vectors in the order in which they came, two digits each. */
static u64 order(void)
{
	u64 all = 0;

	for (unsigned n = 0; n < count && n < 8; n++)
		all = all << 8 | came[n].vector;
	return all;
}

/* An interrupt waits, with IF clear; then this, which ends with it clear again. */
#define WAITING(name, code)                                                                     \
	static void wait_##name(uptr unused)                                                    \
	{                                                                                       \
		(void)unused;                                                                   \
		start();                                                                        \
		lapic(ICR, SELF | INTERRUPT);                                                   \
		__asm__ volatile("mov %%ss, %%edx\n" code "\ncli" : : : "edx", "memory", "cc"); \
	}
#define AT(label) ".globl " #label "\n" #label ": "
extern u8 sti_1[], sti_2[], ss_2[], popf_1[], sti_sti[], ud_1[], ud_2[], ud_3[], bp_at[], tf_1[],
	tf_2[], tf_3[], ss_bp[], int3_1[];
WAITING(sti, "sti\n nop\n" AT(sti_1) "nop")
WAITING(sti_cli, "sti\n cli\n nop")
WAITING(sti_sti, "sti\n sti\n" AT(sti_sti) "nop")
WAITING(popf, "pushf\n orl $0x200, (%%rsp)\n popf\n" AT(popf_1) "nop")
WAITING(popf_ud, "pushf\n orl $0x200, (%%rsp)\n popf\n" AT(ud_1) "ud2\n nop")
WAITING(sti_ud, "sti\n" AT(ud_2) "ud2\n" AT(ud_3) "nop")
WAITING(popf_bp, "pushf\n orl $0x200, (%%rsp)\n popf\n" AT(bp_at) "nop")

static void shadows(void)
{
	check_none("STI", guest_try(wait_sti, 0));
	check("  an interrupt", order(), INTERRUPT);
	check("  one instruction later", came[0].ip, (uptr)sti_1);
	check_none("STI, CLI", guest_try(wait_sti_cli, 0));
	check("  nothing", order(), 0);
	check_none("  until then", guest_try(wait_popf, 0));
	check("  one of two", order(), INTERRUPT);
	check("  POPF holds nothing off", came[0].ip, (uptr)popf_1);
	check_none("STI, STI", guest_try(wait_sti_sti, 0));
	check("  the second holds nothing off", came[0].ip, (uptr)sti_sti);
}

static void interrupt_or_fault(void)
{
	check_none("an interrupt waits, UD2 is next", guest_try(wait_popf_ud, 0));
	check("  the interrupt first", order(), INTERRUPT << 8 | 6);
	check("  at the UD2", came[0].ip, (uptr)ud_1);
	check_none("STI, UD2", guest_try(wait_sti_ud, 0));
	check("  #UD first", order(), 6 << 8 | INTERRUPT);
	check("  with IF set", came[0].if_set, 1);
	check("  the interrupt when that has returned", came[1].ip, (uptr)ud_3);
	write_dr0((uptr)bp_at);
	write_dr7(BP_EXECUTE);
	check_none("an interrupt waits, a breakpoint is next", guest_try(wait_popf_bp, 0));
	write_dr7(DR7_ONE);
	check("  the interrupt first", order(), INTERRUPT << 8 | 1);
	check("  both at the same place", came[0].ip == came[1].ip && came[1].ip == (uptr)bp_at, 1);
}

/* Stepped: the store to the ICR makes an interrupt wait, with IF set. */
static void step_icr(uptr unused)
{
	(void)unused;
	start();
	__asm__ volatile("pushf\n orl $0x300, (%%rsp)\n popf\n"
			 "movl %1, (%0)\n" AT(tf_1) "nop\n" AT(
				 tf_2) "nop\n"
				       "pushf\n andl $~0x300, (%%rsp)\n popf\n" AT(tf_3) "nop"
			 :
			 : "r"(LAPIC + ICR), "r"(SELF | INTERRUPT)
			 : "memory", "cc");
}

static volatile u32 word;

static void step_store(uptr unused)
{
	(void)unused;
	start();
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n"
			 "movl $1, %0\n"
			 "pushf\n andl $~0x100, (%%rsp)\n popf\n"
			 : "=m"(word)
			 :
			 : "memory", "cc");
}

static void step_ud(uptr unused)
{
	(void)unused;
	start();
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n ud2\n"
			 "pushf\n andl $~0x100, (%%rsp)\n popf\n"
			 :
			 :
			 : "memory", "cc");
}

static void step_int3(uptr unused)
{
	(void)unused;
	start();
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n int3\n" AT(
				 int3_1) "nop\n"
					 "pushf\n andl $~0x100, (%%rsp)\n popf\n"
			 :
			 :
			 : "memory", "cc");
}

static void ud2(uptr unused)
{
	(void)unused;
	start();
	__asm__ volatile("ud2");
}

static void jump_to(uptr at)
{
	start();
	((void (*)(void))at)();
}

static void ss_from_memory(uptr unused)
{
	static u32 selector = SEL_DATA;

	(void)unused;
	start();
	write_dr0((uptr)&selector);
	write_dr7(BP_WRITE | 0x20000); /* reads, too */
	__asm__ volatile("mov %0, %%ss\n nop\n" AT(ss_bp) "nop" : : "m"(selector) : "memory");
}

static void debug(void)
{
	struct fault f;

	check_none("a step that makes an interrupt wait", guest_try(step_icr, 0));
	check("  #DB, the interrupt, #DB",
	      came[0].vector << 16 | came[1].vector << 8 | came[2].vector,
	      1 << 16 | INTERRUPT << 8 | 1);
	check("  both behind the instruction", came[0].ip == (uptr)tf_1 && came[1].ip == (uptr)tf_1,
	      1);
	check("  then a step", came[2].ip, (uptr)tf_2);
	write_dr0((uptr)&word);
	write_dr7(BP_WRITE);
	check_none("a step that writes what is watched", guest_try(step_store, 0));
	check("  one #DB", came[0].vector << 8 | came[1].vector, 1 << 8 | 1);
	check("  for both", came[0].dr6, DR6_BS | 1);
	check("  the next is a step only", came[1].dr6, DR6_BS);
	write_dr7(DR7_ONE);
	guest_try(step_ud, 0);
	check("an instruction that faults is no step", came[0].vector, 6);
	guest_try(step_int3, 0);
	check("INT3 is none", came[0].vector, 3);
	check("  the next is", came[1].vector == 1 && came[1].ip == (uptr)int3_1 + 1, 1);
	guest_hook = NULL;
	write_dr0((uptr)ud2);
	write_dr7(BP_EXECUTE);
	f = guest_try(ud2, 0);
	check("a breakpoint at a function", f.vector, 1);
	write_dr0(NOT_PRESENT);
	f = guest_try(jump_to, NOT_PRESENT);
	write_dr7(DR7_ONE);
	check("a breakpoint where no page is: #DB", f.vector, 1);
	check("  DR6", f.dr6 & 0xf00f, 1);
	guest_hook = note;
	check_none("MOV SS from what is watched", guest_try(ss_from_memory, 0));
	write_dr7(DR7_ONE);
	check("  #DB", order(), 1);
	check("  behind the next instruction", came[0].ip, (uptr)ss_bp);
}

/* --- NMI ------------------------------------------------------------------------------------- */

static void once_more(void)
{
	in_nmi = NULL;
	lapic(ICR, SELF_NMI);
	for (unsigned n = 0; n < 1000; n++)
		__asm__ volatile("pause");
}

static void once_more_and_ud(void)
{
	once_more();
	__asm__ volatile("ud2"); /* whose handler's IRET lets NMIs in again */
}

static void once_more_and_interrupt(void)
{
	once_more();
	lapic(ICR, SELF | INTERRUPT);
}

static void nmi(uptr unused)
{
	(void)unused;
	start();
	lapic(ICR, SELF_NMI);
	for (unsigned n = 0; n < 1000; n++)
		__asm__ volatile("pause");
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

static void nmi_enabled(uptr unused)
{
	__asm__ volatile("sti; nop" : : : "memory");
	nmi(unused);
}

static void nmis(void)
{
	in_nmi = NULL;
	check_none("NMI with IF clear", guest_try(nmi, 0));
	check("  comes", order(), 2);
	in_nmi = once_more;
	check_none("NMI in its handler", guest_try(nmi, 0));
	check("  comes", order(), 2 << 8 | 2);
	check("  after the IRET", deepest, 1);
	in_nmi = once_more_and_ud;
	check_none("NMI in its handler, then an exception", guest_try(nmi, 0));
	check("  comes", order(), 2 << 16 | 6 << 8 | 2);
	check("  after the exception's IRET", deepest, 2);
	in_nmi = once_more_and_interrupt;
	check_none("NMI and an interrupt wait for an IRET", guest_try(nmi_enabled, 0));
	check("  NMI first", order(), 2 << 16 | 2 << 8 | INTERRUPT);
}

/* --- exceptions in exceptions ---------------------------------------------------------------- */

static u8 stack[8192] __attribute__((aligned(16)));

static void divide(uptr unused)
{
	(void)unused;
	__asm__ volatile("div %0" : : "r"(0), "a"(1), "d"(0) : "cc");
}

static void general(uptr unused)
{
	(void)unused;
	__asm__ volatile("mov %0, %%ds" : : "r"(0x208));
}

static void page_fault(uptr unused)
{
	(void)unused;
	(void)*(volatile u8 *)NOT_PRESENT;
}

static void take_other(uptr unused)
{
	(void)unused;
	lapic(ICR, SELF | OTHER);
	__asm__ volatile("sti; nop; nop; cli" : : : "memory");
}

/* Delivery of a vector meets a page fault: its stack lies in no page. */
static void no_stack(unsigned vector)
{
	guest_gate(vector, vectors + 16 * vector, 0xe, 0, 1);
}

static void nested(void)
{
	struct fault f;

	guest_tss.ist[0] = NOT_PRESENT + 4096;
	guest_tss.ist[1] = (uptr)stack + sizeof(stack);
	guest_gate(8, vectors + 16 * 8, 0xe, 0, 2);
	no_stack(13);
	check_fault("#GP, then #PF: one after the other", guest_try(general, 0), 14, 2);
	guest_gate_default(13);
	no_stack(6);
	f = guest_try(ud2, 0);
	check_fault("#UD, then #PF: one after the other", f, 14, 2);
	guest_gate_default(6);
	no_stack(14);
	check_fault("#PF, then #PF: double fault", guest_try(page_fault, 0), 8, 0);
	guest_gate_default(14);
	guest_gate_present(0, false);
	check_fault("#DE, then #NP: double fault", guest_try(divide, 0), 8, 0);
	guest_gate_default(0);
	guest_gate_present(14, false);
	no_stack(13);
	check_fault("#GP, then #PF, then #NP: double fault", guest_try(general, 0), 8, 0);
	guest_gate_default(13);
	guest_gate_default(14);
	guest_gate_present(OTHER, false);
	check_fault("an interrupt, then #NP: its error code says so", guest_try(take_other, 0), 11,
		    OTHER * 8 + 3);
	guest_gate_default(OTHER);
	lapic(EOI, 0); /* it was accepted */
	guest_gate_default(8);
}

void main(void)
{
	lapic(SVR, 0x1ff);
	one_instruction();
	coprocessor();
	descriptors();
	guest_hook = note;
	shadows();
	interrupt_or_fault();
	debug();
	nmis();
	guest_hook = NULL;
	nested();
}
