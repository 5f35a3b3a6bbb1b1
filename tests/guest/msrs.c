/* SPDX-License-Identifier: Apache-2.0 */
/* Model-specific registers: who may reach them, which there are, what values they take, and what
 * follows from them. SDM vol. 4 and vol. 3A 2.2.1, 11.4.4, 12.11, 12.12, 15.3; APM vol. 2 3.1. */
#include "guest.h"

#define TSC          0x10
#define APIC_BASE    0x1b
#define TSC_ADJUST   0x3b
#define MTRRCAP      0xfe
#define SYSENTER_CS  0x174
#define SYSENTER_ESP 0x175
#define SYSENTER_EIP 0x176
#define MCG_CAP      0x179
#define MCG_CTL      0x17b
#define MTRR_BASE0   0x200
#define MTRR_MASK0   0x201
#define MTRR_64K     0x250
#define MTRR_16K     0x259
#define MTRR_4K      0x26f
#define PAT          0x277
#define MTRR_DEFAULT 0x2ff
#define MC0_CTL      0x400
#define MC0_STATUS   0x401
#define XSS          0xda0
#define EFER         0xc0000080
#define STAR         0xc0000081
#define LSTAR        0xc0000082
#define CSTAR        0xc0000083
#define FMASK        0xc0000084
#define FS_BASE      0xc0000100
#define GS_BASE      0xc0000101
#define KERNEL_GS    0xc0000102
#define TSC_AUX      0xc0000103

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)
#define CR4_TSD  (1u << 2)

static u64 written; /* by write_it */

static void read_it(uptr index)
{
	rdmsr((u32)index);
}

static void write_it(uptr index)
{
	wrmsr((u32)index, written);
}

/* How writing a value ends; what was there is there again after. */
static struct fault try_write(u32 index, u64 value)
{
	u64 old = rdmsr(index);
	struct fault f;

	written = value;
	f = guest_try(write_it, index);
	wrmsr(index, old);
	return f;
}

static void refused(const char *name, u32 index, u64 value)
{
	check_fault(name, try_write(index, value), 13, 0);
}

static void kept(const char *name, u32 index, u64 value)
{
	u64 old = rdmsr(index);

	written = value;
	check_none(name, guest_try(write_it, index));
	check("  and reads back", rdmsr(index), value);
	wrmsr(index, old);
}

static bool has(u32 leaf, u32 subleaf, unsigned reg, unsigned bit)
{
	u32 r[4];

	cpuid(leaf, subleaf, r);
	return r[reg] >> bit & 1;
}

static u64 rdtsc(void)
{
	u32 lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* --- who, and which -------------------------------------------------------------------------- */

static void access(void)
{
	/* Bits 32 and 33 of RCX are clear for the lab's sake: docs/lab.md. */
	u64 a = ~0ull, d = ~0ull, c = 0xdeadbee000000000ull | PAT;

	check_fault("RDMSR in ring 3", guest_try_user(read_it, PAT), 13, 0);
	written = rdmsr(PAT);
	check_fault("WRMSR in ring 3", guest_try_user(write_it, PAT), 13, 0);
	check_fault("a register that is not there", guest_try(read_it, 0xc0001234), 13, 0);
	check_fault("  write", guest_try(write_it, 0xc0001234), 13, 0);
	check_fault("  between two stretches", guest_try(read_it, 0x40000000), 13, 0);
	check_fault("  the last number", guest_try(read_it, 0xffffffff), 13, 0);
	check_fault("  0x2ff's neighbour", guest_try(read_it, 0x2fe), 13, 0);
	__asm__ volatile("rdmsr" : "+a"(a), "+d"(d), "+c"(c));
	check("RDMSR clears RAX above bit 31", a >> 32, 0);
	check("  and RDX", d >> 32, 0);
	check("  and looks at ECX only", a | d << 32, rdmsr(PAT));
	__asm__ volatile("wrmsr"
			 :
			 : "c"(c), "a"(a | 0xffffffff00000000ull), "d"(d | 0xffffffff00000000ull)
			 : "memory");
	check("WRMSR takes EDX:EAX", rdmsr(PAT), a | d << 32);
}

/* --- long mode and system calls --------------------------------------------------------------- */

static void efer(void)
{
	u64 now = rdmsr(EFER);

	check("EFER: LMA, LME, NXE, SCE", now, EFER_LMA | EFER_LME | EFER_NXE | EFER_SCE);
	refused("EFER: bit 9", EFER, now | 1 << 9);
	refused("EFER: bit 40", EFER, now | 1ull << 40);
	refused("EFER: bit 63", EFER, now | 1ull << 63);
	refused("EFER: SVME, which CPUID does not have", EFER, now | 1 << 12);
	refused("EFER: LME goes with paging on", EFER, now & ~EFER_LME);
	wrmsr(EFER, now & ~EFER_SCE);
	check("EFER: SCE goes", rdmsr(EFER), now & ~EFER_SCE);
	written = now & ~EFER_LMA;
	guest_try(write_it, EFER); /* some processors ignore it, some object */
	check("EFER: LMA is the processor's", rdmsr(EFER) & EFER_LMA, EFER_LMA);
	wrmsr(EFER, now);
}

static void system_calls(void)
{
	kept("STAR", STAR, 0x123456789abcdef0ull);
	kept("LSTAR", LSTAR, 0xffff800000000000ull);
	refused("LSTAR above the lower half", LSTAR, 1ull << 57);
	kept("CSTAR", CSTAR, 0x00007fffffffffffull);
	refused("CSTAR below the upper half", CSTAR, 0xf000000000000000ull);
	kept("FMASK", FMASK, 0x47700);
	kept("KERNEL_GS_BASE", KERNEL_GS, 0xffffffff80000000ull);
	kept("SYSENTER_CS", SYSENTER_CS, 0x1234);
	kept("SYSENTER_ESP", SYSENTER_ESP, 0x89abcdef);
	kept("SYSENTER_EIP", SYSENTER_EIP, 0x89abcdef);
	if (!vendor_amd()) /* where bits 63 to 32 are reserved and nothing is said of them */
		refused("SYSENTER_EIP not canonical", SYSENTER_EIP, 1ull << 62);
}

static u64 fs_word(u64 at)
{
	u64 got;

	__asm__ volatile("movq %%fs:(%1), %0" : "=r"(got) : "r"(at) : "memory");
	return got;
}

static void fs_read(uptr at)
{
	fs_word(at);
}

static void bases(void)
{
	static u64 word = 0x1122334455667788ull;

	wrmsr(FS_BASE, (uptr)&word);
	check("FS.base is added", fs_word(0), word);
	wrmsr(FS_BASE, 0xffffffffffff0000ull);
	check("  modulo 2^64", fs_word((uptr)&word + 0x10000), word);
	wrmsr(FS_BASE, 0x00007fffffff0000ull);
	check_fault("  a sum not canonical", guest_try(fs_read, 0x10000), 13, 0);
	refused("GS.base not canonical", GS_BASE, 1ull << 60);
	wrmsr(FS_BASE, 0x123456789abcull);
	__asm__ volatile("mov %0, %%fs" : : "r"(SEL_DATA));
	check("a selector loads the base of its descriptor", rdmsr(FS_BASE), 0);
	wrmsr(FS_BASE, 0);
	__asm__ volatile("mov %0, %%fs" : : "r"(0));
}

/* --- time ------------------------------------------------------------------------------------ */

static void read_tsc(uptr unused)
{
	(void)unused;
	rdtsc();
	__asm__ volatile("int $0x80");
}

static void read_tscp(uptr unused)
{
	(void)unused;
	__asm__ volatile("rdtscp; int $0x80" : : : "eax", "ecx", "edx");
}

static void read_counter(uptr unused)
{
	(void)unused;
	__asm__ volatile("rdpmc" : : "c"(0) : "eax", "edx");
}

static void rdtscp(void)
{
	u32 aux;

	if (!has(0x80000001, 0, 3, 27))
		return;
	wrmsr(TSC_AUX, 0x87654321);
	__asm__ volatile("rdtscp" : "=c"(aux) : : "eax", "edx");
	check("RDTSCP gives TSC_AUX", aux, 0x87654321);
	if (has(7, 0, 2, 22)) {
		u64 pid;

		__asm__ volatile("rdpid %0" : "=r"(pid));
		check("RDPID too", pid, 0x87654321);
	}
	if (!vendor_amd())
		refused("TSC_AUX above bit 31", TSC_AUX, 1ull << 32);
	write_cr4(read_cr4() | CR4_TSD);
	check_fault("RDTSCP in ring 3 with CR4.TSD", guest_try_user(read_tscp, 0), 13, 0);
	write_cr4(read_cr4() & ~(uptr)CR4_TSD);
	check_fault("RDTSCP in ring 3", guest_try_user(read_tscp, 0), VEC_EXIT, 0);
}

static void adjust(void)
{
	const u64 far = 1ull << 50;
	u64 before;

	if (!has(7, 0, 1, 1))
		return;
	check("TSC_ADJUST", rdmsr(TSC_ADJUST), 0);
	wrmsr(TSC_ADJUST, far);
	check("  moves the TSC", rdtsc() >= far, 1);
	wrmsr(TSC_ADJUST, 0);
	before = rdtsc();
	check("  and back", before < far, 1);
	wrmsr(TSC, far);
	/* By how much the TSC was moved; it ran in between. */
	check("writing the TSC is seen in TSC_ADJUST",
	      far - rdmsr(TSC_ADJUST) >= before && rdmsr(TSC_ADJUST) < far, 1);
	wrmsr(TSC_ADJUST, 0);
	check("  and taken back by it", rdtsc() < far, 1);
}

static void time(void)
{
	write_cr4(read_cr4() | CR4_TSD);
	check_fault("RDTSC in ring 3 with CR4.TSD", guest_try_user(read_tsc, 0), 13, 0);
	check("  ring 0 may", rdtsc() > 0, 1);
	write_cr4(read_cr4() & ~(uptr)CR4_TSD);
	check_fault("RDTSC in ring 3", guest_try_user(read_tsc, 0), VEC_EXIT, 0);
	check_fault("RDPMC in ring 3 without CR4.PCE", guest_try_user(read_counter, 0), 13, 0);
	wrmsr(TSC, 1ull << 52);
	check("the TSC counts on from what is written", rdtsc() - (1ull << 52) < 1ull << 40, 1);
	check("  and the MSR is the same", rdmsr(TSC) - (1ull << 52) < 1ull << 40, 1);
	wrmsr(TSC, 0);
	rdtscp();
	if (has(7, 0, 1, 1))
		wrmsr(TSC_ADJUST, 0);
	adjust();
}

/* --- memory types ---------------------------------------------------------------------------- */

/* Which types the highest of the first so many bytes takes. */
static void types(const char *what, u32 index, unsigned bytes, u8 uc_minus)
{
	unsigned taken = 0;

	for (unsigned type = 0; type < 256; type++) {
		u64 value = rdmsr(index) & ~(0xffull << 8 * (bytes - 1));
		struct fault f = try_write(index, value | (u64)type << 8 * (bytes - 1));

		if (f.vector == NO_FAULT)
			taken |= 1u << (type < 31 ? type : 31);
	}
	/* UC, WC, WT, WP, WB, and in the PAT UC-. */
	check(what, taken, 1 << 0 | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | uc_minus << 7);
}

static void pat(void)
{
	if (!has(1, 0, 3, 16))
		return;
	check("PAT at power-on", rdmsr(PAT), 0x0007040600070406ull);
	kept("PAT", PAT, 0x0106050400070106ull);
	types("PAT: types of the first", PAT, 1, 1);
	types("PAT: types of the last", PAT, 8, 1);
}

static void ranges(void)
{
	u32 r[4];
	u64 cap;

	if (!has(1, 0, 3, 12))
		return;
	cap = rdmsr(MTRRCAP);
	cpuid(0x80000008, 0, r);
	written = cap;
	check_fault("MTRRCAP cannot be written", guest_try(write_it, MTRRCAP), 13, 0);
	check("  variable and fixed ranges", (cap & 0xff) > 0 && cap & 1 << 8, 1);
	check_fault("a range beyond them", guest_try(read_it, MTRR_BASE0 + 2 * (cap & 0xff)), 13,
		    0);
	kept("MTRR, a base", MTRR_BASE0, 0x12345006);
	refused("  a reserved bit", MTRR_BASE0, 0x12345106);
	refused("  above MAXPHYADDR", MTRR_BASE0, 1ull << (r[0] & 0xff) | 6);
	types("  its types", MTRR_BASE0, 1, 0);
	kept("MTRR, a mask", MTRR_MASK0, 0xfff000800);
	refused("  a reserved bit", MTRR_MASK0, 0xfff000801);
	refused("  above MAXPHYADDR", MTRR_MASK0, 1ull << (r[0] & 0xff) | 0x800);
	kept("MTRR, the default", MTRR_DEFAULT, 0xc00 | 6);
	refused("  a reserved bit", MTRR_DEFAULT, 0x1c00 | 6);
	types("  its types", MTRR_DEFAULT, 1, 0);
	if (!(cap & 1 << 8))
		return;
	kept("MTRR, 64 KiB each", MTRR_64K, 0x0606060606060606ull);
	types("  types of the first", MTRR_64K, 1, 0);
	types("  types of the last", MTRR_64K, 8, 0);
	kept("MTRR, 16 KiB each", MTRR_16K, 0x0001040506000104ull);
	kept("MTRR, 4 KiB each", MTRR_4K, 0x0505050505050505ull);
}

/* --- the others ------------------------------------------------------------------------------ */

/* The local APIC's page: no RAM, no device lies where it goes. */
#define ELSEWHERE 0xfed40000ull
#define VERSION   0x30

static void apic_base(void)
{
	u64 now = rdmsr(APIC_BASE);
	u32 version = *(volatile u32 *)(uptr)((now & ~0xfffull) + VERSION);

	check("APIC_BASE: enabled, the boot processor", now, 0xfee00900);
	refused("APIC_BASE: bit 0", APIC_BASE, now | 1);
	refused("APIC_BASE: bit 9", APIC_BASE, now | 1 << 9);
	refused("APIC_BASE: x2APIC without enable", APIC_BASE, (now & ~0x800ull) | 0x400);
	wrmsr(APIC_BASE, ELSEWHERE | (now & 0xfff));
	check("the local APIC elsewhere", *(volatile u32 *)(uptr)(ELSEWHERE + VERSION), version);
	wrmsr(APIC_BASE, now);
	check("  and back", *(volatile u32 *)(uptr)((now & ~0xfffull) + VERSION), version);
}

static void machine_check(void)
{
	u64 cap;

	if (!has(1, 0, 3, 14))
		return;
	cap = rdmsr(MCG_CAP);
	check("machine check banks", (cap & 0xff) > 0, 1);
	refused("  bank 0's status takes zeroes only", MC0_STATUS, 1);
	written = 0;
	check_none("  which it does", guest_try(write_it, MC0_STATUS));
	check("  and is clear", rdmsr(MC0_STATUS), 0);
	kept("  bank 0's control", MC0_CTL, ~0ull);
	check_fault("a bank beyond them", guest_try(read_it, MC0_CTL + 4 * (cap & 0xff)), 13, 0);
	if (cap & 1 << 8)
		kept("MCG_CTL", MCG_CTL, 0);
}

static void states(void)
{
	if (has(1, 0, 2, 26) && has(13, 1, 0, 3)) {
		check("XSS", rdmsr(XSS), 0);
		refused("  a component that is not there", XSS, 1ull << 62);
		refused("  one that is XCR0's", XSS, 1);
	}
}

void main(void)
{
	access();
	efer();
	system_calls();
	bases();
	time();
	pat();
	ranges();
	apic_base();
	machine_check();
	states();
}
