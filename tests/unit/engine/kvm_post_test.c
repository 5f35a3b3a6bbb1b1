/* SPDX-License-Identifier: Apache-2.0 */
/* The ring of posted writes, filled as the kernel fills it, emptied by several threads at once. */
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "engine/kvm/kvm_int.h"

#define PORT     0x3f8
#define WRITES   300000
#define EMPTIERS 4

static struct {
	struct engine_vm vm;
	struct engine_env env;
	struct bus pio;
	struct kvm_coalesced_mmio_ring *ring;
	uint32_t entries;
	uint32_t next;       /* the value that the device has to see; under post_lock */
	uint32_t wrong;      /* likewise */
	atomic_uint missing; /* a drain came back before all that it had to hand over was */
	atomic_bool done;
	_Atomic uint32_t posted; /* how many writes the ring took */
	_Atomic uint32_t seen;   /* by the device */
} t;

static void device_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	(void)dev;
	if (offset != 0 || size != 4 || value != t.next)
		t.wrong++;
	t.next++;
	atomic_store(&t.seen, t.next);
}

static const struct bus_ops device = {.name = "device", .width = 4, .write = device_write};

static int setup(void **state)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	(void)state;
	memset(&t, 0, sizeof(t));
	bus_init(&t.pio, "pio", 0x10000);
	assert_int_equal(bus_add(&t.pio, PORT, 8, &device, NULL, NULL, NULL), 0);
	t.env.pio = &t.pio;
	t.vm.env = &t.env;
	pthread_mutex_init(&t.vm.post_lock, NULL);
	t.ring = calloc(1, page);
	t.entries = (uint32_t)((page - sizeof(*t.ring)) / sizeof(t.ring->coalesced_mmio[0]));
	kvm_post_empty(&t.vm, t.ring); /* as kvm_post_attach does */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(t.ring);
	pthread_mutex_destroy(&t.vm.post_lock);
	bus_release(&t.pio);
	return 0;
}

/* As coalesced_mmio_write in Linux 6.1, with its modulo of a difference that wraps;
 * false: the ring is full, and the write exits. */
static bool post(uint32_t value)
{
	struct kvm_coalesced_mmio_ring *ring = t.ring;
	uint32_t last = ring->last;
	uint32_t first = __atomic_load_n(&ring->first, __ATOMIC_ACQUIRE);
	struct kvm_coalesced_mmio *entry = &ring->coalesced_mmio[last];

	if ((first - last - 1) % t.entries == 0)
		return false;
	entry->phys_addr = PORT;
	entry->len = 4;
	entry->pio = 1;
	store_le(entry->data, 4, value);
	__atomic_store_n(&ring->last, (last + 1) % t.entries, __ATOMIC_RELEASE);
	return true;
}

static void *empty(void *opaque)
{
	(void)opaque;
	while (!atomic_load(&t.done)) {
		uint32_t before = atomic_load(&t.posted);

		kvm_post_empty(&t.vm, t.ring);
		if (atomic_load(&t.seen) < before)
			atomic_fetch_add(&t.missing, 1);
	}
	return NULL;
}

static void every_write_arrives_once_and_in_order(void **state)
{
	pthread_t threads[EMPTIERS];

	(void)state;
	for (unsigned i = 0; i < EMPTIERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, empty, NULL), 0);
	for (uint32_t n = 0; n < WRITES; n++) {
		while (!post(n))
			kvm_post_empty(&t.vm, t.ring); /* as the vCPU does after its exit */
		atomic_store(&t.posted, n + 1);
	}
	atomic_store(&t.done, true);
	for (unsigned i = 0; i < EMPTIERS; i++)
		pthread_join(threads[i], NULL);
	kvm_post_empty(&t.vm, t.ring);
	assert_int_equal(t.next, WRITES);
	assert_int_equal(t.wrong, 0);
	assert_int_equal(atomic_load(&t.missing), 0);
	assert_false(kvm_post_empty(&t.vm, t.ring));
}

/* From entry 0 on, nobody emptying: the ring fills up, and nothing in it is lost. */
static void a_ring_that_fills_from_its_start(void **state)
{
	uint32_t n = 0;

	(void)state;
	while (n < 2 * t.entries && post(n))
		n++;
	assert_in_range(n, t.entries - 2, t.entries - 1);
	kvm_post_empty(&t.vm, t.ring);
	assert_int_equal(t.next, n);
	assert_int_equal(t.wrong, 0);
}

static void indices_out_of_bounds_reach_nothing(void **state)
{
	(void)state;
	t.ring->last = t.entries;
	assert_false(kvm_post_empty(&t.vm, t.ring));
	assert_int_equal(t.next, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_ring_that_fills_from_its_start, setup, teardown),
		cmocka_unit_test_setup_teardown(every_write_arrives_once_and_in_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(indices_out_of_bounds_reach_nothing, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
