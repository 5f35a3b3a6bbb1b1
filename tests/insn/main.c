/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn [options]: instructions on the host's processor and in the interpreter, compared.
 *
 * The parent starts a worker a job, gathers their reports, and has one case of each kind of
 * failure run again to print it. A worker that dies is reported with its case, and
 * another goes on after it.
 */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

#define JOBS_MAX    64
#define CRASHES_MAX 200

static const char usage[] =
	"usage: run [options]\n"
	"  --seed S      of the cases (1)\n"
	"  --cases N     how many (1000000)\n"
	"  --seconds T   stop after that time\n"
	"  --only TEXT   only instructions whose name has it, as in 64:f3.0f.ae/5m\n"
	"  --case N      case N alone, printed\n"
	"  --jobs J      processes (one a CPU)\n"
	"  --show K      print so many cases of failures (10)\n"
	"  --executor E  what runs lodge's side: interp, or translate (interp)\n"
	"  --coverage    print which forms of instructions the cases had\n"
	"  --self        the host against itself: a test of this test\n";

static pid_t start(const struct options *o, struct report *r, uint64_t from, uint64_t end)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		worker(o, r, from, o->jobs, end);
	return pid;
}

static void merge(struct report *all, const struct report *r)
{
	all->ldt |= r->ldt;
	all->run += r->run;
	all->left_out += r->left_out;
	all->reached += r->reached;
	all->faulted += r->faulted;
	all->endless += r->endless;
	all->failed += r->failed;
	all->transient += r->transient;
	for (unsigned i = 0; i < r->groups; i++) {
		const struct failure *f = &r->group[i];
		unsigned k = 0;

		while (k < all->groups && (strcmp(all->group[k].name, f->name) ||
					   strcmp(all->group[k].field, f->field)))
			k++;
		if (k < all->groups) {
			all->group[k].count += f->count;
		} else if (k < GROUPS_MAX) {
			all->group[k] = *f;
			all->groups++;
		}
	}
}

static int by_count(const void *a, const void *b)
{
	const struct failure *x = a, *y = b;

	return x->count < y->count ? 1 : x->count > y->count ? -1 : strcmp(x->name, y->name);
}

/* Runs one case again in a process of its own, which prints it. */
static bool show(const struct options *o, uint64_t number)
{
	static struct report r;
	struct options one = *o;
	int status = 0;
	pid_t pid;

	one.single = true;
	one.jobs = 1;
	one.only = NULL;
	one.seconds = 0;
	printf("case: --seed %llu --case %llu\n", (unsigned long long)o->seed,
	       (unsigned long long)number);
	pid = start(&one, &r, number, number + 1);
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* Waits for all workers, and starts another where one died. Returns how many died. */
static unsigned gather(const struct options *o, struct report *reports)
{
	pid_t pids[JOBS_MAX];
	unsigned crashes = 0, running = o->jobs;
	uint64_t end = o->from + o->cases;
	int status;

	for (unsigned j = 0; j < o->jobs; j++)
		pids[j] = start(o, &reports[j], o->from + j, end);
	while (running) {
		pid_t pid = wait(&status);
		unsigned j = 0;

		if (pid < 0)
			break;
		while (j < o->jobs && pids[j] != pid)
			j++;
		if (j == o->jobs)
			continue;
		running--;
		if (status == 0)
			continue;
		crashes++;
		printf("DIED with status %#x: --seed %llu --case %llu\n", status,
		       (unsigned long long)o->seed, (unsigned long long)reports[j].current - 1);
		if (crashes < CRASHES_MAX && reports[j].current) {
			pids[j] = start(o, &reports[j], reports[j].current - 1 + o->jobs, end);
			running++;
		}
	}
	return crashes;
}

static bool parse(struct options *o, unsigned *shown, int argc, char **argv)
{
	static const struct option longs[] = {
		{"seed", 1, 0, 's'},     {"cases", 1, 0, 'n'},    {"only", 1, 0, 'o'},
		{"case", 1, 0, 'c'},     {"jobs", 1, 0, 'j'},     {"self", 0, 0, 'S'},
		{"executor", 1, 0, 'e'}, {"coverage", 0, 0, 'C'}, {"show", 1, 0, 'k'},
		{"seconds", 1, 0, 't'},  {"help", 0, 0, 'h'},     {0, 0, 0, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 's':
			o->seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			o->cases = strtoull(optarg, NULL, 0);
			break;
		case 'o':
			o->only = optarg;
			break;
		case 'c':
			o->single = true;
			o->from = strtoull(optarg, NULL, 0);
			break;
		case 'j':
			o->jobs = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'C':
			o->coverage = coverage_new();
			break;
		case 'e':
			o->executor = optarg;
			break;
		case 'S':
			o->self = true;
			break;
		case 'k':
			*shown = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 't':
			o->seconds = strtod(optarg, NULL);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	return optind == argc && o->jobs >= 1 && o->jobs <= JOBS_MAX;
}

int main(int argc, char **argv)
{
	struct options o = {.seed = 1,
			    .cases = 1000000,
			    .executor = "interp",
			    .jobs = (unsigned)sysconf(_SC_NPROCESSORS_ONLN)};
	struct report *reports, *all;
	struct timespec begin, done;
	unsigned crashes, shown = 10;
	double took;

	if (o.jobs > JOBS_MAX)
		o.jobs = JOBS_MAX;
	if (!parse(&o, &shown, argc, argv)) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.single) {
		static struct report one;

		o.only = NULL;
		worker(&o, &one, o.from, 1, o.from + 1);
	}
	reports = mmap(NULL, sizeof *reports * (o.jobs + 1), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (reports == MAP_FAILED)
		return 1;
	all = reports + o.jobs;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	crashes = gather(&o, reports);
	clock_gettime(CLOCK_MONOTONIC, &done);
	took = (double)(done.tv_sec - begin.tv_sec) + (double)(done.tv_nsec - begin.tv_nsec) * 1e-9;
	for (unsigned j = 0; j < o.jobs; j++)
		merge(all, &reports[j]);
	qsort(all->group, all->groups, sizeof *all->group, by_count);
	for (unsigned i = 0; i < all->groups && i < shown; i++) {
		printf("\n%s differs in %s: %llu times; ", all->group[i].name, all->group[i].field,
		       (unsigned long long)all->group[i].count);
		show(&o, all->group[i].first);
	}
	if (all->groups)
		printf("\n");
	for (unsigned i = 0; i < all->groups; i++)
		printf("%8llu  %-24s %-8s --case %llu\n", (unsigned long long)all->group[i].count,
		       all->group[i].name, all->group[i].field,
		       (unsigned long long)all->group[i].first);
	if (o.coverage)
		printf("insn: %u forms without a case\n", coverage_print(o.coverage, stdout));
	if (!all->ldt)
		printf("insn: this kernel gives no 16-bit segments (modify_ldt): without them\n");
	printf("insn: %llu cases of seed %llu (%llu ended, %llu raised an exception, %llu were "
	       "endless, %llu left out) in %.1f s, %.0f a second and process: %llu differ, in %u "
	       "kinds; %llu differed once; %u died\n",
	       (unsigned long long)all->run, (unsigned long long)o.seed,
	       (unsigned long long)all->reached, (unsigned long long)all->faulted,
	       (unsigned long long)all->endless, (unsigned long long)all->left_out, took,
	       (double)all->run / took / o.jobs, (unsigned long long)all->failed, all->groups,
	       (unsigned long long)all->transient, crashes);
	return all->failed || crashes;
}
