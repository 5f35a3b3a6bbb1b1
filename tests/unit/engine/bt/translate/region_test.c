/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of guest code before it is translated: which instructions a region has, and which
 * status flags are still looked at behind each. The expectations are the manual's: SDM vol. 1
 * appendix A (EFLAGS cross-reference). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/region.h"
#include "../interp/integer_rig.h"

#define CF    RFLAGS_CF
#define PF    RFLAGS_PF
#define AF    RFLAGS_AF
#define ZF    RFLAGS_ZF
#define SF    RFLAGS_SF
#define OF    RFLAGS_OF
#define ALL   FLAGS_STATUS
#define NO_CF (ALL & ~CF)

/* What overwrites all flags, and so ends the look-ahead, is "add %eax,%eax". live: behind the
 * first instruction of the code; may: these, too, which an instruction leaves undefined, and so
 * perhaps as they were. */
/* clang-format off */
#define CASES(X) \
	X(overwritten, "add %rbx,%rax; add %eax,%eax; jmp *%rax", 0, 0) \
	X(read_by_adc, "add %rbx,%rax; adc %rcx,%rdx; jmp *%rax", CF, 0) \
	X(read_by_sbb, "add %rbx,%rax; sbb %rcx,%rdx; jmp *%rax", CF, AF) \
	X(read_by_cmov, "add %rbx,%rax; cmovl %rcx,%rdx; add %eax,%eax; jmp *%rax", SF | OF, 0) \
	X(read_by_cmovbe, "add %rbx,%rax; cmovbe %rcx,%rdx; add %eax,%eax; jmp *%rax", CF | ZF, 0) \
	X(read_by_setp, "add %rbx,%rax; setp %dl; add %eax,%eax; jmp *%rax", PF, 0) \
	X(read_by_setle, "add %rbx,%rax; setle %dl; add %eax,%eax; jmp *%rax", SF | OF | ZF, 0) \
	X(read_by_lahf, "add %rbx,%rax; lahf; add %eax,%eax; jmp *%rax", ALL & ~OF, 0) \
	X(read_by_pushf, "add %rbx,%rax; pushf; add %eax,%eax; jmp *%rax", ALL, 0) \
	X(read_by_rcl, "add %rbx,%rax; rcl $1,%edx; add %eax,%eax; jmp *%rax", CF, 0) \
	X(read_by_cmc, "add %rbx,%rax; cmc; add %eax,%eax; jmp *%rax", CF, 0) \
	X(inc_leaves_cf, "add %rbx,%rax; inc %rcx; jmp *%rax", CF, 0) \
	X(inc_then_jc, "add %rbx,%rax; inc %rcx; jc 1f; 1: add %eax,%eax; jmp *%rax", CF, 0) \
	X(rotate_leaves_most, "add %rbx,%rax; rol $1,%edx; jmp *%rax", NO_CF & ~OF, OF) \
	X(shift_by_0, "add %rbx,%rax; shl $0,%edx; jmp *%rax", ALL, 0) \
	X(shift_by_32, "add %rbx,%rax; shl $32,%edx; jmp *%rax", ALL, 0) \
	X(shift_of_64_by_32, "add %rbx,%rax; shl $32,%rdx; jmp *%rax", 0, AF | OF) \
	X(shift_by_cl, "add %rbx,%rax; shl %cl,%edx; jmp *%rax", ALL, 0) \
	X(shld_by_cl, "add %rbx,%rax; shld %cl,%ecx,%edx; jmp *%rax", ALL, 0) \
	X(bt_writes_cf, "add %rbx,%rax; bt $3,%edx; jmp *%rax", NO_CF, 0) \
	X(moves_write_none, "add %rbx,%rax; mov %rax,%rcx; lea 1(%rcx),%rdx; jmp *%rax", ALL, 0) \
	X(not_writes_none, "add %rbx,%rax; not %rcx; jmp *%rax", ALL, 0) \
	X(stc_writes_cf, "add %rbx,%rax; stc; jmp *%rax", NO_CF, 0) \
	X(sahf_leaves_of, "add %rbx,%rax; sahf; jmp *%rax", OF, 0) \
	X(call, "add %rbx,%rax; call 1f; 1: add %eax,%eax; jmp *%rax", 0, 0) \
	X(ret, "add %rbx,%rax; ret", ALL, 0) \
	X(indirect, "add %rbx,%rax; jmp *%rax", ALL, 0) \
	X(jump_forward, "add %rbx,%rax; jmp 1f; adc %eax,%eax; 1: add %eax,%eax; jmp *%rax", 0, 0) \
	X(jump_to_adc, "add %rbx,%rax; jmp 1f; nop; 1: adc %eax,%eax; jmp *%rax", CF, 0) \
	X(jump_back, "1: add %rbx,%rax; jmp 1b", 0, 0) \
	X(jcc_both_overwrite, "add %rbx,%rax; jz 1f; add %eax,%eax; ret; " \
		"1: sub %ecx,%ecx; ret", ZF, 0) \
	X(jcc_taken_reads, "add %rbx,%rax; jz 1f; add %eax,%eax; ret; " \
		"1: adc %ecx,%ecx; ret", ZF | CF, 0) \
	X(jcc_not_taken_reads, "add %rbx,%rax; jo 1f; sbb %eax,%eax; ret; " \
		"1: add %ecx,%ecx; ret", OF | CF, AF) \
	X(to_the_interpreter, "add %rbx,%rax; hlt; add %eax,%eax; ret", ALL, 0) \
	X(jump_to_the_interpreter, "add %rbx,%rax; jmp 1f; nop; 1: hlt; add %eax,%eax", ALL, 0) \
	X(another_page, "add %rbx,%rax; jmp . + 0x2000", ALL, 0) \
	X(comparison, "cmp %rbx,%rax; mov %rcx,%rdx; jb 1f; test %eax,%eax; ret; " \
		"1: or %eax,%eax; ret", CF, AF)
/* clang-format on */

#define CODE(name, text, live, may)                                            \
	extern const uint8_t code_##name[], code_##name##_end[];               \
	__asm__(".pushsection .rodata\ncode_" #name ":\n" text "\ncode_" #name \
		"_end:\n.popsection");
CASES(CODE)

static struct integer_rig *rig;

static void put(uint64_t at, const uint8_t *code, size_t len)
{
	memset(ir_ram(rig, IR_CODE), 0xf4, 2 * GUEST_PAGE_SIZE); /* HLT */
	memcpy(ir_ram(rig, at), code, len);
}

static void look(struct region *r, uint64_t at)
{
	region_read(rig->cpu, r, at, at);
	region_analyse(rig->cpu, r);
}

static void is(const char *name, const uint8_t *code, size_t len, unsigned live, unsigned may)
{
	struct region r;

	put(IR_CODE, code, len);
	look(&r, IR_CODE);
	assert_true(r.count > 0);
	if ((r.insn[0].live & ~may) != (live & ~may))
		fail_msg("%s: live is %#x, not %#x", name, r.insn[0].live, live);
}

#define IS(name, text, live, may) \
	is(#name, code_##name, (size_t)(code_##name##_end - code_##name), live, may);

static void flags_that_are_looked_at(void **state)
{
	(void)state;
	CASES(IS)
}

#define PUT(at, ...) put(at, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* A block's own flags are wanted where its first instructions read them. */
static void flags_that_are_looked_at_first(void **state)
{
	struct region r;

	(void)state;
	PUT(IR_CODE, 0x48, 0x11, 0xd8, 0xff, 0xe0); /* ADC RAX, RBX; JMP RAX */
	look(&r, IR_CODE);
	assert_int_equal(r.live, CF);
	PUT(IR_CODE, 0x48, 0x01, 0xd8, 0xff, 0xe0); /* ADD */
	look(&r, IR_CODE);
	assert_int_equal(r.live, 0);
	PUT(IR_CODE, 0x89, 0xd8, 0xff, 0xe0); /* MOV EAX, EBX */
	look(&r, IR_CODE);
	assert_int_equal(r.live, ALL);
}

/* What the look-ahead has seen is part of what the block relies on: written, it makes it stale. */
static void what_was_looked_at_is_watched(void **state)
{
	struct region r;

	(void)state;
	/* ADD RAX, RBX; JMP to the middle of the page, where ADD EAX, EAX overwrites the flags. */
	PUT(IR_CODE, 0x48, 0x01, 0xd8, 0xe9, 0xf8, 0x07, 0, 0);
	ir_ram(rig, IR_CODE + 0x800)[0] = 0x01;
	ir_ram(rig, IR_CODE + 0x800)[1] = 0xc0;
	pages_written(&rig->vm.pages, IR_CODE, GUEST_PAGE_SIZE);
	look(&r, IR_CODE);
	assert_int_equal(r.insn[0].live, 0);
	assert_int_equal(pages_find(&rig->vm.pages, IR_CODE)->generation, r.generation);
	ir_ram(rig, IR_CODE + 0x800)[0] = 0x11; /* ADC */
	pages_written(&rig->vm.pages, IR_CODE + 0x800, 1);
	assert_int_not_equal(pages_find(&rig->vm.pages, IR_CODE)->generation, r.generation);
	look(&r, IR_CODE);
	assert_int_equal(r.insn[0].live, CF);
}

static void the_end_of_the_page(void **state)
{
	const uint64_t end = IR_CODE + GUEST_PAGE_SIZE;
	struct region r;

	(void)state;
	/* ADD RAX, RBX ends with the page: who knows what follows. */
	PUT(end - 3, 0x48, 0x01, 0xd8, 0x48, 0x01, 0xd8);
	look(&r, end - 3);
	assert_int_equal(r.count, 1);
	assert_false(r.branches);
	assert_false(r.crosses);
	assert_int_equal(r.insn[0].live, ALL);
	/* One that crosses it ends the region, in it. */
	PUT(end - 2, 0x48, 0x01, 0xd8, 0x48, 0x01, 0xd8);
	look(&r, end - 2);
	assert_int_equal(r.count, 1);
	assert_true(r.crosses);
	assert_int_equal(r.bytes, 3);
	assert_int_equal(r.crossing.linear, end);
	assert_int_equal(r.insn[0].live, ALL);
	/* Not where the next page cannot be had. */
	ir_map(rig, end, 0);
	look(&r, end - 2);
	assert_int_equal(r.count, 0);
	ir_map(rig, end, end | PTE_P | PTE_RW | PTE_US);
}

static void how_regions_end(void **state)
{
	uint8_t nops[REGION_MAX + 8];
	struct region r;

	(void)state;
	/* A branch is the last. */
	PUT(IR_CODE, 0x90, 0xeb, 0, 0x90);
	look(&r, IR_CODE);
	assert_int_equal(r.count, 2);
	assert_int_equal(r.bytes, 3);
	assert_true(r.branches);
	/* The interpreter's is not in it: HLT, no instruction at all. */
	PUT(IR_CODE, 0x90, 0xf4);
	look(&r, IR_CODE);
	assert_int_equal(r.count, 1);
	assert_false(r.branches);
	PUT(IR_CODE, 0xf4);
	look(&r, IR_CODE);
	assert_int_equal(r.count, 0);
	/* There are only so many in one. */
	memset(nops, 0x90, sizeof(nops));
	put(IR_CODE, nops, sizeof(nops));
	look(&r, IR_CODE);
	assert_int_equal(r.count, REGION_MAX);
	assert_int_equal(r.bytes, REGION_MAX);
	assert_false(r.branches);
	/* Not in RAM. */
	region_read(rig->cpu, &r, 0x40000000, 0x40000000);
	assert_int_equal(r.count, 0);
}

/* A direct branch out of the canonical addresses faults where it stands: the interpreter's. */
static void branches_out_of_the_canonical_addresses(void **state)
{
	const uint64_t last = 0x00007ffffffff000;
	struct region r;

	(void)state;
	rig->cpu->msrs->canonical_bits = 48;
	PUT(IR_CODE, 0xe9, 0xff, 0x7f, 0, 0);
	region_read(rig->cpu, &r, last, IR_CODE);
	assert_int_equal(r.count, 0);
	PUT(IR_CODE, 0xe9, 0xff, 0x7f, 0xff, 0xff);
	region_read(rig->cpu, &r, last, IR_CODE);
	assert_int_equal(r.count, 1);
}

static int group_setup(void **state)
{
	(void)state;
	rig = ir_new(IR_64);
	assert_int_equal(code_cache_init(rig->cpu), 0);
	assert_int_equal(msr_init(rig->cpu), 0);
	rig->cpu->msrs->canonical_bits = 48;
	ir_translate(rig, BLOCKS_CODE_MIN);
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	msr_release(rig->cpu);
	code_cache_release(rig->cpu);
	ir_free(rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_that_are_looked_at),
		cmocka_unit_test(flags_that_are_looked_at_first),
		cmocka_unit_test(what_was_looked_at_is_watched),
		cmocka_unit_test(the_end_of_the_page),
		cmocka_unit_test(how_regions_end),
		cmocka_unit_test(branches_out_of_the_canonical_addresses),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
