/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console of a VM that has no terminal: a ring of what was printed last, and a socket whose
 * visitors are shown it and then all that follows. What they send is typed. They come and go,
 * several at a time.
 *
 * Nobody holds up the guest: a viewer has a place in the ring, and one that falls behind by more
 * than the ring is told how much was passed over. What is typed waits for the guest, in the
 * viewers' sockets.
 */
#ifndef LODGE_CLI_VIEWERS_H
#define LODGE_CLI_VIEWERS_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#define VIEWERS_MAX   16
#define VIEWERS_FDS   (VIEWERS_MAX + 2)
#define VIEWERS_RING  65536
#define VIEWERS_TYPED 256
#define VIEWERS_NOTE  96

struct viewer {
	int fd;          /* -1: nobody */
	int hears;       /* it may still type */
	uint64_t at;     /* the next byte that it is shown, of all that were printed */
	uint64_t missed; /* bytes that the note tells of */
	char note[VIEWERS_NOTE];
	size_t note_len, note_at; /* words of lodge that come first */
};

struct viewers {
	int listen;   /* -1: there is no console here */
	int to_guest; /* does not wait; the caller's */
	char *ring;
	uint64_t printed; /* bytes, ever */
	char typed[VIEWERS_TYPED];
	size_t typed_len, typed_at; /* what the guest did not take yet */
	struct viewer viewer[VIEWERS_MAX];
};

/* listen: the socket, which is ours from now on. 0 or -ENOMEM. */
int viewers_open(struct viewers *v, int listen, int to_guest);

/* What the guest printed. */
void viewers_print(struct viewers *v, const char *bytes, size_t len);

/* Fills in what to poll for: how many, up to VIEWERS_FDS. viewers_polled acts on it. */
size_t viewers_poll(struct viewers *v, struct pollfd *fds);
void viewers_polled(struct viewers *v, const struct pollfd *fds, size_t count);

/* Shows the rest to those who take it within a second, and closes all. Idempotent. */
void viewers_close(struct viewers *v);

#endif
