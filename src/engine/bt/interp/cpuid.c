/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID: the vCPU's table, and the few bits in it that follow the guest's registers.
 *
 * Source: Intel SDM vol. 2A "CPUID"; AMD APM vol. 3 "CPUID".
 */
#include "base/bits.h"
#include "engine/bt/interp/system_int.h"

#define LEAF_FEATURES  1u
#define LEAF_STRUCT    7u
#define LEAF_TOPOLOGY  0xbu
#define LEAF_XSAVE     0xdu
#define EDX_APIC       BIT(9)
#define ECX_OSXSAVE    BIT(27)
#define ECX_OSPKE      BIT(4)
#define EAX_COMPACTED  (BIT(1) | BIT(3)) /* XSAVEC, XSAVES */
#define COMPONENTS_MAX 63

/* Bytes of an XSAVE area with these components. */
static uint32_t area_size(const struct cpu *cpu, uint64_t components, bool compacted)
{
	uint32_t size = XSAVE_MIN_SIZE;

	for (unsigned n = 2; n < COMPONENTS_MAX; n++) {
		const struct cpuid_entry *c;

		if (!(components & BIT(n)))
			continue;
		c = cpuid_find(&cpu->cpuid, LEAF_XSAVE, n);
		if (!c)
			continue;
		if (!compacted)
			size = MAX(size, c->ebx + c->eax);
		else if (c->ecx & BIT(1))
			size = (uint32_t)align_up(size, 64) + c->eax;
		else
			size += c->eax;
	}
	return size;
}

static void follow_registers(const struct cpu *cpu, struct cpuid_entry *e)
{
	switch (e->leaf) {
	case LEAF_FEATURES:
		e->ecx &= ~(uint32_t)ECX_OSXSAVE;
		if (cpu->cr4 & CR4_OSXSAVE)
			e->ecx |= ECX_OSXSAVE;
		if (!(cpu->apic_base & APIC_BASE_ENABLE))
			e->edx &= ~(uint32_t)EDX_APIC;
		break;
	case LEAF_STRUCT:
		if (e->subleaf)
			break;
		e->ecx &= ~(uint32_t)ECX_OSPKE;
		if (cpu->cr4 & CR4_PKE)
			e->ecx |= ECX_OSPKE;
		break;
	case LEAF_XSAVE:
		if (e->subleaf == 0)
			e->ebx = area_size(cpu, cpu->xcr0, false);
		if (e->subleaf == 1 && e->eax & EAX_COMPACTED)
			e->ebx = area_size(cpu, cpu->xcr0 | cpu->msrs->xss, true);
		break;
	default:
		break;
	}
}

/* The entry for a leaf that the table does not have: zeroes on AMD; on Intel, beyond the range that
 * leaf 0 or 0x80000000 tells, the highest basic leaf. */
static const struct cpuid_entry *beyond(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_entry *basic = cpuid_find(&cpu->cpuid, 0, 0);
	const struct cpuid_entry *first = cpuid_find(&cpu->cpuid, leaf & 0xffff0000, 0);

	if (cpu->amd || !basic || (first && leaf <= first->eax))
		return NULL;
	return cpuid_find(&cpu->cpuid, basic->eax, subleaf);
}

static struct cpuid_entry entry_of(const struct cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	const struct cpuid_entry *e = cpuid_find(&cpu->cpuid, leaf, subleaf);
	struct cpuid_entry out = {.leaf = leaf, .subleaf = subleaf};

	if (!e)
		e = beyond(cpu, leaf, subleaf);
	if (e) {
		out = *e;
		follow_registers(cpu, &out);
	} else if (leaf == LEAF_TOPOLOGY) {
		/* A level that is not there still tells its number and the APIC id. */
		e = cpuid_find(&cpu->cpuid, LEAF_TOPOLOGY, 0);
		out.ecx = subleaf & 0xff;
		out.edx = e ? e->edx : 0;
	}
	return out;
}

void system_cpuid(struct cpu *cpu, const struct insn *insn)
{
	struct cpuid_entry e = entry_of(cpu, (uint32_t)cpu->gpr[GPR_RAX],
					(uint32_t)cpu->gpr[GPR_RCX]);

	(void)insn;
	cpu->gpr[GPR_RAX] = e.eax;
	cpu->gpr[GPR_RBX] = e.ebx;
	cpu->gpr[GPR_RCX] = e.ecx;
	cpu->gpr[GPR_RDX] = e.edx;
}
