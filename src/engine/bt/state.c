/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine-neutral vCPU state, from and to struct cpu.
 *
 * Setting checks the whole state first, then changes everything: a refused state
 * leaves the vCPU as it was. What is refused is what KVM_SET_SREGS refuses, and what
 * this engine does not have: system management mode, MSRs, XSAVE components.
 *
 * The local APIC's page and the TPR (CR8) in it are the machine's, which restores
 * them before it calls here, since setting arms the timer's deadline.
 *
 * An event whose delivery was interrupted (KVM leaves those) is an exception here
 * that the loop delivers first. A software interrupt is not kept: RIP still points at
 * its instruction.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/msr.h"
#include "engine/bt/mmu/mmu.h"
#include "engine/bt/vm.h"

#define RFLAGS_DEFINED                                                                          \
	(RFLAGS_CF | RFLAGS_FIXED | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_TF | \
	 RFLAGS_IF | RFLAGS_DF | RFLAGS_OF | RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM |  \
	 RFLAGS_AC | RFLAGS_VIF | RFLAGS_VIP | RFLAGS_ID)
#define CR0_LOW          UINT32_MAX
#define FCW_INIT         0x37f
#define TSC_TOLERANCE    4000 /* part of the rate that is no difference: 250 ppm, as KVM has it */
#define TSC_SAME_SECONDS 1    /* nearer than this, vCPUs' TSCs are meant to be the same */

/* --- what no processor can be in ------------------------------------------------------------- */

static bool pae_paging(const struct vcpu_state *s)
{
	return s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA);
}

static const char *object_to_modes(const struct cpu *cpu, const struct vcpu_state *s)
{
	bool long_mode = s->cr0 & CR0_PG && s->efer & EFER_LME;
	uint32_t cs = s->seg[SEG_CS].attr;

	if (s->cr0 & ~(uint64_t)CR0_LOW || (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD)) ||
	    (s->cr0 & CR0_PG && !(s->cr0 & CR0_PE)))
		return "CR0";
	if (s->cr4 & ~cpu->msrs->cr4_allowed || (s->cr4 & CR4_PCIDE && !long_mode))
		return "CR4";
	if (s->efer & ~cpu->msrs->efer_allowed || long_mode != !!(s->efer & EFER_LMA) ||
	    (long_mode && !(s->cr4 & CR4_PAE)))
		return "EFER";
	if (long_mode && s->cr3 & ~MASK(cpu->phys_bits))
		return "CR3";
	if (cs & SEG_ATTR_L && (!long_mode || cs & SEG_ATTR_DB))
		return "CS";
	if (s->rflags & ~RFLAGS_DEFINED ||
	    (s->rflags & RFLAGS_VM && (long_mode || !(s->cr0 & CR0_PE))))
		return "RFLAGS";
	if (s->pdptr_valid && !pae_paging(s))
		return "the page-directory pointers";
	return NULL;
}

/* SDM vol. 3C 27.3.1.2 and 27.3.1.3: the bases that have 64 bits. SWAPGS makes an MSR of one. */
static bool bases_canonical(const struct cpu *cpu, const struct vcpu_state *s)
{
	const uint64_t bases[] = {s->seg[SEG_FS].base, s->seg[SEG_GS].base, s->tr.base,
				  s->ldtr.base,        s->gdt.base,         s->idt.base};

	for (unsigned i = 0; i < ARRAY_LEN(bases); i++)
		if (!msr_canonical(bases[i], cpu->msrs->canonical_bits))
			return false;
	return true;
}

static const char *object_to_rest(const struct cpu *cpu, const struct vcpu_state *s)
{
	uint64_t apic = APIC_BASE_BSP | APIC_BASE_ENABLE | (APIC_BASE_ADDR & MASK(cpu->phys_bits));

	if (cpu->msrs->has & BIT(MSR_X2APIC))
		apic |= APIC_BASE_EXTD;
	if (s->apic_base & ~apic ||
	    (s->apic_base & APIC_BASE_EXTD && !(s->apic_base & APIC_BASE_ENABLE)))
		return "IA32_APIC_BASE";
	if (!bases_canonical(cpu, s))
		return "the base of a segment or table";
	if (s->dr6 >> 32 || s->dr7 >> 32)
		return "DR6 or DR7";
	if (!msr_xcr0_valid(cpu, s->xcr0))
		return "XCR0";
	if ((unsigned)s->activity > VCPU_WAIT_SIPI)
		return "the activity";
	if (s->events.triple_fault_pending)
		return "a triple fault";
	if (s->msr_count > VCPU_MSRS_MAX)
		return "the number of MSRs";
	return NULL;
}

/* --- x87 to AVX ------------------------------------------------------------------------------ */

static unsigned area_size(const struct cpu *cpu)
{
	return cpu->msrs->xcr0_allowed & XSTATE_AVX ? FPU_AREA_SIZE : FPU_YMM_HI;
}

/* The image must hold nothing that the vCPU has no place for. */
static int check_xsave(const struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	if (load_le(s->xsave + XSAVE_XCOMP_BV, 8))
		return err_set(e, EINVAL, "a vCPU's XSAVE image is in the compacted format");
	if ((uint32_t)load_le(s->xsave + XSAVE_MXCSR, 4) & ~cpu->fpu.host.mxcsr_mask)
		return err_set(e, EINVAL, "a vCPU's MXCSR has reserved bits set");
	for (unsigned i = area_size(cpu); i < VCPU_XSAVE_SIZE; i++)
		if (s->xsave[i])
			return err_set(e, ENOTSUP,
				       "a vCPU's XSAVE image holds registers that its CPU model "
				       "does not have");
	return 0;
}

/* A component whose bit in XSTATE_BV is clear is in its initial state, whatever its bytes say. */
static void set_xsave(struct cpu *cpu, const struct vcpu_state *s)
{
	uint64_t present = load_le(s->xsave + XSAVE_XSTATE_BV, 8);
	uint8_t *area = cpu->fpu.area;

	memset(area, 0, FPU_AREA_SIZE);
	if (present & XSTATE_X87) {
		memcpy(area, s->xsave, XSAVE_MXCSR);
		memcpy(area + XSAVE_ST, s->xsave + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
	} else {
		store_le(area + XSAVE_FCW, 2, FCW_INIT);
	}
	store_le(area + XSAVE_MXCSR, 4, load_le(s->xsave + XSAVE_MXCSR, 4));
	store_le(area + XSAVE_MXCSR_MASK, 4, cpu->fpu.host.mxcsr_mask);
	if (present & XSTATE_SSE)
		memcpy(area + XSAVE_XMM, s->xsave + XSAVE_XMM, 256);
	if (present & XSTATE_AVX && area_size(cpu) == FPU_AREA_SIZE)
		memcpy(area + FPU_YMM_HI, s->xsave + FPU_YMM_HI, FPU_AREA_SIZE - FPU_YMM_HI);
	cpu->fpu.fcs = 0;
	cpu->fpu.fds = 0;
	fpu_normalise(&cpu->fpu);
}

static void get_xsave(const struct cpu *cpu, struct vcpu_state *s)
{
	memcpy(s->xsave, cpu->fpu.area, area_size(cpu));
	memset(s->xsave + XSAVE_LEGACY_SIZE, 0, XSAVE_HEADER_SIZE);
	store_le(s->xsave + XSAVE_XSTATE_BV, 8, fpu_in_use(&cpu->fpu) & cpu->msrs->xcr0_allowed);
}

/* --- MSRs ------------------------------------------------------------------------------------ */

static void get_msrs(struct cpu *cpu, struct vcpu_state *s)
{
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);

	for (unsigned i = 0; i < count; i++) {
		uint64_t value;

		if (msr_get(cpu, list[i], &value))
			s->msrs[s->msr_count++] = (struct vcpu_msr){.index = list[i],
								    .value = value};
	}
}

/* An MSR that this vCPU does not have may hold its power-on value, nothing else. */
static int check_foreign(struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	uint64_t unused;

	for (unsigned i = 0; i < s->msr_count; i++) {
		const struct vcpu_msr *m = &s->msrs[i];

		if (m->value != vcpu_msr_reset_value(m->index) && !msr_get(cpu, m->index, &unused))
			return err_set(e, ENOTSUP,
				       "the vCPU's MSR 0x%x holds 0x%llx, but the software engine "
				       "does not have it",
				       m->index, (unsigned long long)m->value);
	}
	return 0;
}

/* What the state does not hold gets its power-on value. Changes cpu->msrs also where it fails. */
static int set_msrs(struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	unsigned count;
	const uint32_t *list = vcpu_msr_list(&count);

	for (unsigned i = 0; i < count; i++) {
		uint64_t value;

		if (!msr_get(cpu, list[i], &value))
			continue;
		if (!vcpu_state_get_msr(s, list[i], &value))
			value = vcpu_msr_reset_value(list[i]);
		if (!msr_set(cpu, list[i], value))
			return err_set(e, EINVAL, "a vCPU's MSR 0x%x cannot hold 0x%llx", list[i],
				       (unsigned long long)value);
	}
	cpu->msrs->clock_epoch = 0; /* the clock's page is written before the vCPU runs */
	return 0;
}

/* --- time ------------------------------------------------------------------------------------ */

static int check_tsc_rate(const struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	uint32_t khz = cpu->vm->tsc_khz;
	uint32_t apart = s->tsc_khz > khz ? s->tsc_khz - khz : khz - s->tsc_khz;

	if (!s->tsc_khz || apart <= khz / TSC_TOLERANCE)
		return 0;
	return err_set(
		e, ENOTSUP,
		"the guest's time stamp counter runs at %u kHz, this host's at %u kHz, and the "
		"software engine does not scale it: resume it on a host with the same rate",
		s->tsc_khz, khz);
}

/*
 * The vCPUs of a VM are set one after the other, to times that were read one after the other, or
 * all to 0; their counters are meant to be the same, but for what the guest wrote to TSC_ADJUST.
 * So one that comes near to what another has already gets the other's offset. The other may be
 * running (a vCPU is started by setting its state) and changing it: then either value is as good.
 */
static void set_tsc(struct cpu *cpu, const struct vcpu_state *s)
{
	uint64_t near = (uint64_t)cpu->vm->tsc_khz * 1000 * TSC_SAME_SECONDS;
	uint64_t adjust = cpu->msrs->tsc_adjust;
	uint64_t base = s->tsc - __builtin_ia32_rdtsc() - adjust;

	pthread_mutex_lock(&cpu->vm->exclusive.lock);
	for (unsigned i = 0; i < ENGINE_VCPUS_MAX; i++) {
		const struct cpu *other = cpu->vm->cpu[i];
		uint64_t theirs;

		if (!other || other == cpu)
			continue;
		theirs = cpu_counted(&other->tsc_offset) - cpu_counted(&other->msrs->tsc_adjust);
		if (theirs - base + near <= 2 * near) {
			base = theirs;
			break;
		}
	}
	pthread_mutex_unlock(&cpu->vm->exclusive.lock);
	cpu_publish(&cpu->tsc_offset, base + adjust);
}

static void arm_deadline(struct cpu *cpu)
{
	uint64_t deadline = cpu->msrs->tsc_deadline;

	if (cpu->msrs->has & BIT(MSR_TSC_DEADLINE))
		msr_write(cpu, MSR_IA32_TSC_DEADLINE, deadline);
}

/* --- events ---------------------------------------------------------------------------------- */

static int check_events(const struct vcpu_state *s, struct err *e)
{
	const struct vcpu_events *v = &s->events;

	if (v->smm || v->smi_pending || v->smm_inside_nmi || v->init_latched)
		return err_set(e, ENOTSUP,
			       "a vCPU is in system management mode, which the software engine "
			       "does not have");
	return 0;
}

static void get_events(const struct cpu *cpu, struct vcpu_events *v)
{
	const struct cpu_exception *x = &cpu->exception;

	v->shadow_sti = cpu->shadow_sti;
	v->shadow_mov_ss = cpu->shadow_mov_ss;
	v->nmi_pending = cpu->nmi_pending || atomic_load(&cpu->attention) & ATTENTION_NMI;
	v->nmi_masked = cpu->nmi_masked;
	if (!x->pending)
		return;
	if (x->interrupt && x->vector == VECTOR_NMI) {
		v->nmi_injected = true;
	} else if (x->interrupt) {
		v->interrupt_injected = true;
		v->interrupt_vector = x->vector;
	} else {
		v->exception_pending = true;
		v->exception_vector = x->vector;
		v->exception_has_error = x->has_error;
		v->exception_error = x->error;
		v->exception_payload = x->payload;
		/* Without bits to set, DR6 is not to be touched. */
		v->exception_has_payload = x->vector == VECTOR_PF ||
					   (x->vector == VECTOR_DB && x->payload);
	}
}

static struct cpu_exception exception_of(const struct vcpu_state *s)
{
	const struct vcpu_events *v = &s->events;
	/* Breakpoints and overflows by instruction: RIP still points at it. */
	bool soft = v->exception_injected &&
		    (v->exception_vector == VECTOR_BP || v->exception_vector == VECTOR_OF);
	struct cpu_exception x = {.pending = true};

	if ((v->exception_pending || v->exception_injected) && !soft) {
		x.vector = v->exception_vector;
		x.has_error = v->exception_has_error;
		x.error = v->exception_error;
		if (v->exception_has_payload)
			x.payload = v->exception_payload;
		else if (x.vector == VECTOR_PF)
			x.payload = s->cr2;
	} else if (v->nmi_injected) {
		x.vector = VECTOR_NMI;
		x.interrupt = true;
	} else if (v->interrupt_injected && !v->interrupt_soft) {
		x.vector = v->interrupt_vector;
		x.interrupt = true;
	} else {
		x.pending = false;
	}
	return x;
}

static void set_events(struct cpu *cpu, const struct vcpu_state *s)
{
	const uint32_t own = ATTENTION_SHADOW | ATTENTION_HALT | ATTENTION_NMI;
	uint32_t bits = 0;

	cpu->exception = exception_of(s);
	cpu->delivering.active = false;
	cpu->shadow_sti = s->events.shadow_sti;
	cpu->shadow_mov_ss = s->events.shadow_mov_ss;
	cpu->shadow_held = false;
	cpu->nmi_pending = s->events.nmi_pending;
	cpu->nmi_masked = s->events.nmi_masked;
	cpu->halted = s->activity == VCPU_HALTED;
	cpu->unhalted = false;
	cpu->activity = s->activity == VCPU_HALTED ? VCPU_RUNNING : s->activity;
	cpu->debug_hits = 0;
	cpu->repeat_at = 0;
	if (cpu->shadow_sti || cpu->shadow_mov_ss)
		bits |= ATTENTION_SHADOW;
	if (s->activity != VCPU_RUNNING)
		bits |= ATTENTION_HALT;
	if (cpu->nmi_pending)
		bits |= ATTENTION_NMI;
	atomic_fetch_and(&cpu->attention, ~own);
	cpu_attention(cpu, bits);
}

/* --- registers ------------------------------------------------------------------------------- */

static void set_registers(struct cpu *cpu, const struct vcpu_state *s)
{
	memcpy(cpu->gpr, s->gpr, sizeof(cpu->gpr));
	cpu->rip = s->rip;
	cpu->next_rip = s->rip;
	cpu->rflags = s->rflags | RFLAGS_FIXED;
	memcpy(cpu->seg, s->seg, sizeof(cpu->seg));
	cpu->ldtr = s->ldtr;
	cpu->tr = s->tr;
	cpu->gdt = s->gdt;
	cpu->idt = s->idt;
	cpu->cr0 = s->cr0 | CR0_ET;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->efer = s->efer;
	cpu->apic_base = s->apic_base;
	cpu->xcr0 = s->xcr0;
	memcpy(cpu->dr, s->dr, sizeof(cpu->dr));
	cpu->dr6 = s->dr6 | DR6_RESET;
	cpu_set_dr7(cpu, s->dr7 | DR7_RESET);
	if (!(s->cr0 & CR0_PE))
		cpu->cpl = 0;
	else if (s->rflags & RFLAGS_VM)
		cpu->cpl = 3;
	else
		cpu->cpl = s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
}

static void get_registers(const struct cpu *cpu, struct vcpu_state *s)
{
	uint32_t *ss = &s->seg[SEG_SS].attr;

	memcpy(s->gpr, cpu->gpr, sizeof(s->gpr));
	s->rip = cpu->rip;
	s->rflags = cpu->rflags | (cpu_repeating(cpu) ? RFLAGS_RF : 0);
	memcpy(s->seg, cpu->seg, sizeof(s->seg));
	/* Where the CPL is kept. */
	*ss = (*ss & ~(3u << SEG_ATTR_DPL_SHIFT)) | (uint32_t)cpu->cpl << SEG_ATTR_DPL_SHIFT;
	/* A segment loaded in legacy mode may have it, where it says nothing; KVM refuses it. */
	if (!cpu_long_active(cpu))
		s->seg[SEG_CS].attr &= ~SEG_ATTR_L;
	s->ldtr = cpu->ldtr;
	s->tr = cpu->tr;
	s->gdt = cpu->gdt;
	s->idt = cpu->idt;
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->efer = cpu->efer;
	s->apic_base = cpu->apic_base;
	s->xcr0 = cpu->xcr0;
	memcpy(s->dr, cpu->dr, sizeof(s->dr));
	s->dr6 = cpu->dr6;
	s->dr7 = cpu->dr7;
}

void cpu_get_state(struct cpu *cpu, struct vcpu_state *s)
{
	const struct engine_env *env = cpu->vm->env;

	memset(s, 0, offsetof(struct vcpu_state, lapic));
	get_registers(cpu, s);
	s->cr8 = env->lapic->get_cr8(env->opaque, cpu->id);
	s->pdptr_valid = pae_paging(s);
	if (s->pdptr_valid)
		memcpy(s->pdptr, cpu->pdptr, sizeof(s->pdptr));
	s->tsc = __builtin_ia32_rdtsc() + cpu->tsc_offset;
	s->tsc_khz = cpu->vm->tsc_khz;
	get_msrs(cpu, s);
	get_events(cpu, &s->events);
	s->activity = cpu->halted && !cpu->unhalted ? VCPU_HALTED : cpu->activity;
	get_xsave(cpu, s);
}

static int check(struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	const char *what = object_to_modes(cpu, s);
	int rc;

	if (!what)
		what = object_to_rest(cpu, s);
	if (what)
		return err_set(e, EINVAL, "a vCPU's state cannot be: %s", what);
	if ((rc = check_xsave(cpu, s, e)) || (rc = check_events(s, e)) ||
	    (rc = check_tsc_rate(cpu, s, e)))
		return rc;
	return check_foreign(cpu, s, e);
}

int cpu_set_state(struct cpu *cpu, const struct vcpu_state *s, struct err *e)
{
	struct cpu_msrs before = *cpu->msrs;
	uint64_t pdptr[4];
	int rc = check(cpu, s, e);

	if (rc)
		return rc;
	memcpy(pdptr, s->pdptr, sizeof(pdptr));
	if (pae_paging(s) && !s->pdptr_valid && !mmu_load_pdptr(cpu, s->cr3, pdptr))
		return err_set(e, EINVAL, "a vCPU's CR3 points to no page-directory pointers");
	rc = set_msrs(cpu, s, e);
	if (rc) {
		*cpu->msrs = before;
		return rc;
	}
	memcpy(cpu->pdptr, pdptr, sizeof(pdptr));
	set_registers(cpu, s);
	set_xsave(cpu, s);
	set_tsc(cpu, s);
	set_events(cpu, s);
	arm_deadline(cpu);
	cpu_update_mode(cpu);
	cpu_update_trace(cpu);
	mmu_flush(cpu, true);
	return 0;
}
