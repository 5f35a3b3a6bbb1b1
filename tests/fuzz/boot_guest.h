/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest to load hostile kernels into: 64 MiB of RAM that lives as long as the
 * fuzz program and is not cleared between inputs. What no kernel may touch, the
 * ACPI tables' area and the memory that is not RAM, is checked after each load.
 */
#ifndef LODGE_FUZZ_BOOT_GUEST_H
#define LODGE_FUZZ_BOOT_GUEST_H

#include <stdlib.h>
#include <string.h>

#include "machine/boot/boot_int.h"
#include "machine/layout.h"

#define GUEST_RAM MIB(64)

static inline void boot_guest_check(bool ok)
{
	if (!ok)
		abort();
}

/* A byte that is neither what RAM starts as nor what the corpus is made of. */
#define GUEST_CANARY 0xa5

static inline void boot_guest_try(struct mem *m, const void *image, size_t size,
				  enum boot_protocol protocol)
{
	struct boot_config cfg = {
		.kernel = "fuzz", .cmdline = "quiet", .protocol = protocol, .rsdp = LAYOUT_ACPI};
	struct vcpu_state bsp;
	struct boot_source *src;
	struct boot_entry entry;
	struct err e = ERR_INIT;
	uint8_t *acpi;
	int r;

	if (!m->count) {
		boot_guest_check(!mem_init(m, 0, NULL));
		boot_guest_check(!mem_add_ram(m, 0, GUEST_RAM, NULL));
		memset(mem_ptr_rw(m, LAYOUT_ACPI, LAYOUT_ACPI_SIZE), GUEST_CANARY,
		       LAYOUT_ACPI_SIZE);
	}
	r = boot_source_open_image(&src, image, size, &cfg, &e);
	if (!r) {
		r = boot_load(src, m, &cfg, &entry, &e);
		boot_source_close(src);
	}
	/* Every failure has an errno and words, and no success has them. */
	boot_guest_check(r == e.code && !r == !e.text[0]);
	acpi = mem_ptr_rw(m, LAYOUT_ACPI, LAYOUT_ACPI_SIZE);
	boot_guest_check(acpi[0] == GUEST_CANARY && !memcmp(acpi, acpi + 1, LAYOUT_ACPI_SIZE - 1));
	if (r)
		return;
	boot_guest_check(entry.protocol != BOOT_AUTO);
	boot_guest_check(entry.rip >= LAYOUT_KERNEL && entry.rip < GUEST_RAM);
	vcpu_state_reset(&bsp, 0);
	boot_set_vcpu(&entry, &bsp);
}

#endif
