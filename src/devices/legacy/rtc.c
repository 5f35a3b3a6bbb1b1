/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running: the time's bytes do not exist; a read computes them from the wall clock in the form that
 * register B asks for, and a write sets the wall clock. The clock's updates are at full seconds.
 *
 * Standing still (register B's SET, or the divider held in reset): the time's bytes are in
 * s.bytes, as they were or as the guest writes them. When the clock goes on, they become the wall
 * clock if anything was written. The fraction of the second goes on by itself, for the divider
 * chain does; after a reset of the divider the next update is half a second away (MC146818,
 * "Divider control"). If nothing was written, the wall clock was right all the time.
 *
 * The flags of register C are set whether their interrupts are enabled or not, but nobody sees them
 * before it looks. So no timer runs for them: sync() finds out what happened since the last time.
 * Only while an enabled interrupt is not yet pending a timer is set, for the first moment at which
 * it can be.
 *
 * An update takes no time here. UIP is set during the 244 us before it, in which a guest that saw
 * it clear may still read.
 */
#include "devices/legacy/rtc.h"

#include <stddef.h>

#include "base/bits.h"
#include "base/time.h"

#define CRYSTAL_HZ 32768
#define UIP_NS     (244 * NS_PER_US)
#define DAY        86400u
#define NEVER      UINT64_MAX
#define FLAGS      (RTC_C_PF | RTC_C_AF | RTC_C_UF)

/* Wall clock times that fit its 64-bit nanoseconds, and a signed offset: until the year 2262. */
#define SECONDS_MAX ((uint64_t)INT64_MAX / NS_PER_SEC - 1)

struct date {
	uint32_t year, month, day; /* month and day from 1 */
	uint32_t hour, minute, second;
	uint32_t day_of_week; /* 1 is Sunday */
};

static bool is_leap(uint32_t year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static uint32_t days_of_month(uint32_t year, uint32_t month)
{
	static const uint8_t days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

static uint32_t days_of_year(uint32_t year)
{
	return is_leap(year) ? 366 : 365;
}

static struct date seconds_to_date(uint64_t seconds)
{
	struct date d = {.year = 1970, .month = 1};
	uint64_t days = seconds / DAY;

	d.day_of_week = (uint32_t)((days + 4) % 7 + 1); /* 1970 began on a Thursday */
	for (; days >= days_of_year(d.year); d.year++)
		days -= days_of_year(d.year);
	for (; days >= days_of_month(d.year, d.month); d.month++)
		days -= days_of_month(d.year, d.month);
	d.day = (uint32_t)days + 1;
	d.hour = (uint32_t)(seconds % DAY / 3600);
	d.minute = (uint32_t)(seconds / 60 % 60);
	d.second = (uint32_t)(seconds % 60);
	return d;
}

/* A date that a guest wrote need not exist: numbers out of range run over into the next field.
 * Before 1970 and after SECONDS_MAX there is no time. */
static uint64_t date_to_seconds(const struct date *d)
{
	uint32_t month = d->month ? (d->month - 1) % 12 + 1 : 1;
	uint64_t days = d->day ? d->day - 1 : 0;

	if (d->year < 1970)
		return 0;
	for (uint32_t y = 1970; y < d->year; y++)
		days += days_of_year(y);
	for (uint32_t m = 1; m < month; m++)
		days += days_of_month(d->year, m);
	return MIN(days * DAY + d->hour * 3600 + d->minute * 60 + d->second, SECONDS_MAX);
}

static uint8_t encode(const struct rtc_state *s, uint32_t v)
{
	return (uint8_t)(s->bytes[RTC_B] & RTC_B_DM ? v : (v / 10) << 4 | v % 10);
}

static uint32_t decode(const struct rtc_state *s, uint8_t byte)
{
	return s->bytes[RTC_B] & RTC_B_DM ? byte : (byte >> 4) * 10u + (byte & 15u);
}

/* With 12 hours, 12 comes before 1, and bit 7 says afternoon. */
static uint8_t encode_hour(const struct rtc_state *s, uint32_t hour)
{
	if (s->bytes[RTC_B] & RTC_B_24H)
		return encode(s, hour);
	return encode(s, (hour + 11) % 12 + 1) | (hour >= 12 ? 0x80 : 0);
}

static uint32_t decode_hour(const struct rtc_state *s, uint8_t byte)
{
	if (s->bytes[RTC_B] & RTC_B_24H)
		return decode(s, byte);
	return decode(s, byte & 0x7f) % 12 + (byte & 0x80 ? 12 : 0);
}

static void date_to_bytes(struct rtc_state *s, const struct date *d)
{
	s->bytes[RTC_SECOND] = encode(s, d->second);
	s->bytes[RTC_MINUTE] = encode(s, d->minute);
	s->bytes[RTC_HOUR] = encode_hour(s, d->hour);
	s->bytes[RTC_DAY_OF_WEEK] = encode(s, d->day_of_week);
	s->bytes[RTC_DAY] = encode(s, d->day);
	s->bytes[RTC_MONTH] = encode(s, d->month);
	s->bytes[RTC_YEAR] = encode(s, d->year % 100);
	s->bytes[RTC_CENTURY] = encode(s, d->year / 100);
}

static struct date bytes_to_date(const struct rtc_state *s)
{
	return (struct date){
		.second = decode(s, s->bytes[RTC_SECOND]),
		.minute = decode(s, s->bytes[RTC_MINUTE]),
		.hour = decode_hour(s, s->bytes[RTC_HOUR]),
		.day = decode(s, s->bytes[RTC_DAY]),
		.month = decode(s, s->bytes[RTC_MONTH]),
		.year = decode(s, s->bytes[RTC_CENTURY]) * 100 + decode(s, s->bytes[RTC_YEAR]),
	};
}

static bool is_time_byte(unsigned index)
{
	return index == RTC_SECOND || index == RTC_MINUTE || index == RTC_HOUR ||
	       (index >= RTC_DAY_OF_WEEK && index <= RTC_YEAR) || index == RTC_CENTURY;
}

static bool divider_in_reset(const struct rtc_state *s)
{
	return (s->bytes[RTC_A] & RTC_A_DV_RESET) == RTC_A_DV_RESET;
}

static bool stands_still(const struct rtc_state *s)
{
	return (s->bytes[RTC_B] & RTC_B_SET) || divider_in_reset(s);
}

/* Ticks of the crystal between two periodic interrupts, 0 for none (MC146818, table 5). */
static uint64_t periodic_ticks(const struct rtc_state *s)
{
	unsigned rs = s->bytes[RTC_A] & RTC_A_RS;

	if (!rs || divider_in_reset(s))
		return 0;
	return 1u << (rs <= 2 ? rs + 6 : rs - 1);
}

/* One field of the alarm: its value, or -1 for one that matches always; false if it never does. */
static bool alarm_field(uint8_t byte, uint32_t value, uint32_t limit, int *field)
{
	*field = (byte & 0xc0) == 0xc0 ? -1 : (int)value;
	return *field < (int)limit;
}

/* The first second from the given one on that matches the alarm; NEVER if none does. */
static uint64_t alarm_from(const struct rtc_state *s, uint64_t from)
{
	const uint8_t *b = s->bytes;
	uint64_t day = from / DAY;
	int h = (int)(from % DAY / 3600), m = (int)(from / 60 % 60), sec = (int)(from % 60);
	int ah, am, as;

	if (!alarm_field(b[RTC_HOUR_ALARM], decode_hour(s, b[RTC_HOUR_ALARM]), 24, &ah) ||
	    !alarm_field(b[RTC_MINUTE_ALARM], decode(s, b[RTC_MINUTE_ALARM]), 60, &am) ||
	    !alarm_field(b[RTC_SECOND_ALARM], decode(s, b[RTC_SECOND_ALARM]), 60, &as))
		return NEVER;
	/* From the least field up: each is moved on to its match, with a carry where that is past,
	 * and then the lower ones begin anew. */
	if (as >= 0) {
		m += sec > as;
		sec = as;
	}
	if (m >= 60 || (am >= 0 && m != am)) {
		h += m >= 60 || m > am;
		m = am >= 0 ? am : 0;
		sec = as >= 0 ? as : 0;
	}
	if (h >= 24 || (ah >= 0 && h != ah)) {
		day += h >= 24 || h > ah;
		h = ah >= 0 ? ah : 0;
		m = am >= 0 ? am : 0;
		sec = as >= 0 ? as : 0;
	}
	return day * DAY + (uint64_t)(h * 3600 + m * 60 + sec);
}

static bool interrupts(const struct rtc_state *s)
{
	return s->bytes[RTC_B] & s->bytes[RTC_C] & FLAGS; /* their bits are at the same places */
}

static uint64_t crystal_tick(struct rtc *r)
{
	return time_scale(clock_now(r->clock), CRYSTAL_HZ, NS_PER_SEC);
}

/* Sets the flags of what happened since the last call. */
static void sync(struct rtc *r)
{
	struct rtc_state *s = &r->s;
	uint64_t second = clock_wall(r->clock) / NS_PER_SEC;
	uint64_t tick = crystal_tick(r);
	uint64_t period = periodic_ticks(s);

	if (period && tick / period != s->seen_tick / period)
		s->bytes[RTC_C] |= RTC_C_PF;
	s->seen_tick = tick;
	if (stands_still(s))
		return;
	if (second > s->seen_second) {
		s->bytes[RTC_C] |= RTC_C_UF;
		if (alarm_from(s, s->seen_second + 1) <= second)
			s->bytes[RTC_C] |= RTC_C_AF;
	}
	s->seen_second = second; /* also back, where the host's clock was set back */
}

/* Guest time of the first moment at which an enabled interrupt can become pending. */
static uint64_t next_event(struct rtc *r)
{
	const struct rtc_state *s = &r->s;
	uint8_t b = s->bytes[RTC_B];
	uint64_t period = periodic_ticks(s);
	uint64_t now = clock_now(r->clock);
	uint64_t wall = clock_wall(r->clock);
	uint64_t second = NEVER, at = NEVER;

	if ((b & RTC_B_PIE) && period)
		at = time_scale((s->seen_tick / period + 1) * period, NS_PER_SEC, CRYSTAL_HZ) + 1;
	if (stands_still(s))
		return at;
	if (b & RTC_B_AIE)
		second = alarm_from(s, s->seen_second + 1);
	if (b & RTC_B_UIE)
		second = s->seen_second + 1;
	if (second < SECONDS_MAX)
		at = MIN(at, second * NS_PER_SEC > wall ? now + (second * NS_PER_SEC - wall) : now);
	return at;
}

/* Drives the wire, and sets the timer if the wire is to rise by itself. */
static void update(struct rtc *r)
{
	bool pending = interrupts(&r->s);
	uint64_t at = NEVER;

	irq_set(&r->irq, pending);
	if (!pending && (r->s.bytes[RTC_B] & FLAGS))
		at = next_event(r);
	if (at != NEVER)
		clock_timer_set(r->clock, &r->timer, at);
	else if (r->timer_set)
		clock_timer_cancel(r->clock, &r->timer);
	r->timer_set = at != NEVER;
}

static void timer_fired(void *opaque)
{
	struct rtc *r = opaque;

	pthread_mutex_lock(&r->lock);
	if (r->timer_set) {
		r->timer_set = false;
		sync(r);
		update(r);
	}
	pthread_mutex_unlock(&r->lock);
}

/* The time's bytes, if it runs, as they are now. */
static void refresh(struct rtc *r)
{
	struct date d;

	if (stands_still(&r->s))
		return;
	d = seconds_to_date(clock_wall(r->clock) / NS_PER_SEC);
	date_to_bytes(&r->s, &d);
}

/* Makes the time's bytes the wall clock, the second being fraction_ns old. */
static void set_wall(struct rtc *r, uint64_t fraction_ns)
{
	struct date d = bytes_to_date(&r->s);

	r->s.seen_second = date_to_seconds(&d);
	clock_set_wall(r->clock, r->s.seen_second * NS_PER_SEC + fraction_ns);
}

/* The time begins to run again. */
static void go_on(struct rtc *r)
{
	struct rtc_state *s = &r->s;
	uint64_t wall = clock_wall(r->clock);

	if (s->divider_reset)
		set_wall(r, NS_PER_SEC / 2);
	else if (s->time_written)
		set_wall(r, wall % NS_PER_SEC);
	else
		s->seen_second = wall / NS_PER_SEC;
	s->time_written = false;
	s->divider_reset = false;
}

static void write_control(struct rtc *r, unsigned index, uint8_t v)
{
	struct rtc_state *s = &r->s;
	bool stood = stands_still(s);

	refresh(r);
	s->bytes[index] = v;
	if (index == RTC_B && (v & RTC_B_SET))
		s->bytes[RTC_B] &= ~RTC_B_UIE;
	s->divider_reset |= divider_in_reset(s);
	if (stood && !stands_still(s))
		go_on(r);
}

static void write_byte(struct rtc *r, unsigned index, uint8_t v)
{
	struct rtc_state *s = &r->s;

	switch (index) {
	case RTC_A:
		write_control(r, RTC_A, v & ~RTC_A_UIP);
		break;
	case RTC_B:
		write_control(r, RTC_B, v);
		break;
	case RTC_C:
	case RTC_D:
		break;
	default:
		if (is_time_byte(index)) {
			refresh(r);
			s->bytes[index] = v;
			s->time_written = stands_still(s);
			if (!s->time_written && index != RTC_DAY_OF_WEEK)
				set_wall(r, clock_wall(r->clock) % NS_PER_SEC);
		} else {
			s->bytes[index] = v;
		}
		break;
	}
}

static uint8_t read_c(struct rtc *r)
{
	uint8_t v = r->s.bytes[RTC_C] | (interrupts(&r->s) ? RTC_C_IRQF : 0);

	r->s.bytes[RTC_C] = 0;
	update(r);
	return v;
}

static uint8_t read_byte(struct rtc *r, unsigned index)
{
	struct rtc_state *s = &r->s;
	bool uip;

	switch (index) {
	case RTC_A:
		uip = !stands_still(s) && clock_wall(r->clock) % NS_PER_SEC >= NS_PER_SEC - UIP_NS;
		return s->bytes[RTC_A] | (uip ? RTC_A_UIP : 0);
	case RTC_C:
		return read_c(r);
	case RTC_D:
		return RTC_D_VRT;
	default:
		if (is_time_byte(index))
			refresh(r);
		return s->bytes[index];
	}
}

static uint64_t rtc_read(void *dev, uint64_t offset, unsigned size)
{
	struct rtc *r = dev;
	bool pending = interrupts(&r->s);

	(void)size;
	if (offset == 0)
		return 0xff; /* the index cannot be read */
	sync(r);
	if (interrupts(&r->s) != pending)
		update(r); /* before the timer came */
	return read_byte(r, r->s.index);
}

static void rtc_write(void *dev, uint64_t offset, unsigned size, uint64_t v)
{
	struct rtc *r = dev;

	(void)size;
	if (offset == 0) {
		r->s.index = v & 0x7f;
		r->s.nmi_masked = v & 0x80;
		return;
	}
	sync(r);
	write_byte(r, r->s.index, (uint8_t)v);
	update(r);
}

const struct bus_ops rtc_ops = {
	.name = "rtc",
	.width = 1,
	.read = rtc_read,
	.write = rtc_write,
};

static void power_on(struct rtc *r)
{
	struct rtc_state *s = &r->s;

	s->index = RTC_D;
	s->nmi_masked = false;
	s->bytes[RTC_A] = 0x26; /* 32.768 kHz, 1024 Hz */
	s->bytes[RTC_B] = RTC_B_24H;
	s->bytes[RTC_C] = 0;
	s->bytes[RTC_SHUTDOWN] = 0;
	s->time_written = false;
	s->divider_reset = false;
	s->seen_second = clock_wall(r->clock) / NS_PER_SEC;
	s->seen_tick = crystal_tick(r);
}

void rtc_init(struct rtc *r, struct clock *clock, struct irq_line irq8)
{
	*r = (struct rtc){.clock = clock, .irq = irq8};
	pthread_mutex_init(&r->lock, NULL);
	r->timer = (struct clock_timer){.fired = timer_fired, .opaque = r};
	r->s.bytes[RTC_EQUIPMENT] = 0x02;
	power_on(r);
}

void rtc_reset(struct rtc *r)
{
	pthread_mutex_lock(&r->lock);
	power_on(r);
	update(r);
	pthread_mutex_unlock(&r->lock);
}

void rtc_release(struct rtc *r)
{
	clock_timer_cancel(r->clock, &r->timer);
	pthread_mutex_destroy(&r->lock);
}

/* A size as a number of units, at most the largest that fits into count bytes. */
static void store_size(struct rtc *r, unsigned index, unsigned count, uint64_t units)
{
	store_le(&r->s.bytes[index], count, MIN(units, MASK(8 * count)));
}

void rtc_set_memory(struct rtc *r, uint64_t below_4g, uint64_t above_4g)
{
	uint64_t extended = below_4g > MIB(1) ? below_4g - MIB(1) : 0;

	pthread_mutex_lock(&r->lock);
	store_size(r, RTC_BASE_MEMORY, 2, MIN(below_4g, KIB(640)) / KIB(1));
	store_size(r, RTC_EXTENDED_MEMORY, 2, extended / KIB(1));
	store_size(r, RTC_EXTENDED_MEMORY_2, 2, extended / KIB(1));
	store_size(r, RTC_MEMORY_16M, 2, below_4g > MIB(16) ? (below_4g - MIB(16)) / KIB(64) : 0);
	store_size(r, RTC_MEMORY_4G, 3, above_4g / KIB(64));
	pthread_mutex_unlock(&r->lock);
}
