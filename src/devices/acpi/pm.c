/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers are accessed by bytes within an image of the whole block, so that any
 * width and alignment that the bus brings works: status bits are cleared by the
 * ones of each byte written, and SLP_TYP and SLP_EN share a byte.
 *
 * The timer counts guest time. Its status bit says that bit 31 changed (ACPI 6.4,
 * 4.8.3.1.1), which is worked out when somebody looks: "carries" is how many
 * changes were accounted for. Only a guest that enables the interrupt makes a
 * clock timer run, once in ten minutes.
 */
#include "devices/acpi/pm.h"

#include "base/bits.h"
#include "base/checked.h"
#include "base/time.h"

#define PM1_STATUS_BITS                                                                           \
	(ACPI_PM_TMR | ACPI_PM_BM | ACPI_PM_GBL | ACPI_PM_PWRBTN | ACPI_PM_SLPBTN | ACPI_PM_RTC | \
	 ACPI_PM_WAK)
#define PM1_ENABLE_BITS (ACPI_PM_TMR | ACPI_PM_GBL | ACPI_PM_PWRBTN | ACPI_PM_SLPBTN | ACPI_PM_RTC)

#define SCI_EN        (1u << 0)
#define BM_RLD        (1u << 1)
#define SLP_TYP_SHIFT 10
#define SLP_TYP       (7u << SLP_TYP_SHIFT)
#define SLP_EN        (1u << 13)

#define CARRY_SHIFT 31

static uint64_t timer_ticks(struct acpi_pm *pm)
{
	return time_scale(clock_now(pm->clock), ACPI_PM_TIMER_HZ, NS_PER_SEC);
}

/* Guest time of the n-th change of bit 31: the first ns at which the counter has got there. */
static uint64_t carry_time(uint64_t n)
{
	return time_scale(n << CARRY_SHIFT, NS_PER_SEC, ACPI_PM_TIMER_HZ) + 1;
}

static void refresh_timer_status(struct acpi_pm *pm)
{
	uint64_t carries = timer_ticks(pm) >> CARRY_SHIFT;

	if (carries != pm->state.carries)
		pm->state.pm1_status |= ACPI_PM_TMR;
	pm->state.carries = carries;
}

/* Drives SCI and arms or disarms the timer by what the registers say. */
static void update(struct acpi_pm *pm)
{
	struct acpi_pm_state *s = &pm->state;

	if (s->pm1_enable & ACPI_PM_TMR) {
		refresh_timer_status(pm);
		clock_timer_set(pm->clock, &pm->timer, carry_time(s->carries + 1));
	} else {
		clock_timer_cancel(pm->clock, &pm->timer);
	}
	irq_set(&pm->sci, (s->pm1_status & s->pm1_enable) || (s->gpe0_status & s->gpe0_enable));
}

static void timer_fired(void *opaque)
{
	struct acpi_pm *pm = opaque;

	pthread_mutex_lock(&pm->lock);
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

static uint64_t acpi_pm_read(void *dev, uint64_t offset, unsigned size)
{
	struct acpi_pm *pm = dev;
	struct acpi_pm_state *s = &pm->state;
	uint8_t image[ACPI_PM_SIZE] = {0};

	if (offset < ACPI_PM_EVENT + 2)
		refresh_timer_status(pm);
	store_le(image + ACPI_PM_EVENT, 2, s->pm1_status);
	store_le(image + ACPI_PM_EVENT + 2, 2, s->pm1_enable);
	store_le(image + ACPI_PM_CONTROL, 2, s->pm1_control | SCI_EN);
	if (ranges_overlap(offset, size, ACPI_PM_TIMER, ACPI_PM_TIMER_LEN))
		store_le(image + ACPI_PM_TIMER, 4, timer_ticks(pm));
	store_le(image + ACPI_PM_GPE0, 2, s->gpe0_status);
	store_le(image + ACPI_PM_GPE0 + 2, 2, s->gpe0_enable);
	return load_le(image + offset, size);
}

/* SLP_EN is write-only and acts at once; sleep types that the DSDT does not offer do nothing. */
static void write_control(struct acpi_pm *pm, uint16_t value)
{
	pm->state.pm1_control = value & (BM_RLD | SLP_TYP);
	if ((value & SLP_EN) && (value & SLP_TYP) >> SLP_TYP_SHIFT == ACPI_PM_SLP_TYP_S5 &&
	    pm->poweroff)
		pm->poweroff(pm->opaque);
}

static void acpi_pm_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_pm *pm = dev;
	struct acpi_pm_state *s = &pm->state;
	uint8_t image[ACPI_PM_SIZE] = {0}; /* status: ones clear; the others: new values */

	if (offset < ACPI_PM_EVENT + 2)
		refresh_timer_status(pm);
	store_le(image + ACPI_PM_EVENT + 2, 2, s->pm1_enable);
	store_le(image + ACPI_PM_CONTROL, 2, s->pm1_control);
	store_le(image + ACPI_PM_GPE0 + 2, 2, s->gpe0_enable);
	store_le(image + offset, size, value);

	s->pm1_status &= ~load_le(image + ACPI_PM_EVENT, 2);
	s->pm1_enable = load_le(image + ACPI_PM_EVENT + 2, 2) & PM1_ENABLE_BITS;
	s->gpe0_status &= ~load_le(image + ACPI_PM_GPE0, 2);
	s->gpe0_enable = load_le(image + ACPI_PM_GPE0 + 2, 2);
	write_control(pm, load_le(image + ACPI_PM_CONTROL, 2));
	update(pm);
}

const struct bus_ops acpi_pm_ops = {"acpi pm", 4, acpi_pm_read, acpi_pm_write};

void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, struct irq_line sci,
		  void (*poweroff)(void *opaque), void *opaque)
{
	*pm = (struct acpi_pm){
		.clock = clock,
		.timer = {.fired = timer_fired, .opaque = pm},
		.sci = sci,
		.poweroff = poweroff,
		.opaque = opaque,
	};
	pthread_mutex_init(&pm->lock, NULL);
	refresh_timer_status(pm);
	pm->state.pm1_status = 0;
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	pm->state = (struct acpi_pm_state){.carries = timer_ticks(pm) >> CARRY_SHIFT};
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_resume(struct acpi_pm *pm)
{
	pthread_mutex_lock(&pm->lock);
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_release(struct acpi_pm *pm)
{
	clock_timer_cancel(pm->clock, &pm->timer);
	pthread_mutex_destroy(&pm->lock);
}

static void pm1_event(struct acpi_pm *pm, uint16_t event)
{
	pthread_mutex_lock(&pm->lock);
	pm->state.pm1_status |= event;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pm1_event(pm, ACPI_PM_PWRBTN);
}

void acpi_pm_sleep_button(struct acpi_pm *pm)
{
	pm1_event(pm, ACPI_PM_SLPBTN);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned n)
{
	pthread_mutex_lock(&pm->lock);
	pm->state.gpe0_status |= n < 16 ? BIT(n) : 0;
	update(pm);
	pthread_mutex_unlock(&pm->lock);
}
