/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine-neutral vCPU state, from and to KVM.
 *
 * The order matters. Reading: the run state first, because KVM may act on a
 * pending INIT or SIPI when asked for it, which changes registers. Setting:
 * control registers and the APIC base before the APIC's page (its format depends
 * on the mode) and before MSRs that they permit; events after the registers that
 * decide whether they may be; the APIC timer's deadline after the APIC.
 */
#include "engine/kvm/kvm_int.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "core/x86/regs.h"

#define XSAVE_SOFTWARE 464 /* SDM vol. 1, 10.5.1: bytes 464 to 511 of the legacy region */

_Static_assert(sizeof(struct kvm_xsave) == VCPU_XSAVE_SIZE, "KVM's XSAVE area");
_Static_assert(sizeof(struct kvm_lapic_state) == VCPU_LAPIC_SIZE, "KVM's APIC page");

static struct segment segment_from(const struct kvm_segment *k)
{
	return (struct segment){
		.selector = k->selector,
		.base = k->base,
		.limit = k->limit,
		.attr = (k->type & SEG_ATTR_TYPE) | (k->s ? SEG_ATTR_S : 0) |
			((uint32_t)(k->dpl & 3) << SEG_ATTR_DPL_SHIFT) |
			(k->present ? SEG_ATTR_P : 0) | (k->avl ? SEG_ATTR_AVL : 0) |
			(k->l ? SEG_ATTR_L : 0) | (k->db ? SEG_ATTR_DB : 0) |
			(k->g ? SEG_ATTR_G : 0) | (k->unusable ? SEG_ATTR_UNUSABLE : 0),
	};
}

static struct kvm_segment segment_to(const struct segment *s)
{
	return (struct kvm_segment){
		.selector = s->selector,
		.base = s->base,
		.limit = s->limit,
		.type = s->attr & SEG_ATTR_TYPE,
		.s = !!(s->attr & SEG_ATTR_S),
		.dpl = (s->attr >> SEG_ATTR_DPL_SHIFT) & 3,
		.present = !!(s->attr & SEG_ATTR_P),
		.avl = !!(s->attr & SEG_ATTR_AVL),
		.l = !!(s->attr & SEG_ATTR_L),
		.db = !!(s->attr & SEG_ATTR_DB),
		.g = !!(s->attr & SEG_ATTR_G),
		.unusable = !!(s->attr & SEG_ATTR_UNUSABLE),
	};
}

static void regs_from(struct vcpu_state *s, const struct kvm_regs *r)
{
	const uint64_t gpr[GPR_COUNT] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp,
					 r->rsi, r->rdi, r->r8,  r->r9,  r->r10, r->r11,
					 r->r12, r->r13, r->r14, r->r15};

	memcpy(s->gpr, gpr, sizeof(gpr));
	s->rip = r->rip;
	s->rflags = r->rflags;
}

static struct kvm_regs regs_to(const struct vcpu_state *s)
{
	const uint64_t *g = s->gpr;

	return (struct kvm_regs){
		.rax = g[GPR_RAX],
		.rbx = g[GPR_RBX],
		.rcx = g[GPR_RCX],
		.rdx = g[GPR_RDX],
		.rsi = g[GPR_RSI],
		.rdi = g[GPR_RDI],
		.rsp = g[GPR_RSP],
		.rbp = g[GPR_RBP],
		.r8 = g[8],
		.r9 = g[9],
		.r10 = g[10],
		.r11 = g[11],
		.r12 = g[12],
		.r13 = g[13],
		.r14 = g[14],
		.r15 = g[15],
		.rip = s->rip,
		.rflags = s->rflags,
	};
}

/* kvm_sregs and kvm_sregs2 begin alike but end differently: the common part by field. */
#define SREGS_FROM(s, k)                                                       \
	do {                                                                   \
		(s)->seg[SEG_ES] = segment_from(&(k)->es);                     \
		(s)->seg[SEG_CS] = segment_from(&(k)->cs);                     \
		(s)->seg[SEG_SS] = segment_from(&(k)->ss);                     \
		(s)->seg[SEG_DS] = segment_from(&(k)->ds);                     \
		(s)->seg[SEG_FS] = segment_from(&(k)->fs);                     \
		(s)->seg[SEG_GS] = segment_from(&(k)->gs);                     \
		(s)->ldtr = segment_from(&(k)->ldt);                           \
		(s)->tr = segment_from(&(k)->tr);                              \
		(s)->gdt = (struct descriptor_table){.base = (k)->gdt.base,    \
						     .limit = (k)->gdt.limit}; \
		(s)->idt = (struct descriptor_table){.base = (k)->idt.base,    \
						     .limit = (k)->idt.limit}; \
		(s)->cr0 = (k)->cr0;                                           \
		(s)->cr2 = (k)->cr2;                                           \
		(s)->cr3 = (k)->cr3;                                           \
		(s)->cr4 = (k)->cr4;                                           \
		(s)->cr8 = (k)->cr8;                                           \
		(s)->efer = (k)->efer;                                         \
		(s)->apic_base = (k)->apic_base;                               \
	} while (0)

#define SREGS_TO(k, s)                                                                          \
	do {                                                                                    \
		(k)->es = segment_to(&(s)->seg[SEG_ES]);                                        \
		(k)->cs = segment_to(&(s)->seg[SEG_CS]);                                        \
		(k)->ss = segment_to(&(s)->seg[SEG_SS]);                                        \
		(k)->ds = segment_to(&(s)->seg[SEG_DS]);                                        \
		(k)->fs = segment_to(&(s)->seg[SEG_FS]);                                        \
		(k)->gs = segment_to(&(s)->seg[SEG_GS]);                                        \
		(k)->ldt = segment_to(&(s)->ldtr);                                              \
		(k)->tr = segment_to(&(s)->tr);                                                 \
		(k)->gdt = (struct kvm_dtable){.base = (s)->gdt.base, .limit = (s)->gdt.limit}; \
		(k)->idt = (struct kvm_dtable){.base = (s)->idt.base, .limit = (s)->idt.limit}; \
		(k)->cr0 = (s)->cr0;                                                            \
		(k)->cr2 = (s)->cr2;                                                            \
		(k)->cr3 = (s)->cr3;                                                            \
		(k)->cr4 = (s)->cr4;                                                            \
		(k)->cr8 = (s)->cr8;                                                            \
		(k)->efer = (s)->efer;                                                          \
		(k)->apic_base = (s)->apic_base;                                                \
	} while (0)

static int get_sregs(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct kvm_sregs2 two = {0};
	struct kvm_sregs one = {0};

	if (!(v->vm->has & KVM_HAS_SREGS2)) {
		if (ioctl(v->fd, KVM_GET_SREGS, &one) < 0)
			return kvm_refused(e, "to read system registers");
		SREGS_FROM(s, &one);
		return 0;
	}
	if (ioctl(v->fd, KVM_GET_SREGS2, &two) < 0)
		return kvm_refused(e, "to read system registers");
	SREGS_FROM(s, &two);
	s->pdptr_valid = two.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;
	if (s->pdptr_valid)
		memcpy(s->pdptr, two.pdptrs, sizeof(s->pdptr));
	return 0;
}

static int set_sregs(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	struct kvm_sregs2 two = {0};
	struct kvm_sregs one = {0};
	int rc;

	/* Without valid PDPTRs, KVM_SET_SREGS loads them from memory, KVM_SET_SREGS2 does not. */
	if ((v->vm->has & KVM_HAS_SREGS2) && s->pdptr_valid) {
		SREGS_TO(&two, s);
		two.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		memcpy(two.pdptrs, s->pdptr, sizeof(two.pdptrs));
		rc = ioctl(v->fd, KVM_SET_SREGS2, &two);
	} else {
		SREGS_TO(&one, s);
		rc = ioctl(v->fd, KVM_SET_SREGS, &one);
	}
	return rc < 0 ? kvm_refused(e, "the system registers of a vCPU") : 0;
}

static int get_debug(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct kvm_debugregs d = {0};

	if (ioctl(v->fd, KVM_GET_DEBUGREGS, &d) < 0)
		return kvm_refused(e, "to read debug registers");
	memcpy(s->dr, d.db, sizeof(s->dr));
	s->dr6 = d.dr6;
	s->dr7 = d.dr7;
	return 0;
}

static int set_debug(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	struct kvm_debugregs d = {.dr6 = s->dr6, .dr7 = s->dr7};

	memcpy(d.db, s->dr, sizeof(s->dr));
	return ioctl(v->fd, KVM_SET_DEBUGREGS, &d) < 0 ? kvm_refused(e, "the debug registers") : 0;
}

static int get_fpu(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct kvm_xcrs xcrs = {0};

	if (ioctl(v->fd, KVM_GET_XSAVE, s->xsave) < 0)
		return kvm_refused(e, "to read the FPU's registers");
	/* The bytes that the format leaves to software: KVM tells the host's components there. */
	memset(s->xsave + XSAVE_SOFTWARE, 0, XSAVE_LEGACY_SIZE - XSAVE_SOFTWARE);
	if (ioctl(v->fd, KVM_GET_XCRS, &xcrs) < 0)
		return kvm_refused(e, "to read XCR0");
	s->xcr0 = 0;
	for (unsigned i = 0; i < xcrs.nr_xcrs; i++)
		if (xcrs.xcrs[i].xcr == 0)
			s->xcr0 = xcrs.xcrs[i].value;
	return 0;
}

static int set_fpu(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	struct kvm_xcrs xcrs = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = s->xcr0}}};

	if (ioctl(v->fd, KVM_SET_XCRS, &xcrs) < 0)
		return kvm_refused(e, "the value of XCR0");
	return ioctl(v->fd, KVM_SET_XSAVE, s->xsave) < 0 ? kvm_refused(e, "the FPU's registers")
							 : 0;
}

static int get_events(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct vcpu_events *to = &s->events;
	struct kvm_vcpu_events k = {0};

	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &k) < 0)
		return kvm_refused(e, "to read pending events");
	to->exception_pending = k.exception.pending;
	to->exception_injected = k.exception.injected;
	to->exception_vector = k.exception.nr;
	to->exception_has_error = k.exception.has_error_code;
	to->exception_error = k.exception.error_code;
	to->exception_has_payload = k.exception_has_payload;
	to->exception_payload = k.exception_payload;
	to->interrupt_injected = k.interrupt.injected;
	to->interrupt_soft = k.interrupt.soft;
	to->interrupt_vector = k.interrupt.nr;
	to->shadow_sti = k.interrupt.shadow & KVM_X86_SHADOW_INT_STI;
	to->shadow_mov_ss = k.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS;
	to->nmi_injected = k.nmi.injected;
	to->nmi_pending = k.nmi.pending;
	to->nmi_masked = k.nmi.masked;
	to->smi_pending = k.smi.pending;
	to->smm = k.smi.smm;
	to->smm_inside_nmi = k.smi.smm_inside_nmi;
	to->init_latched = k.smi.latched_init;
	to->sipi_vector = k.sipi_vector;
	to->triple_fault_pending = k.triple_fault.pending;
	return 0;
}

static int set_events(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	const struct vcpu_events *from = &s->events;
	uint64_t has = v->vm->has;
	bool smi = from->smm || from->smi_pending || from->init_latched;
	struct kvm_vcpu_events k = {
		.exception.pending = from->exception_pending,
		.exception.injected = from->exception_injected,
		.exception.nr = from->exception_vector,
		.exception.has_error_code = from->exception_has_error,
		.exception.error_code = from->exception_error,
		.exception_has_payload = from->exception_has_payload,
		.exception_payload = from->exception_payload,
		.interrupt.injected = from->interrupt_injected,
		.interrupt.soft = from->interrupt_soft,
		.interrupt.nr = from->interrupt_vector,
		.interrupt.shadow = (from->shadow_sti ? KVM_X86_SHADOW_INT_STI : 0) |
				    (from->shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0),
		.nmi.injected = from->nmi_injected,
		.nmi.pending = from->nmi_pending,
		.nmi.masked = from->nmi_masked,
		.smi.pending = from->smi_pending,
		.smi.smm = from->smm,
		.smi.smm_inside_nmi = from->smm_inside_nmi,
		.smi.latched_init = from->init_latched,
		.sipi_vector = from->sipi_vector,
		.triple_fault.pending = from->triple_fault_pending,
		.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW |
			 KVM_VCPUEVENT_VALID_SMM,
	};

	if (has & KVM_HAS_PAYLOAD)
		k.flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	else
		k.exception.injected |= from->exception_pending;
	if (has & KVM_HAS_TRIPLE_FAULT)
		k.flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (from->sipi_vector)
		k.flags |= KVM_VCPUEVENT_VALID_SIPI_VECTOR;
	if (ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k) == 0)
		return 0;
	/* A KVM built without system management mode refuses its flag, even with all zeroes. */
	if (errno == EINVAL && !smi) {
		k.flags &= ~(uint32_t)KVM_VCPUEVENT_VALID_SMM;
		if (ioctl(v->fd, KVM_SET_VCPU_EVENTS, &k) == 0)
			return 0;
	}
	return kvm_refused(e, "the pending events of a vCPU");
}

static int get_activity(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct kvm_mp_state mp;

	if (ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0)
		return kvm_refused(e, "to read a vCPU's run state");
	switch (mp.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
		s->activity = VCPU_WAIT_INIT;
		break;
	case KVM_MP_STATE_INIT_RECEIVED:
		s->activity = VCPU_WAIT_SIPI;
		break;
	case KVM_MP_STATE_HALTED:
		s->activity = VCPU_HALTED;
		break;
	default:
		s->activity = VCPU_RUNNING;
		break;
	}
	return 0;
}

static int set_activity(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	static const uint32_t states[] = {
		[VCPU_RUNNING] = KVM_MP_STATE_RUNNABLE,
		[VCPU_HALTED] = KVM_MP_STATE_HALTED,
		[VCPU_WAIT_INIT] = KVM_MP_STATE_UNINITIALIZED,
		[VCPU_WAIT_SIPI] = KVM_MP_STATE_INIT_RECEIVED,
	};
	struct kvm_mp_state mp;

	if ((unsigned)s->activity >= ARRAY_LEN(states))
		return err_set(e, EINVAL, "a vCPU's state has an unknown activity %u",
			       (unsigned)s->activity);
	mp.mp_state = states[s->activity];
	return ioctl(v->fd, KVM_SET_MP_STATE, &mp) < 0 ? kvm_refused(e, "a vCPU's run state") : 0;
}

static int set_tsc_rate(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	if (!s->tsc_khz || (khz > 0 && (uint32_t)khz == s->tsc_khz))
		return 0;
	/* KVM takes a rate near the host's where it cannot scale. */
	if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)s->tsc_khz) < 0)
		return err_set(e, ENOTSUP,
			       "the guest's time stamp counter runs at %u kHz, which this host, at "
			       "%d kHz, cannot give: resume it on a host with TSC scaling, or with "
			       "the same clock rate",
			       s->tsc_khz, khz);
	return 0;
}

int kvm_get_state(struct engine_vcpu *v, struct vcpu_state *s, struct err *e)
{
	struct kvm_regs regs;
	int pending, rc;

	memset(s, 0, sizeof(*s));
	rc = get_activity(v, s, e);
	if (rc)
		return rc;
	if (ioctl(v->fd, KVM_GET_REGS, &regs) < 0)
		return kvm_refused(e, "to read registers");
	regs_from(s, &regs);
	if ((rc = get_events(v, s, e)) || (rc = get_sregs(v, s, e)) || (rc = get_debug(v, s, e)) ||
	    (rc = get_fpu(v, s, e)) || (rc = kvm_msr_get(v, s, e)))
		return rc;
	if (ioctl(v->fd, KVM_GET_LAPIC, s->lapic) < 0)
		return kvm_refused(e, "to read the local APIC");
	rc = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);
	s->tsc_khz = rc > 0 ? (uint32_t)rc : 0;
	pending = kvm_extint_pending(v, s);
	if (pending >= 0) {
		s->events.interrupt_injected = true;
		s->events.interrupt_vector = (uint8_t)pending;
	}
	return 0;
}

int kvm_set_state(struct engine_vcpu *v, const struct vcpu_state *s, struct err *e)
{
	struct kvm_regs regs = regs_to(s);
	int rc;

	v->ready_stale = true;
	v->extint_vector = -1;
	if ((rc = set_tsc_rate(v, s, e)) || (rc = set_sregs(v, s, e)))
		return rc;
	if (ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return kvm_refused(e, "the registers of a vCPU");
	if ((rc = set_fpu(v, s, e)) || (rc = kvm_msr_set(v, s, false, e)) ||
	    (rc = set_activity(v, s, e)))
		return rc;
	if (ioctl(v->fd, KVM_SET_LAPIC, s->lapic) < 0)
		return kvm_refused(e, "the local APIC of a vCPU");
	if ((rc = kvm_msr_set(v, s, true, e)) || (rc = set_debug(v, s, e)))
		return rc;
	return set_events(v, s, e);
}
