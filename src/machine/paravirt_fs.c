/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's shared directories, each served by a virtiofsd of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/vhost_user.h"
#include "host/virtiofsd.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "virtio/fs.h"

struct share {
	struct machine *machine;
	char tag[MACHINE_TAG_MAX + 1];
	struct vhost_user *daemon;
	struct virtio_fs *fs; /* NULL: not made */
};

struct shares {
	unsigned count;
	struct share share[MACHINE_SHARES_MAX];
};

_Static_assert(MACHINE_TAG_MAX == VIRTIO_FS_TAG_MAX, "a tag is the device's");
_Static_assert(VIRTIOFSD_QUEUES == VIRTIO_FS_QUEUES, "the daemon serves the device's queues");

static void on_lost(void *opaque, const char *why)
{
	const struct share *s = opaque;

	machine_warn(s->machine,
		     "share %s: virtiofsd is gone: %s: the guest gets errors there until lodge is "
		     "started anew",
		     s->tag, why);
}

static int make_share(struct paravirt *p, struct share *s, const struct machine_share *from,
		      struct err *e)
{
	struct machine *m = paravirt_machine(p);
	const struct virtiofsd_config daemon = {
		.path = from->path, .readonly = from->readonly, .mem = &m->mem};
	const struct virtio_fs_config config = {
		.tag = s->tag, .daemon = NULL, .lost = on_lost, .opaque = s};
	struct virtio_fs_config whole = config;
	bool chroot_only;

	s->machine = m;
	memcpy(s->tag, from->tag, sizeof(s->tag));
	s->daemon = virtiofsd_open(m->loop, &daemon, &chroot_only, e);
	if (!s->daemon)
		return e->code;
	if (chroot_only)
		machine_warn(m,
			     "share %s: virtiofsd has no namespaces here, and is confined by "
			     "chroot alone",
			     s->tag);
	whole.daemon = s->daemon;
	s->fs = virtio_fs_new(&m->mem, &whole, e);
	return s->fs ? paravirt_add(p, virtio_fs_device(s->fs), PARAVIRT_CLASS_STORAGE, e)
		     : e->code;
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	const struct machine_config *config = &paravirt_machine(p)->config;
	struct shares *all;
	int rc = 0;

	if (!config->share_count)
		return 0;
	*state = all = calloc(1, sizeof(*all));
	if (!all)
		return err_errno(e, ENOMEM, "cannot make virtio-fs");
	for (unsigned i = 0; !rc && i < config->share_count; i++) {
		all->count++;
		rc = make_share(p, &all->share[i], &config->shares[i], e);
	}
	return rc;
}

static void release(void *state)
{
	struct shares *all = state;

	for (unsigned i = 0; i < all->count; i++) {
		if (all->share[i].fs)
			virtio_fs_free(all->share[i].fs);
		vhost_user_free(all->share[i].daemon);
	}
	free(all);
}

const struct paravirt_kind paravirt_fs = {.make = make, .release = release};
