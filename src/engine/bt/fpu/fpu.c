/* SPDX-License-Identifier: Apache-2.0 */
#include <signal.h>
#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/fpu/enter.h"
#include "engine/bt/fpu/fpu.h"
#include "engine/bt/fpu/host.h"
#include "engine/bt/fpu/image.h"
#include "engine/bt/fpu/stubs.h"
#include "engine/bt/fpu/trap.h"

#define STATUS_FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

/* FOP, FIP and FDP lie side by side. */
#define POINTERS      XSAVE_FOP
#define POINTERS_SIZE (XSAVE_MXCSR - XSAVE_FOP)

#define MXCSR_MASKS_SHIFT 7

int fpu_init(struct fpu *fpu, struct err *e)
{
	memset(fpu, 0, sizeof(*fpu));
	host_learn(&fpu->host);
	fpu_reset(fpu);
	return stubs_new(&fpu->stubs, e);
}

void fpu_release(struct fpu *fpu)
{
	stubs_free(fpu->stubs);
	fpu->stubs = NULL;
}

/* SDM vol. 3A table 9-1: registers hold +0.0 and are tagged so. */
void fpu_reset(struct fpu *fpu)
{
	memset(fpu->area, 0, sizeof(fpu->area));
	fpu->fcs = 0;
	fpu->fds = 0;
	store_le(fpu->area + XSAVE_FCW, 2, 0x40);
	store_le(fpu->area + XSAVE_FTW, 1, 0xff);
	store_le(fpu->area + XSAVE_MXCSR, 4, MXCSR_RESET);
	store_le(fpu->area + XSAVE_MXCSR_MASK, 4, fpu->host.mxcsr_mask);
}

void fpu_fninit(struct fpu *fpu)
{
	image_set_top(fpu, 0);
	memset(fpu->area, 0, XSAVE_MXCSR);
	store_le(fpu->area + XSAVE_FCW, 2, FCW_INIT);
	fpu->fcs = 0;
	fpu->fds = 0;
}

static void run_x87(struct fpu *fpu, const void *stub)
{
	uint8_t pointers[POINTERS_SIZE];

	memcpy(pointers, fpu->area + POINTERS, sizeof(pointers));
	if (stub)
		enter_x87(fpu, stub);
	else
		enter_nothing(fpu);
	memcpy(fpu->area + POINTERS, pointers, sizeof(pointers));
}

enum fpu_result fpu_run(struct fpu *fpu, const struct fpu_insn *insn)
{
	const void *stub = stubs_find(fpu->stubs, insn);
	uint32_t unmasked = ~load_le(fpu->area + XSAVE_MXCSR, 4) >> MXCSR_MASKS_SHIFT & 0x3f;

	fpu->rflags = (fpu->rflags & STATUS_FLAGS) | RFLAGS_FIXED | RFLAGS_IF;
	trap_catch(fpu, unmasked);
	if (insn->x87)
		run_x87(fpu, stub);
	else if (insn->vex)
		enter_avx(fpu, stub);
	else
		enter_sse(fpu, stub);
	fpu->rflags &= STATUS_FLAGS;
	trap_done();
	if (!fpu->trapped)
		return FPU_DONE;
	return fpu->trapped == SIGFPE ? FPU_SIMD_EXCEPTION : FPU_UNDEFINED;
}

void fpu_normalise(struct fpu *fpu)
{
	uint32_t mxcsr = load_le(fpu->area + XSAVE_MXCSR, 4) & fpu->host.mxcsr_mask;

	store_le(fpu->area + XSAVE_MXCSR, 4, mxcsr);
	run_x87(fpu, NULL);
}

bool fpu_pending(const struct fpu *fpu)
{
	unsigned masks = load_le(fpu->area + XSAVE_FCW, 1);
	unsigned flags = load_le(fpu->area + XSAVE_FSW, 1);

	return flags & ~masks & 0x3f;
}

void fpu_point(struct fpu *fpu, const struct fpu_pointers *p)
{
	bool met = fpu_pending(fpu);

	store_le(fpu->area + XSAVE_FIP, 8, p->ip);
	fpu->fcs = fpu->host.selectors ? p->cs : 0;
	if (met || fpu->host.fop_always)
		store_le(fpu->area + XSAVE_FOP, 2, p->opcode & 0x7ff);
	if (p->memory && (met || fpu->host.fdp_always)) {
		store_le(fpu->area + XSAVE_FDP, 8, p->dp);
		fpu->fds = fpu->host.selectors ? p->ds : 0;
	}
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i])
			return false;
	return true;
}

uint64_t fpu_in_use(const struct fpu *fpu)
{
	const uint8_t *area = fpu->area;
	uint64_t used = 0;

	if (load_le(area + XSAVE_FCW, 2) != FCW_INIT || fpu->fcs || fpu->fds ||
	    !is_zero(area + XSAVE_FSW, XSAVE_MXCSR - XSAVE_FSW) ||
	    !is_zero(area + XSAVE_ST, XSAVE_XMM - XSAVE_ST))
		used |= XSTATE_X87;
	if (!is_zero(area + XSAVE_XMM, 16 * 16))
		used |= XSTATE_SSE;
	if (!is_zero(area + FPU_YMM_HI, 16 * 16))
		used |= XSTATE_AVX;
	return used;
}
