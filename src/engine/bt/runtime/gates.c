/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter    C calls it: host registers away, guest registers in, and off to the code.
 *          R10 and R11 stay in struct cpu all the time.
 * leave    the other way; C goes on behind its call of enter.
 * fill     a look-up missed. C is called on the stack of who entered, and when it has filled
 *          the TLB's entry the look-up is done again; else it is leave, with the
 *          instruction as the interpreter's.
 * handler  an instruction of a block is done by its handler (handle.c), which is C. Then it is on
 *          in the block, or to another, or leave.
 * jump     an indirect jump's target is not in its table: the same, with blocks_find.
 * vectors  a block wants the vector registers: they are loaded, or it is leave. C is always called
 *          with them stored (vectors.h).
 * x87      the same with those of the x87. Where C is known not to use them they stay (x87.h).
 */
#include "engine/bt/runtime/gates.h"

#include <asm/prctl.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/mem.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/context.h"
#include "engine/bt/runtime/handle.h"
#include "engine/bt/runtime/vectors.h"
#include "engine/bt/runtime/x87.h"
#include "engine/bt/translate/lower.h"

#define HWCAP2_FSGSBASE BIT(1) /* the kernel lets programs set the bases */

static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
static const uint8_t push_saved[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
static const uint8_t pop_saved[] = {0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b};
static const uint8_t ret = 0xc3;

/* Pushed by enter below what aligns the stack for calls. */
#define PADDING 8

static void emit_registers(struct emit *e, enum emit_op op)
{
	for (unsigned reg = 0; reg < GPR_COUNT; reg++)
		if (!is_stolen(reg))
			emit_ctx(e, op, 8, reg, ctx_gpr(reg));
}

#define VECTORS_ALL (VECTORS_XMM | VECTORS_X87)

/* OR or AND byte gs:[vectors], imm. */
static void emit_vectors_byte(struct emit *e, enum emit_group op, uint8_t imm)
{
	const uint8_t insn[] = {0x65, 0x80, (uint8_t)(op << 3 | 4), 0x25};

	emit_bytes(e, insn, sizeof(insn));
	emit_le(e, 4, (uint32_t)CTX(native.vectors));
	emit_byte(e, imm);
}

static void emit_call_to(struct emit *e, const uint8_t *target)
{
	uint8_t *distance;

	emit_byte(e, 0xe8);
	emit_le(e, 4, 0);
	distance = e->at - 4;
	if (!e->full)
		emit_patch_to(distance, e->shift, target);
}

/* Calls code if XMM and YMM are there. */
static void emit_xmm_call(struct emit *e, const uint8_t *code)
{
	uint8_t *none = vectors_emit_test(e, VECTORS_XMM);

	emit_call_to(e, code);
	emit_patch(e, none);
}

/* Whatever is loaded is stored. */
static void emit_vectors_away(struct emit *e, const struct vectors_code *vectors)
{
	uint8_t *none = vectors_emit_test(e, VECTORS_ALL);

	emit_call_to(e, vectors->store);
	emit_vectors_byte(e, EMIT_AND_IMM, 0);
	emit_patch(e, none);
}

/* struct left is returned in RAX and RDX. On the host's stack. */
static void emit_return(struct emit *e)
{
	emit_reg(e, EMIT_MOV, 8, GPR_RAX, HOST_ADDRESS);
	emit_reg(e, EMIT_MOV, 8, GPR_RDX, HOST_SPARE);
	emit_lea_disp(e, 8, GPR_RSP, GPR_RSP, PADDING);
	emit_bytes(e, pop_saved, sizeof(pop_saved));
	emit_byte(e, ret);
}

/* RDI: the far entry. */
static const uint8_t *emit_enter(struct emit *e)
{
	static const uint8_t jmp_r11[] = {0x41, 0xff, 0xe3};
	const uint8_t *here = emit_here(e);

	emit_bytes(e, endbr64, sizeof(endbr64));
	emit_bytes(e, push_saved, sizeof(push_saved));
	emit_lea_disp(e, 8, GPR_RSP, GPR_RSP, -PADDING);
	emit_ctx(e, EMIT_MOV_TO, 8, GPR_RSP, CTX(native.host_sp));
	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, GPR_RDI);
	emit_registers(e, EMIT_MOV);
	emit_bytes(e, jmp_r11, sizeof(jmp_r11));
	return here;
}

static const uint8_t *emit_leave(struct emit *e, const struct vectors_code *vectors)
{
	const uint8_t *here = emit_here(e);

	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_vectors_away(e, vectors);
	emit_return(e);
	return here;
}

/* Calls function(cpu, RSI, EDX), with the site in R11 before and behind it. */
static void emit_call(struct emit *e, struct cpu *cpu, uintptr_t function)
{
	static const uint8_t call_rax[] = {0xff, 0xd0};

	emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.site));
	emit_set(e, GPR_RDI, (uintptr_t)cpu);
	emit_set(e, GPR_RAX, function);
	emit_bytes(e, call_rax, sizeof(call_rax));
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(native.site));
}

/* R11: struct access_site, its access to a register. */
static void emit_site_access(struct emit *e, unsigned reg)
{
	emit_byte(e, 0x41);
	emit_byte(e, 0x8b);
	emit_byte(e, (uint8_t)(0x43 | reg << 3));
	emit_byte(e, offsetof(struct access_site, access));
}

/* R11: struct access_site, with what leave wants in its place. */
static void emit_site_interpret(struct emit *e)
{
	static const uint8_t mov_r11[] = {0x4d, 0x8b, 0x5b};

	emit_bytes(e, mov_r11, sizeof(mov_r11));
	emit_byte(e, offsetof(struct access_site, rip));
	emit_set(e, HOST_ADDRESS, EXIT_INTERPRET);
}

/* R11: struct access_site. Back to the place with this distance in it, with the guest's registers;
 * R10 from struct cpu. */
static void emit_site_resume(struct emit *e, uint8_t distance)
{
	static const uint8_t movsxd_r10_from_r11[] = {0x4d, 0x63, 0x53};
	static const uint8_t jmp_r11[] = {0x41, 0xff, 0xe3};

	emit_registers(e, EMIT_MOV);
	emit_bytes(e, movsxd_r10_from_r11, sizeof(movsxd_r10_from_r11));
	emit_byte(e, distance);
	/* R10 is wanted as the address: the sum goes to R11. */
	emit_reg(e, EMIT_ADD, 8, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV, 8, HOST_ADDRESS, CTX(native.missed));
	emit_bytes(e, jmp_r11, sizeof(jmp_r11));
}

static const uint8_t test_al[] = {0x84, 0xc0};

/* How an access that missed goes on. */
enum filled {
	FILLED_NOT, /* the interpreter does the instruction */
	FILLED,     /* the look-up is done again */
	FILLED_DONE /* the host's address is in cpu->native.missed */
};

/* A read of two pages: into cpu->native.bounce, at an address that is as aligned as linear. */
static enum filled bounce(struct cpu *cpu, uint64_t linear, unsigned size)
{
	unsigned first = GUEST_PAGE_SIZE - (unsigned)(linear % GUEST_PAGE_SIZE);
	uint8_t *to = cpu->native.bounce;
	const void *low = mmu_read_place(cpu, linear, first);
	const void *high;

	if (!low || (linear + first) & ~cpu->rip_mask) /* 32-bit code, over 4 GiB */
		return FILLED_NOT;
	to += (linear - (uintptr_t)to) % NATIVE_BOUNCE;
	memcpy(to, low, first);
	high = mmu_read_place(cpu, linear + first, size - first);
	if (!high)
		return FILLED_NOT;
	memcpy(to + first, high, size - first);
	cpu->native.missed = (uintptr_t)to;
	return FILLED_DONE;
}

/* Of what a look-up missed. */
static enum filled fill(struct cpu *cpu, uint64_t linear, uint32_t access)
{
	unsigned size = access & ACCESS_SIZE;
	bool write = access & ACCESS_WRITE;
	enum filled filled = FILLED_NOT;

	if ((linear % GUEST_PAGE_SIZE) + size <= GUEST_PAGE_SIZE)
		filled = mmu_fill(cpu, linear, size, write) ? FILLED : FILLED_NOT;
	else if (!write && !(access & ACCESS_SHARED))
		filled = bounce(cpu, linear, size);
	if (filled && cpu->native.vectors & VECTORS_XMM)
		vectors_look(cpu);
	return filled;
}

/* R10: the linear address, R11: struct access_site. */
static const uint8_t *emit_fill(struct emit *e, struct cpu *cpu, const struct vectors_code *vectors)
{
	const uint8_t *here = emit_here(e);
	uint8_t *refused, *done;

	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.missed));
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_xmm_call(e, vectors->store_xmm);
	emit_reg(e, EMIT_MOV, 8, GPR_RSI, HOST_ADDRESS);
	emit_site_access(e, GPR_RDX);
	emit_call(e, cpu, (uintptr_t)fill);
	emit_bytes(e, test_al, sizeof(test_al));
	refused = emit_jcc(e, EMIT_EQUAL);
	emit_reg(e, EMIT_MOV, 4, GPR_RBX, GPR_RAX);
	emit_xmm_call(e, vectors->load_xmm);
	emit_imm(e, EMIT_CMP_IMM, 4, GPR_RBX, FILLED_DONE);
	done = emit_jcc(e, EMIT_EQUAL);
	emit_site_resume(e, offsetof(struct access_site, retry));
	emit_patch(e, done);
	emit_site_resume(e, offsetof(struct access_site, done));
	emit_patch(e, refused);
	emit_vectors_byte(e, EMIT_AND_IMM, VECTORS_X87); /* the others have been stored */
	emit_vectors_away(e, vectors);
	emit_site_interpret(e);
	emit_return(e);
	return here;
}

/* Whether a block was made since there were used in this part. */
static bool made(const struct translator *t, unsigned part, unsigned used)
{
	return t->now != part || t->part[part].used != used;
}

/* Whether the target will be found in the table when it is looked for again. Blocks may be
 * forgotten meanwhile, the one that asks too: then it is not gone back to. Nor is it where a block
 * was made: for that, others may have been waited for, and pages have become code that the one that
 * asks may write to by the addresses that it has. */
static bool find_target(struct cpu *cpu, uint64_t linear)
{
	const struct access_site *site = (const void *)(uintptr_t)cpu->native.site;
	struct translator *t = cpu->translator;
	unsigned part = t->now, used = t->part[part].used;
	uint64_t forgotten = t->forgotten, gpa;
	bool found;

	cpu->rip = site->rip;
	if (cpu->journal || !linear_canonical(cpu, linear) || !mmu_fill_code(cpu, linear, &gpa))
		return false;
	found = blocks_find(t, linear, context_now(cpu));
	if (!found || made(t, part, used) || forgotten != t->forgotten || cpu->native.remapped ||
	    atomic_load_explicit(&t->stale.some, memory_order_relaxed))
		return false;
	if (cpu->native.vectors & VECTORS_XMM)
		vectors_look(cpu);
	return true;
}

/* R10: the target, R11: struct access_site. */
static const uint8_t *emit_jump(struct emit *e, struct cpu *cpu, const struct vectors_code *vectors)
{
	const uint8_t *here = emit_here(e);
	uint8_t *refused;

	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.missed));
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_xmm_call(e, vectors->store_xmm);
	emit_reg(e, EMIT_MOV, 8, GPR_RSI, HOST_ADDRESS);
	emit_call(e, cpu, (uintptr_t)find_target);
	emit_bytes(e, test_al, sizeof(test_al));
	refused = emit_jcc(e, EMIT_EQUAL);
	emit_xmm_call(e, vectors->load_xmm);
	emit_site_resume(e, offsetof(struct access_site, retry));
	emit_patch(e, refused);
	emit_vectors_byte(e, EMIT_AND_IMM, VECTORS_X87); /* the others have been stored */
	emit_vectors_away(e, vectors);
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(rip));
	emit_set(e, HOST_ADDRESS, EXIT_INTERPRET);
	emit_return(e);
	return here;
}

/* R11: struct access_site. Where vectors are loaded, but not for this unit, they stay so. */
static const uint8_t *emit_vectors(struct emit *e, struct cpu *cpu,
				   const struct vectors_code *vectors, const uint8_t *leave)
{
	const uint8_t *here = emit_here(e);
	uint8_t *none, *refused;

	none = vectors_emit_test(e, VECTORS_XMM);
	emit_site_interpret(e);
	emit_jmp_to(e, leave);
	emit_patch(e, none);
	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_site_access(e, GPR_RSI);
	emit_call(e, cpu, (uintptr_t)vectors_enable);
	emit_bytes(e, test_al, sizeof(test_al));
	refused = emit_jcc(e, EMIT_EQUAL);
	emit_call_to(e, vectors->load_xmm);
	emit_site_resume(e, offsetof(struct access_site, retry));
	emit_patch(e, refused);
	emit_vectors_away(e, vectors);
	emit_site_interpret(e);
	emit_return(e);
	return here;
}

/* R11: struct access_site. */
static const uint8_t *emit_x87(struct emit *e, const uint8_t *leave)
{
	const uint8_t *here = emit_here(e);
	uint8_t *refused[X87_REFUSALS];

	emit_registers(e, EMIT_MOV_TO);
	x87_emit_ask(e, refused);
	x87_emit_load(e);
	emit_vectors_byte(e, EMIT_OR_IMM, VECTORS_X87);
	emit_site_resume(e, offsetof(struct access_site, retry));
	for (unsigned n = 0; n < X87_REFUSALS; n++)
		emit_patch(e, refused[n]);
	emit_ctx(e, EMIT_MOV, 8, GPR_RAX, ctx_gpr(GPR_RAX));
	emit_site_interpret(e);
	emit_jmp_to(e, leave);
	return here;
}

/* R11: struct handler_site. */
static const uint8_t *emit_handler(struct emit *e, struct cpu *cpu,
				   const struct vectors_code *vectors)
{
	static const uint8_t test_rax[] = {0x48, 0x85, 0xc0};
	static const uint8_t call_rax[] = {0xff, 0xd0};
	static const uint8_t jmp_r11[] = {0x41, 0xff, 0xe3};
	const uint8_t *here = emit_here(e);
	uint8_t *left;

	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_vectors_away(e, vectors);
	emit_set(e, GPR_RDI, (uintptr_t)cpu);
	emit_reg(e, EMIT_MOV, 8, GPR_RSI, HOST_SPARE);
	emit_set(e, GPR_RAX, (uintptr_t)handle);
	emit_bytes(e, call_rax, sizeof(call_rax));
	emit_bytes(e, test_rax, sizeof(test_rax));
	left = emit_jcc(e, EMIT_EQUAL);
	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, GPR_RAX);
	emit_registers(e, EMIT_MOV);
	emit_bytes(e, jmp_r11, sizeof(jmp_r11));
	emit_patch(e, left);
	emit_set(e, HOST_ADDRESS, EXIT_GO);
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(rip));
	emit_return(e);
	return here;
}

static const uint8_t *emit_interpret(struct emit *e, const uint8_t *leave)
{
	const uint8_t *here = emit_here(e);

	emit_reg(e, EMIT_MOV, 8, HOST_SPARE, HOST_ADDRESS);
	emit_set(e, HOST_ADDRESS, EXIT_INTERPRET);
	emit_jmp_to(e, leave);
	return here;
}

void gates_emit(struct translator *t)
{
	struct vectors_code vectors;

	vectors_emit(&t->emit, t->cpu, &vectors);
	t->gates.enter = emit_enter(&t->emit);
	t->gates.leave = emit_leave(&t->emit, &vectors);
	t->gates.fill = emit_fill(&t->emit, t->cpu, &vectors);
	t->gates.jump = emit_jump(&t->emit, t->cpu, &vectors);
	t->gates.vectors = emit_vectors(&t->emit, t->cpu, &vectors, t->gates.leave);
	t->gates.handler = emit_handler(&t->emit, t->cpu, &vectors);
	t->gates.x87 = emit_x87(&t->emit, t->gates.leave);
	t->gates.interpret = emit_interpret(&t->emit, t->gates.leave);
}

struct left gates_enter(const struct translator *t, const uint8_t *far)
{
	struct left (*enter)(const uint8_t *far) = (struct left(*)(const uint8_t *))(
							   uintptr_t)t->gates.enter;

	return enter(far);
}

void gates_set_base(struct cpu *cpu)
{
	if (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE)
		__asm__ volatile("wrgsbase %0" : : "r"(cpu));
	else
		syscall(SYS_arch_prctl, ARCH_SET_GS, cpu);
}
