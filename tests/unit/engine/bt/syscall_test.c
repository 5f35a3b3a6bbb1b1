/* SPDX-License-Identifier: Apache-2.0 */
/* Intel SDM vol. 2 and AMD APM vol. 3: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS, WRFSBASE, CLI,
 * STI, HLT, INVPCID, VMCALL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/x86/segment.h"
#include "system_rig.h"

static struct rig r;
static struct cpu *const cpu = &r.cpu[0];

#define CODE64_KERNEL 0xa09b
#define CODE64_USER   0xa0fb
#define CODE32_KERNEL 0xc09b
#define CODE32_USER   0xc0fb
#define STACK_KERNEL  0xc093
#define STACK_USER    0xc0f3

static int setup_vendor(bool amd)
{
	rig_init_vendor(&r, amd);
	rig_long_mode(cpu);
	cpu->msrs->star = 0x0023001000005678 | 0x0000000300000000; /* RPL bits to be ignored */
	cpu->msrs->lstar = 0xffffffff81000000;
	cpu->msrs->cstar = 0xffffffff82000000;
	cpu->msrs->fmask = RFLAGS_IF | RFLAGS_TF | RFLAGS_DF;
	cpu->msrs->sysenter_cs = 0x10;
	cpu->msrs->sysenter_esp = 0xffffffff83000000;
	cpu->msrs->sysenter_eip = 0xffffffff84000000;
	return 0;
}

static int setup_intel(void **state)
{
	(void)state;
	return setup_vendor(false);
}

static int setup_amd(void **state)
{
	(void)state;
	return setup_vendor(true);
}

static int teardown(void **state)
{
	(void)state;
	system_rig_release(&r);
	return 0;
}

static void assert_segment(unsigned n, unsigned selector, unsigned attr)
{
	assert_int_equal(cpu->seg[n].selector, selector);
	assert_int_equal(cpu->seg[n].attr, attr);
	assert_int_equal(cpu->seg[n].base, 0);
	assert_int_equal(cpu->seg[n].limit, UINT32_MAX);
}

static unsigned wide(unsigned op)
{
	return rig_run(cpu, &(struct insn){.op = (uint16_t)op, .len = 3, .op_size = 8});
}

static void compatibility_mode(void)
{
	cpu->seg[SEG_CS] = segment_flat_code32(0x20);
	cpu_update_mode(cpu);
}

static void protected_mode(void)
{
	cpu->cr0 = CR0_PE | CR0_ET;
	cpu->efer = EFER_SCE;
	compatibility_mode();
	assert_int_equal(cpu->mode, CPU_PROTECTED);
}

static void syscall_and_back(void **state)
{
	(void)state;
	rig_ring3(cpu);
	cpu->rip = 0x401000;
	cpu->rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF | RFLAGS_RF;
	assert_int_equal(rig_op(cpu, OP_SYSCALL), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RCX], 0x401002);
	assert_int_equal(cpu->gpr[11], RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF);
	assert_int_equal(cpu->rip, 0xffffffff81000000);
	assert_int_equal(cpu->rflags, RFLAGS_FIXED | RFLAGS_CF);
	assert_int_equal(cpu->cpl, 0);
	assert_segment(SEG_CS, 0x10, CODE64_KERNEL);
	assert_segment(SEG_SS, 0x18, STACK_KERNEL);
	cpu->gpr[11] = UINT64_MAX & ~RFLAGS_TF;
	assert_int_equal(wide(OP_SYSRET), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x401002);
	assert_int_equal(cpu->cpl, 3);
	assert_segment(SEG_CS, 0x33, CODE64_USER);
	assert_segment(SEG_SS, 0x2b, STACK_USER);
	assert_int_equal(cpu->mode, CPU_LONG);
}

static void sysret_to_32_bits(void **state)
{
	(void)state;
	cpu->gpr[GPR_RCX] = 0x1234567800401002;
	cpu->gpr[11] = UINT64_MAX & ~RFLAGS_TF;
	assert_int_equal(rig_op(cpu, OP_SYSRET), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x401002);
	assert_int_equal(cpu->rflags, 0x3c7fd7 & ~RFLAGS_TF); /* of R11, as SDM's pseudocode says */
	assert_segment(SEG_CS, 0x23, CODE32_USER);
	assert_segment(SEG_SS, 0x2b, STACK_USER);
	assert_int_equal(cpu->mode, CPU_COMPAT);
	assert_int_equal(rig_op(cpu, OP_SYSRET), cpu->amd ? VECTOR_GP : VECTOR_UD); /* CPL 3 */
}

static void syscall_of_intel(void **state)
{
	(void)state;
	cpu->gpr[GPR_RCX] = 0x0200000000000000;
	assert_int_equal(wide(OP_SYSRET), VECTOR_GP);
	assert_int_equal(cpu->cpl, 0);
	assert_int_equal(cpu->seg[SEG_CS].attr, CODE64_KERNEL);
	compatibility_mode();
	assert_int_equal(rig_op(cpu, OP_SYSCALL), VECTOR_UD);
	assert_int_equal(rig_op(cpu, OP_SYSRET), VECTOR_UD);
	rig_long_mode(cpu);
	cpu->efer &= ~EFER_SCE;
	assert_int_equal(rig_op(cpu, OP_SYSCALL), VECTOR_UD);
}

static void syscall_of_amd(void **state)
{
	(void)state;
	/* The attributes of SS stay what they were, and RIP is not looked at. */
	cpu->seg[SEG_SS] = segment_null();
	cpu->gpr[GPR_RCX] = 0x0200000000000000;
	cpu->gpr[11] = RFLAGS_FIXED;
	assert_int_equal(wide(OP_SYSRET), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x0200000000000000);
	assert_true(cpu->seg[SEG_SS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(cpu->seg[SEG_SS].selector, 0x2b);
	/* From compatibility mode, to CSTAR. */
	rig_long_mode(cpu);
	compatibility_mode();
	cpu->rip = 0x401000;
	assert_int_equal(rig_op(cpu, OP_SYSCALL), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0xffffffff82000000);
	assert_int_equal(cpu->mode, CPU_LONG);
	/* Legacy mode: EIP is in STAR, R11 stays. */
	protected_mode();
	cpu->gpr[11] = 1;
	cpu->rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_DF;
	cpu->rip = 0x401000;
	assert_int_equal(rig_op(cpu, OP_SYSCALL), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x5678);
	assert_int_equal(cpu->rflags, RFLAGS_FIXED | RFLAGS_DF);
	assert_int_equal(cpu->gpr[11], 1);
	assert_segment(SEG_CS, 0x10, CODE32_KERNEL);
	assert_int_equal(rig_op(cpu, OP_SYSRET), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x401002);
	assert_true(cpu->rflags & RFLAGS_IF);
	assert_segment(SEG_CS, 0x23, CODE32_USER);
}

/* SYSCALL looks at TF after the mask, SYSRET after it has put R11 there. */
static void single_step(void **state)
{
	(void)state;
	cpu->rip = 0x401000;
	cpu_set_rflags(cpu, RFLAGS_FIXED | RFLAGS_TF);
	/* Abandoned without an exception, so that the loop does not trap; but done. */
	assert_int_equal(rig_op(cpu, OP_SYSCALL), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0xffffffff81000000);
	assert_false(cpu->rflags & RFLAGS_TF);
	assert_int_equal(wide(OP_SYSRET), VECTOR_DB);
	assert_true(cpu->exception.trap);
	assert_int_equal(cpu->exception.payload, DR6_BS);
	assert_int_equal(cpu->rip, 0x401002);
	assert_int_equal(cpu->cpl, 3);
}

static void sysenter_of_intel(void **state)
{
	(void)state;
	cpu->msrs->sysenter_cs = 3;
	assert_int_equal(rig_op(cpu, OP_SYSENTER), VECTOR_GP);
	assert_int_equal(wide(OP_SYSEXIT), VECTOR_GP);
	cpu->msrs->sysenter_cs = 0x13;
	rig_ring3(cpu);
	cpu->rflags |= RFLAGS_IF;
	assert_int_equal(rig_op(cpu, OP_SYSENTER), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0xffffffff84000000);
	assert_int_equal(cpu->gpr[GPR_RSP], 0xffffffff83000000);
	assert_false(cpu->rflags & RFLAGS_IF);
	assert_segment(SEG_CS, 0x10, CODE64_KERNEL);
	assert_segment(SEG_SS, 0x18, STACK_KERNEL);
	cpu->gpr[GPR_RDX] = 0x1234567800401000;
	cpu->gpr[GPR_RCX] = 0x12345678007ff000;
	assert_int_equal(wide(OP_SYSEXIT), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_SYSEXIT), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x401000);
	assert_int_equal(cpu->gpr[GPR_RSP], 0x7ff000);
	assert_segment(SEG_CS, 0x23, CODE32_USER);
	assert_segment(SEG_SS, 0x2b, STACK_USER);
	assert_int_equal(rig_op(cpu, OP_SYSEXIT), VECTOR_GP); /* CPL 3 */
	rig_long_mode(cpu);
	cpu->gpr[GPR_RDX] = 0x401000;
	assert_int_equal(wide(OP_SYSEXIT), VECTOR_GP); /* RCX */
	cpu->gpr[GPR_RCX] = 0x7ff000;
	assert_int_equal(wide(OP_SYSEXIT), RIG_NO_FAULT);
	assert_segment(SEG_CS, 0x33, CODE64_USER);
	assert_segment(SEG_SS, 0x3b, STACK_USER);
	rig_long_mode(cpu);
	cpu->cr0 = CR0_ET;
	cpu->efer = 0;
	compatibility_mode();
	assert_int_equal(cpu->mode, CPU_REAL);
	assert_int_equal(rig_op(cpu, OP_SYSENTER), VECTOR_GP);
}

static void sysenter_of_amd(void **state)
{
	(void)state;
	assert_int_equal(rig_op(cpu, OP_SYSENTER), VECTOR_UD);
	compatibility_mode();
	assert_int_equal(rig_op(cpu, OP_SYSENTER), VECTOR_UD);
	assert_int_equal(rig_op(cpu, OP_SYSEXIT), VECTOR_UD);
	protected_mode();
	assert_int_equal(rig_op(cpu, OP_SYSENTER), RIG_NO_FAULT);
	assert_int_equal(cpu->rip, 0x84000000);
	assert_segment(SEG_CS, 0x10, CODE32_KERNEL);
}

static unsigned base_insn(unsigned op, unsigned size, uint64_t value)
{
	cpu->gpr[GPR_RAX] = value;
	return rig_run(cpu, &(struct insn){
				    .op = (uint16_t)op,
				    .len = 5,
				    .op_size = (uint8_t)size,
				    .feature = FEATURE_FSGSBASE,
				    .operands = 1,
				    .operand = {{OPERAND_GPR, GPR_RAX, (uint8_t)size, 0, 0, 0}},
			    });
}

static void bases(void **state)
{
	(void)state;
	assert_int_equal(base_insn(OP_RDFSBASE, 8, 0), VECTOR_UD); /* CR4.FSGSBASE */
	cpu->cr4 |= CR4_FSGSBASE;
	assert_int_equal(base_insn(OP_WRGSBASE, 8, 0xffff800000001000), RIG_NO_FAULT);
	assert_int_equal(base_insn(OP_WRFSBASE, 4, 0x1122334455667788), RIG_NO_FAULT);
	assert_int_equal(cpu->seg[SEG_FS].base, 0x55667788);
	assert_int_equal(base_insn(OP_WRFSBASE, 8, 0x0200000000000000), VECTOR_GP);
	assert_int_equal(base_insn(OP_RDGSBASE, 8, 0), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], 0xffff800000001000);
	assert_int_equal(base_insn(OP_RDGSBASE, 4, UINT64_MAX), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], 0x1000);
	cpu->msrs->kernel_gs_base = 0x7000;
	assert_int_equal(rig_op(cpu, OP_SWAPGS), RIG_NO_FAULT);
	assert_int_equal(cpu->seg[SEG_GS].base, 0x7000);
	assert_int_equal(cpu->msrs->kernel_gs_base, 0xffff800000001000);
	rig_ring3(cpu);
	assert_int_equal(rig_op(cpu, OP_SWAPGS), VECTOR_GP);
	compatibility_mode();
	assert_int_equal(rig_op(cpu, OP_SWAPGS), VECTOR_UD);
	assert_int_equal(base_insn(OP_RDFSBASE, 4, 0), VECTOR_UD);
}

/* SDM vol. 2, tables of CLI and STI. */
static void interrupt_flag(void **state)
{
	const uint64_t both = RFLAGS_IF | RFLAGS_VIF;

	(void)state;
	assert_int_equal(rig_op(cpu, OP_STI), RIG_NO_FAULT);
	assert_int_equal(cpu->rflags & both, RFLAGS_IF);
	assert_true(cpu->shadow_sti && cpu->attention & ATTENTION_SHADOW);
	cpu->shadow_sti = false;
	assert_int_equal(rig_op(cpu, OP_STI), RIG_NO_FAULT);
	assert_false(cpu->shadow_sti); /* it was set already */
	rig_ring3(cpu);
	assert_int_equal(rig_op(cpu, OP_CLI), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_STI), VECTOR_GP);
	cpu->cr4 |= CR4_PVI;
	assert_int_equal(rig_op(cpu, OP_STI), RIG_NO_FAULT);
	assert_int_equal(cpu->rflags & both, both);
	assert_int_equal(rig_op(cpu, OP_CLI), RIG_NO_FAULT);
	assert_int_equal(cpu->rflags & both, RFLAGS_IF);
	cpu->rflags |= RFLAGS_VIP;
	assert_int_equal(rig_op(cpu, OP_STI), VECTOR_GP);
	assert_int_equal(rig_op(cpu, OP_CLI), RIG_NO_FAULT);
	cpu->rflags |= RFLAGS_IOPL;
	assert_int_equal(rig_op(cpu, OP_CLI), RIG_NO_FAULT);
	assert_int_equal(cpu->rflags & both, 0);
	/* Virtual-8086 mode goes by VME, not PVI. */
	protected_mode();
	cpu->cpl = 3;
	cpu->rflags = RFLAGS_FIXED | RFLAGS_VM;
	cpu_update_mode(cpu);
	assert_int_equal(cpu->mode, CPU_VM86);
	assert_int_equal(rig_op(cpu, OP_STI), VECTOR_GP);
	cpu->cr4 = CR4_VME;
	assert_int_equal(rig_op(cpu, OP_STI), RIG_NO_FAULT);
	assert_int_equal(cpu->rflags & both, RFLAGS_VIF);
}

static void halt(void **state)
{
	(void)state;
	assert_int_equal(rig_op(cpu, OP_HLT), RIG_NO_FAULT);
	assert_true(cpu->halted && cpu->attention & ATTENTION_HALT);
}

static unsigned invpcid(uint64_t type, uint64_t pcid, uint64_t linear)
{
	uint8_t *ram = mem_ptr_rw(&r.mem, 0, RIG_RAM);

	store_le(ram + 0x3000, 8, pcid);
	store_le(ram + 0x3008, 8, linear);
	cpu->gpr[GPR_RAX] = type;
	return rig_run(cpu,
		       &(struct insn){
			       .op = OP_INVPCID,
			       .len = 5,
			       .feature = FEATURE_INVPCID,
			       .addr_size = 8,
			       .has_mem = true,
			       .mem = {SEG_DS, MEM_REG_NONE, MEM_REG_NONE, 0, false, 0x3000},
			       .operands = 2,
			       .operand = {{.kind = OPERAND_GPR, .size = 8}, {.kind = OPERAND_MEM}},
		       });
}

static void invpcid_operands(void **state)
{
	(void)state;
	assert_int_equal(invpcid(0, 0, 0x1000), RIG_NO_FAULT);
	assert_int_equal(invpcid(0, 1, 0x1000), VECTOR_GP); /* CR4.PCIDE */
	assert_int_equal(invpcid(2, 1, 0x0200000000000000), RIG_NO_FAULT);
	cpu->cr4 |= CR4_PCIDE;
	assert_int_equal(invpcid(0, 1, 0x1000), RIG_NO_FAULT);
	assert_int_equal(invpcid(1, 0xfff, 0x0200000000000000), RIG_NO_FAULT);
	assert_int_equal(invpcid(0, 1, 0x0200000000000000), VECTOR_GP);
	assert_int_equal(invpcid(3, 0x1000, 0), VECTOR_GP);
	assert_int_equal(invpcid(4, 0, 0), VECTOR_GP);
	rig_ring3(cpu);
	assert_int_equal(invpcid(3, 0, 0), VECTOR_GP);
}

static unsigned hypercall(unsigned op, uint64_t n)
{
	cpu->gpr[GPR_RAX] = n;
	return rig_op(cpu, op);
}

static void hypercalls(void **state)
{
	unsigned mine = cpu->amd ? OP_VMMCALL : OP_VMCALL;
	unsigned other = cpu->amd ? OP_VMCALL : OP_VMMCALL;

	(void)state;
	assert_int_equal(hypercall(mine, 77), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], (uint64_t)-1000);
	assert_int_equal(hypercall(mine, 1), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], 0);
	assert_int_equal(hypercall(other, 1), VECTOR_UD);
	/* A kick of itself is for the next HLT, and for no other. */
	cpu->gpr[GPR_RCX] = cpu->id;
	assert_int_equal(hypercall(mine, 5), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], 0);
	assert_int_equal(rig_op(cpu, OP_HLT), RIG_NO_FAULT);
	assert_false(cpu->halted);
	assert_int_equal(rig_op(cpu, OP_HLT), RIG_NO_FAULT);
	assert_true(cpu->halted);
	cpu->halted = false;
	/* Nobody there. */
	cpu->gpr[GPR_RCX] = UINT64_MAX;
	assert_int_equal(hypercall(mine, 5), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], 0);
	assert_false(cpu->unhalted);
	rig_ring3(cpu);
	assert_int_equal(hypercall(mine, 1), RIG_NO_FAULT);
	assert_int_equal(cpu->gpr[GPR_RAX], (uint64_t)-1);
	for (unsigned i = 0; i < cpu->cpuid.count; i++)
		if (cpu->cpuid.entries[i].leaf == 0x40000001)
			cpu->cpuid.entries[i].leaf = 0x4000ffff;
	assert_int_equal(hypercall(mine, 1), VECTOR_UD);
}

static void what_is_not_there(void **state)
{
	static const unsigned list[] = {OP_RSM, OP_MONITOR, OP_MWAIT, OP_RDPKRU, OP_WRPKRU};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(list); i++)
		assert_int_equal(rig_op(cpu, list[i]), VECTOR_UD);
}

#define INTEL(f) cmocka_unit_test_setup_teardown(f, setup_intel, teardown)
#define AMD(f)   cmocka_unit_test_setup_teardown(f, setup_amd, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		INTEL(syscall_and_back),  AMD(syscall_and_back),
		INTEL(sysret_to_32_bits), AMD(sysret_to_32_bits),
		INTEL(syscall_of_intel),  AMD(syscall_of_amd),
		INTEL(single_step),       INTEL(sysenter_of_intel),
		AMD(sysenter_of_amd),     INTEL(bases),
		INTEL(interrupt_flag),    INTEL(halt),
		INTEL(invpcid_operands),  INTEL(hypercalls),
		AMD(hypercalls),          INTEL(what_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
