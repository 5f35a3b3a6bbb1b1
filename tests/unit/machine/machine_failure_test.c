/* SPDX-License-Identifier: Apache-2.0 */
/* Machines that cannot be built or started: one clear line, and nothing is left behind. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "../core/engine_fake.h"
#include "base/bits.h"
#include "machine_rig.h"

#define CPUS 4

/* Which call of which entry fails. */
static struct {
	unsigned entry;
	unsigned calls_before;
} fault;

enum { VM_CREATE = 1, CPUID_SUPPORTED, MAP, VCPU_CREATE, SET_STATE };

static int refuse(unsigned entry, struct err *e)
{
	if (fault.entry != entry || fault.calls_before--)
		return 0;
	return err_set(e, EREMOTEIO, "entry %u refuses", entry);
}

static int vm_create(struct engine_vm **vm, const struct engine_env *env, struct err *e)
{
	int rc = refuse(VM_CREATE, e);

	return rc ? rc : fake_engine.vm_create(vm, env, e);
}

static int cpuid_supported(struct engine_vm *vm, struct cpuid_table *table, struct err *e)
{
	int rc = refuse(CPUID_SUPPORTED, e);

	return rc ? rc : fake_engine.cpuid_supported(vm, table, e);
}

static int map(struct engine_vm *vm, const struct mem_region *region, struct err *e)
{
	int rc = refuse(MAP, e);

	return rc ? rc : fake_engine.map(vm, region, e);
}

static int vcpu_create(struct engine_vm *vm, const struct engine_vcpu_config *config,
		       struct engine_vcpu **vcpu, struct err *e)
{
	int rc = refuse(VCPU_CREATE, e);

	return rc ? rc : fake_engine.vcpu_create(vm, config, vcpu, e);
}

static int set_state(struct engine_vcpu *vcpu, const struct vcpu_state *state, struct err *e)
{
	int rc = refuse(SET_STATE, e);

	return rc ? rc : fake_engine.set_state(vcpu, state, e);
}

static void init(struct rig *r)
{
	struct buf p = BUF_INIT;

	rig_spin(&p);
	rig_init(r, &p);
	r->config.cpus = CPUS;
	r->engine.vm_create = vm_create;
	r->engine.cpuid_supported = cpuid_supported;
	r->engine.map = map;
	r->engine.vcpu_create = vcpu_create;
	r->engine.set_state = set_state;
	fault.entry = 0;
}

/* Builds and starts; gives what failed. */
static int try(struct rig *r, struct err *e)
{
	int rc;

	*e = (struct err)ERR_INIT;
	r->machine = machine_new(&r->config, e);
	rc = r->machine ? machine_start(r->machine, e) : e->code;
	machine_free(r->machine);
	r->machine = NULL;
	return rc;
}

static void each_step_of_the_engine_may_fail(void **state)
{
	static const struct {
		unsigned entry, calls;
	} steps[] = {{VM_CREATE, 1},
		     {CPUID_SUPPORTED, 1},
		     {MAP, 2},
		     {VCPU_CREATE, CPUS},
		     {SET_STATE, CPUS}};
	unsigned before = rig_descriptors();

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(steps); i++) {
		for (unsigned call = 0; call < steps[i].calls; call++) {
			struct err e;
			struct rig r;
			char text[32];

			init(&r);
			r.config.memory = GIB(3) + MIB(16); /* two regions */
			fault.entry = steps[i].entry;
			fault.calls_before = call;
			assert_int_equal(try(&r, &e), -EREMOTEIO);
			snprintf(text, sizeof(text), "entry %u refuses", steps[i].entry);
			assert_string_equal(e.text, text);
			rig_release(&r);
			assert_int_equal(rig_descriptors(), before);
		}
	}
}

/* One descriptor more each time, until there are enough: never a leak, always words. */
static void descriptors_may_run_out(void **state)
{
	unsigned before = rig_descriptors(), failures = 0;
	struct rlimit limit, low;
	struct err e;
	struct rig r;
	int rc;

	(void)state;
	init(&r);
	r.config.console_in = STDIN_FILENO;
	r.config.console_out = STDOUT_FILENO;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 3;
	do {
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
		rc = try(&r, &e);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
		assert_int_equal(rig_descriptors(), before);
		if (rc) {
			assert_int_equal(rc, -EMFILE);
			assert_non_null(strstr(e.text, ": "));
			failures++;
		}
		low.rlim_cur++;
	} while (rc && low.rlim_cur < 64);
	assert_int_equal(rc, 0);
	assert_in_range(failures, 6, 20);
	rig_release(&r);
}

static void files_that_are_no_kernel(void **state)
{
	static const char *const names[] = {"/nonexistent/kernel", "/", "/dev/null"};
	unsigned before = rig_descriptors();

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
		struct err e;
		struct rig r;

		init(&r);
		r.config.boot.kernel = names[i];
		assert_int_not_equal(try(&r, &e), 0);
		assert_non_null(strstr(e.text, names[i]));
		rig_release(&r);
		assert_int_equal(rig_descriptors(), before);
	}
}

static void an_initrd_that_does_not_fit(void **state)
{
	unsigned before = rig_descriptors();
	struct err e;
	struct rig r;

	(void)state;
	init(&r);
	r.config.boot.initrd = "/nonexistent/initrd";
	assert_int_equal(try(&r, &e), -ENOENT);
	r.config.boot.initrd = NULL;
	r.config.memory = MIB(16); /* the kernel lies above */
	assert_int_not_equal(try(&r, &e), 0);
	assert_true(e.text[0]);
	rig_release(&r);
	assert_int_equal(rig_descriptors(), before);
}

static void an_unknown_cpu_model(void **state)
{
	struct err e;
	struct rig r;

	(void)state;
	init(&r);
	r.config.cpu_model = "6502";
	assert_int_not_equal(try(&r, &e), 0);
	assert_non_null(strstr(e.text, "6502"));
	rig_release(&r);
}

static void console_descriptors_that_are_not_open(void **state)
{
	unsigned before = rig_descriptors();
	struct err e;
	struct rig r;

	(void)state;
	init(&r);
	r.config.console_out = 999;
	assert_int_equal(try(&r, &e), -EBADF);
	r.config.console_out = -1;
	r.config.console_in = 999;
	assert_int_equal(try(&r, &e), -EBADF);
	rig_release(&r);
	assert_int_equal(rig_descriptors(), before);
}

/* The fake engine's processor has 40 bits of physical address, so 1 TiB of it. */
static void memory_beyond_the_processors_addresses(void **state)
{
	struct err e;
	struct rig r;

	(void)state;
	init(&r);
	r.config.memory = GIB(1023);
	assert_int_equal(try(&r, &e), 0);
	r.config.memory = GIB(1024);
	assert_int_equal(try(&r, &e), -EINVAL);
	assert_string_equal(e.text, "memory of 1024 GiB is too much: the processor has 40 bits of "
				    "physical address: give at most 1023 GiB");
	rig_release(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_step_of_the_engine_may_fail),
		cmocka_unit_test(descriptors_may_run_out),
		cmocka_unit_test(files_that_are_no_kernel),
		cmocka_unit_test(an_initrd_that_does_not_fit),
		cmocka_unit_test(an_unknown_cpu_model),
		cmocka_unit_test(console_descriptors_that_are_not_open),
		cmocka_unit_test(memory_beyond_the_processors_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
