/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs the programs of the suite one after the other and prints a line for each:
 *
 *	NAME KIND SECONDS CHECKSUM CPU-SECONDS
 *
 * SECONDS by CLOCK_MONOTONIC, around the work alone; CPU-SECONDS with children's, as the kernel
 * counts them. Where a program cannot run, "skipped" stands in place of the time. A line "bench:
 * begin SECONDS" comes first, "bench: end SECONDS" last: the same clock, so that who watches can
 * compare it with its own. Before the work of each a line "bench: run NAME" is written.
 *
 * With --copies N each program runs N times at once, each on a CPU of its own; SECONDS are the
 * slowest one's, CPU-SECONDS the sum.
 *
 * As process 1 it is a guest's whole userland: it mounts what it needs, takes its options from the
 * kernel's command line (bench.scale=X bench.only=NAME,...
 * bench.copies=N) and powers off.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/cpu/suite.h"

struct options {
	double scale;
	const char *only; /* names with commas between; NULL: all that need not be asked for */
	unsigned copies;
	bool list;
	bool pause; /* a moment's sleep around each program's work */
};

static const char *const kind_names[] = {"integer", "vector", "system"};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu_now(void)
{
	struct rusage own, children;

	getrusage(RUSAGE_SELF, &own);
	getrusage(RUSAGE_CHILDREN, &children);
	return seconds(own.ru_utime) + seconds(own.ru_stime) + seconds(children.ru_utime) +
	       seconds(children.ru_stime);
}

static bool named(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += len)
		if ((at == list || at[-1] == ',') && (at[len] == ',' || !at[len]))
			return true;
	return false;
}

static void *memory_take(size_t len)
{
	void *memory;

	if (!len)
		return NULL;
	memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		perror("memory");
		exit(1);
	}
	/* Pages of one size everywhere. */
	madvise(memory, len, MADV_NOHUGEPAGE);
	memset(memory, 0, len);
	return memory;
}

/* Time for who watches from outside to read the guest's line and the monitor's CPU clock. */
static void moment(const struct options *o)
{
	fflush(stdout);
	if (o->pause)
		usleep(20000);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : (size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Keeps to the CPU that it is on. */
static void pin(void)
{
	pin_to(sched_getcpu());
}

struct ran {
	double seconds, cpu;
	uint64_t sum;
};

/* begin, if not negative: a pipe that is read to its end between preparation and work. */
static struct ran work(const struct program *p, const struct options *o, int begin_fd)
{
	double units = (double)p->units * o->scale + 0.5, begin, cpu;
	uint64_t count = units < 1 ? 1 : (uint64_t)units;
	void *memory = memory_take(p->memory);
	struct ran ran;
	char byte;

	if (p->prepare)
		p->prepare(memory, count);
	if (begin_fd < 0) {
		printf("bench: run %s\n", p->name);
		moment(o);
	}
	while (begin_fd >= 0 && read(begin_fd, &byte, 1) > 0)
		;
	cpu = cpu_now();
	begin = now();
	ran.sum = p->run(memory, count);
	ran.seconds = now() - begin;
	ran.cpu = cpu_now() - cpu;
	if (memory)
		munmap(memory, p->memory);
	return ran;
}

static void check(bool good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

static void copy(const struct program *p, const struct options *o, int cpu, const int *begin,
		 int result)
{
	struct ran ran;

	close(begin[1]);
	pin_to(cpu);
	ran = work(p, o, begin[0]);
	_exit(write(result, &ran, sizeof(ran)) == sizeof(ran) ? 0 : 1);
}

/* All begin together, when there was time for all to be prepared. */
static struct ran work_copies(const struct program *p, const struct options *o)
{
	struct ran all = {0}, one;
	int begin[2], result[2];

	check(!pipe(begin) && !pipe(result), "pipe");
	fflush(stdout);
	for (unsigned n = 0; n < o->copies; n++) {
		pid_t pid = fork();

		check(pid >= 0, "fork");
		if (!pid)
			copy(p, o, (int)n, begin, result[1]);
	}
	close(begin[0]);
	usleep(500000);
	printf("bench: run %s\n", p->name);
	moment(o);
	close(begin[1]);
	for (unsigned n = 0; n < o->copies; n++) {
		check(read(result[0], &one, sizeof(one)) == sizeof(one), "copy");
		if (n && one.sum != all.sum)
			printf("bench: the copies' checksums differ\n");
		all.sum = one.sum;
		all.seconds = one.seconds > all.seconds ? one.seconds : all.seconds;
		all.cpu += one.cpu;
	}
	while (wait(NULL) > 0)
		;
	close(result[0]);
	close(result[1]);
	return all;
}

static void run(const struct program *p, const struct options *o)
{
	struct ran ran;

	if (p->possible && !p->possible()) {
		printf("%s %s skipped - -\n", p->name, kind_names[p->kind]);
		return;
	}
	ran = o->copies ? work_copies(p, o) : work(p, o, -1);
	printf("%s %s %.9f %016llx %.6f\n", p->name, kind_names[p->kind], ran.seconds,
	       (unsigned long long)ran.sum, ran.cpu);
	moment(o);
}

static void run_table(const struct program *p, const struct options *o)
{
	for (; p->name; p++) {
		if (o->only ? !named(o->only, p->name) : p->asked)
			continue;
		if (o->list)
			printf("%s %s%s\n", p->name, kind_names[p->kind], p->asked ? " asked" : "");
		else
			run(p, o);
		fflush(stdout);
	}
}

static void run_all(const struct options *o)
{
	if (!o->list)
		printf("bench: begin %.6f\n", now());
	fflush(stdout);
	run_table(compute_programs, o);
	pin();
	run_table(system_programs, o);
	if (!o->list)
		printf("bench: end %.6f\n", now());
	fflush(stdout);
}

static int usage(void)
{
	fprintf(stderr, "usage: cpu [--scale X] [--only NAME,...] [--copies N] [--pause] "
			"[--list]\n");
	return 2;
}

static bool scale_of(const char *text, double *scale)
{
	char *end;

	*scale = strtod(text, &end);
	return end != text && !*end && *scale > 0 && *scale <= 1000;
}

/* --- process 1 of a guest --------------------------------------------------------------------- */

static void mount_all(void)
{
	mkdir("/proc", 0755);
	mkdir("/dev", 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mkdir("/dev/shm", 0755);
	mount("shm", "/dev/shm", "tmpfs", 0, NULL);
}

static void guest_options(char *words, struct options *o)
{
	char *at, *word;

	for (word = strtok_r(words, " \n", &at); word; word = strtok_r(NULL, " \n", &at)) {
		if (!strncmp(word, "bench.scale=", 12) && !scale_of(word + 12, &o->scale))
			printf("bench: not a scale: %s\n", word);
		if (!strncmp(word, "bench.only=", 11))
			o->only = word + 11;
		if (!strncmp(word, "bench.copies=", 13))
			o->copies = (unsigned)atoi(word + 13);
	}
}

static _Noreturn void guest(void)
{
	static const char cmdline[] = "/proc/cmdline";
	struct options o = {.scale = 1, .pause = true};
	char words[4096];
	ssize_t len = 0;
	int fd;

	mount_all();
	fd = open(cmdline, O_RDONLY);
	if (fd >= 0)
		len = read(fd, words, sizeof(words) - 1);
	words[len < 0 ? 0 : len] = '\0';
	guest_options(words, &o);
	run_all(&o);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	struct options o = {.scale = 1};

	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	if (getpid() == 1)
		guest();
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--list"))
			o.list = true;
		else if (!strcmp(argv[i], "--pause"))
			o.pause = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--only"))
			o.only = argv[++i];
		else if (i + 1 < argc && !strcmp(argv[i], "--copies"))
			o.copies = (unsigned)atoi(argv[++i]);
		else if (i + 1 >= argc || strcmp(argv[i], "--scale") ||
			 !scale_of(argv[++i], &o.scale))
			return usage();
	}
	run_all(&o);
	return 0;
}
