/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a VM that is driven through the API: what is asked for, what comes of it, what
 * happens to the VM. Nothing is logged until a place is given. One thread.
 */
#ifndef LODGE_API_LOGGER_H
#define LODGE_API_LOGGER_H

#include <jansson.h>
#include <stdbool.h>

#include "api/fields.h"
#include "api/outlet.h"
#include "base/err.h"

enum log_level { LOG_OFF, LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_TRACE };

struct logger {
	struct outlet outlet;
	enum log_level level;
	bool show_level, show_origin;
	char module[64]; /* lines of others are left out; "": none is */
	const char *id;  /* of the VM; the caller's */
	uint64_t window; /* time_monotonic_ns from which guest_lines counts */
	unsigned guest_lines;
	uint64_t limited; /* lines that were left out, as the guest caused too many */
	uint64_t told;    /* of these, those that the log knows of */
};

/* {log_path, level, show_level, show_log_origin, module} */
extern const struct field logger_fields[];

void logger_init(struct logger *l, const char *id);
void logger_release(struct logger *l);

/* Does what a section says, whose form was checked; fields that are not there leave things as they
 * are. 0, or -errno with e set and nothing changed. */
int logger_configure(struct logger *l, const json_t *section, struct err *e);

/* Whether a line may be logged that the guest causes: some, and then no more for a while. It is
 * counted if not, and the log is told with the next one. */
bool logger_lets_guest(struct logger *l);

/* Logs a line; module is "api" or "vm". */
void logger_say(struct logger *l, enum log_level level, const char *module, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
