/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handlers of x87, MMX, SSE and AVX instructions, decoder and memory included, against
 * the host: short sequences run here and there from the same random state at the same
 * addresses, and all registers, memory, flags, the exception and its address are compared.
 *
 * R13 points at data, R12 to 32 bytes before a page that is not there. Registers otherwise
 * hold numbers.
 */
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../fpu/native.h"
#include "base/bits.h"
#include "core/mem.h"
#include "engine/bt/interp/handlers.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"
#include "vector_sequences.h"

#define ROUNDS 40
#define FLAGS  (0x8d5u | RFLAGS_AC)
#define TABLES (NATIVE_DATA + MIB(1)) /* page tables */

#define SEQUENCES(X) COMPUTING(X) X87(X) STATE(X) MASKED(X) GATHERS(X)

#define ADDRESS(insn) "1: " insn "\n2:\n.pushsection .data.rel.ro\n.quad 1b, 2b\n.popsection\n"
__asm__(".pushsection .data.rel.ro\n.balign 8\nvector_sequences:\n.popsection\n"
	".pushsection .rodata\n" SEQUENCES(ADDRESS) ".code32\n" IN_32_BITS(
		ADDRESS) ".code64\n.popsection\n");
extern const uint8_t *const vector_sequences[][2] __attribute__((visibility("hidden")));

#define TEXT(insn) insn,
static const char *const texts[] = {SEQUENCES(TEXT) IN_32_BITS(TEXT)};
static const size_t first_32 = ARRAY_LEN(((const char *[]){SEQUENCES(TEXT)}));

struct rig {
	struct vm vm;
	struct engine_env env;
	struct mem mem;
	struct bus mmio;
	struct cpu cpu;
	uint8_t *data;
};

static struct rig rig __attribute__((aligned(64)));
static char difference[256]; /* the last one found */

#define differ(...)                                                    \
	do {                                                           \
		snprintf(difference, sizeof(difference), __VA_ARGS__); \
		return false;                                          \
	} while (0)

/* NATIVE_DATA to itself, for ring 3. */
static void make_tables(struct rig *r)
{
	uint64_t *tables = mem_ptr_rw(&r->mem, TABLES, 4 * 4096);
	const uint64_t rights = PTE_P | PTE_RW | PTE_US;

	tables[NATIVE_DATA >> 39 & 511] = (TABLES + 4096) | rights;
	tables[512 + (NATIVE_DATA >> 30 & 511)] = (TABLES + 8192) | rights;
	tables[1024 + (NATIVE_DATA >> 21 & 511)] = (TABLES + 12288) | rights;
	for (uint64_t i = 0; i < NATIVE_DATA_SIZE / 4096; i++)
		tables[1536 + (NATIVE_DATA >> 12 & 511) + i] = (NATIVE_DATA + i * 4096) | rights;
}

/* 64-bit code, or 32-bit code in compatibility mode. */
static void set_mode(struct cpu *cpu, bool wide)
{
	const struct segment data = {.selector = 0x2b, .attr = 0xc0f3, .limit = UINT32_MAX};

	cpu->seg[SEG_CS] = (struct segment){
		.selector = wide ? 0x33 : 0x23,
		.attr = wide ? 0xa0fb : 0xc0fb,
		.limit = UINT32_MAX,
	};
	cpu->seg[SEG_SS] = data;
	cpu->seg[SEG_DS] = wide ? (struct segment){.attr = SEG_ATTR_UNUSABLE} : data;
	cpu->seg[SEG_ES] = cpu->seg[SEG_DS];
	cpu->cpl = 3;
	cpu_update_mode(cpu);
}

static void rig_init(struct rig *r)
{
	struct cpu *cpu = &r->cpu;

	memset(r, 0, sizeof(*r));
	assert_int_equal(mem_init(&r->mem, 0, NULL), 0);
	assert_int_equal(mem_add_ram(&r->mem, NATIVE_DATA, MIB(2), NULL), 0);
	bus_init(&r->mmio, "mmio", BIT(52));
	r->env.mem = &r->mem;
	r->env.mmio = &r->mmio;
	r->vm.env = &r->env;
	for (unsigned i = 0; i < r->mem.count; i++)
		assert_int_equal(pages_map(&r->vm.pages, &r->mem.regions[i]), 0);
	exclusive_init(&r->vm.exclusive);
	r->vm.cpu[0] = cpu;
	r->vm.decoder = decoder_new(__builtin_cpu_is("amd"), NULL);
	assert_non_null(r->vm.decoder);
	r->data = mem_ptr_rw(&r->mem, NATIVE_DATA, NATIVE_DATA_SIZE);
	make_tables(r);
	cpu->vm = &r->vm;
	cpu->amd = __builtin_cpu_is("amd");
	cpu->phys_bits = 40;
	memset(cpu->features, true, sizeof(cpu->features));
	assert_int_equal(mmu_init(cpu), 0);
	assert_int_equal(fpu_init(&cpu->fpu, NULL), 0);
	cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_MP | CR0_AM | CR0_WP;
	cpu->cr3 = TABLES;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->efer = EFER_LME | EFER_LMA;
	cpu->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	cpu->rflags = RFLAGS_FIXED;
	set_mode(cpu, true);
	mmu_flush(cpu, true);
	exclusive_enter(cpu);
}

static void rig_release(struct rig *r)
{
	exclusive_leave(&r->cpu);
	fpu_release(&r->cpu.fpu);
	mmu_release(&r->cpu);
	exclusive_release(&r->vm.exclusive);
	decoder_free(r->vm.decoder);
	for (unsigned i = 0; i < r->mem.count; i++)
		pages_unmap(&r->vm.pages, &r->mem.regions[i]);
	bus_release(&r->mmio);
	mem_release(&r->mem);
}

/* MOV, LEA, XOR, AND of the sequences are not what is tested: few enough to be done here. */
static void run_integer(struct cpu *cpu, const struct insn *insn)
{
	uint64_t src = insn->operand[1].kind == OPERAND_IMM ? insn->imm : operand_ea(cpu, insn);
	uint64_t linear;

	if (insn->op == OP_XOR)
		src = 0;
	if (insn->operand[0].kind == OPERAND_GPR) {
		if (insn->operand[1].kind == OPERAND_GPR && insn->op == OP_MOV)
			src = reg_read(cpu, insn->operand[1].reg, insn->operand[1].size, false);
		reg_write(cpu, insn->operand[0].reg, insn->operand[0].size, false, src);
		return;
	}
	linear = operand_linear(cpu, insn, insn->operand[0].size, SEG_WRITE);
	if (insn->op == OP_AND)
		src &= mmu_read(cpu, linear, insn->operand[0].size);
	mmu_write(cpu, linear, insn->operand[0].size, src);
}

/* Runs code here; the vector of its exception, or -1. */
static int run_here(struct cpu *cpu, const uint8_t *code, size_t len)
{
	struct insn insn;

	cpu->rip = NATIVE_CODE;
	cpu->exception.pending = false;
	if (_setjmp(cpu->unwind))
		return cpu->exception.vector;
	while (cpu->rip < NATIVE_CODE + len) {
		uint64_t at = cpu->rip - NATIVE_CODE;

		if (decode(cpu->vm->decoder, cpu->decode, code + at, len - at, &insn) != DECODE_OK)
			return VECTOR_UD;
		cpu->next_rip = cpu->rip + insn.len;
		if (interp_vector(&insn))
			interp_vector (&insn)(cpu, &insn);
		else
			run_integer(cpu, &insn);
		cpu->rip = cpu->next_rip;
	}
	return -1;
}

static bool compare_state(const char *text, const struct cpu *cpu, const struct native *n)
{
	uint8_t area[FPU_AREA_SIZE];
	struct fpu copy = cpu->fpu;

	memcpy(area, copy.area, sizeof(area));
	fpu_store_x87(&copy, true, area);
	memcpy(area + 416, n->xsave + 416, FPU_YMM_HI - 416);
	for (size_t i = 0; i < sizeof(area); i++)
		if (area[i] != n->xsave[i])
			differ("%s: state differs at offset %zu: %02x, host %02x", text, i, area[i],
			       n->xsave[i]);
	return true;
}

static bool compare(const char *text, const struct cpu *cpu, const struct native *n)
{
	const uint8_t *native = (const uint8_t *)NATIVE_DATA;

	if (cpu->rip != n->rip)
		differ("%s: ends at %lu, host %lu", text, cpu->rip - NATIVE_CODE,
		       n->rip - NATIVE_CODE);
	for (unsigned i = 0; i < 16; i++)
		if (i != GPR_RSP && cpu->gpr[i] != n->gpr[i])
			differ("%s: register %u is %lx, host %lx", text, i, cpu->gpr[i], n->gpr[i]);
	if (!strstr(text, "xor") && !strstr(text, "and") && (cpu->rflags ^ n->rflags) & FLAGS)
		differ("%s: flags %lx, host %lx", text, (uint64_t)(cpu->rflags & FLAGS),
		       (uint64_t)(n->rflags & FLAGS));
	for (size_t i = 0; i < NATIVE_DATA_SIZE; i++)
		if (native[i] != rig.data[i])
			differ("%s: memory differs at %zu: %02x, host %02x", text, i, rig.data[i],
			       native[i]);
	return compare_state(text, cpu, n);
}

/* What 64-bit code alone reaches is not compared after 32-bit code. */
static void cut_to_32(struct native *n, struct cpu *cpu)
{
	for (unsigned i = 0; i < 16; i++) {
		uint64_t mask = i < 8 ? UINT32_MAX : 0;

		n->gpr[i] &= mask;
		cpu->gpr[i] &= mask;
	}
}

/* Runs it here and there from the state in start and the memory in data. */
static bool run_both(size_t index, const struct native *start, const uint8_t *data)
{
	const uint8_t *code = vector_sequences[index][0];
	size_t len = vector_sequences[index][1] - code;
	struct cpu *cpu = &rig.cpu;
	struct native n = *start;
	bool wide = index < first_32;
	int vector;

	memcpy(rig.data, data, NATIVE_DATA_SIZE);
	memcpy((void *)NATIVE_DATA, data, NATIVE_DATA_SIZE);
	memcpy(cpu->fpu.area, n.xsave, FPU_AREA_SIZE);
	store_le(cpu->fpu.area + XSAVE_MXCSR_MASK, 4, cpu->fpu.host.mxcsr_mask);
	cpu->fpu.fcs = 0;
	cpu->fpu.fds = 0;
	memcpy(cpu->gpr, n.gpr, sizeof(n.gpr));
	cpu->rflags = n.rflags;
	set_mode(cpu, wide);
	mmu_flush(cpu, true);
	vector = run_here(cpu, code, len);
	if (wide) {
		native_run(&n, code, len);
	} else {
		native_run_32(&n, code, len);
		cut_to_32(&n, cpu);
	}
	if (vector != n.vector)
		differ("%s: exception %d, host %d", texts[index], vector, n.vector);
	return compare(texts[index], cpu, &n);
}

static bool run_sequence(size_t index, uint32_t mxcsr, bool align)
{
	static uint8_t data[NATIVE_DATA_SIZE];
	struct native start;

	native_randomise(&start, native_random() & 1, mxcsr);
	start.gpr[13] = NATIVE_DATA + 256;
	start.gpr[GPR_RBX] = start.gpr[13];
	start.gpr[12] = NATIVE_DATA + NATIVE_DATA_SIZE - 32;
	if (align)
		start.rflags |= RFLAGS_AC;
	memcpy(data, (const void *)NATIVE_DATA, sizeof(data));
	/* AMD's processors forget the x87's pointers when the host's kernel switches tasks, so once
	 * is not enough to blame lodge. */
	return run_both(index, &start, data) || run_both(index, &start, data) ||
	       run_both(index, &start, data);
}

/* By CPUID leaf 7 where a compiler does not know the feature's name. */
static bool host_has(const char *text)
{
	unsigned eax, ebx = 0, ecx = 0, edx;

	__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx);
	if (strstr(text, "sha"))
		return ebx & BIT(29); /* SHA */
	if (strstr(text, "gf2p8"))
		return ecx & BIT(8); /* GFNI */
	if (strstr(text, "vaes") || strstr(text, "vpclmul"))
		return (ecx & BIT(9)) && (ecx & BIT(10)); /* VAES, VPCLMULQDQ */
	if (strstr(text, "extrq") || strstr(text, "insertq") || strstr(text, "movntsd"))
		return __builtin_cpu_supports("sse4a");
	return true;
}

static void run_all(uint32_t mxcsr_set, uint32_t mxcsr_random, bool align)
{
	unsigned differences = 0;

	if (!native_possible()) {
		print_message("skipped: this host has no AVX2 or no FMA\n");
		skip();
	}
	native_catch();
	rig_init(&rig);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!host_has(texts[i]))
			continue;
		for (unsigned round = 0; round < ROUNDS; round++) {
			if (run_sequence(i, mxcsr_set | (native_random() & mxcsr_random), align))
				continue;
			print_error("%s\n", difference);
			differences++;
			break;
		}
	}
	rig_release(&rig);
	assert_int_equal(differences, 0);
}

static void test_masked(void **state)
{
	(void)state;
	run_all(0x1f80, 0xe07f, false);
}

static void test_unmasked(void **state)
{
	(void)state;
	run_all(0, 0xffff, false);
}

static void test_alignment_checked(void **state)
{
	(void)state;
	run_all(0x1f80, 0, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmasked), /* installs the engine's handler of SIGFPE */
		cmocka_unit_test(test_masked),
		cmocka_unit_test(test_alignment_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
