/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/config_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "host/passt.h"
#include "lib/config_number.h"

#define PORT_MAX 65535u

struct option {
	const char *name; /* with its '=' */
	bool tap, user;   /* which kind of network has it */
	int (*parse)(struct machine_net *net, const char *value, struct err *e);
};

/* A decimal number from min to max. */
static bool parse_number(const char *value, unsigned min, unsigned max, unsigned *number)
{
	size_t len = strspn(value, "0123456789");

	*number = len && len < 8 && !value[len] ? (unsigned)atoi(value) : 0;
	return len && len < 8 && !value[len] && *number >= min && *number <= max;
}

static int parse_mac(struct machine_net *net, const char *value, struct err *e)
{
	static const char digits[] = "0123456789abcdefABCDEF";
	bool good = strlen(value) == 17;

	for (unsigned i = 0; good && i < 6; i++) {
		good = strspn(value + i * 3, digits) == 2 && value[i * 3 + 2] == (i < 5 ? ':' : 0);
		net->mac[i] = good ? (uint8_t)strtoul(value + i * 3, NULL, 16) : 0;
	}
	if (!good || net->mac[0] & 1 || !memcmp(net->mac, "\0\0\0\0\0", 6))
		return err_set(e, EINVAL,
			       "net: mac '%s' cannot be a guest's address: give one such as "
			       "02:00:00:00:00:01",
			       value);
	net->has_mac = true;
	return 0;
}

static int parse_mtu(struct machine_net *net, const char *value, struct err *e)
{
	if (parse_number(value, NETIF_MTU_MIN, NETIF_MTU_MAX, &net->mtu))
		return 0;
	return err_set(e, EINVAL, "net: mtu '%s' cannot be: give a number from %u to %u", value,
		       NETIF_MTU_MIN, NETIF_MTU_MAX);
}

static int parse_queues(struct machine_net *net, const char *value, struct err *e)
{
	if (parse_number(value, 1, MACHINE_NET_QUEUES_MAX, &net->queues))
		return 0;
	return err_set(e, EINVAL, "net: queues '%s' cannot be: give a number from 1 to %d", value,
		       MACHINE_NET_QUEUES_MAX);
}

static int parse_rx_bandwidth(struct machine_net *net, const char *value, struct err *e)
{
	return config_limit(&net->rx.bandwidth, "net: rx-bandwidth", value, strlen(value), e);
}

static int parse_rx_ops(struct machine_net *net, const char *value, struct err *e)
{
	return config_limit(&net->rx.ops, "net: rx-ops", value, strlen(value), e);
}

static int parse_tx_bandwidth(struct machine_net *net, const char *value, struct err *e)
{
	return config_limit(&net->tx.bandwidth, "net: tx-bandwidth", value, strlen(value), e);
}

static int parse_tx_ops(struct machine_net *net, const char *value, struct err *e)
{
	return config_limit(&net->tx.ops, "net: tx-ops", value, strlen(value), e);
}

static bool is_address(const char *text)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

/* "[ADDRESS:]PORT" of the host, an IPv6 address in brackets. */
static bool parse_from(struct passt_forward *f, char *host)
{
	char *port = strrchr(host, ':'), *address = host;
	size_t len;
	unsigned number;

	if (!port) {
		address = NULL;
		port = host;
	} else {
		*port++ = 0;
		len = strlen(address);
		if (len > 2 && address[0] == '[' && address[len - 1] == ']') {
			address[len - 1] = 0;
			address++;
		} else if (strchr(address, ':')) {
			return false;
		}
	}
	if ((address && !is_address(address)) || !parse_number(port, 1, PORT_MAX, &number))
		return false;
	snprintf(f->from, sizeof(f->from), "%s%s%u", address ? address : "", address ? "/" : "",
		 number);
	return true;
}

/* "PROTO:[ADDRESS:]PORT:PORT" */
static bool parse_forward_words(struct passt_forward *f, char *value)
{
	char *host = strchr(value, ':');
	char *guest = host ? strrchr(host + 1, ':') : NULL;
	unsigned port;

	if (!guest)
		return false;
	*host++ = 0;
	*guest++ = 0;
	f->udp = !strcmp(value, "udp");
	if ((!f->udp && strcmp(value, "tcp") != 0) || !parse_number(guest, 1, PORT_MAX, &port))
		return false;
	f->to = (uint16_t)port;
	return parse_from(f, host);
}

static int parse_forward(struct machine_net *net, const char *value, struct err *e)
{
	struct passt_forward *more;
	char *copy = strdup(value);
	bool good;

	if (net->forward_count == CONFIG_FORWARDS_MAX) {
		free(copy);
		return err_set(e, EINVAL, "net: forward '%s' is one too many: give up to %d", value,
			       CONFIG_FORWARDS_MAX);
	}
	more = copy ? realloc(net->forwards, (net->forward_count + 1) * sizeof(*more)) : NULL;
	if (!more) {
		free(copy);
		return err_errno(e, ENOMEM, "cannot configure");
	}
	net->forwards = more;
	good = parse_forward_words(&more[net->forward_count], copy);
	free(copy);
	if (!good)
		return err_set(e, EINVAL,
			       "net: forward '%s' cannot be: give tcp or udp, a port of the host, "
			       "perhaps behind an address, and one of the guest, as in tcp:8080:80 "
			       "or tcp:127.0.0.1:8080:80 or tcp:[::1]:8080:80",
			       value);
	net->forward_count++;
	return 0;
}

static const struct option options[] = {
	{"mac=", true, true, parse_mac},
	{"mtu=", true, true, parse_mtu},
	{"rx-bandwidth=", true, true, parse_rx_bandwidth},
	{"rx-ops=", true, true, parse_rx_ops},
	{"tx-bandwidth=", true, true, parse_tx_bandwidth},
	{"tx-ops=", true, true, parse_tx_ops},
	{"queues=", true, false, parse_queues},
	{"forward=", false, true, parse_forward},
};

static int parse_option(struct machine_net *net, const char *text, struct err *e)
{
	bool tap = *net->tap;

	for (unsigned i = 0; i < ARRAY_LEN(options); i++) {
		const struct option *o = &options[i];

		if ((tap ? o->tap : o->user) && !strncmp(text, o->name, strlen(o->name)))
			return o->parse(net, text + strlen(o->name), e);
	}
	return err_set(e, EINVAL, "net %s has no option '%s': give %s", tap ? "tap" : "user", text,
		       tap ? "mac=ADDRESS, mtu=N, queues=N or a limit such as rx-bandwidth=10M"
			   : "forward=PROTO:HOST:GUEST, mac=ADDRESS, mtu=N or a limit such as "
			     "rx-bandwidth=10M");
}

static int parse_kind(struct machine_net *net, const char *text, struct err *e)
{
	size_t len;

	if (!strcmp(text, "user"))
		return 0;
	if (strncmp(text, "tap=", 4) != 0)
		return err_set(e, EINVAL, "net '%s' is unknown: give user or tap=NAME", text);
	text += 4;
	len = strlen(text);
	if (!len || len > MACHINE_NET_NAME_MAX || strpbrk(text, "/% :") || !strcmp(text, ".") ||
	    !strcmp(text, ".."))
		return err_set(e, EINVAL,
			       "net: '%s' cannot be an interface's name: give 1 to %d characters",
			       text, MACHINE_NET_NAME_MAX);
	memcpy(net->tap, text, len + 1);
	return 0;
}

/* Cuts text at its commas. */
static int parse_words(struct machine_net *net, char *text, struct err *e)
{
	char *next = strchr(text, ',');
	int rc;

	if (next)
		*next++ = 0;
	rc = parse_kind(net, text, e);
	while (!rc && next) {
		char *word = next;

		next = strchr(word, ',');
		if (next)
			*next++ = 0;
		rc = parse_option(net, word, e);
	}
	return rc;
}

int config_nets_add(struct config_nets *n, const char *value, struct err *e)
{
	struct machine_net net = {.queues = 1};
	char *copy;
	int rc;

	if (n->count == CONFIG_NETS_MAX)
		return err_set(e, EINVAL, "net '%s' is one too many: give up to %d", value,
			       CONFIG_NETS_MAX);
	copy = strdup(value);
	if (!copy)
		return err_errno(e, ENOMEM, "cannot configure");
	rc = parse_words(&net, copy, e);
	free(copy);
	if (rc)
		free(net.forwards);
	else
		n->net[n->count++] = net;
	return rc;
}

void config_nets_release(struct config_nets *n)
{
	for (unsigned i = 0; i < n->count; i++)
		free(n->net[i].forwards);
	n->count = 0;
}
