/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cli_error(const char *fmt, ...)
{
	va_list ap;

	fputs("lodge: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

int cli_print(const char *text)
{
	if (fputs(text, stdout) != EOF && fflush(stdout) == 0)
		return STATUS_OK;
	cli_error("cannot write to standard output: %s", strerror(errno));
	return STATUS_FAILED;
}
