/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real-time clock and CMOS RAM of a PC: Motorola, "MC146818 Real-Time Clock plus RAM"
 * (1984), reached by an index and a data port (IBM PC/AT Technical Reference, 1984), with the
 * 128 bytes and the century byte of later PCs.
 *
 * It shows the guest's wall clock in UTC; a guest that sets the time sets that clock.
 */
#ifndef LODGE_DEVICES_LEGACY_RTC_H
#define LODGE_DEVICES_LEGACY_RTC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/bus.h"
#include "core/clock.h"
#include "core/irq.h"

#define RTC_PORTS 2 /* index, whose bit 7 masks NMI, and data */
#define RTC_BYTES 128

/* Bytes behind the index. */
enum rtc_byte {
	RTC_SECOND = 0x00,
	RTC_SECOND_ALARM = 0x01,
	RTC_MINUTE = 0x02,
	RTC_MINUTE_ALARM = 0x03,
	RTC_HOUR = 0x04,
	RTC_HOUR_ALARM = 0x05,
	RTC_DAY_OF_WEEK = 0x06, /* 1 is Sunday; follows from the date, writes are ignored */
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
	RTC_SHUTDOWN = 0x0f,  /* what the firmware shall do after a reset */
	RTC_EQUIPMENT = 0x14, /* IBM PC/AT Technical Reference: bit 1 says that there is an FPU */
	RTC_BASE_MEMORY = 0x15,
	RTC_EXTENDED_MEMORY = 0x17,
	RTC_EXTENDED_MEMORY_2 = 0x30,
	RTC_CENTURY = 0x32,
	RTC_MEMORY_16M = 0x34,
	RTC_MEMORY_4G = 0x5b,
};

#define RTC_A_UIP      0x80 /* update in progress: read only */
#define RTC_A_DV       0x70 /* divider; 010 is a 32.768 kHz crystal, 11x holds it in reset */
#define RTC_A_DV_RESET 0x60
#define RTC_A_RS       0x0f /* periodic rate */

#define RTC_B_SET 0x80
#define RTC_B_PIE 0x40
#define RTC_B_AIE 0x20
#define RTC_B_UIE 0x10
#define RTC_B_DM  0x04 /* binary, not BCD */
#define RTC_B_24H 0x02

#define RTC_C_IRQF 0x80
#define RTC_C_PF   0x40
#define RTC_C_AF   0x20
#define RTC_C_UF   0x10

#define RTC_D_VRT 0x80

/* What a snapshot keeps. */
struct rtc_state {
	uint8_t index;
	bool nmi_masked;
	/* The time's bytes are valid only while it stands still, see rtc.c. Register C without
	 * IRQF, as of seen_second and seen_tick. */
	uint8_t bytes[RTC_BYTES];
	bool time_written;    /* while it stood still */
	bool divider_reset;   /* it was in reset while the time stood still */
	uint64_t seen_second; /* UTC: update-ended and alarm flags are known up to here */
	uint64_t seen_tick;   /* of 32768 Hz: the periodic flag is known up to here */
};

struct rtc {
	pthread_mutex_t lock; /* guards all below */
	struct rtc_state s;
	struct irq_line irq;
	struct clock *clock;
	struct clock_timer timer;
	bool timer_set;
};

/* Makes a clock at power-on state. All wires outlive it. */
void rtc_init(struct rtc *r, struct clock *clock, struct irq_line irq8);

/* As a reset and the firmware after it leave the clock: 24 hours, BCD, no interrupts. Time and the
 * battery-backed bytes stay. Any thread that does not hold the lock. */
void rtc_reset(struct rtc *r);

/* No vCPU or timer may come any more. */
void rtc_release(struct rtc *r);

/* Writes the sizes of RAM, in bytes, into the bytes where a PC's firmware keeps them: RAM that
 * starts at 0, and RAM that starts at 4 GiB. Any thread that does not hold the lock. */
void rtc_set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g);

/* RTC_PORTS bytes at 0x70. */
extern const struct bus_ops rtc_ops;

#endif
