/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/interp/descriptor.h"

#include "engine/bt/interp/operand.h"

void raise_selector(struct cpu *cpu, uint8_t vector, uint16_t selector, uint32_t ext)
{
	cpu_raise_error(cpu, vector, (selector & ~SELECTOR_RPL) | ext);
}

/* The linear address of len bytes of the table that selector lies in; false: beyond its limit. */
static bool locate(const struct cpu *cpu, uint16_t selector, unsigned len, uint64_t *linear)
{
	uint32_t offset = selector & ~7u;

	if (!(selector & SELECTOR_LOCAL)) {
		*linear = cpu->gdt.base + offset;
		return offset + len - 1 <= cpu->gdt.limit;
	}
	*linear = cpu->ldtr.base + offset;
	return !(cpu->ldtr.attr & SEG_ATTR_UNUSABLE) && offset + len - 1 <= cpu->ldtr.limit;
}

bool descriptor_find(struct cpu *cpu, uint16_t selector, struct descriptor *d)
{
	*d = (struct descriptor){.selector = selector};
	if (selector_null(selector) || !locate(cpu, selector, 8, &d->linear))
		return false;
	d->low = mmu_system_read(cpu, d->linear, 8);
	return true;
}

void descriptor_get(struct cpu *cpu, uint16_t selector, uint8_t vector, uint32_t ext,
		    struct descriptor *d)
{
	if (!descriptor_find(cpu, selector, d))
		raise_selector(cpu, vector, selector, ext);
}

bool descriptor_extend(struct cpu *cpu, struct descriptor *d)
{
	uint64_t linear;

	if (!locate(cpu, d->selector, 16, &linear))
		return false;
	d->high = mmu_system_read(cpu, linear + 8, 8);
	return !(d->high >> 40 & 0x1f);
}

/* Changes bits of the type byte as processors do: with a locked access, which another vCPU's
 * change of the same descriptor does not undo. */
static void change_type(struct cpu *cpu, uint64_t linear, uint8_t set, uint8_t clear)
{
	struct mmu_rmw rmw;
	_Atomic uint8_t *type;

	mmu_system_rmw_begin(cpu, &rmw, linear + 5, 1);
	type = rmw.ptr;
	if (set)
		atomic_fetch_or(type, set);
	if (clear)
		atomic_fetch_and(type, (uint8_t)~clear);
	mmu_rmw_end(cpu, &rmw);
}

void descriptor_set_accessed(struct cpu *cpu, const struct descriptor *d)
{
	if (!(descriptor_type(d) & 1))
		change_type(cpu, d->linear, 1, 0);
}

void descriptor_set_busy(struct cpu *cpu, uint64_t linear, bool busy)
{
	change_type(cpu, linear, busy ? 2 : 0, busy ? 0 : 2);
}

struct segment descriptor_segment(const struct descriptor *d)
{
	struct segment s = segment_from_descriptor(d->selector, d->low);

	if (descriptor_is_segment(d))
		s.attr |= 1;
	else
		s.base |= d->high << 32;
	return s;
}

void descriptor_get_stack(struct cpu *cpu, uint16_t selector, unsigned cpl, uint8_t bad,
			  uint32_t ext, struct descriptor *d)
{
	descriptor_get(cpu, selector, bad, ext, d);
	if ((selector & SELECTOR_RPL) != cpl || descriptor_dpl(d) != cpl || !descriptor_writable(d))
		raise_selector(cpu, bad, selector, ext);
	if (!descriptor_present(d))
		raise_selector(cpu, VECTOR_SS, selector, ext);
}

void descriptor_get_data(struct cpu *cpu, uint16_t selector, unsigned cpl, uint8_t bad,
			 uint32_t ext, struct descriptor *d)
{
	descriptor_get(cpu, selector, bad, ext, d);
	if (!descriptor_readable(d))
		raise_selector(cpu, bad, selector, ext);
	if (!descriptor_conforming(d) &&
	    descriptor_dpl(d) < MAX(cpl, (unsigned)selector & SELECTOR_RPL))
		raise_selector(cpu, bad, selector, ext);
	if (!descriptor_present(d))
		raise_selector(cpu, VECTOR_NP, selector, ext);
}

/* Real mode changes selector and base only: a limit and type from protected mode stay ("unreal"
 * mode). Virtual-8086 mode has fixed ones. */
void segment_load_real(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	struct segment *s = &cpu->seg[seg];

	s->selector = selector;
	s->base = (uint64_t)selector << 4;
	if (cpu->rflags & RFLAGS_VM) {
		s->limit = 0xffff;
		s->attr = SEG_TYPE_DATA_RW | SEG_ATTR_S | SEG_ATTR_P | 3 << SEG_ATTR_DPL_SHIFT;
	} else if (s->attr & SEG_ATTR_UNUSABLE) {
		s->attr = SEG_TYPE_DATA_RW | SEG_ATTR_S | SEG_ATTR_P;
		s->limit = 0xffff;
	}
}

void segment_load_null(struct cpu *cpu, unsigned seg, uint16_t selector)
{
	struct segment *s = &cpu->seg[seg];

	s->selector = selector;
	s->attr = SEG_ATTR_UNUSABLE;
	if (!cpu->null_keeps) {
		s->base = 0;
		s->limit = 0;
	}
}

struct segment segment_null_stack(uint16_t selector, unsigned cpl)
{
	struct segment s = segment_null();

	s.selector = selector;
	s.attr |= cpl << SEG_ATTR_DPL_SHIFT;
	return s;
}
