/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make_one_line(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
}

static void err_put(struct err *e, int code, const char *fmt, va_list ap)
{
	e->code = -abs(code);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	make_one_line(e->text);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	if (e && !e->code) {
		va_list ap;

		va_start(ap, fmt);
		err_put(e, code, fmt, ap);
		va_end(ap);
	}
	return -abs(code);
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	if (e && !e->code) {
		char why[128];
		size_t used;
		va_list ap;

		va_start(ap, fmt);
		err_put(e, code, fmt, ap);
		va_end(ap);
		used = strlen(e->text);
		snprintf(e->text + used, sizeof(e->text) - used, ": %s",
			 strerror_r(abs(code), why, sizeof(why)));
	}
	return -abs(code);
}

void err_clear(struct err *e)
{
	e->code = 0;
	e->text[0] = '\0';
}
