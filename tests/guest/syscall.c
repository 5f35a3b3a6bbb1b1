/* SPDX-License-Identifier: Apache-2.0 */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, FSGSBASE. */
#include "guest.h"

#define EFER         0xc0000080
#define STAR         0xc0000081
#define LSTAR        0xc0000082
#define FMASK        0xc0000084
#define FS_BASE      0xc0000100
#define GS_BASE      0xc0000101
#define KERNEL_GS    0xc0000102
#define SYSENTER_CS  0x174
#define SYSENTER_ESP 0x175
#define SYSENTER_EIP 0x176
#define FLAG_DF      (1u << 10)
#define FLAG_AC      (1u << 18)

/* What the handler found. */
u64 entry_rcx, entry_r11, entry_flags, entry_cs, entry_ss, entry_sp, user_sp;

__asm__(".text\n"
	".globl handler, user_syscall, after_syscall, user_back, sysret_back\n"
	"handler:\n"
	"	mov %rcx, entry_rcx(%rip)\n"
	"	mov %r11, entry_r11(%rip)\n"
	"	mov %rsp, entry_sp(%rip)\n"
	"	lea stack_top-8192(%rip), %rsp\n"
	"	pushf; popq entry_flags(%rip)\n"
	"	mov %cs, %eax; mov %rax, entry_cs(%rip)\n"
	"	mov %ss, %eax; mov %rax, entry_ss(%rip)\n"
	"	mov entry_sp(%rip), %rsp\n"
	"	sysretq\n"
	"user_syscall:\n"
	"	mov %rsp, user_sp(%rip)\n"
	"	pushq $0x40402; popf\n" /* AC and DF */
	"	xor %eax, %eax\n"
	"	syscall\n"
	"after_syscall:\n"
	"	int $0x80\n");
void user_syscall(uptr);
extern u8 handler[], after_syscall[];

static void syscall_sysret(void)
{
	struct fault f;

	check_fault("SYSCALL without EFER.SCE",
		    (wrmsr(EFER, rdmsr(EFER) & ~1ull), guest_try_user(user_syscall, 0)), 6, 0);
	wrmsr(EFER, rdmsr(EFER) | 1);
	/* SYSRET's SS is +8 (0x18), CS +16 (0x20). */
	wrmsr(STAR, (u64)0x10 << 48 | (u64)SEL_CODE << 32);
	wrmsr(LSTAR, (uptr)handler);
	wrmsr(FMASK, FLAG_DF | FLAG_AC);
	f = guest_try_user(user_syscall, 0);
	check_fault("SYSCALL and back", f, VEC_EXIT, 0);
	check("RCX is the next instruction", entry_rcx, (uptr)after_syscall);
	check("R11 is RFLAGS", entry_r11 & (FLAG_DF | FLAG_AC), FLAG_DF | FLAG_AC);
	check("FMASK clears", entry_flags & (FLAG_DF | FLAG_AC), 0);
	check("CS", entry_cs, SEL_CODE);
	check("SS", entry_ss, SEL_CODE + 8);
	check("RSP stays", entry_sp, user_sp);
	check("CS after SYSRET", f.cs, SEL_UCODE);
	check("SS after SYSRET", f.ss, SEL_UDATA);
	check("RFLAGS after SYSRET", f.flags & (FLAG_DF | FLAG_AC), FLAG_DF | FLAG_AC);
}

static void do_sysret(uptr unused)
{
	(void)unused;
	__asm__ volatile("xor %%ecx, %%ecx; sysretq" : : : "rcx");
}

static void do_swapgs(uptr unused)
{
	(void)unused;
	__asm__ volatile("swapgs");
}

static void write_msr(uptr index)
{
	wrmsr((u32)index, 0x8000000000000000ull);
}

static void bases(void)
{
	u32 r[4];

	wrmsr(GS_BASE, 0x1111);
	wrmsr(KERNEL_GS, 0x2222);
	do_swapgs(0);
	check("SWAPGS, GS.base", rdmsr(GS_BASE), 0x2222);
	check("SWAPGS, KERNEL_GS_BASE", rdmsr(KERNEL_GS), 0x1111);
	check_fault("SWAPGS in ring 3", guest_try_user(do_swapgs, 0), 13, 0);
	check_fault("SYSRET in ring 3", guest_try_user(do_sysret, 0), 13, 0);
	check_fault("FS.base not canonical", guest_try(write_msr, FS_BASE), 13, 0);
	check_fault("LSTAR not canonical", guest_try(write_msr, LSTAR), 13, 0);
	check_fault("KERNEL_GS_BASE not canonical", guest_try(write_msr, KERNEL_GS), 13, 0);
	cpuid(7, 0, r);
	if (r[1] & 1) {
		u64 got;

		write_cr4(read_cr4() | 1u << 16);
		__asm__ volatile("wrfsbase %1; rdfsbase %0" : "=r"(got) : "r"(0x123456789abull));
		check("WRFSBASE, RDFSBASE", got, 0x123456789abull);
		check("  is the MSR", rdmsr(FS_BASE), 0x123456789abull);
		__asm__ volatile("wrfsbase %1; rdfsbase %0" : "=r"(got) : "r"(0ull));
	}
	wrmsr(GS_BASE, 0);
}

u64 sysenter_sp, sysenter_cs, sysenter_ss;
__asm__(".text\n"
	".globl sysenter_entry, user_sysenter, sysenter_back\n"
	"sysenter_entry:\n"
	"	mov %rsp, sysenter_sp(%rip)\n"
	"	mov %cs, %eax; mov %rax, sysenter_cs(%rip)\n"
	"	mov %ss, %eax; mov %rax, sysenter_ss(%rip)\n"
	"	lea sysenter_back(%rip), %rdx\n"
	"	lea user_stack_top-64(%rip), %rcx\n"
	"	sysexitq\n"
	"sysenter_back:\n"
	"	int $0x80\n"
	"user_sysenter:\n"
	"	sysenter\n");
void user_sysenter(uptr);
extern u8 sysenter_entry[];

/* AMD's processors have no SYSENTER in long mode. */
static void sysenter(void)
{
	struct fault f;

	wrmsr(SYSENTER_CS, 0x08);
	wrmsr(SYSENTER_ESP, (uptr)stack_top - 4096);
	wrmsr(SYSENTER_EIP, (uptr)sysenter_entry);
	/* SYSEXIT's CS is SYSENTER_CS + 32, SS + 40 for 64-bit code. */
	gdt[0x28 / 8] = gdt[SEL_UCODE / 8];
	gdt[0x30 / 8] = gdt[SEL_UDATA / 8];
	f = guest_try_user(user_sysenter, 0);
	if (vendor_amd()) {
		check_fault("SYSENTER in long mode, AMD", f, 6, 0);
		return;
	}
	check_fault("SYSENTER and back", f, VEC_EXIT, 0);
	check("RSP", sysenter_sp, (uptr)stack_top - 4096);
	check("CS", sysenter_cs, 0x08);
	check("SS", sysenter_ss, 0x10);
	check("CS after SYSEXIT", f.cs, 0x2b);
	wrmsr(SYSENTER_CS, 0);
	check_fault("SYSENTER with a null CS", guest_try_user(user_sysenter, 0), 13, 0);
}

void main(void)
{
	syscall_sysret();
	bases();
	sysenter();
}
