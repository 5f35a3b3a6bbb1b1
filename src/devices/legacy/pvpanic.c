/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/legacy/pvpanic.h"

static uint64_t pvpanic_read(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return PVPANIC_EVENTS;
}

static void pvpanic_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct pvpanic *p = dev;

	(void)offset;
	(void)size;
	if (value & PVPANIC_EVENTS)
		p->event(p->opaque, value & PVPANIC_EVENTS);
}

const struct bus_ops pvpanic_ops = {
	.name = "pvpanic",
	.width = 1,
	.read = pvpanic_read,
	.write = pvpanic_write,
};

void pvpanic_init(struct pvpanic *p, void (*event)(void *opaque, unsigned events), void *opaque)
{
	*p = (struct pvpanic){.event = event, .opaque = opaque};
}
