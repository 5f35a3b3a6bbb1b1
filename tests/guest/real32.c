/* SPDX-License-Identifier: Apache-2.0 */
/* Real mode, from protected mode and back: addresses, the vector table, limits, unreal mode, string
 * instructions at 64 KiB, far calls. SDM vol. 3A 9.8 and 9.9, chapter 20. */
#include "guest.h"

/* What the 16-bit code at 0x8000 leaves at 0x9000, a word each. */
enum {
	R_CS,
	R_DIV_IP,
	R_DIV_CS,
	R_INT_AX,
	R_INT_FLAGS,
	R_LIMIT,
	R_SS_LIMIT,
	R_UNREAL,
	R_UNREAL_HIGH,
	R_FAR,
	R_MOVS,
	R_SP,
	R_GP_IP,
	R_UD,
	R_DONE,
	R_COUNT
};

static volatile u16 *const result = (volatile u16 *)0x9000;

__asm__(".text\n"
	".globl real_begin, real_end, enter_real\n"
	/* Down: 16-bit protected mode first, then PE off. */
	"enter_real:\n"
	"	pusha\n"
	"	mov %esp, saved_esp\n"
	"	sidt saved_idt\n"
	"	lidt real_idt\n"
	"	ljmp $0x30, $0x8000\n"
	".globl back_from_real\n"
	"back_from_real:\n"
	"	mov $0x10, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	mov saved_esp, %esp\n"
	"	lidt saved_idt\n"
	"	popa\n"
	"	ret\n"
	".data\n"
	"real_idt: .word 0x3ff; .long 0\n"
	"saved_idt: .word 0; .long 0\n"
	"saved_esp: .long 0\n"
	".text\n"
	".code16\n"
	"real_begin:\n"
	/* Big data segments stay big: ES and FS are left as unreal; DS and SS become real. */
	"	mov $0x58, %ax\n" /* 16 bits, 64 KiB */
	"	mov %ax, %ds\n"
	"	mov %ax, %ss\n"
	"	mov %ax, %gs\n"
	"	mov %cr0, %eax\n"
	"	and $0xfe, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmp $0x800, $(1f - real_begin)\n"
	"1:	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	mov %ax, %es\n"
	"	mov %ax, %ss\n"
	"	mov %ax, %fs\n"
	"	mov %ax, %gs\n"
	"	mov $0x7000, %sp\n"
	"	mov %cs, 0x9000\n"
	/* #DE through the vector table: the handler notes IP and CS, steps over. */
	"	xor %dx, %dx\n"
	"	mov $1, %ax\n"
	"	xor %cx, %cx\n"
	"2:	div %cx\n"
	"	mov $0x1234, %ax\n"
	"	sti\n"
	"	int $0x31\n"
	"	cli\n"
	"	mov %ax, 0x9006\n"
	/* A word at offset FFFF leaves the segment: #GP, vector 13. */
	"	mov $0, %bp\n"
	"	mov 0xffff, %ax\n"
	"	mov %bp, 0x900a\n"
	/* ... #SS, vector 12, for SS. */
	"	mov $0, %bp\n"
	"	mov %ss:0xffff, %ax\n"
	"	mov %bp, 0x900c\n"
	/* ES still has 4 GiB. */
	"	mov $0x300000, %edi\n"
	"	movl $0xcafe5678, %es:(%edi)\n"
	"	addr32 mov %es:(%edi), %ax\n"
	"	mov %ax, 0x900e\n"
	"	addr32 mov %es:2(%edi), %ax\n"
	"	mov %ax, 0x9010\n"
	"	lcall $0x7f0, $(3f - real_begin + 0x100)\n"
	"	mov %ax, 0x9012\n"
	/* SI wraps at 64 KiB, as an offset. */
	"	cld\n"
	"	mov $0xfffe, %si\n"
	"	mov $0x9100, %di\n"
	"	mov $4, %cx\n"
	"	rep movsb\n"
	"	mov %si, 0x9014\n"
	"	mov %sp, 0x9016\n"
	"	ud2\n"
	"	movw $0x600d, 0x901c\n"
	/* Up again. */
	"	mov %cr0, %eax\n"
	"	or $1, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $0x08, $back_from_real\n"
	"3:	mov $0x4321, %ax\n"
	"	lret\n"
	/* Handlers. */
	".globl h_de, h_int, h_gp, h_ss, h_ud\n"
	"h_de:	push %bp\n"
	"	mov %sp, %bp\n"
	"	mov 2(%bp), %ax\n"
	"	mov %ax, 0x9002\n"
	"	mov 4(%bp), %ax\n"
	"	mov %ax, 0x9004\n"
	"	addw $2, 2(%bp)\n"
	"	pop %bp\n"
	"	iret\n"
	"h_int:	pushf\n"
	"	pop 0x9008\n"
	"	inc %ax\n"
	"	iret\n"
	"h_gp:	mov %sp, %bp\n"
	"	addw $3, (%bp)\n"
	"	mov $13, %bp\n"
	"	iret\n"
	"h_ss:	mov %sp, %bp\n"
	"	addw $4, (%bp)\n"
	"	mov $12, %bp\n"
	"	iret\n"
	"h_ud:	push %bp\n"
	"	mov %sp, %bp\n"
	"	addw $2, 2(%bp)\n"
	"	movw $6, 0x901a\n"
	"	pop %bp\n"
	"	iret\n"
	"real_end:\n"
	".code32\n");
void enter_real(void);
extern u8 real_begin[], real_end[], h_de[], h_int[], h_gp[], h_ss[], h_ud[];

static void vector(unsigned n, const u8 *handler)
{
	((volatile u16 *)0)[2 * n] = (u16)(handler - real_begin);
	((volatile u16 *)0)[2 * n + 1] = 0x800;
}

void main(void)
{
	gdt[0x58 / 8] = 0x000093000000ffffull;
	copy((u8 *)0x8000, real_begin, (uptr)(real_end - real_begin));
	fill((u8 *)0x9000, 0, 0x200);
	*(volatile u16 *)0xfffe = 0x2211;
	vector(0, h_de);
	vector(6, h_ud);
	vector(12, h_ss);
	vector(13, h_gp);
	vector(0x31, h_int);
	enter_real();
	check("came back", result[R_DONE], 0x600d);
	check("CS", result[R_CS], 0x800);
	check("#DE: CS", result[R_DIV_CS], 0x800);
	check("#DE: IP is the division", *(u16 *)(uptr)(0x8000 + result[R_DIV_IP]), 0xf1f7);
	check("INT n and IRET", result[R_INT_AX], 0x1235);
	check("IF is clear in the handler", result[R_INT_FLAGS] & 0x200, 0);
	check("a word at FFFF: #GP", result[R_LIMIT], 13);
	check("  in SS: #SS", result[R_SS_LIMIT], 12);
	check("unreal mode, low half", result[R_UNREAL], 0x5678);
	check("  high half", result[R_UNREAL_HIGH], 0xcafe);
	check("  in memory", *(volatile u32 *)0x300000, 0xcafe5678);
	check("far call", result[R_FAR], 0x4321);
	check("SI wraps", result[R_MOVS], 2);
	check("  the bytes below 64 KiB", *(volatile u16 *)0x9100, 0x2211);
	check("SP is as it was", result[R_SP], 0x7000);
	check("UD2", *(volatile u16 *)0x901a, 6);
}
