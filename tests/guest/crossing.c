/* SPDX-License-Identifier: Apache-2.0 */
/* Instructions, operands, stacks and strings across two pages; what is done and what is left when
 * one of the pages is not there or not allowed. SDM vol. 3A 4.7, 4.8, 6.15 (#PF); vol. 1
 * 7.3.9.3. */
#include "window.h"

/* Mends what is not there, counts, and notes where the instruction stood. */
static unsigned mended;
static struct frame at_fault;

static bool mend(struct frame *frame)
{
	if (frame->vector != 14 || read_cr2() - WINDOW >= 8192)
		return false;
	if (!mended++)
		at_fault = *frame;
	allow(ALL, ALL);
	return mended < 10;
}

/* --- instructions ---------------------------------------------------------------------------- */

static u32 got;

static void run(uptr at)
{
	got = ((u32(*)(void))at)();
}

static void run_user(uptr at)
{
	run(at);
	__asm__ volatile("int $0x80");
}

static void put(u64 at, const char *code, unsigned len)
{
	copy(behind(at), code, len);
}

#define PUT(at, code) put(at, code, sizeof(code) - 1)
#define MOV_RET       "\xb8\x44\x33\x22\x11\xc3" /* mov $0x11223344, %eax; ret */

static void fetch(void)
{
	for (unsigned n = 1; n <= 4; n++) {
		u64 at = EDGE - n;
		struct fault f;

		allow(ALL, ALL);
		PUT(at, MOV_RET);
		got = 0;
		check_none("an instruction across the edge", guest_try(run, at));
		check("  does what it does", got, 0x11223344);
		check("  A in both", *pte(0) & *pte(1) & A, A);
		check("  D in none", (*pte(0) | *pte(1)) & D, 0);
		allow(ALL, 0);
		f = guest_try(run, at);
		faults("  ", "the second page absent", f, FETCH, EDGE);
		check("  rip is its beginning", f.ip, at);
		allow(ALL, ALL | NX);
		faults("  ", "the second not executable", guest_try(run, at), FETCH | P, EDGE);
		allow(ALL, P | W);
		f = guest_try_user(run_user, at);
		faults("  ", "the second ring 0's, in ring 3", f, FETCH | U | P, EDGE);
		allow(0, ALL);
		faults("  ", "the first absent", guest_try(run, at), FETCH, at);
		allow(ALL, 0);
		mended = 0;
		got = 0;
		guest_hook = mend;
		check_none("  mended", guest_try(run, at));
		guest_hook = NULL;
		check("    and does what it does", got, 0x11223344);
		check("    after one fault", mended, 1);
	}
}

static void ends(void)
{
	struct fault f;

	allow(ALL, 0);
	PUT(EDGE - 1, "\xc3");
	check_none("RET as a page's last byte: the next is not looked at",
		   guest_try(run, EDGE - 1));
	PUT(EDGE - 2, "\x0f\x0b");
	check_fault("UD2 as the last two", guest_try(run, EDGE - 2), 6, 0);
	PUT(EDGE - 1, "\x06");
	check_fault("an invalid opcode as the last", guest_try(run, EDGE - 1), 6, 0);
	PUT(EDGE - 1, "\x0f");
	faults("half an opcode", "", guest_try(run, EDGE - 1), FETCH, EDGE);
	PUT(EDGE - 3, "\x66\x66\xf0");
	faults("prefixes", "", guest_try(run, EDGE - 3), FETCH, EDGE);
	PUT(EDGE - 1, "\x90");
	f = guest_try(run, EDGE - 1);
	faults("falling off", "", f, FETCH, EDGE);
	check("  rip is behind the edge", f.ip, EDGE);
	PUT(EDGE - 2, "\xeb\x10");
	f = guest_try(run, EDGE - 2);
	faults("a jump there", "", f, FETCH, EDGE + 16);
	check("  rip is its target", f.ip, EDGE + 16);
}

/* --- operands -------------------------------------------------------------------------------- */

enum kind { LOAD, STORE, MODIFY };

#define OPERATION(name, code)                                                                 \
	static void do_##name(uptr at)                                                        \
	{                                                                                     \
		__asm__ volatile(code                                                         \
				 :                                                            \
				 : "D"(at), "a"(0x1234567890abcdefull), "d"(5ull), "b"(6ull), \
				   "c"(7ull)                                                  \
				 : "memory", "cc");                                           \
	}
OPERATION(mov2, "movw (%0), %%r8w")
OPERATION(mov4, "movl (%0), %%r8d")
OPERATION(mov8, "movq (%0), %%r8")
OPERATION(cmp8, "cmpq %%rax, (%0)")
OPERATION(movups, "movups (%0), %%xmm0")
OPERATION(fldt, "fninit; fldt (%0)")
OPERATION(bt, "mov $4096 * 8, %%r8d; btl %%r8d, -4096(%0)")
OPERATION(pushm, "pushq (%0); pop %%r8")
OPERATION(far, "ljmpl *(%0)")
OPERATION(lgdt, "lgdt (%0)")
OPERATION(store2, "movw %%ax, (%0)")
OPERATION(store4, "movl %%eax, (%0)")
OPERATION(store8, "movq %%rax, (%0)")
OPERATION(storeups, "movups %%xmm0, (%0)")
OPERATION(fstpt, "fninit; fld1; fstpt (%0)")
OPERATION(popm, "pushq %%rax; popq (%0)")
OPERATION(add2, "addw $1, (%0)")
OPERATION(add8, "addq $1, (%0)")
OPERATION(lockadd, "lock addl $1, (%0)")
OPERATION(inc, "incl (%0)")
OPERATION(shl, "shlq $3, (%0)")
OPERATION(xchg, "xchgq %%rax, (%0)")
OPERATION(xadd, "xaddl %%eax, (%0)")
OPERATION(cmpxchg, "cmpxchgq %%rdx, (%0)")
OPERATION(lockcmpxchg, "lock cmpxchgq %%rdx, (%0)")
OPERATION(cmpxchg8b, "cmpxchg8b (%0)")
OPERATION(bts, "lock btsl $3, (%0)")

static const struct operation {
	const char *name;
	void (*run)(uptr at);
	enum kind kind;
	u8 size;
	bool unsafe; /* what it does when it can be done is not for here */
} operations[] = {
	{"MOV of 2", do_mov2, LOAD, 2, false},
	{"MOV of 4", do_mov4, LOAD, 4, false},
	{"MOV of 8", do_mov8, LOAD, 8, false},
	{"CMP", do_cmp8, LOAD, 8, false},
	{"MOVUPS", do_movups, LOAD, 16, false},
	{"FLD of 10", do_fldt, LOAD, 10, false},
	{"BT of a bit in the next page", do_bt, LOAD, 4, false},
	{"PUSH of memory", do_pushm, LOAD, 8, false},
	{"far JMP", do_far, LOAD, 6, true},
	{"LGDT", do_lgdt, LOAD, 10, true},
	{"MOV to 2", do_store2, STORE, 2, false},
	{"MOV to 4", do_store4, STORE, 4, false},
	{"MOV to 8", do_store8, STORE, 8, false},
	{"MOVUPS to memory", do_storeups, STORE, 16, false},
	{"FSTP to 10", do_fstpt, STORE, 10, false},
	{"POP to memory", do_popm, STORE, 8, false},
	{"ADD to 2", do_add2, MODIFY, 2, false},
	{"ADD to 8", do_add8, MODIFY, 8, false},
	{"LOCK ADD", do_lockadd, MODIFY, 4, false},
	{"INC", do_inc, MODIFY, 4, false},
	{"SHL", do_shl, MODIFY, 8, false},
	{"XCHG", do_xchg, MODIFY, 8, false},
	{"XADD", do_xadd, MODIFY, 4, false},
	{"CMPXCHG, not equal", do_cmpxchg, MODIFY, 8, false},
	{"LOCK CMPXCHG", do_lockcmpxchg, MODIFY, 8, false},
	{"CMPXCHG8B", do_cmpxchg8b, MODIFY, 8, false},
	{"LOCK BTS", do_bts, MODIFY, 4, false},
};

static const struct operation *current;

static void in_user(uptr at)
{
	current->run(at);
	__asm__ volatile("int $0x80" : : : "memory");
}

/* Both pages as they were before an operation that may not have changed them. */
static bool untouched(void)
{
	const u8 *at = behind(WINDOW);

	for (unsigned n = 0; n < 8192; n++)
		if (at[n] != 0x55)
			return false;
	return true;
}

static struct fault attempt(u64 at, bool user)
{
	fill(page, 0x55, sizeof(page));
	return user ? guest_try_user(in_user, at) : guest_try(current->run, at);
}

static void operand_faults(const struct operation *o)
{
	u64 at = EDGE - o->size / 2;
	uptr write = o->kind == LOAD ? 0 : W;

	allow(ALL, 0);
	faults(o->name, ": the second page absent", attempt(at, false), write, EDGE);
	check("  nothing is written", untouched(), 1);
	if (!o->unsafe) {
		allow(ALL, P | W);
		faults(o->name, ": the second ring 0's, in ring 3", attempt(at, true),
		       write | U | P, EDGE);
		check("  nothing is written", untouched(), 1);
	}
	allow(0, ALL);
	faults(o->name, ": the first absent", attempt(at, false), write, at);
	check("  nothing is written", untouched(), 1);
	if (o->kind == LOAD)
		return;
	allow(ALL, P | U);
	faults(o->name, ": the second read-only", attempt(at, false), W | P, EDGE);
	check("  nothing is written", untouched(), 1);
	check("  no D there", *pte(1) & D, 0);
	allow(P | U, ALL);
	faults(o->name, ": the first read-only", attempt(at, false), W | P, at);
	check("  nothing is written", untouched(), 1);
	check("  no D there", *pte(0) & D, 0);
}

static void operand_works(const struct operation *o)
{
	u64 at = EDGE - o->size / 2, both = o->kind == LOAD ? A : A | D;

	allow(ALL, ALL);
	check_none(name(o->name, ": both there"), attempt(at, false));
	check("  A, or A and D, in the first", *pte(0) & (A | D), both);
	check("  in the second", *pte(1) & (A | D), both);
	/* A page that is mended: the instruction begins again. */
	copy(page[2], page[0], 4096);
	{
		static u8 want[64];

		copy(want, behind(EDGE - 32), sizeof(want));
		allow(ALL, 0);
		mended = 0;
		guest_hook = mend;
		attempt(at, false);
		guest_hook = NULL;
		for (unsigned n = 0; n < sizeof(want); n++)
			mended += behind(EDGE - 32)[n] != want[n] ? 100 : 0;
		check("  the same with the second mended", mended, 1);
	}
}

static void operands(void)
{
	for (unsigned n = 0; n < ARRAY_LEN(operations); n++) {
		current = &operations[n];
		operand_faults(current);
		if (!current->unsafe)
			operand_works(current);
	}
}

/* --- stacks ---------------------------------------------------------------------------------- */

#define ON_STACK(name, code)                                                \
	static void on_##name(uptr sp)                                      \
	{                                                                   \
		__asm__ volatile("mov %0, %%rsp; mov $0x4321, %%ebp\n" code \
				 "; int $0x80; 1: int $0x80"                \
				 :                                          \
				 : "D"(sp)                                  \
				 : "memory");                               \
	}
ON_STACK(push, "push %%rax")
ON_STACK(pushi, "push $5")
ON_STACK(pushf, "pushf")
ON_STACK(call, "call 1f")
ON_STACK(enter, "enter $16, $0")
ON_STACK(pop, "pop %%rax")
ON_STACK(popf, "popf")
ON_STACK(ret, "ret")
ON_STACK(retn, "ret $16")
ON_STACK(leave, "mov %%rsp, %%rbp; mov $0, %%esp; leave")
ON_STACK(iret, "iretq")

static const struct {
	const char *name;
	void (*run)(uptr sp);
	bool push;
} stacks[] = {
	{"PUSH", on_push, true},   {"PUSH of a constant", on_pushi, true},
	{"PUSHF", on_pushf, true}, {"CALL", on_call, true},
	{"ENTER", on_enter, true}, {"POP", on_pop, false},
	{"POPF", on_popf, false},  {"RET", on_ret, false},
	{"RET n", on_retn, false}, {"LEAVE", on_leave, false},
	{"IRET", on_iret, false},
};

static uptr fault_bp;

static bool note_bp(struct frame *frame)
{
	fault_bp = frame->bp;
	return false;
}

/* In ring 3, for ring 0's handlers to have a stack. */
static void stack(void)
{
	guest_hook = note_bp;
	for (unsigned n = 0; n < ARRAY_LEN(stacks); n++) {
		bool push = stacks[n].push, leave = stacks[n].run == on_leave;
		uptr sp = push ? EDGE + 4 : EDGE - 4, error = (push ? W : 0) | U;
		struct fault f;

		allow(ALL, 0);
		f = guest_try_user(stacks[n].run, sp);
		faults_in(stacks[n].name, ": the upper page absent", f, error, EDGE);
		check("  RSP as before", f.sp, leave ? 0 : sp);
		check("  RBP as before", fault_bp, leave ? sp : 0x4321);
		allow(0, ALL);
		f = guest_try_user(stacks[n].run, sp);
		faults_in(stacks[n].name, ": the lower page absent", f, error, EDGE - 4);
		check("  RSP as before", f.sp, leave ? 0 : sp);
		check("  RBP as before", fault_bp, leave ? sp : 0x4321);
		if (!push)
			continue;
		allow(P | U, ALL);
		f = guest_try_user(stacks[n].run, sp);
		faults_in(stacks[n].name, ": the lower page read-only", f, error | P, EDGE - 4);
		check("  RSP as before", f.sp, sp);
		allow(ALL, ALL);
		f = guest_try_user(stacks[n].run, sp);
		check_fault(name(stacks[n].name, ": both there"), f, VEC_EXIT, 0);
		check("  D in both", *pte(0) & *pte(1) & D, D);
	}
	guest_hook = NULL;
}

/* --- strings --------------------------------------------------------------------------------- */

struct string {
	u64 si, di, cx;
};

#define STRING(name, code)                                               \
	static void str_##name(uptr arg)                                 \
	{                                                                \
		struct string *s = (struct string *)arg;                 \
                                                                         \
		__asm__ volatile(code "; cld"                            \
				 : "+S"(s->si), "+D"(s->di), "+c"(s->cx) \
				 : "a"(0x5555555555555555ull), "d"(0x80) \
				 : "memory", "cc");                      \
	}
STRING(movsb, "rep movsb")
STRING(movsq, "rep movsq")
STRING(movsb_down, "std; rep movsb")
STRING(stosb, "rep stosb")
STRING(stosl, "rep stosl")
STRING(cmpsb, "repe cmpsb")
STRING(scasw, "repe scasw")
STRING(lodsq, "rep lodsq")
STRING(outsb, "rep outsb")

static u8 plain[256] __attribute__((aligned(64)));

/* One that goes over the edge, into a page that is not there: the elements before are done, the
 * registers stand at the one that could not be, and with the page there it goes on. */
static void string(const char *what, void (*fn)(uptr), struct string s, struct string stands,
		   u64 cr2, uptr error)
{
	struct string end = s;

	fill(page, 0x55, sizeof(page));
	fill(plain, 0x55, sizeof(plain));
	allow(cr2 < EDGE ? 0 : ALL, cr2 < EDGE ? ALL : 0);
	mended = 0;
	guest_hook = mend;
	check_none(what, guest_try(fn, (uptr)&end));
	guest_hook = NULL;
	check("  one fault", mended, 1);
	check("  its error code", at_fault.error, error);
	check("  RCX then", at_fault.cx, stands.cx);
	check("  RSI", at_fault.si, stands.si);
	check("  RDI", at_fault.di, stands.di);
	check("  RCX after all", end.cx, 0);
}

static void strings(void)
{
	uptr to = (uptr)plain;

	string("REP MOVSB from it", str_movsb, (struct string){EDGE - 5, to, 32},
	       (struct string){EDGE, to + 5, 27}, EDGE, 0);
	string("REP MOVSB to it", str_movsb, (struct string){to, EDGE - 5, 32},
	       (struct string){to + 5, EDGE, 27}, EDGE, W);
	string("REP MOVSB down to it", str_movsb_down, (struct string){to + 31, EDGE + 4, 32},
	       (struct string){to + 26, EDGE - 1, 27}, EDGE - 1, W);
	string("REP MOVSQ from it, an element across", str_movsq, (struct string){EDGE - 20, to, 8},
	       (struct string){EDGE - 4, to + 16, 6}, EDGE, 0);
	string("REP MOVSQ to it, an element across", str_movsq, (struct string){to, EDGE - 20, 8},
	       (struct string){to + 16, EDGE - 4, 6}, EDGE, W);
	string("REP STOSB", str_stosb, (struct string){0, EDGE - 7, 50},
	       (struct string){0, EDGE, 43}, EDGE, W);
	string("REP STOSD, an element across", str_stosl, (struct string){0, EDGE - 7, 50},
	       (struct string){0, EDGE - 3, 49}, EDGE, W);
	string("REPE CMPSB", str_cmpsb, (struct string){EDGE - 9, to, 20},
	       (struct string){EDGE, to + 9, 11}, EDGE, 0);
	string("REPE CMPSB, the other", str_cmpsb, (struct string){to, EDGE - 9, 20},
	       (struct string){to + 9, EDGE, 11}, EDGE, 0);
	string("REPE SCASW, an element across", str_scasw, (struct string){0, EDGE - 3, 20},
	       (struct string){0, EDGE - 1, 19}, EDGE, 0);
	string("REP LODSQ", str_lodsq, (struct string){EDGE - 16, 0, 5},
	       (struct string){EDGE, 0, 3}, EDGE, 0);
	string("REP OUTSB", str_outsb, (struct string){EDGE - 3, 0, 8}, (struct string){EDGE, 0, 5},
	       EDGE, 0);
}

void main(void)
{
	window_open();
	fetch();
	ends();
	operands();
	stack();
	strings();
}
