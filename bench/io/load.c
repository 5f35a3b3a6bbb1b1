/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load DEVICE SECONDS NAME...: reads or writes DEVICE past the cache, by the kernel's asynchronous
 * I/O, and says what it came to. A NAME is what is done: (rand|seq)(read|write)-SIZE-DEPTH, with
 * the size of a transfer in KiB and how many are under way at a time. SECONDS with an x behind it
 * is a number of KiB instead: a load is then so many operations as that takes (and at least
 * OPERATIONS_MIN), behind some that are not counted, and stands between two marks of the lab's
 * plugin.
 *
 *	LOAD: begin NAME
 *	LOAD: end NAME OPERATIONS NANOSECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/lab/mark.h"

#define DEPTH_MAX      64
#define OPERATIONS_MIN 32

/* A load's end: a time, or a number of operations. */
struct end {
	double seconds;
	uint64_t kib; /* 0: by time */
};

struct load {
	int fd;
	bool random, write;
	size_t size;
	unsigned depth;
	uint64_t blocks, next, state;
	aio_context_t context;
	struct iocb requests[DEPTH_MAX];
	char *memory;
};

static void die(const char *what)
{
	printf("LOAD: failed: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t choose(struct load *l)
{
	if (!l->random)
		return l->next++ % l->blocks;
	/* xorshift64 */
	l->state ^= l->state << 13;
	l->state ^= l->state >> 7;
	l->state ^= l->state << 17;
	return l->state % l->blocks;
}

static void submit(struct load *l, unsigned n, struct iocb **list)
{
	long done;

	for (; n; n -= (unsigned)done, list += done) {
		done = syscall(SYS_io_submit, l->context, (long)n, list);
		if (done <= 0)
			die("io_submit");
	}
}

static void prepare(struct load *l, struct iocb *r)
{
	size_t i = (size_t)(r - l->requests);

	*r = (struct iocb){
		.aio_lio_opcode = l->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = (uint32_t)l->fd,
		.aio_buf = (uintptr_t)(l->memory + i * l->size),
		.aio_nbytes = l->size,
		.aio_offset = (int64_t)(choose(l) * l->size),
	};
}

/* Until the time `end`, or so many operations, are over; how many it were. */
static uint64_t run(struct load *l, uint64_t end, uint64_t most)
{
	struct io_event events[DEPTH_MAX];
	struct iocb *list[DEPTH_MAX];
	uint64_t ops = 0, begun = l->depth;
	unsigned n = l->depth;

	for (unsigned i = 0; i < n; i++) {
		list[i] = &l->requests[i];
		prepare(l, list[i]);
	}
	submit(l, n, list);
	for (unsigned under_way = n; under_way;) {
		long got = syscall(SYS_io_getevents, l->context, 1L, (long)DEPTH_MAX, events, NULL);
		bool in_time = most || now() < end;
		unsigned again = 0;

		if (got <= 0)
			die("io_getevents");
		for (long i = 0; i < got; i++) {
			if (events[i].res != (int64_t)l->size)
				die("a request");
			if (!in_time || (most && begun >= most))
				continue;
			list[again] = (struct iocb *)(uintptr_t)events[i].obj;
			prepare(l, list[again++]);
			begun++;
		}
		ops += (uint64_t)got;
		under_way -= (unsigned)got - again;
		submit(l, again, list);
	}
	return ops;
}

static uint64_t counted(struct load *l, const struct end *end, uint64_t *begin)
{
	uint64_t count = end->kib / (l->size >> 10), ops;

	if (count < OPERATIONS_MIN)
		count = OPERATIONS_MIN;
	run(l, 0, l->depth * 2);
	tcdrain(STDOUT_FILENO);
	*begin = now();
	MARK(MARK_LOOP_A);
	ops = run(l, 0, count);
	MARK(MARK_LOOP_B);
	return ops;
}

static void do_load(const char *device, const char *name, const struct end *end)
{
	struct load l = {.state = 88172645463325252u};
	char kind[8];
	unsigned kib;
	uint64_t size, begin, ops;

	l.random = !strncmp(name, "rand", 4);
	if (sscanf(name + (l.random ? 4 : 3), "%7[a-z]-%u-%u", kind, &kib, &l.depth) != 3 || !kib ||
	    !l.depth || l.depth > DEPTH_MAX)
		die(name);
	l.write = !strcmp(kind, "write");
	l.size = (size_t)kib << 10;
	l.fd = open(device, (l.write ? O_RDWR : O_RDONLY) | O_DIRECT);
	if (l.fd < 0 || ioctl(l.fd, BLKGETSIZE64, &size))
		die(device);
	l.blocks = size / l.size;
	l.memory = aligned_alloc(4096, l.size * l.depth);
	if (!l.memory || syscall(SYS_io_setup, (long)l.depth, &l.context))
		die("memory");
	memset(l.memory, 0x5a, l.size * l.depth);
	printf("LOAD: begin %s\n", name);
	begin = now();
	ops = end->kib ? counted(&l, end, &begin)
		       : run(&l, begin + (uint64_t)(end->seconds * 1e9), 0);
	printf("LOAD: end %s %llu %llu\n", name, (unsigned long long)ops,
	       (unsigned long long)(now() - begin));
	syscall(SYS_io_destroy, l.context);
	free(l.memory);
	close(l.fd);
}

int main(int argc, char **argv)
{
	struct end end = {.seconds = argc > 2 ? atof(argv[2]) : 0};

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 2 && strchr(argv[2], 'x'))
		end.kib = strtoull(argv[2], NULL, 10);
	for (int i = 3; i < argc; i++)
		do_load(argv[1], argv[i], &end);
	printf("LOAD: all\n");
	return 0;
}
