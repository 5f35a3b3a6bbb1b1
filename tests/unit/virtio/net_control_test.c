/* SPDX-License-Identifier: Apache-2.0 */
/* The network device's control queue (virtio 1.2, 5.1.6.5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "net_rig.h"

#define RX   0
#define DATA NRIG_DATA
#define OK   0
#define ERR  1

#define ALL_RX (F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA)

static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t group[6] = {0x33, 0x33, 0, 0, 0, 1};
static const uint8_t other[6] = {0x02, 9, 9, 9, 9, 9};

static struct net_rig rig;
static unsigned control; /* the number of the control queue */

static int setup(void **state)
{
	(void)state;
	nrig_make(&rig, true, NRIG_PAIRS);
	control = 2;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nrig_release(&rig);
	return 0;
}

static int command(const char *bytes, size_t len)
{
	return nrig_command(&rig, control, bytes, len);
}

/* Class, command and data as they are written here. */
#define COMMAND(bytes) command(bytes, sizeof(bytes) - 1)

/* Whether a frame to that address, of that VLAN (-1: none), gets to the driver. */
static bool passes(const uint8_t *to, int vlan)
{
	uint8_t bytes[12 + 64] = {0};
	uint32_t written;
	uint64_t before = virtio_net_counts(rig.net).filtered;

	memcpy(bytes + 12, to, 6);
	if (vlan >= 0) {
		bytes[24] = 0x81;
		bytes[26] = (uint8_t)(vlan >> 8);
		bytes[27] = (uint8_t)vlan;
	}
	nrig_came(&rig, 0, bytes, sizeof(bytes));
	nrig_give(&rig, RX, DATA, 1526, true);
	assert_true(nrig_turn(&rig, 0));
	if (driver_get_used(&rig.queue[RX], &written) >= 0)
		return true;
	assert_int_equal(virtio_net_counts(rig.net).filtered, before + 1);
	return false;
}

static void start(uint64_t features)
{
	nrig_start(&rig, features, 32);
	control = features & F_MQ ? 2 * NRIG_PAIRS : 2;
}

static void everything_passes_at_first(void **state)
{
	(void)state;
	start(ALL_RX);
	assert_true(passes(nrig_mac, -1));
	assert_true(passes(other, -1));
	assert_true(passes(group, -1));
}

static void receive_modes(void **state)
{
	(void)state;
	start(ALL_RX);
	assert_int_equal(COMMAND("\0\0\0"), OK); /* not promiscuous */
	assert_true(passes(nrig_mac, -1));
	assert_true(passes(broadcast, -1));
	assert_false(passes(other, -1));
	assert_false(passes(group, -1));
	assert_int_equal(COMMAND("\0\1\1"), OK); /* all multicast */
	assert_true(passes(group, -1));
	assert_int_equal(COMMAND("\0\3\1"), OK); /* no multicast */
	assert_false(passes(group, -1));
	assert_int_equal(COMMAND("\0\2\1"), OK); /* all unicast */
	assert_true(passes(other, -1));
	assert_int_equal(COMMAND("\0\4\1"), OK); /* no unicast */
	assert_false(passes(other, -1));
	assert_int_equal(COMMAND("\0\5\1"), OK); /* no broadcast */
	assert_false(passes(broadcast, -1));
	assert_int_equal(COMMAND("\0\0\1"), OK);
	assert_true(passes(other, -1));
	/* A reset brings back what was. */
	COMMAND("\0\0\0");
	start(ALL_RX);
	assert_true(passes(other, -1));
}

static void tables_of_addresses(void **state)
{
	(void)state;
	start(ALL_RX);
	COMMAND("\0\0\0");
	assert_int_equal(COMMAND("\1\0\1\0\0\0\2\x9\x9\x9\x9\x9\1\0\0\0\x33\x33\0\0\0\1"), OK);
	assert_true(passes(other, -1));
	assert_true(passes(group, -1));
	assert_true(passes(nrig_mac, -1));
	assert_int_equal(COMMAND("\1\0\0\0\0\0\0\0\0\0"), OK);
	assert_false(passes(other, -1));
	assert_false(passes(group, -1));
}

/* More than there is room for: all of that kind. */
static void a_long_table(void **state)
{
	static char bytes[2 + 4 + 65 * 6 + 4];

	(void)state;
	start(ALL_RX);
	COMMAND("\0\0\0");
	bytes[0] = 1;
	bytes[2] = 65;
	assert_int_equal(command(bytes, sizeof(bytes)), OK);
	assert_true(passes(other, -1));
	assert_false(passes(group, -1));
	bytes[2] = 64;
	assert_int_equal(command(bytes, sizeof(bytes)), ERR); /* six bytes too many */
	assert_int_equal(command(bytes, sizeof(bytes) - 6), OK);
	assert_false(passes(other, -1));
}

static void an_address_is_set(void **state)
{
	(void)state;
	start(ALL_RX | F_CTRL_MAC_ADDR);
	COMMAND("\0\0\0");
	assert_int_equal(COMMAND("\1\1\2\x9\x9\x9\x9\x9"), OK);
	assert_int_equal(vrig_config_read(&rig.v, 1, 1), 9);
	assert_true(passes(other, -1));
	assert_false(passes(nrig_mac, -1));
	vrig_set_status(&rig.v, 0);
	assert_int_equal(vrig_config_read(&rig.v, 1, 1), nrig_mac[1]);
}

static void vlans(void **state)
{
	(void)state;
	start(ALL_RX | F_CTRL_VLAN);
	assert_true(passes(nrig_mac, 7)); /* promiscuous */
	COMMAND("\0\0\0");
	assert_true(passes(nrig_mac, -1));
	assert_false(passes(nrig_mac, 7));
	assert_int_equal(COMMAND("\2\0\7\0"), OK);
	assert_int_equal(COMMAND("\2\0\xff\x0f"), OK);
	assert_true(passes(nrig_mac, 7));
	assert_true(passes(nrig_mac, 0x2007)); /* with a priority */
	assert_true(passes(nrig_mac, 4095));
	assert_int_equal(COMMAND("\2\1\7\0"), OK);
	assert_false(passes(nrig_mac, 7));
	assert_int_equal(COMMAND("\2\0\0\x10"), ERR);
	/* A driver without the feature gets all. */
	start(ALL_RX);
	COMMAND("\0\0\0");
	assert_true(passes(nrig_mac, 7));
}

static void several_pairs(void **state)
{
	uint8_t bytes[112] = {0};
	uint32_t written;

	(void)state;
	start(F_CTRL_VQ | F_MQ);
	assert_int_equal(vrig_config_read(&rig.v, 8, 2), NRIG_PAIRS);
	assert_int_equal(rig.fake.used, 1);
	nrig_came(&rig, 1, bytes, sizeof(bytes));
	nrig_give(&rig, 2, DATA, 1526, true);
	assert_false(nrig_turn(&rig, 1));
	nrig_give(&rig, 3, DATA, 112, false);
	assert_int_equal(rig.fake.sent, 0);
	assert_int_equal(COMMAND("\4\0\0\0"), ERR);
	assert_int_equal(COMMAND("\4\0\4\0"), ERR);
	assert_int_equal(COMMAND("\4\0\3\0"), OK);
	assert_int_equal(rig.fake.used, 3);
	assert_true(nrig_turn(&rig, 1));
	assert_true(driver_get_used(&rig.queue[2], &written) >= 0);
	vrig_notify(&rig.v, 3);
	assert_int_equal(rig.fake.sent, 1);
	assert_int_equal(rig.fake.sent_pair, 1);
	start(F_CTRL_VQ | F_MQ);
	assert_int_equal(rig.fake.used, 1);
}

static void offloads_change(void **state)
{
	(void)state;
	start(F_CTRL_VQ | F_GUEST_OFFLOADS | F_GUEST_CSUM | F_GUEST_TSO4);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM | NETIF_TSO4);
	assert_int_equal(COMMAND("\5\0\2\0\0\0\0\0\0\0"), OK);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM);
	assert_int_equal(COMMAND("\5\0\2\1\0\0\0\0\0\0"), ERR); /* TSO6 was not accepted */
	assert_int_equal(COMMAND("\5\0\1\0\0\0\0\0\0\0"), ERR); /* CSUM is none of them */
	assert_int_equal(COMMAND("\5\0\x82\0\0\0\0\0\0\0"), OK);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM | NETIF_TSO4);
}

static void an_announcement(void **state)
{
	struct virtio_device *d = virtio_net_device(rig.net);

	(void)state;
	start(F_CTRL_VQ | F_STATUS | F_GUEST_ANNOUNCE);
	vrig_interrupts(&rig.v);
	pthread_mutex_lock(&d->lock);
	virtio_net_announce(rig.net);
	pthread_mutex_unlock(&d->lock);
	assert_int_equal(vrig_interrupts(&rig.v), 2);
	assert_int_equal(vrig_config_read(&rig.v, 6, 2), 3);
	assert_int_equal(COMMAND("\3\0"), OK);
	assert_int_equal(vrig_config_read(&rig.v, 6, 2), 1);
}

#define EVERYTHING                                                                     \
	(ALL_RX | F_CTRL_VLAN | F_CTRL_MAC_ADDR | F_MQ | F_GUEST_OFFLOADS | F_STATUS | \
	 F_GUEST_ANNOUNCE | F_GUEST_CSUM)

/* Each command with each length that is not its own is refused, and changes nothing. */
static void wrong_lengths_are_refused(void **state)
{
	static const struct {
		char class, command;
		unsigned len;
	} commands[] = {{0, 0, 1}, {0, 1, 1}, {0, 2, 1}, {0, 3, 1}, {0, 4, 1}, {0, 5, 1}, {1, 0, 8},
			{1, 1, 6}, {2, 0, 2}, {2, 1, 2}, {3, 0, 0}, {4, 0, 2}, {5, 0, 8}};
	char bytes[2 + 16];

	(void)state;
	start(EVERYTHING);
	for (unsigned i = 0; i < ARRAY_LEN(commands); i++) {
		for (unsigned len = 0; len <= 16; len++) {
			memset(bytes, 0, sizeof(bytes));
			bytes[0] = commands[i].class;
			bytes[1] = commands[i].command;
			if (len != commands[i].len)
				assert_int_equal(command(bytes, 2 + len), ERR);
		}
	}
	assert_true(passes(other, -1));
	assert_int_equal(rig.fake.used, 1);
	assert_int_equal(rig.fake.offloads, NETIF_CSUM);
}

static void hostile_tables_are_refused(void **state)
{
	(void)state;
	start(EVERYTHING);
	assert_int_equal(COMMAND("\1\0\xff\xff\xff\xff\0\0\0\0"), ERR);
	assert_int_equal(COMMAND("\1\0\0\0\0\0\xff\xff\xff\xff"), ERR);
	assert_int_equal(COMMAND("\1\0\xab\xaa\xaa\xaa\0\0\0\0"), ERR); /* x 6 is 2 modulo 2^32 */
	assert_int_equal(COMMAND("\1\0\1\0\0\0\0\0\0\0"), ERR);
	assert_int_equal(COMMAND("\1\0\0\0\0\0\0"), ERR);
}

static void unknown_commands_are_refused(void **state)
{
	char bytes[2 + 8] = {0};

	(void)state;
	start(EVERYTHING);
	for (unsigned class = 0; class < 256; class ++) {
		bytes[0] = (char)class;
		bytes[1] = 6;
		assert_int_equal(command(bytes, sizeof(bytes)), ERR);
	}
}

/* Commands of features that the driver did not accept. */
static void what_was_not_negotiated_is_refused(void **state)
{
	(void)state;
	start(F_CTRL_VQ);
	assert_int_equal(COMMAND("\0\0\0"), ERR);
	assert_int_equal(COMMAND("\0\2\1"), ERR);
	assert_int_equal(COMMAND("\1\0\0\0\0\0\0\0\0\0"), ERR);
	assert_int_equal(COMMAND("\1\1\2\x9\x9\x9\x9\x9"), ERR);
	assert_int_equal(COMMAND("\2\0\7\0"), ERR);
	assert_int_equal(COMMAND("\3\0"), ERR);
	assert_int_equal(COMMAND("\4\0\1\0"), ERR);
	assert_int_equal(COMMAND("\5\0\0\0\0\0\0\0\0\0"), ERR);
	assert_true(passes(other, -1));
	/* And without the queue it is none. */
	start(0);
	assert_int_equal(COMMAND("\0\0\0"), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(everything_passes_at_first),
		TEST(receive_modes),
		TEST(tables_of_addresses),
		TEST(a_long_table),
		TEST(an_address_is_set),
		TEST(vlans),
		TEST(several_pairs),
		TEST(offloads_change),
		TEST(an_announcement),
		TEST(wrong_lengths_are_refused),
		TEST(hostile_tables_are_refused),
		TEST(unknown_commands_are_refused),
		TEST(what_was_not_negotiated_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
