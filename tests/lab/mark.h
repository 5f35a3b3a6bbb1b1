/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LODGE_LAB_MARK_H
#define LODGE_LAB_MARK_H

/*
 * Marks that the counting plugin (counts.c) sees, in the emulated machine and in guests within it.
 *
 * A mark is a long NOP, `nop dword ptr [rax + rax + 0x4c4f4400 + number]`: it touches nothing,
 * works at every privilege level, in every 32- and 64-bit mode, and never leaves the guest.
 * `number` is a constant from 0 to 255.
 */
#define MARK_START  1 /* the command is about to be executed */
#define MARK_END    2 /* the command has ended */
#define MARK_INIT   3 /* a guest's /init runs */
#define MARK_LINE   4 /* a guest's /init has written its first line */
#define MARK_LOOP_A 5 /* around loops of a measuring guest */
#define MARK_LOOP_B 6
#define MARK_LOOP_C 7

#ifndef __ASSEMBLER__
#define MARK_STRING_(number) #number
#define MARK_STRING(number)  MARK_STRING_(number)
#define MARK(number)                                                                           \
	__asm__ volatile(".byte 0x0f, 0x1f, 0x84, 0x00, " MARK_STRING(number) ", 0x44, 0x4f, " \
									      "0x4c")
#endif

#endif
