/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/stats.h"

#include "core/engine.h"
#include "virtio/device.h"

static const struct virtio_stat of_all[] = {
	VIRTIO_STAT(struct virtio_device, "notifications", notifications),
	VIRTIO_STAT(struct virtio_device, "resets_needed", resets_needed),
	{NULL, 0},
};

size_t virtio_device_stats(struct virtio_device *d, struct engine_stat *stats, size_t max)
{
	const struct virtio_stat *const tables[] = {of_all, d->ops->stats};
	size_t n = 0;

	pthread_mutex_lock(&d->lock);
	for (size_t i = 0; i < ARRAY_LEN(tables); i++) {
		for (const struct virtio_stat *s = tables[i]; s && s->name; s++, n++) {
			const void *count = (const char *)d + s->at;

			if (n < max)
				stats[n] = (struct engine_stat){s->name, *(const uint64_t *)count};
		}
	}
	pthread_mutex_unlock(&d->lock);
	return n;
}
