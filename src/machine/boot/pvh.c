/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start info of Xen's PVH boot protocol, version 1, in one page:
 *
 *	+0    hvm_start_info
 *	+64   module list: the initrd, if there is one
 *	+128  memory map
 *
 * Sources: Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h.
 */
#include <assert.h>

#include "machine/boot/boot_int.h"
#include "machine/boot/e820.h"
#include "machine/layout.h"

#define PVH_MAGIC 0x336ec578u /* "xEn3", bit 7 of the E set */

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t module_count;
	uint64_t modules; /* gpa of struct hvm_module[] */
	uint64_t cmdline;
	uint64_t rsdp;
	uint64_t memory_map; /* gpa of struct hvm_memory[] */
	uint32_t memory_map_count;
	uint32_t reserved;
};

struct hvm_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t cmdline; /* 0: none */
	uint64_t reserved;
};

struct hvm_memory {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in E820 */
	uint32_t reserved;
};

struct info_page {
	union {
		struct hvm_start_info info;
		uint8_t at0[64];
	};
	union {
		struct hvm_module module;
		uint8_t at64[64];
	};
	struct hvm_memory memory[E820_MAX];
};

_Static_assert(sizeof(struct hvm_start_info) == 56, "start_info.h, version 1");
_Static_assert(sizeof(struct hvm_module) == 32, "start_info.h");
_Static_assert(sizeof(struct hvm_memory) == 24, "start_info.h");
_Static_assert(sizeof(struct info_page) <= LAYOUT_ZERO_PAGE - LAYOUT_PVH_INFO, "one page");

void boot_put_pvh_info(struct boot_job *job)
{
	struct info_page *page = mem_ptr_rw(job->mem, LAYOUT_PVH_INFO, sizeof(*page));
	struct e820_entry map[E820_MAX];
	unsigned count = e820_build(job->mem, map);

	assert(page);
	page->info = (struct hvm_start_info){
		.magic = PVH_MAGIC,
		.version = 1,
		.cmdline = LAYOUT_CMDLINE,
		.rsdp = job->cfg->rsdp,
		.memory_map = LAYOUT_PVH_INFO + offsetof(struct info_page, memory),
		.memory_map_count = count,
	};
	if (job->initrd) {
		page->info.module_count = 1;
		page->info.modules = LAYOUT_PVH_INFO + offsetof(struct info_page, module);
		page->module = (struct hvm_module){job->initrd_gpa, job->initrd->size, 0, 0};
	}
	for (unsigned i = 0; i < count; i++)
		page->memory[i] = (struct hvm_memory){map[i].addr, map[i].size, map[i].type, 0};
	mem_written(job->mem, LAYOUT_PVH_INFO, sizeof(*page));
}
