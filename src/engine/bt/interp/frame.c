/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/interp/frame.h"

#include <assert.h>

#include "engine/bt/interp/operand.h"

void frame_on_current(struct frame *f, const struct cpu *cpu, unsigned size, uint32_t error)
{
	f->ss = cpu->seg[SEG_SS];
	f->sp = cpu->gpr[GPR_RSP];
	f->mask = cpu->sp_mask;
	f->flat = cpu->mode == CPU_LONG;
	f->cpl = cpu->cpl;
	f->size = size;
	f->count = 0;
	f->error = error;
}

void frame_change_mode(struct frame *f, bool flat)
{
	f->flat = flat;
	f->mask = flat ? UINT64_MAX : f->ss.attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
}

void frame_on_flat(struct frame *f, uint64_t rsp, unsigned cpl, uint32_t error)
{
	f->sp = rsp;
	f->mask = UINT64_MAX;
	f->flat = true;
	f->cpl = cpl;
	f->size = 8;
	f->count = 0;
	f->error = error;
}

void frame_on_segment(struct frame *f, const struct segment *ss, uint32_t esp, uint32_t error)
{
	f->ss = *ss;
	f->sp = esp;
	f->mask = ss->attr & SEG_ATTR_DB ? UINT32_MAX : UINT16_MAX;
	f->flat = false;
	f->cpl = ss->attr >> SEG_ATTR_DPL_SHIFT & 3;
	f->size = 4;
	f->count = 0;
	f->error = error;
}

void frame_push(struct frame *f, uint64_t value)
{
	assert(f->count < FRAME_MAX);
	f->value[f->count++] = value;
}

/* The offset in the stack segment of value n. */
static uint64_t offset_of(const struct frame *f, unsigned n)
{
	return (f->sp - (n + 1) * f->size) & f->mask;
}

static uint64_t linear_of(const struct frame *f, unsigned n)
{
	uint64_t offset = offset_of(f, n);

	return f->flat ? offset : (uint32_t)(f->ss.base + offset);
}

static bool has_room(const struct cpu *cpu, const struct frame *f, unsigned n)
{
	uint64_t offset = offset_of(f, n);

	if (f->flat)
		return linear_canonical(cpu, offset) && linear_canonical(cpu, offset + f->size - 1);
	return !(f->ss.attr & SEG_ATTR_UNUSABLE) && seg_limit_allows(&f->ss, offset, f->size);
}

void frame_check(struct cpu *cpu, const struct frame *f)
{
	for (unsigned n = 0; n < f->count; n++)
		if (!has_room(cpu, f, n))
			cpu_raise_error(cpu, VECTOR_SS, f->error);
}

/* From the top down, as it is pushed: so the page that faults first is the processor's. */
void frame_probe(struct cpu *cpu, const struct frame *f)
{
	for (unsigned n = 0; n < f->count; n++)
		mmu_probe_as(cpu, f->cpl, linear_of(f, n), f->size, true);
}

void frame_write(struct cpu *cpu, const struct frame *f)
{
	for (unsigned n = 0; n < f->count; n++)
		mmu_write_as(cpu, f->cpl, linear_of(f, n), f->size, size_cut(f->value[n], f->size));
}

void frame_write_current(struct cpu *cpu, const struct frame *f)
{
	struct mmu_rmw rmw;

	for (unsigned n = 0; !cpu->amd && n < f->count; n++) {
		mmu_rmw_begin(cpu, &rmw, linear_of(f, n), f->size, false);
		mmu_rmw_end(cpu, &rmw);
	}
	for (unsigned n = 0; n < f->count; n++)
		mmu_write(cpu, linear_of(f, n), f->size, size_cut(f->value[n], f->size));
}

uint64_t frame_rsp(const struct frame *f, uint64_t rsp)
{
	uint64_t sp = f->sp - (uint64_t)f->count * f->size;

	if (f->mask == UINT16_MAX)
		return (rsp & ~(uint64_t)UINT16_MAX) | (uint16_t)sp;
	return sp & f->mask;
}
