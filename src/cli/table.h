/* SPDX-License-Identifier: Apache-2.0 */
/* Columns for people: as wide as their contents, cut where a terminal ends. */
#ifndef LODGE_CLI_TABLE_H
#define LODGE_CLI_TABLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define TABLE_COLUMNS 12
#define TABLE_CELL    68

struct table {
	const char *const *heads; /* a head that begins with '>' is of figures, set to the right */
	unsigned columns;
	char (*cells)[TABLE_CELL]; /* row by row; ASCII */
	size_t rows, room;
};

void table_open(struct table *t, const char *const *heads, unsigned columns);

/* A new row, its cells empty: a list of `columns` of them, good until the next row; NULL if memory
 * is out. */
char (*table_row(struct table *t))[TABLE_CELL];

/* Heads and up to max rows (SIZE_MAX: all), lines ended by `end` and cut after `width` characters
 * (0: not). */
void table_print(const struct table *t, FILE *out, unsigned width, size_t max, const char *end);

void table_close(struct table *t);

/* Cells: a size ("1.5G"), a time since ("3d 04h", "04:07:09"), seconds of the processor. */
void table_size(char *cell, double bytes);
void table_age(char *cell, double seconds);

/* Columns of the terminal that standard output is; 0: it is none. */
unsigned table_width(void);

#endif
