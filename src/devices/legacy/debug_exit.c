/* SPDX-License-Identifier: Apache-2.0 */
#include "devices/legacy/debug_exit.h"

static uint64_t debug_exit_read(void *dev, uint64_t offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0;
}

static void debug_exit_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct debug_exit *d = dev;

	(void)offset;
	(void)size;
	d->exit(d->opaque, (uint32_t)value);
}

const struct bus_ops debug_exit_ops = {
	.name = "debug-exit",
	.width = 4,
	.read = debug_exit_read,
	.write = debug_exit_write,
};

void debug_exit_init(struct debug_exit *d, void (*exit)(void *opaque, uint32_t value), void *opaque)
{
	*d = (struct debug_exit){.exit = exit, .opaque = opaque};
}
