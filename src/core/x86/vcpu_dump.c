/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dump of a vCPU for people: what a crash report prints. Numbers stand beside
 * the names of the bits that are set, so that nobody needs the manual to read it.
 */
#include <stddef.h>

#include "base/bits.h"
#include "core/x86/msr.h"
#include "core/x86/regs.h"
#include "core/x86/vcpu_state.h"

typedef unsigned long long ull; /* what %llx takes */

struct bit_name {
	uint64_t bit;
	const char *name;
};

static const struct bit_name rflags_names[] = {
	{RFLAGS_CF, "CF"}, {RFLAGS_PF, "PF"}, {RFLAGS_AF, "AF"}, {RFLAGS_ZF, "ZF"},
	{RFLAGS_SF, "SF"}, {RFLAGS_TF, "TF"}, {RFLAGS_IF, "IF"}, {RFLAGS_DF, "DF"},
	{RFLAGS_OF, "OF"}, {RFLAGS_NT, "NT"}, {RFLAGS_RF, "RF"}, {RFLAGS_VM, "VM"},
	{RFLAGS_AC, "AC"}, {RFLAGS_ID, "ID"}, {0, NULL},
};

static const struct bit_name cr0_names[] = {
	{CR0_PE, "PE"}, {CR0_MP, "MP"}, {CR0_EM, "EM"}, {CR0_TS, "TS"},
	{CR0_ET, "ET"}, {CR0_NE, "NE"}, {CR0_WP, "WP"}, {CR0_AM, "AM"},
	{CR0_NW, "NW"}, {CR0_CD, "CD"}, {CR0_PG, "PG"}, {0, NULL},
};

static const struct bit_name cr4_names[] = {
	{CR4_VME, "VME"},
	{CR4_PVI, "PVI"},
	{CR4_TSD, "TSD"},
	{CR4_DE, "DE"},
	{CR4_PSE, "PSE"},
	{CR4_PAE, "PAE"},
	{CR4_MCE, "MCE"},
	{CR4_PGE, "PGE"},
	{CR4_PCE, "PCE"},
	{CR4_OSFXSR, "OSFXSR"},
	{CR4_OSXMMEXCPT, "OSXMMEXCPT"},
	{CR4_UMIP, "UMIP"},
	{CR4_LA57, "LA57"},
	{CR4_FSGSBASE, "FSGSBASE"},
	{CR4_PCIDE, "PCIDE"},
	{CR4_OSXSAVE, "OSXSAVE"},
	{CR4_SMEP, "SMEP"},
	{CR4_SMAP, "SMAP"},
	{CR4_PKE, "PKE"},
	{CR4_CET, "CET"},
	{0, NULL},
};

static const struct bit_name efer_names[] = {
	{EFER_SCE, "SCE"}, {EFER_LME, "LME"},   {EFER_LMA, "LMA"},
	{EFER_NXE, "NXE"}, {EFER_SVME, "SVME"}, {0, NULL},
};

static const struct bit_name apic_base_names[] = {
	{APIC_BASE_BSP, "BSP"},
	{APIC_BASE_EXTD, "x2APIC"},
	{APIC_BASE_ENABLE, "enabled"},
	{0, NULL},
};

static const char *const gpr_names[GPR_COUNT] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP",
						 "RSI", "RDI", "R8 ", "R9 ", "R10", "R11",
						 "R12", "R13", "R14", "R15"};
static const char *const seg_names[SEG_COUNT] = {"ES", "CS", "SS", "DS", "FS", "GS"};
static const char *const activity_names[] = {"running", "halted", "waiting for INIT",
					     "waiting for SIPI"};

static void put_bits(struct buf *out, const struct bit_name *names, uint64_t value)
{
	const char *sep = " [";

	for (; names->name; names++) {
		if (value & names->bit) {
			buf_printf(out, "%s%s", sep, names->name);
			sep = " ";
		}
	}
	buf_printf(out, "%s", *sep == ' ' && sep[1] ? "" : "]");
}

static const char *mode_name(const struct vcpu_state *s)
{
	const struct segment *cs = &s->seg[SEG_CS];

	if (!(s->cr0 & CR0_PE))
		return "real mode";
	if (s->rflags & RFLAGS_VM)
		return "virtual-8086 mode";
	if (s->efer & EFER_LMA)
		return cs->attr & SEG_ATTR_L ? "64-bit mode" : "compatibility mode";
	return cs->attr & SEG_ATTR_DB ? "32-bit protected mode" : "16-bit protected mode";
}

static const char *paging_name(const struct vcpu_state *s)
{
	if (!(s->cr0 & CR0_PG))
		return "no paging";
	if (s->efer & EFER_LMA)
		return s->cr4 & CR4_LA57 ? "5-level paging" : "4-level paging";
	return s->cr4 & CR4_PAE ? "PAE paging" : "32-bit paging";
}

static unsigned cpl(const struct vcpu_state *s)
{
	if (!(s->cr0 & CR0_PE))
		return 0;
	if (s->rflags & RFLAGS_VM)
		return 3;
	return s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
}

static void put_general(const struct vcpu_state *s, struct buf *out)
{
	buf_printf(out, "  RIP=%016llx RFLAGS=%08llx", (ull)s->rip, (ull)s->rflags);
	put_bits(out, rflags_names, s->rflags);
	buf_printf(out, "\n");
	for (unsigned i = 0; i < GPR_COUNT; i++)
		buf_printf(out, "%s%s=%016llx%s", i % 4 ? " " : "  ", gpr_names[i], (ull)s->gpr[i],
			   i % 4 == 3 ? "\n" : "");
}

static void put_segment(struct buf *out, const char *name, const struct segment *s)
{
	const char *kind = "data";

	if (!(s->attr & SEG_ATTR_S))
		kind = "system";
	else if (s->attr & 8)
		kind = s->attr & SEG_ATTR_L    ? "code64"
		       : s->attr & SEG_ATTR_DB ? "code32"
					       : "code16";
	if (s->attr & SEG_ATTR_UNUSABLE)
		kind = "unusable";
	buf_printf(out, "  %-4s %04x base=%016llx limit=%08x attr=%05x DPL%u %s\n", name,
		   s->selector, (ull)s->base, s->limit, s->attr, s->attr >> SEG_ATTR_DPL_SHIFT & 3,
		   kind);
}

static void put_segments(const struct vcpu_state *s, struct buf *out)
{
	for (unsigned i = 0; i < SEG_COUNT; i++)
		put_segment(out, seg_names[i], &s->seg[i]);
	put_segment(out, "LDTR", &s->ldtr);
	put_segment(out, "TR", &s->tr);
	buf_printf(out, "  GDTR      base=%016llx limit=%04x\n", (ull)s->gdt.base, s->gdt.limit);
	buf_printf(out, "  IDTR      base=%016llx limit=%04x\n", (ull)s->idt.base, s->idt.limit);
}

static void put_control(const struct vcpu_state *s, struct buf *out)
{
	buf_printf(out, "  CR0=%08llx", (ull)s->cr0);
	put_bits(out, cr0_names, s->cr0);
	buf_printf(out, "\n  CR4=%08llx", (ull)s->cr4);
	put_bits(out, cr4_names, s->cr4);
	buf_printf(out, "\n  EFER=%08llx", (ull)s->efer);
	put_bits(out, efer_names, s->efer);
	buf_printf(out, "\n  CR2=%016llx CR3=%016llx CR8=%llx XCR0=%llx\n", (ull)s->cr2,
		   (ull)s->cr3, (ull)s->cr8, (ull)s->xcr0);
	if (s->pdptr_valid)
		buf_printf(out, "  PDPTR=%016llx %016llx %016llx %016llx\n", (ull)s->pdptr[0],
			   (ull)s->pdptr[1], (ull)s->pdptr[2], (ull)s->pdptr[3]);
	buf_printf(out, "  APIC_BASE=%08llx", (ull)s->apic_base);
	put_bits(out, apic_base_names, s->apic_base);
	buf_printf(out, " TSC=%016llx\n", (ull)s->tsc);
	if (s->dr7 != DR7_RESET || s->dr6 != DR6_RESET)
		buf_printf(out,
			   "  DR0=%016llx DR1=%016llx DR2=%016llx DR3=%016llx DR6=%08llx "
			   "DR7=%08llx\n",
			   (ull)s->dr[0], (ull)s->dr[1], (ull)s->dr[2], (ull)s->dr[3], (ull)s->dr6,
			   (ull)s->dr7);
}

/* The MSRs that say where system calls and per-CPU data are, if they were set. */
static void put_msrs(const struct vcpu_state *s, struct buf *out)
{
	static const struct {
		uint32_t index;
		const char *name;
	} shown[] = {
		{MSR_IA32_STAR, "STAR"},
		{MSR_IA32_LSTAR, "LSTAR"},
		{MSR_IA32_KERNEL_GS_BASE, "KERNEL_GS_BASE"},
		{MSR_IA32_SYSENTER_EIP, "SYSENTER_EIP"},
	};
	const char *sep = "  ";
	uint64_t value;

	for (unsigned i = 0; i < ARRAY_LEN(shown); i++) {
		if (vcpu_state_get_msr(s, shown[i].index, &value) && value) {
			buf_printf(out, "%s%s=%016llx", sep, shown[i].name, (ull)value);
			sep = " ";
		}
	}
	if (sep[1] == '\0')
		buf_printf(out, "\n");
}

static void put_events(const struct vcpu_state *s, struct buf *out)
{
	const struct vcpu_events *v = &s->events;

	if (v->exception_pending || v->exception_injected) {
		buf_printf(out, "  exception %u %s", v->exception_vector,
			   v->exception_injected ? "being delivered" : "pending");
		if (v->exception_has_error)
			buf_printf(out, ", error code %04x", v->exception_error);
		buf_printf(out, "\n");
	}
	if (v->interrupt_injected)
		buf_printf(out, "  %s interrupt 0x%02x being delivered\n",
			   v->interrupt_soft ? "software" : "external", v->interrupt_vector);
	if (v->shadow_sti || v->shadow_mov_ss)
		buf_printf(out, "  interrupts held off for one instruction\n");
	if (v->nmi_injected || v->nmi_pending || v->nmi_masked)
		buf_printf(out, "  NMI%s%s%s\n", v->nmi_injected ? " being delivered" : "",
			   v->nmi_pending ? " pending" : "", v->nmi_masked ? " masked" : "");
	if (v->smm)
		buf_printf(out, "  in system-management mode\n");
	if (v->triple_fault_pending)
		buf_printf(out, "  triple fault\n");
}

void vcpu_state_dump(const struct vcpu_state *s, unsigned id, struct buf *out)
{
	const char *activity = "?";

	if ((unsigned)s->activity < ARRAY_LEN(activity_names))
		activity = activity_names[s->activity];
	buf_printf(out, "vCPU %u: %s, %s, ring %u, %s\n", id, activity, mode_name(s), cpl(s),
		   paging_name(s));
	put_general(s, out);
	put_segments(s, out);
	put_control(s, out);
	put_msrs(s, out);
	put_events(s, out);
}
