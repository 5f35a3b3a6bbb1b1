/* SPDX-License-Identifier: Apache-2.0 */
/* Write entries taken away: of pages from which code is decoded, and when the dirty log is read.
 * Why nothing slips through is explained in pages.h. */
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/mmu/pages.h"
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/runtime/exclusive.h"
#include "engine/bt/vm.h"

static void drop_everywhere(struct vm *vm, const struct page *record)
{
	for (unsigned i = 0; i < ARRAY_LEN(vm->cpu); i++)
		if (vm->cpu[i] && vm->cpu[i]->tlb)
			tlb_drop_writable(vm->cpu[i]->tlb, record);
}

void mmu_drop_writable_all(struct vm *vm)
{
	drop_everywhere(vm, NULL);
}

uint32_t mmu_protect_code(struct cpu *cpu, uint64_t gpa, unsigned len)
{
	struct vm *vm = cpu->vm;
	struct page *record = pages_find(&vm->pages, gpa);
	uint32_t generation;

	if (!record)
		return 0;
	generation = atomic_load(&record->generation);
	if (!pages_mark_code(&vm->pages, gpa, len))
		return generation;
	exclusive_begin(cpu);
	record = pages_find(&vm->pages, gpa); /* RAM may have been unmapped meanwhile */
	if (record) {
		drop_everywhere(vm, record);
		atomic_fetch_and(&record->flags, ~PAGE_WRITABLE);
	}
	exclusive_end(cpu);
	return generation;
}
