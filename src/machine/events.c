/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a machine, kept in order until its owner asks. A bounded number is
 * kept: of an owner who does not ask, the newest are lost, and counted in the next one
 * that there is room for, so that a guest which resets itself all the time costs no
 * memory. Resets in a row are one event until the owner asks; and what the owner has
 * asked for (a device came, the machine pauses) is not crowded out by what the guest
 * may cause without end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/time.h"
#include "machine/machine_int.h"

#define EVENTS_MAX  64u  /* that the guest causes */
#define ANSWERS_MAX 256u /* and its owner, together with those */

struct machine_told {
	struct machine_event event;
	struct machine_told *next;
	char text[];
};

int machine_events_init(struct machine_events *q)
{
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return q->fd < 0 ? -errno : 0;
}

void machine_events_release(struct machine_events *q)
{
	struct machine_told *next;

	for (struct machine_told *told = q->first; told; told = next) {
		next = told->next;
		free(told);
	}
	free(q->last_given);
	if (q->fd >= 0)
		close(q->fd);
}

static bool has_room(const struct machine_events *q, enum machine_event_kind kind)
{
	switch (kind) {
	case MACHINE_EVENT_ENDED:
		return true;
	case MACHINE_EVENT_WARNING:
	case MACHINE_EVENT_RESET:
	case MACHINE_EVENT_BOOTED:
		return q->count < EVENTS_MAX;
	default:
		return q->count < ANSWERS_MAX;
	}
}

/* Takes told: NULL; or gives it back: it tells nothing new. The machine's lock is held. */
static struct machine_told *append(struct machine_events *q, struct machine_told *told)
{
	struct machine_told **end = &q->first, *newest = NULL;
	uint64_t one = 1;
	ssize_t n;

	while (*end) {
		newest = *end;
		end = &newest->next;
	}
	if (newest && newest->event.kind == MACHINE_EVENT_RESET &&
	    told->event.kind == MACHINE_EVENT_RESET)
		return told;
	if (!has_room(q, told->event.kind)) {
		q->lost++;
		return told;
	}
	told->event.lost = q->lost;
	q->lost = 0;
	q->count++;
	*end = told;
	n = write(q->fd, &one, sizeof(one));
	(void)n; /* an eventfd takes it */
	return NULL;
}

void machine_tell(struct machine *m, enum machine_event_kind kind, const char *text)
{
	struct machine_events *q = &m->events;
	size_t len = strlen(text) + 1;
	struct machine_told *told = calloc(1, sizeof(*told) + len);

	if (told) {
		memcpy(told->text, text, len);
		told->event = (struct machine_event){.kind = kind,
						     .text = told->text,
						     .time = time_monotonic_ns(),
						     .cpu = time_process_cpu_ns()};
	}
	pthread_mutex_lock(&m->lock);
	if (told)
		told = append(q, told);
	else
		q->lost++;
	pthread_mutex_unlock(&m->lock);
	free(told);
}

bool machine_next_event(struct machine *m, struct machine_event *event)
{
	struct machine_events *q = &m->events;
	struct machine_told *told;
	uint64_t counted;
	ssize_t n;

	pthread_mutex_lock(&m->lock);
	told = q->first;
	if (told) {
		q->first = told->next;
		q->count--;
		*event = told->event;
	}
	if (!q->first) {
		n = read(q->fd, &counted, sizeof(counted));
		(void)n; /* it may be 0 already */
	}
	pthread_mutex_unlock(&m->lock);
	free(q->last_given);
	q->last_given = told;
	return told;
}

int machine_events_fd(const struct machine *m)
{
	return m->events.fd;
}
