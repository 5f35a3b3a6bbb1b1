/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's entropy device, on the host's random numbers. */
#include <errno.h>
#include <stdlib.h>

#include "host/random.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/rng.h"

static int make(struct paravirt *p, void **state, struct err *e)
{
	struct machine *m = paravirt_machine(p);
	struct virtio_rng *rng;

	if (!m->config.rng)
		return 0;
	rng = calloc(1, sizeof(*rng));
	if (!rng)
		return err_errno(e, ENOMEM, "cannot make virtio-rng");
	virtio_rng_init(rng, &m->mem, host_random, &m->clock);
	virtio_rng_limit(rng, &m->config.rng_limits);
	*state = rng;
	return paravirt_add(p, &rng->device, PARAVIRT_CLASS_OTHER, e);
}

static void release(void *state)
{
	struct virtio_rng *rng = state;

	virtio_rng_release(rng);
	free(rng);
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct virtio_rng *rng = state;

	return rng && !number ? &rng->device : NULL;
}

const struct paravirt_kind paravirt_rng = {.make = make, .release = release, .device = device};
