/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same guest, stopped at the same point, has the same state under every engine; and
 * goes on from there under every engine to the same end:
 *
 *	kvm: begin .. stop ----+----> kvm: .. end
 *	                 |      \ /
 *	              the same   X     the same end four times
 *	                 |      / \
 *	bt:  begin .. stop ----+----> bt: .. end
 *
 * and the same as without state taken and set; and so for bt in each of its ways. Where KVM is not
 * (hardware), these alone.
 * All of RAM is compared too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/bt.h"
#include "engine/kvm/kvm.h"
#include "engine_compare.h"
#include "engine_guests.h"

#define ENGINES 4

static const struct engine_ops *engines[ENGINES] = {&bt_engine, &bt_engine_interp, &bt_engine_check,
						    &kvm_engine};
static unsigned engine_count = ENGINES;
static struct cpuid_table cpuid;

/* A guest that stands still. */
struct moment {
	const char *who;
	struct vcpu_state state;
	uint32_t tell[BOX_TELLS];
	unsigned tells;
	uint8_t ram[BOX_RAM];
};

static bool has_avx(void)
{
	const struct cpuid_entry *e = cpuid_find(&cpuid, 1, 0);

	return e && e->ecx & BIT(28);
}

static void take(struct box *b, struct moment *m)
{
	box_get(b, 0, &m->state);
	memcpy(m->tell, b->tell, sizeof(m->tell));
	m->tells = b->tells;
	assert_true(mem_read(&b->mem, 0, m->ram, BOX_RAM));
}

static void run_to_stop(struct box *b, unsigned stop)
{
	box_run(b, 0, ENGINE_KICKED);
	assert_int_equal(b->stops, stop);
}

static void begin(struct box *b, const struct engine_ops *engine, const struct guest_case *c,
		  struct vcpu_state *s)
{
	box_init(b, engine, &cpuid, 1);
	c->prepare(b, s);
}

/* From the beginning to the stop, and on from there without anybody looking. */
static void run_first(const struct engine_ops *engine, const struct guest_case *c,
		      struct moment *stop, struct moment *end)
{
	struct vcpu_state s;
	struct box b;

	begin(&b, engine, c, &s);
	box_set(&b, 0, &s);
	run_to_stop(&b, 1);
	take(&b, stop);
	box_release(&b);
	stop->who = engine->name;
	if (c->alter)
		return;
	begin(&b, engine, c, &s);
	box_set(&b, 0, &s);
	run_to_stop(&b, 1);
	run_to_stop(&b, 2);
	take(&b, end);
	box_release(&b);
	end->who = engine->name;
}

/* From another's stop to the end. */
static void run_second(const struct engine_ops *engine, const struct guest_case *c,
		       const struct moment *stop, struct moment *end)
{
	struct buf out = {0};
	struct vcpu_state s, got;
	struct box b;

	begin(&b, engine, c, &s);
	assert_true(mem_write(&b.mem, 0, stop->ram, BOX_RAM));
	memcpy(b.tell, stop->tell, sizeof(b.tell));
	b.tells = stop->tells;
	s = stop->state;
	if (c->alter)
		c->alter(&s);
	box_set(&b, 0, &s);
	box_get(&b, 0, &got);
	engine_compare(&s, &got, &out);
	if (out.len)
		fail_msg("%s: what %s set is not what %s reads:\n%.*s", c->name, stop->who,
			 engine->name, (int)out.len, (const char *)out.data);
	run_to_stop(&b, 1);
	take(&b, end);
	box_release(&b);
	buf_release(&out);
}

static void same(const struct guest_case *c, const struct moment *a, const struct moment *b)
{
	struct buf out = {0};

	engine_compare(&a->state, &b->state, &out);
	if (a->tells != b->tells)
		buf_printf(&out, "told: %u values, %u\n", a->tells, b->tells);
	for (unsigned i = 0; i < MIN(a->tells, b->tells); i++)
		if (a->tell[i] != b->tell[i])
			buf_printf(&out, "told %u: 0x%x, 0x%x\n", i, a->tell[i], b->tell[i]);
	for (unsigned i = 0; i < BOX_RAM && out.len < 4000; i++)
		if ((a->ram[i] ^ b->ram[i]) & ~(i == c->excused ? c->excused_bits : 0u))
			buf_printf(&out, "RAM at 0x%x: 0x%x, 0x%x\n", i, a->ram[i], b->ram[i]);
	if (out.len)
		fail_msg("%s: %s and %s differ:\n%.*s", c->name, a->who, b->who, (int)out.len,
			 (const char *)out.data);
	buf_release(&out);
}

static void try(const struct guest_case *c)
{
	struct moment *stop = calloc(ENGINES, sizeof(*stop));
	struct moment *end = calloc(ENGINES * (ENGINES + 1), sizeof(*end));
	char who[ENGINES * ENGINES][32];
	unsigned ends = 0;

	assert_true(stop && end);
	for (unsigned i = 0; i < engine_count; i++) {
		run_first(engines[i], c, &stop[i], &end[ends]);
		if (i)
			same(c, &stop[0], &stop[i]);
		ends += !c->alter;
	}
	for (unsigned i = 0; i < engine_count * engine_count; i++) {
		const struct engine_ops *to = engines[i / engine_count];
		const struct moment *from = &stop[i % engine_count];

		if (to == &kvm_engine && c->not_to_kvm)
			continue;
		snprintf(who[i], sizeof(who[i]), "%s to %s", from->who, to->name);
		run_second(to, c, from, &end[ends]);
		end[ends++].who = who[i];
	}
	for (unsigned i = 0; i < ends; i++) {
		same(c, &end[0], &end[i]);
		if (end[i].tells != c->tells)
			fail_msg("%s: %s told %u values, not %u", c->name, end[i].who, end[i].tells,
				 c->tells);
	}
	free(stop);
	free(end);
}

static void a_guest_has_one_state(void **state)
{
	const struct guest_case *c = *state;

	if (c->avx && !has_avx()) {
		print_message("no AVX here: %s not run\n", c->name);
		return;
	}
	try(c);
}

int main(int argc, char **argv)
{
	struct CMUnitTest *tests = calloc(guest_case_count, sizeof(*tests));
	int failed;

	if (!tests)
		return 1;
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	if (!box_has_kvm()) {
		printf("no hardware virtualization here: engine bt alone\n");
		engine_count = ENGINES - 1; /* it is the last */
	}
	box_cpuid(&cpuid, engines, engine_count);
	for (unsigned i = 0; i < guest_case_count; i++)
		tests[i] = (struct CMUnitTest){guest_cases[i].name, a_guest_has_one_state, NULL,
					       NULL, (void *)(uintptr_t)&guest_cases[i]};
	failed = _cmocka_run_group_tests("state", tests, guest_case_count, NULL, NULL);
	free(tests);
	return failed;
}
