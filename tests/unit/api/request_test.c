/* SPDX-License-Identifier: Apache-2.0 */
/* Requests and their answers, on a VM that is never started. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "api/fields.h"
#include "api/request.h"
#include "api/sections.h"
#include "api/vmm.h"

struct test {
	struct vmm vmm;
	char file[32];
};

static int setup(void **state)
{
	struct test *t = calloc(1, sizeof(*t));
	struct err e = ERR_INIT;
	int fd;

	t->vmm.id = "one";
	assert_int_equal(vmm_init(&t->vmm, &e), 0);
	strcpy(t->file, "/tmp/lodge-api-XXXXXX");
	fd = mkstemp(t->file);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct test *t = *state;

	vmm_release(&t->vmm);
	unlink(t->file);
	free(t);
	return 0;
}

/* Makes a request; gives the answer's status and its body, "" for none, in a buffer of the test's.
 * In the body given, FILE stands for the test's file. */
static unsigned ask(struct test *t, const char *method, const char *path, const char *body,
		    char *answer, size_t size)
{
	struct api_request r = {.method = method, .path = path};
	char whole[4096] = "";
	struct api_answer a;
	json_error_t error;
	json_t *parsed = NULL;
	const char *file;
	char *text;

	if (body) {
		file = strstr(body, "FILE");
		if (file)
			snprintf(whole, sizeof(whole), "%.*s%s%s", (int)(file - body), body,
				 t->file, file + 4);
		else
			snprintf(whole, sizeof(whole), "%s", body);
		parsed = json_loads(whole, JSON_DECODE_ANY, &error);
		if (!parsed)
			fail_msg("%s: %s", whole, error.text);
	}
	r.body = parsed;
	api_handle(&t->vmm, &r, &a);
	json_decref(parsed);
	text = a.body ? json_dumps(a.body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	snprintf(answer, size, "%s", text ? text : "");
	free(text);
	json_decref(a.body);
	return a.status;
}

static void is_done(struct test *t, const char *method, const char *path, const char *body)
{
	char answer[1024];

	if (ask(t, method, path, body, answer, sizeof(answer)) != 204)
		fail_msg("%s %s %s: %s", method, path, body, answer);
	assert_string_equal(answer, "");
}

static void shows(struct test *t, const char *path, const char *expected)
{
	char answer[4096];

	assert_int_equal(ask(t, "GET", path, NULL, answer, sizeof(answer)), 200);
	assert_string_equal(answer, expected);
}

/* The answer refuses, with these words in it. */
static void is_refused(struct test *t, const char *method, const char *path, const char *body,
		       const char *words)
{
	char answer[1024];

	if (ask(t, method, path, body, answer, sizeof(answer)) != 400)
		fail_msg("%s %s %s is not refused", method, path, body);
	if (strncmp(answer, "{\"fault_message\":\"", 18) || !strstr(answer, words))
		fail_msg("%s %s %s: %s", method, path, body, answer);
}

#define MACHINE(cpus, memory)                                                 \
	"{\"huge_pages\":\"None\",\"mem_size_mib\":" memory ",\"smt\":false," \
	"\"track_dirty_pages\":false,\"vcpu_count\":" cpus "}"

static void what_it_is(void **state)
{
	struct test *t = *state;

	shows(t, "/",
	      "{\"app_name\":\"Firecracker\",\"id\":\"one\",\"state\":\"Not started\","
	      "\"vmm_version\":\"" LODGE_VERSION "\"}");
	shows(t, "",
	      "{\"app_name\":\"Firecracker\",\"id\":\"one\",\"state\":\"Not started\","
	      "\"vmm_version\":\"" LODGE_VERSION "\"}");
	shows(t, "//version//", "{\"firecracker_version\":\"" LODGE_VERSION "\"}");
	shows(t, "/machine-config", MACHINE("1", "128"));
}

static void paths_and_methods_that_are_not_there(void **state)
{
	struct test *t = *state;
	char path[1000];

	is_refused(t, "GET", "/nothing", NULL, "no GET of /nothing");
	is_refused(t, "GET", "/boot-source", NULL, "no GET of /boot-source");
	is_refused(t, "PUT", "/version", "{}", "no PUT of /version");
	is_refused(t, "GET", "/vm", NULL, "no GET of /vm");
	is_refused(t, "GET", "/versio", NULL, "no GET of");
	is_refused(t, "PUT", "/drives", "{}", "no PUT of /drives");
	is_refused(t, "PUT", "/drives/", "{}", "no PUT of /drives");
	is_refused(t, "PUT", "/drives/a/b", "{}", "no PUT of /drives/a/b");
	is_refused(t, "PUT", "/drives/a-b", "{}", "the id 'a-b'");
	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	is_refused(t, "GET", path, NULL, "no such path");
}

static void bodies_where_they_belong(void **state)
{
	struct test *t = *state;

	is_refused(t, "GET", "/", "{}", "has no body");
	is_refused(t, "PUT", "/machine-config", NULL, "body is missing");
	is_refused(t, "PUT", "/machine-config", "[]", "JSON object");
	is_refused(t, "PUT", "/machine-config", "3", "JSON object");
	is_refused(t, "PUT", "/machine-config", "null", "JSON object");
}

static void the_machine(void **state)
{
	struct test *t = *state;

	is_done(t, "PUT", "/machine-config", "{\"vcpu_count\":4,\"mem_size_mib\":512}");
	shows(t, "/machine-config", MACHINE("4", "512"));
	is_done(t, "PATCH", "/machine-config", "{\"mem_size_mib\":64,\"smt\":null}");
	shows(t, "/machine-config", MACHINE("4", "64"));
	is_done(t, "PATCH", "/machine-config", "{\"cpu_template\":\"None\"}");
	is_refused(t, "PATCH", "/machine-config", "{}", "no field");
	is_refused(t, "PATCH", "/machine-config", "{\"smt\":null}", "no field");
	is_refused(t, "PUT", "/machine-config", "{\"vcpu_count\":4}", "'mem_size_mib' is missing");
	is_refused(t, "PUT", "/machine-config", "{\"vcpu_count\":null,\"mem_size_mib\":64}",
		   "'vcpu_count' is missing");
	is_refused(t, "PUT", "/machine-config", "{\"vcpu_count\":33,\"mem_size_mib\":64}",
		   "from 1 to 32");
	is_refused(t, "PATCH", "/machine-config", "{\"vcpu_count\":\"4\"}", "an integer");
	is_refused(t, "PATCH", "/machine-config", "{\"vcpu_count\":4.0}", "an integer");
	is_refused(t, "PATCH", "/machine-config", "{\"smt\":0}", "true or false");
	is_refused(t, "PATCH", "/machine-config", "{\"smt\":true}", "smt cannot be true");
	is_refused(t, "PATCH", "/machine-config", "{\"cpu_template\":\"T2\"}", "cannot be 'T2'");
	is_refused(t, "PATCH", "/machine-config", "{\"colour\":1}", "no field 'colour'");
	is_refused(t, "PATCH", "/machine-config", "{\"mem_size_mib\":1}", "memory");
	/* Nothing of what was refused has stayed. */
	shows(t, "/machine-config", MACHINE("4", "64"));
}

static void the_kernel(void **state)
{
	struct test *t = *state;
	char args[3000], body[3100];

	is_refused(t, "PUT", "/boot-source", "{}", "'kernel_image_path' is missing");
	is_refused(t, "PUT", "/boot-source", "{\"kernel_image_path\":\"\"}", "is empty");
	is_refused(t, "PUT", "/boot-source", "{\"kernel_image_path\":\"/nonexistent\"}",
		   "cannot open the kernel /nonexistent");
	is_refused(t, "PUT", "/boot-source",
		   "{\"kernel_image_path\":\"FILE\",\"initrd_path\":\"/nonexistent\"}",
		   "cannot open the initrd /nonexistent");
	memset(args, 'x', sizeof(args));
	args[2049] = '\0';
	snprintf(body, sizeof(body), "{\"kernel_image_path\":\"FILE\",\"boot_args\":\"%s\"}", args);
	is_refused(t, "PUT", "/boot-source", body, "give up to 2048 characters");
	args[2048] = '\0';
	snprintf(body, sizeof(body), "{\"kernel_image_path\":\"FILE\",\"boot_args\":\"%s\"}", args);
	is_done(t, "PUT", "/boot-source", body);
	is_done(t, "PUT", "/boot-source", "{\"kernel_image_path\":\"FILE\",\"initrd_path\":null}");
}

static void drives(void **state)
{
	struct test *t = *state;
	char answer[4096];

	is_refused(t, "PUT", "/drives/root", "{\"drive_id\":\"root\",\"is_root_device\":true}",
		   "'path_on_host' is missing");
	is_refused(t, "PUT", "/drives/root",
		   "{\"drive_id\":\"other\",\"is_root_device\":true,\"path_on_host\":\"FILE\"}",
		   "another than the path's");
	is_refused(t, "PUT", "/drives/root",
		   "{\"drive_id\":\"root\",\"is_root_device\":true,\"path_on_host\":\"/none\"}",
		   "cannot open the drive /none");
	is_refused(t, "PUT", "/drives/root",
		   "{\"drive_id\":\"root\",\"is_root_device\":true,\"path_on_host\":\"FILE,ro\"}",
		   "comma");
	is_done(t, "PUT", "/drives/data",
		"{\"drive_id\":\"data\",\"is_root_device\":false,\"path_on_host\":\"FILE\","
		"\"cache_type\":\"Writeback\",\"io_engine\":\"Async\",\"rate_limiter\":"
		"{\"ops\":{\"size\":100,\"refill_time\":1000},"
		"\"bandwidth\":{\"size\":0,\"refill_time\":0}}}");
	is_done(t, "PUT", "/drives/root",
		"{\"drive_id\":\"root\",\"is_root_device\":true,\"path_on_host\":\"FILE\"}");
	is_refused(t, "PUT", "/drives/second",
		   "{\"drive_id\":\"second\",\"is_root_device\":true,\"path_on_host\":\"FILE\"}",
		   "root device already");
	/* The same id again is the same drive. */
	is_done(t, "PUT", "/drives/root",
		"{\"drive_id\":\"root\",\"is_root_device\":true,\"path_on_host\":\"FILE\","
		"\"is_read_only\":true}");
	assert_int_equal(ask(t, "GET", "/vm/config", NULL, answer, sizeof(answer)), 200);
	assert_int_equal(json_array_size(vmm_section(&t->vmm, "drives")), 2);
	assert_non_null(strstr(answer, "\"is_read_only\":true"));
	assert_non_null(strstr(answer, "\"pmem\":null"));
	/* The root device is the guest's first, then the others as they came. */
	assert_int_equal(sections_drive_place(vmm_section(&t->vmm, "drives"), 0), 1);
	assert_int_equal(sections_drive_place(vmm_section(&t->vmm, "drives"), 1), 0);
}

#define IFACE "{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0\""

static void networks(void **state)
{
	struct test *t = *state;

	is_done(t, "PUT", "/network-interfaces/eth0", IFACE "}");
	is_done(t, "PUT", "/network-interfaces/eth0",
		IFACE ",\"guest_mac\":\"06:00:00:00:00:01\",\"mtu\":1400,"
		      "\"rx_rate_limiter\":{\"bandwidth\":{\"size\":1000000,\"refill_time\":100,"
		      "\"colour\":1}},\"tx_rate_limiter\":{\"ops\":{\"size\":100,"
		      "\"refill_time\":1000,\"one_time_burst\":50},\"bandwidth\":null}}");
	assert_int_equal(json_array_size(vmm_section(&t->vmm, "network-interfaces")), 1);
	is_refused(t, "PUT", "/network-interfaces/eth1", IFACE "}", "iface_id is another");
	is_refused(t, "PUT", "/network-interfaces/eth0", IFACE ",\"guest_mac\":\"red\"}", "red");
	is_refused(t, "PUT", "/network-interfaces/eth0", IFACE ",\"mtu\":1}", "from 68 to 65535");
	is_refused(t, "PUT", "/network-interfaces/eth0",
		   "{\"iface_id\":\"eth0\",\"host_dev_name\":\"tap0,queues=2\"}", "comma");
	is_refused(t, "PUT", "/network-interfaces/eth0",
		   IFACE ",\"rx_rate_limiter\":{\"bandwidth\":{\"size\":1}}}",
		   "'refill_time' is missing");
	is_refused(t, "PUT", "/network-interfaces/eth0",
		   IFACE ",\"rx_rate_limiter\":{\"speed\":{}}}", "no field 'speed'");
}

static void sockets_and_balloons(void **state)
{
	struct test *t = *state;

	is_done(t, "PUT", "/vsock", "{\"guest_cid\":3,\"uds_path\":\"/tmp/v.sock\"}");
	is_refused(t, "PUT", "/vsock", "{\"guest_cid\":2,\"uds_path\":\"/tmp/v\"}", "from 3 to");
	is_refused(t, "PUT", "/vsock", "{\"guest_cid\":3}", "'uds_path' is missing");
	is_refused(t, "GET", "/balloon", NULL, "has no balloon");
	is_refused(t, "PATCH", "/balloon", "{\"amount_mib\":1}", "not started");
	is_done(t, "PUT", "/balloon",
		"{\"amount_mib\":64,\"deflate_on_oom\":true,\"free_page_reporting\":true,"
		"\"stats_polling_interval_s\":0}");
	shows(t, "/balloon",
	      "{\"amount_mib\":64,\"deflate_on_oom\":true,\"free_page_reporting\":true,"
	      "\"stats_polling_interval_s\":0}");
	is_refused(t, "PUT", "/balloon", "{\"amount_mib\":129,\"deflate_on_oom\":true}",
		   "more than the VM has");
	is_refused(t, "PUT", "/balloon",
		   "{\"amount_mib\":1,\"deflate_on_oom\":true,\"stats_polling_interval_s\":-1}",
		   "from 0 to 65535");
	is_done(t, "PUT", "/balloon",
		"{\"amount_mib\":1,\"deflate_on_oom\":true,\"free_page_hinting\":true,"
		"\"stats_polling_interval_s\":1}");
	is_refused(t, "GET", "/balloon/statistics", NULL, "not started");
	is_refused(t, "PATCH", "/balloon/statistics", "{\"stats_polling_interval_s\":2}",
		   "not started");
	is_refused(t, "PATCH", "/balloon/statistics", "{}", "is missing");
	is_refused(t, "GET", "/balloon/hinting/status", NULL, "not started");
	is_refused(t, "PATCH", "/balloon/hinting/start", NULL, "not started");
	is_refused(t, "PATCH", "/balloon/hinting/start", "{\"acknowledge_on_stop\":1}",
		   "acknowledge_on_stop");
	is_refused(t, "PATCH", "/balloon/hinting/stop", "{}", "not started");
	is_refused(t, "PATCH", "/balloon/hinting/stop", "{\"x\":1}", "no field 'x'");
}

static void what_is_for_a_running_vm(void **state)
{
	struct test *t = *state;

	is_refused(t, "PATCH", "/drives/a", "{\"drive_id\":\"a\"}", "not started");
	is_refused(t, "PATCH", "/drives/a", "{}", "'drive_id' is missing");
	is_refused(t, "PATCH", "/network-interfaces/a", "{\"iface_id\":\"a\"}", "not started");

	is_refused(t, "PATCH", "/vm", "{\"state\":\"Paused\"}", "not started");
	is_refused(t, "PATCH", "/vm", "{\"state\":\"Stopped\"}", "cannot be 'Stopped'");
	is_refused(t, "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}", "not started");
	is_refused(t, "PUT", "/actions", "{\"action_type\":\"InstanceStart\"}", "no kernel");
	is_refused(t, "PUT", "/actions", "{\"action_type\":\"Dance\"}", "cannot be 'Dance'");
}

/* The lines of a file. */
static unsigned lines(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t len;
	unsigned n = 0;

	assert_non_null(f);
	len = fread(text, 1, size - 1, f);
	text[len] = '\0';
	fclose(f);
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		n++;
	return n;
}

static void the_log(void **state)
{
	struct test *t = *state;
	char text[4096];

	assert_int_equal(truncate(t->file, 0), 0);
	is_done(t, "PUT", "/logger", "{\"log_path\":\"FILE\",\"level\":\"info\"}");
	assert_int_equal(lines(t->file, text, sizeof(text)), 1); /* that it was asked for */
	is_done(t, "PUT", "/logger", "{\"show_level\":true,\"show_log_origin\":true}");
	is_refused(t, "PATCH", "/machine-config", "{\"a\\nb\":1}", "no field");
	assert_int_equal(lines(t->file, text, sizeof(text)), 3);
	assert_non_null(strstr(text, "[one:Info:api] PUT /logger: 204\n"));
	assert_non_null(strstr(text, "[one:Error:api] PATCH /machine-config: 400: "));
	is_done(t, "PUT", "/logger", "{\"level\":\"Error\"}");
	is_done(t, "PUT", "/entropy", "{}");
	is_done(t, "PUT", "/logger", "{\"level\":\"Trace\",\"module\":\"vm\"}");
	is_refused(t, "PATCH", "/machine-config", "{}", "no field");
	assert_int_equal(lines(t->file, text, sizeof(text)), 3);
	is_refused(t, "PUT", "/logger", "{\"level\":\"Loud\"}", "cannot be 'Loud'");
	is_refused(t, "PUT", "/logger", "{\"log_path\":\"/nonexistent/log\"}",
		   "cannot write the log");
}

static void metrics(void **state)
{
	struct test *t = *state;
	json_t *all, *line;
	char text[8192];

	assert_int_equal(truncate(t->file, 0), 0);
	is_refused(t, "PUT", "/metrics", "{}", "'metrics_path' is missing");
	assert_int_equal(metrics_timeout(&t->vmm.metrics), -1);
	is_done(t, "PUT", "/metrics", "{\"metrics_path\":\"FILE\"}");
	assert_in_range(metrics_timeout(&t->vmm.metrics), 1000, 60000);
	is_refused(t, "PUT", "/metrics", "{\"metrics_path\":\"FILE\"}", "once");
	is_done(t, "PUT", "/entropy", "{}");
	is_refused(t, "PUT", "/actions", "{\"action_type\":\"FlushMetrics\"}", "not started");
	assert_int_equal(lines(t->file, text, sizeof(text)), 0);
	api_flush_metrics(&t->vmm);
	assert_int_equal(lines(t->file, text, sizeof(text)), 1);
	all = json_loads(text, 0, NULL);
	assert_non_null(all);
	assert_true(fields_number(all, "utc_timestamp_ms", 0) > 1000000000000);
	line = json_object_get(all, "put_api_requests");
	assert_int_equal(fields_number(line, "metrics_count", -1), 3);
	assert_int_equal(fields_number(line, "metrics_fails", -1), 2);
	assert_int_equal(fields_number(line, "entropy_count", -1), 1);
	assert_int_equal(fields_number(line, "actions_fails", -1), 1);
	json_decref(all);
	/* Then they count from 0. */
	assert_int_equal(truncate(t->file, 0), 0);
	api_flush_metrics(&t->vmm);
	lines(t->file, text, sizeof(text));
	assert_non_null(strstr(text, "\"metrics_count\":0,\"metrics_fails\":0"));
}

static void the_rest(void **state)
{
	struct test *t = *state;

	is_done(t, "PUT", "/entropy", "{}");
	is_refused(t, "PUT", "/entropy", "{\"rate\":1}", "no field 'rate'");
	is_done(t, "PUT", "/serial", "{\"serial_out_path\":\"/dev/null\"}");
	is_refused(t, "PUT", "/serial", "{\"serial_out_path\":\"/dev/null/x\"}",
		   "cannot write the serial console to /dev/null/x");
}

/* Whoever reads a FIFO is told of its end when a writer closes it: nobody does before the start. */
static void a_fifo_for_the_console_is_left_alone(void **state)
{
	struct test *t = *state;
	char path[] = "/tmp/lodge-fifo-XXXXXX", body[64];
	struct pollfd p = {.events = POLLIN};

	assert_non_null(mkdtemp(path));
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	p.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(p.fd >= 0);
	snprintf(body, sizeof(body), "{\"serial_out_path\":\"%s\"}", path);
	is_done(t, "PUT", "/serial", body);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(p.fd);
	unlink(path);
}

/* Gives a file's text to api_configure; FILE stands for the test's file, twice. */
static int configure(struct test *t, const char *format, struct err *e)
{
	char text[1024];
	json_t *file;
	int rc;

	snprintf(text, sizeof(text), format, t->file, t->file);
	file = json_loads(text, JSON_DECODE_ANY, NULL);
	assert_non_null(file);
	rc = api_configure(&t->vmm, file, e);
	json_decref(file);
	return rc;
}

static void a_configuration_file(void **state)
{
	struct test *t = *state;
	struct err e = ERR_INIT;

	assert_int_equal(
		configure(t,
			  "{\"boot-source\":{\"kernel_image_path\":\"%s\"},\"entropy\":null,"
			  "\"drives\":[{\"drive_id\":\"a\",\"is_root_device\":true,"
			  "\"path_on_host\":\"%s\"}],"
			  "\"machine-config\":{\"vcpu_count\":2,\"mem_size_mib\":64}}",
			  &e),
		0);
	shows(t, "/machine-config", MACHINE("2", "64"));
	assert_non_null(vmm_section(&t->vmm, "boot-source"));
	assert_null(vmm_section(&t->vmm, "entropy"));
	assert_int_equal(configure(t, "{\"colour\":1}", &e), -EINVAL);
	assert_string_equal(e.text, "there is no section 'colour'");
	err_clear(&e);
	assert_int_equal(configure(t, "[]", &e), -EINVAL);
	err_clear(&e);
	assert_int_equal(configure(t, "{\"drives\":{}}", &e), -EINVAL);
	err_clear(&e);
	assert_int_equal(configure(t, "{\"drives\":[3]}", &e), -EINVAL);
	err_clear(&e);
	assert_int_equal(configure(t, "{\"machine-config\":{}}", &e), -EINVAL);
	assert_non_null(strstr(e.text, "machine-config: the field 'vcpu_count' is missing"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_it_is),
		TEST(paths_and_methods_that_are_not_there),
		TEST(bodies_where_they_belong),
		TEST(the_machine),
		TEST(the_kernel),
		TEST(drives),
		TEST(networks),
		TEST(sockets_and_balloons),
		TEST(what_is_for_a_running_vm),
		TEST(the_log),
		TEST(metrics),
		TEST(the_rest),
		TEST(a_fifo_for_the_console_is_left_alone),
		TEST(a_configuration_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
