/* SPDX-License-Identifier: Apache-2.0 */
/* The keyboard controller and its keyboard against IBM's technical reference. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/bits.h"
#include "devices/legacy/i8042.h"

struct fixture {
	struct i8042 k;
	bool level[16];
	unsigned edges[16];
	unsigned resets;
};

static void pin(void *opaque, unsigned number, bool level)
{
	struct fixture *f = opaque;

	assert_true(number == 1 || number == 12);
	f->edges[number] += level && !f->level[number];
	f->level[number] = level;
}

static void on_reset(void *opaque)
{
	struct fixture *f = opaque;

	f->resets++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	i8042_init(&f->k, (struct irq_line){pin, f, 1}, (struct irq_line){pin, f, 12}, on_reset, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	i8042_release(&f->k);
	free(f);
	return 0;
}

static uint8_t read_port(struct fixture *f, const struct bus_ops *ops)
{
	uint64_t v;

	pthread_mutex_lock(&f->k.lock);
	v = ops->read(&f->k, 0, 1);
	pthread_mutex_unlock(&f->k.lock);
	return (uint8_t)v;
}

static void write_port(struct fixture *f, const struct bus_ops *ops, uint8_t v)
{
	pthread_mutex_lock(&f->k.lock);
	ops->write(&f->k, 0, 1, v);
	pthread_mutex_unlock(&f->k.lock);
}

static uint8_t status(struct fixture *f)
{
	return read_port(f, &i8042_command_ops);
}

static void command(struct fixture *f, uint8_t v)
{
	write_port(f, &i8042_command_ops, v);
}

static void command_with(struct fixture *f, uint8_t v, uint8_t argument)
{
	command(f, v);
	write_port(f, &i8042_data_ops, argument);
}

static void to_keyboard(struct fixture *f, uint8_t v)
{
	write_port(f, &i8042_data_ops, v);
}

static void expect_bytes(struct fixture *f, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		assert_true(status(f) & I8042_OBF);
		assert_int_equal(read_port(f, &i8042_data_ops), bytes[i]);
	}
	assert_false(status(f) & I8042_OBF);
}

#define EXPECT(f, ...) \
	expect_bytes(f, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void set_command_byte(struct fixture *f, uint8_t v)
{
	command_with(f, 0x60, v);
}

static void self_test_and_interface_tests(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(status(f), I8042_KEYLOCK | I8042_SYSTEM);
	command(f, 0xaa);
	assert_int_equal(status(f), I8042_KEYLOCK | I8042_SYSTEM | I8042_COMMAND | I8042_OBF);
	EXPECT(f, 0x55);
	command(f, 0xab);
	EXPECT(f, 0x00);
	command(f, 0xa9);
	EXPECT(f, 0x00);
	assert_int_equal(status(f) & I8042_IBF, 0);
}

static void command_byte_and_ram(void **state)
{
	struct fixture *f = *state;

	command(f, 0x20);
	EXPECT(f, 0x65);
	set_command_byte(f, 0x30);
	command(f, 0x20);
	EXPECT(f, 0x30);
	assert_int_equal(status(f) & I8042_SYSTEM, 0);
	command(f, 0xae);
	command(f, 0xa8);
	command(f, 0x20);
	EXPECT(f, 0x00);
	command(f, 0xad);
	command(f, 0xa7);
	command(f, 0x20);
	EXPECT(f, 0x30);
	command_with(f, 0x65, 0xa5);
	command(f, 0x25);
	EXPECT(f, 0xa5);
}

static void output_port_and_reset_line(void **state)
{
	struct fixture *f = *state;

	command(f, 0xd0);
	EXPECT(f, 0xc3);
	command_with(f, 0xd1, 0xdd); /* A20 off: remembered */
	command(f, 0xd0);
	EXPECT(f, 0xcd);
	assert_int_equal(f->resets, 0);
	command(f, 0xff); /* pulls nothing */
	command(f, 0xfd);
	assert_int_equal(f->resets, 0);
	command(f, 0xfe);
	assert_int_equal(f->resets, 1);
	command(f, 0xf0);
	assert_int_equal(f->resets, 2);
	command_with(f, 0xd1, 0xde);
	assert_int_equal(f->resets, 3);
}

static void keyboard_commands(void **state)
{
	struct fixture *f = *state;

	set_command_byte(f, I8042_CTR_KBD_IRQ); /* no translation */
	to_keyboard(f, 0xff);
	EXPECT(f, 0xfa, 0xaa);
	to_keyboard(f, 0xf2);
	EXPECT(f, 0xfa, 0xab, 0x83);
	to_keyboard(f, 0xfe); /* resend */
	EXPECT(f, 0x83);
	to_keyboard(f, 0xee);
	EXPECT(f, 0xee);
	to_keyboard(f, 0xed);
	EXPECT(f, 0xfa);
	to_keyboard(f, 0x07);
	EXPECT(f, 0xfa);
	assert_int_equal(f->k.s.keyboard.leds, 7);
	to_keyboard(f, 0xf3);
	EXPECT(f, 0xfa);
	to_keyboard(f, 0x00);
	EXPECT(f, 0xfa);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x00);
	EXPECT(f, 0xfa, 0xfa, 0x02);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x03);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x00);
	EXPECT(f, 0xfa, 0xfa, 0xfa, 0xfa, 0x03);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x04);
	EXPECT(f, 0xfa, 0xfe);
	to_keyboard(f, 0xed);
	to_keyboard(f, 0xf6); /* a command in the place of the argument */
	EXPECT(f, 0xfa, 0xfa);
	assert_int_equal(f->k.s.keyboard.set, 2);
	to_keyboard(f, 0x12);
	EXPECT(f, 0xfe);
	to_keyboard(f, 0xf5);
	EXPECT(f, 0xfa);
	assert_false(i8042_ctrl_alt_del(&f->k));
	to_keyboard(f, 0xf4);
	EXPECT(f, 0xfa);
	assert_true(i8042_ctrl_alt_del(&f->k));
}

static void translation_covers_all_that_the_keyboard_sends(void **state)
{
	static const uint8_t keys[][2] = {
		{0x76, 0x01}, {0x1c, 0x1e}, {0x5a, 0x1c}, {0x29, 0x39}, {0x05, 0x3b}, {0x09, 0x44},
		{0x78, 0x57}, {0x07, 0x58}, {0x14, 0x1d}, {0x11, 0x38}, {0x71, 0x53}, {0x12, 0x2a},
		{0x59, 0x36}, {0x66, 0x0e}, {0x0d, 0x0f}, {0x58, 0x3a}, {0x77, 0x45}, {0x7e, 0x46},
		{0x16, 0x02}, {0x45, 0x0b}, {0x15, 0x10}, {0x1a, 0x2c}, {0x4a, 0x35}, {0x5d, 0x2b},
		{0x83, 0x41}, {0x84, 0x54}, {0x61, 0x56}, {0x70, 0x52}, {0x7c, 0x37}, {0xe0, 0xe0},
	};
	struct fixture *f = *state;
	bool seen[128] = {false};

	to_keyboard(f, 0xf2);
	EXPECT(f, 0xfa, 0xab, 0x41);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x00);
	EXPECT(f, 0xfa, 0xfa, 0x41);
	for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
		/* the keyboard's own buffer, as if the key had been pressed */
		f->k.s.keyboard.queue[f->k.s.keyboard.at] = keys[i][0];
		f->k.s.keyboard.count = 1;
		command(f, 0xae);
		EXPECT(f, keys[i][1]);
	}
	/* The table maps 1 to 0x7f onto 1 to 0x7f, each once. */
	for (unsigned code = 1; code < 128; code++) {
		uint8_t to;

		f->k.s.keyboard.queue[f->k.s.keyboard.at] = (uint8_t)code;
		f->k.s.keyboard.count = 1;
		command(f, 0xae);
		to = read_port(f, &i8042_data_ops);
		assert_in_range(to, 1, 127);
		if (code != 0x7f) { /* F7's 0x83 and SysRq's 0x84 share 0x41 and 0x54 */
			assert_false(seen[to]);
			seen[to] = true;
		}
	}
}

static void ctrl_alt_del_in_each_set(void **state)
{
	struct fixture *f = *state;

	assert_true(i8042_ctrl_alt_del(&f->k));
	EXPECT(f, 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d);
	set_command_byte(f, 0);
	assert_true(i8042_ctrl_alt_del(&f->k));
	EXPECT(f, 0x14, 0x11, 0xe0, 0x71, 0xe0, 0xf0, 0x71, 0xf0, 0x11, 0xf0, 0x14);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x01);
	EXPECT(f, 0xfa, 0xfa);
	assert_true(i8042_ctrl_alt_del(&f->k));
	EXPECT(f, 0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d);
	to_keyboard(f, 0xf0);
	to_keyboard(f, 0x03);
	EXPECT(f, 0xfa, 0xfa);
	assert_true(i8042_ctrl_alt_del(&f->k));
	EXPECT(f, 0x11, 0x19, 0x64, 0xf0, 0x64, 0xf0, 0x19, 0xf0, 0x11);
	command(f, 0xad);
	assert_false(i8042_ctrl_alt_del(&f->k)); /* the interface is off */
	command(f, 0xae);
	assert_true(i8042_ctrl_alt_del(&f->k));
	assert_false(i8042_ctrl_alt_del(&f->k)); /* nobody has read the first */
}

static void each_byte_is_an_edge(void **state)
{
	struct fixture *f = *state;

	i8042_ctrl_alt_del(&f->k);
	for (unsigned i = 1; i <= 8; i++) {
		assert_true(f->level[1]);
		assert_int_equal(f->edges[1], i);
		read_port(f, &i8042_data_ops);
	}
	assert_false(f->level[1]);
	set_command_byte(f, 0); /* no interrupt */
	i8042_ctrl_alt_del(&f->k);
	assert_false(f->level[1]);
	set_command_byte(f, I8042_CTR_KBD_IRQ);
	assert_true(f->level[1]);
}

static void a_disabled_keyboard_waits(void **state)
{
	struct fixture *f = *state;

	i8042_ctrl_alt_del(&f->k);
	command(f, 0xad);
	assert_int_equal(read_port(f, &i8042_data_ops), 0x1d);
	assert_false(status(f) & I8042_OBF);
	command(f, 0x20); /* replies go on */
	assert_int_equal(read_port(f, &i8042_data_ops), 0x75);
	command(f, 0xae);
	assert_int_equal(read_port(f, &i8042_data_ops), 0x38);
}

/* Linux's i8042_check_aux, and what its mouse driver finds. */
static void the_auxiliary_port_works_and_is_empty(void **state)
{
	struct fixture *f = *state;

	command_with(f, 0xd3, 0x5a);
	assert_true(status(f) & I8042_AUX);
	EXPECT(f, 0x5a);
	command(f, 0xa7);
	command(f, 0x20);
	EXPECT(f, 0x65);
	command(f, 0xa8);
	command(f, 0x20);
	EXPECT(f, 0x45);
	set_command_byte(f, 0x45 | I8042_CTR_AUX_IRQ);
	command_with(f, 0xd3, 0xa5);
	assert_true(f->level[12]);
	assert_false(f->level[1]);
	EXPECT(f, 0xa5);
	assert_false(f->level[12]);
	command_with(f, 0xd4, 0xf2);
	assert_int_equal(status(f) & (I8042_AUX | I8042_TIMEOUT | I8042_OBF),
			 I8042_AUX | I8042_TIMEOUT | I8042_OBF);
	EXPECT(f, 0xfe);
	assert_int_equal(status(f) & (I8042_AUX | I8042_TIMEOUT), 0);
	command_with(f, 0xd2, 0x77); /* as from the keyboard */
	assert_false(status(f) & I8042_AUX);
	assert_true(f->level[1]);
	EXPECT(f, 0x77);
}

static void reset_is_power_on(void **state)
{
	struct fixture *f = *state;

	set_command_byte(f, I8042_CTR_KBD_IRQ);
	to_keyboard(f, 0xf5);
	command(f, 0xd1);
	i8042_reset(&f->k);
	assert_false(f->level[1]);
	assert_int_equal(status(f), I8042_KEYLOCK | I8042_SYSTEM);
	to_keyboard(f, 0xee); /* to the keyboard, not an argument */
	EXPECT(f, 0xee);
	assert_true(i8042_ctrl_alt_del(&f->k));
}

static void random_accesses_keep_the_invariants(void **state)
{
	struct fixture *f = *state;
	const struct i8042_state *s = &f->k.s;

	srandom(7);
	for (int i = 0; i < 300000; i++) {
		unsigned what = (unsigned)random() % 16;
		uint8_t v = (uint8_t)random();
		bool full, aux;

		if (what < 5)
			command(f, v);
		else if (what < 10)
			to_keyboard(f, v);
		else if (what < 14)
			read_port(f, &i8042_data_ops);
		else if (what == 14)
			status(f);
		else
			i8042_ctrl_alt_del(&f->k);
		full = s->status & I8042_OBF;
		aux = s->status & I8042_AUX;
		assert_true(s->keyboard.count <= I8042_QUEUE && s->keyboard.at < I8042_QUEUE);
		assert_in_range(s->keyboard.set, 1, 3);
		assert_int_equal(f->level[1], full && !aux && (s->ram[0] & I8042_CTR_KBD_IRQ));
		assert_int_equal(f->level[12], full && aux && (s->ram[0] & I8042_CTR_AUX_IRQ));
		assert_true(full || !s->reply);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(self_test_and_interface_tests),
		TEST(command_byte_and_ram),
		TEST(output_port_and_reset_line),
		TEST(keyboard_commands),
		TEST(translation_covers_all_that_the_keyboard_sends),
		TEST(ctrl_alt_del_in_each_set),
		TEST(each_byte_is_an_edge),
		TEST(a_disabled_keyboard_waits),
		TEST(the_auxiliary_port_works_and_is_empty),
		TEST(reset_is_power_on),
		TEST(random_accesses_keep_the_invariants),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
