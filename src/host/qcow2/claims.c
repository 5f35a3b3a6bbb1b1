/* SPDX-License-Identifier: Apache-2.0 */
#include "host/qcow2/claims.h"

void qcow2_claims_init(struct qcow2_claims *all)
{
	pthread_mutex_init(&all->lock, NULL);
	pthread_cond_init(&all->released, NULL);
	all->oldest = NULL;
	all->end = &all->oldest;
}

void qcow2_claims_release(struct qcow2_claims *all)
{
	pthread_cond_destroy(&all->released);
	pthread_mutex_destroy(&all->lock);
}

/* Whether nobody who came before is in the way. */
static bool is_first(const struct qcow2_claims *all, const struct qcow2_claim *c)
{
	for (const struct qcow2_claim *o = all->oldest; o && o != c; o = o->next) {
		if ((o->alone || c->alone) && o->first <= c->last && c->first <= o->last)
			return false;
	}
	return true;
}

static void append(struct qcow2_claims *all, struct qcow2_claim *c)
{
	c->next = NULL;
	*all->end = c;
	all->end = &c->next;
}

void qcow2_claim(struct qcow2_claims *all, struct qcow2_claim *c)
{
	pthread_mutex_lock(&all->lock);
	append(all, c);
	while (!is_first(all, c))
		pthread_cond_wait(&all->released, &all->lock);
	pthread_mutex_unlock(&all->lock);
}

bool qcow2_claim_now(struct qcow2_claims *all, struct qcow2_claim *c)
{
	bool may;

	pthread_mutex_lock(&all->lock);
	c->next = NULL;
	may = is_first(all, c);
	if (may)
		append(all, c);
	pthread_mutex_unlock(&all->lock);
	return may;
}

void qcow2_unclaim(struct qcow2_claims *all, struct qcow2_claim *c)
{
	struct qcow2_claim **at = &all->oldest;

	pthread_mutex_lock(&all->lock);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	if (!*at)
		all->end = at;
	pthread_cond_broadcast(&all->released);
	pthread_mutex_unlock(&all->lock);
}
