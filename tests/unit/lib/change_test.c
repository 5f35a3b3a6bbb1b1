/* SPDX-License-Identifier: Apache-2.0 */
/* The words of changes of a running VM's devices. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/change.h"

static struct machine_change parse(const char *device, const char *value)
{
	struct machine_change c;
	struct err e = ERR_INIT;

	if (change_parse(&c, device, value, &e))
		fail_msg("%s %s: %s", device, value, e.text);
	return c;
}

static void refuse(const char *device, const char *value, const char *words)
{
	struct machine_change c;
	struct err e = ERR_INIT;

	assert_int_equal(change_parse(&c, device, value, &e), -EINVAL);
	if (!strstr(e.text, words))
		fail_msg("%s %s: %s", device, value, e.text);
}

static void disks(void **state)
{
	struct machine_change c = parse("disk3", "size");

	(void)state;
	assert_int_equal(c.kind, MACHINE_CHANGE_DISK_SIZE);
	assert_int_equal(c.device, 3);
	c = parse("disk2", "file=/a,b;ops=1");
	assert_int_equal(c.kind, MACHINE_CHANGE_DISK_FILE);
	assert_string_equal(c.path, "/a,b;ops=1");
	assert_int_equal(c.device, 2);
	refuse("disk0", "file=", "give size, file=FILE");
	refuse("net0", "file=x", "cannot be changed");
	c = parse("disk0", "ops=100/50+7");
	assert_int_equal(c.kind, MACHINE_CHANGE_DISK_LIMITS);
	assert_true(c.limits[0].has_ops && !c.limits[0].has_bandwidth);
	assert_int_equal(c.limits[0].to.ops.size, 100);
	assert_int_equal(c.limits[0].to.ops.refill_ms, 50);
	assert_int_equal(c.limits[0].to.ops.burst, 7);
	c = parse("disk11", "bandwidth=none,ops=1K");
	assert_true(c.limits[0].has_ops && c.limits[0].has_bandwidth);
	assert_int_equal(c.limits[0].to.bandwidth.size, 0);
	assert_int_equal(c.limits[0].to.ops.size, 1024);
	assert_int_equal(c.device, 11);
}

static void networks(void **state)
{
	struct machine_change c = parse("net1", "rx-ops=5,tx-bandwidth=6,tx-ops=none");

	(void)state;
	assert_int_equal(c.kind, MACHINE_CHANGE_NET_LIMITS);
	assert_int_equal(c.device, 1);
	assert_true(c.limits[0].has_ops && !c.limits[0].has_bandwidth);
	assert_true(c.limits[1].has_ops && c.limits[1].has_bandwidth);
	assert_int_equal(c.limits[0].to.ops.size, 5);
	assert_int_equal(c.limits[1].to.bandwidth.size, 6);
	assert_int_equal(c.limits[1].to.ops.size, 0);
}

static void balloons(void **state)
{
	struct machine_change c = parse("balloon", "size=64M");

	(void)state;
	assert_int_equal(c.kind, MACHINE_CHANGE_BALLOON);
	assert_int_equal(c.size, 64 << 20);
	assert_int_equal(parse("balloon", "size=0").size, 0);
	c = parse("memory", "size=64M");
	assert_int_equal(c.kind, MACHINE_CHANGE_MEMORY);
	assert_int_equal(c.size, 64 << 20);
	refuse("memory", "64M", "give size=SIZE");
	c = parse("pmem3", "ops=5");
	assert_int_equal(c.kind, MACHINE_CHANGE_PMEM_LIMITS);
	assert_int_equal(c.device, 3);
	refuse("pmem0", "size", "bandwidth or ops");
	c = parse("balloon", "stats=5");
	assert_int_equal(c.kind, MACHINE_CHANGE_BALLOON_STATS);
	assert_int_equal(c.seconds, 5);
	c = parse("balloon", "hinting=start");
	assert_int_equal(c.kind, MACHINE_CHANGE_BALLOON_HINTS);
	assert_true(c.on && c.acknowledge);
	c = parse("balloon", "hinting=hold");
	assert_true(c.on && !c.acknowledge);
	assert_false(parse("balloon", "hinting=stop").on);
	refuse("balloon", "stats=0", "stats=SECONDS");
	refuse("balloon", "stats=65536", "stats=SECONDS");
	refuse("balloon", "hinting=", "start, hold or stop");
	refuse("balloon", "64M", "give size=SIZE");
	refuse("balloon", "size=", "give size=SIZE");
	refuse("balloon", "size=big", "give size=SIZE");
	refuse("balloon0", "size=1", "'balloon0' cannot be changed");
}

static void what_cannot_be(void **state)
{
	static const char *const devices[] = {
		"",    "disk", "disk-1", "disk0x", "disk1000", "rng0", "disk99999999999999999999",
		"net", "0"};

	(void)state;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		refuse(devices[i], "size", "give diskN, netN, pmemN or balloon");
	refuse("net0", "size", "'size' cannot be changed");
	refuse("disk0", "", "'' cannot be changed");
	refuse("disk0", "colour=1", "'colour=1' cannot be changed");
	refuse("disk0", "rx-ops=1", "'rx-ops=1' cannot be changed");
	refuse("net0", "ops=1", "'ops=1' cannot be changed");
	refuse("net0", "rx-=1", "cannot be changed");
	refuse("disk0", "ops", "'ops' cannot be changed");
	refuse("disk0", "ops=", "is not a rate");
	refuse("disk0", "ops=0", "is not a rate");
	refuse("disk0", "ops=1,", "'' cannot be changed");
	refuse("disk0", "ops=nonesuch", "is not a rate");
	refuse("disk0", "size,ops=1", "'size' cannot be changed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(disks),
		cmocka_unit_test(networks),
		cmocka_unit_test(balloons),
		cmocka_unit_test(what_cannot_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
