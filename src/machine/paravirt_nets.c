/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's network devices: tap devices of the host, and passt. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/thread.h"
#include "host/passt.h"
#include "host/random.h"
#include "host/tap.h"
#include "machine/machine_int.h"
#include "machine/paravirt_int.h"
#include "mmds/counts.h"
#include "mmds/mmds.h"
#include "mmds/service.h"
#include "virtio/net.h"
#include "virtio/net_stream.h"

/* passt copies streams, and says so: the larger its packets, the fewer there are. Its own default,
 * whole words below 64 KiB with an Ethernet header. */
#define USER_MTU 65520u

_Static_assert(MACHINE_NET_QUEUES_MAX == VIRTIO_NET_PAIRS_MAX &&
		       MACHINE_NET_QUEUES_MAX <= NETIF_QUEUES_MAX &&
		       MACHINE_NET_NAME_MAX == TAP_NAME_MAX,
	       "what can be configured can be made");

struct card {
	struct machine *machine;
	char name[MACHINE_NET_NAME_MAX + 1];
	struct netif *netif;
	struct virtio_net *net; /* NULL: not made */
	struct mmds *mmds;      /* NULL: it has no metadata service */
};

struct nets {
	struct card cards[PARAVIRT_MAX];
	unsigned count;               /* of those that are or were there */
	struct mmds_service *service; /* NULL: there is none */
	struct net_stream stream;     /* of all of them together */
};

static void on_gone(void *opaque, const char *why)
{
	struct card *c = opaque;

	machine_warn(c->machine, "the network %s is gone: %s: the guest has its link down", c->name,
		     why);
}

static void on_stream(void *opaque, bool flows)
{
	(void)opaque;
	thread_set_patient(flows);
}

static struct netif *open_tap(const struct machine *m, const struct machine_net *from,
			      struct err *e)
{
	const struct tap_config config = {from->tap, from->queues, from->mtu};

	return tap_open(m->loop, &config, e);
}

static struct netif *open_user(const struct machine *m, const struct machine_net *from,
			       unsigned mtu, struct err *e)
{
	const struct passt_config config = {from->forwards, from->forward_count, mtu};

	return passt_open(m->loop, &config, e);
}

/* An address of the guest's own: unicast, and of no manufacturer. */
static void make_up_mac(uint8_t *mac)
{
	host_random(mac, VIRTIO_NET_MAC_LEN);
	mac[0] = (uint8_t)((mac[0] & ~1u) | 2u);
}

/* Puts the metadata service on the card that was added last, if it is to be there. */
static int add_mmds(struct nets *all, const struct machine_mmds *from, struct err *e)
{
	struct card *c = &all->cards[all->count - 1];
	struct mmds_config config = {c->netif, &c->machine->clock, all->service, {0}};

	if (!from || (from->nets && !(from->nets >> (all->count - 1) & 1)))
		return 0;
	memcpy(config.address, from->address, sizeof(config.address));
	c->mmds = mmds_new(&config, e);
	return c->mmds ? 0 : e->code;
}

/* The lowest number that is free; PARAVIRT_MAX: none is. */
static unsigned free_number(const struct nets *all)
{
	unsigned n = 0;

	while (n < all->count && all->cards[n].net)
		n++;
	return n;
}

static int add_net(struct paravirt *p, struct nets *all, const struct machine_net *from,
		   struct err *e)
{
	unsigned number = free_number(all);
	struct card *c = &all->cards[number];
	struct virtio_net_config config = {
		.mtu = from->mtu, .rx = from->rx, .tx = from->tx, .gone = on_gone, .opaque = c};

	if (number == PARAVIRT_MAX)
		return err_set(e, ENOSPC, "the machine has more than %d networks: give fewer",
			       PARAVIRT_MAX);
	all->count = MAX(all->count, number + 1);
	c->machine = paravirt_machine(p);
	strcpy(c->name, *from->tap ? from->tap : "user");
	if (!config.mtu && !*from->tap)
		config.mtu = USER_MTU;
	c->netif = *from->tap ? open_tap(c->machine, from, e)
			      : open_user(c->machine, from, config.mtu, e);
	if (!c->netif)
		return e->code;
	if (!config.mtu)
		config.mtu = c->netif->mtu;
	config.netif = c->netif;
	config.clock = &c->machine->clock;
	config.stream = &all->stream;
	if (from->has_mac)
		memcpy(config.mac, from->mac, sizeof(config.mac));
	else
		make_up_mac(config.mac);
	c->net = virtio_net_new(&c->machine->mem, &config, e);
	return c->net ? paravirt_add(p, virtio_net_device(c->net), PARAVIRT_CLASS_NETWORK, e)
		      : e->code;
}

static struct nets *new_nets(struct machine *m, struct err *e)
{
	struct nets *all = calloc(1, sizeof(*all));

	if (all)
		net_stream_init(&all->stream, &m->clock, on_stream, NULL);
	else
		err_errno(e, ENOMEM, "cannot make virtio-net");
	return all;
}

static int make(struct paravirt *p, void **state, struct err *e)
{
	const struct machine_config *c = &paravirt_machine(p)->config;
	struct nets *all;
	int rc = 0;

	if (!c->net_count)
		return 0;
	*state = all = new_nets(paravirt_machine(p), e);
	if (!all)
		return e->code;
	if (c->mmds) {
		all->service = mmds_service_new(c->mmds->store, c->mmds->tokens, c->mmds->text);
		if (!all->service)
			return err_errno(e, ENOMEM, "cannot make the metadata service");
	}
	for (unsigned i = 0; !rc && i < c->net_count; i++) {
		rc = add_net(p, all, &c->nets[i], e);
		if (!rc)
			rc = add_mmds(all, c->mmds, e);
	}
	return rc;
}

static struct virtio_device *device(void *state, unsigned number)
{
	struct nets *all = state;

	if (!all || number >= all->count || !all->cards[number].net)
		return NULL;
	return virtio_net_device(all->cards[number].net);
}

/* Also of what was made in part. */
static void detach(void *state, unsigned number)
{
	struct card *c = &((struct nets *)state)->cards[number];

	netif_free(c->netif);
	if (c->net)
		virtio_net_free(c->net);
	mmds_free(c->mmds);
	*c = (struct card){.net = NULL};
}

static int attach(struct paravirt *p, void **state, const struct machine_attachment *a,
		  struct err *e)
{
	unsigned number;
	int rc;

	if (!*state)
		*state = new_nets(paravirt_machine(p), e);
	if (!*state)
		return e->code;
	number = free_number(*state);
	rc = add_net(p, *state, a->net, e);
	if (rc && number < PARAVIRT_MAX)
		detach(*state, number);
	return rc ? rc : (int)number;
}

static void release(void *state)
{
	struct nets *all = state;

	for (unsigned i = 0; i < all->count; i++)
		detach(all, i);
	mmds_service_free(all->service);
	net_stream_release(&all->stream);
	free(all);
}

static int change(void *state, const struct machine_change *c, struct err *e)
{
	struct nets *all = state;
	struct virtio_device *d = device(state, c->device);
	struct virtio_net *net;

	if (!d)
		return err_set(e, ENOENT, "the machine has no network %u", c->device);
	net = all->cards[c->device].net;
	pthread_mutex_lock(&d->lock);
	virtio_net_limit(net, VIRTIO_NET_RX, paravirt_bandwidth(&c->limits[0]),
			 paravirt_ops(&c->limits[0]));
	virtio_net_limit(net, VIRTIO_NET_TX, paravirt_bandwidth(&c->limits[1]),
			 paravirt_ops(&c->limits[1]));
	pthread_mutex_unlock(&d->lock);
	return 0;
}

size_t paravirt_mmds_stats(void *state, struct engine_stat *stats, size_t max)
{
	const struct nets *all = state;
	const struct {
		const char *name;
		size_t at;
	} counts[] = {
		{"frames", offsetof(struct mmds_counts, frames)},
		{"unusual", offsetof(struct mmds_counts, unusual)},
		{"requests", offsetof(struct mmds_counts, requests)},
		{"refused", offsetof(struct mmds_counts, refused)},
		{"without_token", offsetof(struct mmds_counts, without_token)},
		{"invalid_token", offsetof(struct mmds_counts, invalid_token)},
		{"sent", offsetof(struct mmds_counts, sent)},
		{"sent_bytes", offsetof(struct mmds_counts, sent_bytes)},
		{"connections", offsetof(struct mmds_counts, connections)},
		{"closed", offsetof(struct mmds_counts, closed)},
	};

	const char *c;

	if (!all || !all->service)
		return 0;
	c = (const char *)mmds_service_counts(all->service);
	for (size_t i = 0; i < ARRAY_LEN(counts) && i < max; i++) {
		const void *count = c + counts[i].at;

		stats[i] = (struct engine_stat){counts[i].name,
						atomic_load((const _Atomic uint64_t *)count)};
	}
	return ARRAY_LEN(counts);
}

const struct paravirt_kind paravirt_nets = {
	.make = make,
	.release = release,
	.change = change,
	.name = "net",
	.attach = attach,
	.device = device,
	.detach = detach,
};
