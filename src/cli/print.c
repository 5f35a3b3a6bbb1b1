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

int cli_write(const char *bytes, size_t len)
{
	if (fwrite(bytes, 1, len, stdout) == len && fflush(stdout) == 0)
		return STATUS_OK;
	if (errno != EPIPE)
		cli_error("cannot write to standard output: %s", strerror(errno));
	return STATUS_FAILED;
}

int cli_print(const char *text)
{
	return cli_write(text, strlen(text));
}
