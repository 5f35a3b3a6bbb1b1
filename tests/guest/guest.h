/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guests of this folder stand on: a processor in ring 0 with a flat address
 * space, an IDT that catches everything, a console, and verdicts.
 *
 * Each topic is one file with a main(). It states what the manuals say by check(),
 * which prints "ok" or "FAIL" with both values; so its output is the same under
 * every engine that is right. Built for 64-bit mode (entry64.S) or, where the file's
 * name ends in 32, for 32-bit protected mode (entry32.S).
 */
#ifndef LODGE_TESTS_GUEST_H
#define LODGE_TESTS_GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned long uptr; /* as wide as a pointer */
typedef _Bool bool;
#define true 1
#define false 0
#define NULL         ((void *)0)
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Selectors of the GDT in the entry files. Free slots follow for the topics' own. */
#define SEL_NULL   0x00
#define SEL_CODE   0x08 /* ring 0 code of the guest's width */
#define SEL_DATA   0x10
#define SEL_UDATA  0x1b /* ring 3 */
#define SEL_UCODE  0x23
#define SEL_CODE32 0x28 /* in 64-bit guests: compatibility mode */
#define SEL_CODE16 0x30
#define SEL_TSS    0x40 /* two slots in 64-bit guests */
#define SEL_FREE   0x50

struct gate_table {
	u16 limit;
	uptr base;
} __attribute__((packed));

extern u64 gdt[64];
extern u8 vectors[]; /* the default handlers, 16 bytes each */
extern u8 stack_top[], user_stack_top[], handler_stack_top[];

/* What an exception or interrupt left: the registers of the interrupted code. */
struct frame {
#ifdef __x86_64__
	u64 r15, r14, r13, r12, r11, r10, r9, r8, di, si, bp, dx, cx, bx, ax;
#else
	u32 di, si, bp, unused, bx, dx, cx, ax;
#endif
	uptr vector, error, ip, cs, flags, sp, ss;
};

/* How guest_try ended. */
#define NO_FAULT 0xffffu
#define VEC_EXIT 0x80 /* int $0x80: user code is done */
struct fault {
	uptr vector; /* NO_FAULT: the function returned */
	uptr error, ip, cs, flags, sp, ss, cr2, dr6;
};

/* Calls fn(arg) and catches an exception or interrupt in it, also from ring 3. */
struct fault guest_try(void (*fn)(uptr arg), uptr arg);
/* Runs fn in ring 3 on the user stack until an exception; int $0x80 is its good end. */
struct fault guest_try_user(void (*fn)(uptr arg), uptr arg);

/* Sees every exception first; true: resume the interrupted code with the frame as it is now. */
extern bool (*guest_hook)(struct frame *frame);

/* Writes an IDT entry (type as in the manual: 0xe interrupt, 0xf trap gate). */
void guest_gate(unsigned vector, void *target, unsigned type, unsigned dpl, unsigned ist);
/* Its selector, which for a task gate is a TSS's. */
void guest_gate_selector(unsigned vector, u16 selector);
void guest_gate_present(unsigned vector, bool present);
/* The default handler of a vector, to put it back. */
void guest_gate_default(unsigned vector);
void guest_reload_gdt(void);

#ifdef __x86_64__
/* Has processors 1 to cpus - 1 begin, one after the other, in 64-bit mode with the boot processor's
 * tables: each calls fn and halts when that returns. Returns when the last has called it; a
 * processor that does not come is waited for. */
#define GUEST_CPUS_MAX 8
void guest_start_others(unsigned cpus, void (*fn)(void));
#endif

/* The console. */
void say(const char *text);
void say_hex(u64 value);

/* Verdicts. */
void check(const char *name, u64 got, u64 want);
/* That f is exception vector with this error code (for those that have one). */
void check_fault(const char *name, struct fault f, unsigned vector, uptr error);
void check_none(const char *name, struct fault f);

void main(void);

static inline void out8(u16 port, u8 v)
{
	__asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(port));
}

static inline void out16(u16 port, u16 v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(port));
}

static inline u8 in8(u16 port)
{
	u8 v;

	__asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static inline u64 rdmsr(u32 index)
{
	u32 lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index));
	return (u64)hi << 32 | lo;
}

static inline void wrmsr(u32 index, u64 value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(index), "a"((u32)value), "d"((u32)(value >> 32))
			 : "memory");
}

static inline void cpuid(u32 leaf, u32 subleaf, u32 r[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3])
			 : "a"(leaf), "c"(subleaf));
}

static inline bool vendor_amd(void)
{
	u32 r[4];

	cpuid(0, 0, r);
	return r[1] == 0x68747541 || r[1] == 0x6f677948;
}

#define READ_REG(name)                                                          \
	static inline uptr read_##name(void)                                    \
	{                                                                       \
		uptr v;                                                         \
		__asm__ volatile("mov %%" #name ", %0" : "=r"(v) : : "memory"); \
		return v;                                                       \
	}                                                                       \
	static inline void write_##name(uptr v)                                 \
	{                                                                       \
		__asm__ volatile("mov %0, %%" #name : : "r"(v) : "memory");     \
	}
READ_REG(cr0)
READ_REG(cr2)
READ_REG(cr3)
READ_REG(cr4)
READ_REG(dr0)
READ_REG(dr1)
READ_REG(dr2)
READ_REG(dr3)
READ_REG(dr6)
READ_REG(dr7)

static inline uptr read_flags(void)
{
	uptr v;

	__asm__ volatile("pushf; pop %0" : "=r"(v) : : "memory");
	return v;
}

static inline void write_flags(uptr v)
{
	__asm__ volatile("push %0; popf" : : "r"(v) : "memory", "cc");
}

static inline void invlpg(uptr at)
{
	__asm__ volatile("invlpg (%0)" : : "r"(at) : "memory");
}

static inline void fill(void *at, u8 byte, uptr len)
{
	u8 *p = at;

	while (len--)
		*p++ = byte;
}

static inline void copy(void *to, const void *from, uptr len)
{
	u8 *t = to;
	const u8 *f = from;

	while (len--)
		*t++ = *f++;
}

#endif
