/* SPDX-License-Identifier: Apache-2.0 */
/* Hardware task switches: SDM vol. 3A 7.3, tables 7-1 and 7-2. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "far_rig.h"

#define TARGET 0x1234
#define ESP    0x6000 /* of the new task */
#define VECTOR 0x21

/* Offsets in a 32-bit TSS (figure 7-2) and a 16-bit one (figure 7-10). */
#define CR3    28
#define EIP    32
#define EFLAGS 36
#define EAX    40
#define ES     72
#define LDT    96
#define TRAP   100
#define IP16   14
#define AX16   18
#define ES16   34

static void put_tss32(struct far_rig *r, unsigned cpl)
{
	const uint16_t code = cpl ? FR_CODE3 | 3 : FR_CODE0, data = cpl ? FR_DATA3 | 3 : FR_DATA0;
	const uint16_t segs[] = {data, code, data, data, 0, data};

	fr_put(r, FR_TSS2 + EIP, 4, TARGET);
	fr_put(r, FR_TSS2 + EFLAGS, 4, RFLAGS_FIXED | RFLAGS_CF);
	for (unsigned i = 0; i < 8; i++)
		fr_put(r, FR_TSS2 + EAX + 4 * i, 4, i == GPR_RSP ? ESP : 0x11111111 * i);
	for (unsigned i = 0; i < SEG_COUNT; i++)
		fr_put(r, FR_TSS2 + ES + 4 * i, 2, segs[i]);
	fr_put(r, FR_TSS2 + LDT, 2, FR_LDT_SELECTOR);
}

static void put_tss16(struct far_rig *r)
{
	const uint16_t segs[] = {FR_DATA0, FR_CODE0, FR_DATA0, FR_DATA0, 0};

	fr_descriptor(r, FR_TSS2_SELECTOR, 1 | SEG_ATTR_P, FR_TSS2, 0x2b);
	fr_put(r, FR_TSS2 + IP16, 2, TARGET);
	fr_put(r, FR_TSS2 + IP16 + 2, 2, RFLAGS_CF);
	for (unsigned i = 0; i < 8; i++)
		fr_put(r, FR_TSS2 + AX16 + 2 * i, 2, 0x1111 * i);
	for (unsigned i = 0; i < ARRAY_LEN(segs); i++)
		fr_put(r, FR_TSS2 + ES16 + 2 * i, 2, segs[i]);
}

static int jump(struct far_rig *r, bool call, uint16_t selector)
{
	return FR_EXEC(r, call ? 0x9a : 0xea, 0, 0, 0, 0, selector & 0xff, selector >> 8);
}

static unsigned type_of(struct far_rig *r, unsigned selector)
{
	return fr_get(r, FR_GDT + selector + 5, 1) & 0xf;
}

static void check_old(struct far_rig *r, uint32_t eip, uint32_t eflags)
{
	assert_int_equal(fr_get(r, FR_TSS + EIP, 4), eip);
	assert_int_equal(fr_get(r, FR_TSS + EFLAGS, 4), eflags);
	assert_int_equal(fr_get(r, FR_TSS + EAX, 4), 0xaaaaaaaa);
	assert_int_equal(fr_get(r, FR_TSS + EAX + 4 * GPR_RSP, 4), FR_STACK0);
	assert_int_equal(fr_get(r, FR_TSS + ES + 4 * SEG_CS, 4), FR_CODE0);
	assert_int_equal(fr_get(r, FR_TSS + ES + 4 * SEG_GS, 4), FR_DATA0);
}

static void check_new(struct far_rig *r, uint64_t eflags)
{
	struct cpu *cpu = r->cpu;

	assert_int_equal(cpu->rip, TARGET);
	assert_int_equal(cpu->rflags, eflags);
	assert_int_equal(cpu->gpr[GPR_RDI], 0x77777777);
	assert_int_equal(cpu->gpr[GPR_RSP], ESP);
	assert_int_equal(cpu->tr.selector, FR_TSS2_SELECTOR);
	assert_int_equal(cpu->tr.base, FR_TSS2);
	assert_int_equal(cpu->tr.attr & 0xf, SEG_TYPE_TSS_BUSY);
	assert_int_equal(cpu->ldtr.base, FR_LDT);
	assert_int_equal(cpu->seg[SEG_CS].attr & 0xf, 0xb);
	assert_int_equal(cpu->seg[SEG_FS].selector, 0);
	assert_true(cpu->seg[SEG_FS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(cpu->seg[SEG_GS].limit, 0xffffffff);
	assert_true(cpu->cr0 & CR0_TS);
	assert_int_equal(type_of(r, FR_TSS2_SELECTOR), SEG_TYPE_TSS_BUSY);
}

static struct far_rig *start(unsigned new_cpl)
{
	struct far_rig *r = fr_new(FR_PROTECTED, 0);

	put_tss32(r, new_cpl);
	r->cpu->gpr[GPR_RAX] = 0xaaaaaaaa;
	r->cpu->dr7 = DR7_RESET | DR7_L(1) | DR7_G(2) | DR7_LE;
	return r;
}

static void jmp_leaves_the_old_task_free(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TSS2, 2, 0x5555);
	assert_int_equal(jump(r, false, FR_TSS2_SELECTOR), FR_FINE);
	check_old(r, FR_CODE + 7, RFLAGS_FIXED);
	check_new(r, RFLAGS_FIXED | RFLAGS_CF);
	assert_int_equal(type_of(r, FR_TSS_SELECTOR), 9);
	assert_int_equal(fr_get(r, FR_TSS2, 2), 0x5555);
	assert_int_equal(r->cpu->dr7, DR7_RESET | DR7_G(2));
	fr_free(r);
}

static void call_nests_and_iret_returns(void **state)
{
	struct far_rig *r = start(3);

	(void)state;
	assert_int_equal(jump(r, true, FR_TSS2_SELECTOR), FR_FINE);
	check_old(r, FR_CODE + 7, RFLAGS_FIXED);
	check_new(r, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_NT);
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(type_of(r, FR_TSS_SELECTOR), SEG_TYPE_TSS_BUSY);
	assert_int_equal(fr_get(r, FR_TSS2, 2), FR_TSS_SELECTOR);

	r->cpu->nmi_masked = true;
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->rip, FR_CODE + 7);
	assert_int_equal(r->cpu->cpl, 0);
	assert_int_equal(r->cpu->gpr[GPR_RAX], 0xaaaaaaaa);
	assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
	assert_int_equal(type_of(r, FR_TSS_SELECTOR), SEG_TYPE_TSS_BUSY);
	assert_int_equal(type_of(r, FR_TSS2_SELECTOR), 9);
	assert_int_equal(fr_get(r, FR_TSS2 + EIP, 4), TARGET + 1);
	assert_int_equal(fr_get(r, FR_TSS2 + EFLAGS, 4), RFLAGS_FIXED | RFLAGS_CF); /* NT cleared */
	assert_false(r->cpu->nmi_masked);
	fr_free(r);
}

static void task_gates_lead_there(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put_gate(r, FR_GDT + FR_GATE,
		    &(struct fr_gate){.type = 5, .selector = FR_TSS2_SELECTOR});
	assert_int_equal(jump(r, false, FR_GATE), FR_FINE);
	check_new(r, RFLAGS_FIXED | RFLAGS_CF);
	fr_free(r);

	r = start(0);
	fr_put_gate(r, FR_IDT + VECTOR_TS * 8,
		    &(struct fr_gate){.type = 5, .selector = FR_TSS2_SELECTOR});
	assert_int_equal(fr_deliver(r, DELIVER_EXCEPTION, VECTOR_TS, true, 0x1238), FR_FINE);
	check_old(r, FR_CODE, RFLAGS_FIXED | RFLAGS_RF);
	assert_int_equal(r->cpu->gpr[GPR_RSP], ESP - 4);
	assert_int_equal(fr_top(r, 0, 4), 0x1238);
	assert_int_equal(r->cpu->next_rip, TARGET);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_NT);
	assert_int_equal(fr_get(r, FR_TSS2, 2), FR_TSS_SELECTOR);
	fr_free(r);
}

/* SDM vol. 3B 18.4.3, footnote: instructions that switch tasks are never single-stepped; the T flag
 * traps, alone, before the first instruction of the new task. */
static void the_old_tasks_tf_does_not_trap(void **state)
{
	static const uint8_t code[] = {0xea, 0, 0, 0, 0, FR_TSS2_SELECTOR, 0};

	(void)state;
	for (unsigned t = 0; t < 2; t++) {
		struct far_rig *r = start(0);

		assert_int_equal(code_cache_init(r->cpu), 0);
		assert_int_equal(msr_init(r->cpu), 0);
		memcpy(mem_ptr_rw(&r->mem, FR_CODE, sizeof(code)), code, sizeof(code));
		fr_put(r, FR_TSS2 + TRAP, 1, t);
		fr_put_gate(r, FR_IDT + VECTOR_DB * 8,
			    &(struct fr_gate){.type = 14, .selector = FR_CODE0, .offset = 0x4321});
		cpu_set_rflags(r->cpu, RFLAGS_TF);
		r->cpu->dr6 = DR6_RESET;
		assert_int_equal(interp_run(r->cpu, t + 1), INTERP_BUDGET);
		assert_int_equal(r->cpu->rip, t ? 0x4321 : TARGET);
		assert_int_equal(r->cpu->dr6, DR6_RESET | (t ? DR6_BT : 0));
		assert_int_equal(fr_get(r, FR_TSS + EFLAGS, 4), RFLAGS_FIXED | RFLAGS_TF);
		code_cache_release(r->cpu);
		msr_release(r->cpu);
		fr_free(r);
	}
}

static void tasks_of_16_bits(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	put_tss16(r);
	r->cpu->cr3 = 0x77000;
	fr_put(r, FR_TSS2 + 44, 4, 0x55555555);
	assert_int_equal(jump(r, true, FR_TSS2_SELECTOR), FR_FINE);
	assert_int_equal(r->cpu->rip, TARGET);
	assert_int_equal(r->cpu->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_NT);
	assert_int_equal(r->cpu->gpr[GPR_RDI] & 0xffff, 0x7777);
	assert_int_equal(r->cpu->seg[SEG_DS].selector, FR_DATA0);
	assert_true(r->cpu->seg[SEG_GS].attr & SEG_ATTR_UNUSABLE);
	assert_int_equal(r->cpu->tr.attr & 0xf, SEG_TYPE_TSS16_BUSY);
	assert_int_equal(type_of(r, FR_TSS2_SELECTOR), SEG_TYPE_TSS16_BUSY);
	assert_int_equal(r->cpu->cr3, 0x77000);
	r->cpu->gpr[GPR_RBX] = 0x12345678;
	assert_int_equal(FR_EXEC(r, 0xcf), FR_FINE);
	assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
	assert_int_equal(fr_get(r, FR_TSS2 + AX16 + 6, 2), 0x5678);
	assert_int_equal(fr_get(r, FR_TSS2 + IP16, 2), TARGET + 1);
	assert_int_equal(fr_get(r, FR_TSS2 + 44, 4), 0x55555555); /* nothing beyond it */
	fr_free(r);
}

static void to_virtual_8086_mode(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TSS2 + EFLAGS, 4, RFLAGS_VM | RFLAGS_IF);
	fr_put(r, FR_TSS2 + ES + 4 * SEG_CS, 2, 0xf000);
	fr_put(r, FR_TSS2 + ES + 4 * SEG_SS, 2, 0x1000);
	assert_int_equal(jump(r, false, FR_TSS2_SELECTOR), FR_FINE);
	assert_int_equal(r->cpu->mode, CPU_VM86);
	assert_int_equal(r->cpu->cpl, 3);
	assert_int_equal(r->cpu->seg[SEG_CS].base, 0xf0000);
	assert_int_equal(r->cpu->seg[SEG_SS].base, 0x10000);
	assert_int_equal(r->cpu->seg[SEG_SS].attr, 0xf3);
	fr_free(r);
}

struct before_case {
	const char *what;
	unsigned cpl, rpl;
	bool gate, gate_absent;
	unsigned gate_dpl;
	uint16_t selector; /* of the TSS, in the gate */
	uint32_t attr;     /* of the TSS's descriptor */
	uint32_t limit;
	int vector;
	uint32_t error;
};

#define T FR_TSS2_SELECTOR

/* Refused with nothing changed. */
static const struct before_case before[] = {
	{"busy", 0, 0, false, false, 0, T, 0x8b, 0x67, VECTOR_GP, T},
	{"absent", 0, 0, false, false, 0, T, 0x09, 0x67, VECTOR_NP, T},
	{"limit", 0, 0, false, false, 0, T, 0x89, 0x66, VECTOR_TS, T},
	{"limit of 16 bits", 0, 0, false, false, 0, T, 0x81, 0x2a, VECTOR_TS, T},
	{"DPL", 3, 0, false, false, 0, T, 0x89, 0x67, VECTOR_GP, T},
	{"RPL", 0, 1, false, false, 0, T, 0x89, 0x67, VECTOR_GP, T},
	{"gate's DPL", 3, 0, true, false, 0, T, 0x89, 0x67, VECTOR_GP, FR_GATE},
	{"gate's RPL", 0, 3, true, false, 0, T, 0x89, 0x67, VECTOR_GP, FR_GATE},
	{"gate absent", 0, 0, true, true, 0, T, 0x89, 0x67, VECTOR_NP, FR_GATE},
	{"gate to a local TSS", 0, 0, true, false, 0, T | 4, 0x89, 0x67, VECTOR_GP, T | 4},
	{"gate beyond", 0, 0, true, false, 0, FR_GDT_END, 0x89, 0x67, VECTOR_GP, FR_GDT_END},
	{"gate to data", 0, 0, true, false, 0, FR_DATA0, 0x89, 0x67, VECTOR_GP, FR_DATA0},
	{"gate to a busy TSS", 0, 0, true, false, 0, T, 0x8b, 0x67, VECTOR_GP, T},
	{"gate to an absent TSS", 0, 0, true, false, 0, T, 0x09, 0x67, VECTOR_NP, T},
	{"gate, the TSS's DPL does not matter", 3, 3, true, false, 3, T, 0x89, 0x66, VECTOR_TS, T},
};

static void switches_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(before); i++) {
		const struct before_case *c = &before[i];
		struct far_rig *r = fr_new(FR_PROTECTED, c->cpl);
		uint64_t rsp = r->cpu->gpr[GPR_RSP];
		int vector;

		put_tss32(r, 0);
		fr_descriptor(r, FR_TSS2_SELECTOR, c->attr, FR_TSS2, c->limit);
		fr_put_gate(r, FR_GDT + FR_GATE,
			    &(struct fr_gate){.type = 5,
					      .dpl = c->gate_dpl,
					      .selector = c->selector,
					      .absent = c->gate_absent});
		vector = jump(r, true, (c->gate ? FR_GATE : c->selector) | c->rpl);
		if (vector != c->vector)
			print_message("%s: vector %d\n", c->what, vector);
		assert_int_equal(vector, c->vector);
		assert_int_equal(r->cpu->exception.error, c->error);
		assert_int_equal(r->cpu->rip, FR_CODE);
		assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
		assert_int_equal(r->cpu->gpr[GPR_RSP], rsp);
		assert_int_equal(fr_get(r, FR_TSS + EIP, 4), 0);
		fr_free(r);
	}
}

struct after_case {
	const char *what;
	unsigned offset; /* in the new TSS */
	uint16_t selector;
	int vector;
};

/* Refused in the new task. */
static const struct after_case after[] = {
	{"LDT local", LDT, 0xc, VECTOR_TS},
	{"LDT is data", LDT, FR_DATA0, VECTOR_TS},
	{"LDT beyond", LDT, FR_GDT_END, VECTOR_TS},
	{"code null", ES + 4 * SEG_CS, 0, VECTOR_TS},
	{"code is data", ES + 4 * SEG_CS, FR_DATA0, VECTOR_TS},
	{"code's RPL", ES + 4 * SEG_CS, FR_CODE0 | 3, VECTOR_TS},
	{"code absent", ES + 4 * SEG_CS, FR_ABSENT_CODE0, VECTOR_NP},
	{"stack null", ES + 4 * SEG_SS, 0, VECTOR_TS},
	{"stack's RPL", ES + 4 * SEG_SS, FR_DATA0 | 3, VECTOR_TS},
	{"stack's DPL", ES + 4 * SEG_SS, FR_DATA3, VECTOR_TS},
	{"stack absent", ES + 4 * SEG_SS, FR_ABSENT_DATA0, VECTOR_SS},
	{"data's RPL", ES + 4 * SEG_DS, FR_DATA0 | 3, VECTOR_TS},
	{"data is execute-only", ES + 4 * SEG_FS, FR_EXECUTE_ONLY3, VECTOR_TS},
	{"data absent", ES + 4 * SEG_ES, FR_ABSENT_DATA3, VECTOR_NP},
};

static void the_new_task_gets_its_own_faults(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(after); i++) {
		const struct after_case *c = &after[i];
		struct far_rig *r = start(0);
		int vector;

		fr_put(r, FR_TSS2 + c->offset, 2, c->selector);
		vector = jump(r, true, FR_TSS2_SELECTOR);
		if (vector != c->vector)
			print_message("%s: vector %d\n", c->what, vector);
		assert_int_equal(vector, c->vector);
		assert_int_equal(r->cpu->exception.error, c->selector & ~3);
		assert_int_equal(r->cpu->rip, TARGET);
		assert_int_equal(r->cpu->tr.selector, FR_TSS2_SELECTOR);
		assert_int_equal(r->cpu->gpr[GPR_RSP], ESP);
		check_old(r, FR_CODE + 7, RFLAGS_FIXED);
		fr_free(r);
	}
}

static void returns_are_refused(void **state)
{
	static const struct {
		uint16_t link;
		uint32_t attr; /* of the TSS */
		int vector;
	} cases[] = {
		{T | 4, 0x8b, VECTOR_TS},    {FR_GDT_END, 0x8b, VECTOR_TS},
		{FR_DATA0, 0x8b, VECTOR_TS}, {T, 0x89, VECTOR_TS},
		{T, 0x0b, VECTOR_NP},        {T, 0x8b, FR_FINE},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct far_rig *r = start(0);

		fr_descriptor(r, T, cases[i].attr, FR_TSS2, 0x67);
		fr_put(r, FR_TSS, 2, cases[i].link);
		cpu_set_rflags(r->cpu, RFLAGS_NT);
		assert_int_equal(FR_EXEC(r, 0xcf), cases[i].vector);
		if (cases[i].vector != FR_FINE) {
			assert_int_equal(r->cpu->exception.error, cases[i].link);
			assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
		}
		fr_free(r);
	}
}

static void interrupts_have_ext_in_their_faults(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put_gate(r, FR_IDT + VECTOR * 8, &(struct fr_gate){.type = 5, .selector = T});
	fr_put(r, FR_TSS2 + ES, 2, FR_ABSENT_DATA3);
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), VECTOR_NP);
	assert_int_equal(r->cpu->exception.error, FR_ABSENT_DATA3 | 1);
	assert_int_equal(r->cpu->rip, TARGET);
	fr_free(r);

	r = start(0);
	fr_put_gate(r, FR_IDT + VECTOR * 8, &(struct fr_gate){.type = 5, .selector = T});
	fr_descriptor(r, T, 0x8b, FR_TSS2, 0x67);
	assert_int_equal(fr_deliver(r, DELIVER_INTERRUPT, VECTOR, false, 0), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, T | 1);
	assert_int_equal(r->cpu->rip, FR_CODE);
	fr_free(r);
}

static void the_t_flag_traps(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TSS2 + TRAP, 2, 1);
	assert_int_equal(jump(r, false, T), VECTOR_DB);
	assert_int_equal(r->cpu->exception.payload, DR6_BT);
	assert_true(r->cpu->exception.trap);
	check_new(r, RFLAGS_FIXED | RFLAGS_CF);
	fr_free(r);
}

static void an_entry_point_beyond_the_segment_faults(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TSS2 + EIP, 4, 0x100000);
	assert_int_equal(jump(r, false, T), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	assert_int_equal(r->cpu->rip, 0x100000);
	fr_free(r);
}

/* Two address spaces that map the first 4 MiB as they lie; PAE's pointers come with CR3. */
static void cr3_is_loaded(void **state)
{
	const uint64_t other = FR_TABLES + 0x1000;
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TABLES, 4, PTE_P | PTE_RW | PTE_PS);
	fr_put(r, other, 4, PTE_P | PTE_RW | PTE_PS);
	r->cpu->cr3 = FR_TABLES;
	r->cpu->cr4 = CR4_PSE;
	r->cpu->cr0 |= CR0_PG;
	fr_put(r, FR_TSS2 + CR3, 4, other);
	assert_int_equal(jump(r, false, T), FR_FINE);
	assert_int_equal(r->cpu->cr3, other);
	fr_free(r);

	r = start(0);
	fr_put(r, FR_TABLES + 0x2000, 8, PTE_P | PTE_RW | PTE_PS);
	fr_put(r, other, 8, (FR_TABLES + 0x2000) | PTE_P);
	r->cpu->pdptr[0] = (FR_TABLES + 0x2000) | PTE_P;
	r->cpu->cr3 = FR_TABLES;
	r->cpu->cr4 = CR4_PAE;
	r->cpu->cr0 |= CR0_PG;
	fr_put(r, FR_TSS2 + CR3, 4, other);
	assert_int_equal(jump(r, true, T), FR_FINE);
	assert_int_equal(r->cpu->cr3, other);
	assert_int_equal(r->cpu->pdptr[1], 0);
	/* Back to one whose pointers have reserved bits: #GP(0) in that task, with the old CR3. */
	fr_put(r, FR_TABLES, 8, PTE_P | PTE_RW);
	fr_put(r, FR_TSS + CR3, 4, FR_TABLES);
	assert_int_equal(FR_EXEC(r, 0xcf), VECTOR_GP);
	assert_int_equal(r->cpu->exception.error, 0);
	assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
	assert_int_equal(r->cpu->cr3, other);
	fr_free(r);
}

/* A TSS that cannot be written is found out before anything is. */
static void page_faults_come_before_the_switch(void **state)
{
	struct far_rig *r = start(0);

	(void)state;
	fr_put(r, FR_TABLES, 4, (FR_TABLES + 0x1000) | PTE_P | PTE_RW);
	for (unsigned i = 0; i < 1024; i++)
		fr_put(r, FR_TABLES + 0x1000 + 4 * i, 4,
		       (uint64_t)i << 12 | PTE_P | (i == FR_TSS >> 12 ? 0 : PTE_RW));
	r->cpu->cr3 = FR_TABLES;
	r->cpu->cr0 |= CR0_PG | CR0_WP;
	assert_int_equal(jump(r, true, T), VECTOR_PF);
	assert_int_equal(r->cpu->exception.payload, FR_TSS + EIP);
	assert_int_equal(r->cpu->tr.selector, FR_TSS_SELECTOR);
	assert_int_equal(type_of(r, T), 9);
	assert_int_equal(fr_get(r, FR_TSS2, 2), 0);
	fr_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(jmp_leaves_the_old_task_free),
		cmocka_unit_test(call_nests_and_iret_returns),
		cmocka_unit_test(task_gates_lead_there),
		cmocka_unit_test(the_old_tasks_tf_does_not_trap),
		cmocka_unit_test(tasks_of_16_bits),
		cmocka_unit_test(to_virtual_8086_mode),
		cmocka_unit_test(switches_are_refused),
		cmocka_unit_test(the_new_task_gets_its_own_faults),
		cmocka_unit_test(returns_are_refused),
		cmocka_unit_test(interrupts_have_ext_in_their_faults),
		cmocka_unit_test(the_t_flag_traps),
		cmocka_unit_test(an_entry_point_beyond_the_segment_faults),
		cmocka_unit_test(cr3_is_loaded),
		cmocka_unit_test(page_faults_come_before_the_switch),
	};

	return cmocka_run_group_tests_name("bt_task", tests, NULL, NULL);
}
