/* SPDX-License-Identifier: Apache-2.0 */
#include "api/logger.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/buf.h"
#include "base/time.h"

/* As many lines a time may be caused by the guest. */
#define GUEST_LINES     10
#define GUEST_WINDOW_NS (5 * NS_PER_SEC)

static const char *const levels[] = {
	[LOG_OFF] = "Off",   [LOG_ERROR] = "Error", [LOG_WARN] = "Warn",
	[LOG_INFO] = "Info", [LOG_DEBUG] = "Debug", [LOG_TRACE] = "Trace",
};

/* As they may be given; "Warning" is an older word. */
static const char *const level_words[] = {"Off",  "Error", "Warn",  "Warning",
					  "Info", "Debug", "Trace", NULL};

const struct field logger_fields[] = {
	{.name = "log_path", .type = FIELD_TEXT},
	{.name = "level", .type = FIELD_WORD, .words = level_words, .any_case = true},
	{.name = "show_level", .type = FIELD_FLAG},
	{.name = "show_log_origin", .type = FIELD_FLAG},
	{.name = "module", .type = FIELD_TEXT},
	{0},
};

void logger_init(struct logger *l, const char *id)
{
	*l = (struct logger){.outlet = {.fd = -1}, .level = LOG_INFO, .id = id};
}

void logger_release(struct logger *l)
{
	outlet_close(&l->outlet);
}

static enum log_level level_of(const char *word)
{
	for (enum log_level level = LOG_OFF; level <= LOG_TRACE; level++)
		if (!strncasecmp(word, levels[level], strlen(levels[level])))
			return level;
	return LOG_INFO;
}

int logger_configure(struct logger *l, const json_t *section, struct err *e)
{
	const char *path = fields_text(section, "log_path", NULL);
	const char *level = fields_text(section, "level", NULL);
	int rc = path ? outlet_open(&l->outlet, "the log", path, e) : 0;

	if (rc)
		return rc;
	if (level)
		l->level = level_of(level);
	if (json_object_get(section, "show_level"))
		l->show_level = fields_flag(section, "show_level");
	if (json_object_get(section, "show_log_origin"))
		l->show_origin = fields_flag(section, "show_log_origin");
	snprintf(l->module, sizeof(l->module), "%s", fields_text(section, "module", l->module));
	return 0;
}

/* What a client has sent must not look like a line of its own. */
static void make_one_line(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			text[i] = '?';
}

bool logger_lets_guest(struct logger *l)
{
	uint64_t now = time_monotonic_ns();

	if (now - l->window >= GUEST_WINDOW_NS) {
		l->window = now;
		l->guest_lines = 0;
	}
	if (l->guest_lines++ >= GUEST_LINES) {
		l->limited++;
		return false;
	}
	if (l->limited > l->told)
		logger_say(l, LOG_WARN, "vm", "%" PRIu64 " lines were left out: too many",
			   l->limited - l->told);
	l->told = l->limited;
	return true;
}

void logger_say(struct logger *l, enum log_level level, const char *module, const char *fmt, ...)
{
	char line[1024], day[32], text[768];
	uint64_t now;
	struct tm tm;
	time_t s;
	va_list ap;
	int len;

	if (l->outlet.fd < 0 || level > l->level ||
	    strncmp(module, l->module, strlen(l->module)) != 0)
		return;
	now = time_wall_ns();
	s = (time_t)(now / NS_PER_SEC);
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", gmtime_r(&s, &tm));
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_one_line(text, strlen(text));
	len = snprintf(line, sizeof(line), "%s.%09u [%s%s%s%s%s] %s\n", day,
		       (unsigned)(now % NS_PER_SEC), l->id, l->show_level ? ":" : "",
		       l->show_level ? levels[level] : "", l->show_origin ? ":" : "",
		       l->show_origin ? module : "", text);
	outlet_write(&l->outlet, line, (size_t)len);
}
