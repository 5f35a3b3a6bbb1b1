/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page that is mapped elsewhere while a processor reads, writes or executes it in a hot loop.
 *
 * The second processor changes the page's entry, tells the first by an IPI, whose handler
 * executes INVLPG, and goes on when that has been done (SDM vol. 3A 4.10.5; AMD APM vol. 2, 5.5.2).
 * From then on the first may find nothing but the new page; before, the old or the new one. Where
 * it is told nothing, it may find either until it flushes its TLB itself (4.10.2.3). An entry that
 * gets more rights, or becomes present, needs no flush: an access may fault once more, and then
 * succeeds (4.10.4.3). No page's content changes in the tests of reading and executing: what is
 * found is told by the mapping alone.
 *
 * With one processor its timer's handler does what the second one would.
 *
 * The mappings are numbered; number n is of frame n % FRAMES. begun: the latest that may be found;
 * acked: the oldest that may.
 */
#include "window.h"

#define APIC    0xfee00000ull
#define EOI     0xb0
#define SVR     0xf0
#define ICR     0x300
#define ICR_TO  0x310
#define TIMER   0x320
#define INITIAL 0x380
#define DIVIDE  0x3e0
#define TELL    0x60
#define TICK    0x50
#define WP      (1u << 16)

#define FRAMES 4u
#define ROUNDS 40u
#define GO     200u /* iterations of a hot loop */

/* Words of a frame, by their bytes' offsets: of the writing loop. */
enum { STORED = 0, ADDED = 64, LOCKED = 4092 };
static const unsigned words[] = {STORED, ADDED, LOCKED};

struct phase {
	const char *name;
	void (*loop)(void);
	void (*fill)(unsigned n);
	unsigned page; /* of the window: the one that is mapped elsewhere */
	bool silent;   /* nobody is told */
	bool staged;   /* mapped with `first` until that has made faults, then with all rights */
	u64 first;
};

static u8 frame[FRAMES][4096] __attribute__((aligned(4096)));
static u32 frozen[FRAMES][ARRAY_LEN(words)];
static const struct phase *volatile now;
static volatile bool over, alone;
static volatile u32 judged, wrong, missed, missed_before, iterations;
volatile u32 remap_begun, remap_acked, remap_judged, remap_wrong;
static volatile u32 written;
#define begun remap_begun
#define acked remap_acked

static void wr(unsigned reg, u32 value)
{
	*(volatile u32 *)(uptr)(APIC + reg) = value;
}

static inline void pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

/* --- the first processor: what it finds ------------------------------------------------------ */

/* That v was found; a, loaded before it, was the oldest mapping and b, loaded after, the latest. */
static inline void judge(u32 a, u32 v, u32 b)
{
	judged += a == b;
	wrong += v >= FRAMES || (b - a < FRAMES && (v - a) % FRAMES > b - a);
}

/* Of number n alone: each word says which frame it is in. */
static void fill_numbers(unsigned n)
{
	for (unsigned i = 0; i < 4096; i += 4)
		*(u32 *)(frame[n] + i) = n;
}

static void fill_zero(unsigned n)
{
	fill(frame[n], 0, 4096);
}

static void read_word(void)
{
	for (unsigned i = 0; i < GO; i++) {
		u32 a = acked;
		u32 v = *(volatile u32 *)(WINDOW + 8);

		judge(a, v, begun);
	}
}

static void read_near(void)
{
	for (unsigned i = 0; i < GO; i++) {
		u32 a = acked, v[3], b;

		__asm__ volatile("mov (%3), %0\n"
				 "mov 8(%3), %1\n"
				 "mov 120(%3), %2"
				 : "=&r"(v[0]), "=&r"(v[1]), "=&r"(v[2])
				 : "r"(WINDOW + 256)
				 : "memory");
		b = begun;
		for (unsigned k = 0; k < 3; k++)
			judge(a, v[k], b);
	}
}

static void read_string(void)
{
	static u32 to[16];

	for (unsigned i = 0; i < GO; i++) {
		u32 a = acked, b;
		u32 *di = to;
		u64 si = WINDOW + 1024, cx = ARRAY_LEN(to);

		__asm__ volatile("rep movsl" : "+D"(di), "+S"(si), "+c"(cx) : : "memory");
		b = begun;
		judge(a, to[0], b);
		judge(a, to[ARRAY_LEN(to) - 1], b);
	}
}

static void write_words(void)
{
	for (unsigned i = 0; i < GO; i++) {
		u32 a = acked;

		*(volatile u32 *)(WINDOW + STORED) = ++iterations;
		__asm__ volatile("incl %0" : "+m"(*(u32 *)(WINDOW + ADDED)) : : "memory");
		__asm__ volatile("lock incl %0" : "+m"(*(u32 *)(WINDOW + LOCKED)) : : "memory");
		judged += a == begun;
	}
}

/* mov eax, n; ret */
static void put_function(u8 *at, unsigned n)
{
	at[0] = 0xb8;
	*(volatile u32 *)(at + 1) = n;
	at[5] = 0xc3;
}

static void call_at(u64 at)
{
	for (unsigned i = 0; i < GO; i++) {
		u32 a = acked;
		u32 v = ((u32(*)(void))(uptr)at)();

		judge(a, v, begun);
	}
}

static void fill_function(unsigned n)
{
	put_function(frame[n] + 32, n);
}

static void execute(void)
{
	call_at(WINDOW + 32);
}

/* From the window's first page, which stays, a jump to the second, which does not. */
static void fill_across(unsigned n)
{
	put_function(frame[n], n);
	page[0][1024] = 0xe9;
	*(volatile u32 *)(page[0] + 1025) = 4096 - 1029;
}

static void execute_across(void)
{
	call_at(WINDOW + 1024);
}

/* The instruction begins in the first page, its constant is in the second. */
static void fill_straddling(unsigned n)
{
	*(volatile u32 *)frame[n] = n;
	frame[n][4] = 0xc3;
	page[0][4095] = 0xb8;
}

static void execute_straddling(void)
{
	call_at(EDGE - 1);
}

/* A loop that is in the page itself: judge(), but without the cases where begun is ahead. */
extern u8 remap_inside[], remap_inside_number[], remap_inside_end[];
__asm__(".text\n"
	"remap_inside:\n"
	"	mov $200, %ecx\n"
	"1:	mov remap_acked, %edx\n"
	"	.byte 0xb8\n" /* mov eax, number */
	"remap_inside_number:\n"
	"	.long 0\n"
	"	mov remap_begun, %esi\n"
	"	cmp %edx, %esi\n"
	"	jne 2f\n"
	"	incl remap_judged\n"
	"	and $3, %edx\n"
	"	cmp %edx, %eax\n"
	"	je 2f\n"
	"	incl remap_wrong\n"
	"2:	dec %ecx\n"
	"	jnz 1b\n"
	"	ret\n"
	"remap_inside_end:\n");

static void fill_inside(unsigned n)
{
	copy(frame[n] + 64, remap_inside, (uptr)(remap_inside_end - remap_inside));
	*(volatile u32 *)(frame[n] + 64 + (remap_inside_number - remap_inside)) = n;
}

static void execute_inside(void)
{
	u64 at = WINDOW + 64;

	remap_judged = 0;
	remap_wrong = 0;
	__asm__ volatile("call *%0" : : "r"(at) : "rax", "rcx", "rdx", "rsi", "memory", "cc");
	judged += remap_judged;
	wrong += remap_wrong;
}

/* --- the second processor, or the first one's handlers: mapping ------------------------------ */

static u32 *word(unsigned n, unsigned which)
{
	return (u32 *)(frame[n % FRAMES] + words[which]);
}

static void map(u32 n, u64 rights)
{
	*(volatile u64 *)pte(now->page) = rights ? (uptr)frame[n % FRAMES] | rights : 0;
}

static void map_next(u32 n)
{
	/* What is mapped nowhere is written by nobody. */
	for (unsigned f = 0; f < FRAMES; f++)
		for (unsigned i = 0; i < ARRAY_LEN(words) && f != (n - 1) % FRAMES; i++)
			wrong += *word(f, i) != frozen[f][i];
	missed_before = missed;
	begun = n;
	map(n, now->staged ? now->first : ALL);
	written = n;
}

static void was_told(u32 n)
{
	for (unsigned i = 0; i < ARRAY_LEN(words) && !now->silent; i++)
		frozen[(n - 1) % FRAMES][i] = *word(n - 1, i);
}

/* Ends the stage that makes faults: they have come, and nothing was written. */
static void give_rights(u32 n)
{
	for (unsigned i = 0; i < ARRAY_LEN(words); i++)
		wrong += *word(n, i) != frozen[n % FRAMES][i];
	map(n, ALL);
}

/* How much is to be judged of mapping n. */
static u32 pace(u32 n)
{
	static const u32 paces[] = {1, 3000, 30, 300};

	return paces[n % ARRAY_LEN(paces)];
}

static void one_round(u32 n)
{
	u32 from;

	map_next(n);
	if (!now->silent) {
		wr(ICR_TO, 0);
		wr(ICR, 0x4000 | TELL);
		while (acked != n)
			pause();
		was_told(n);
	}
	if (now->staged) {
		/* An iteration may be behind its access when it is told. */
		from = judged;
		while (missed - missed_before < 2 && judged - from < 8)
			pause();
		wrong += missed - missed_before < 2;
		give_rights(n);
	}
	from = judged;
	while (judged - from < pace(n))
		pause();
}

static void second(void)
{
	for (const struct phase *done = NULL;;) {
		while (over || now == done)
			pause();
		for (u32 n = 1; n <= ROUNDS; n++)
			one_round(n);
		done = now;
		over = true;
	}
}

/* With one processor. */
static void tick(void)
{
	static u32 from;
	u32 n = begun;

	if (!n)
		from = judged;
	if (n && (acked != n || judged - from < pace(n)))
		goto again;
	if (n == ROUNDS) {
		over = true;
		return;
	}
	from = judged;
	map_next(++n);
	if (!now->silent) {
		invlpg(WINDOW + 4096 * now->page);
		acked = n;
		was_told(n);
	}
again:
	wr(INITIAL, 3000 + (n * 37 + judged) % 4096);
}

/* --- the first processor's handlers, and the course ------------------------------------------ */

static bool handler(struct frame *f)
{
	switch (f->vector) {
	case TELL:
		invlpg(WINDOW + 4096 * now->page);
		acked = begun;
		break;
	case TICK:
		tick();
		break;
	case 14:
		if (!now || !now->staged)
			return false;
		missed++;
		if (alone && missed - missed_before == 2)
			give_rights(begun);
		return true;
	default:
		return false;
	}
	wr(EOI, 0);
	return true;
}

static const struct phase phases[] = {
	{"a word read", read_word, fill_numbers, .page = 0},
	{"words near each other read", read_near, fill_numbers, .page = 0},
	{"a string read", read_string, fill_numbers, .page = 0},
	{"words written", write_words, fill_zero, .page = 0},
	{"a function called", execute, fill_function, .page = 0},
	{"a function reached by a jump from another page", execute_across, fill_across, .page = 1},
	{"an instruction that begins in another page", execute_straddling, fill_straddling,
	 .page = 1},
	{"a loop in the page itself", execute_inside, fill_inside, .page = 0},
	{"a word read, nobody told", read_word, fill_numbers, .page = 0, .silent = true},
	{"words near each other read, nobody told", read_near, fill_numbers, .page = 0,
	 .silent = true},
	{"a function called, nobody told", execute, fill_function, .page = 0, .silent = true},
	{"a jump from another page, nobody told", execute_across, fill_across, .page = 1,
	 .silent = true},
	{"a word read, the page absent before", read_word, fill_numbers, .page = 0, .staged = true},
	{"words written, the page absent before", write_words, fill_zero, .page = 0,
	 .staged = true},
	{"words written, the page read-only before", write_words, fill_zero, .page = 0,
	 .staged = true, .first = P | U},
	{"a function called, the page not executable before", execute, fill_function, .page = 0,
	 .staged = true, .first = ALL | NX},
	{"a jump from another page, the page absent before", execute_across, fill_across, .page = 1,
	 .staged = true},
};

static void prepare(const struct phase *p)
{
	for (unsigned n = 0; n < FRAMES; n++)
		p->fill(n);
	for (unsigned n = 0; n < FRAMES; n++)
		for (unsigned i = 0; i < ARRAY_LEN(words); i++)
			frozen[n][i] = *word(n, i);
	begun = 0;
	acked = 0;
	written = 0;
	judged = 0;
	wrong = 0;
	iterations = 0;
	allow(ALL, ALL);
	*pte(p->page) = (uptr)frame[0] | ALL;
	invlpg(WINDOW + 4096 * p->page);
}

static void run(const struct phase *p)
{
	u32 sums[2] = {0, 0};

	prepare(p);
	over = false;
	now = p;
	__asm__ volatile("sti" : : : "memory");
	if (alone)
		wr(INITIAL, 3000);
	while (!over) {
		if (p->silent) {
			acked = written;
			write_cr3(read_cr3());
		}
		p->loop();
	}
	__asm__ volatile("cli" : : : "memory");
	check(p->name, wrong, 0);
	check("  mapped so often", begun, ROUNDS);
	if (p->loop != write_words)
		return;
	for (unsigned n = 0; n < FRAMES; n++) {
		sums[0] += *word(n, 1);
		sums[1] += *word(n, 2);
	}
	check("  each added once", sums[0], iterations);
	check("  and locked", sums[1], iterations);
}

void main(void)
{
	u32 r[4];

	cpuid(1, 0, r);
	alone = (r[1] >> 16 & 0xff) < 2;
	write_cr0(read_cr0() | WP);
	window_open();
	guest_hook = handler;
	wr(SVR, 0x1ff);
	wr(DIVIDE, 0xb);
	wr(TIMER, TICK);
	if (!alone)
		guest_start_others(2, second);
	for (unsigned n = 0; n < ARRAY_LEN(phases); n++)
		run(&phases[n]);
}
