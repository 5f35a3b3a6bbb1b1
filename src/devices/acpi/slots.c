/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/acpi/slots.h"

#include <assert.h>

#include "base/bits.h"

/* ACPI 6.3, 6.3.5: status codes of all events, and of an eject request. */
#define STATUS_SUCCESS     0x00
#define STATUS_IN_PROGRESS 0x84

#define ANSWER_SLOT(value)   ((value) >> 16 & 0xff)
#define ANSWER_STATUS(value) ((value)&0xff)

static uint64_t slots_read(void *dev, uint64_t offset, unsigned size)
{
	struct acpi_slots *s = dev;

	if (size != 4)
		return MASK(size * 8);
	switch (offset) {
	case ACPI_SLOTS_ARRIVED:
		return s->state.arrived;
	case ACPI_SLOTS_ASKED:
		return s->state.asked;
	case ACPI_SLOTS_EJECT:
		return s->state.leaving;
	case ACPI_SLOTS_ANSWER:
		return 0;
	}
	return MASK(size * 8);
}

static void forget(struct acpi_slots *s, unsigned slot)
{
	s->state.asked &= ~(uint32_t)BIT(slot);
	s->state.leaving &= ~(uint32_t)BIT(slot);
}

static void eject(struct acpi_slots *s, uint32_t slots)
{
	for (unsigned slot = 0; slot < ACPI_SLOTS_MAX; slot++) {
		if (!(slots & s->state.leaving & BIT(slot)))
			continue;
		forget(s, slot);
		s->state.arrived &= ~(uint32_t)BIT(slot);
		s->user.ejected(s->user.opaque, slot);
	}
}

static void answer(struct acpi_slots *s, unsigned slot, unsigned status)
{
	if (status == STATUS_SUCCESS || status == STATUS_IN_PROGRESS)
		return;
	if (slot >= ACPI_SLOTS_MAX || !(s->state.leaving & BIT(slot)))
		return;
	forget(s, slot);
	s->user.refused(s->user.opaque, slot);
}

static void slots_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct acpi_slots *s = dev;

	if (size != 4)
		return;
	switch (offset) {
	case ACPI_SLOTS_ARRIVED:
		s->state.arrived &= ~value;
		break;
	case ACPI_SLOTS_ASKED:
		s->state.asked &= ~value;
		break;
	case ACPI_SLOTS_EJECT:
		eject(s, value);
		break;
	case ACPI_SLOTS_ANSWER:
		answer(s, ANSWER_SLOT(value), ANSWER_STATUS(value));
		break;
	}
}

const struct bus_ops acpi_slots_ops = {"acpi slots", 4, slots_read, slots_write};

void acpi_slots_init(struct acpi_slots *s, const struct acpi_slots_user *user)
{
	*s = (struct acpi_slots){.user = *user};
	pthread_mutex_init(&s->lock, NULL);
}

void acpi_slots_release(struct acpi_slots *s)
{
	pthread_mutex_destroy(&s->lock);
}

void acpi_slots_arrive(struct acpi_slots *s, unsigned slot)
{
	assert(slot < ACPI_SLOTS_MAX);
	pthread_mutex_lock(&s->lock);
	s->state.arrived |= BIT(slot);
	s->user.event(s->user.opaque);
	pthread_mutex_unlock(&s->lock);
}

void acpi_slots_ask(struct acpi_slots *s, unsigned slot)
{
	assert(slot < ACPI_SLOTS_MAX);
	pthread_mutex_lock(&s->lock);
	s->state.asked |= BIT(slot);
	s->state.leaving |= BIT(slot);
	s->user.event(s->user.opaque);
	pthread_mutex_unlock(&s->lock);
}

void acpi_slots_forget(struct acpi_slots *s, unsigned slot)
{
	assert(slot < ACPI_SLOTS_MAX);
	pthread_mutex_lock(&s->lock);
	forget(s, slot);
	s->state.arrived &= ~(uint32_t)BIT(slot);
	pthread_mutex_unlock(&s->lock);
}

uint32_t acpi_slots_reset(struct acpi_slots *s)
{
	uint32_t leaving;

	pthread_mutex_lock(&s->lock);
	leaving = s->state.leaving;
	s->state = (struct acpi_slots_state){0};
	pthread_mutex_unlock(&s->lock);
	return leaving;
}
