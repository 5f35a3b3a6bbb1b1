/* SPDX-License-Identifier: Apache-2.0 */
/* STI lets no interrupt come before the end of the next instruction (SDM vol. 2B, STI), wherever
 * that lies: here in another page, whose translation the processor has just been told to forget. */
#include "guest.h"

#define BASE    0xfee00000ull
#define EOI     0xb0
#define SVR     0xf0
#define TIMER   0x320
#define INITIAL 0x380
#define DIVIDE  0x3e0
#define TICK    0x50
#define TICKS   2000

static u8 page[2][4096] __attribute__((aligned(4096)));
static volatile u32 ticks, early;

static void wr(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(BASE + reg) = value;
}

/* The next one comes at another moment of the loop. */
static bool took(struct frame *frame)
{
	if (frame->vector != TICK)
		return false;
	ticks++;
	early += frame->ip == (uptr)page[1];
	wr(EOI, 0);
	wr(INITIAL, 4000 + ticks * 37 % 4096);
	return true;
}

void main(void)
{
	void (*last)(void) = (void (*)(void))(uptr)(page[1] - 1);

	page[0][4095] = 0xfb;             /* sti */
	copy(page[1], "\x90\xfa\xc3", 3); /* nop; cli; ret */
	guest_hook = took;
	wr(SVR, 0x1ff);
	wr(DIVIDE, 0xb); /* by 1 */
	wr(TIMER, TICK);
	wr(INITIAL, 4000);
	while (ticks < TICKS) {
		write_cr3(read_cr3());
		last();
	}
	check("no interrupt between STI and the next page", early, 0);
}
