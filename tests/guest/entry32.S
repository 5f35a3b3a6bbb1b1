/* SPDX-License-Identifier: Apache-2.0 */
/* From PVH's entry to main() in flat 32-bit protected mode, paging off; the ways into and out of
 * exceptions. */
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
	mov $stack_top, %esp
	mov $0x600, %eax /* OSFXSR, OSXMMEXCPT */
	mov %eax, %cr4
	mov $0x33, %eax
	mov %eax, %cr0
	lgdt gdtr
	ljmp $8, $1f
1:	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	call guest_start
2:	cli
	hlt
	jmp 2b

	.globl guest_reload_gdt
guest_reload_gdt:
	lgdt gdtr
	ret

	.globl call_guarded, come_back
call_guarded:
	mov 4(%esp), %eax
	mov 8(%esp), %ecx
	push %ebx
	push %ebp
	push %esi
	push %edi
	pushf
	mov %esp, guarded_sp
	cld
	push %ecx
	call *%eax
come_back:
	mov guarded_sp, %esp
	popf
	pop %edi
	pop %esi
	pop %ebp
	pop %ebx
	ret

	.globl enter_user
enter_user:
	mov 4(%esp), %eax
	mov 8(%esp), %ecx
	lea user_stack_top-16, %edx
	mov %ecx, 4(%edx)
	push $0x1b
	push %edx
	push $2
	push $0x23
	push %eax
	mov $0x1b, %eax
	mov %eax, %ds
	mov %eax, %es
	iret

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
	pusha
	mov %ds, %ebx
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	mov %esp, %eax
	push %eax
	call guest_trap
	add $4, %esp
	test %eax, %eax
	jz abandon
	mov %ebx, %ds
	mov %ebx, %es
	popa
	add $8, %esp
	iret
abandon:
	mov $0x10, %eax
	mov %eax, %ss
	jmp come_back

	.data
	.balign 16
	.globl gdt
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff /* 08 code32 */
	.quad 0x00cf93000000ffff /* 10 data */
	.quad 0x00cff3000000ffff /* 18 user data */
	.quad 0x00cffb000000ffff /* 20 user code32 */
	.quad 0x00cf9b000000ffff /* 28 code32 */
	.quad 0x008f9b000000ffff /* 30 code16, 4 GiB */
	.fill 57, 8, 0
gdtr:
	.word 64 * 8 - 1
	.long gdt
	.globl guarded_sp
guarded_sp:
	.long 0

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
