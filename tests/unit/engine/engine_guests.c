/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine_guests.h"

#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"

#define STOP "out %al, $0xf0\n"
#define TELL "out %eax, $0xf8\n"

/* Every register and the flags, folded into one, which is told. */
#define SUM16                                               \
	"pushfl\naddl (%esp), %eax\naddl $4, %esp\n"        \
	"roll $3, %eax\naddl %ebx, %eax\nroll $3, %eax\n"   \
	"addl %ecx, %eax\nroll $3, %eax\naddl %edx, %eax\n" \
	"roll $3, %eax\naddl %esi, %eax\nroll $3, %eax\n"   \
	"addl %edi, %eax\nroll $3, %eax\naddl %ebp, %eax\n" \
	"roll $3, %eax\naddl %esp, %eax\n" TELL
#define FOLD(reg) "rol $5, %rax\nadd %" reg ", %rax\n"
#define SUM64                                                                                      \
	"pushfq\nadd (%rsp), %rax\nadd $8, %rsp\n" FOLD("rbx") FOLD("rcx") FOLD("rdx") FOLD("rsi") \
		FOLD("rdi") FOLD("rbp") FOLD("rsp") FOLD("r8") FOLD("r9") FOLD("r10") FOLD("r11")  \
			FOLD("r12") FOLD("r13") FOLD("r14") FOLD("r15") TELL "shr $32, "           \
									     "%rax\n" TELL

/* Other values in all registers but RSP, and flags. */
#define FILL64                                                       \
	"movabs $0x123456789abcdef0, %rbx\n"                         \
	"lea 0x1111(%rbx), %rcx\nlea 0x2222(%rcx,%rbx), %rdx\n"      \
	"lea 0x3333(%rdx,%rbx), %rsi\nlea 0x4444(%rsi,%rbx), %rdi\n" \
	"lea 0x5555(%rdi,%rbx), %rbp\nlea 0x6666(%rbp,%rbx), %r8\n"  \
	"lea 0x7777(%r8,%rbx), %r9\nlea 0x8888(%r9,%rbx), %r10\n"    \
	"lea 0x9999(%r10,%rbx), %r11\nlea 0xaaaa(%r11,%rbx), %r12\n" \
	"lea 0xbbbb(%r12,%rbx), %r13\nlea 0xcccc(%r13,%rbx), %r14\n" \
	"lea 0xdddd(%r14,%rbx), %r15\nlea 0xeeee(%r15,%rbx), %rax\n"

/* --- real mode ------------------------------------------------------------------------------- */

GUEST_ASM(g_real, 16,
	  "movw $0x2000, %ax\nmovw %ax, %es\n"
	  "movw $0x2100, %ax\nmovw %ax, %fs\n"
	  "movw $0x2200, %ax\nmovw %ax, %gs\n"
	  "movl $0x12345678, %ebx\n"
	  "movl $0x89abcdef, %ecx\n"
	  "movl $0x2468ace0, %edx\n"
	  "movl $0x13579bdf, %esi\n"
	  "movl $0x0badcafe, %ebp\n"
	  "pushw $0x7777\n"
	  "movw $0x1234, %es:0x10\n"
	  "addl %ecx, %ebx\n"
	  "std\nstc\n" STOP "pushfw\npopw %fs:0x20\n"
	  "movw $0x13, %di\nmovw $0x11, %si\nmovw $2, %cx\n"
	  "rep movsb %es:(%si), %es:(%di)\n"
	  "cld\n"
	  "adcl %edx, %ebx\n"
	  "int $0x21\n"
	  "popw %bp\n"
	  "movw %es, %ax\nmovw %gs, %dx\n" SUM16 STOP ".globl g_real_int21\n"
	  "g_real_int21: movl 0(%esp), %eax\n" TELL "incl %ebx\niretw\n");
extern const char g_real_int21[];

static void real_mode(struct box *b, struct vcpu_state *s)
{
	box_real_mode(b, s);
	box_load(b, g_real, g_real_end);
	box_vector16(b, 0x21, g_real, g_real_int21);
}

/* --- 32-bit, with paging, in ring 3 ---------------------------------------------------------- */

/* Tables at 0x40000 (32-bit: 4 KiB pages; PAE: 2 MiB pages), but for the page at 0x1ff000, which
 * comes with the page fault. Ring 3 is left by SYSENTER: QEMU, which the lab is, aborts where an
 * interrupt from a 32-bit ring 3 finds in TR what a state has there, a busy TSS, rather than what
 * its own LTR left there. */
#define MSR_LABEL(index, label)                                                   \
	"call 5f\n5: popl %eax\naddl $(" #label " - 5b), %eax\nxorl %edx, %edx\n" \
	"movl $" #index ", %ecx\nwrmsr\n"
#define TO_RING3(label)                                             \
	"pushl $0x2b\npushl $0x14000\npushl $0x3203\npushl $0x23\n" \
	"call 1f\n1: addl $(" #label " - 1b), (%esp)\niretl\n"
#define WRMSR(index, high, low) \
	"movl $" #index ", %ecx\nmovl $" #high ", %edx\nmovl $" #low ", %eax\nwrmsr\n"
#define RING3                                                                                     \
	"movl $0x13579bdf, 0x1ff010\n" /* #PF: CR2 */                                             \
		WRMSR(0x174, 0, 0x18) WRMSR(0x175, 0, 0x17000) MSR_LABEL(                         \
			0x176, 6f) "movw $0x38, %ax\nmovw %ax, %fs\n" /* BOX_ODD */               \
				   "movl $0x55aa55aa, %fs:0x20\n"                                 \
				   "movw $0x2b, %ax\nmovw %ax, %gs\nmovw %ax, %ds\n" TO_RING3(    \
					   2f) /* drops ES and FS, whose segments are ring 0's */ \
		"2: movl $0x12345678, %ebx\nmovl $0x89abcdef, %ecx\n"                             \
		"movl $0x2468ace0, %edx\nmovl $0x0f1e2d3c, %esi\n"                                \
		"movl $0x76543210, %edi\nmovl $0xcafebabe, %ebp\n"                                \
		"pushl $0x1a2b3c4d\naddl %ebx, %ecx\nstc\n" STOP                                  \
		"adcl %esi, %edx\npopl %eax\nmovl %eax, %gs:0x15000\n"                            \
		"movl 0x1ff010, %esi\n" SUM16 "sysenter\n"                                        \
		"6: movw $0x10, %ax\nmovw %ax, %ds\n"                                             \
		"andb $0xfd, 0x6045\nmovw $0x40, %ax\nltr %ax\n" TO_RING3(7f) "7: int $0x80\n"

#define HANDLERS                                                                                  \
	"movl 0(%esp), %eax\n" TELL /* EIP, CS, EFLAGS, ESP, SS */                                \
	"movl 4(%esp), %eax\n" TELL "movl 8(%esp), %eax\n" TELL "movl 12(%esp), %eax\n" TELL      \
	"movl 16(%esp), %eax\n" TELL "movw $0x38, %ax\nmovw %ax, %es\nmovl %es:0x20, %eax\n" TELL \
	"movl %cr2, %eax\n" TELL STOP

GUEST_ASM(g_paged, 32,
	  "movl $0x40000, %eax\nmovl %eax, %cr3\n"
	  "movl %cr0, %eax\norl $0x80010000, %eax\nmovl %eax, %cr0\n" /* PG, WP */
	  RING3 ".globl g_paged_int80, g_paged_pf\n"
	  "g_paged_int80:\n" HANDLERS "g_paged_pf:\n"
	  "addl $4, %esp\n"
	  "orl $1, 0x417fc\n" /* the entry of 0x1ff000 */
	  "iretl\n");
extern const char g_paged_int80[], g_paged_pf[];

GUEST_ASM(g_pae, 32,
	  "movl %cr4, %eax\norl $0xa0, %eax\nmovl %eax, %cr4\n" /* PAE, PGE */
	  "movl $0x40000, %eax\nmovl %eax, %cr3\n"
	  "movl %cr0, %eax\norl $0x80010000, %eax\nmovl %eax, %cr0\n" RING3
	  ".globl g_pae_int80, g_pae_pf\n"
	  "g_pae_int80:\n" HANDLERS "g_pae_pf:\n"
	  "addl $4, %esp\n"
	  "orl $1, 0x42ff8\n"
	  "iretl\n");
extern const char g_pae_int80[], g_pae_pf[];

static void put32(struct box *b, uint64_t at, uint32_t value)
{
	assert_true(mem_write(&b->mem, at, &value, sizeof(value)));
}

static void paged(struct box *b, struct vcpu_state *s)
{
	box_protected_mode(b, s);
	box_load(b, g_paged, g_paged_end);
	box_gate32(b, 0x80, g_paged, g_paged_int80);
	box_gate32(b, VECTOR_PF, g_paged, g_paged_pf);
	put32(b, 0x40000, 0x41000 | PTE_P | PTE_RW | PTE_US);
	for (uint32_t i = 0; i < 512; i++)
		put32(b, 0x41000 + 4 * i,
		      i << 12 | PTE_RW | PTE_US | (i == 0x1ff ? 0 : (uint32_t)PTE_P));
}

static void pae(struct box *b, struct vcpu_state *s)
{
	box_protected_mode(b, s);
	box_load(b, g_pae, g_pae_end);
	box_gate32(b, 0x80, g_pae, g_pae_int80);
	box_gate32(b, VECTOR_PF, g_pae, g_pae_pf);
	put32(b, 0x40000, 0x41000 | PTE_P);
	put32(b, 0x41000, 0x42000 | PTE_P | PTE_RW | PTE_US);
	for (uint32_t i = 0; i < 512; i++)
		put32(b, 0x42000 + 8 * i,
		      i << 12 | PTE_RW | PTE_US | PTE_G | (i == 0x1ff ? 0 : (uint32_t)PTE_P));
}

/* --- 64-bit: registers and MSRs, in ring 3 --------------------------------------------------- */

GUEST_ASM(g_long, 64,
	  WRMSR(0xc0000081, 0x00230008, 0) /* STAR: SYSRET to 0x2b, 0x33 */
	  "lea g_long_syscall(%rip), %rax\nmov %rax, %rdx\nshr $32, %rdx\n"
	  "movl $0xc0000082, %ecx\nwrmsr\n"         /* LSTAR */
	  WRMSR(0xc0000083, 0x7fff, 0x12345000)     /* CSTAR */
	  WRMSR(0xc0000084, 0, 0x47fd5)             /* FMASK */
	  WRMSR(0xc0000102, 0xffff8880, 0x12340000) /* KERNEL_GS_BASE */
	  WRMSR(0xc0000100, 0x00007fff, 0x43210000) /* FS_BASE */
	  WRMSR(0xc0000101, 0, 0x20000)             /* GS_BASE */
	  WRMSR(0x174, 0, 0x10)                     /* SYSENTER_CS */
	  WRMSR(0x175, 0, 0x17000) WRMSR(0x176, 0, 0x1000)
		  WRMSR(0x277, 0x00070105, 0x00070106) /* PAT */
	  WRMSR(0x250, 0x06060606, 0x06060606)         /* MTRR */
	  WRMSR(0x200, 0, 0xc0000000) WRMSR(0x201, 0xff, 0xc0000800)
		  WRMSR(0x2ff, 0,
			0xc06) "movl $9, %eax\nmov %rax, %cr8\n"
			       "movabs $0xffff888012345678, %rax\nmov %rax, %cr2\n"
			       "movq $0x2b, %rax\npush %rax\npush $0x14000\npush "
			       "$0x3203\n"
			       "push $0x33\nlea 1f(%rip), %rax\npush %rax\n"
			       "iretq\n"
			       "1:\n" FILL64 "push %rax\nadd %rbx, %rcx\nstc\n" STOP
			       "adc %rdx, %rsi\npop %rax\nmov %rax, %gs:0x40\n" SUM64 "syscall\n"
			       ".globl g_long_syscall\n"
			       "g_long_syscall:\n"
			       "mov $0x18000, %esp\n" SUM64 "swapgs\n"
			       "movl $0xc0000101, %ecx\nrdmsr\n" TELL "mov %edx, %eax\n" TELL
			       "movl $0xc0000102, %ecx\nrdmsr\n" TELL
			       "movl $0xc0000100, %ecx\nrdmsr\n" TELL
			       "movl $0x277, %ecx\nrdmsr\n" TELL "mov %cr8, %rax\n" TELL
			       "mov %cr2, %rax\n" TELL "mov %ss, %eax\n" TELL STOP);

static void long_mode(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_long, g_long_end);
}

/* Compatibility mode in ring 3; leaves by INT n through a 64-bit gate. */
GUEST_ASM(g_compat, 64,
	  "push $0x2b\npush $0x14000\npush $0x3246\npush $0x23\n"
	  "lea 1f(%rip), %rax\npush %rax\n"
	  "movl $0x2b, %eax\nmov %eax, %ds\nmov %eax, %es\n"
	  "movl $0x38, %eax\nmov %eax, %fs\nmov %eax, %gs\n"
	  "movabs $0x1111222233334444, %r8\nmov %r8, %r15\nrol $9, %r15\n"
	  "iretq\n"
	  "1:\n.code32\n"
	  "movl $0x12345678, %ebx\nmovl $0x89abcdef, %ecx\n"
	  "movl $0x2468ace0, %edx\nmovl $0x0f1e2d3c, %esi\n"
	  "movl $0x76543210, %edi\nmovl $0xcafebabe, %ebp\n"
	  "pushl $0x1a2b3c4d\naddl %ebx, %ecx\nstc\n" STOP
	  "adcl %esi, %edx\npopl %eax\nmovl %eax, 0x15000\n" SUM16 "int $0x80\n"
	  ".code64\n"
	  ".globl g_compat_int80\n"
	  "g_compat_int80:\n" SUM64 "mov 0(%rsp), %rax\n" TELL "mov 8(%rsp), %rax\n" TELL
	  "mov 16(%rsp), %rax\n" TELL "mov 24(%rsp), %rax\n" TELL "mov 32(%rsp), %rax\n" TELL STOP);
extern const char g_compat_int80[];

static void compat_mode(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_compat, g_compat_end);
	box_gate64(b, 0x80, g_compat, g_compat_int80);
}

/* --- x87, SSE, AVX --------------------------------------------------------------------------- */

/* The control words at 0x20000, data from 0x20010; results from 0x20100. */
#define FPU_FIRST                                                          \
	"fninit\nmovw $0x0b3f, 0x20000\nfldcw 0x20000\n" /* up, 53 bits */ \
	"movl $0xbf80, 0x20008\nldmxcsr 0x20008\n"       /* FTZ, down */   \
	"movabs $0x400921fb54442d18, %rax\nmov %rax, 0x20010\n"            \
	"movabs $0x3ff3333333333333, %rax\nmov %rax, 0x20018\n"            \
	"fldl 0x20010\nfldl 0x20018\nfldpi\nfdiv %st(1), %st\nfld1\n"      \
	"fcom %st(2)\n"                                                    \
	"movups 0x20010, %xmm0\nmovapd %xmm0, %xmm1\naddpd %xmm0, %xmm1\n" \
	"divpd %xmm1, %xmm0\nmovaps %xmm1, %xmm7\nsqrtpd %xmm7, %xmm15\n"
#define FPU_SECOND                                                                \
	"fnstsw %ax\nmovzwl %ax, %eax\n" TELL "fnstcw 0x20100\nstmxcsr 0x20104\n" \
	"faddp\nfmulp\nfsubp\nfstpt 0x20110\nfnstenv 0x20120\n"                   \
	"movw $0, 0x20122\nmovw $0, 0x20126\nmovw $0, 0x2012a\n" /* nothing's */  \
	"movw $0, 0x2012c\nmovl $0, 0x20130\nmovl $0, 0x20134\n"                  \
	"movl $0, 0x20138\n" /* not the last instruction's addresses */           \
	"divpd %xmm15, %xmm1\nmovups %xmm0, 0x20140\nmovups %xmm1, 0x20150\n"     \
	"movups %xmm7, 0x20160\nmovups %xmm15, 0x20170\nstmxcsr 0x20180\n"        \
	"mov 0x20104, %eax\n" TELL "mov 0x20110, %eax\n" TELL "mov 0x20150, %eax\n" TELL

GUEST_ASM(g_sse, 64, FPU_FIRST STOP FPU_SECOND STOP);

GUEST_ASM(g_avx, 64,
	  FPU_FIRST "vinsertf128 $1, %xmm7, %ymm0, %ymm3\n"
		    "vinsertf128 $1, %xmm15, %ymm1, %ymm12\n"
		    "vaddpd %ymm3, %ymm12, %ymm14\n" STOP
		    "vmulpd %ymm14, %ymm3, %ymm2\nvmovupd %ymm2, 0x20200\n"
		    "vmovupd %ymm12, 0x20220\nvmovupd %ymm15, 0x20240\n"
		    "mov 0x20218, %rax\n" TELL "shr $32, %rax\n" TELL
		    "xor %ecx, %ecx\nxgetbv\n" TELL FPU_SECOND STOP);

static void sse(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_sse, g_sse_end);
}

static void avx(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	s->cr4 |= CR4_OSXSAVE;
	s->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	box_load(b, g_avx, g_avx_end);
}

/* --- debug registers ------------------------------------------------------------------------- */

/* A write and an instruction breakpoint, then single steps. The handler keeps DR6, RIP and RFLAGS
 * of each at 0x20040, which are told at the end. At the stop no breakpoint is enabled: with one, an
 * exit to the VMM was seen to end QEMU, which the lab is. */
GUEST_ASM(g_debug, 64,
	  "mov $0x20010, %eax\nmov %rax, %dr0\n"
	  "lea 1f(%rip), %rax\nmov %rax, %dr1\n"
	  "movabs $0x1234567890, %rax\nmov %rax, %dr3\n"
	  "mov $0x000d0400, %eax\nmov %rax, %dr7\n" /* DR0: 4 bytes written; DR1: executed */
	  "mov $0xffff4ff1, %eax\nmov %rax, %dr6\n"
	  "mov $0x20040, %ebp\nxor %ebx, %ebx\n" STOP "mov %dr6, %r8\nmov %dr3, %r9\n"
	  "mov %dr7, %rax\nor $0xa, %eax\nmov %rax, %dr7\n"
	  "movl $2, 0x20010\n"
	  "nop\n"
	  "1: incl %ebx\n"
	  "pushfq\norl $0x100, (%rsp)\npopfq\n"
	  "incl %ebx\n"
	  "incl %ebx\n"
	  "nop\n"
	  "mov %dr7, %r10\nmov $0x400, %eax\nmov %rax, %dr7\n"
	  "mov %rbx, %rax\n" TELL "mov %r8, %rax\n" TELL "mov %r9, %rax\n" TELL
	  "mov %r10, %rax\n" TELL "mov $0x20040, %esi\n"
	  "3: lodsl\n" TELL "cmp %rbp, %rsi\njb 3b\n" STOP ".globl g_debug_db\n"
	  "g_debug_db: push %rax\npush %rcx\n"
	  "mov %dr6, %rcx\nmov %ecx, (%rbp)\nxor %eax, %eax\nmov %rax, "
	  "%dr6\n"
	  "mov 16(%rsp), %eax\nmov %eax, 4(%rbp)\n"
	  "mov 32(%rsp), %eax\nmov %eax, 8(%rbp)\n"
	  "add $12, %rbp\n"
	  "cmp $0x20070, %ebp\njb 2f\nandl $~0x100, 32(%rsp)\n" /* four times */
	  "2: test $2, %cl\njz 2f\norl $0x10000, 32(%rsp)\n"    /* RF */
	  "2: pop %rcx\npop %rax\niretq\n");
extern const char g_debug_db[];

static void debug(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_debug, g_debug_end);
	box_gate64(b, VECTOR_DB, g_debug, g_debug_db);
}

static void arm(struct vcpu_state *s)
{
	s->dr7 |= DR7_G(0) | DR7_G(1);
}

/* --- interrupts ------------------------------------------------------------------------------ */

#define APIC_EOI "movl $0, (%r15)\n"
#define APIC     "mov $0xfee000b0, %r15d\n"
/* ICR: fixed, edge, to itself. */
#define SELF(vector) "movl $(0x44000 + " #vector "), 0x250(%r15)\n"

/* Stops in the handler of vector 0x51, with 0x41 and 0x31 requested, which come in order later. */
GUEST_ASM(g_handler, 64,
	  APIC "mov $0x20, %eax\nmovl %eax, -0x30(%r15)\n" /* TPR */
	       "movl $0x30000000, 0x20(%r15)\n"            /* LDR */
	       "movl $0x000300e0, 0x270(%r15)\n"           /* LVT timer: masked, periodic */
	       "xor %ebx, %ebx\nsti\n" SELF(
		       0x51) "nop\nnop\n"
			     "mov %rbx, %rax\n" TELL "cli\n" STOP
			     ".globl g_handler_51, g_handler_41, g_handler_31\n"
			     "g_handler_51:" SELF(0x31)
				     SELF(0x41) "push %rax\n" STOP
						"mov 0x70(%r15), %eax\n" TELL /* ISR 0x40 to 0x5f */
						"mov 0x170(%r15), %eax\n" TELL
						"mov 0x160(%r15), %eax\n" TELL
						"mov -0x10(%r15), %eax\n" TELL /* PPR */
						"lea 1(%rbx,%rbx,4), %rbx\n" APIC_EOI
						"pop %rax\niretq\n"
						"g_handler_41: lea 2(%rbx,%rbx,4), %rbx\n" APIC_EOI
						"iretq\n"
						"g_handler_31: lea 3(%rbx,%rbx,4), %rbx\n" APIC_EOI
						"iretq\n");
extern const char g_handler_51[], g_handler_41[], g_handler_31[];

static void handler(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_handler, g_handler_end);
	box_gate64(b, 0x51, g_handler, g_handler_51);
	box_gate64(b, 0x41, g_handler, g_handler_41);
	box_gate64(b, 0x31, g_handler, g_handler_31);
}

/* With interrupts disabled and one requested. What the handler finds on its stack tells when it was
 * taken: after alter, which sets IF and the shadow of STI, one instruction late. The flags are read
 * in the end: of those that nobody would look at, bt has others. */
#define REQUESTED(more)                                                       \
	APIC "movl $0, -0x30(%r15)\nxor %ebx, %ebx\n" SELF(0x41) "nop\n" STOP \
		more "lea 1(%rbx), %ebx\nlea 1(%rbx), %ebx\nlea 1(%rbx), %ebx\npushfq\npop %rax\n"

GUEST_ASM(g_shadow, 64,
	  REQUESTED("") "mov %rbx, %rax\n" TELL "cli\n" STOP ".globl g_shadow_41\n"
			"g_shadow_41: mov %rbx, %rax\n" TELL "mov (%rsp), %rax\n" TELL
			"mov 16(%rsp), %rax\n" TELL "add $100, %rbx\n"
			"andl $~0x10000, 16(%rsp)\n" /* RF: QEMU keeps it for longer */ APIC_EOI
			"iretq\n");
extern const char g_shadow_41[];

static void shadow(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_shadow, g_shadow_end);
	box_gate64(b, 0x41, g_shadow, g_shadow_41);
}

static void enable(struct vcpu_state *s)
{
	s->rflags |= RFLAGS_IF;
}

static void after_sti(struct vcpu_state *s)
{
	s->rflags |= RFLAGS_IF;
	s->events.shadow_sti = true;
}

static void halted(struct vcpu_state *s)
{
	s->rflags |= RFLAGS_IF;
	s->activity = VCPU_HALTED;
}

/* Its delivery was begun, and is to be begun again. */
static void injected(struct vcpu_state *s)
{
	s->events.interrupt_injected = true;
	s->events.interrupt_vector = 0x41;
}

static void ud_injected(struct vcpu_state *s)
{
	s->rflags |= RFLAGS_RF; /* a fault pushes it; not QEMU's, which the lab is */
	s->events.exception_injected = true;
	s->events.exception_vector = VECTOR_UD;
}

static void ud_gate(struct box *b, struct vcpu_state *s)
{
	shadow(b, s);
	box_gate64(b, VECTOR_UD, g_shadow, g_shadow_41);
}

/* MOV SS from device memory, whose read stops: the state has the shadow, and the trap of the single
 * step is held off by it as well as the interrupt. */
GUEST_ASM(g_mov_ss, 64,
	  APIC "movl $0, -0x30(%r15)\nxor %ebx, %ebx\n"
	       "mov $0xd0000000, %r14d\n" SELF(
		       0x41) "pushfq\norl $0x200, (%rsp)\n"
			     "mov (%r14), %ss\n" /* IF is clear: nothing is held off yet */
			     "incl %ebx\npopfq\nincl %ebx\nmov %rbx, %rax\n" TELL "cli\n" STOP
			     ".globl g_mov_ss_41\n"
			     "g_mov_ss_41: mov (%rsp), %rax\n" TELL "mov 32(%rsp), %rax\n" TELL
			     "add $100, %rbx\n" APIC_EOI "iretq\n");
extern const char g_mov_ss_41[];

static uint64_t stop_and_give_data(struct box *b, uint64_t offset)
{
	(void)offset;
	b->stops++;
	b->engine->kick(b->vcpus[0]);
	return BOX_DATA;
}

static void mov_ss(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_mov_ss, g_mov_ss_end);
	box_gate64(b, 0x41, g_mov_ss, g_mov_ss_41);
	b->mmio_read = stop_and_give_data;
}

/* Port 0xf4 gives an NMI; one more comes while the first one's handler runs and stops. */
GUEST_ASM(g_nmi, 64,
	  "xor %ebx, %ebx\n"
	  "out %al, $0xf4\n"
	  "nop\nnop\n"
	  "mov %rbx, %rax\n" TELL STOP ".globl g_nmi_2\n"
	  "g_nmi_2: incl %ebx\ncmpl $1, %ebx\njne 1f\n"
	  "out %al, $0xf4\n" STOP "nop\nlea (%rbx,%rbx,8), %rbx\n"
	  "1: mov (%rsp), %rax\n" TELL "iretq\n");
extern const char g_nmi_2[];

static void give_nmi(struct box *b, uint64_t port, uint64_t value)
{
	(void)value;
	if (port == 0xf4)
		b->engine->nmi(b->vcpus[0]);
}

static void nmi(struct box *b, struct vcpu_state *s)
{
	box_long_mode(b, s);
	box_load(b, g_nmi, g_nmi_end);
	box_gate64(b, VECTOR_NMI, g_nmi, g_nmi_2);
	b->wrote = give_nmi;
}

const struct guest_case guest_cases[] = {
	{"real mode", real_mode, NULL, 2, false, 0, 0, false},
	{"32-bit paging, ring 3", paged, NULL, 8, false, 0, 0, false},
	/* QEMU, which the lab is, marks a page-directory pointer as accessed. */
	{"PAE paging, ring 3", pae, NULL, 8, false, 0x40000, PTE_A, false},
	{"64-bit mode, ring 3, MSRs", long_mode, NULL, 12, false, 0, 0, false},
	{"compatibility mode", compat_mode, NULL, 8, false, 0, 0, false},
	{"x87 and SSE", sse, NULL, 4, false, 0, 0, false},
	{"AVX", avx, NULL, 7, true, 0, 0, false},
	{"debug registers", debug, NULL, 16, false, 0, 0, false},
	{"breakpoints enabled", debug, arm, 16, false, 0, 0, true},
	{"in an interrupt's handler", handler, NULL, 5, false, 0, 0, false},
	{"an interrupt disabled", shadow, NULL, 1, false, 0, 0, false},
	{"an interrupt requested", shadow, enable, 4, false, 0, 0, false},
	/* QEMU does not load the shadow at VMRUN. */
	{"an interrupt requested after STI", shadow, after_sti, 4, false, 0, 0, true},
	{"an interrupt requested while halted", shadow, halted, 4, false, 0, 0, false},
	{"an interrupt half delivered", shadow, injected, 4, false, 0, 0, false},
	{"an exception half delivered", ud_gate, ud_injected, 4, false, 0, 0, false},
	{"after MOV SS", mov_ss, enable, 3, false, 0, 0, true},
	{"an NMI in an NMI's handler", nmi, NULL, 3, false, 0, 0, false},
};

const unsigned guest_case_count = ARRAY_LEN(guest_cases);
