/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	inflate     page numbers: these are the host's now
 *	deflate     page numbers: the guest uses these again
 *	statistics  one buffer: numbers; the device keeps it until it wants new ones
 *	hints       a command's number, then buffers: these were free just now, and are kept
 *	            free until the device's own command says that the run is over
 *	reporting   buffers: these are free, until the guest writes to them
 *
 * A page that is given back keeps its place in this process: whoever has its address,
 * the engines' caches of translations among them, reads zeroes there, and a write gets
 * a new page. So deflating has nothing to do, and a guest that uses pages which it has
 * given away hurts only itself.
 *
 * Hints are served on the vCPU that notifies of them, not by a doorbell: a Linux driver
 * that is short of memory takes pages back which it has told of, and does so only after
 * its notification (get_free_page_and_send, virtio_balloon_oom_notify). A page is thus
 * given back before anybody can have it anew.
 *
 * A guest that fills its free pages with a pattern, and looks for it later, must find it:
 * what it reports or hints stays where it is then, unless that pattern is zero (5.5.6.6,
 * 5.5.6.7: page poison).
 *
 * Queues have numbers of their own (5.5.2: statistics 2, hints 3, reporting 4), but Linux
 * numbers those that it uses one after the other (virtio_find_vqs). A driver has enabled
 * more numbers than it has queues only if it follows the former: find_role.
 */
#include "virtio/balloon.h"

#include "base/time.h"

enum role { ROLE_INFLATE, ROLE_DEFLATE, ROLE_STATS, ROLE_HINTS, ROLE_REPORTING, ROLES };

#define QUEUE_SIZE 128u

#define F_STATS          BIT(1)
#define F_DEFLATE_ON_OOM BIT(2)
#define F_HINTS          BIT(3)
#define F_POISON         BIT(4)
#define F_REPORTING      BIT(5)

#define CONFIG_TARGET  0
#define CONFIG_ACTUAL  4
#define CONFIG_COMMAND 8
#define CONFIG_POISON  12

/* Commands of hints that are no run's number. */
enum { COMMAND_STOP, COMMAND_DONE, COMMAND_FIRST };

/* Page numbers are of 4 KiB, four bytes each; a chain has 256 of them in Linux. */
#define NUMBER_SIZE 4u
#define NUMBERS     256u
#define CHAIN_MAX   (64u << 10)

/* A statistic: a tag of two bytes, a value of eight. */
#define STAT_SIZE 10u
#define STATS_MAX 64u

static const uint64_t role_features[ROLES] = {
	[ROLE_STATS] = F_STATS, [ROLE_HINTS] = F_HINTS, [ROLE_REPORTING] = F_REPORTING};

/* What a queue is for: see above. */
static enum role find_role(const struct virtio_device *d, unsigned queue)
{
	unsigned highest = 0, count = ROLE_STATS;

	if (queue < ROLE_STATS)
		return queue;
	for (unsigned i = 0; i < d->queue_count; i++)
		if (d->queues[i].enabled)
			highest = i;
	for (unsigned role = ROLE_STATS; role < ROLES; role++)
		count += virtio_has(d, role_features[role]);
	if (highest >= count)
		return queue;
	for (unsigned role = ROLE_STATS, n = ROLE_STATS; role < ROLES; role++)
		if (virtio_has(d, role_features[role]) && n++ == queue)
			return role;
	return ROLES;
}

/* Pages that follow each other are given back together. */
static void give_back(struct virtio_balloon *b, uint64_t first, uint64_t pages)
{
	uint64_t gpa = first << GUEST_PAGE_SHIFT, len = pages << GUEST_PAGE_SHIFT;

	if (!pages)
		return;
	if (mem_give_back(b->device.mem, gpa, len))
		b->returned += len;
	else if (pages == 1)
		b->ignored++;
	else
		for (uint64_t i = 0; i < pages; i++)
			give_back(b, first + i, 1);
}

static void inflate(struct virtio_balloon *b, const struct virtq_chain *chain)
{
	uint8_t numbers[NUMBERS * NUMBER_SIZE];
	uint64_t first = 0, pages = 0, at = 0;
	size_t n;

	do {
		n = virtq_chain_read(chain, at, numbers, sizeof(numbers));
		for (size_t i = 0; i + NUMBER_SIZE <= n; i += NUMBER_SIZE) {
			uint64_t page = load_le(numbers + i, NUMBER_SIZE);

			if (pages && page == first + pages) {
				pages++;
				continue;
			}
			if (pages && page + 1 == first) {
				first--;
				pages++;
				continue;
			}
			give_back(b, first, pages);
			first = page;
			pages = 1;
		}
		at += n;
	} while (n == sizeof(numbers));
	give_back(b, first, pages);
}

/* Whole pages of the buffers; parts of pages stay. */
static void give_back_buffers(struct virtio_balloon *b, const struct virtq_chain *chain,
			      uint64_t *count)
{
	if (virtio_has(&b->device, F_POISON) && load_le(b->config + CONFIG_POISON, 4))
		return;
	for (unsigned i = 0; i < chain->writable; i++) {
		const struct virtq_segment *s = &chain->segments[chain->readable + i];
		uint64_t first = align_up(s->gpa, GUEST_PAGE_SIZE);
		uint64_t end = align_down(s->gpa + s->len, GUEST_PAGE_SIZE);

		if (first < end && mem_give_back(b->device.mem, first, end - first)) {
			b->returned += end - first;
			*count += end - first;
		}
	}
}

static void set_command(struct virtio_balloon *b, uint32_t command)
{
	b->host_command = command;
	store_le(b->config + CONFIG_COMMAND, 4, command);
	virtio_config_changed(&b->device);
}

/* 5.5.6.6: what does not belong to the run that was asked for is passed over. */
static void hint(struct virtio_balloon *b, const struct virtq_chain *chain)
{
	uint8_t command[4];

	if (virtq_chain_read(chain, 0, command, sizeof(command)) == sizeof(command)) {
		b->guest_command = (uint32_t)load_le(command, sizeof(command));
		b->guest_commanded = true;
	}
	if (!b->guest_commanded)
		return;
	if (b->host_command >= COMMAND_FIRST && b->guest_command == b->host_command)
		give_back_buffers(b, chain, &b->hinted_bytes);
	if (chain->readable && b->guest_command == COMMAND_STOP && b->acknowledge &&
	    b->host_command >= COMMAND_FIRST)
		set_command(b, COMMAND_DONE);
}

/* Gives the driver its buffer back: it fills it anew. */
static void ask_for_stats(struct virtio_balloon *b)
{
	if (!b->holding)
		return;
	b->holding = false;
	virtio_put_together(&b->device, b->stats_queue, &b->held, 1);
	virtio_finish(&b->device, b->stats_queue);
}

/* The clock has had its interval. */
static void polled(void *opaque)
{
	struct virtio_balloon *b = opaque;

	pthread_mutex_lock(&b->device.lock);
	ask_for_stats(b);
	pthread_mutex_unlock(&b->device.lock);
}

/* The next ones are asked for only when these have come: nobody is woken for a guest without a
 * driver. */
static void arm(struct virtio_balloon *b)
{
	clock_timer_set(b->clock, &b->timer, clock_now(b->clock) + b->stats_s * NS_PER_SEC);
}

static void keep_stats(struct virtio_balloon *b, unsigned queue, const struct virtq_chain *chain)
{
	uint8_t table[STATS_MAX * STAT_SIZE];
	size_t len = virtq_chain_read(chain, 0, table, sizeof(table));
	struct virtio_balloon_stats stats = {.known = 0};

	for (size_t at = 0; at + STAT_SIZE <= len; at += STAT_SIZE) {
		uint64_t tag = load_le(table + at, 2);

		if (tag >= BALLOON_STATS)
			continue;
		stats.value[tag] = load_le(table + at + 2, 8);
		stats.known |= 1u << tag;
	}
	b->stats = stats;
	b->holding = true;
	b->stats_queue = queue;
	b->held = virtq_ticket(chain, 0);
	arm(b);
}

/* 5.5.6: what each queue's buffers are like. */
static bool fits(const struct virtio_balloon *b, enum role role, const struct virtq_chain *chain)
{
	switch (role) {
	case ROLE_INFLATE:
	case ROLE_DEFLATE:
		return !chain->writable && chain->readable_len <= CHAIN_MAX;
	case ROLE_STATS:
		return !chain->writable && !b->holding;
	case ROLE_HINTS:
		return true;
	case ROLE_REPORTING:
		return !chain->readable;
	case ROLES:
		break;
	}
	return false;
}

static void count(struct virtio_balloon *b, enum role role)
{
	uint64_t *const counts[] = {
		[ROLE_INFLATE] = &b->inflations, [ROLE_DEFLATE] = &b->deflations,
		[ROLE_STATS] = &b->updates,      [ROLE_HINTS] = &b->hints,
		[ROLE_REPORTING] = &b->reports,
	};

	if (role < ROLES)
		++*counts[role];
}

static void notified(struct virtio_device *d, unsigned queue)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);
	enum role role = find_role(d, queue);

	while (virtio_take(d, queue, &d->chain)) {
		if (!fits(b, role, &d->chain)) {
			virtio_need_reset(d);
			break;
		}
		count(b, role);
		if (role == ROLE_STATS) {
			keep_stats(b, queue, &d->chain);
			continue;
		}
		if (role == ROLE_INFLATE)
			inflate(b, &d->chain);
		else if (role == ROLE_HINTS)
			hint(b, &d->chain);
		else if (role == ROLE_REPORTING)
			give_back_buffers(b, &d->chain, &b->reported_bytes);
		virtio_put(d, queue, &d->chain, 0);
	}
	virtio_finish(d, queue);
}

/* Linux notifies of its buffer for statistics before the device may look at it. */
static void started(struct virtio_device *d)
{
	for (unsigned i = ROLE_STATS; i < d->queue_count; i++)
		if (find_role(d, i) == ROLE_STATS)
			virtio_notify(d, i);
}

/* The target and the command are not the driver's to write, nor a part of them. */
static void config_written(struct virtio_device *d, unsigned offset, unsigned size, uint64_t value)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);
	unsigned field = offset & ~3u;

	if (offset + size <= field + 4 && (field == CONFIG_ACTUAL || field == CONFIG_POISON))
		store_le(b->config + offset, size, value);
}

static void forget_stats(struct virtio_balloon *b)
{
	b->holding = false;
	if (b->clock)
		clock_timer_cancel(b->clock, &b->timer);
}

static void stopped(struct virtio_device *d, unsigned queue)
{
	struct virtio_balloon *b = container_of(d, struct virtio_balloon, device);

	if (queue == VIRTIO_QUEUES_MAX || queue == b->stats_queue)
		forget_stats(b);
	if (queue != VIRTIO_QUEUES_MAX)
		return;
	store_le(b->config + CONFIG_ACTUAL, 4, 0);
	store_le(b->config + CONFIG_POISON, 4, 0);
	store_le(b->config + CONFIG_COMMAND, 4, COMMAND_STOP);
	b->stats.known = 0;
	b->host_command = COMMAND_STOP;
	b->guest_commanded = false;
}

static const struct virtio_stat stats[] = {
	VIRTIO_STAT(struct virtio_balloon, "inflations", inflations),
	VIRTIO_STAT(struct virtio_balloon, "deflations", deflations),
	VIRTIO_STAT(struct virtio_balloon, "updates", updates),
	VIRTIO_STAT(struct virtio_balloon, "reports", reports),
	VIRTIO_STAT(struct virtio_balloon, "reported_bytes", reported_bytes),
	VIRTIO_STAT(struct virtio_balloon, "hints", hints),
	VIRTIO_STAT(struct virtio_balloon, "hinted_bytes", hinted_bytes),
	{NULL, 0},
};

static const struct virtio_device_ops ops = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.started = started,
	.notified = notified,
	.config_written = config_written,
	.stopped = stopped,
	.stats = stats,
};

static void set_target(struct virtio_balloon *b, uint64_t size)
{
	store_le(b->config + CONFIG_TARGET, 4, MIN(size >> GUEST_PAGE_SHIFT, UINT32_MAX));
}

void virtio_balloon_init(struct virtio_balloon *b, struct mem *mem,
			 const struct virtio_balloon_config *config)
{
	const struct virtio_kind kind = {
		.ops = &ops,
		.features = (config->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) |
			    (config->reporting ? F_REPORTING : 0) |
			    (config->hinting ? F_HINTS : 0) | (config->stats_s ? F_STATS : 0) |
			    (config->reporting || config->hinting ? F_POISON : 0),
		.config = b->config,
		.config_len = sizeof(b->config),
		.queue_count = config->reporting ? ROLES
			       : config->hinting ? ROLE_REPORTING
			       : config->stats_s ? ROLE_HINTS
						 : ROLE_STATS,
		.queue_size = QUEUE_SIZE,
		/* Any of these may have the hints. */
		.prompt = config->hinting ? 1u << ROLE_STATS | 1u << ROLE_HINTS : 0,
	};

	*b = (struct virtio_balloon){
		.clock = config->clock, .stats_s = config->stats_s, .last_command = COMMAND_DONE};
	b->timer = (struct clock_timer){.fired = polled, .opaque = b};
	virtio_device_init(&b->device, mem, &kind);
	set_target(b, config->size);
}

void virtio_balloon_release(struct virtio_balloon *b)
{
	virtio_device_release(&b->device);
}

void virtio_balloon_resize(struct virtio_balloon *b, uint64_t size)
{
	set_target(b, size);
	virtio_config_changed(&b->device);
}

uint64_t virtio_balloon_target(const struct virtio_balloon *b)
{
	return load_le(b->config + CONFIG_TARGET, 4) << GUEST_PAGE_SHIFT;
}

uint64_t virtio_balloon_actual(const struct virtio_balloon *b)
{
	return load_le(b->config + CONFIG_ACTUAL, 4) << GUEST_PAGE_SHIFT;
}

bool virtio_balloon_poll(struct virtio_balloon *b, unsigned seconds)
{
	if (!b->stats_s)
		return false;
	b->stats_s = seconds;
	ask_for_stats(b);
	return true;
}

bool virtio_balloon_hint(struct virtio_balloon *b, bool acknowledge)
{
	if (!(b->device.offered & F_HINTS))
		return false;
	b->acknowledge = acknowledge;
	b->last_command = b->last_command == UINT32_MAX ? COMMAND_FIRST : b->last_command + 1;
	set_command(b, b->last_command);
	return true;
}

bool virtio_balloon_stop_hints(struct virtio_balloon *b)
{
	if (!(b->device.offered & F_HINTS))
		return false;
	set_command(b, COMMAND_DONE);
	return true;
}
