/* SPDX-License-Identifier: Apache-2.0 */
/* x87 and SSE as the system sees them: #NM, #UD, #MF, #XM, FXSAVE, XSAVE and XRSTOR with their
 * checks, XCR0. SDM vol. 1 chapters 8, 11, 13; vol. 3A chapter 13. */
#include "guest.h"

#define CR0_MP         2u
#define CR0_EM         4u
#define CR0_TS         8u
#define CR0_NE         0x20u
#define CR4_OSFXSR     (1u << 9)
#define CR4_OSXMMEXCPT (1u << 10)
#define CR4_OSXSAVE    (1u << 18)

static u8 area[4096] __attribute__((aligned(64)));
static u8 other[4096] __attribute__((aligned(64)));

static void x87(uptr unused)
{
	(void)unused;
	__asm__ volatile("fninit; fld1; fstp %%st(0)" : : : "memory");
}

static void wait(uptr unused)
{
	(void)unused;
	__asm__ volatile("fwait");
}

static void sse(uptr unused)
{
	(void)unused;
	__asm__ volatile("xorps %xmm0, %xmm0");
}

static void mmx(uptr unused)
{
	(void)unused;
	__asm__ volatile("emms");
}

static void avx(uptr unused)
{
	(void)unused;
	__asm__ volatile("vxorps %ymm0, %ymm0, %ymm0");
}

static void availability(void)
{
	uptr cr0 = read_cr0();

	write_cr0(cr0 | CR0_TS | CR0_MP);
	check_fault("x87 with TS", guest_try(x87, 0), 7, 0);
	check_fault("SSE with TS", guest_try(sse, 0), 7, 0);
	check_fault("MMX with TS", guest_try(mmx, 0), 7, 0);
	check_fault("FWAIT with TS and MP", guest_try(wait, 0), 7, 0);
	write_cr0((cr0 | CR0_TS) & ~(uptr)CR0_MP);
	check_none("FWAIT with TS, without MP", guest_try(wait, 0));
	write_cr0(cr0 | CR0_EM);
	check_fault("x87 with EM", guest_try(x87, 0), 7, 0);
	check_fault("SSE with EM", guest_try(sse, 0), 6, 0);
	check_fault("MMX with EM", guest_try(mmx, 0), 6, 0);
	write_cr0(cr0);
	write_cr4(read_cr4() & ~(uptr)CR4_OSFXSR);
	check_fault("SSE without OSFXSR", guest_try(sse, 0), 6, 0);
	write_cr4(read_cr4() | CR4_OSFXSR);
	check_fault("AVX without OSXSAVE", guest_try(avx, 0), 6, 0);
}

static void divide_x87(uptr unused)
{
	u16 cw = 0x37f & ~4; /* zero divide unmasked */

	(void)unused;
	__asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp" : : "m"(cw));
}

static void divide_sse(uptr unused)
{
	u32 mxcsr = 0x1f80 & ~0x200u;
	u32 one = 0x3f800000, zero = 0;

	(void)unused;
	__asm__ volatile("ldmxcsr %0; movss %1, %%xmm1; divss %2, %%xmm1"
			 :
			 : "m"(mxcsr), "m"(one), "m"(zero));
}

static void load_mxcsr(uptr value)
{
	u32 v = (u32)value;

	__asm__ volatile("ldmxcsr %0" : : "m"(v));
}

static void exceptions(void)
{
	u32 mxcsr;

	check_none("an unmasked x87 exception waits", guest_try(divide_x87, 0));
	check_fault("  for the next waiting instruction", guest_try(wait, 0), 16, 0);
	__asm__ volatile("fnclex");
	check_none("  and is gone by FNCLEX", guest_try(wait, 0));
	check_fault("an unmasked SSE exception", guest_try(divide_sse, 0), 19, 0);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	check("  MXCSR.ZE", mxcsr & 0x3f, 4);
	write_cr4(read_cr4() & ~(uptr)CR4_OSXMMEXCPT);
	check_fault("  without OSXMMEXCPT", guest_try(divide_sse, 0), 6, 0);
	write_cr4(read_cr4() | CR4_OSXMMEXCPT);
	check_fault("reserved bits in MXCSR", guest_try(load_mxcsr, 0x80000000u), 13, 0);
	load_mxcsr(0x1f80);
}

static void fxsave_at(uptr at)
{
	__asm__ volatile("fxsave (%0)" : : "r"(at) : "memory");
}

static void fxrstor_at(uptr at)
{
	__asm__ volatile("fxrstor (%0)" : : "r"(at) : "memory");
}

static void images(void)
{
	u64 value = 0x1122334455667788ull, got = 0;

	__asm__ volatile("fninit; fld1; movq %0, %%xmm3" : : "r"(value));
	fill(area, 0xaa, 512);
	fxsave_at((uptr)area);
	check("FXSAVE: FCW", *(u16 *)area, 0x37f);
	check("  FSW: TOP is 7", *(u16 *)(area + 2), 0x3800);
	check("  FTW, abridged", area[4], 0x80);
	check("  ST0's mantissa", *(u64 *)(area + 32), 1ull << 63);
	check("  XMM3", *(u64 *)(area + 160 + 48), value);
	check("  bytes 464 to 511 are left", area[464], 0xaa);
	__asm__ volatile("pxor %xmm3, %xmm3; fninit");
	fxrstor_at((uptr)area);
	__asm__ volatile("movq %%xmm3, %0" : "=r"(got));
	check("FXRSTOR", got, value);
	check_fault("FXSAVE that is not aligned", guest_try(fxsave_at, (uptr)area + 8), 13, 0);
	*(u32 *)(area + 24) = 0x80001f80;
	check_fault("FXRSTOR with reserved bits in MXCSR", guest_try(fxrstor_at, (uptr)area), 13,
		    0);
	__asm__ volatile("fninit");
}

static void set_xcr0(uptr value)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void xsave_at(uptr at)
{
	__asm__ volatile("xsave (%0)" : : "r"(at), "a"(7), "d"(0) : "memory");
}

static void xrstor_at(uptr at)
{
	__asm__ volatile("xrstor (%0)" : : "r"(at), "a"(7), "d"(0) : "memory");
}

/* With AVX in XCR0. */
static void xsave_avx(uptr unused)
{
	u32 r[4];

	(void)unused;
	set_xcr0(3);
	set_xcr0(7);
	avx(0);
	cpuid(13, 0, r);
	check("CPUID.D: size for XCR0", r[1], 832);
	fill(area, 0, sizeof(area));
	fill(other, 0xff, 64);
	__asm__ volatile("vmovups %0, %%ymm5" : : "m"(*(u64(*)[4])other));
	xsave_at((uptr)area);
	check("XSAVE: XSTATE_BV has AVX", *(u64 *)(area + 512) & 4, 4);
	check("  upper half of YMM5", *(u64 *)(area + 576 + 80), ~0ull);
	copy(other, area, sizeof(other));
	*(u64 *)(other + 512) = 3;
	xrstor_at((uptr)other);
	fill(area, 0, sizeof(area));
	*(u64 *)(area + 576 + 80) = 5;
	xsave_at((uptr)area);
	check("XRSTOR puts AVX to its initial state",
	      *(u64 *)(area + 512) & 4 ? *(u64 *)(area + 576 + 80) : 0, 0);
}

static void xsave(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	if (!(r[2] & 1 << 26))
		return;
	check_fault("XSETBV without OSXSAVE", guest_try(set_xcr0, 3), 6, 0);
	check("CPUID.OSXSAVE follows CR4", r[2] >> 27 & 1, 0);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	cpuid(1, 0, r);
	check("  set", r[2] >> 27 & 1, 1);
	check_fault("XCR0 without x87", guest_try(set_xcr0, 2), 13, 0);
	check_fault("XCR0 with AVX, without SSE", guest_try(set_xcr0, 5), 13, 0);
	check_fault("XCR0 with a bit that is not there", guest_try(set_xcr0, 1ull << 62 | 1), 13,
		    0);
	check_fault("XSETBV in ring 3", guest_try_user(set_xcr0, 3), 13, 0);
	if (!(r[2] & 1 << 28)) {
		write_cr4(read_cr4() & ~(uptr)CR4_OSXSAVE);
		return;
	}
	set_xcr0(3);
	check_fault("AVX without XCR0.AVX", guest_try(avx, 0), 6, 0);
	check_none("with XCR0.AVX", guest_try(xsave_avx, 0));
	fill(other, 0, sizeof(other));
	*(u32 *)(other + 24) = 0x1f80;
	*(u64 *)(other + 512) = 1ull << 62;
	check_fault("XRSTOR of a component that is not there", guest_try(xrstor_at, (uptr)other),
		    13, 0);
	*(u64 *)(other + 512) = 3;
	*(u64 *)(other + 528) = 1;
	check_fault("XRSTOR with reserved bytes", guest_try(xrstor_at, (uptr)other), 13, 0);
	check_fault("XSAVE that is not aligned", guest_try(xsave_at, (uptr)area + 16), 13, 0);
	write_cr4(read_cr4() & ~(uptr)CR4_OSXSAVE);
}

void main(void)
{
	availability();
	exceptions();
	images();
	xsave();
}
