/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment registers as the boot protocols and the engines need them: the usual
 * flat ones, and the way between a hidden register and its 8-byte descriptor.
 *
 * Source: Intel SDM vol. 3A 3.4.5 (descriptors), 3.5 (system descriptors), 9.9.
 */
#ifndef LODGE_CORE_X86_SEGMENT_H
#define LODGE_CORE_X86_SEGMENT_H

#include <stdint.h>

#include "core/x86/vcpu_state.h"

/* Types of segment, with S set and clear (SDM vol. 3A tables 3-1 and 3-2). */
#define SEG_TYPE_DATA_RW    0x3u /* accessed */
#define SEG_TYPE_CODE_RX    0xbu /* accessed */
#define SEG_TYPE_LDT        0x2u
#define SEG_TYPE_TSS16_BUSY 0x3u
#define SEG_TYPE_TSS_BUSY   0xbu /* 32-bit, and 64-bit in IA-32e mode */

/* Flat ring-0 segments: base 0, limit 4 GiB. The selector's low three bits must be 0. */
struct segment segment_flat_code64(uint16_t selector);
struct segment segment_flat_code32(uint16_t selector);
struct segment segment_flat_data(uint16_t selector);

/* A real-mode segment: base selector * 16, limit 64 KiB, as a load in real mode leaves it. */
struct segment segment_real(uint16_t selector);

/* A segment register that holds a null selector: using it faults. */
struct segment segment_null(void);

/* A busy TSS for TR, as a VM entry wants it in protected and IA-32e mode. */
struct segment segment_tss(uint16_t selector, uint64_t base, uint32_t limit);

/* The 8-byte descriptor that would load s; base above 4 GiB (TSS, LDT) goes into a second 8 bytes
 * that the caller adds. */
uint64_t segment_to_descriptor(const struct segment *s);

/* The register that loading selector from this 8-byte descriptor gives; a descriptor that is not
 * present gives an unusable register. */
struct segment segment_from_descriptor(uint16_t selector, uint64_t descriptor);

#endif
