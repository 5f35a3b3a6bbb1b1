/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With SYS_RST clear the register resets the processors only, which then start at
 * the reset vector. The firmware there would boot anew; this machine has none, and
 * its reset is that boot. So both kinds reset the machine.
 */
#include "devices/acpi/reset.h"

#define WRITABLE (RESET_CONTROL_SYSTEM | RESET_CONTROL_NOW | RESET_CONTROL_FULL)

static uint64_t reset_control_read(void *dev, uint64_t offset, unsigned size)
{
	struct reset_control *r = dev;

	(void)offset, (void)size;
	return r->state.value;
}

static void reset_control_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset_control *r = dev;
	uint8_t was = r->state.value;

	(void)offset, (void)size;
	r->state.value = value & WRITABLE;
	if ((value & RESET_CONTROL_NOW) && !(was & RESET_CONTROL_NOW) && r->reset)
		r->reset(r->opaque);
}

const struct bus_ops reset_control_ops = {"reset control", 1, reset_control_read,
					  reset_control_write};

void reset_control_init(struct reset_control *r, void (*reset)(void *opaque), void *opaque)
{
	*r = (struct reset_control){.reset = reset, .opaque = opaque};
	pthread_mutex_init(&r->lock, NULL);
}

void reset_control_reset(struct reset_control *r)
{
	pthread_mutex_lock(&r->lock);
	r->state = (struct reset_control_state){0};
	pthread_mutex_unlock(&r->lock);
}

void reset_control_release(struct reset_control *r)
{
	pthread_mutex_destroy(&r->lock);
}
