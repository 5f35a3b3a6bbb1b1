/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linear addresses to guest memory: paging, the TLB, and every access by a guest.
 *
 * All functions here run on the vCPU's own thread, inside interp_run, where not said
 * otherwise. An access that faults does not return: it raises the exception
 * (cpu_raise, engine/bt/cpu.h), with nothing written. Addresses are linear, already
 * checked by segmentation (canonical in 64-bit mode, below 4 GiB otherwise, where the
 * functions wrap).
 *
 * A page of RAM is accessed through a TLB entry that holds its host address. Pages
 * that are not RAM go to env->mmio. A page that holds decoded code, or whose first
 * write is to be noted in the dirty log, has no writable entry: writes to it take the
 * slow path, which does what is due (mmu/pages.h).
 *
 * Sources: Intel SDM vol. 3A chapter 4; AMD APM vol. 2 chapter 5.
 */
#ifndef LODGE_ENGINE_BT_MMU_MMU_H
#define LODGE_ENGINE_BT_MMU_MMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct vm;

/* Reads or writes size (1, 2, 4, 8) bytes with the rights of cpu->cpl, crossing pages where need
 * be, with alignment checks where they are on (#AC). Both pages are checked before a byte is
 * written. */
uint64_t mmu_read(struct cpu *cpu, uint64_t linear, unsigned size);
void mmu_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value);

/* The same for len bytes, up to a page, without alignment checks; for vectors and saved state. All
 * pages are checked before a byte is written. */
void mmu_read_bytes(struct cpu *cpu, uint64_t linear, void *buf, size_t len);
void mmu_write_bytes(struct cpu *cpu, uint64_t linear, const void *buf, size_t len);

/* Faults as a write (or read) of len bytes would, and does nothing else but set accessed and dirty
 * bits: for instructions that must fault before they change anything. */
void mmu_probe(struct cpu *cpu, uint64_t linear, size_t len, bool write);

/* Faults as mmu_write of size bytes would, alignment checks included, and does nothing else. */
void mmu_probe_write(struct cpu *cpu, uint64_t linear, unsigned size);

/* Implicit accesses of the processor to descriptor tables and task state: supervisor rights
 * whatever the CPL, no alignment check, and SMAP without the excuse of RFLAGS.AC. */
uint64_t mmu_system_read(struct cpu *cpu, uint64_t linear, unsigned size);
void mmu_system_write(struct cpu *cpu, uint64_t linear, unsigned size, uint64_t value);
void mmu_system_probe(struct cpu *cpu, uint64_t linear, size_t len, bool write);

/* The stack of a more privileged ring, while the CPL is not changed yet: an access with the rights
 * of level cpl (3: user), not implicit. */
uint64_t mmu_read_as(struct cpu *cpu, unsigned cpl, uint64_t linear, unsigned size);
void mmu_write_as(struct cpu *cpu, unsigned cpl, uint64_t linear, unsigned size, uint64_t value);
void mmu_probe_as(struct cpu *cpu, unsigned cpl, uint64_t linear, size_t len, bool write);

/*
 * Read-modify-write. begin checks all that may fault (as a write) and gives a pointer to the
 * operand: guest RAM itself, which the caller changes in place, with a host LOCK instruction where
 * locked; or, where that is not possible (MMIO, a page boundary, a page with code), a copy that
 * end writes back. Locked copies are made while no other vCPU runs (runtime/exclusive.h). Between
 * begin and end nothing may be raised. size: 1, 2, 4, 8 or 16.
 */
struct mmu_rmw {
	void *ptr; /* to size bytes; aligned as the guest's operand is, if it is RAM itself */
	uint64_t linear;
	uint64_t gpa[2];
	unsigned size;
	bool direct;    /* ptr is guest RAM */
	bool tell;      /* ... where end has to call pages_written */
	bool exclusive; /* other vCPUs stand still until end */
	uint64_t copy[2] __attribute__((aligned(16)));
};
void mmu_rmw_begin(struct cpu *cpu, struct mmu_rmw *rmw, uint64_t linear, unsigned size,
		   bool locked);
void mmu_rmw_end(struct cpu *cpu, struct mmu_rmw *rmw);

/* The same as an implicit access of the processor, locked: as mmu_system_write. */
void mmu_system_rmw_begin(struct cpu *cpu, struct mmu_rmw *rmw, uint64_t linear, unsigned size);

/*
 * A run of RAM for string instructions: how many bytes from linear to its page's end are plain RAM
 * that this vCPU may read (or write) now, at most len, and where (*host); 0: take the ordinary
 * way, a unit at a time, which also raises the fault. The pointer is good until the next call of
 * any function here.
 */
size_t mmu_span(struct cpu *cpu, uint64_t linear, size_t len, bool write, uint8_t **host);

/* For translated code: whether size bytes at linear can be read (written) by the TLB's entry of
 * their page, after that has been filled if need be. False where they cannot, for whatever reason:
 * the ordinary way then does what is due. Raises nothing, and uses no vector register. */
bool mmu_fill(struct cpu *cpu, uint64_t linear, unsigned size, bool write);

/* The host's address of size bytes at linear, within a page; NULL: they cannot be read just so.
 * Good until the TLB changes. */
const void *mmu_read_place(struct cpu *cpu, uint64_t linear, unsigned size);
/* The same for fetching code from the page at linear: its guest physical address. */
bool mmu_fill_code(struct cpu *cpu, uint64_t linear, uint64_t *gpa);

/* Instruction fetch: copies up to len bytes from linear, within its page, and gives the page's
 * guest physical address (*page) and whether it is RAM. Raises what a fetch raises. MMIO gives bus
 * reads. */
size_t mmu_fetch(struct cpu *cpu, uint64_t linear, uint8_t *buf, size_t len, uint64_t *page,
		 bool *ram);

/* The guest physical address that linear has for reading with supervisor rights, without faults,
 * A/D bits or the TLB; false: none. For crash reports and tests. */
bool mmu_peek(struct cpu *cpu, uint64_t linear, uint64_t *gpa);

/* What the processor caches is dropped. With global also global pages' entries, and the registers
 * that govern accesses (CR0, CR4, EFER, DR7, CPUID) are looked at anew: after whoever set them
 * without mmu_control_changed, and after IA32_APIC_BASE changed. */
void mmu_flush(struct cpu *cpu, bool global);
void mmu_invlpg(struct cpu *cpu, uint64_t linear); /* this page, all PCIDs and global */
/* INVPCID by type 0 to 3; operands are checked by the caller. */
void mmu_invpcid(struct cpu *cpu, unsigned type, uint64_t pcid, uint64_t linear);
/* CR0, CR3, CR4 or EFER changed (cpu holds the new values, old the ones before). Flushes what the
 * architecture asks for. keep: MOV to CR3 with bit 63. */
struct mmu_control {
	uint64_t cr0, cr3, cr4, efer;
};
void mmu_control_changed(struct cpu *cpu, const struct mmu_control *old, bool keep);

/* DR7 changed: data breakpoints are looked for by the accesses here, which note them in
 * cpu->debug_hits. cpu_set_dr7 calls this. */
void mmu_dr7_changed(struct cpu *cpu);

/* Loads the four PAE page-directory pointers of CR3 = cr3 into pdptr; false where one has reserved
 * bits set or is not in RAM (#GP(0), nothing changed). SDM vol. 3A, 4.4.1. */
bool mmu_load_pdptr(struct cpu *cpu, uint64_t cr3, uint64_t pdptr[4]);

/* [gpa, gpa + len), within one page of RAM, is about to be read for decoding: from now on every
 * write to it by a vCPU or device raises the page's generation (mmu/pages.h). Returns the
 * generation that what is decoded from these bytes is to be kept with: it was read before, since a
 * write may come at any moment. May wait for other vCPUs (exclusive_begin); caches may have changed
 * then. */
uint32_t mmu_protect_code(struct cpu *cpu, uint64_t gpa, unsigned len);

/* Drops all writable entries of all vCPUs of the VM; any thread, while none executes guest code
 * (exclusive_begin, _outside). */
void mmu_drop_writable_all(struct vm *vm);

/* Allocates and frees a vCPU's TLB, in cpu->tlb_room if there is one: zeroed memory of mmu_room()
 * bytes, the caller's. Any thread, while it does not run. 0 or -ENOMEM. */
size_t mmu_room(void);
int mmu_init(struct cpu *cpu);
void mmu_release(struct cpu *cpu);

#endif
