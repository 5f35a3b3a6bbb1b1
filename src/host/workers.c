/* SPDX-License-Identifier: Apache-2.0 */
#include "host/workers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define WORKERS_MAX 16

struct workers {
	pthread_mutex_t lock; /* guards everything below; innermost */
	pthread_cond_t given; /* there is work, or the end */
	struct work *first, **last;
	unsigned queued; /* pieces of work that no thread has taken */
	unsigned idle, count, max;
	bool end;
	char name[16];
	pthread_t threads[WORKERS_MAX];
};

static void *worker(void *opaque)
{
	struct workers *p = opaque;
	struct work *w;

	pthread_setname_np(pthread_self(), p->name);
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->first && !p->end) {
			p->idle++;
			pthread_cond_wait(&p->given, &p->lock);
			p->idle--;
		}
		w = p->first;
		if (!w)
			break;
		p->first = w->next;
		p->queued--;
		if (!p->first)
			p->last = &p->first;
		pthread_mutex_unlock(&p->lock);
		w->run(w);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* One thread more, which gets no signal but those of its own bugs; 0 or a positive errno. */
static int start(struct workers *p)
{
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT};
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&all, own[i]);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = pthread_create(&p->threads[p->count], NULL, worker, p);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!rc)
		p->count++;
	return rc;
}

struct workers *workers_new(const char *name, unsigned max, struct err *e)
{
	struct workers *p = calloc(1, sizeof(*p));
	int rc;

	assert(max && max <= WORKERS_MAX && strlen(name) < sizeof(p->name));
	if (!p) {
		err_errno(e, ENOMEM, "cannot start threads");
		return NULL;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->given, NULL);
	p->last = &p->first;
	p->max = max;
	memcpy(p->name, name, strlen(name));
	pthread_mutex_lock(&p->lock);
	rc = start(p);
	pthread_mutex_unlock(&p->lock);
	if (!rc)
		return p;
	err_errno(e, rc, "cannot start a thread");
	workers_free(p);
	return NULL;
}

void workers_free(struct workers *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->end = true;
	pthread_cond_broadcast(&p->given);
	pthread_mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->count; i++)
		pthread_join(p->threads[i], NULL);
	assert(!p->first);
	pthread_cond_destroy(&p->given);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void workers_do(struct workers *p, struct work *w)
{
	pthread_mutex_lock(&p->lock);
	assert(!p->end);
	w->next = NULL;
	*p->last = w;
	p->last = &w->next;
	/* Who was woken before counts as idle until it has taken its work. */
	if (++p->queued > p->idle && p->count < p->max)
		start(p); /* a refusal is no loss: those that run will come to it */
	pthread_cond_signal(&p->given);
	pthread_mutex_unlock(&p->lock);
}
