/* SPDX-License-Identifier: Apache-2.0 */
/* Two tasks that jump to each other, and an interrupt that is a third, for ever; now and then one
 * whose TSS holds selectors of anything. */
#include "guest.h"

#define SEL_A    SEL_FREE
#define SEL_B    (SEL_FREE + 8)
#define SEL_C    (SEL_FREE + 16)
#define SEL_WILD (SEL_FREE + 24)

static volatile u32 first[26], second[26], third[26], wild[26];
static u8 stack[2][4096];
static u32 noise = 2463534242u;

static u32 random(void)
{
	noise ^= noise << 13;
	noise ^= noise >> 17;
	noise ^= noise << 5;
	return noise;
}

static void describe(unsigned sel, volatile u32 *tss)
{
	uptr base = (uptr)tss;

	((volatile u64 *)gdt)[sel / 8] = 0x67 | (u64)(base & 0xffffff) << 16 | 0x89ull << 40 |
					 (u64)(base >> 24) << 56;
}

static void prepare(unsigned sel, volatile u32 *tss, void (*entry)(void), u8 *top)
{
	tss[8] = (uptr)entry;
	tss[9] = 2;
	tss[14] = (uptr)top;
	for (unsigned n = 18; n < 22; n++)
		tss[n] = n == 19 ? SEL_CODE : SEL_DATA;
	tss[25] = 0x68 << 16;
	describe(sel, tss);
}

void jumps_back(void);
void returns(void);
__asm__(".text\n"
	"jumps_back: ljmp $0x50, $0\n"
	"	jmp jumps_back\n"
	"returns: iret\n"
	"	jmp returns\n");

static void wild_task(uptr arg)
{
	(void)arg;
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_WILD));
}

void main(void)
{
	volatile u64 *idt;
	struct gate_table idtr;

	__asm__ volatile("sidt %0" : "=m"(idtr));
	idt = (volatile u64 *)idtr.base;
	idt[0x90] = (u64)SEL_C << 16 | 0x85ull << 40;
	describe(SEL_A, first);
	__asm__ volatile("ltr %w0" : : "r"(SEL_A));
	prepare(SEL_B, second, jumps_back, stack[0] + 4096);
	prepare(SEL_C, third, returns, stack[1] + 4096);
	for (u32 n = 0;; n++) {
		__asm__ volatile("ljmp %0, $0" : : "i"(SEL_B) : "memory");
		__asm__ volatile("int $0x90" : : : "memory");
		if (n % 16)
			continue;
		prepare(SEL_WILD, wild, jumps_back, stack[0] + 4096);
		wild[22 + random() % 2] = random() & 0xff; /* FS or GS */
		describe(SEL_A, first);
		describe(SEL_B, second);
		__asm__ volatile("ltr %w0" : : "r"(SEL_A));
		guest_try(wild_task, 0);
	}
}
