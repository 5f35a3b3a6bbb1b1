/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/legacy/boot_timer.h"

static uint64_t boot_timer_read(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static void boot_timer_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct boot_timer *t = dev;

	if (!offset && size == 1 && value == BOOT_TIMER_VALUE)
		t->booted(t->opaque);
}

const struct bus_ops boot_timer_ops = {
	.name = "boot-timer",
	.width = 8,
	.read = boot_timer_read,
	.write = boot_timer_write,
};

void boot_timer_init(struct boot_timer *t, void (*booted)(void *opaque), void *opaque)
{
	*t = (struct boot_timer){.booted = booted, .opaque = opaque};
}
