/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SSE and AVX instructions in translated code against the host: short sequences run here and there
 * from the same random state at the same addresses, and registers, memory, flags, the exception
 * and its address are compared. Behind each of the guest's sequences is UD2, which ends it.
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
#include <sys/mman.h>

#include <cmocka.h>

#include "../fpu/native.h"
#include "../interp/vector_sequences.h"
#include "base/bits.h"
#include "core/mem.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/step.h"
#include "engine/bt/vm.h"

#define ROUNDS    40
#define FLAGS     0x8d5u
#define TABLES    (NATIVE_DATA + MIB(1))
#define CODE      (NATIVE_DATA + MIB(2)) /* a page for each sequence; it is mapped at NATIVE_CODE */
#define RAM       MIB(6)
#define CODE_SIZE MIB(1)
#define MXCSR_DAZ 0x8040u

/* Several instructions in one block: what they leave to each other. */
#define BLOCKS(X)                                                                                 \
	X("addps %xmm1, %xmm2; vaddps %ymm2, %ymm3, %ymm4; mulps (%r13), %xmm4; vzeroupper")      \
	X("cmp %rax, %rcx; movups 3(%r13), %xmm1; setb %bl; paddd %xmm1, %xmm2; setp %dl")        \
	X("ucomisd 8(%r13), %xmm8; seta %al; movq %rax, %xmm3; setp %cl")                         \
	X("ptest 16(%r13), %xmm3; movups %xmm3, 32(%r13); sete %r10b")                            \
	X("mov $5, %ecx; 1: paddd %xmm1, %xmm2; vpaddd 5(%r13), %ymm2, %ymm3; dec %ecx; jnz 1b")  \
	X("movd %r10d, %xmm11; movq %xmm11, %r11; cvtsi2sdl 4(%r13), %xmm10; add %r11, %r10")     \
	X("cvttsd2si 8(%r13), %r11; cvtsd2si %xmm10, %r10; pinsrw $2, 3(%r13), %xmm11")           \
	X("mov %r13, %r10; mov $8, %r11; movups 1(%r10,%r11,2), %xmm10; vmovups %ymm10, (%r10)")  \
	X("mov %r13, %r11; movd %xmm10, 4(%r11); vcvttss2si 8(%r11), %r10d; pextrd $1, %xmm9, "   \
	  "8(%r11)")                                                                              \
	X("stmxcsr 64(%r13); orl $0x8040, 64(%r13); ldmxcsr 64(%r13); divps %xmm1, %xmm2; "       \
	  "stmxcsr 68(%r13)")                                                                     \
	X("mulps %xmm1, %xmm2; movl $0x1f00, (%r13); ldmxcsr (%r13); divps %xmm1, %xmm2")         \
	X("addps %xmm1, %xmm2; movl $0x80001f80, (%r13); ldmxcsr (%r13)")                         \
	X("addps %xmm1, %xmm2; vaddpd %ymm5, %ymm6, %ymm7; movaps %xmm2, 8(%r13)")                \
	X("vaddpd %ymm5, %ymm6, %ymm7; addps %xmm1, %xmm2; movups %xmm2, 17(%r12)")               \
	X("paddb %xmm1, %xmm2; paddb %mm1, %mm2; paddb %xmm2, %xmm3; movq2dq %mm2, %xmm4")        \
	X("paddd %xmm1, %xmm2; lea 3(%rax), %cx; mov (%r13), %rdx; paddd %xmm2, %xmm3; "          \
	  "mov 8(%r13), %rbx; mov %rbx, 16(%r13)")                                                \
	X("mov %rax, %r10; add %rcx, %r10; lea 5(%r10,%rdx), %r11; xor %r10d, %r11d; rol $3, "    \
	  "%r11; "                                                                                \
	  "adc %r11, %r10; mov 8(%r13), %r10; add %r11, %r10; mov %r10b, %r11b; movzbl %r11b, "   \
	  "%r10d")                                                                                \
	X("lea (%rax,%rcx), %r11; add %r11, 8(%r13); sub 16(%r13), %r11; mov 8(%r13), %r10d; "    \
	  "mov %r11, 24(%r13); add %r10, 24(%r13); imul %r10, %r11; lea 1(%r11), %r10; "          \
	  "xor 8(%r13), %r10; mov %r11w, %r10w; cmp %r10, %r11; sbb %r11, %rbx")                  \
	X("mov %rax, %r11; cmp %rcx, %rdx; mov 8(%r13), %rsi; add %r11, %rsi; cmovc %r11, %r10; " \
	  "setb %r11b; mov %r11, %rdi; mov %r13, %r10; mov 3(%r10), %r11; add %r11, 16(%r10); "   \
	  "mov %r10, %r11; mov (%r11), %eax; lock xadd %r11, 64(%r10); add %r11, %rax")           \
	X("mov %rax, %r11; test %r11, %r11; js 1f; add $5, %r11; 1: add %rcx, %r11; jc 2f; "      \
	  "mov %r11, %r10; 2: xor %r10, %r11; mov 8(%r13), %r11w; movsbq %r11b, %r10; bsf %r10, " \
	  "%r11")                                                                                 \
	X("mov %r13, %r11; mov %rax, %r10; movaps (%r13), %xmm1; add %r10, %rcx; movaps "         \
	  "16(%r13), "                                                                            \
	  "%xmm2; add 8(%r11), %r10; mov %rdx, 40(%r13); add %r11, %r10; mov 48(%r12), %r10")     \
	X("vpcmpeqb %xmm1, %xmm2, %xmm3; vpmovmskb %xmm3, %r11d; bsf %r11d, %eax; vptest %ymm1, " \
	  "%ymm2; adc $0, %r11")

/* x87 and MMX instructions, and what they leave in the x87's pointers. */
#define STACKS(X)                                                                                 \
	X("fldl 8(%r13); fld %st(0); fmulp; fldpi; fxch; fsubrp; fstpl 16(%r13)")                 \
	X("fldl 8(%r13); faddl 16(%r13); fchs; fstps 24(%r13); fildl 4(%r13); fistpl 32(%r13)")   \
	X("fldl 8(%r13); fld1; fcomip %st(1); setb %al; setp %bl; fstp %st(0); adc $0, %r10")     \
	X("cmp %rax, %rcx; fldl 8(%r13); fcmovbe %st(1), %st; seta %dl; fstpl 8(%r13)")           \
	X("fldl 8(%r13); fcoml 16(%r13); fnstsw %ax; sahf; ja 1f; fldz; 1: fld1; fnstenv "        \
	  "64(%r13)")                                                                             \
	X("mov $20, %ecx; fld1; 1: fadd %st(0); fmull 8(%r13); dec %ecx; jnz 1b; fstpt 24(%r13)") \
	X("mov %r13, %r11; fldl 8(%r11); fldl 16(%r11); mov $1, %r10d; fldl 8(%r13, %r10, 8); "   \
	  "fldl 9(%r11, %r11); fldl 24(%r11)")                                                    \
	X("fldl 8(%r13); fnstenv 64(%r13); fld1; fldl 16(%r13); fsqrt; fnstenv 128(%r13)")        \
	X("mov %r13, %r10; mov $3, %r11d; fldl 8(%r10, %r11, 8); fstpl 1(%r10, %r11, 4); "        \
	  "fnstenv 64(%r13)")                                                                     \
	X("fldl 8(%r13d); fnstenv 64(%r13)")                                                      \
	X("fldl 0x20000108; fabs; fnstenv 64(%r13)")                                              \
	X("fldt 3(%r13); fnop; fldl 40(%r12); fstpl 16(%r13)")                                    \
	X("fldl 8(%r13); fld1; fstpt 23(%r12)")                                                   \
	X("orw $0xf3f, (%r13); andw $0xf7f, (%r13); fldcw (%r13); fldl 8(%r13); frndint; "        \
	  "fistpq 16(%r13); fnstcw 2(%r13); fnclex; fnstsw 4(%r13); fwait")                       \
	X("movw $0x1332, (%r13); fldcw (%r13); fld1; fnclex; fwait")                              \
	X("fsincos; fpatan; fscale; fyl2xp1; fprem1; fdecstp; ffree %st(2); fincstp; fnstsw "     \
	  "(%r13)")                                                                               \
	X("paddb %mm1, %mm2; movq 8(%r13), %mm3; pxor %mm2, %mm3; movq %mm3, 24(%r13); emms; "    \
	  "fld1")                                                                                 \
	X("movd %r10d, %mm1; movq %mm1, %r11; pmovmskb %mm1, %r10d; pinsrw $1, %r10d, %mm2")      \
	X("cvtps2pi %xmm1, %mm2; cvtpi2ps %mm2, %xmm3; addps %xmm3, %xmm4; fld1; "                \
	  "cvtpi2pd 8(%r13), %xmm5; cvtpi2ps 3(%r13), %xmm6; fnstsw %ax")                         \
	X("addps %xmm1, %xmm2; fldl 8(%r13); vaddps %ymm2, %ymm3, %ymm4; fstpl 16(%r13); "        \
	  "movups 32(%r13), %xmm7; fldl 24(%r13); emms; mulps %xmm7, %xmm8")                      \
	X("fldl 8(%r13); divps %xmm1, %xmm2; fldl 8(%r12); fldl 40(%r12)")

#define SEQUENCES(X) COMPUTING(X) MASKED(X) BLOCKS(X) X87(X) STACKS(X)

#define ADDRESS_OF(insn)                                                     \
	"771: " insn "\n772:\n.pushsection .data.rel.ro\n.quad 771b, 772b\n" \
	".popsection\n"
__asm__(".pushsection .data.rel.ro\n.balign 8\nlower_sequences:\n.popsection\n"
	".pushsection .rodata\n" SEQUENCES(ADDRESS_OF) ".popsection\n");
extern const uint8_t *const lower_sequences[][2] __attribute__((visibility("hidden")));

#define TEXT(insn) insn,
static const char *const texts[] = {SEQUENCES(TEXT)};

struct room {
	struct cpu cpu;
	uint8_t tables[] __attribute__((aligned(64)));
};

struct rig {
	struct vm vm;
	struct engine_env env;
	struct mem mem;
	struct bus mmio;
	struct cpu *cpu;
	uint8_t *data;
};

static struct rig rig;
static char difference[256]; /* the last one found */

#define differ(...)                                                    \
	do {                                                           \
		snprintf(difference, sizeof(difference), __VA_ARGS__); \
		return false;                                          \
	} while (0)

static size_t room_size(void)
{
	return sizeof(struct room) + mmu_room() + BLOCKS_ROOM;
}

/* NATIVE_DATA and NATIVE_CODE, for ring 3. */
static void make_tables(struct rig *r)
{
	uint64_t *tables = mem_ptr_rw(&r->mem, TABLES, 5 * 4096);
	const uint64_t rights = PTE_P | PTE_RW | PTE_US;

	tables[NATIVE_DATA >> 39 & 511] = (TABLES + 4096) | rights;
	tables[512 + (NATIVE_DATA >> 30 & 511)] = (TABLES + 8192) | rights;
	tables[1024 + (NATIVE_DATA >> 21 & 511)] = (TABLES + 12288) | rights;
	tables[1024 + (NATIVE_CODE >> 21 & 511)] = (TABLES + 16384) | rights;
	for (uint64_t i = 0; i < NATIVE_DATA_SIZE / 4096; i++)
		tables[1536 + (NATIVE_DATA >> 12 & 511) + i] = (NATIVE_DATA + i * 4096) | rights;
}

static void put_code(struct rig *r)
{
	static const uint8_t ud2[] = {0x0f, 0x0b};
	uint8_t *code = mem_ptr_rw(&r->mem, CODE, ARRAY_LEN(texts) * 4096);

	assert_non_null(code);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t len = (size_t)(lower_sequences[i][1] - lower_sequences[i][0]);

		memcpy(code + i * 4096, lower_sequences[i][0], len);
		memcpy(code + i * 4096 + len, ud2, sizeof(ud2));
	}
}

static void set_registers(struct cpu *cpu)
{
	const struct segment data = {.selector = 0x2b, .attr = 0xc0f3, .limit = UINT32_MAX};

	cpu->cr0 = CR0_PE | CR0_PG | CR0_NE | CR0_MP | CR0_WP;
	cpu->cr3 = TABLES;
	cpu->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	cpu->efer = EFER_LME | EFER_LMA;
	cpu->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
	cpu->rflags = RFLAGS_FIXED;
	cpu->seg[SEG_CS] = (struct segment){.selector = 0x33, .attr = 0xa0fb, .limit = UINT32_MAX};
	cpu->seg[SEG_SS] = data;
	cpu->cpl = 3;
	cpu_update_mode(cpu);
	mmu_flush(cpu, true);
}

static void rig_init(struct rig *r)
{
	struct room *room = mmap(NULL, room_size(), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cpu *cpu = &room->cpu;

	assert_true(room != MAP_FAILED);
	memset(r, 0, sizeof(*r));
	r->cpu = cpu;
	assert_int_equal(mem_init(&r->mem, 0, NULL), 0);
	assert_int_equal(mem_add_ram(&r->mem, NATIVE_DATA, RAM, NULL), 0);
	bus_init(&r->mmio, "mmio", BIT(52));
	r->env.mem = &r->mem;
	r->env.mmio = &r->mmio;
	r->vm.env = &r->env;
	for (unsigned i = 0; i < r->mem.count; i++)
		assert_int_equal(pages_map(&r->vm.pages, &r->mem.regions[i]), 0);
	exclusive_init(&r->vm.exclusive);
	r->vm.cpu[0] = cpu;
	r->vm.amd = __builtin_cpu_is("amd");
	r->vm.decoder = decoder_new(r->vm.amd, NULL);
	assert_non_null(r->vm.decoder);
	r->data = mem_ptr_rw(&r->mem, NATIVE_DATA, NATIVE_DATA_SIZE);
	make_tables(r);
	put_code(r);
	cpu->vm = &r->vm;
	cpu->amd = r->vm.amd;
	cpu->phys_bits = 40;
	memset(cpu->features, true, sizeof(cpu->features));
	cpu->tlb_room = room->tables;
	assert_int_equal(mmu_init(cpu), 0);
	assert_int_equal(code_cache_init(cpu), 0);
	assert_int_equal(fpu_init(&cpu->fpu, NULL), 0);
	assert_int_equal(blocks_init(cpu, CODE_SIZE, room->tables + mmu_room(), NULL), 0);
	gates_set_base(cpu);
	set_registers(cpu);
	exclusive_enter(cpu);
}

static void rig_release(struct rig *r)
{
	struct cpu *cpu = r->cpu;

	exclusive_leave(cpu);
	blocks_release(cpu);
	fpu_release(&cpu->fpu);
	code_cache_release(cpu);
	mmu_release(cpu);
	exclusive_release(&r->vm.exclusive);
	decoder_free(r->vm.decoder);
	for (unsigned i = 0; i < r->mem.count; i++)
		pages_unmap(&r->vm.pages, &r->mem.regions[i]);
	bus_release(&r->mmio);
	mem_release(&r->mem);
	munmap(cpu, room_size());
}

static size_t length_of(size_t index)
{
	return (size_t)(lower_sequences[index][1] - lower_sequences[index][0]);
}

/* Each sequence has the same address, as the host's has, since x87's pointers show it. */
static void map_code(struct cpu *cpu, size_t index)
{
	uint64_t *entry = mem_ptr_rw(&rig.mem, TABLES + 16384 + (NATIVE_CODE >> 12 & 511) * 8, 8);

	*entry = (CODE + index * 4096) | PTE_P | PTE_RW | PTE_US;
	mmu_invlpg(cpu, NATIVE_CODE);
}

/* Runs a sequence as the guest's; the vector of its exception, or -1. */
static int run_here(struct cpu *cpu, size_t index)
{
	map_code(cpu, index);
	cpu->rip = NATIVE_CODE;
	cpu->exception.pending = false;
	if (!_setjmp(cpu->unwind))
		for (;;)
			translated_step(cpu);
	assert_int_equal(cpu->native.vectors, 0);
	if (cpu->exception.vector == VECTOR_UD && cpu->rip == NATIVE_CODE + length_of(index))
		return -1;
	return cpu->exception.vector;
}

static bool compare(const char *text, const struct cpu *cpu, const struct native *n)
{
	const uint8_t *native = (const uint8_t *)NATIVE_DATA;
	uint8_t x87[160];

	if (cpu->rip != n->rip)
		differ("%s: ends at %lu, host %lu", text, cpu->rip - NATIVE_CODE,
		       n->rip - NATIVE_CODE);
	for (unsigned i = 0; i < 16; i++)
		if (i != GPR_RSP && cpu->gpr[i] != n->gpr[i])
			differ("%s: register %u is %lx, host %lx", text, i, cpu->gpr[i], n->gpr[i]);
	if ((cpu->rflags ^ n->rflags) & FLAGS)
		differ("%s: flags %lx, host %lx", text, (uint64_t)(cpu->rflags & FLAGS),
		       (uint64_t)(n->rflags & FLAGS));
	if (memcmp(native, rig.data, NATIVE_DATA_SIZE) != 0)
		differ("%s: memory differs", text);
	if (memcmp(cpu->fpu.area + XSAVE_XMM, n->xsave + XSAVE_XMM, 256) != 0)
		differ("%s: XMM differ", text);
	if (memcmp(cpu->fpu.area + FPU_YMM_HI, n->xsave + FPU_YMM_HI, 256) != 0)
		differ("%s: upper halves differ", text);
	if (memcmp(cpu->fpu.area + XSAVE_MXCSR, n->xsave + XSAVE_MXCSR, 4) != 0)
		differ("%s: MXCSR differs", text);
	fpu_store_x87(&cpu->fpu, true, x87);
	for (unsigned i = 0; i < sizeof(x87); i++)
		if ((i < XSAVE_MXCSR || i >= XSAVE_ST) && x87[i] != n->xsave[i])
			differ("%s: x87 state differs at %u: %02x, host %02x", text, i, x87[i],
			       n->xsave[i]);
	return true;
}

/* What the interpreter is to do, whole or in part. */
static bool is_left(const char *text)
{
	static const char *const parts[] = {
		"maskmov", "$0x1f00", "fnstenv", "fnsave",  "fldenv", "frstor",           "fninit",
		"fxsave",  "$0x340",  "$0x300",  "$0x1332", ".byte",  "lea 3(%rax), %cx",
	};

	if (!strcmp(text, "ldmxcsr (%r13)") || strstr(text, "fldcw (%r13); fsqrt"))
		return true;
	for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
		if (strstr(text, parts[i]))
			return true;
	return false;
}

/* Runs it here and there from the state in start and the memory in data. masked: no exception is
 * unmasked, so that it is translated. */
static bool run_both(size_t index, const struct native *start, const uint8_t *data, bool masked)
{
	struct cpu *cpu = rig.cpu;
	struct native n = *start;
	uint64_t interpreted = cpu->instructions;
	int vector;

	memcpy(rig.data, data, NATIVE_DATA_SIZE);
	memcpy((void *)NATIVE_DATA, data, NATIVE_DATA_SIZE);
	memcpy(cpu->fpu.area, n.xsave, FPU_AREA_SIZE);
	store_le(cpu->fpu.area + XSAVE_MXCSR_MASK, 4, cpu->fpu.host.mxcsr_mask);
	cpu->fpu.fcs = 0;
	cpu->fpu.fds = 0;
	memcpy(cpu->gpr, n.gpr, sizeof(n.gpr));
	cpu->rflags = n.rflags;
	if (native_random() & 1)
		mmu_flush(cpu, true);
	vector = run_here(cpu, index);
	native_run(&n, lower_sequences[index][0], length_of(index));
	if (vector != n.vector)
		differ("%s: exception %d, host %d", texts[index], vector, n.vector);
	interpreted = cpu->instructions - interpreted;
	if (masked && vector < 0 && !is_left(texts[index]) && interpreted)
		differ("%s: %lu instructions interpreted", texts[index], interpreted);
	return compare(texts[index], cpu, &n);
}

static bool run_sequence(size_t index, uint32_t mxcsr, bool masked)
{
	static uint8_t data[NATIVE_DATA_SIZE];
	struct native n;

	native_randomise(&n, native_random() & 1, mxcsr);
	n.gpr[13] = NATIVE_DATA + 256;
	n.gpr[GPR_RBX] = n.gpr[13];
	n.gpr[12] = NATIVE_DATA + NATIVE_DATA_SIZE - 32;
	if (native_random() & 1)
		memset(n.xsave + FPU_YMM_HI, 0, 256);
	memcpy(data, (const void *)NATIVE_DATA, sizeof(data));
	/* AMD's processors forget the x87's pointers when the host's kernel switches tasks, so once
	 * is not enough to blame lodge. */
	return run_both(index, &n, data, masked) || run_both(index, &n, data, masked) ||
	       run_both(index, &n, data, masked);
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
	if (strstr(text, "extrq") || strstr(text, "insertq") || strstr(text, "movntsd"))
		return __builtin_cpu_supports("sse4a");
	return true;
}

static void begin(void)
{
	if (!native_possible()) {
		print_message("skipped: this host has no AVX2 or no FMA\n");
		skip();
	}
	native_catch();
	rig_init(&rig);
}

static unsigned run_all(uint32_t mxcsr_set, uint32_t mxcsr_random)
{
	unsigned differences = 0;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (!host_has(texts[i]))
			continue;
		for (unsigned round = 0; round < ROUNDS; round++) {
			if (run_sequence(i, mxcsr_set | (native_random() & mxcsr_random),
					 mxcsr_set == 0x1f80))
				continue;
			print_error("%s\n", difference);
			differences++;
			break;
		}
	}
	return differences;
}

/* One test, for the engine's handler of SIGFPE is installed once, above native_catch's. */
static void test_as_the_host(void **state)
{
	unsigned differences;

	(void)state;
	begin();
	differences = run_all(0x1f80, 0xe07f); /* masked: translated */
	differences += run_all(0, 0xffff);
	rig_release(&rig);
	assert_int_equal(differences, 0);
}

static size_t index_of(const char *text)
{
	size_t i = 0;

	while (strcmp(texts[i], text) != 0)
		i++;
	return i;
}

/* Runs a sequence with zeroed registers and all exceptions masked. */
static int run_plain(const char *text)
{
	struct cpu *cpu = rig.cpu;

	memset(cpu->fpu.area, 0, sizeof(cpu->fpu.area));
	store_le(cpu->fpu.area + XSAVE_FCW, 2, 0x37f);
	store_le(cpu->fpu.area + XSAVE_MXCSR, 4, MXCSR_RESET);
	store_le(cpu->fpu.area + XSAVE_XMM + 16, 4, 0x3f800000); /* 1.0 in XMM1 */
	memset(cpu->gpr, 0, sizeof(cpu->gpr));
	return run_here(cpu, index_of(text));
}

static uint64_t done_at(void)
{
	return rig.cpu->rip - NATIVE_CODE;
}

/* SDM vol. 3A 2.5, table 13-1: what forbids SSE, what AVX; also after a block was run without. */
static void test_forbidden(void **state)
{
	static const char sse[] = "movlhps %xmm3, %xmm4", both[] = "addps %xmm1, %xmm2; vaddpd "
								   "%ymm5, %ymm6, %ymm7; movaps "
								   "%xmm2, 8(%r13)";
	static const char avx[] = "vmovhlps %xmm1, %xmm2, %xmm13";
	struct cpu *cpu;

	(void)state;
	begin();
	cpu = rig.cpu;
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(run_plain(sse), -1);
		assert_int_equal(run_plain(avx), -1);
		cpu->cr0 |= CR0_TS;
		assert_int_equal(run_plain(sse), VECTOR_NM);
		assert_int_equal(run_plain(avx), VECTOR_NM);
		assert_int_equal(done_at(), 0);
		cpu->cr0 &= ~(uint64_t)CR0_TS;
		cpu->cr0 |= CR0_EM;
		assert_int_equal(run_plain(sse), VECTOR_UD);
		assert_int_equal(done_at(), 0);
		assert_int_equal(run_plain(avx), -1);
		cpu->cr0 &= ~(uint64_t)CR0_EM;
		cpu->cr4 &= ~(uint64_t)CR4_OSFXSR;
		assert_int_equal(run_plain(sse), VECTOR_UD);
		assert_int_equal(run_plain(avx), -1);
		cpu->cr4 |= CR4_OSFXSR;
		cpu->xcr0 = XSTATE_X87 | XSTATE_SSE;
		assert_int_equal(run_plain(sse), -1);
		assert_int_equal(run_plain(both), VECTOR_UD); /* its second instruction */
		assert_int_equal(done_at(), 3);
		assert_int_equal(load_le(cpu->fpu.area + XSAVE_XMM + 32, 4), 0x3f800000);
		cpu->xcr0 = XSTATE_X87 | XSTATE_SSE | XSTATE_AVX;
		cpu->cr4 &= ~(uint64_t)CR4_OSXSAVE;
		assert_int_equal(run_plain(avx), VECTOR_UD);
		cpu->cr4 |= CR4_OSXSAVE;
	}
	rig_release(&rig);
}

/* What forbids x87 and what MMX; also after a block was run without. */
static void test_forbidden_x87(void **state)
{
	static const char x87[] = "fnstsw %ax", mmx[] = "movd %r10d, %mm1; movq %mm1, %r11; "
							"pmovmskb %mm1, %r10d; pinsrw $1, %r10d, "
							"%mm2";
	struct cpu *cpu;

	(void)state;
	begin();
	cpu = rig.cpu;
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(run_plain(x87), -1);
		assert_int_equal(run_plain(mmx), -1);
		cpu->cr0 |= CR0_TS;
		assert_int_equal(run_plain(x87), VECTOR_NM);
		assert_int_equal(run_plain(mmx), VECTOR_NM);
		assert_int_equal(done_at(), 0);
		cpu->cr0 &= ~(uint64_t)CR0_TS;
		cpu->cr0 |= CR0_EM;
		assert_int_equal(run_plain(x87), VECTOR_NM);
		assert_int_equal(run_plain(mmx), VECTOR_UD);
		assert_int_equal(done_at(), 0);
		cpu->cr0 &= ~(uint64_t)CR0_EM;
	}
	rig_release(&rig);
}

/* C that runs afterwards has an empty x87 stack and its own control word. */
static void test_host_x87(void **state)
{
	uint8_t image[108];
	uint16_t before, after;

	(void)state;
	begin();
	memset(rig.cpu->fpu.area, 0, sizeof(rig.cpu->fpu.area));
	store_le(rig.cpu->fpu.area + XSAVE_MXCSR, 4, MXCSR_RESET);
	rig.cpu->gpr[13] = NATIVE_DATA;
	rig.cpu->gpr[12] = NATIVE_DATA + NATIVE_DATA_SIZE - 32;
	__asm__ volatile("fnstcw %0" : "=m"(before));
	store_le(rig.cpu->fpu.area + XSAVE_FCW, 2, 0xc7f);
	assert_int_equal(run_here(rig.cpu, index_of("fldl 8(%r13); fld1; fstpt 23(%r12)")),
			 VECTOR_PF);
	__asm__ volatile("fnstcw %0" : "=m"(after));
	assert_int_equal(before, after);
	__asm__ volatile("fnsave %0; frstor %0" : "+m"(image));
	assert_int_equal(load_le(image + 8, 2), 0xffff);
	assert_int_equal(load_le(rig.cpu->fpu.area + XSAVE_FCW, 2), 0xc7f);
	rig_release(&rig);
}

/* C that runs afterwards has the MXCSR that it had, whatever the guest's is. */
static void test_host_mxcsr(void **state)
{
	static const char text[] = "addps %xmm1, %xmm2; vaddps %ymm2, %ymm3, %ymm4; mulps (%r13), "
				   "%xmm4; vzeroupper";
	uint32_t before;

	(void)state;
	begin();
	before = __builtin_ia32_stmxcsr();
	memset(rig.cpu->fpu.area, 0, sizeof(rig.cpu->fpu.area));
	store_le(rig.cpu->fpu.area + XSAVE_MXCSR, 4, 0x1f80 | MXCSR_DAZ | 0x6000);
	rig.cpu->gpr[13] = NATIVE_DATA;
	assert_int_equal(run_here(rig.cpu, index_of(text)), -1);
	assert_int_equal(__builtin_ia32_stmxcsr(), before);
	assert_int_equal(load_le(rig.cpu->fpu.area + XSAVE_MXCSR, 4), 0x1f80 | MXCSR_DAZ | 0x6000);
	rig_release(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_the_host),   cmocka_unit_test(test_forbidden),
		cmocka_unit_test(test_forbidden_x87), cmocka_unit_test(test_host_x87),
		cmocka_unit_test(test_host_mxcsr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
