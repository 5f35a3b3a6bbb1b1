/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a kernel and entering it, without firmware.
 *
 * A boot source is a kernel file and perhaps an initrd, opened and checked when
 * the VM is configured. At power-on and after each reset boot_load puts them and
 * the structures of the boot protocol into zeroed RAM, and boot_set_vcpu puts the
 * bootstrap processor to the kernel's entry.
 *
 * Sources: Linux Documentation/arch/x86/boot.rst and zero-page.rst; Xen
 * docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h; System V ABI (ELF).
 */
#ifndef LODGE_MACHINE_BOOT_BOOT_H
#define LODGE_MACHINE_BOOT_BOOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/mem.h"
#include "core/x86/vcpu_state.h"

enum boot_protocol {
	BOOT_AUTO,    /* an ELF by PVH if it can; a bzImage as boot_config.unpack says */
	BOOT_BZIMAGE, /* bzImage by its own 64-bit or 32-bit entry; the guest decompresses */
	BOOT_PVH,     /* ELF, or a bzImage's ELF decompressed on the host, by its PVH note */
	BOOT_ELF,     /* the same ELF by its entry address, with Linux boot parameters */
};

struct boot_config {
	const char *kernel;
	const char *initrd;  /* NULL: none */
	const char *cmdline; /* NULL: empty */
	enum boot_protocol protocol;
	bool unpack;   /* BOOT_AUTO: the host unpacks a bzImage and enters it by PVH, if it can */
	uint64_t rsdp; /* guest physical address of the ACPI RSDP; 0: none */
};

/* Where the bootstrap processor starts. */
struct boot_entry {
	enum boot_protocol protocol; /* the one used, never BOOT_AUTO */
	bool long_mode;              /* 64-bit entry; else 32-bit protected mode, no paging */
	uint64_t rip;
	uint64_t params; /* gpa of boot_params, or of hvm_start_info under BOOT_PVH */
};

struct boot_source;

/*
 * Opens cfg's kernel and initrd and checks all that does not depend on the guest's memory. The
 * files stay open, and a kernel that is replaced on disk does not change under a running VM. cfg
 * is not kept. 0 with *out set, or -errno with e set. Any thread.
 */
int boot_source_open(struct boot_source **out, const struct boot_config *cfg, struct err *e);

/* Closes the files. NULL is allowed. */
void boot_source_close(struct boot_source *src);

/*
 * Loads the kernel, the initrd and the boot structures into m, which must read as zero (as from
 * mem_add_ram or mem_reset), and says in *out where to enter. Of cfg, cmdline, protocol and rsdp
 * are used; the files are those of src. May be called again after each mem_reset. -errno with e
 * set where the guest's memory is too small, the command line too long, or the file bad; RAM then
 * holds rubbish. No vCPU may run.
 */
int boot_load(struct boot_source *src, struct mem *m, const struct boot_config *cfg,
	      struct boot_entry *out, struct err *e);

/* Sets the registers that the boot protocol asks for in the bootstrap processor's state, which
 * must be that of vcpu_state_reset. */
void boot_set_vcpu(const struct boot_entry *entry, struct vcpu_state *bsp);

#endif
