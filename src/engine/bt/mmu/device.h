/* SPDX-License-Identifier: Apache-2.0 */
/* Guest physical addresses that are not RAM. Private to mmu/. */
#ifndef LODGE_ENGINE_BT_MMU_DEVICE_H
#define LODGE_ENGINE_BT_MMU_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;

/* Whether the page at gpa is that of the vCPU's local APIC, which hides RAM and MMIO. */
bool device_is_lapic(const struct cpu *cpu, uint64_t gpa);

/* Reads or writes len bytes at gpa, within a page, in pieces of at most 8. */
void device_read(struct cpu *cpu, uint64_t gpa, void *buf, unsigned len);
void device_write(struct cpu *cpu, uint64_t gpa, const void *buf, unsigned len);

#endif
