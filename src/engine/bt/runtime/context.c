/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/runtime/context.h"

#include "engine/bt/cpu.h"
#include "engine/bt/interp/operand.h"
#include "engine/bt/mmu/tlb.h"

_Static_assert((int)BLOCK_SUPERVISOR == TLB_SUPERVISOR && (int)BLOCK_USER == TLB_USER &&
		       (int)BLOCK_SUPERVISOR_ANY == TLB_SUPERVISOR_ANY &&
		       (int)BLOCK_NARROW == TLB_CONTEXTS,
	       "a block's context begins with that of its accesses");

/* All of its 4 GiB can be read and written, outside of 64-bit mode. */
static bool is_whole(const struct segment *s)
{
	const uint32_t looked_at = SEG_ATTR_UNUSABLE | SEG_TYPE_CODE | SEG_TYPE_EXPAND_DOWN |
				   SEG_TYPE_WRITABLE;

	return s->limit == UINT32_MAX && (s->attr & looked_at) == SEG_TYPE_WRITABLE;
}

/* 32-bit code in flat segments (enum block_context). */
static bool is_flat(const struct cpu *cpu)
{
	const struct segment *s = cpu->seg;
	const uint32_t code = SEG_TYPE_CODE | SEG_TYPE_READABLE;

	return cpu->decode == DECODE_32 && cpu->sp_mask == UINT32_MAX &&
	       !(s[SEG_CS].base | s[SEG_SS].base | s[SEG_DS].base | s[SEG_ES].base) &&
	       s[SEG_CS].limit == UINT32_MAX && (s[SEG_CS].attr & code) == code &&
	       is_whole(&s[SEG_SS]) && is_whole(&s[SEG_DS]) && is_whole(&s[SEG_ES]);
}

enum block_context context_now(struct cpu *cpu)
{
	bool alignment = cpu->cr0 & CR0_AM && cpu->rflags & RFLAGS_AC;
	enum tlb_context access;

	if ((cpu->cpl == 3 && alignment) || cpu->cpl == 1 || cpu->cpl == 2)
		return BLOCK_NONE;
	access = tlb_context(cpu, cpu->cpl);
	if (cpu->mode == CPU_LONG)
		return (enum block_context)access;
	if ((cpu->mode != CPU_PROTECTED && cpu->mode != CPU_COMPAT) || !is_flat(cpu))
		return BLOCK_NONE;
	cpu->native.whole = (uint8_t)((is_whole(&cpu->seg[SEG_FS]) ? BIT(SEG_FS) : 0) |
				      (is_whole(&cpu->seg[SEG_GS]) ? BIT(SEG_GS) : 0));
	return (enum block_context)(BLOCK_NARROW + (unsigned)access);
}
