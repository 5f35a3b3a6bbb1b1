/* SPDX-License-Identifier: Apache-2.0 */
/* CPUID: leaves that agree with each other, with the control registers and with what the
 * instructions do; bits that follow registers; who each of four processors is. SDM vol. 2A CPUID,
 * vol. 1 13.2, vol. 3A 9.9.2 (topology); APM vol. 3 appendix E. */
#include "guest.h"

#define CPUS        4
#define LAPIC       0xfee00000ull
#define APIC_BASE   0x1b
#define EFER        0xc0000080
#define CR4_OSXSAVE (1u << 18)

enum { A, B, C, D };

extern u64 pml4[];

static u32 max_basic, max_extended;

static bool has(u32 leaf, u32 subleaf, unsigned reg, unsigned bit)
{
	u32 r[4];

	if (leaf > (leaf >> 31 ? max_extended : max_basic))
		return false;
	cpuid(leaf, subleaf, r);
	return r[reg] >> bit & 1;
}

/* --- leaves ---------------------------------------------------------------------------------- */

static void ask_in_ring_3(uptr leaf)
{
	u32 r[4];

	cpuid((u32)leaf, 0, r);
	__asm__ volatile("int $0x80");
}

static void leaves(void)
{
	u32 r[4], beyond[4], high[4];
	u64 a = 0xdeadbeef00000000ull, b = ~0ull, c = 0xdeadbeef00000000ull, d = ~0ull;

	cpuid(0, 0, r);
	max_basic = r[A];
	check("basic leaves", max_basic >= 0xd && max_basic < 0x100, 1);
	cpuid(0x80000000, 0, r);
	max_extended = r[A];
	check("extended leaves", max_extended >= 0x80000008 && max_extended < 0x80000100, 1);
	__asm__ volatile("cpuid" : "+a"(a), "+b"(b), "+c"(c), "+d"(d));
	check("EAX and ECX are looked at, not RAX and RCX", a, max_basic);
	check("  all four are cleared above bit 31", (a | b | c | d) >> 32, 0);
	check_fault("in ring 3", guest_try_user(ask_in_ring_3, 0), VEC_EXIT, 0);
	cpuid(max_basic, 0, high);
	cpuid(max_basic + 1, 0, beyond);
	if (vendor_amd())
		check("a basic leaf beyond: zeroes", beyond[A] | beyond[B] | beyond[C] | beyond[D],
		      0);
	else
		check("a basic leaf beyond: the highest",
		      beyond[A] == high[A] && beyond[B] == high[B], 1);
	cpuid(7, 0, r);
	cpuid(7, r[A] + 1, beyond);
	check("a subleaf beyond: zeroes", beyond[A] | beyond[B] | beyond[C] | beyond[D], 0);
	check("under a hypervisor", has(1, 0, C, 31), 1);
	cpuid(0x40000000, 0, r);
	check("  which says KVM", r[B] == 0x4b4d564b && r[C] == 0x564b4d56 && r[D] == 0x4d, 1);
}

static void sizes(void)
{
	u32 r[4], basic[4];

	cpuid(1, 0, basic);
	check("a cache line has 64 bytes", basic[B] >> 8 & 0xff, 8);
	/* What every processor with long mode has: FPU, TSC, MSR, PAE, CX8, APIC, CMOV, MMX, FXSR,
	 * SSE, SSE2. */
	check("the least of features", basic[D] & 0x07808370, 0x07808370);
	cpuid(0x80000001, 0, r);
	check("  SYSCALL, NX, LM", r[D] & 0x20100800, 0x20100800);
	if (vendor_amd())
		check("  bits of leaf 1 again, AMD", r[D] & 0x0183f3ff, basic[D] & 0x0183f3ff);
	cpuid(0x80000008, 0, r);
	check("physical addresses", (r[A] & 0xff) >= 36 && (r[A] & 0xff) <= 52, 1);
	check("linear addresses", r[A] >> 8 & 0xff, has(7, 0, C, 16) ? 57 : 48);
}

/* --- control registers ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	u8 bit;
	u8 reg; /* of the CPUID leaf */
	u8 feature;
	u32 leaf;
} cr4_bits[] = {
	{"CR4.VME", 0, D, 1, 1},          {"CR4.PVI", 1, D, 1, 1},
	{"CR4.TSD", 2, D, 4, 1},          {"CR4.DE", 3, D, 2, 1},
	{"CR4.PSE", 4, D, 3, 1},          {"CR4.MCE", 6, D, 7, 1},
	{"CR4.PGE", 7, D, 13, 1},         {"CR4.OSFXSR", 9, D, 24, 1},
	{"CR4.OSXMMEXCPT", 10, D, 25, 1}, {"CR4.UMIP", 11, C, 2, 7},
	{"CR4.VMXE", 13, C, 5, 1},        {"CR4.SMXE", 14, C, 6, 1},
	{"CR4.FSGSBASE", 16, B, 0, 7},    {"CR4.PCIDE", 17, C, 17, 1},
	{"CR4.OSXSAVE", 18, C, 26, 1},    {"CR4.KL", 19, C, 23, 7},
	{"CR4.SMEP", 20, B, 7, 7},        {"CR4.SMAP", 21, B, 20, 7},
	{"CR4.PKE", 22, C, 3, 7},         {"CR4.CET", 23, C, 7, 7},
	{"CR4.PKS", 24, C, 31, 7},        {"CR4.UINTR", 25, D, 5, 7},
};

static void set_cr4(uptr value)
{
	write_cr4(value);
}

/* Code lies in pages of ring 3, which SMEP forbids: they are ring 0's meanwhile. */
static void user_pages(bool user)
{
	for (unsigned n = 0; n < 2048; n++)
		pml4[1024 + n] = (pml4[1024 + n] & ~4ull) | (user ? 4 : 0);
	write_cr3(read_cr3());
}

static void control(void)
{
	uptr now = read_cr4();

	user_pages(false);
	for (unsigned n = 0; n < ARRAY_LEN(cr4_bits); n++) {
		bool there = has(cr4_bits[n].leaf, 0, cr4_bits[n].reg, cr4_bits[n].feature);
		struct fault f = guest_try(set_cr4, now ^ 1ul << cr4_bits[n].bit);

		if (there) {
			check_none(cr4_bits[n].name, f);
			check("  is changed", read_cr4() ^ now, 1ul << cr4_bits[n].bit);
		} else {
			check_fault(cr4_bits[n].name, f, 13, 0);
		}
		write_cr4(now);
	}
	user_pages(true);
	check_fault("CR4.LA57 cannot change in long mode", guest_try(set_cr4, now ^ 1 << 12), 13,
		    0);
	check_fault("CR4, bit 15", guest_try(set_cr4, now | 1 << 15), 13, 0);
}

static void follow(void)
{
	u64 base = rdmsr(APIC_BASE);

	check("APIC, while it is enabled", has(1, 0, D, 9), 1);
	wrmsr(APIC_BASE, base & ~0x800ull);
	check("  not while it is not", has(1, 0, D, 9), 0);
	wrmsr(APIC_BASE, base);
	check("  again", has(1, 0, D, 9), 1);
	check("OSPKE is CR4.PKE", has(7, 0, C, 4), 0);
	if (has(7, 0, C, 3)) {
		write_cr4(read_cr4() | 1u << 22);
		check("  set", has(7, 0, C, 4), 1);
		write_cr4(read_cr4() & ~(uptr)(1u << 22));
	}
	check("OSXSAVE is CR4.OSXSAVE", has(1, 0, C, 27), 0);
	if (has(1, 0, C, 26)) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		check("  set", has(1, 0, C, 27), 1);
		write_cr4(read_cr4() & ~(uptr)CR4_OSXSAVE);
		check("  clear", has(1, 0, C, 27), 0);
	}
}

/* --- extended states ------------------------------------------------------------------------- */

static void set_xcr0(uptr value)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

static u64 get_xcr0(void)
{
	u32 lo, hi;

	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (u64)hi << 32 | lo;
}

/* Bytes that these components take in the standard format. */
static u32 room(u64 components)
{
	u32 size = 576, r[4];

	for (unsigned n = 2; n < 63; n++) {
		if (!(components >> n & 1))
			continue;
		cpuid(13, n, r);
		if (r[B] + r[A] > size)
			size = r[B] + r[A];
	}
	return size;
}

static void states(void)
{
	u32 r[4];
	u64 all;

	if (!has(1, 0, C, 26))
		return;
	write_cr4(read_cr4() | CR4_OSXSAVE);
	check("XCR0 at power-on", get_xcr0(), 1);
	cpuid(13, 0, r);
	all = r[A] | (u64)r[D] << 32;
	check("x87 and SSE are states", all & 3, 3);
	check("  AVX is, if it is a feature", all >> 2 & 1, has(1, 0, C, 28));
	check("room for all", r[C], room(all));
	check("room for x87", r[B], 576);
	check_none("all in XCR0", guest_try(set_xcr0, all));
	check("  reads back", get_xcr0(), all);
	cpuid(13, 0, r);
	check("room for XCR0", r[B], room(all));
	set_xcr0(3);
	cpuid(13, 0, r);
	check("  smaller", r[B], 576);
	for (unsigned n = 3; n < 64; n++)
		if (!(all >> n & 1) && guest_try(set_xcr0, 3 | 1ull << n).vector != 13)
			check("a state that is not there is taken", n, 64);
	if (all & 4) {
		cpuid(13, 2, r);
		check("AVX lies at 576", r[B], 576);
		check("  and has 256 bytes", r[A], 256);
	}
	if (has(13, 1, A, 1)) {
		cpuid(13, 1, r);
		check("room in the compacted format", r[B], 576);
	}
	cpuid(13, 62, r);
	check("a state that is not there", r[A] | r[B] | r[C] | r[D], 0);
	set_xcr0(1);
	write_cr4(read_cr4() & ~(uptr)CR4_OSXSAVE);
}

/* --- instructions ---------------------------------------------------------------------------- */

#define TRY(name, code)                                            \
	static void try_##name(uptr at)                            \
	{                                                          \
		__asm__ volatile(code                              \
				 :                                 \
				 : "D"(at), "a"(0), "d"(0), "c"(0) \
				 : "memory", "cc", "rbx", "rsi");  \
	}
TRY(cx16, "lock cmpxchg16b (%0)")
TRY(movbe, "movbe (%0), %%eax")
TRY(popcnt, "popcnt %%edx, %%esi")
TRY(rdrand, "rdrand %%esi")
TRY(rdseed, "rdseed %%esi")
TRY(lahf, "lahf")
TRY(lzcnt, "lzcnt %%edx, %%esi")
TRY(andn, "andn %%eax, %%edx, %%esi")
TRY(pdep, "pdep %%eax, %%edx, %%esi")
TRY(adcx, "adcx %%edx, %%esi")
TRY(clflush, "clflush (%0)")
TRY(clflushopt, "clflushopt (%0)")
TRY(clwb, "clwb (%0)")
TRY(invpcid, "xor %%esi, %%esi; invpcid (%0), %%rsi")
TRY(rdtscp, "rdtscp")
TRY(rdpid, "rdpid %%rsi")
TRY(pshufb, "pshufb %%xmm0, %%xmm0")
TRY(pclmul, "pclmulqdq $0, %%xmm0, %%xmm0")
TRY(ptest, "ptest %%xmm0, %%xmm0")
TRY(crc32, "crc32l %%edx, %%esi")
TRY(aesenc, "aesenc %%xmm0, %%xmm0")
TRY(sha, "sha256msg1 %%xmm0, %%xmm0")
TRY(prefetchw, "prefetchw (%0)")
TRY(serialize, ".byte 0x0f, 0x01, 0xe8")
TRY(movdiri, "movdiri %%edx, (%0)")
TRY(wbnoinvd, ".byte 0xf3, 0x0f, 0x09")
TRY(clzero, ".byte 0x0f, 0x01, 0xfc")

/* A feature, and an instruction that comes with it. */
static const struct {
	const char *name;
	void (*run)(uptr at);
	u32 leaf;
	u8 reg, bit;
} instructions[] = {
	{"CMPXCHG16B", try_cx16, 1, C, 13},
	{"MOVBE", try_movbe, 1, C, 22},
	{"POPCNT", try_popcnt, 1, C, 23},
	{"RDRAND", try_rdrand, 1, C, 30},
	{"SSSE3", try_pshufb, 1, C, 9},
	{"PCLMULQDQ", try_pclmul, 1, C, 1},
	{"SSE4.1", try_ptest, 1, C, 19},
	{"SSE4.2", try_crc32, 1, C, 20},
	{"AES", try_aesenc, 1, C, 25},
	{"CLFLUSH", try_clflush, 1, D, 19},
	{"BMI1", try_andn, 7, B, 3},
	{"BMI2", try_pdep, 7, B, 8},
	{"INVPCID", try_invpcid, 7, B, 10},
	{"RDSEED", try_rdseed, 7, B, 18},
	{"ADX", try_adcx, 7, B, 19},
	{"CLFLUSHOPT", try_clflushopt, 7, B, 23},
	{"CLWB", try_clwb, 7, B, 24},
	{"SHA", try_sha, 7, B, 29},
	{"RDPID", try_rdpid, 7, C, 22},
	{"MOVDIRI", try_movdiri, 7, C, 27},
	{"SERIALIZE", try_serialize, 7, D, 14},
	{"LAHF", try_lahf, 0x80000001, C, 0},
	{"LZCNT", try_lzcnt, 0x80000001, C, 5},
	{"PREFETCHW", try_prefetchw, 0x80000001, C, 8},
	{"RDTSCP", try_rdtscp, 0x80000001, D, 27},
	{"CLZERO", try_clzero, 0x80000008, B, 0},
	{"WBNOINVD", try_wbnoinvd, 0x80000008, B, 9},
};

static void features(void)
{
	static u8 operand[256] __attribute__((aligned(64)));

	for (unsigned n = 0; n < ARRAY_LEN(instructions); n++) {
		if (!has(instructions[n].leaf, 0, instructions[n].reg, instructions[n].bit))
			continue;
		fill(operand, 0, sizeof(operand));
		check_none(instructions[n].name, guest_try(instructions[n].run, (uptr)operand));
	}
}

/* --- who is who ------------------------------------------------------------------------------ */

static struct identity {
	u32 lapic, leaf_1, cores, leaf_b[3], leaf_1e;
	bool boot;
} seen[CPUS];
static volatile u32 told;

static void tell(void)
{
	u32 id = *(volatile u32 *)(uptr)(LAPIC + 0x20) >> 24, r[4];
	struct identity *who = &seen[id % CPUS];

	who->lapic = id;
	cpuid(1, 0, r);
	who->leaf_1 = r[B] >> 24;
	who->cores = r[B] >> 16 & 0xff;
	for (u32 n = 0; n < 3; n++) {
		cpuid(0xb, n, r);
		who->leaf_b[n] = r[D];
	}
	cpuid(0x8000001e, 0, r);
	who->leaf_1e = r[A];
	who->boot = rdmsr(APIC_BASE) & 0x100;
	__asm__ volatile("lock incl %0" : "+m"(told));
}

static void topology(void)
{
	u32 r[4], smt;

	cpuid(0xb, 0, r);
	smt = r[A] & 31;
	check("level 0 is threads", r[C], 1 << 8);
	check("  one a core", r[B], 1);
	cpuid(0xb, 1, r);
	check("level 1 is cores", r[C], 2 << 8 | 1);
	check("  processors", r[B], CPUS);
	check("  bits of the id below the package", (r[A] & 31) - smt, 2);
	cpuid(0xb, 2, r);
	check("level 2 is none", r[A] | r[B] | r[C], 2);
	cpuid(0xb, 77, r);
	check("  nor is 77", r[C], 77);
	if (vendor_amd()) {
		cpuid(0x80000008, 0, r);
		check("cores less one, AMD", r[C] & 0xff, CPUS - 1);
		check("  bits of the id", r[C] >> 12 & 15, 2);
	}
	guest_start_others(CPUS, tell);
	tell();
	while (told < CPUS)
		__asm__ volatile("pause");
	for (u32 n = 0; n < CPUS; n++) {
		say("     processor ");
		say_hex(n);
		say("\n");
		check("its local APIC's id", seen[n].lapic, n);
		check("  in leaf 1", seen[n].leaf_1, n);
		check("  processors there", seen[n].cores, CPUS);
		check("  in leaf B", seen[n].leaf_b[0], n);
		check("    and its level 1", seen[n].leaf_b[1], n);
		check("    and beyond", seen[n].leaf_b[2], n);
		if (vendor_amd())
			check("  in 8000001E", seen[n].leaf_1e, n);
		check("  whether it began", seen[n].boot, n == 0);
	}
}

void main(void)
{
	leaves();
	sizes();
	control();
	follow();
	states();
	features();
	topology();
}
