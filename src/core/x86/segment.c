/* SPDX-License-Identifier: Apache-2.0 */
#include "core/x86/segment.h"

#include "base/bits.h"

static struct segment flat(uint16_t selector, uint32_t type, uint32_t size)
{
	return (struct segment){.selector = selector,
				.attr = type | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_G | size,
				.limit = 0xffffffff};
}

struct segment segment_flat_code64(uint16_t selector)
{
	return flat(selector, SEG_TYPE_CODE_RX, SEG_ATTR_L);
}

struct segment segment_flat_code32(uint16_t selector)
{
	return flat(selector, SEG_TYPE_CODE_RX, SEG_ATTR_DB);
}

struct segment segment_flat_data(uint16_t selector)
{
	return flat(selector, SEG_TYPE_DATA_RW, SEG_ATTR_DB);
}

struct segment segment_real(uint16_t selector)
{
	return (struct segment){.selector = selector,
				.attr = SEG_TYPE_DATA_RW | SEG_ATTR_S | SEG_ATTR_P,
				.limit = 0xffff,
				.base = (uint64_t)selector << 4};
}

struct segment segment_null(void)
{
	return (struct segment){.attr = SEG_ATTR_UNUSABLE};
}

struct segment segment_tss(uint16_t selector, uint64_t base, uint32_t limit)
{
	return (struct segment){.selector = selector,
				.attr = SEG_TYPE_TSS_BUSY | SEG_ATTR_P,
				.limit = limit,
				.base = base};
}

/* Access rights are bits 8-15 and 20-23 of the descriptor's high half, which is where attr has
 * them, 8 bits lower. */
#define DESCRIPTOR_ATTR 0xf0ffu

uint64_t segment_to_descriptor(const struct segment *s)
{
	uint64_t limit = s->attr & SEG_ATTR_G ? s->limit >> 12 : s->limit & 0xfffff;
	uint64_t base = s->base & 0xffffffff;

	if (s->attr & SEG_ATTR_UNUSABLE)
		return 0;
	return (limit & 0xffff) | (base & 0xffffff) << 16 |
	       (uint64_t)(s->attr & DESCRIPTOR_ATTR) << 40 | (limit >> 16) << 48 |
	       (base >> 24) << 56;
}

struct segment segment_from_descriptor(uint16_t selector, uint64_t descriptor)
{
	struct segment s = {.selector = selector,
			    .attr = (uint32_t)(descriptor >> 40) & DESCRIPTOR_ATTR,
			    .base = (descriptor >> 16 & 0xffffff) | (descriptor >> 56) << 24};

	s.limit = (uint32_t)((descriptor & 0xffff) | (descriptor >> 48 & 0xf) << 16);
	if (s.attr & SEG_ATTR_G)
		s.limit = s.limit << 12 | 0xfff;
	if (!(s.attr & SEG_ATTR_P))
		s.attr |= SEG_ATTR_UNUSABLE;
	return s;
}
