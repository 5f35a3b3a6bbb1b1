/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/terminal.h"

#define LINE_MAX_CELLS ((TABLE_CELL + 2) * TABLE_COLUMNS + 1)

void table_open(struct table *t, const char *const *heads, unsigned columns)
{
	*t = (struct table){.heads = heads, .columns = columns};
}

char (*table_row(struct table *t))[TABLE_CELL]
{
	char(*row)[TABLE_CELL];

	if (t->rows == t->room) {
		size_t room = t->room ? 2 * t->room : 16;
		void *more = realloc(t->cells, room * t->columns * TABLE_CELL);

		if (!more)
			return NULL;
		t->cells = more;
		t->room = room;
	}
	row = &t->cells[t->rows++ * t->columns];
	memset(row, 0, t->columns * sizeof(*row));
	return row;
}

static bool is_right(const char *head)
{
	return head[0] == '>';
}

static const char *word(const char *head)
{
	return head + is_right(head);
}

static int column_width(const struct table *t, unsigned column)
{
	size_t width = strlen(word(t->heads[column]));

	for (size_t row = 0; row < t->rows; row++) {
		size_t len = strlen(t->cells[row * t->columns + column]);

		width = len > width ? len : width;
	}
	return (int)width;
}

static size_t add(char *line, size_t at, const char *head, const char *text, int width)
{
	return at + (size_t)snprintf(line + at, LINE_MAX_CELLS - at, "%s%*s", at ? "  " : "",
				     is_right(head) ? width : -width, text);
}

static void print_line(FILE *out, char *line, size_t len, unsigned width, const char *end)
{
	if (width && len > width)
		len = width;
	while (len && line[len - 1] == ' ')
		len--;
	line[len] = '\0';
	fprintf(out, "%s%s", line, end);
}

void table_print(const struct table *t, FILE *out, unsigned width, size_t max, const char *end)
{
	char line[LINE_MAX_CELLS];
	int widths[TABLE_COLUMNS];
	size_t len = 0;

	for (unsigned i = 0; i < t->columns; i++)
		widths[i] = column_width(t, i);
	for (unsigned i = 0; i < t->columns; i++)
		len = add(line, len, t->heads[i], word(t->heads[i]), widths[i]);
	print_line(out, line, len, width, end);
	for (size_t row = 0; row < t->rows && row < max; row++) {
		len = 0;
		for (unsigned i = 0; i < t->columns; i++)
			len = add(line, len, t->heads[i], t->cells[row * t->columns + i],
				  widths[i]);
		print_line(out, line, len, width, end);
	}
}

void table_close(struct table *t)
{
	free(t->cells);
	t->cells = NULL;
}

void table_size(char *cell, double bytes)
{
	static const char units[] = "BKMGTP";
	unsigned unit = 0;

	while (bytes >= 1024 && unit + 2 < sizeof(units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(cell, TABLE_CELL,
		 bytes < 9.95 && unit && bytes != (int)bytes ? "%.1f%c" : "%.0f%c", bytes,
		 units[unit]);
}

void table_age(char *cell, double seconds)
{
	long s = seconds > 0 && seconds < 1e12 ? (long)seconds : 0;

	if (s < 24 * 3600)
		snprintf(cell, TABLE_CELL, "%02ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
	else
		snprintf(cell, TABLE_CELL, "%ldd %02ldh", s / 86400, s / 3600 % 24);
}

unsigned table_width(void)
{
	uint16_t columns, rows;

	return terminal_window(STDOUT_FILENO, &columns, &rows) ? columns : 0;
}
