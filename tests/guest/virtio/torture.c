/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that means harm to every virtio device of the machine, on PCI and on MMIO; its command
 * line is "SEED ROUNDS", two decimal numbers.
 *
 * A round is one act at random on one device: registers and configuration space written, a queue
 * started with descriptors that may be anything, its rings changed while it works, notifications
 * of queues that are there or not, a reset in the middle. Now and then, and at the end, all is put
 * in order, and each device shown to work: random bytes come, a sector of the disk holds what the
 * host put there, what the console sends is taken, every other device becomes ready and its first
 * queue does not break. The machine's clock has gone on meanwhile.
 *
 * What devices may write by a descriptor's order is this guest's own memory: so addresses in RAM
 * are of an arena from ARENA on, whose bits are such that a byte of one that is overwritten leaves
 * an address far from the program. A balloon's first queue, to which go numbers of pages to be
 * taken away, is used only where they are this guest's choice. Interrupts are off; messages are of
 * the fixed kind only, since any other would stop or reset the processor, as it would on a real
 * machine.
 */
#include "device.h"

#define CHECK_EVERY 2000

extern u32 start_info;

static u64 seed;
static struct dev devs[DEVS_MAX];
static unsigned dev_count;

u32 rnd(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return below ? (u32)(seed >> 16) % below : 0;
}

static u64 number(const char **text)
{
	u64 n = 0;

	while (**text >= '0' && **text <= '9')
		n = n * 10 + (u64)(*(*text)++ - '0');
	while (**text == ' ')
		(*text)++;
	return n;
}

/* Where RAM ends or begins, windows of devices, and what wraps. */
static u64 odd_address(void)
{
	static const u64 odd[] = {
		RAM_END - 8,   RAM_END,       RAM_END - 4096, 0xc0000000,        0xc0100000,
		0xd0000000,    0xe8000000,    0xfec00000,     0xfee00000,        0xffffffff,
		0xfffffff0,    0x100000000,   ~0ull,          ~0ull - 15,        1ull << 63,
		0xbffffff8ull, 0xc0008000ull, 1ull << 52,     (1ull << 46) - 16, 0xe0000000,
	};

	return odd[rnd(ARRAY_LEN(odd))] + (rnd(4) ? 0 : rnd(32));
}

static u64 address(void)
{
	return rnd(6) ? ARENA + (rnd(ARENA_SIZE) & ~(rnd(4) ? 15u : 0u)) : odd_address();
}

static u32 length(void)
{
	static const u32 odd[] = {0, 1, 15, 16, 17, 511, 513, 4096, 0x10000, 0x7fffffff, ~0u};

	return rnd(3) ? 16 * (1 + rnd(64)) : odd[rnd(ARRAY_LEN(odd))];
}

static u32 value(void)
{
	static const u32 odd[] = {0, 1, 2, 3, 4, 7, 8, 15, 16, 0x7f, 0x80, 0xff, 0xffff, ~0u};

	switch (rnd(4)) {
	case 0:
		return odd[rnd(ARRAY_LEN(odd))];
	case 1:
		return 1u << rnd(32);
	case 2:
		return (u32)address();
	}
	return (u32)seed;
}

static volatile u8 *arena(u64 at)
{
	return (volatile u8 *)(uptr)at;
}

static void put64(u64 at, u64 v)
{
	*(volatile u64 *)arena(at) = v;
}

static void put16(u64 at, u32 v)
{
	*(volatile u16 *)arena(at) = (u16)v;
}

/* A table of descriptors that are plausible one by one, or not. */
static void fill_table(u64 table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		u64 flags = rnd(8) ? rnd(4) : rnd(8);
		u64 next = rnd(8) ? (i + 1) % count : rnd(0x10000);

		put64(table + 16 * i, address());
		put64(table + 16 * i + 8, length() | flags << 32 | next << 48);
		if (rnd(2)) /* packed: flags are the last */
			put64(table + 16 * i + 8,
			      length() | (u64)i << 32 | (flags | (rnd(2) ? 0x80 : 0x8000)) << 48);
	}
}

/* Requests that a disk, a console's control queue or a network card might take up. */
static void fill_request(u64 at)
{
	put64(at, rnd(16) | (u64)rnd(2) << 32);
	put64(at + 8, rnd(2) ? rnd(64) : value());
}

/* A table as a good driver has it: buffers of one descriptor, read or written, or requests of
 * three. Split or packed. */
static void fill_good_table(u64 table, unsigned count, bool packed)
{
	unsigned kind = rnd(3);

	for (unsigned i = 0; i < count; i++) {
		u64 at = ARENA + 4096 * rnd(ARENA_SIZE / 4096);
		u64 len = 16 + rnd(4096 - 16), flags = kind == 1 ? 2 : 0;

		if (kind == 2) {
			const u64 lens[] = {16, 512 * (1 + rnd(8)), 1};

			len = lens[i % 3];
			flags = (i % 3 < 2) | (i % 3 == 2 || (i % 3 == 1 && rnd(2)) ? 2 : 0);
			if (i % 3 == 0)
				fill_request(at);
		}
		put64(table + 16 * i, at);
		put64(table + 16 * i + 8, packed ? len | (u64)i << 32 | (flags | 0x80) << 48
						 : len | flags << 32 | (u64)(i + 1) << 48);
	}
}

/* Half of the queues are good, and get their harm later. */
static void fill_queue(u64 at, struct place *p, bool packed)
{
	bool good = rnd(2);

	put64(at + 0x4000, 0);
	if (good) {
		*p = (struct place){at, at + 0x2000, at + 0x4000, 64};
		fill_good_table(at, 63, packed);
		put64(at + 16 * 63, ARENA);
		put64(at + 16 * 63 + 8, 0);
	} else {
		fill_table(at, 64);
		fill_request(ARENA + 16 * rnd(ARENA_SIZE / 16 - 1));
	}
	put64(at + 0x2000, good || rnd(4) ? 0 : value());
	for (unsigned i = 0; i < 64; i++)
		put16(at + 0x2004 + 2 * i, good ? 3 * (i % 21) : rnd(8) ? rnd(64) : value());
	put16(at + 0x2002, good ? 1 + rnd(21) : rnd(8) ? rnd(32) : value());
}

static void start_at_random(struct dev *d)
{
	unsigned queues = dev_queues(d);
	u64 features;

	dev_status(d, 0);
	dev_status(d, 1);
	dev_status(d, 3);
	features = dev_features(d) & ((u64)value() << 32 | value() | 1ull << 32);
	dev_accept(d, features);
	if (!rnd(16))
		dev_accept(d, (u64)value() << 32 | value());
	dev_status(d, 11);
	for (unsigned q = 0; q < queues; q++) {
		u64 at = ARENA + 0x10000 * (rnd(ARENA_SIZE / 0x10000));
		struct place p = {at, at + 0x2000, at + 0x4000, 1u << rnd(8)};

		if (!rnd(12))
			p.size = value();
		if (!rnd(20))
			p.desc = address();
		if (!rnd(20))
			p.driver = rnd(2) ? address() : p.desc;
		if (!rnd(20))
			p.device = rnd(2) ? address() : p.driver;
		d->last[q % QUEUES_KEPT] = p;
		fill_queue(at, &p, features >> 34 & 1);
		dev_place(d, q, &p);
		if (rnd(8) && !dev_takes_pages(d, q))
			dev_enable(d, q);
	}
	dev_status(d, 15);
	for (unsigned q = 0; q < queues; q++)
		dev_notify(d, q);
}

/* Rings and descriptors change under the device's hands. */
static void change_rings(struct dev *d)
{
	const struct place *p = &d->last[rnd(QUEUES_KEPT)];
	u64 at = p->desc;

	if (at < ARENA || at >= ARENA + ARENA_SIZE)
		return;
	at &= ~0xffffull;
	switch (rnd(4)) {
	case 0:
		put16(at + 0x2002, value()); /* the available index jumps */
		break;
	case 1:
		put16(at + 0x4002, value()); /* the used one, which is the device's */
		break;
	case 2:
		put64(at + 16 * rnd(64), address());
		break;
	default:
		fill_table(at, 1 + rnd(64));
	}
	dev_notify(d, rnd(4) ? rnd(dev_queues(d)) : value());
}

static void act(struct dev *d)
{
	switch (rnd(8)) {
	case 0:
		dev_status(d, value());
		break;
	case 1:
	case 2:
		dev_write_any(d, value());
		break;
	case 3:
		dev_notify(d, rnd(2) ? rnd(20) : value());
		break;
	case 4:
		dev_config_any(d, value());
		break;
	case 5:
		start_at_random(d);
		break;
	default:
		change_rings(d);
	}
}

static u32 pm_timer(void)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"((u16)0x608));
	return v;
}

static void check_all(u32 *clock)
{
	u32 now = pm_timer();

	check("the clock goes on", now != *clock, 1);
	*clock = now;
	for (unsigned i = 0; i < dev_count; i++)
		dev_heal(&devs[i]);
	for (unsigned i = 0; i < dev_count; i++)
		dev_prove(&devs[i]);
}

void main(void)
{
	const u64 *info = (const u64 *)(uptr)start_info;
	const char *text = (const char *)(uptr)info[3]; /* cmdline_paddr */
	u32 clock = pm_timer() - 1;
	u64 rounds;

	seed = number(&text) * 0x9e3779b97f4a7c15ull + 1;
	rounds = number(&text);
	dev_count = dev_find(devs);
	check("there are devices", dev_count > 0, 1);
	check_all(&clock);
	for (u64 n = 1; n <= rounds; n++) {
		act(&devs[rnd(dev_count)]);
		if (n % CHECK_EVERY == 0 || n == rounds)
			check_all(&clock);
	}
}
