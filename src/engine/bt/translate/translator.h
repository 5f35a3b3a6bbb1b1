/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The translator of one vCPU, and what it has translated.
 *
 *	guest code --region_read--> decoded --region_analyse--> flags known
 *	    --lower_region--> host code --blocks_install--> found by address, linked
 *
 * Guest registers are in the same host registers while translated code runs, all but R10
 * and R11, which stay in struct cpu and leave the host's to address memory with. RSP
 * is the guest's, too: translated code has no stack of the host's. struct cpu is addressed by
 * the GS segment. Status flags are the host's, or saved (struct cpu_native) where host
 * instructions in between need them; DF, IF and the rest are in cpu->rflags alone.
 *
 * Everything belongs to the vCPU's thread, but what stands under "any thread".
 */
#ifndef LODGE_ENGINE_BT_TRANSLATE_TRANSLATOR_H
#define LODGE_ENGINE_BT_TRANSLATE_TRANSLATOR_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/code_memory.h"
#include "engine/bt/decode/memo.h"
#include "engine/bt/emit/emit.h"
#include "engine/bt/translate/block.h"
#include "engine/bt/translate/hot.h"

struct cpu;

/* Where an indirect jump finds the code of its target; also the runtime. One table a context. */
#define JUMP_ENTRIES       32768u
#define JUMP_ENTRIES_PLAIN 512u /* of BLOCK_PLAIN, which is wanted rarely */
struct jump {
	uint64_t linear; /* no entry: an address that does not belong here */
	const uint8_t *far;
};

static inline unsigned jump_entries(unsigned context)
{
	return context < BLOCK_PLAIN ? JUMP_ENTRIES : JUMP_ENTRIES_PLAIN;
}

/* Why translated code was left; with it comes a number. */
enum translated_exit {
	EXIT_GO,        /* the guest's next address: on with it */
	EXIT_INTERPRET, /* the guest's next address: the interpreter does this instruction */
	EXIT_PLAIN,     /* the guest's next address: its block in the plain context */
	EXIT_LINK,      /* a struct block_exit, which is not linked */
};

/* Pieces of host code that all blocks use: runtime/gates.c. */
struct gates {
	const uint8_t *enter; /* called by C */
	const uint8_t *leave; /* R10: enum translated_exit, R11: its number */
	const uint8_t *fill;  /* an access missed: R10 its address, R11 its struct access_site */
	const uint8_t *jump;  /* no entry for a target: R10 it, R11 a struct access_site */
	const uint8_t *interpret; /* the interpreter does the instruction at R10 */
	/* Vector registers are wanted: R11 a struct access_site, with VECTORS_* as its access. */
	const uint8_t *vectors;
	const uint8_t *handler; /* one instruction by its handler: R11 a struct handler_site */
	const uint8_t *x87;     /* the same of the x87's */
};

/* Pages whose code was written, told to a vCPU by any thread. */
#define STALE_MAX 64
struct stale {
	pthread_mutex_t lock;
	atomic_bool some;
	bool all;       /* not pages: everything; guarded by lock */
	unsigned count; /* over STALE_MAX: any page may be stale; guarded by lock */
	uint64_t gpa[STALE_MAX];
};

#define JUMPS_LISTED 2048u
#define CODE_PAGES   65536u

#define WANTED 131072u

#define BLOCK_HASH 131072u
#define PAGE_HASH  8192u

/* Code memory and the array of blocks are filled part by part, in turns: when all are full, what
 * the oldest holds is forgotten. */
#define PARTS 8u
struct part {
	uint8_t *code;       /* where its code begins */
	uint8_t *end;        /* ... and ends */
	struct block *block; /* its blocks */
	unsigned used;       /* of them, without gaps */
};

struct translator {
	struct cpu *cpu;
	struct code_memory memory;
	struct emit emit; /* into the part that is filled now, behind what is there */
	struct gates gates;
	struct part part[PARTS];
	unsigned now; /* the part that is filled */
	struct block *blocks;
	unsigned max;          /* blocks of a part */
	struct block *checked; /* found last, where blocks are held against the interpreter */
	struct block *hash[BLOCK_HASH];
	struct block *page_hash[PAGE_HASH];
	struct jump *jumps[BLOCK_CONTEXTS]; /* jump_entries of each */
	/* Their entries that are used, by zone of the context; over JUMPS_LISTED: any may be. */
	struct {
		unsigned count;
		uint16_t at[JUMPS_LISTED];
	} jumped[BLOCK_CONTEXTS][2];
	bool bmi2;                            /* of the host's processor */
	uint64_t cr4;                         /* what code was translated by: KIND_CR4 */
	bool local[BLOCK_ZONES];              /* code was found there that is not global */
	uint64_t code_pages[CODE_PAGES / 64]; /* linear pages that code was found in, by hash */
	/* Displacements from struct cpu. */
	int32_t tlb_at[BLOCK_CONTEXTS];
	int32_t jumps_at[BLOCK_CONTEXTS];
	int32_t sites_at;
	struct stale stale;
	struct {
		unsigned stages; /* enum engine_dump */
		int fd;
	} dump; /* dump.h */
	struct decode_memo memo;
	struct hot hot;
	/* Half of a boot's blocks run once or twice. Where lazy is set, a block is made when its
	 * address is wanted for the second time; the first time the interpreter does all up to the
	 * next branch: from cold on, where is_cold. */
	bool lazy, is_cold;
	uint64_t cold;
	unsigned wanted_count;
	uint64_t wanted[WANTED / 64]; /* addresses that were wanted, by hash */
	uint64_t forgotten;           /* times that some, or all, of the blocks were to make room */
};

#endif
