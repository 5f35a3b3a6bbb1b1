/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of vhost-user: a daemon that answers on a thread of its own, honestly or not, and
 * whose work at the rings the test does itself. Written from the protocol's document, with numbers
 * of its own.
 */
#ifndef LODGE_TESTS_UNIT_HOST_VHOST_RIG_H
#define LODGE_TESTS_UNIT_HOST_VHOST_RIG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/event.h"
#include "core/mem.h"
#include "host/vhost_user.h"

#define VDAEMON_QUEUES   2u
#define VDAEMON_REGIONS  8u
#define VDAEMON_MESSAGES 64u

/* What it does in place of the right answer. */
enum vdaemon_fault {
	VDAEMON_HONEST,
	VDAEMON_DIES,
	VDAEMON_SILENT,
	VDAEMON_HALF,       /* of the answer's head, then nothing */
	VDAEMON_SHORT,      /* an answer with fewer bytes than it has to have, and says so */
	VDAEMON_LONG,       /* one with more */
	VDAEMON_HUGE,       /* one that says to have 4 GiB */
	VDAEMON_OTHER,      /* the answer to something else */
	VDAEMON_NO_REPLY,   /* one that is not marked as such */
	VDAEMON_DESCRIPTOR, /* one with a descriptor */
	VDAEMON_REFUSES,    /* only of what is acknowledged */
	VDAEMON_FAULTS,
};

struct vdaemon {
	int fd; /* lodge's end */
	pthread_t thread, loop_thread;
	struct event_loop *loop; /* that runs, or NULL */
	int socket;
	enum vdaemon_fault fault;
	unsigned at; /* the request that it is done at */
	uint64_t features, protocol;
	uint64_t queue_count;
	uint64_t accepted;                   /* features */
	unsigned messages[VDAEMON_MESSAGES]; /* requests, as they came */
	unsigned count;
	struct {
		uint64_t gpa, size, addr, offset;
		uint8_t *host;
	} regions[VDAEMON_REGIONS];
	unsigned region_count;
	struct {
		uint64_t desc, used, avail;
		uint32_t size;
		int kick, call;
		bool enabled;
		uint16_t taken, used_count;
	} queues[VDAEMON_QUEUES];
};

/* Starts it, honest, with all features that there are. */
void vdaemon_start(struct vdaemon *d);
void vdaemon_stop(struct vdaemon *d);

/* Its configuration for vhost_user_open, with the patience that a busy host needs. */
struct vhost_user_config vdaemon_config(struct vdaemon *d, struct mem *mem);

/* Guest memory, or the rings, as the daemon has them mapped; NULL: it has not. */
uint8_t *vdaemon_at(struct vdaemon *d, uint64_t addr, uint64_t len);

/* A buffer that it took: pieces, of which the first are readable. */
struct vdaemon_buffer {
	uint16_t head;
	unsigned readable, writable;
	struct {
		uint64_t gpa;
		uint32_t len;
	} pieces[256];
};

/* Takes the next buffer; false: there is none. */
bool vdaemon_take(struct vdaemon *d, unsigned queue, struct vdaemon_buffer *b);

/* Uses one, whatever it is; shows used entries up to ahead more than that. */
void vdaemon_use(struct vdaemon *d, unsigned queue, uint32_t head, uint32_t written,
		 unsigned ahead);
void vdaemon_call(struct vdaemon *d, unsigned queue);

/* Whether it was kicked since this was last asked. */
bool vdaemon_kicked(struct vdaemon *d, unsigned queue);

/* Runs the loop on a thread of its own, until vdaemon_end_loop. */
void vdaemon_run_loop(struct vdaemon *d, struct event_loop *loop);
void vdaemon_end_loop(struct vdaemon *d);

/* Waits until the loop's thread has counted up to value; false: it did not within a minute. */
bool vdaemon_wait(const unsigned *counter, unsigned value);

/* Open descriptors of this process. */
unsigned vdaemon_open_fds(void);

#endif
