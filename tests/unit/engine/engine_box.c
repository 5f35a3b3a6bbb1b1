/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine_box.h"

#include <string.h>

#include "core/x86/regs.h"
#include "core/x86/segment.h"
#include "engine/kvm/kvm.h"

static void ok(int rc, const struct err *e)
{
	if (rc)
		fail_msg("%s (%d)", e->text, rc);
}

/* --- buses ----------------------------------------------------------------------------------- */

static uint64_t pio_read(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static void pio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct box *b = dev;

	if (offset == BOX_TELL && size == 4) {
		assert_true(b->tells < BOX_TELLS);
		b->tell[b->tells++] = (uint32_t)value;
	} else if (offset == BOX_STOP) {
		b->stops++;
		b->engine->kick(b->vcpus[0]);
	} else if (b->wrote) {
		b->wrote(b, offset, value);
	}
}

static uint64_t mmio_read(void *dev, uint64_t offset, unsigned size)
{
	struct box *b = dev;

	(void)size;
	return b->mmio_read ? b->mmio_read(b, offset) : 0;
}

static void mmio_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	(void)dev;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct bus_ops pio_ops = {"ports", 4, pio_read, pio_write};
static const struct bus_ops mmio_ops = {"memory", 8, mmio_read, mmio_write};

/* --- local APICs for an engine without ------------------------------------------------------- */

static void on_intr(void *opaque, unsigned id, bool level)
{
	struct box *b = opaque;

	if (b->wired && b->vcpus[id])
		b->engine->intr(b->vcpus[id], level);
}

static void on_nmi(void *opaque, unsigned id)
{
	struct box *b = opaque;

	b->engine->nmi(b->vcpus[id]);
}

static void on_init(void *opaque, unsigned id)
{
	(void)opaque;
	(void)id;
}

static void on_sipi(void *opaque, unsigned id, uint8_t vector)
{
	(void)opaque;
	(void)id;
	(void)vector;
}

static uint8_t on_intack(void *opaque)
{
	(void)opaque;
	return 0;
}

static void on_eoi(void *opaque, uint8_t vector)
{
	(void)opaque;
	(void)vector;
}

static uint8_t intack(void *opaque, unsigned vcpu)
{
	struct box *b = opaque;

	b->acks++;
	if (b->wired)
		return lapics_ack(&b->lapics, vcpu);
	b->engine->intr(b->vcpus[vcpu], false);
	return b->ack_vector;
}

static uint32_t lapic_read(void *opaque, unsigned vcpu, unsigned offset)
{
	return lapics_read(&((struct box *)opaque)->lapics, vcpu, offset);
}

static void lapic_write(void *opaque, unsigned vcpu, unsigned offset, uint32_t value)
{
	lapics_write(&((struct box *)opaque)->lapics, vcpu, offset, value);
}

static bool x2apic_read(void *opaque, unsigned vcpu, unsigned offset, uint64_t *value)
{
	return lapics_x2apic_read(&((struct box *)opaque)->lapics, vcpu, offset, value);
}

static bool x2apic_write(void *opaque, unsigned vcpu, unsigned offset, uint64_t value)
{
	return lapics_x2apic_write(&((struct box *)opaque)->lapics, vcpu, offset, value);
}

static bool set_base(void *opaque, unsigned vcpu, uint64_t value)
{
	return lapics_set_base(&((struct box *)opaque)->lapics, vcpu, value);
}

static uint8_t get_cr8(void *opaque, unsigned vcpu)
{
	return lapics_cr8(&((struct box *)opaque)->lapics, vcpu);
}

static void set_cr8(void *opaque, unsigned vcpu, uint8_t cr8)
{
	lapics_set_cr8(&((struct box *)opaque)->lapics, vcpu, cr8);
}

static void set_deadline(void *opaque, unsigned vcpu, uint64_t ns)
{
	lapics_set_deadline(&((struct box *)opaque)->lapics, vcpu, ns);
}

static bool deadline_armed(void *opaque, unsigned vcpu)
{
	return lapics_deadline_armed(&((struct box *)opaque)->lapics, vcpu);
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

/* --- CPUID ----------------------------------------------------------------------------------- */

/* Leaves whose registers are bits of features in all engines' tables. */
static bool is_features(uint32_t leaf)
{
	return leaf == 1 || leaf == 6 || leaf == 7 || leaf == 0xd || leaf == 0x40000001 ||
	       leaf == 0x80000001 || leaf == 0x80000007 || leaf == 0x80000021;
}

static void intersect(struct cpuid_table *t, const struct cpuid_table *with)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < t->count; i++) {
		struct cpuid_entry e = t->entries[i];
		const struct cpuid_entry *o = cpuid_find(with, e.leaf, e.subleaf);

		if (!o)
			continue;
		if (e.leaf == 0x80000008) {
			e.eax = MIN(e.eax & 0xff, o->eax & 0xff) |
				MIN(e.eax & 0xff00, o->eax & 0xff00);
			e.ebx &= o->ebx;
		} else if (e.leaf == 0xd && e.subleaf == 0) {
			e.eax &= o->eax;
			e.ecx = MIN(e.ecx, o->ecx);
		} else if (e.leaf == 0xd && e.subleaf == 1) {
			e.eax &= o->eax;
		} else if (is_features(e.leaf) && !(e.leaf == 0xd)) {
			e.ecx &= o->ecx;
			e.edx &= o->edx;
			if (e.leaf != 1) {
				e.eax = e.leaf == 7 && !e.subleaf ? MIN(e.eax, o->eax)
								  : e.eax & o->eax;
				e.ebx &= o->ebx;
			}
		}
		t->entries[kept++] = e;
	}
	t->count = kept;
}

void box_cpuid(struct cpuid_table *out, const struct engine_ops *const *engines, unsigned count)
{
	const struct cpuid_topology topology = {
		.apic_id = 0, .cpus = 1, .paravirt = CPUID_PARAVIRT_NONE};
	struct cpuid_table common = {.count = 0};
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < count; i++) {
		struct cpuid_table t;
		struct box b;

		box_init(&b, engines[i], NULL, 0);
		ok(b.engine->cpuid_supported(b.vm, &t, &e), &e);
		box_release(&b);
		if (i)
			intersect(&common, &t);
		else
			common = t;
	}
	ok(cpuid_compose(out, "host", &common, &topology, &e), &e);
}

/* --- life ------------------------------------------------------------------------------------ */

static void wire_lapics(struct box *b, const struct cpuid_table *cpuid, unsigned cpus)
{
	const struct lapic_wires wires = {
		.intr = on_intr,
		.nmi = on_nmi,
		.init = on_init,
		.sipi = on_sipi,
		.intack = on_intack,
		.eoi = on_eoi,
		.opaque = b,
	};
	const struct cpuid_entry *basic = cpuid ? cpuid_find(cpuid, 1, 0) : NULL;

	lapics_init(&b->lapics, MAX(cpus, 1u), &b->clock, &wires);
	if (basic)
		lapics_offer(&b->lapics, basic->ecx & BIT(21), basic->ecx & BIT(24));
}

void box_init(struct box *b, const struct engine_ops *engine, const struct cpuid_table *cpuid,
	      unsigned cpus)
{
	struct err e = ERR_INIT;

	memset(b, 0, sizeof(*b));
	b->engine = engine;
	b->cpus = cpus;
	b->wired = true;
	ok(mem_init(&b->mem, 0, &e), &e);
	ok(mem_add_ram(&b->mem, 0, BOX_RAM, &e), &e);
	bus_init(&b->pio, "pio", 0x10000);
	bus_init(&b->mmio, "mmio", BIT(52));
	ok(bus_add(&b->pio, 0, 0x10000, &pio_ops, b, NULL, &e), &e);
	ok(bus_add(&b->mmio, BOX_MMIO, GUEST_PAGE_SIZE, &mmio_ops, b, NULL, &e), &e);
	clock_init_manual(&b->clock);
	wire_lapics(b, cpuid, cpus);
	b->env = (struct engine_env){
		.mem = &b->mem,
		.pio = &b->pio,
		.mmio = &b->mmio,
		.clock = &b->clock,
		.opaque = b,
		.intack = intack,
		.eoi = on_eoi,
		.lapic = &lapic_ops,
	};
	ok(engine->vm_create(&b->vm, &b->env, &e), &e);
	ok(engine->map(b->vm, &b->mem.regions[0], &e), &e);
	for (unsigned i = 0; i < cpus; i++) {
		struct engine_vcpu_config config = {.id = i, .cpuid = cpuid};

		ok(engine->vcpu_create(b->vm, &config, &b->vcpus[i], &e), &e);
	}
}

void box_release(struct box *b)
{
	for (unsigned i = 0; i < b->cpus; i++)
		b->engine->vcpu_destroy(b->vcpus[i]);
	b->engine->vm_destroy(b->vm);
	lapics_release(&b->lapics);
	bus_release(&b->pio);
	bus_release(&b->mmio);
	clock_release(&b->clock);
	mem_release(&b->mem);
}

void box_get(struct box *b, unsigned n, struct vcpu_state *s)
{
	struct err e = ERR_INIT;

	memset(s, 0, sizeof(*s));
	ok(b->engine->get_state(b->vcpus[n], s, &e), &e);
	if (!b->engine->msi)
		lapics_get(&b->lapics, n, s->lapic);
}

void box_set(struct box *b, unsigned n, const struct vcpu_state *s)
{
	struct err e = ERR_INIT;

	if (!b->engine->msi)
		lapics_set(&b->lapics, n, s->apic_base, s->lapic);
	ok(b->engine->set_state(b->vcpus[n], s, &e), &e);
	if (!b->engine->msi)
		lapics_announce(&b->lapics, n);
}

void box_run(struct box *b, unsigned n, enum engine_exit expected)
{
	enum engine_exit why = b->engine->run(b->vcpus[n], &b->detail);
	struct vcpu_state s;

	if (why == expected)
		return;
	box_get(b, n, &s);
	fail_msg("%s: run() returned %d, not %d, at 0x%llx: %s", b->engine->name, why, expected,
		 (unsigned long long)s.rip, b->detail.text);
}

void box_load(struct box *b, const char *code, const char *end)
{
	assert_true(mem_write(&b->mem, GUEST_CODE, code, (uint64_t)(end - code)));
}

/* --- where guests begin ---------------------------------------------------------------------- */

static void enable_lapic(struct vcpu_state *s)
{
	store_le(s->lapic + 0xf0, 4, 0x1ff);
}

void box_real_mode(struct box *b, struct vcpu_state *s)
{
	(void)b;
	vcpu_state_reset(s, 0);
	s->cr0 = CR0_ET;
	s->seg[SEG_CS] = segment_real(0);
	s->rip = GUEST_CODE;
	s->gpr[GPR_RSP] = 0x8000;
	enable_lapic(s);
}

static void put(struct box *b, uint64_t at, uint64_t value)
{
	assert_true(mem_write(&b->mem, at, &value, sizeof(value)));
}

static struct segment user(struct segment s)
{
	s.attr |= 3u << SEG_ATTR_DPL_SHIFT;
	return s;
}

/* The descriptor tables; the TSS has room for a 32-bit one, and nothing else but stacks. */
static void write_tables(struct box *b, bool wide)
{
	const struct segment s[] = {
		segment_null(),
		segment_flat_code64(BOX_CODE64),
		segment_flat_data(BOX_DATA),
		segment_flat_code32(BOX_CODE32),
		user(segment_flat_code32(BOX_USER32 & ~7u)),
		user(segment_flat_data(BOX_USER_DS & ~7u)),
		user(segment_flat_code64(BOX_USER64 & ~7u)),
		{.selector = BOX_ODD,
		 .attr = SEG_TYPE_DATA_RW | SEG_ATTR_S | SEG_ATTR_P | SEG_ATTR_DB,
		 .limit = 0xfff,
		 .base = 0x20000},
		segment_tss(BOX_TR, BOX_TSS, 0x67),
	};

	for (unsigned i = 0; i < ARRAY_LEN(s); i++)
		put(b, BOX_GDT + 8 * i, i ? segment_to_descriptor(&s[i]) : 0);
	put(b, BOX_GDT + 8 * ARRAY_LEN(s), 0);
	put(b, BOX_TSS + 4, (BOX_STACK - 0x1000) | (wide ? 0 : (uint64_t)BOX_DATA << 32));
}

static void common_mode(struct vcpu_state *s)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		s->seg[i] = segment_flat_data(BOX_DATA);
	s->tr = segment_tss(BOX_TR, BOX_TSS, 0x67);
	s->gdt = (struct descriptor_table){.base = BOX_GDT, .limit = 0x4f};
	s->idt = (struct descriptor_table){.base = BOX_IDT, .limit = 0xfff};
	s->gpr[GPR_RSP] = BOX_STACK;
}

void box_long_mode(struct box *b, struct vcpu_state *s)
{
	box_real_mode(b, s);
	write_tables(b, true);
	put(b, BOX_TABLES, (BOX_TABLES + 0x1000) | PTE_P | PTE_RW | PTE_US);
	put(b, BOX_TABLES + 0x1000, (BOX_TABLES + 0x2000) | PTE_P | PTE_RW | PTE_US);
	put(b, BOX_TABLES + 0x1018, (BOX_TABLES + 0x3000) | PTE_P | PTE_RW | PTE_US);
	for (uint64_t i = 0; i < 512; i++) {
		put(b, BOX_TABLES + 0x2000 + 8 * i, i << 21 | PTE_P | PTE_RW | PTE_US | PTE_PS);
		put(b, BOX_TABLES + 0x3000 + 8 * i,
		    (GIB(3) + (i << 21)) | PTE_P | PTE_RW | PTE_US | PTE_PS);
	}
	common_mode(s);
	s->seg[SEG_CS] = segment_flat_code64(BOX_CODE64);
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG | CR0_MP;
	s->cr3 = BOX_TABLES;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE;
	s->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
}

void box_protected_mode(struct box *b, struct vcpu_state *s)
{
	box_real_mode(b, s);
	write_tables(b, false);
	common_mode(s);
	s->seg[SEG_CS] = segment_flat_code32(BOX_CODE32);
	s->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_MP;
}

#define GATE 0xee00u /* present, DPL 3, interrupt gate of 32 or 64 bits */

static uint64_t gate(uint16_t selector, const char *code, const char *handler)
{
	uint64_t at = GUEST_CODE + (uint64_t)(handler - code);

	return (at & 0xffff) | (uint64_t)selector << 16 | (uint64_t)GATE << 32 | at >> 16 << 48;
}

void box_gate64(struct box *b, unsigned vector, const char *code, const char *handler)
{
	put(b, BOX_IDT + 16 * vector, gate(BOX_CODE64, code, handler));
	put(b, BOX_IDT + 16 * vector + 8, 0);
}

void box_gate32(struct box *b, unsigned vector, const char *code, const char *handler)
{
	put(b, BOX_IDT + 8 * vector, gate(BOX_CODE32, code, handler));
}

void box_vector16(struct box *b, unsigned vector, const char *code, const char *handler)
{
	uint32_t entry = GUEST_CODE + (uint32_t)(handler - code);

	assert_true(mem_write(&b->mem, vector * 4, &entry, sizeof(entry)));
}

bool box_has_kvm(void)
{
	struct engine_offer offer;

	kvm_engine.probe(&offer, true);
	return offer.usable && offer.efficient;
}
