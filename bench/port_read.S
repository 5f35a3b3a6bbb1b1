/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that reads the serial port's line status 1,000 and then 2,000 times, with marks around
 * both loops: the difference of the two differences is the cost of 1,000 reads and of nothing else.
 * It ends by a triple fault, which every monitor notices.
 *
 * An ELF file entered by PVH (32-bit protected mode, no paging): the note below holds the entry.
 */
#include "../tests/lab/mark.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define LINE_STATUS		 0x3fd

.macro mark number
	.byte	0x0f, 0x1f, 0x84, 0x00, \number, 0x44, 0x4f, 0x4c
.endm

.macro reads count
	movl	$\count, %ecx
1:	inb	%dx, %al
	decl	%ecx
	jnz	1b
.endm

	.section .note.PVH, "a", @note
	.balign	4
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	_start

	.text
	.code32
	.globl	_start
_start:
	movl	$LINE_STATUS, %edx
	reads	100
	mark	MARK_LOOP_A
	reads	1000
	mark	MARK_LOOP_B
	reads	2000
	mark	MARK_LOOP_C
	lidt	no_idt
	int3

	.balign	8
no_idt:	.word	0
	.long	0

	.section .note.GNU-stack, "", @progbits
