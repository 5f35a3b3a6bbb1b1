/* SPDX-License-Identifier: Apache-2.0 */
#include "integer_rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "engine/bt/runtime/blocks.h"
#include "engine/bt/runtime/gates.h"
#include "engine/bt/runtime/step.h"

#define TABLES  0x100000
#define PT      (TABLES + 0x3000)
#define RIGHTS  (PTE_P | PTE_RW | PTE_US)
#define ATTR_RW (SEG_ATTR_P | SEG_ATTR_S | 3)
#define ATTR_RX (SEG_ATTR_P | SEG_ATTR_S | 0xb)

/* What translated code reaches from struct cpu. */
struct beside {
	struct cpu cpu;
	uint8_t room[] __attribute__((aligned(64))); /* mmu_room(), BLOCKS_ROOM */
};

static size_t size_beside(void)
{
	return sizeof(struct beside) + mmu_room() + BLOCKS_ROOM;
}

static uint64_t port_read(void *dev, uint64_t offset, unsigned size)
{
	struct integer_rig *r = dev;

	r->port_reads++;
	return load_le(r->ports + offset, size);
}

static void port_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct integer_rig *r = dev;

	r->port_writes++;
	store_le(r->ports + offset, size, value);
}

static const struct bus_ops port_ops = {
	.name = "ports", .width = 4, .read = port_read, .write = port_write};

static struct segment segment(uint64_t base, uint32_t attr)
{
	return (struct segment){
		.selector = (uint16_t)(base >> 4), .base = base, .limit = 0xffff, .attr = attr};
}

static void set_segments(struct cpu *cpu, enum ir_mode mode)
{
	uint32_t big = mode == IR_32 || mode == IR_COMPAT ? SEG_ATTR_DB : 0;
	uint32_t l = mode == IR_64 ? SEG_ATTR_L : 0;

	cpu->seg[SEG_CS] = segment(0, ATTR_RX | big | l);
	cpu->seg[SEG_DS] = segment(IR_DATA, ATTR_RW | big);
	cpu->seg[SEG_ES] = segment(IR_EXTRA, ATTR_RW | big);
	cpu->seg[SEG_SS] = segment(IR_STACK, ATTR_RW | big);
	cpu->seg[SEG_FS] = segment(IR_DATA, ATTR_RW | big);
	cpu->seg[SEG_GS] = segment(IR_EXTRA, ATTR_RW | big);
	cpu->tr = (struct segment){.base = IR_TSS, .limit = 0x2067, .attr = SEG_ATTR_P | 0xb};
	cpu->gpr[GPR_RSP] = IR_SP + (mode == IR_64 ? IR_STACK : 0);
}

static void set_paging(struct integer_rig *r)
{
	ir_put(r, TABLES, 8, (TABLES + 0x1000) | RIGHTS);
	ir_put(r, TABLES + 0x1000, 8, (TABLES + 0x2000) | RIGHTS);
	ir_put(r, TABLES + 0x2000, 8, PT | RIGHTS);
	for (uint64_t at = 0; at < IR_RAM; at += 4096)
		ir_put(r, PT + at / 4096 * 8, 8, at | RIGHTS);
	r->cpu->cr0 |= CR0_PG | CR0_WP;
	r->cpu->cr4 = CR4_PAE;
	r->cpu->cr3 = TABLES;
	r->cpu->efer = EFER_LME | EFER_LMA | EFER_NXE;
}

struct integer_rig *ir_new(enum ir_mode mode)
{
	struct integer_rig *r = calloc(1, sizeof(*r));
	struct beside *b = mmap(NULL, size_beside(), PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct cpu *cpu = &b->cpu;

	if (!r || b == MAP_FAILED || mem_init(&r->mem, 0, NULL) ||
	    mem_add_ram(&r->mem, 0, IR_RAM, NULL))
		abort();
	bus_init(&r->pio, "pio", 0x10000);
	bus_init(&r->mmio, "mmio", BIT(52));
	if (bus_add(&r->pio, IR_PORT, sizeof(r->ports), &port_ops, r, NULL, NULL))
		abort();
	r->env = (struct engine_env){.mem = &r->mem, .pio = &r->pio, .mmio = &r->mmio};
	cpu->tlb_room = b->room;
	cpu->vm = &r->vm;
	cpu->amd = true;
	cpu->phys_bits = 40;
	cpu->rflags = RFLAGS_FIXED;
	cpu->cr0 = mode == IR_REAL ? CR0_ET : CR0_ET | CR0_PE;
	memset(cpu->features, true, sizeof(cpu->features));
	r->cpu = cpu;
	r->vm.env = &r->env;
	r->vm.cpu[0] = cpu;
	r->vm.decoder = decoder_new(true, NULL);
	exclusive_init(&r->vm.exclusive);
	if (!r->vm.decoder || pages_map(&r->vm.pages, &r->mem.regions[0]) || mmu_init(cpu))
		abort();
	set_segments(cpu, mode);
	if (mode == IR_VM86)
		cpu->rflags |= RFLAGS_VM;
	if (mode == IR_64 || mode == IR_COMPAT)
		set_paging(r);
	ir_set_cpl(r, mode == IR_VM86 ? 3 : 0);
	exclusive_enter(cpu);
	return r;
}

void ir_free(struct integer_rig *r)
{
	exclusive_leave(r->cpu);
	blocks_release(r->cpu);
	mmu_release(r->cpu);
	pages_unmap(&r->vm.pages, &r->mem.regions[0]);
	exclusive_release(&r->vm.exclusive);
	decoder_free(r->vm.decoder);
	bus_release(&r->pio);
	bus_release(&r->mmio);
	mem_release(&r->mem);
	munmap(r->cpu, size_beside());
	free(r);
}

void ir_set_cpl(struct integer_rig *r, unsigned cpl)
{
	r->cpu->cpl = (uint8_t)cpl;
	cpu_update_mode(r->cpu);
	mmu_flush(r->cpu, true);
}

int ir_exec(struct integer_rig *r, const void *bytes, size_t len)
{
	struct cpu *cpu = r->cpu;
	struct insn insn;

	if (decode(r->vm.decoder, (enum decode_mode)cpu->decode, bytes, len, &insn) != DECODE_OK ||
	    insn.len != len)
		return VECTOR_UD;
	cpu->exception.pending = false;
	cpu->rip = IR_CODE;
	cpu->next_rip = (cpu->rip + insn.len) & cpu->rip_mask;
	if (_setjmp(cpu->unwind))
		return cpu->exception.vector;
	interp_handler(cpu, &insn)(cpu, &insn);
	cpu->rip = cpu->next_rip;
	return IR_FINE;
}

int ir_repeat(struct integer_rig *r, const void *bytes, size_t len, unsigned *calls)
{
	unsigned n = 0;
	int vector;

	do {
		vector = ir_exec(r, bytes, len);
		n++;
	} while (vector == IR_FINE && r->cpu->rip == IR_CODE);
	if (calls)
		*calls = n;
	return vector;
}

uint8_t *ir_ram(struct integer_rig *r, uint64_t gpa)
{
	return (uint8_t *)mem_ptr_rw(&r->mem, 0, IR_RAM) + gpa;
}

uint64_t ir_get(struct integer_rig *r, uint64_t gpa, unsigned size)
{
	return load_le(ir_ram(r, gpa), size);
}

void ir_put(struct integer_rig *r, uint64_t gpa, unsigned size, uint64_t value)
{
	store_le(ir_ram(r, gpa), size, value);
}

void ir_map(struct integer_rig *r, uint64_t linear, uint64_t entry)
{
	ir_put(r, PT + linear / 4096 * 8, 8, entry);
	mmu_flush(r->cpu, true);
}

static void code_written(void *opaque, uint64_t gpa)
{
	blocks_written(opaque, gpa);
}

void ir_translate(struct integer_rig *r, size_t size)
{
	uint8_t *room = ((struct beside *)r->cpu)->room + mmu_room();

	if (blocks_init(r->cpu, size, room, NULL))
		abort();
	r->cpu->step = translated_step;
	r->vm.pages.stale = code_written;
	r->vm.pages.opaque = r->cpu->translator;
	gates_set_base(r->cpu);
}
