/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processor as the boot protocols want it at the kernel's first instruction:
 * flat segments, interrupts off, in 32-bit protected mode without paging, or in
 * 64-bit mode with the first 4 GiB mapped to themselves.
 *
 * Sources: Linux Documentation/arch/x86/boot.rst, "32-bit" and "64-bit Boot
 * Protocol"; Xen docs/misc/pvh.pandoc; Intel SDM vol. 3A 3.4.5 (descriptors), 4.5
 * (page tables), 7.2.2 (TSS).
 */
#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "machine/boot/boot_int.h"
#include "machine/layout.h"

#define BOOT_CS  0x10
#define BOOT_DS  0x18
#define BOOT_TSS 0x20

#define GDT_ENTRIES 6 /* the TSS descriptor takes two in long mode; the second is zero */

static struct segment code_segment(bool long_mode)
{
	return long_mode ? segment_flat_code64(BOOT_CS) : segment_flat_code32(BOOT_CS);
}

static void put_gdt(struct boot_job *job, bool long_mode)
{
	struct segment code = code_segment(long_mode);
	struct segment data = segment_flat_data(BOOT_DS);
	struct segment tss = segment_tss(BOOT_TSS, 0, 0x67);
	uint64_t gdt[GDT_ENTRIES] = {
		[BOOT_CS / 8] = segment_to_descriptor(&code),
		[BOOT_DS / 8] = segment_to_descriptor(&data),
		[BOOT_TSS / 8] = segment_to_descriptor(&tss),
	};
	bool ok = mem_write(job->mem, LAYOUT_BOOT_GDT, gdt, sizeof(gdt));

	assert(ok);
	(void)ok;
}

static void put_page_tables(struct boot_job *job)
{
	const uint64_t len = 6 * GUEST_PAGE_SIZE;
	uint64_t *table = mem_ptr_rw(job->mem, LAYOUT_PAGE_TABLES, len);
	uint64_t *pml4 = table, *pdpt = table + 512, *pd = table + 1024;

	assert(table);
	pml4[0] = (LAYOUT_PAGE_TABLES + GUEST_PAGE_SIZE) | PTE_P | PTE_RW;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (LAYOUT_PAGE_TABLES + (2 + i) * GUEST_PAGE_SIZE) | PTE_P | PTE_RW;
	for (uint64_t i = 0; i < 4 * 512; i++)
		pd[i] = i << 21 | PTE_PS | PTE_P | PTE_RW;
	mem_written(job->mem, LAYOUT_PAGE_TABLES, len);
}

void boot_put_cpu_tables(struct boot_job *job, const struct boot_entry *entry)
{
	put_gdt(job, entry->long_mode);
	if (entry->long_mode)
		put_page_tables(job);
}

void boot_set_vcpu(const struct boot_entry *entry, struct vcpu_state *bsp)
{
	assert(entry->protocol != BOOT_AUTO);
	memset(bsp->gpr, 0, sizeof(bsp->gpr));
	bsp->rip = entry->rip;
	bsp->rflags = RFLAGS_FIXED;
	bsp->gdt = (struct descriptor_table){.base = LAYOUT_BOOT_GDT, .limit = GDT_ENTRIES * 8 - 1};
	bsp->idt = (struct descriptor_table){.base = 0, .limit = 0};
	for (unsigned i = 0; i < SEG_COUNT; i++)
		bsp->seg[i] = segment_flat_data(BOOT_DS);
	bsp->seg[SEG_CS] = code_segment(entry->long_mode);
	bsp->tr = segment_tss(BOOT_TSS, 0, 0x67);
	bsp->ldtr = segment_null();
	if (entry->protocol == BOOT_PVH)
		bsp->gpr[GPR_RBX] = entry->params;
	else
		bsp->gpr[GPR_RSI] = entry->params;
	bsp->cr0 = CR0_PE | CR0_ET;
	bsp->cr3 = 0;
	bsp->cr4 = 0;
	bsp->efer = 0;
	if (entry->long_mode) {
		bsp->cr0 |= CR0_PG;
		bsp->cr3 = LAYOUT_PAGE_TABLES;
		bsp->cr4 = CR4_PAE;
		bsp->efer = EFER_LME | EFER_LMA;
	}
	bsp->activity = VCPU_RUNNING;
}
