/* SPDX-License-Identifier: Apache-2.0 */
#include "system_rig.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/segment.h"

#define TABLES  MIB(1)
#define TSC_KHZ 2000000

static struct rig_lapic *lapic_of(void *opaque, unsigned vcpu)
{
	return &((struct rig *)opaque)->lapic[vcpu];
}

static uint32_t lapic_read(void *opaque, unsigned vcpu, unsigned offset)
{
	(void)lapic_of(opaque, vcpu);
	return offset;
}

static void lapic_write(void *opaque, unsigned vcpu, unsigned offset, uint32_t value)
{
	lapic_of(opaque, vcpu)->offset = offset;
	lapic_of(opaque, vcpu)->value = value;
}

static bool x2apic_read(void *opaque, unsigned vcpu, unsigned offset, uint64_t *value)
{
	lapic_of(opaque, vcpu)->offset = offset;
	*value = 0x1234567890;
	return !lapic_of(opaque, vcpu)->refuses;
}

static bool x2apic_write(void *opaque, unsigned vcpu, unsigned offset, uint64_t value)
{
	lapic_of(opaque, vcpu)->offset = offset;
	lapic_of(opaque, vcpu)->value = value;
	return !lapic_of(opaque, vcpu)->refuses;
}

static bool set_base(void *opaque, unsigned vcpu, uint64_t value)
{
	if (lapic_of(opaque, vcpu)->refuses)
		return false;
	lapic_of(opaque, vcpu)->base = value;
	return true;
}

static uint8_t get_cr8(void *opaque, unsigned vcpu)
{
	return lapic_of(opaque, vcpu)->cr8;
}

static void set_cr8(void *opaque, unsigned vcpu, uint8_t cr8)
{
	lapic_of(opaque, vcpu)->cr8 = cr8;
}

static void set_deadline(void *opaque, unsigned vcpu, uint64_t ns)
{
	lapic_of(opaque, vcpu)->deadline = ns;
	lapic_of(opaque, vcpu)->deadlines++;
	lapic_of(opaque, vcpu)->armed = ns != 0;
}

static bool deadline_armed(void *opaque, unsigned vcpu)
{
	return lapic_of(opaque, vcpu)->armed;
}

static const struct engine_lapic_ops lapic_ops = {
	.read = lapic_read,
	.write = lapic_write,
	.x2apic_read = x2apic_read,
	.x2apic_write = x2apic_write,
	.set_base = set_base,
	.get_cr8 = get_cr8,
	.set_cr8 = set_cr8,
	.set_deadline = set_deadline,
	.deadline_armed = deadline_armed,
};

/* What must go well for the test to mean anything. */
static void need(bool good)
{
	if (!good)
		abort();
}

static void init_cpu(struct rig *r, unsigned id)
{
	struct cpu *cpu = &r->cpu[id];
	struct cpuid_topology topology = {.apic_id = id, .cpus = RIG_VCPUS};
	struct cpuid_table supported;
	struct vcpu_state state;

	r->vm.cpu[id] = cpu;
	cpu->vm = &r->vm;
	cpu->id = id;
	cpu->amd = r->vm.amd;
	need(!features_supported(&supported, NULL));
	need(!cpuid_compose(&cpu->cpuid, "host", &supported, &topology, NULL));
	features_apply(cpu);
	need(!msr_init(cpu) && !fpu_init(&cpu->fpu, NULL) && !mmu_init(cpu));
	vcpu_state_reset(&state, id);
	need(!cpu_set_state(cpu, &state, NULL));
}

/* No vCPU of a rig sleeps. */
static void wake(void *opaque, unsigned vcpu)
{
	(void)opaque;
	(void)vcpu;
}

void rig_init_vendor(struct rig *r, bool amd)
{
	memset(r, 0, sizeof(*r));
	need(!mem_init(&r->mem, 0, NULL) && !mem_add_ram(&r->mem, 0, RIG_RAM, NULL));
	bus_init(&r->pio, "pio", 0x10000);
	bus_init(&r->mmio, "mmio", BIT(52));
	clock_init_manual(&r->clock);
	r->env = (struct engine_env){
		.mem = &r->mem,
		.pio = &r->pio,
		.mmio = &r->mmio,
		.clock = &r->clock,
		.opaque = r,
		.wake = wake,
		.lapic = &lapic_ops,
	};
	r->vm.env = &r->env;
	r->vm.amd = amd;
	r->vm.tsc_khz = TSC_KHZ;
	kvmclock_init(&r->vm.kvmclock);
	exclusive_init(&r->vm.exclusive);
	need(!pages_map(&r->vm.pages, &r->mem.regions[0]));
	for (unsigned i = 0; i < RIG_VCPUS; i++)
		init_cpu(r, i);
}

void system_rig_init(struct rig *r)
{
	rig_init_vendor(r, features_amd());
}

void system_rig_release(struct rig *r)
{
	for (unsigned i = 0; i < RIG_VCPUS; i++) {
		mmu_release(&r->cpu[i]);
		fpu_release(&r->cpu[i].fpu);
		msr_release(&r->cpu[i]);
	}
	pages_unmap(&r->vm.pages, &r->mem.regions[0]);
	kvmclock_release(&r->vm.kvmclock);
	exclusive_release(&r->vm.exclusive);
	clock_release(&r->clock);
	bus_release(&r->pio);
	bus_release(&r->mmio);
	mem_release(&r->mem);
}

void rig_long_mode(struct cpu *cpu)
{
	uint8_t *ram = mem_ptr_rw(cpu->vm->env->mem, 0, RIG_RAM);

	store_le(ram + TABLES, 8, (TABLES + 0x1000) | PTE_P | PTE_RW | PTE_US);
	store_le(ram + TABLES + 0x1000, 8, (TABLES + 0x2000) | PTE_P | PTE_RW | PTE_US);
	for (unsigned i = 0; i < RIG_RAM / MIB(2); i++)
		store_le(ram + TABLES + 0x2000 + 8 * i, 8,
			 i * MIB(2) | PTE_P | PTE_RW | PTE_US | PTE_PS);
	cpu->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_WP;
	cpu->cr3 = TABLES;
	cpu->cr4 = CR4_PAE;
	cpu->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
	cpu->seg[SEG_CS] = segment_flat_code64(0x10);
	cpu->seg[SEG_SS] = segment_flat_data(0x18);
	cpu->seg[SEG_DS] = segment_flat_data(0x18);
	cpu->seg[SEG_ES] = segment_flat_data(0x18);
	cpu->rip = 0x2000;
	cpu->cpl = 0;
	cpu_update_mode(cpu);
	mmu_flush(cpu, true);
}

void rig_ring3(struct cpu *cpu)
{
	cpu->cpl = 3;
	cpu->seg[SEG_CS].attr |= 3u << SEG_ATTR_DPL_SHIFT;
	cpu->seg[SEG_CS].selector |= 3;
	cpu->seg[SEG_SS].attr |= 3u << SEG_ATTR_DPL_SHIFT;
	cpu->seg[SEG_SS].selector |= 3;
	cpu_update_mode(cpu);
}

unsigned rig_run(struct cpu *cpu, const struct insn *insn)
{
	interp_fn fn = cpu->features[insn->feature] ? interp_system(insn) : NULL;

	cpu->exception.pending = false;
	if (!fn)
		return VECTOR_UD;
	if (_setjmp(cpu->unwind))
		return cpu->exception.pending ? cpu->exception.vector : RIG_NO_FAULT;
	cpu->next_rip = cpu->rip + insn->len;
	fn(cpu, insn);
	cpu->rip = cpu->next_rip;
	return RIG_NO_FAULT;
}

unsigned rig_op(struct cpu *cpu, unsigned op)
{
	return rig_run(cpu, &(struct insn){.op = (uint16_t)op, .len = 2, .op_size = 4});
}

static struct insn_operand special(unsigned op, unsigned n)
{
	return (struct insn_operand){
		.kind = op == OP_MOV_CR ? OPERAND_CR : OPERAND_DR, .reg = (uint8_t)n, .size = 8};
}

static const struct insn_operand rax = {.kind = OPERAND_GPR, .reg = GPR_RAX, .size = 8};

unsigned rig_mov_to(struct cpu *cpu, unsigned op, unsigned n, uint64_t value)
{
	cpu->gpr[GPR_RAX] = value;
	return rig_run(cpu, &(struct insn){
				    .op = (uint16_t)op,
				    .len = 3,
				    .op_size = 8,
				    .operands = 2,
				    .operand = {special(op, n), rax},
			    });
}

unsigned rig_mov_from(struct cpu *cpu, unsigned op, unsigned n, uint64_t *value)
{
	unsigned vector = rig_run(cpu, &(struct insn){
					       .op = (uint16_t)op,
					       .len = 3,
					       .op_size = 8,
					       .operands = 2,
					       .operand = {rax, special(op, n)},
				       });

	*value = cpu->gpr[GPR_RAX];
	return vector;
}

unsigned rig_wrmsr(struct cpu *cpu, uint32_t index, uint64_t value)
{
	cpu->gpr[GPR_RCX] = index;
	cpu->gpr[GPR_RAX] = (uint32_t)value;
	cpu->gpr[GPR_RDX] = value >> 32;
	return rig_op(cpu, OP_WRMSR);
}

unsigned rig_rdmsr(struct cpu *cpu, uint32_t index, uint64_t *value)
{
	unsigned vector;

	cpu->gpr[GPR_RCX] = index;
	vector = rig_op(cpu, OP_RDMSR);
	*value = (uint32_t)cpu->gpr[GPR_RAX] | cpu->gpr[GPR_RDX] << 32;
	return vector;
}
