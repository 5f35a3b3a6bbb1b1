/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/mmu/journal.h"

#include <string.h>

#include "core/x86/regs.h"
#include "engine/bt/cpu.h"

void journal_write(struct cpu *cpu, uint8_t *host, unsigned len)
{
	struct journal *j = cpu->journal;
	struct journal_note *note;

	if (!j || !j->open)
		return;
	if (j->count == JOURNAL_MAX || len > JOURNAL_BYTES)
		cpu_restart(cpu);
	note = &j->note[j->count++];
	note->host = host;
	note->len = len;
	memcpy(note->old, host, len);
}

void journal_refuse(struct cpu *cpu)
{
	if (cpu->journal && cpu->journal->open)
		cpu_restart(cpu);
}

void journal_undo(struct journal *j)
{
	for (unsigned n = 0; n < j->count; n++)
		memcpy(j->note[n].new, j->note[n].host, j->note[n].len);
	for (unsigned n = j->count; n-- > 0;)
		memcpy(j->note[n].host, j->note[n].old, j->note[n].len);
}

/* The accessed and dirty bits lie in an entry's first byte. */
static bool is_as_noted(const struct journal_note *note, uint8_t ignored)
{
	for (unsigned i = 0; i < note->len; i++)
		if ((note->new[i] ^ note->host[i]) & ~ignored)
			return false;
	return true;
}

bool journal_agrees(const struct journal *j)
{
	for (unsigned n = 0; n < j->count; n++)
		if (!is_as_noted(&j->note[n], j->disturbed ? PTE_A | PTE_D : 0))
			return false;
	return true;
}
