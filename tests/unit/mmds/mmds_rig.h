/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The metadata service beside an interface that the test plays, as is the guest: it makes and takes
 * frames by itself, with none of the service's own code.
 */
#ifndef LODGE_TESTS_UNIT_MMDS_RIG_H
#define LODGE_TESTS_UNIT_MMDS_RIG_H

#include "core/clock.h"
#include "host/netif.h"
#include "mmds/mmds.h"
#include "mmds/service.h"
#include "mmds/store.h"
#include "mmds/tcp.h"

#define MRIG_PORT 4000u

struct mmds_rig {
	struct netif netif;
	struct event_loop *loop;
	int fd;
	unsigned host_frames;      /* that the host's interface was sent */
	const uint8_t *host_frame; /* what receive gives, host_len bytes; 0: nothing */
	size_t host_len;
	struct clock clock;
	struct mmds_store *store;
	struct mmds_service *service;
	struct mmds *mmds;
};

/* A segment that came, or goes. */
struct mrig_segment {
	uint16_t port; /* the guest's */
	uint16_t to;   /* the service's; 0: 80 */
	uint32_t seq, ack;
	uint8_t flags;
	const char *data;
	size_t len;
	uint16_t mss; /* that came; 0: none */
	bool partial; /* its checksum is left undone */
	bool wrong;   /* its checksum is wrong */
	unsigned ip_flags;
};

/* A guest's connection. */
struct mrig_client {
	struct mmds_rig *rig;
	uint16_t port;
	uint32_t seq, ack; /* that are sent next */
	char got[131072];  /* that came in order */
	size_t got_len;
	bool got_fin, got_rst;
};

extern const uint8_t mrig_mac[6];

/* header: frames have one. Serves the JSON text. */
void mrig_make(struct mmds_rig *r, bool header, const char *json);
void mrig_release(struct mmds_rig *r);

/* Sends a frame, in so many spans; whether it went to the host. */
bool mrig_send(struct mmds_rig *r, const uint8_t *frame, size_t len, unsigned spans, bool partial);

/* Takes the next frame of the service's, without its header, which is checked; NULL: none. */
const uint8_t *mrig_take(struct mmds_rig *r, size_t *len);

/* Sends a segment; and takes the next, whose checksums are checked; false: none came. */
void mrig_say(struct mmds_rig *r, const struct mrig_segment *s);
bool mrig_hear(struct mmds_rig *r, struct mrig_segment *s);

/* Makes the handshake. */
void mrig_connect(struct mrig_client *c, struct mmds_rig *r, uint16_t port);

/* Sends words, and acknowledges what came before. */
void mrig_write(struct mrig_client *c, const char *words, uint8_t flags);

/* Takes what comes, for this client alone, and acknowledges it; lose: each frame of that number
 * (counted from 1) is lost, 0: none. How many came. */
unsigned mrig_read(struct mrig_client *c, unsigned lose);

/* A whole request; the status of its answer, which is in c->got from there on. */
int mrig_ask(struct mrig_client *c, const char *request);

#endif
