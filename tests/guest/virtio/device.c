/* SPDX-License-Identifier: Apache-2.0 */
#include "device.h"

#define MMIO_BASE   0xc0100000ull
#define MMIO_STRIDE 0x1000
#define MMIO_COUNT  16
#define MAGIC       0x74726976u

#define COMMON 0x0000
#define ISR    0x1000
#define CONFIG 0x2000
#define NOTIFY 0x3000

#define READONLY (1u << 5)
#define WORD     0x7265676cu

enum { BLOCK = 2, CONSOLE = 3, ENTROPY = 4, BALLOON = 5, MEMORY = 24, PMEM = 27 };

static void w8(u64 at, u32 v)
{
	*(volatile u8 *)(uptr)at = (u8)v;
}

static void w16(u64 at, u32 v)
{
	*(volatile u16 *)(uptr)at = (u16)v;
}

static void w32(u64 at, u32 v)
{
	*(volatile u32 *)(uptr)at = v;
}

static u32 r8(u64 at)
{
	return *(volatile u8 *)(uptr)at;
}

static u32 r16(u64 at)
{
	return *(volatile u16 *)(uptr)at;
}

static u32 r32(u64 at)
{
	return *(volatile u32 *)(uptr)at;
}

static void out32(u16 port, u32 v)
{
	__asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(port));
}

static u32 in32(u16 port)
{
	u32 v;

	__asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(port));
	return v;
}

static u32 pci_read(u32 slot, u32 reg)
{
	out32(0xcf8, 0x80000000 | slot << 11 | (reg & 0xfc));
	return in32(0xcfc);
}

static void pci_write(u32 slot, u32 reg, u32 v)
{
	out32(0xcf8, 0x80000000 | slot << 11 | (reg & 0xfc));
	out32(0xcfc, v);
}

static u32 find_msix(u32 slot)
{
	u32 cap = pci_read(slot, 0x34) & 0xfc;

	for (unsigned n = 0; cap && n < 48; n++) {
		u32 head = pci_read(slot, cap);

		if ((head & 0xff) == 0x11)
			return cap;
		cap = head >> 8 & 0xfc;
	}
	return 0;
}

unsigned dev_find(struct dev devs[])
{
	unsigned count = 0;

	for (u32 slot = 0; slot < 32 && count < DEVS_MAX; slot++) {
		u32 id = pci_read(slot, 0);

		if ((id & 0xffff) != 0x1af4 || id >> 16 < 0x1040)
			continue;
		devs[count++] = (struct dev){.pci = true,
					     .id = (id >> 16) - 0x1040,
					     .slot = slot,
					     .bar0 = pci_read(slot, 0x10),
					     .bar1 = pci_read(slot, 0x14),
					     .base = pci_read(slot, 0x10) & ~15u,
					     .msix = find_msix(slot)};
		pci_write(slot, 4, 6);
	}
	for (u32 n = 0; n < MMIO_COUNT && count < DEVS_MAX; n++) {
		u64 base = MMIO_BASE + n * MMIO_STRIDE;

		if (r32(base) == MAGIC && r32(base + 8))
			devs[count++] = (struct dev){.id = r32(base + 8), .base = base};
	}
	return count;
}

unsigned dev_queues(struct dev *d)
{
	unsigned n = 0;

	if (d->pci) {
		n = r16(d->base + 18);
		return n && n < 64 ? n : 1; /* a BAR that was moved gives anything */
	}
	for (; n < 20; n++) {
		w32(d->base + 0x30, n);
		if (!r32(d->base + 0x34))
			break;
	}
	return n ? n : 1;
}

u64 dev_features(struct dev *d)
{
	u64 low, at = d->pci ? d->base : d->base + 0x14;

	w32(at, 0);
	low = r32(d->pci ? d->base + 4 : d->base + 0x10);
	w32(at, 1);
	return low | (u64)r32(d->pci ? d->base + 4 : d->base + 0x10) << 32;
}

void dev_accept(struct dev *d, u64 features)
{
	for (u32 n = 0; n < 2; n++) {
		w32(d->pci ? d->base + 8 : d->base + 0x24, n);
		w32(d->pci ? d->base + 12 : d->base + 0x20, (u32)(features >> 32 * n));
	}
}

void dev_status(struct dev *d, u32 status)
{
	if (d->pci)
		w8(d->base + 20, status);
	else
		w32(d->base + 0x70, status);
}

u32 dev_get_status(struct dev *d)
{
	return d->pci ? r8(d->base + 20) : r32(d->base + 0x70);
}

static void w64(u64 at, u64 v)
{
	w32(at, (u32)v);
	w32(at + 4, (u32)(v >> 32));
}

void dev_place(struct dev *d, u32 queue, const struct place *p)
{
	if (d->pci) {
		w16(d->base + 22, queue);
		w16(d->base + 24, p->size);
		w64(d->base + 32, p->desc);
		w64(d->base + 40, p->driver);
		w64(d->base + 48, p->device);
		return;
	}
	w32(d->base + 0x30, queue);
	w32(d->base + 0x38, p->size);
	w64(d->base + 0x80, p->desc);
	w64(d->base + 0x90, p->driver);
	w64(d->base + 0xa0, p->device);
}

void dev_enable(struct dev *d, u32 queue)
{
	if (d->pci) {
		w16(d->base + 22, queue);
		w16(d->base + 28, 1);
	} else {
		w32(d->base + 0x30, queue);
		w32(d->base + 0x44, 1);
	}
}

void dev_notify(struct dev *d, u32 queue)
{
	if (d->pci)
		w16(d->base + NOTIFY + (queue * 4 & 0xffc), queue);
	else
		w32(d->base + 0x50, queue);
}

static void access(u64 at, u32 v)
{
	switch (rnd(6)) {
	case 0:
		w8(at, v);
		break;
	case 1:
		w16(at & ~1ull, v);
		break;
	case 2:
		w32(at & ~3ull, v);
		break;
	case 3:
		r8(at);
		break;
	case 4:
		r16(at & ~1ull);
		break;
	default:
		r32(at & ~3ull);
	}
}

bool dev_takes_pages(struct dev *d, u32 queue)
{
	return d->id == BALLOON && !queue;
}

void dev_write_any(struct dev *d, u32 value)
{
	static const u32 pages[] = {COMMON, COMMON, COMMON, ISR, NOTIFY};
	u32 page = d->pci ? pages[rnd(ARRAY_LEN(pages))] : 0;
	u32 at = rnd(!d->pci ? 0x100 : rnd(8) ? 64 : 4096);

	/* No queue is enabled here that dev_takes_pages. */
	if (dev_takes_pages(d, 0) && (d->pci ? page == COMMON && at / 8 == 3 : at / 8 == 8))
		return;
	access(d->base + page + at, value);
}

/* The MSI-X table: any address; data of the fixed kind; also entries that there are not. */
static void write_msix(struct dev *d, u32 value)
{
	u64 at = (d->bar1 & ~15u) + 16 * rnd(32);

	switch (rnd(4)) {
	case 0:
		w32(at, rnd(2) ? 0xfee00000 : value & ~0x00f00000u);
		break;
	case 1:
		w32(at + 8, 0x20 + rnd(0xd0));
		break;
	case 2:
		w32(at + 12, rnd(2));
		break;
	default:
		w16(d->base + 22, rnd(8));
		w16(d->base + 26, rnd(2) ? rnd(16) : value);
	}
}

/* Of PCI configuration space all; BARs go where nothing of this guest's own is reached. */
static void write_pci(struct dev *d, u32 value)
{
	static const u32 places[] = {0xc0100000, 0xd8000000, 0xfec00000, 0xfee00000,
				     0xe8000000, 0xfffff000, 0x00000000, 0xc0008000};
	u32 reg = rnd(rnd(4) ? 0x100 : 0x40) & 0xfc;

	if (reg == 0x10 || reg == 0x14)
		value = places[rnd(ARRAY_LEN(places))];
	if (d->msix && !rnd(4)) {
		reg = d->msix;
		value = rnd(4) << 30 | (value & 0xffff);
	}
	if (rnd(2))
		pci_write(d->slot, reg, value);
	else
		pci_read(d->slot, reg);
	if (!rnd(2)) { /* what is behind has its chance to be reached again */
		pci_write(d->slot, 0x10, d->bar0);
		pci_write(d->slot, 0x14, d->bar1);
		pci_write(d->slot, 4, 6);
	}
}

void dev_config_any(struct dev *d, u32 value)
{
	u32 way = rnd(3);

	if (!d->pci || way == 0)
		access(d->base + (d->pci ? CONFIG : 0x100) + rnd(0x100), value);
	else if (way == 1)
		write_msix(d, value);
	else
		write_pci(d, value);
}

void dev_heal(struct dev *d)
{
	if (d->pci) {
		pci_write(d->slot, 4, 0);
		pci_write(d->slot, 0x10, d->bar0);
		pci_write(d->slot, 0x14, d->bar1);
		if (d->msix)
			pci_write(d->slot, d->msix, 0);
		pci_write(d->slot, 4, 6);
	}
	dev_status(d, 0);
	check("a reset is one", dev_get_status(d), 0);
}

/* One queue in order, on which one chain at a time is sent. */
static void begin(struct dev *d, u32 queue, u64 features)
{
	const struct place p = {PROOF, PROOF + 0x1000, PROOF + 0x2000, 8};

	fill((void *)(uptr)PROOF, 0, 0x8000);
	dev_status(d, 3);
	dev_accept(d, features | 1ull << 32);
	dev_status(d, 11);
	check("features that were offered are taken", dev_get_status(d), 11);
	dev_place(d, queue, &p);
	dev_enable(d, queue);
	dev_status(d, 15);
	check("ready", dev_get_status(d), 15);
}

static void descriptor(u32 n, u64 addr, u32 len, u32 flags)
{
	u64 at = PROOF + 16 * n;

	w64(at, addr);
	w32(at + 8, len);
	w16(at + 12, flags);
	w16(at + 14, n + 1);
}

/* Makes the chain from descriptor 0 on available, and waits for it; whether it was used. */
static bool send(struct dev *d, u32 queue, u32 turn)
{
	w16(PROOF + 0x1002, turn);
	__asm__ volatile("mfence" : : : "memory");
	dev_notify(d, queue);
	for (u32 n = 0; n < 20000000; n++) {
		if (r16(PROOF + 0x2002) == turn)
			return true;
		__asm__ volatile("pause");
	}
	return false;
}

static void prove_entropy(struct dev *d)
{
	u64 bytes[4];

	begin(d, 0, 0);
	descriptor(0, PROOF + 0x3000, 32, 2);
	check("random bytes come", send(d, 0, 1), 1);
	copy(bytes, (void *)(uptr)(PROOF + 0x3000), sizeof(bytes));
	check("  they are", bytes[0] && bytes[0] != bytes[1] && bytes[2] != bytes[3], 1);
}

static void request(struct dev *d, u32 type, u32 sector, u32 turn)
{
	w32(PROOF + 0x3000, type);
	w64(PROOF + 0x3008, sector);
	descriptor(0, PROOF + 0x3000, 16, 1);
	descriptor(1, PROOF + 0x4000, 512, type ? 1 : 3);
	descriptor(2, PROOF + 0x3100, 1, 2);
	w8(PROOF + 0x3100, 0xee);
	check("a disk's request is done", send(d, 0, turn), 1);
	check("  its status", r8(PROOF + 0x3100), 0);
}

/* Each sector of a read-only disk begins with its number and a word; of others, the one that was
 * written. */
static void prove_block(struct dev *d)
{
	bool readonly = dev_features(d) & READONLY;
	u32 sector = rnd(64);

	begin(d, 0, readonly ? READONLY : 0);
	if (!readonly) {
		w32(PROOF + 0x4000, sector);
		w32(PROOF + 0x4004, WORD);
		request(d, 1, sector, 1);
		w64(PROOF + 0x4000, 0);
	}
	request(d, 0, sector, readonly ? 1 : 2);
	check("  its number", r32(PROOF + 0x4000), sector);
	check("  its word", r32(PROOF + 0x4004), WORD);
}

static void prove_console(struct dev *d)
{
	static const char text[] = "alive\n";

	begin(d, 1, 0);
	copy((void *)(uptr)(PROOF + 0x3000), text, sizeof(text) - 1);
	descriptor(0, PROOF + 0x3000, sizeof(text) - 1, 0);
	check("the console takes a line", send(d, 1, 1), 1);
}

/* Pages that are there, twice, not there, or nowhere. */
static void prove_balloon(struct dev *d)
{
	static const u32 pages[] = {
		ARENA >> 12, (ARENA >> 12) + 1, ARENA >> 12,       0xfffff,
		~0u,         RAM_END >> 12,     (ARENA >> 12) + 7, (ARENA >> 12) + 6};

	begin(d, 0, 0);
	for (unsigned i = 0; i < 8; i++) {
		w64(ARENA + 4096 * i, 0x5a);
		w32(PROOF + 0x3000 + 4 * i, pages[i]);
	}
	descriptor(0, PROOF + 0x3000, sizeof(pages), 0);
	check("the balloon takes pages", send(d, 0, 1), 1);
	for (unsigned i = 0; i < 8; i++)
		check("  and no others", r32(ARENA + 4096 * i), i < 2 || i > 5 ? 0 : 0x5a);
}

/* The region's first block is not there. */
static void prove_memory(struct dev *d)
{
	u64 config = d->base + (d->pci ? CONFIG : 0x100);

	begin(d, 0, 0);
	w32(PROOF + 0x3000, 3);
	w32(PROOF + 0x3008, r32(config + 16));
	w32(PROOF + 0x300c, r32(config + 20));
	w32(PROOF + 0x3010, 1);
	w64(PROOF + 0x3100, ~0ull);
	descriptor(0, PROOF + 0x3000, 24, 1);
	descriptor(1, PROOF + 0x3100, 10, 2);
	check("a block's state is told", send(d, 0, 1), 1);
	check("  acknowledged", r16(PROOF + 0x3100), 0);
	check("  not plugged", r16(PROOF + 0x3108), 1);
}

static void prove_pmem(struct dev *d)
{
	begin(d, 0, 0);
	w32(PROOF + 0x3100, ~0u);
	descriptor(0, PROOF + 0x3000, 4, 1);
	descriptor(1, PROOF + 0x3100, 4, 2);
	check("memory is flushed", send(d, 0, 1), 1);
	check("  it is", r32(PROOF + 0x3100), 0);
}

void dev_prove(struct dev *d)
{
	if (d->id == ENTROPY) {
		prove_entropy(d);
	} else if (d->id == BALLOON) {
		prove_balloon(d);
	} else if (d->id == MEMORY) {
		prove_memory(d);
	} else if (d->id == PMEM) {
		prove_pmem(d);
	} else if (d->id == BLOCK) {
		prove_block(d);
	} else if (d->id == CONSOLE) {
		prove_console(d);
	} else {
		begin(d, 0, 0);
		dev_notify(d, 0);
		check("it is ready still", dev_get_status(d), 15);
	}
	dev_status(d, 0);
	check("and reset", dev_get_status(d), 0);
}
