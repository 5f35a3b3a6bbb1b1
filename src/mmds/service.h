/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM's metadata service answers: requests in, answers out, whatever carries them. One for
 * all of a VM's networks, so that a token is good on each.
 *
 * Version 1 answers whoever asks; version 2 only with a token, which a PUT of /latest/api/token
 * gives for as many seconds as its header says. A request that went through a proxy is given none.
 */
#ifndef LODGE_MMDS_SERVICE_H
#define LODGE_MMDS_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct mmds_counts;
struct mmds_store;
struct mmds_service;

/* Makes one; it holds the store. tokens: version 2. text: JSON is never answered, as EC2's service
 * has it. NULL if memory is out. */
struct mmds_service *mmds_service_new(struct mmds_store *store, bool tokens, bool text);

/* NULL is allowed. */
void mmds_service_free(struct mmds_service *s);

/* What it has done, and what carries it; the service's. Any thread. */
struct mmds_counts *mmds_service_counts(struct mmds_service *s);

/* An answer's other half. */
struct mmds_after {
	bool close;    /* the connection ends with it */
	uint64_t skip; /* bytes of the request's body, still to come, that nobody wants */
};

/* Answers a request whose whole head is given, now being ns of the guest's clock: appends the
 * answer to out. Any thread. */
struct mmds_after mmds_service_answer(struct mmds_service *s, const uint8_t *head, size_t len,
				      uint64_t now, struct buf *out);

/* The answer to what cannot become a request. */
struct mmds_after mmds_service_refuse(struct mmds_service *s, struct buf *out);

#endif
