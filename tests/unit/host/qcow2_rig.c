/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "qcow2_rig.h"

static char folder[] = "/tmp/lodge-qcow2-XXXXXX";
static uint32_t seed;

void qrig_begin(void)
{
	memcpy(folder + sizeof(folder) - 7, "XXXXXX", 6);
	assert_non_null(mkdtemp(folder));
}

void qrig_end(void)
{
	char words[64];

	snprintf(words, sizeof(words), "rm -rf %s", folder);
	assert_int_equal(system(words), 0);
}

const char *qrig_path(const char *name)
{
	static char paths[8][256];
	static unsigned next;
	char *path = paths[next++ % ARRAY_LEN(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int run(const char *words, va_list args)
{
	char command[1024];
	int n = snprintf(command, sizeof(command), "cd %s && exec ", folder), status;

	vsnprintf(command + n, sizeof(command) - (size_t)n, words, args);
	strncat(command, " >out 2>&1", sizeof(command) - strlen(command) - 1);
	status = system(command);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

int qrig_run(const char *words, ...)
{
	va_list args;
	int status;

	va_start(args, words);
	status = run(words, args);
	va_end(args);
	return status;
}

void qrig_must(const char *words, ...)
{
	va_list args;
	int status;

	va_start(args, words);
	status = run(words, args);
	va_end(args);
	if (!status)
		return;
	(void)!system("cat /tmp/lodge-qcow2-*/out >&2");
	fail_msg("'%s' ended with %d", words, status);
}

void qrig_seed(uint32_t s)
{
	seed = s * 2654435761u + 1;
}

uint32_t qrig_random(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

/* A write since the last flush. */
struct pending {
	struct pending *next;
	uint64_t offset, len;
	uint8_t bytes[];
};

struct qrig_file {
	struct disk disk;
	uint8_t *now, *durable;
	uint64_t durable_size, room;
	struct pending *first, **end;
	unsigned long writes, limit;
};

static struct qrig_file *file_of(struct disk *d)
{
	return container_of(d, struct qrig_file, disk);
}

static void have_room(struct qrig_file *f, uint64_t size)
{
	uint64_t room = f->room;

	while (room < size)
		room *= 2;
	if (room == f->room)
		return;
	f->now = realloc(f->now, room);
	f->durable = realloc(f->durable, room);
	memset(f->now + f->room, 0, room - f->room);
	memset(f->durable + f->room, 0, room - f->room);
	f->room = room;
}

static bool is_dead(const struct qrig_file *f)
{
	return f->writes >= f->limit;
}

static int file_read(struct disk *d, const struct disk_span *spans, unsigned count, uint64_t offset)
{
	struct qrig_file *f = file_of(d);

	if (is_dead(f))
		return -EIO;
	for (unsigned i = 0; i < count; i++) {
		assert_true(offset + spans[i].len <= d->size);
		memcpy(spans[i].base, f->now + offset, spans[i].len);
		offset += spans[i].len;
	}
	return 0;
}

static int put(struct qrig_file *f, uint64_t offset, const void *bytes, uint64_t len)
{
	struct pending *p = malloc(sizeof(*p) + len);

	assert_true(offset + len <= f->disk.size); /* it asks for room before */
	memcpy(f->now + offset, bytes, len);
	memcpy(p->bytes, bytes, len);
	p->offset = offset;
	p->len = len;
	p->next = NULL;
	*f->end = p;
	f->end = &p->next;
	return 0;
}

static int file_write(struct disk *d, const struct disk_span *spans, unsigned count,
		      uint64_t offset)
{
	struct qrig_file *f = file_of(d);

	if (is_dead(f))
		return -EIO;
	f->writes++;
	for (unsigned i = 0; i < count; i++) {
		put(f, offset, spans[i].base, spans[i].len);
		offset += spans[i].len;
	}
	return 0;
}

static int file_discard(struct disk *d, uint64_t offset, uint64_t len)
{
	struct qrig_file *f = file_of(d);
	uint8_t *zeroes;

	if (is_dead(f))
		return -EIO;
	f->writes++;
	zeroes = calloc(1, len);
	put(f, offset, zeroes, len);
	free(zeroes);
	return 0;
}

static int file_zero(struct disk *d, uint64_t offset, uint64_t len, bool unmap)
{
	(void)unmap;
	return file_discard(d, offset, len);
}

static void forget_pending(struct qrig_file *f)
{
	while (f->first) {
		struct pending *p = f->first;

		f->first = p->next;
		free(p);
	}
	f->end = &f->first;
}

static int file_flush(struct disk *d)
{
	struct qrig_file *f = file_of(d);

	if (is_dead(f))
		return -EIO;
	memcpy(f->durable, f->now, f->room);
	f->durable_size = d->size;
	forget_pending(f);
	return 0;
}

static int file_set_size(struct disk *d, uint64_t size)
{
	struct qrig_file *f = file_of(d);

	if (is_dead(f))
		return -EIO;
	have_room(f, size);
	d->size = size;
	return 0;
}

static void file_free(struct disk *d)
{
	(void)d;
}

static const struct disk_ops file_ops = {
	.free = file_free,
	.read = file_read,
	.write = file_write,
	.flush = file_flush,
	.discard = file_discard,
	.zero = file_zero,
	.set_size = file_set_size,
};

struct qrig_file *qrig_file_load(const char *name, unsigned long writes)
{
	struct qrig_file *f = calloc(1, sizeof(*f));
	FILE *from = fopen(qrig_path(name), "rb");

	assert_non_null(f);
	assert_non_null(from);
	f->disk.ops = &file_ops;
	f->room = MIB(1);
	f->now = calloc(1, f->room);
	f->durable = calloc(1, f->room);
	f->end = &f->first;
	f->limit = writes;
	fseek(from, 0, SEEK_END);
	f->disk.size = f->durable_size = (uint64_t)ftell(from);
	have_room(f, f->disk.size);
	rewind(from);
	assert_int_equal(fread(f->now, 1, f->disk.size, from), f->disk.size);
	memcpy(f->durable, f->now, f->disk.size);
	fclose(from);
	return f;
}

struct disk *qrig_file_disk(struct qrig_file *f)
{
	return &f->disk;
}

unsigned long qrig_file_writes(const struct qrig_file *f)
{
	return f->writes;
}

void qrig_file_crash(const struct qrig_file *f, const char *name)
{
	FILE *to = fopen(qrig_path(name), "wb");
	uint8_t *bytes = malloc(f->room);
	uint64_t size = f->durable_size;
	uint32_t often = qrig_random(4); /* of 3: none to all */

	assert_non_null(to);
	memcpy(bytes, f->durable, f->room);
	for (const struct pending *p = f->first; p; p = p->next) {
		for (uint64_t at = p->offset; at < p->offset + p->len;) {
			uint64_t n = MIN(512 - at % 512, p->offset + p->len - at);

			if (qrig_random(3) < often) {
				memcpy(bytes + at, p->bytes + (at - p->offset), n);
				size = MAX(size, at + n);
			}
			at += n;
		}
	}
	assert_int_equal(fwrite(bytes, 1, size, to), size);
	fclose(to);
	free(bytes);
}

void qrig_file_free(struct qrig_file *f)
{
	forget_pending(f);
	free(f->now);
	free(f->durable);
	free(f);
}
