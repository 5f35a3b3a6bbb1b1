/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/bits.h"
#include "core/engine.h"
#include "lib/config.h"

static void good(const char *name, const char *value)
{
	struct config c;
	struct err e = ERR_INIT;

	config_init(&c);
	if (config_set(&c, name, value, &e))
		fail_msg("%s=%s refused: %s", name, value, e.text);
	config_release(&c);
}

/* A value that must be refused with EINVAL, in words that name what was given. */
static void bad(const char *name, const char *value)
{
	struct config c;
	struct err e = ERR_INIT;

	config_init(&c);
	if (config_set(&c, name, value, &e) != -EINVAL || !strstr(e.text, name))
		fail_msg("%s=%s: code %d, text '%s'", name, value, e.code, e.text);
	config_release(&c);
}

static void sizes(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_int_equal(c.memory, MIB(256));
	assert_int_equal(config_set(&c, "memory", "512M", NULL), 0);
	assert_int_equal(c.memory, MIB(512));
	assert_int_equal(config_set(&c, "memory", "2g", NULL), 0);
	assert_int_equal(c.memory, GIB(2));
	assert_int_equal(config_set(&c, "memory", "16777217", NULL), 0);
	assert_int_equal(c.memory, MIB(16));
	config_release(&c);
	good("memory", "1024G");
	good("memory", "1T");
	bad("memory", "1025G");
	bad("memory", "0");
	bad("memory", "512"); /* bytes: too few */
	bad("memory", "");
	bad("memory", "M");
	bad("memory", "-1M");
	bad("memory", "1MB");
	bad("memory", "0x1000000");
	bad("memory", "99999999999999999999999");
	bad("memory", "18446744073709551615T");
}

static void cpus(void **state)
{
	(void)state;
	good("cpus", "1");
	good("cpus", "64");
	bad("cpus", "0");
	bad("cpus", "65");
	bad("cpus", "2x");
	bad("cpus", "");
	bad("cpus", "-2");
	bad("cpus", "4294967297");
}

static void words(void **state)
{
	(void)state;
	good("engine", "auto");
	good("engine", "kvm");
	bad("engine", "xen");
	bad("engine", "");
	bad("engine", "bt,");
	bad("engine", "bt,interpreted");
	good("boot", "pvh");
	bad("boot", "bios");
	good("virtio", "mmio");
	bad("virtio", "isa");
	good("disk", "a.img");
	good("disk", "a.img,ro");
	good("disk", "a.img,serial=12345678901234567890,ro");
	good("disk", "a.img,queues=16,blocksize=4096,bandwidth=10M/100+1G,ops=500");
	good("disk", "a.qcow2,format=raw");
	good("disk", "a.img,format=qcow2,ro");
	bad("disk", "a.img,format=");
	bad("disk", "a.img,format=vmdk");
	bad("disk", "");
	bad("disk", ",ro");
	bad("disk", "a.img,");
	bad("disk", "a.img,rw");
	bad("disk", "a.img,ro,,");
	bad("disk", "a.img,ro=");
	bad("disk", "a.img,queues=0");
	bad("disk", "a.img,queues=17");
	bad("disk", "a.img,queues=2x");
	bad("disk", "a.img,blocksize=1024");
	bad("disk", "a.img,ops=");
	bad("disk", "a.img,ops=0");
	bad("disk", "a.img,ops=1/0");
	bad("disk", "a.img,ops=1/");
	bad("disk", "a.img,ops=1+");
	bad("disk", "a.img,ops=+1");
	bad("disk", "a.img,ops=1/10M");
	bad("disk", "a.img,bandwidth=fast");
	bad("disk", "a.img,bandwidth=9999999T");
	bad("disk", "a.img,serial=");
	bad("disk", "a.img,serial=123456789012345678901");
	good("balloon", "size=64M");
	good("balloon", "size=1G,deflate-on-oom,reporting");
	good("balloon", "reporting");
	good("balloon", "hinting,stats=1");
	good("balloon", "stats=65535");
	bad("balloon", "stats=0");
	good("hotplug-memory", "max=1G");
	good("hotplug-memory", "max=1G,size=6M");
	good("hotplug-memory", "max=512M,block=128M,slot=256M,size=256M");
	bad("hotplug-memory", "");
	bad("hotplug-memory", "size=2M");
	bad("hotplug-memory", "max=100M");
	bad("hotplug-memory", "max=1G,size=2G");
	bad("hotplug-memory", "max=1G,size=3M");
	bad("hotplug-memory", "max=1G,block=3M");
	bad("hotplug-memory", "max=1G,block=1M");
	bad("hotplug-memory", "max=1G,slot=64M");
	bad("hotplug-memory", "max=1G,");
	bad("hotplug-memory", "max=1G,on");
	good("pmem", "/file");
	good("pmem", "/file,ro,ops=5,bandwidth=1M");
	bad("pmem", "");
	bad("pmem", ",ro");
	bad("pmem", "/file,rw");
	bad("pmem", "/file,ops=");
	bad("balloon", "stats=65536");
	bad("balloon", "stats=1s");
	bad("balloon", "hinting=on");
	bad("balloon", "");
	bad("balloon", "size=");
	bad("balloon", "size=64M,");
	bad("balloon", "64M");
	bad("balloon", "size=64Mx,reporting");
	good("metadata", "");
	good("metadata", "a.json");
	good("metadata", "a.json,version=2,address=169.254.1.0,imds,net=0,net=11");
	good("metadata", ",version=1,address=169.254.254.255");
	bad("metadata", ",");
	bad("metadata", ",version=3");
	bad("metadata", ",address=169.254.0.1");
	bad("metadata", ",address=169.254.255.1");
	bad("metadata", ",address=10.0.0.1");
	bad("metadata", ",address=169.254.169");
	bad("metadata", ",net=12");
	bad("metadata", ",net=");
	bad("metadata", ",imds=1");
	good("vsock", "cid=3,socket=/tmp/a,b");
	good("vsock", "cid=4294967294,socket=s");
	bad("vsock", "");
	bad("vsock", "cid=2,socket=s");
	bad("vsock", "cid=4294967295,socket=s");
	bad("vsock", "cid=3,socket=");
	bad("vsock", "cid=3");
	bad("vsock", "socket=s,cid=3");
	good("net", "user");
	good("net", "user,forward=tcp:8080:80,forward=udp:127.0.0.1:53:5353,mtu=1500");
	good("net", "user,forward=tcp:[::1]:8080:80,mac=02:00:00:00:00:aF");
	good("net", "tap=tap0,queues=7,mtu=9000,rx-bandwidth=10M,tx-ops=100/100+50");
	bad("net", "");
	bad("net", "users");
	bad("net", "tap=");
	bad("net", "tap=1234567890123456");
	bad("net", "tap=a/b");
	bad("net", "tap=tap%d");
	bad("net", "tap=tap0,queues=8");
	bad("net", "tap=tap0,queues=0");
	bad("net", "tap=tap0,forward=tcp:1:1");
	bad("net", "user,queues=2");
	bad("net", "user,");
	bad("net", "user,mtu=67");
	bad("net", "user,mtu=65522");
	bad("net", "user,mac=02:00:00:00:00");
	bad("net", "user,mac=01:00:00:00:00:00");
	bad("net", "user,mac=00:00:00:00:00:00");
	bad("net", "user,mac=02:00:00:00:00:0g");
	bad("net", "user,forward=80");
	bad("net", "user,forward=tcp:80");
	bad("net", "user,forward=sctp:80:80");
	bad("net", "user,forward=tcp:0:80");
	bad("net", "user,forward=tcp:80:65536");
	bad("net", "user,forward=tcp:::1:80:80");
	bad("net", "user,forward=tcp:localhost:80:80");
	bad("net", "user,forward=tcp:127.0.0.1/x:80:80");
	bad("net", "user,tx-bandwidth=0");
	good("rng", "on");
	bad("rng", "1");
	good("kvmclock", "off");
	bad("kvmclock", "maybe");
	good("name", "ci-job_7.a");
	bad("name", "../x");
	bad("name", "");
	bad("kernel", "");
}

static void engines(void **state)
{
	struct config c;
	struct err e = ERR_INIT;

	(void)state;
	good("engine", "bt,check");
	good("engine", "bt,eager");
	good("engine", "bt,hot");
	good("engine", "bt,code=8M");
	good("engine", "auto,code=1G");
	bad("engine", "bt,code=");
	bad("engine", "bt,code=1M");
	bad("engine", "bt,code=1025M");
	bad("engine", "bt,code=32");
	bad("engine", "bt,code=16M,code=16M");
	bad("engine", "bt,code=16M,check");
	bad("engine", "kvm,code=16M");
	bad("engine", ",code=16M");
	config_init(&c);
	assert_int_equal(config_set(&c, "engine", "bt,interp,code=16M", NULL), 0);
	assert_string_equal(c.engine.name, "bt,interp");
	assert_int_equal(c.engine.code_memory, MIB(16));
	assert_int_equal(config_set(&c, "engine", "bt,code=many", &e), -EINVAL);
	assert_string_equal(
		e.text, "engine code memory 'many' is not a size: give a number with K, M or G");
	assert_int_equal(config_set(&c, "engine", "bt", NULL), 0);
	assert_string_equal(c.engine.name, "bt");
	assert_int_equal(c.engine.code_memory, 0);
	config_release(&c);
}

static void dumps(void **state)
{
	struct config c;

	(void)state;
	good("bt-dump", "guest");
	good("bt-dump", "all:/tmp/x");
	bad("bt-dump", "");
	bad("bt-dump", "guest,");
	bad("bt-dump", ",guest");
	bad("bt-dump", "hosts");
	bad("bt-dump", "host:");
	bad("bt-dump", ":file");
	config_init(&c);
	assert_int_equal(config_set(&c, "kernel", "vmlinuz", NULL), 0);
	assert_int_equal(config_set(&c, "bt-dump", "links,host:a,b:c", NULL), 0);
	assert_int_equal(c.dump.stages, ENGINE_DUMP_HOST | ENGINE_DUMP_LINKS);
	assert_string_equal(c.dump.file, "a,b:c");
	assert_int_equal(config_check(&c, NULL), 0);
	assert_int_equal(config_set(&c, "engine", "kvm", NULL), 0);
	assert_int_equal(config_check(&c, NULL), -EINVAL);
	config_release(&c);
}

static void unknown_names(void **state)
{
	struct config c;
	struct err e = ERR_INIT;

	(void)state;
	config_init(&c);
	assert_int_equal(config_set(&c, "colour", "red", &e), -ENOENT);
	assert_string_equal(e.text, "there is no setting 'colour'");
	config_release(&c);
}

static void every_name_is_listed_and_known(void **state)
{
	struct config c;
	const char *name;
	unsigned n = 0;

	(void)state;
	config_init(&c);
	for (; (name = config_name(n)); n++)
		assert_int_not_equal(config_set(&c, name, "\x01", NULL), -ENOENT);
	assert_true(n >= 12);
	config_release(&c);
}

static void a_vm_needs_a_kernel(void **state)
{
	struct config c;

	(void)state;
	config_init(&c);
	assert_int_equal(config_check(&c, NULL), -EINVAL);
	assert_int_equal(config_set(&c, "kernel", "vmlinuz", NULL), 0);
	assert_int_equal(config_check(&c, NULL), 0);
	config_release(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(cpus),
		cmocka_unit_test(engines),
		cmocka_unit_test(dumps),
		cmocka_unit_test(words),
		cmocka_unit_test(unknown_names),
		cmocka_unit_test(every_name_is_listed_and_known),
		cmocka_unit_test(a_vm_needs_a_kernel),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
