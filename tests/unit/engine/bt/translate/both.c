/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "both.h"
#include "engine/bt/interp/code_cache.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/runtime/blocks.h"

#define FLAGS 0x8d5u
#define CR4   (CR4_PAE | CR4_FSGSBASE | CR4_SMAP)

struct outcome {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip, rflags;
	enum interp_exit exit;
	uint8_t *ram;
};

static void start(struct integer_rig *r, const uint8_t *ram)
{
	struct cpu *cpu = r->cpu;

	memcpy(ir_ram(r, 0), ram, IR_RAM);
	pages_written(&r->vm.pages, IR_CODE, GUEST_PAGE_SIZE);
	for (unsigned n = 0; n < GPR_COUNT; n++)
		cpu->gpr[n] = 0x0123456789abcdefULL * (2 * n + 1);
	cpu->gpr[GPR_RBX] = IR_DATA;
	cpu->gpr[GPR_RSI] = IR_EXTRA;
	cpu->gpr[GPR_RSP] = IR_STACK + IR_SP;
	cpu->gpr[GPR_RBP] = IR_STACK + IR_SP + 0x100;
	cpu->gpr[10] = IR_DATA + 0x100;
	cpu->gpr[11] = 0x48;
	cpu->rip = IR_CODE;
	cpu->cr4 = CR4 & ~CR4_SMAP;
	cpu->seg[SEG_GS].base = IR_EXTRA;
	cpu->msrs->kernel_gs_base = IR_DATA;
	cpu->rflags = RFLAGS_FIXED;
	cpu->exception.pending = false;
	cpu->halted = false;
	atomic_store(&cpu->attention, 0);
	mmu_flush(cpu, true);
}

static void run(const struct both *b, struct integer_rig *r, const uint8_t *ram, struct outcome *o)
{
	start(r, ram);
	if (b->prepare)
		b->prepare(r);
	ir_set_cpl(r, b->cpl);
	o->exit = interp_run(r->cpu, 0);
	memcpy(o->gpr, r->cpu->gpr, sizeof(o->gpr));
	o->rip = r->cpu->rip;
	o->rflags = r->cpu->rflags;
	o->ram = malloc(IR_RAM);
	memcpy(o->ram, ir_ram(r, 0), IR_RAM);
}

static void same(const char *name, const struct outcome *want, const struct outcome *got)
{
	/* Flags that the next instruction would overwrite are not kept for an exception. */
	uint64_t mask = want->exit == INTERP_HALTED ? UINT64_MAX : ~(uint64_t)FLAGS;
	bool good = want->exit == got->exit && want->rip == got->rip &&
		    !((want->rflags ^ got->rflags) & mask) &&
		    !memcmp(want->gpr, got->gpr, sizeof(want->gpr)) &&
		    !memcmp(want->ram, got->ram, IR_RAM);

	if (good)
		return;
	for (unsigned n = 0; n < GPR_COUNT; n++)
		if (want->gpr[n] != got->gpr[n])
			print_error("%u: %#lx, is %#lx\n", n, want->gpr[n], got->gpr[n]);
	for (unsigned n = 0; n < IR_RAM; n++)
		if (want->ram[n] != got->ram[n])
			print_error("[%#x]: %#x, is %#x\n", n, want->ram[n], got->ram[n]);
	fail_msg("%s: rip %#lx, is %#lx; rflags %#lx, is %#lx; exit %d, is %d", name, want->rip,
		 got->rip, want->rflags, got->rflags, want->exit, got->exit);
}

void both(const struct both *b, const uint8_t *code, size_t len)
{
	struct integer_rig *r = ir_new(b->mode);
	uint8_t *ram = malloc(IR_RAM);
	struct outcome o[5];

	assert_int_equal(code_cache_init(r->cpu), 0);
	assert_int_equal(msr_init(r->cpu), 0);
	r->cpu->msrs->canonical_bits = 48;
	for (unsigned n = 0; n < 0x3000; n++)
		*ir_ram(r, IR_DATA + n) = (uint8_t)(n * 37 + 11);
	memcpy(ir_ram(r, IR_CODE), code, len);
	memcpy(ram, ir_ram(r, 0), IR_RAM);
	r->cpu->msrs->cr4_allowed = CR4;
	r->cpu->features[FEATURE_SMAP] = true;
	run(b, r, ram, &o[0]);
	ir_translate(r, MIB(1));
	for (unsigned n = 1; n < ARRAY_LEN(o); n++) {
		if (n == 3) { /* the same as hot code */
			r->cpu->translator->hot.first = HOT_ALL;
			blocks_forget(r->cpu->translator);
		}
		run(b, r, ram, &o[n]);
		same(b->name, &o[0], &o[n]);
		free(o[n].ram);
	}
	assert_true(r->cpu->stats.blocks > 0);
	free(o[0].ram);
	free(ram);
	msr_release(r->cpu);
	code_cache_release(r->cpu);
	ir_free(r);
}
