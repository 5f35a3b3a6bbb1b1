/* SPDX-License-Identifier: Apache-2.0 */
/* The guest code of a block, decoded, with what the analysis found. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_REGION_H
#define LODGE_ENGINE_BT_TRANSLATE_REGION_H

#include "engine/bt/decode/insn.h"

#define REGION_MAX 48

/* The status flags, as bits of RFLAGS. */
#define FLAGS_STATUS 0x8d5u

struct region_insn {
	struct insn insn;
	uint64_t linear;
	uint16_t live; /* status flags that may be read after it before they are written */
};

struct region {
	uint64_t linear;
	uint64_t gpa;
	uint32_t generation; /* of the page before the bytes were read */
	unsigned count;      /* instructions; the last may be a branch */
	unsigned bytes;
	bool branches; /* it is one */
	uint16_t live; /* status flags that may be read before they are written, at the beginning */
	struct region_insn insn[REGION_MAX];
};

struct cpu;

/* Decodes from linear, which lies at gpa in RAM, on. Marks the page as code. An instruction that
 * cannot be translated ends the region, and is not in it. May wait for other vCPUs. */
void region_read(struct cpu *cpu, struct region *r, uint64_t linear, uint64_t gpa);

/* Finds the live flags, backwards. */
void region_analyse(struct cpu *cpu, struct region *r);

#endif
