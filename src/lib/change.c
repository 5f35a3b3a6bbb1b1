/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/change.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "lib/config_balloon.h"
#include "lib/config_number.h"

#define NONE    "none"
#define FILE_IS "file="

bool change_number(const char *device, const char *kind, unsigned *number)
{
	size_t len = strlen(kind);
	const char *end;
	uint64_t n;

	if (strncmp(device, kind, len) || !config_number(device + len, &end, &n) || *end || n > 999)
		return false;
	*number = (unsigned)n;
	return true;
}

/* The bucket that a word names, told in l that it is given; NULL: there is none of that name. */
static struct limiter_bucket *find_bucket(struct machine_limits *l, const char *name, size_t len)
{
	if (len == 9 && !strncmp(name, "bandwidth", len)) {
		l->has_bandwidth = true;
		return &l->to.bandwidth;
	}
	if (len == 3 && !strncmp(name, "ops", len)) {
		l->has_ops = true;
		return &l->to.ops;
	}
	return NULL;
}

/* One "NAME=RATE" of len characters. */
static int parse_limit(struct machine_change *c, const char *word, size_t len, struct err *e)
{
	bool net = c->kind == MACHINE_CHANGE_NET_LIMITS;
	bool pmem = c->kind == MACHINE_CHANGE_PMEM_LIMITS;
	bool tx = net && !strncmp(word, "tx-", 3);
	const char *name = word + (net && (tx || !strncmp(word, "rx-", 3)) ? 3 : 0);
	size_t name_len = strcspn(name, "=,");
	const char *rate = name + name_len + 1;
	struct limiter_bucket *b = NULL;

	if (name[name_len] == '=' && net == (name != word))
		b = find_bucket(&c->limits[tx], name, name_len);
	if (!b)
		return err_set(e, EINVAL, "'%.*s' cannot be changed: give %s", (int)len, word,
			       net    ? "rx-bandwidth, rx-ops, tx-bandwidth or tx-ops, with a rate"
			       : pmem ? "bandwidth or ops with a rate"
				      : "size, file=FILE, or bandwidth or ops with a rate");
	len -= (size_t)(rate - word);
	if (len == strlen(NONE) && !strncmp(rate, NONE, len)) {
		*b = (struct limiter_bucket){0};
		return 0;
	}
	return config_limit(b, "the limit", rate, len, e);
}

/* "size=SIZE", "stats=SECONDS", "hinting=..." */
static int parse_balloon(struct machine_change *c, const char *value, struct err *e)
{
	static const char size[] = "size=", stats[] = "stats=";

	c->kind = MACHINE_CHANGE_BALLOON;
	if (!strncmp(value, size, strlen(size)) && config_bytes(value + strlen(size), &c->size))
		return 0;
	c->kind = MACHINE_CHANGE_BALLOON_STATS;
	if (!strncmp(value, stats, strlen(stats)) &&
	    config_seconds(value + strlen(stats), &c->seconds))
		return 0;
	c->kind = MACHINE_CHANGE_BALLOON_HINTS;
	c->acknowledge = !strcmp(value, "hinting=start");
	c->on = c->acknowledge || !strcmp(value, "hinting=hold");
	if (c->on || !strcmp(value, "hinting=stop"))
		return 0;
	return err_set(e, EINVAL,
		       "'%s' cannot be changed: give size=SIZE, stats=SECONDS, or hinting=start, "
		       "hold or stop",
		       value);
}

/* "size=SIZE" */
static int parse_memory(struct machine_change *c, const char *value, struct err *e)
{
	static const char size[] = "size=";

	c->kind = MACHINE_CHANGE_MEMORY;
	if (!strncmp(value, size, strlen(size)) && config_bytes(value + strlen(size), &c->size))
		return 0;
	return err_set(e, EINVAL, "'%s' cannot be changed: give size=SIZE", value);
}

int change_parse(struct machine_change *c, const char *device, const char *value, struct err *e)
{
	int rc = 0;

	*c = (struct machine_change){.kind = MACHINE_CHANGE_DISK_LIMITS};
	if (!strcmp(device, "balloon"))
		return parse_balloon(c, value, e);
	if (!strcmp(device, "memory"))
		return parse_memory(c, value, e);
	if (change_number(device, "net", &c->device))
		c->kind = MACHINE_CHANGE_NET_LIMITS;
	else if (change_number(device, "pmem", &c->device))
		c->kind = MACHINE_CHANGE_PMEM_LIMITS;
	else if (!change_number(device, "disk", &c->device))
		return err_set(e, EINVAL,
			       "'%s' cannot be changed: give diskN, netN, pmemN or "
			       "balloon",
			       device);
	if (c->kind == MACHINE_CHANGE_DISK_LIMITS && !strcmp(value, "size")) {
		c->kind = MACHINE_CHANGE_DISK_SIZE;
		return 0;
	}
	if (c->kind == MACHINE_CHANGE_DISK_LIMITS && !strncmp(value, FILE_IS, strlen(FILE_IS)) &&
	    value[strlen(FILE_IS)]) {
		c->kind = MACHINE_CHANGE_DISK_FILE;
		c->path = value + strlen(FILE_IS);
		return 0;
	}
	for (size_t len; !rc; value += len + 1) {
		len = strcspn(value, ",");
		rc = parse_limit(c, value, len, e);
		if (!value[len])
			break;
	}
	return rc;
}

static const char *const device_names[MACHINE_DEVICES] = {
	[MACHINE_DEVICE_BALLOON] = "balloon", [MACHINE_DEVICE_MEMORY] = "memory",
	[MACHINE_DEVICE_DISK] = "disk",       [MACHINE_DEVICE_NET] = "net",
	[MACHINE_DEVICE_PMEM] = "pmem",       [MACHINE_DEVICE_RNG] = "rng",
	[MACHINE_DEVICE_VSOCK] = "vsock",     [MACHINE_DEVICE_MMDS] = "mmds",
};

/* Whether there can be several of that kind, so that each has its number behind its name. */
static bool is_counted(enum machine_device kind)
{
	return kind == MACHINE_DEVICE_DISK || kind == MACHINE_DEVICE_NET ||
	       kind == MACHINE_DEVICE_PMEM;
}

int change_device(struct machine_device_name *which, const char *device, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_LEN(device_names); i++) {
		*which = (struct machine_device_name){.kind = i};
		if (is_counted(i) ? change_number(device, device_names[i], &which->number)
				  : !strcmp(device_names[i], device))
			return 0;
	}
	return err_set(e, EINVAL,
		       "'%s' is no device that has numbers: give diskN, netN, pmemN, rng, vsock, "
		       "balloon, memory or mmds",
		       device);
}

void change_device_name(const struct machine_device_name *which, char *name, size_t size)
{
	if (is_counted(which->kind))
		snprintf(name, size, "%s%u", device_names[which->kind], which->number);
	else
		snprintf(name, size, "%s", device_names[which->kind]);
}
