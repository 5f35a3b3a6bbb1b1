/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the interpreter writes to RAM, noted so that it can be taken back: for running the
 * same instructions twice (runtime/tandem.h). While a journal is open, accesses that cannot be
 * taken back, to devices and to pages with code, are refused: the instruction is abandoned
 * (cpu_restart).
 */
#ifndef LODGE_ENGINE_BT_MMU_JOURNAL_H
#define LODGE_ENGINE_BT_MMU_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#define JOURNAL_MAX   512u
#define JOURNAL_BYTES 64u /* of a note */

struct cpu;

struct journal_note {
	uint8_t *host;
	unsigned len;
	uint8_t old[JOURNAL_BYTES];
	uint8_t new[JOURNAL_BYTES]; /* by journal_undo */
};

struct journal {
	bool open;
	bool disturbed; /* accessed or dirty bits were set meanwhile, which stay */
	bool stops;     /* translated code does not do the instruction at stop, which was refused */
	uint64_t stop;
	unsigned count;
	struct journal_note note[JOURNAL_MAX];
};

/* [host, host + len), RAM, is about to be written. Refuses where the journal is full, too. */
void journal_write(struct cpu *cpu, uint8_t *host, unsigned len);

/* The access cannot be taken back. */
void journal_refuse(struct cpu *cpu);

/* Takes all back, and keeps what was there. */
void journal_undo(struct journal *j);

/* Whether RAM is as it was before journal_undo; but for accessed and dirty bits where such were set
 * since (disturbed): for an instruction that is refused, they may be set before it is executed. */
bool journal_agrees(const struct journal *j);

#endif
