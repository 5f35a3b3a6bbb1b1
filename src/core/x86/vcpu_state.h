/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The architectural state of a virtual CPU, in no engine's terms: what a snapshot
 * holds, what boot protocols set, what a crash report prints. A state taken under
 * one engine can be set under the other.
 *
 * Sources: Intel SDM vol. 3A chapters 2, 3, 11 and 13; AMD APM vol. 2.
 */
#ifndef LODGE_CORE_X86_VCPU_STATE_H
#define LODGE_CORE_X86_VCPU_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { /* numbers of the general registers, as in instruction encodings */
       GPR_RAX,
       GPR_RCX,
       GPR_RDX,
       GPR_RBX,
       GPR_RSP,
       GPR_RBP,
       GPR_RSI,
       GPR_RDI,
       GPR_R8,
       GPR_COUNT = 16
};

enum { /* numbers of the segment registers, as in instruction encodings */
       SEG_ES,
       SEG_CS,
       SEG_SS,
       SEG_DS,
       SEG_FS,
       SEG_GS,
       SEG_COUNT
};

/* A segment register with its hidden part; attr holds the descriptor's access rights in the form
 * of VMX (SDM vol. 3C, 25.4.1): type 0-3, S 4, DPL 5-6, P 7, AVL 12, L 13, D/B 14, G 15,
 * unusable 16. limit is in bytes, granularity already applied. */
struct segment {
	uint16_t selector;
	uint16_t zero_after_selector; /* no byte of a state is without a meaning */
	uint32_t attr;
	uint32_t limit;
	uint32_t zero_after_limit;
	uint64_t base;
};

#define SEG_ATTR_TYPE      0x0fu
#define SEG_ATTR_S         (1u << 4)
#define SEG_ATTR_DPL_SHIFT 5
#define SEG_ATTR_P         (1u << 7)
#define SEG_ATTR_AVL       (1u << 12)
#define SEG_ATTR_L         (1u << 13)
#define SEG_ATTR_DB        (1u << 14)
#define SEG_ATTR_G         (1u << 15)
#define SEG_ATTR_UNUSABLE  (1u << 16)

struct descriptor_table {
	uint64_t base;
	uint16_t limit;
	uint16_t zero[3];
};

#define VCPU_MSRS_MAX 192

struct vcpu_msr {
	uint32_t index;
	uint64_t value;
};

/* XSAVE area in the standard (non-compacted) format, SDM vol. 1, 13.4. 4 KiB hold every component
 * that lodge advertises (x87 to AVX-512 and PKRU). */
#define VCPU_XSAVE_SIZE 4096

/* The local APIC's registers as on its 4 KiB page, one 32-bit register every 16 bytes. */
#define VCPU_LAPIC_SIZE 1024

enum vcpu_activity { /* ACPI and SDM vol. 3A, 9.4: what the vCPU is doing */
		     VCPU_RUNNING,
		     VCPU_HALTED,
		     VCPU_WAIT_INIT, /* an application processor before its INIT */
		     VCPU_WAIT_SIPI,
};

/* Events under way, with the meaning of SDM vol. 3A chapter 6. */
struct vcpu_events {
	bool exception_pending;  /* raised, its delivery not begun */
	bool exception_injected; /* its delivery was interrupted, to be begun again */
	uint8_t exception_vector;
	bool exception_has_error;
	uint32_t exception_error;
	bool exception_has_payload; /* CR2 or DR6 not yet written */
	uint64_t exception_payload;
	bool interrupt_injected; /* acknowledged, its delivery to be done again */
	bool interrupt_soft;
	uint8_t interrupt_vector;
	bool shadow_sti;    /* interrupts held off by STI for one instruction */
	bool shadow_mov_ss; /* by MOV SS or POP SS */
	bool nmi_injected;
	bool nmi_pending;
	bool nmi_masked; /* until IRET */
	bool smi_pending;
	bool smm;
	bool smm_inside_nmi;
	bool init_latched;
	uint32_t sipi_vector;
	bool triple_fault_pending;
};

struct vcpu_state {
	uint64_t gpr[GPR_COUNT];
	uint64_t rip;
	uint64_t rflags;

	struct segment seg[SEG_COUNT];
	struct segment ldtr;
	struct segment tr;
	struct descriptor_table gdt;
	struct descriptor_table idt;

	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t efer;
	uint64_t apic_base; /* IA32_APIC_BASE */
	uint64_t pdptr[4];  /* PAE page directory pointers, loaded at MOV CR3; SDM vol. 3A, 4.4.1 */
	bool pdptr_valid;
	uint64_t xcr0;
	uint64_t dr[4];
	uint64_t dr6, dr7;

	uint64_t tsc;     /* IA32_TIME_STAMP_COUNTER */
	uint32_t tsc_khz; /* its rate; 0: unknown */

	struct vcpu_msr msrs[VCPU_MSRS_MAX]; /* those of vcpu_msr_list that the engine has */
	unsigned msr_count;

	struct vcpu_events events;
	enum vcpu_activity activity;

	uint8_t xsave[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
	uint8_t lapic[VCPU_LAPIC_SIZE];
};

/* The MSRs that belong to the state (beside EFER, APIC_BASE and TSC, which have fields, and
 * FS_BASE and GS_BASE, which the segments hold), in the order in which they must be set; count is
 * stored. */
const uint32_t *vcpu_msr_list(unsigned *count);

/* The value of such an MSR at power-on. set_state may skip an MSR that the engine does not have
 * where the state holds this value; any other value is an error, not to be lost silently. */
uint64_t vcpu_msr_reset_value(uint32_t index);

/* Reads or changes an MSR in the state; false if the state does not have it. */
bool vcpu_state_get_msr(const struct vcpu_state *s, uint32_t index, uint64_t *value);
bool vcpu_state_set_msr(struct vcpu_state *s, uint32_t index, uint64_t value);

/* Sets the power-on state of SDM vol. 3A table 9-1 with the whole of vcpu_msr_list; application
 * processors wait for INIT. RDX is to be set to CPUID.1:EAX by whoever knows that. */
void vcpu_state_reset(struct vcpu_state *s, unsigned apic_id);

/* Turns a processor's state into the one after an INIT (SDM vol. 3A table 9-1): what INIT leaves
 * alone stays; the processor runs at the reset vector if APIC_BASE says that it is the bootstrap
 * processor, and waits for a SIPI if not. RDX and the local APIC's page are the caller's. */
void vcpu_state_init(struct vcpu_state *s);

/* ... into the one after the SIPI that it waits for: real mode at vector << 12. */
void vcpu_state_start_up(struct vcpu_state *s, uint8_t vector);

/* Appends a dump of the state for people: registers, segments, control registers, in lines. */
void vcpu_state_dump(const struct vcpu_state *s, unsigned id, struct buf *out);

#endif
