/* SPDX-License-Identifier: Apache-2.0 */
/* The front end of vhost-user against a daemon that is honest, and against ones that are not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bits.h"
#include "base/time.h"
#include "vhost_rig.h"

#define LOW  MIB(1)
#define HIGH MIB(2)
#define HOLE GIB(4)

static struct event_loop *loop;
static struct mem mem;
static struct vdaemon daemon_;
static struct vhost_user *front;
static bool opened; /* the daemon's socket is no more ours */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned ends, losses, calls;
static unsigned fds;
static char why[64];
static uint64_t patience; /* of lodge with a daemon that keeps silent, or 0 */

static void on_end(void *opaque)
{
	(void)opaque;
	ends++;
}

static void on_lost(void *opaque, const char *text)
{
	assert_ptr_equal(opaque, &losses);
	assert_int_equal(ends, 1); /* it is ended first */
	snprintf(why, sizeof(why), "%.60s", text);
	__atomic_fetch_add(&losses, 1, __ATOMIC_RELEASE);
}

static void on_used(void *opaque, unsigned queue)
{
	(void)opaque;
	assert_int_equal(queue, 1);
	__atomic_fetch_add(&calls, 1, __ATOMIC_RELEASE);
}

static int setup(void **state)
{
	(void)state;
	ends = losses = calls = 0;
	front = NULL;
	opened = false;
	fds = vdaemon_open_fds();
	loop = event_loop_new(NULL);
	assert_int_equal(mem_init(&mem, MEM_SHARED, NULL), 0);
	/* Not in the order of addresses. */
	assert_int_equal(mem_add_ram(&mem, HOLE, HIGH, NULL), 0);
	assert_int_equal(mem_add_ram(&mem, 0, LOW, NULL), 0);
	vdaemon_start(&daemon_);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vdaemon_end_loop(&daemon_);
	vhost_user_free(front);
	if (!opened)
		close(daemon_.fd);
	vdaemon_stop(&daemon_);
	mem_release(&mem);
	event_loop_free(loop);
	assert_int_equal(vdaemon_open_fds(), fds);
	return 0;
}

static void open_front(void)
{
	const struct vhost_user_client client = {&lock, on_used, on_lost, &losses};
	struct vhost_user_config config = vdaemon_config(&daemon_, &mem);
	struct err e = ERR_INIT;

	config.daemon.end = on_end;
	if (patience)
		config.begin = config.patience = patience;
	front = vhost_user_open(loop, &config, &e);
	opened = true;
	if (front)
		vhost_user_connect(front, &client);
	else
		snprintf(why, sizeof(why), "%.60s", e.text);
}

static void it_is_told_all_that_it_needs(void **state)
{
	static const unsigned open[] = {1, 15, 16, 17, 3, 2};
	static const unsigned start[] = {5, 8, 10, 9, 12, 13, 18, 8, 10, 9, 12, 13, 18};

	(void)state;
	open_front();
	assert_non_null(front);
	assert_int_equal(daemon_.count, ARRAY_LEN(open));
	assert_memory_equal(daemon_.messages, open, sizeof(open));
	assert_true(vhost_user_start(front, 0) && vhost_user_start(front, 1));
	assert_true(vhost_user_start(front, 1));
	assert_int_equal(daemon_.count, ARRAY_LEN(open) + ARRAY_LEN(start));
	assert_memory_equal(daemon_.messages + ARRAY_LEN(open), start, sizeof(start));
	assert_int_equal(daemon_.accepted, BIT(28) | BIT(30) | BIT(32));
	assert_int_equal(daemon_.region_count, 3);
	assert_int_equal(daemon_.regions[0].gpa, 0);
	assert_int_equal(daemon_.regions[0].size, LOW);
	assert_int_equal(daemon_.regions[0].offset, HIGH);
	assert_int_equal(daemon_.regions[1].gpa, HOLE);
	assert_int_equal(daemon_.regions[1].size, HIGH);
	assert_true(daemon_.regions[2].gpa > HOLE + HIGH);
	assert_true(daemon_.queues[0].enabled && daemon_.queues[1].enabled);
	assert_true(vhost_user_reaches(front, HOLE + HIGH - 1, 1));
	assert_false(vhost_user_reaches(front, HOLE + HIGH - 1, 2));
	assert_false(vhost_user_reaches(front, LOW, 1));
	vhost_user_stop(front, 1);
	assert_true(daemon_.queues[0].enabled && !daemon_.queues[1].enabled);
	assert_null(vhost_user_ring(front, 1));
	assert_true(vhost_user_start(front, 1) && daemon_.queues[1].enabled);
	assert_int_equal(losses, 0);
}

static void buffers_go_there_and_come_back(void **state)
{
	const struct vhost_segment s[] = {{0x1000, 40}, {HOLE + 0x2000, 0x1000}, {0x3000, 1}};
	struct vdaemon_buffer b;
	struct vhost_ring *ring;
	unsigned slot;
	uint32_t written;

	(void)state;
	open_front();
	assert_true(vhost_user_start(front, 1));
	ring = vhost_user_ring(front, 1);
	vhost_ring_add(ring, vhost_ring_free_slot(ring), s, 1, 2);
	vhost_user_kick(front, 1);
	assert_true(vdaemon_kicked(&daemon_, 1));
	assert_true(vdaemon_take(&daemon_, 1, &b));
	assert_int_equal(b.readable, 1);
	assert_int_equal(b.writable, 2);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(b.pieces[i].gpa, s[i].gpa);
		assert_int_equal(b.pieces[i].len, s[i].len);
	}
	memset(vdaemon_at(&daemon_, HOLE + 0x2000, 16), 0x5a, 16);
	assert_int_equal(*(const uint8_t *)mem_ptr(&mem, HOLE + 0x200f, 1), 0x5a);
	assert_int_equal(vhost_ring_next(ring, &slot, &written), 0);
	vdaemon_use(&daemon_, 1, b.head, 16, 0);
	vdaemon_run_loop(&daemon_, loop);
	vdaemon_call(&daemon_, 1);
	assert_true(vdaemon_wait(&calls, 1));
	vdaemon_end_loop(&daemon_);
	assert_int_equal(vhost_ring_next(ring, &slot, &written), 1);
	assert_int_equal(slot, b.head);
	assert_int_equal(written, 16);
	assert_int_equal(vhost_ring_next(ring, &slot, &written), 0);
	/* One that is busy wants no kicks. */
	*vdaemon_at(&daemon_, daemon_.queues[1].used, 1) = 1;
	vhost_ring_add(ring, vhost_ring_free_slot(ring), s, 3, 0);
	vhost_user_kick(front, 1);
	assert_false(vdaemon_kicked(&daemon_, 1));
}

static void set_up_anew(void)
{
	enum vdaemon_fault fault = daemon_.fault;
	unsigned at = daemon_.at;

	teardown(NULL);
	setup(NULL);
	daemon_.fault = fault;
	daemon_.at = at;
}

/* Does what has to go well before something goes wrong. A daemon that answers may also have been
 * kept from running, when little patience is its end. */
static void do_well(bool (*attempt)(void))
{
	while (!attempt()) {
		assert_true(patience && patience < 30 * NS_PER_SEC);
		patience *= 2;
		set_up_anew();
	}
}

/* What each request of a phase does when it goes wrong. */
static void try_all(const unsigned *requests, unsigned n, bool (*attempt)(void))
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned fault = 1; fault < VDAEMON_FAULTS; fault++) {
			bool asks = requests[i] == 1 || requests[i] == 11 || requests[i] == 15 ||
				    requests[i] == 17;
			uint64_t began = time_monotonic_ns();

			/* Set before acknowledgements are agreed on. */
			if ((asks && fault == VDAEMON_REFUSES) ||
			    (requests[i] == 16 && fault != VDAEMON_DIES))
				continue;
			daemon_.fault = fault;
			daemon_.at = requests[i];
			patience = fault == VDAEMON_SILENT || fault == VDAEMON_HALF ? 50 * NS_PER_MS
										    : 0;
			if (attempt())
				fail_msg("request %u, fault %u: nothing was noticed", requests[i],
					 fault);
			patience = 0;
			assert_true(time_monotonic_ns() - began < 55 * NS_PER_SEC);
			teardown(NULL);
			setup(NULL);
		}
	}
}

static bool opens(void)
{
	open_front();
	assert_int_equal(ends, 0); /* it is still the caller's */
	return front;
}

static void a_bad_daemon_is_not_opened(void **state)
{
	static const unsigned requests[] = {1, 15, 16, 17, 3, 2};

	(void)state;
	try_all(requests, ARRAY_LEN(requests), opens);
}

static bool is_open(void)
{
	open_front();
	return front;
}

static bool starts(void)
{
	bool good;

	do_well(is_open);
	good = vhost_user_start(front, 0);
	assert_int_equal(losses, !good);
	assert_false(vhost_user_start(front, 0) && !good);
	assert_int_equal(losses, !good);
	return good;
}

static void a_bad_daemon_is_lost_when_it_starts(void **state)
{
	static const unsigned requests[] = {5, 8, 10, 9, 12, 13, 18};

	(void)state;
	try_all(requests, ARRAY_LEN(requests), starts);
}

static bool is_started(void)
{
	return is_open() && vhost_user_start(front, 0) && vhost_user_start(front, 1);
}

static bool stops(void)
{
	do_well(is_started);
	vhost_user_stop(front, 0);
	assert_null(vhost_user_ring(front, 0));
	return !losses && vhost_user_ring(front, 1);
}

static void a_bad_daemon_is_lost_when_it_stops(void **state)
{
	static const unsigned requests[] = {11};

	(void)state;
	try_all(requests, ARRAY_LEN(requests), stops);
}

static void what_it_cannot_do(void **state)
{
	static const uint64_t needed[] = {BIT(28), BIT(30), BIT(32)};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(needed); i++) {
		daemon_.features &= ~needed[i];
		assert_false(opens());
		assert_non_null(strstr(why, "lacks features"));
		teardown(NULL);
		setup(NULL);
	}
	daemon_.queue_count = 1;
	assert_false(opens());
	assert_non_null(strstr(why, "too few queues"));
	teardown(NULL);
	setup(NULL);
	/* It need not acknowledge, nor count its queues. */
	daemon_.protocol = 0;
	assert_true(starts());
}

static void one_that_ends_is_lost_once(void **state)
{
	(void)state;
	open_front();
	assert_true(vhost_user_start(front, 1));
	vdaemon_run_loop(&daemon_, loop);
	assert_int_equal(losses, 0);
	shutdown(daemon_.socket, SHUT_RDWR);
	assert_true(vdaemon_wait(&losses, 1));
	vdaemon_end_loop(&daemon_);
	assert_int_equal(ends, 1);
	assert_string_equal(why, "it has ended");
	assert_null(vhost_user_ring(front, 1));
	assert_false(vhost_user_start(front, 0));
	vhost_user_stop(front, 1);
	vhost_user_kick(front, 1);
	assert_int_equal(losses, 1);
}

static void one_that_speaks_unasked_is_lost(void **state)
{
	(void)state;
	open_front();
	assert_int_equal(send(daemon_.socket, "x", 1, MSG_NOSIGNAL), 1);
	vdaemon_run_loop(&daemon_, loop);
	assert_true(vdaemon_wait(&losses, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_is_told_all_that_it_needs, setup, teardown),
		cmocka_unit_test_setup_teardown(buffers_go_there_and_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_daemon_is_not_opened, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_daemon_is_lost_when_it_starts, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_bad_daemon_is_lost_when_it_stops, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_it_cannot_do, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_ends_is_lost_once, setup, teardown),
		cmocka_unit_test_setup_teardown(one_that_speaks_unasked_is_lost, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
