/* SPDX-License-Identifier: Apache-2.0 */
/* From PVH's entry (32-bit protected mode, no paging) to main() in 64-bit mode: 4 GiB mapped one to
 * one by 2 MiB pages that ring 3 may use, too. Then the ways into and out of exceptions. */
	.pushsection .note.PVH, "a", @note
	.balign 4
	.long 4, 4, 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz "Xen"
	.long _start
	.popsection

	.text
	.code32
	.globl _start
_start:
	mov %ebx, start_info
	mov $stack_top, %esp
	mov $pml4, %eax
	mov %eax, %cr3
	mov $0x620, %eax /* PAE, OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	mov $0x901, %eax /* NXE, LME, SCE */
	xor %edx, %edx
	wrmsr
	mov $0x80010033, %eax /* PG, WP, NE, ET, MP, PE */
	mov %eax, %cr0
	lgdt gdtr
	ljmp $8, $long_mode
	.code64
long_mode:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $stack_top, %rsp
	call guest_start
1:	cli
	hlt
	jmp 1b

	.globl guest_reload_gdt
guest_reload_gdt:
	lgdt gdtr
	ret

/* Where other processors begin: copied to START_OTHERS (guest.c); from real mode to 64-bit mode. */
	.globl other_begin, other_end
	.code16
other_begin:
	cli
	xor %ax, %ax
	mov %ax, %ds
	lgdtl 0x8000 + other_gdtr - other_begin
	mov $pml4, %eax
	mov %eax, %cr3
	mov $0x620, %eax
	mov %eax, %cr4
	mov $0xc0000080, %ecx
	mov $0x901, %eax
	xor %edx, %edx
	wrmsr
	mov $0x80010033, %eax
	mov %eax, %cr0
	ljmpl $8, $other_long
other_gdtr:
	.word 64 * 8 - 1
	.long gdt
other_end:
	.code64
other_long:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $8192, %eax
	lock xadd %eax, other_stack(%rip)
	lea other_stacks + 8192(%rax), %rsp
	xor %ebp, %ebp
	call guest_other
2:	cli
	hlt
	jmp 2b

/* bool call_guarded(fn, arg): keeps what to come back to. */
	.globl call_guarded, come_back
call_guarded:
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	pushfq
	mov %rsp, guarded_sp(%rip)
	mov %rdi, %rax
	mov %rsi, %rdi
	sub $8, %rsp
	cld
	call *%rax
come_back:
	mov guarded_sp(%rip), %rsp
	popfq
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	ret

/* void enter_user(fn, arg): to ring 3, never back but by an exception. */
	.globl enter_user
enter_user:
	push $0x1b
	lea user_stack_top-8(%rip), %rax
	push %rax
	push $2
	push $0x23
	push %rdi
	mov %rsi, %rdi
	iretq

/* The default handlers: 16 bytes each. */
	.balign 16
	.globl vectors
vectors:
	.set v, 0
	.rept 256
	.balign 16
	.if v == 8 || (v >= 10 && v <= 14) || v == 17 || v == 21 || v == 29 || v == 30
	.else
	push $0
	.endif
	push $v
	jmp common
	.set v, v + 1
	.endr
	.balign 16
common:
	push %rax
	push %rbx
	push %rcx
	push %rdx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call guest_trap
	mov %rbp, %rsp
	test %eax, %eax
	jz abandon
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rdx
	pop %rcx
	pop %rbx
	pop %rax
	add $16, %rsp
	iretq
abandon:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	jmp come_back

	.data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00af9b000000ffff /* 08 code64 */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00cff3000000ffff /* 18 user data */
	.quad 0x00affb000000ffff /* 20 user code64 */
	.quad 0x00cf9b000000ffff /* 28 code32 */
	.quad 0x008f9b000000ffff /* 30 code16 */
	.fill 57, 8, 0
gdtr:
	.word 64 * 8 - 1
	.quad gdt
	.globl guarded_sp, start_info
guarded_sp:
	.quad 0
start_info: /* what PVH hands over */
	.long 0
other_stack: /* of the next processor, from other_stacks */
	.long 0

	.balign 4096
	.globl pml4, pdpt, pd
pml4:
	.quad pdpt + 7
	.fill 511, 8, 0
pdpt:
	.quad pd + 7, pd + 0x1007, pd + 0x2007, pd + 0x3007
	.fill 508, 8, 0
pd:
	.set a, 0
	.rept 2048
	.quad a + 0x87
	.set a, a + 0x200000
	.endr

	.bss
	.balign 16
	.skip 16384
	.globl stack_top, user_stack_top, handler_stack_top
stack_top:
	.skip 16384
user_stack_top:
	.skip 16384
handler_stack_top:
	.skip 64
other_stacks: /* GUEST_CPUS_MAX - 1 */
	.skip 7 * 8192
