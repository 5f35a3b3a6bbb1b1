/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BAR: entries of 16 bytes from 0, pending bits from PBA. Both are accessed by 4
 * or 8 bytes; the pending bits are read-only. An entry unmasked, or all of them,
 * sends what was pending.
 */
#include "devices/pci/msix.h"

#include <assert.h>
#include <string.h>

#include "base/bits.h"
#include "base/checked.h"

#define CAP_ID      0x11
#define CAP_LEN     12
#define CAP_CONTROL 2
#define CAP_TABLE   4
#define CAP_PBA     8

#define CONTROL_ENABLE 0x8000
#define CONTROL_MASK   0x4000

#define PBA        0x800u
#define ENTRY_SIZE 16u
#define ENTRY_MASK 1u
#define ADDR_MASK  (~3ULL) /* messages are of dwords */

_Static_assert(MSIX_VECTORS_MAX *ENTRY_SIZE <= PBA, "the table ends before the pending bits");

static void to_power_on(struct msix_state *s)
{
	*s = (struct msix_state){0};
	for (unsigned i = 0; i < MSIX_VECTORS_MAX; i++)
		s->table[i].control = ENTRY_MASK;
}

void msix_init(struct msix *m, struct pci_function *f, unsigned bar, unsigned vectors,
	       const struct msi_sink *sink)
{
	assert(vectors && vectors <= MSIX_VECTORS_MAX);
	pthread_mutex_init(&m->lock, NULL);
	m->function = f;
	m->vectors = vectors;
	m->sink = *sink;
	to_power_on(&m->state);
	pci_function_add_bar(f, bar, PCI_BAR_MEM32, MSIX_SIZE);
	m->cap = pci_function_add_cap(f, CAP_ID, CAP_LEN);
	pci_function_set(f, m->cap + CAP_CONTROL, 2, vectors - 1);
	pci_function_allow(f, m->cap + CAP_CONTROL, 2, CONTROL_ENABLE | CONTROL_MASK);
	pci_function_set(f, m->cap + CAP_TABLE, 4, bar);
	pci_function_set(f, m->cap + CAP_PBA, 4, PBA | bar);
}

void msix_release(struct msix *m)
{
	pthread_mutex_destroy(&m->lock);
}

void msix_reset(struct msix *m)
{
	pthread_mutex_lock(&m->lock);
	to_power_on(&m->state);
	pthread_mutex_unlock(&m->lock);
}

/* Sends what is pending and not masked. */
static void send_pending(struct msix *m)
{
	struct msix_state *s = &m->state;

	if (!s->enabled || s->masked || !s->pending)
		return;
	for (unsigned i = 0; i < m->vectors; i++) {
		const struct msix_entry *e = &s->table[i];
		const struct msi_msg msg = {e->addr, e->data};

		if (!(s->pending & BIT(i)) || e->control & ENTRY_MASK)
			continue;
		s->pending &= ~BIT(i);
		msi_send(&m->sink, &msg);
	}
}

bool msix_config_written(struct msix *m, unsigned reg, unsigned size)
{
	unsigned control;
	bool was;

	if (!ranges_overlap(reg, size, m->cap + CAP_CONTROL, 2))
		return false;
	control = pci_function_get(m->function, m->cap + CAP_CONTROL, 2);
	pthread_mutex_lock(&m->lock);
	was = m->state.enabled;
	m->state.enabled = control & CONTROL_ENABLE;
	m->state.masked = control & CONTROL_MASK;
	send_pending(m);
	pthread_mutex_unlock(&m->lock);
	return was != !!(control & CONTROL_ENABLE);
}

bool msix_enabled(struct msix *m)
{
	bool enabled;

	pthread_mutex_lock(&m->lock);
	enabled = m->state.enabled;
	pthread_mutex_unlock(&m->lock);
	return enabled;
}

void msix_raise(struct msix *m, unsigned vector)
{
	if (vector >= m->vectors)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->state.enabled) {
		m->state.pending |= BIT(vector);
		send_pending(m);
	}
	pthread_mutex_unlock(&m->lock);
}

/* An entry as it lies in memory. */
static void load_entry(const struct msix_entry *e, uint8_t bytes[ENTRY_SIZE])
{
	store_le(bytes, 8, e->addr);
	store_le(bytes + 8, 4, e->data);
	store_le(bytes + 12, 4, e->control);
}

static uint64_t bar_read(void *dev, uint64_t offset, unsigned size)
{
	struct msix *m = dev;
	uint8_t bytes[ENTRY_SIZE + 8] = {0};
	uint64_t value = 0;

	if (size < 4 || offset % size)
		return 0;
	pthread_mutex_lock(&m->lock);
	if (offset < m->vectors * ENTRY_SIZE) {
		load_entry(&m->state.table[offset / ENTRY_SIZE], bytes);
		value = load_le(bytes + offset % ENTRY_SIZE, size);
	} else if (range_within(offset - PBA, size, 8)) {
		value = m->state.pending >> ((offset - PBA) * 8);
	}
	pthread_mutex_unlock(&m->lock);
	return value;
}

static void bar_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
	struct msix *m = dev;
	uint8_t bytes[ENTRY_SIZE];
	struct msix_entry *e;

	if (size < 4 || offset % size || offset >= m->vectors * ENTRY_SIZE)
		return;
	pthread_mutex_lock(&m->lock);
	e = &m->state.table[offset / ENTRY_SIZE];
	load_entry(e, bytes);
	store_le(bytes + offset % ENTRY_SIZE, size, value);
	e->addr = load_le(bytes, 8) & ADDR_MASK;
	e->data = load_le(bytes + 8, 4);
	e->control = load_le(bytes + 12, 4) & ENTRY_MASK;
	send_pending(m);
	pthread_mutex_unlock(&m->lock);
}

const struct bus_ops msix_bar_ops = {"msi-x table", 8, bar_read, bar_write};
