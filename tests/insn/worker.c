/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One worker: both worlds are in its process. The memory of each is the background
 * of the seed with the case's patches; whatever a case changes is put back after it.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "segments.h"
#include "worker.h"

struct rig {
	const struct options *o;
	struct report *r;
	struct generator generator;
	struct memory native, lodge;
	uint8_t saved[DATA_SIZE]; /* with o->self: what the first run left */
	uint8_t background[DATA_SIZE];
	unsigned dirty_from, dirty_to; /* bytes of the code pages that are not INT3 */
};

static void write_code(struct rig *g, const struct test_case *c)
{
	unsigned at = c->addr - CODE_ADDR, len = c->len + c->tail;
	unsigned from = at, to = at + len;

	if (to > CODE_SIZE)
		to = CODE_SIZE;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *code = i ? g->lodge.code : g->native.code;

		if (!code)
			continue;
		memset(code + g->dirty_from, 0xcc, g->dirty_to - g->dirty_from);
		memcpy(code + from, c->code, to - from);
	}
	if (g->lodge.code) {
		lodge_code_written(g->dirty_from, g->dirty_to - g->dirty_from);
		lodge_code_written(from, to - from);
	}
	g->dirty_from = from;
	g->dirty_to = to;
}

static void patch(const struct test_case *c, uint8_t *data)
{
	for (unsigned i = 0; i < c->patches; i++)
		memcpy(data + c->patch[i].offset, c->patch[i].bytes, c->patch[i].len);
}

static void put_back(const struct rig *g, uint8_t *data)
{
	for (unsigned i = 0; i < DATA_SIZE; i += PAGE / 2)
		if (memcmp(data + i, g->background + i, PAGE / 2))
			memcpy(data + i, g->background + i, PAGE / 2);
}

static void add_failure(struct report *r, const struct test_case *c, const char *field)
{
	struct head h;
	char name[NAME_MAX] = "?";
	struct failure *f;

	r->failed++;
	if (head_parse(&h, c->mode, c->code, c->len + 4))
		head_name(&h, c->mode, name);
	if (c->insns > 1)
		snprintf(name, sizeof name, "%s:sequence", mode_names[c->mode]);
	for (unsigned i = 0; i < r->groups; i++) {
		f = &r->group[i];
		if (!strcmp(f->name, name) && !strcmp(f->field, field)) {
			f->count++;
			return;
		}
	}
	if (r->groups == GROUPS_MAX)
		return;
	f = &r->group[r->groups++];
	f->count = 1;
	f->first = c->number;
	snprintf(f->name, sizeof f->name, "%s", name);
	snprintf(f->field, sizeof f->field, "%s", field);
}

/* A difference counts if it is there again the second time: the host's kernel may have switched
 * to another task in the middle of the first, by which AMD's processors forget the x87's pointers.
 * *again asks for the second run. */
static void compare_case(struct rig *g, const struct test_case *c, bool *again)
{
	static struct outcome native, other;
	struct memory *second = g->o->self ? &(struct memory){.data = g->saved} : &g->lodge;
	const char *field;

	write_code(g, c);
	patch(c, g->native.data);
	native_run(&c->in, &native);
	if (g->o->self) {
		memcpy(g->saved, g->native.data, DATA_SIZE);
		put_back(g, g->native.data);
		patch(c, g->native.data);
		native_run(&c->in, &other);
	} else {
		if (lodge_learns(c)) {
			patch(c, g->lodge.data);
			lodge_run(c, &other);
			put_back(g, g->lodge.data);
		}
		patch(c, g->lodge.data);
		lodge_run(c, &other);
	}
	if (!*again) {
		g->r->run++;
		g->r->reached += native.end == END_REACHED;
		g->r->faulted += native.end < END_REACHED;
		g->r->endless += native.end == END_TIMEOUT;
		if (g->o->coverage)
			coverage_count(g->o->coverage, c, native.end);
	}
	field = compare(c, &native, &other, &g->native, second, NULL);
	if (field && *again)
		add_failure(g->r, c, field);
	g->r->transient += *again && !field;
	*again = field && !*again;
	if (g->o->single && !*again) {
		print_case(c, stdout);
		printf("  end: native %u, lodge %u\n", native.end, other.end);
		compare(c, &native, &other, &g->native, second, stdout);
	}
	put_back(g, g->native.data);
	if (!g->o->self)
		put_back(g, g->lodge.data);
}

static void run_case(struct rig *g, const struct test_case *c)
{
	bool again = false;

	compare_case(g, c, &again);
	if (again)
		compare_case(g, c, &again);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* LSL of Linux's segment 0x7b gives the CPU's number: it must not change. */
static void stay(unsigned n)
{
	cpu_set_t set;
	unsigned count, pick = 0;

	if (sched_getaffinity(0, sizeof set, &set))
		return;
	count = (unsigned)CPU_COUNT(&set);
	for (unsigned cpu = 0; count && cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set) || pick++ != n % count)
			continue;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		sched_setaffinity(0, sizeof set, &set);
		return;
	}
}

_Noreturn void worker(const struct options *o, struct report *r, uint64_t from, uint64_t step,
		      uint64_t end)
{
	static struct rig g;
	static struct test_case c;
	double until = o->seconds > 0 ? now() + o->seconds : 0;

	g.o = o;
	g.r = r;
	stay((unsigned)from);
	generate_background(g.background, o->seed);
	g.generator = (struct generator){o->seed, o->only, segments_install()};
	r->ldt = g.generator.ldt;
	if ((!o->self && lodge_init(&g.lodge, o->executor)) || native_init(&g.native)) {
		fprintf(stderr, "insn: cannot set up\n");
		_exit(1);
	}
	if (!o->self)
		lodge_exit_page();
	memcpy(g.native.data, g.background, DATA_SIZE);
	if (!o->self)
		memcpy(g.lodge.data, g.background, DATA_SIZE);
	for (uint64_t n = from; n < end; n += step) {
		r->current = n + 1;
		if (generate(&g.generator, &c, n))
			run_case(&g, &c);
		else
			r->left_out++;
		if (until > 0 && (n / step) % 1024 == 0 && now() > until)
			break;
	}
	r->current = 0;
	fflush(stdout);
	_exit(0);
}
