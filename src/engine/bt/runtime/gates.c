/* SPDX-License-Identifier: Apache-2.0 */
/*
 * enter    C calls it: host registers away, guest registers in, and off to the code.
 *          R10 and R11 stay in struct cpu all the time.
 * leave    the other way; C goes on behind its call of enter.
 * fill     a look-up missed. C is called on the stack of who entered, and when it has filled
 *          the TLB's entry the look-up is done again; else it is leave, with the
 *          instruction as the interpreter's. Vector registers are not saved: what is
 *          called here is compiled to use none.
 */
#include "engine/bt/runtime/gates.h"

#include <asm/prctl.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/bt/mmu/mmu.h"
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

/* struct left is returned in RAX and RDX. */
static void emit_return(struct emit *e)
{
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
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

static const uint8_t *emit_leave(struct emit *e)
{
	const uint8_t *here = emit_here(e);

	emit_registers(e, EMIT_MOV_TO);
	emit_return(e);
	return here;
}

/* Whether the access will succeed when it is done again. */
static bool fill(struct cpu *cpu, uint64_t linear, uint32_t access)
{
	return mmu_fill(cpu, linear, access & 0xff, access & ACCESS_WRITE);
}

/* R10: the linear address, R11: struct access_site. */
static const uint8_t *emit_fill(struct emit *e, struct cpu *cpu)
{
	static const uint8_t call_rax[] = {0xff, 0xd0}, test_al[] = {0x84, 0xc0};
	static const uint8_t movsxd_r10_from_r11[] = {0x4d, 0x63, 0x13}; /* [R11] */
	static const uint8_t jmp_r11[] = {0x41, 0xff, 0xe3};
	static const uint8_t mov_edx[] = {0x41, 0x8b, 0x53}, mov_r11[] = {0x4d, 0x8b, 0x5b};
	const uint8_t *here = emit_here(e);
	uint8_t *refused;

	emit_registers(e, EMIT_MOV_TO);
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_SPARE, CTX(native.site));
	emit_ctx(e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.missed));
	emit_ctx(e, EMIT_MOV, 8, GPR_RSP, CTX(native.host_sp));
	emit_bytes(e, mov_edx, sizeof(mov_edx));
	emit_byte(e, offsetof(struct access_site, access));
	emit_set(e, GPR_RDI, (uintptr_t)cpu);
	emit_reg(e, EMIT_MOV, 8, GPR_RSI, HOST_ADDRESS);
	emit_set(e, GPR_RAX, (uintptr_t)fill);
	emit_bytes(e, call_rax, sizeof(call_rax));
	emit_ctx(e, EMIT_MOV, 8, HOST_SPARE, CTX(native.site));
	emit_bytes(e, test_al, sizeof(test_al));
	refused = emit_jcc(e, EMIT_EQUAL);
	emit_registers(e, EMIT_MOV);
	emit_bytes(e, movsxd_r10_from_r11, sizeof(movsxd_r10_from_r11));
	/* R10 is wanted as the address: the sum goes to R11. */
	emit_reg(e, EMIT_ADD, 8, HOST_SPARE, HOST_ADDRESS);
	emit_ctx(e, EMIT_MOV, 8, HOST_ADDRESS, CTX(native.missed));
	emit_bytes(e, jmp_r11, sizeof(jmp_r11));
	emit_patch(e, refused);
	emit_bytes(e, mov_r11, sizeof(mov_r11));
	emit_byte(e, offsetof(struct access_site, rip));
	emit_set(e, HOST_ADDRESS, EXIT_INTERPRET);
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
	t->gates.enter = emit_enter(&t->emit);
	t->gates.leave = emit_leave(&t->emit);
	t->gates.fill = emit_fill(&t->emit, t->cpu);
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
