/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local APICs of a machine's processors, for engines that bring none.
 *
 * Source: Intel SDM vol. 3A chapter 11 "Advanced Programmable Interrupt Controller";
 * AMD APM vol. 2 chapter 16. xAPIC and x2APIC mode; six LVT entries (no CMCI); version
 * 0x14. Where the two differ, or leave it open:
 *
 *	- the ID register is read-only;
 *	- the trigger mode of the ICR is obeyed for fixed interrupts, as by AMD's and by
 *	  KVM: a level-triggered IPI ends with an EOI message, one without the level bit is
 *	  none;
 *	- lowest priority goes to the processor with the lowest PPR class, in turn among
 *	  equals, also if its ICR asks for it;
 *	- an illegal vector (0 to 15) in the ICR is an error of the sender and, since the
 *	  message is sent, of its receivers;
 *	- SMIs are ignored: there is no SMM.
 *
 * The timer counts a crystal of LAPIC_TIMER_HZ on the guest's clock, through the divide
 * configuration. CPUID leaf 0x15 is to say the same. A periodic timer of less than
 * LAPIC_PERIOD_MIN interrupts only every so many periods that it takes to be longer: its
 * count is exact, but no guest holds the host's timer thread. One-shot and TSC-deadline
 * timers are exact: the guest pays for each itself.
 *
 * An APIC is named by its id, which is the processor's number. All functions may be
 * called from any thread, with locks of devices, 8259s and I/O APIC held, where they
 * do not say otherwise; the lock here comes after those.
 */
#ifndef LODGE_DEVICES_IRQCHIP_LAPIC_H
#define LODGE_DEVICES_IRQCHIP_LAPIC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"
#include "core/clock.h"
#include "core/irq.h"

#define LAPICS_MAX       64
#define LAPIC_LVTS       6
#define LAPIC_PAGE       1024 /* bytes of the register page that have registers */
#define LAPIC_TIMER_HZ   1000000000u
#define LAPIC_PERIOD_MIN (200 * NS_PER_US)

/* Where the APICs lead. The first four are called with the APICs' lock held, on the thread that
 * caused it, and must not call back; the last two with no lock of the APICs. */
struct lapic_wires {
	/* The interrupt request to the processor; changes only. */
	void (*intr)(void *opaque, unsigned id, bool level);
	void (*nmi)(void *opaque, unsigned id);
	void (*init)(void *opaque, unsigned id);
	void (*sipi)(void *opaque, unsigned id, uint8_t vector);
	/* The 8259s' vector: an ExtINT was taken. In lapics_ack. */
	uint8_t (*intack)(void *opaque);
	/* A level-triggered interrupt was ended: the message to the I/O APIC. In lapics_write and
	 * lapics_x2apic_write. */
	void (*eoi)(void *opaque, uint8_t vector);
	void *opaque;
};

enum lapic_mode { LAPIC_OFF, LAPIC_XAPIC, LAPIC_X2APIC };

/* ISR, TMR or IRR: a bit a vector. */
struct lapic_vectors {
	uint32_t word[8];
};

/* One processor's. */
struct lapic {
	struct lapics *all;
	unsigned id;
	enum lapic_mode mode;
	uint32_t tpr;
	uint32_t ldr;
	uint32_t dfr;
	uint32_t svr;
	uint32_t esr;    /* as the last write of it left it */
	uint32_t errors; /* since then */
	uint64_t icr;    /* destination in the high half, as the mode has it */
	uint32_t lvt[LAPIC_LVTS];
	uint32_t initial; /* count */
	uint32_t divide;  /* configuration */
	struct lapic_vectors isr;
	struct lapic_vectors tmr;
	struct lapic_vectors irr;
	uint64_t expiry;   /* of the timer, guest ns; 0: it does not run */
	bool directed_eoi; /* the version register says that SVR can suppress EOI messages */
	bool extint;       /* an ExtINT message came */
	bool lint[2];      /* levels of the pins */
	bool intr;         /* what wires.intr was told */
	int ended;         /* vector of an EOI message to be sent when the lock is free; -1 */
	struct clock_timer timer;
};

struct lapics {
	pthread_mutex_t lock; /* guards everything below that changes */
	struct clock *clock;
	struct lapic_wires wires;
	bool x2apic;       /* processors have x2APIC mode */
	bool tsc_deadline; /* ... and the TSC-deadline timer */
	unsigned count;
	unsigned turn; /* who got the last lowest-priority interrupt */
	struct lapic apic[LAPICS_MAX];
};

/* Makes count local APICs in their power-on state: xAPIC mode, software-disabled. */
void lapics_init(struct lapics *all, unsigned count, struct clock *clock,
		 const struct lapic_wires *wires);

/* What CPUID tells of them; neither at first. Before processors run. */
void lapics_offer(struct lapics *all, bool x2apic, bool tsc_deadline);

/* No processor runs, no thread runs the clock's timers. */
void lapics_release(struct lapics *all);

/* Power-on state of all; their pins stay as they are driven. */
void lapics_reset(struct lapics *all);

/* What an INIT does to one (SDM 11.4.7.3): power-on state, in the mode that it is in. */
void lapics_restart(struct lapics *all, unsigned id);

/* A message-signalled interrupt; also the I/O APIC's. */
void lapics_msi(struct lapics *all, const struct msi_msg *msg);

/* The level of a local pin: 0 is LINT0, where the 8259s are, 1 is LINT1. */
void lapics_lint(struct lapics *all, unsigned id, unsigned pin, bool level);

/*
 * The processor's own side, as struct engine_lapic_ops (core/engine.h) has it: on the processor's
 * thread, no lock held.
 */
uint32_t lapics_read(struct lapics *all, unsigned id, unsigned offset);
void lapics_write(struct lapics *all, unsigned id, unsigned offset, uint32_t value);
bool lapics_x2apic_read(struct lapics *all, unsigned id, unsigned offset, uint64_t *value);
bool lapics_x2apic_write(struct lapics *all, unsigned id, unsigned offset, uint64_t value);
bool lapics_set_base(struct lapics *all, unsigned id, uint64_t value);
uint8_t lapics_cr8(struct lapics *all, unsigned id);
void lapics_set_cr8(struct lapics *all, unsigned id, uint8_t cr8);
void lapics_set_deadline(struct lapics *all, unsigned id, uint64_t ns);
bool lapics_deadline_armed(struct lapics *all, unsigned id);

/* The processor takes the interrupt that was requested: its vector, which is then in service. With
 * nothing requested (any more), the spurious vector. */
uint8_t lapics_ack(struct lapics *all, unsigned id);

/*
 * State, in the form of struct vcpu_state's lapic and apic_base: the register page as KVM has it,
 * LAPIC_PAGE bytes. Not in it are a TSC deadline, which is an MSR, and errors that ESR does not
 * show yet. Setting takes any bytes: what cannot be becomes what can. The processor does not run.
 */
void lapics_get(struct lapics *all, unsigned id, uint8_t *page);
void lapics_set(struct lapics *all, unsigned id, uint64_t apic_base, const uint8_t *page);

/* Tells wires.intr the level again, for a processor whose state was set. */
void lapics_announce(struct lapics *all, unsigned id);

#endif
