/* SPDX-License-Identifier: Apache-2.0 */
/* From a region to host code. Private to translate/. */
#ifndef LODGE_ENGINE_BT_TRANSLATE_LOWER_H
#define LODGE_ENGINE_BT_TRANSLATE_LOWER_H

#include "core/x86/vcpu_state.h"
#include "engine/bt/cpu.h"
#include "engine/bt/interp/interp.h"
#include "engine/bt/translate/access.h"
#include "engine/bt/translate/region.h"
#include "engine/bt/translate/translator.h"

/* The host's registers that the guest's are not in, so that host code has them for itself. Where
 * memory is accessed ADDRESS holds the host's address. */
#define HOST_ADDRESS (GPR_R8 + 2) /* R10 */
#define HOST_SPARE   (GPR_R8 + 3) /* R11 */

static inline bool is_stolen(unsigned reg)
{
	return reg == HOST_ADDRESS || reg == HOST_SPARE;
}

/* An access that may miss: what the code beside the block needs to know. */
struct missing_access {
	uint8_t *distance;    /* of the jump to it */
	const uint8_t *retry; /* where the look-up begins, with the address in HOST_ADDRESS */
	const uint8_t *done;  /* where it has ended, with the host's address there */
	uint64_t rip;
	uint32_t access; /* struct access_site */
	uint16_t site;   /* where sited: its number. distance is of the jump to site_beside, then */
	bool sited;
};

/* Read by the runtime (gates.c), in code memory. */
struct access_site {
	int32_t retry; /* from here */
	int32_t done;
	uint32_t access; /* size and ACCESS_WRITE; of no access but vectors: VECTORS_* */
	uint64_t rip;    /* of the instruction */
} __attribute__((packed));

#define ACCESS_SIZE   MASK(12)
#define ACCESS_WRITE  BIT(12)
#define ACCESS_SHARED BIT(13) /* by several accesses */
#define ACCESS_EARLY  BIT(14) /* ... and of them a later one writes */

/* Jumps out of a block at an instruction that the interpreter has to do. */
struct leaving {
	uint8_t *distance;
	uint64_t rip;
};

/* The first instruction of a block, or behind one that a handler does, that wants the vector
 * registers, or those of AVX. */
struct vectors_wanted {
	uint8_t *distance;    /* of the jump where they are not there */
	const uint8_t *retry; /* where they are */
	uint64_t rip;
	uint8_t unit; /* VECTORS_SSE, VECTORS_AVX or VECTORS_X87 */
};

/* An instruction that its handler does: translate/handler.c. Read by the runtime (handle.c), in
 * code memory. Aligned to HANDLER_SITE. */
struct handler_site {
	interp_fn fn;
	uint64_t rip;
	const uint8_t
		*next;   /* the host code behind it, which has the flags in native.flags; NULL: the
			      * block ends */
	uint8_t context; /* enum block_context */
	struct insn insn;
};

#define HANDLER_SITE 8

struct handled {
	uint8_t *distance; /* to its struct handler_site */
	const struct region_insn *i;
	const uint8_t *next;
};

/* An exit that is not linked yet, or whose guard says that it is not good any more. */
struct unlinked_exit {
	uint8_t *guarded; /* distance of the guard's jump; NULL: no guard */
	bool save_flags;  /* they are the host's only */
};

/* An indirect jump whose target may not be in the table. */
struct missing_jump {
	uint8_t *distance;
	const uint8_t *retry; /* where it is looked up, with the address in HOST_ADDRESS */
};

#define MISSING_MAX (2 * REGION_MAX)
#define LEAVING_MAX (4 * REGION_MAX)
#define WANTED_MAX  (2 * REGION_MAX)

struct lower {
	struct translator *t;
	struct emit *e;
	const struct region *r;
	const struct region_insn *i; /* the one that is translated now */
	struct block *b;
	bool narrow;  /* 32-bit code */
	uint8_t word; /* bytes of an address, and of what the stack and branches move: 8, or 4 */
	int32_t tlb;  /* displacement of the context's TLB set */
	int32_t jumps;
	/* Where the guest's status flags are: in the host's, in cpu->native.flags, in both; or
	 * nowhere, because they are overwritten before anybody looks at them. */
	bool flags_host, flags_saved;
	unsigned accessed; /* accesses that have been translated */
	/* HOST_ADDRESS has this group's address; NULL: anything. Groups whose window has it. */
	const struct access_group *held;
	uint64_t windows;
	/* Bits of R10 and R11: the host's register has the guest's value now. What is in memory is
	 * always up to date. With R10 held is NULL. */
	uint32_t loaded;
	/* Its address plus disp is known as aligned to so many bytes. */
	struct {
		const struct access_group *group;
		unsigned to;
		int32_t disp;
	} aligned;
	unsigned missing_count, leaving_count;
	struct missing_jump missing_jump; /* of the last instruction; distance NULL: none */
	/* Code that runs on in the block after C was called without them has to clear vectors. */
	uint8_t vectors; /* VECTORS_* that the block has asked for */
	unsigned wanted_count;
	unsigned handled_count;
	struct {
		bool pointed;         /* what the block's x87 instructions have in common is */
		unsigned opcode;      /* written last */
		unsigned operand_seg; /* whose selector was written last; SEG_COUNT: none */
	} x87;
	unsigned exits;
	struct unlinked_exit unlinked[BLOCK_EXITS];
	struct {
		uint8_t *distance;
		uint64_t target;
	} polled[BLOCK_EXITS];
	unsigned polled_count;

	/* What follows has a count of its own, and is not cleared for each region. */
	struct accesses accesses;
	struct missing_access missing[MISSING_MAX];
	struct leaving leaving[LEAVING_MAX];
	struct vectors_wanted wanted[WANTED_MAX];
	struct handled handled[REGION_MAX];
	/* The jumps out of the middle, and their exits, by instruction. */
	struct {
		const uint8_t *jump;
		unsigned exit;
	} way_out[REGION_MAX];
};

/* Emits: the guest's R10 or R11 into its own place, if it is not there. */
static inline void lower_load(struct lower *l, unsigned reg)
{
	if (!(l->loaded & BIT(reg)))
		emit_ctx(l->e, EMIT_MOV, 8, reg, (int32_t)(offsetof(struct cpu, gpr) + reg * 8));
	l->loaded |= BIT(reg);
}

/* HOST_ADDRESS or HOST_SPARE has another value now. */
static inline void lower_spoilt(struct lower *l, unsigned reg)
{
	l->loaded &= ~BIT(reg);
}

/* flags.c */

/* Host code that changes the flags comes next; the flags that are live (a mask) are not lost. Uses
 * HOST_SPARE. */
void flags_clobber(struct lower *l, unsigned live);
/* The flags have to be the host's. Uses HOST_SPARE. */
void flags_need(struct lower *l);
/* They have to be in cpu->native.flags, whoever looks at them. Uses HOST_SPARE. */
void flags_save(struct lower *l);
/* Live before the instruction that is translated now. */
unsigned flags_live_before(const struct lower *l);
/* Around the host's instruction that does what the guest's does: whether it, or what follows, looks
 * at flags from before; makes them the host's, then (uses HOST_SPARE); and they are, after it. */
bool flags_wanted(const struct lower *l);
void flags_before_copy(struct lower *l);
void flags_after_copy(struct lower *l);

/* entries.c: where the block begins. */
void lower_entries(struct lower *l);

/* address.c: the one place that knows how translated code reaches guest memory. */

/* Emits: the host's address of the instruction's memory operand into HOST_ADDRESS, but for what is
 * returned, a displacement that is to be added. Where it cannot be had, the instruction is left to
 * the interpreter: nothing of it may have been done yet. The flags may be clobbered. Uses
 * HOST_SPARE. For each access that access.h lists, in its order. */
int32_t address_reach_operand(struct lower *l);
/* The same of the stack's word at reg + disp. */
int32_t address_reach_stack(struct lower *l, unsigned reg, int32_t disp);

/* The same in two steps, for accesses that are not listed. Emits: the linear address of the memory
 * operand into HOST_ADDRESS. The flags are clobbered. */
void address_operand(struct lower *l);
/* Emits: the linear address reg + disp. */
void address_stack(struct lower *l, unsigned reg, int32_t disp);
/* Emits: from the linear address in HOST_ADDRESS to the host's, of size bytes that may be read (or
 * written). Where that is not so, the instruction is left to the interpreter: nothing of it may
 * have been done yet. Uses HOST_SPARE. */
void address_check(struct lower *l, unsigned size, bool write);

/* Of an operand of 32-bit code with a constant offset: it reaches over 4 GiB. */
static inline bool address_wraps(const struct insn *insn, unsigned size)
{
	return (uint32_t)insn->mem.disp + (uint64_t)size > BIT(32);
}

/* Displacement of the tags that it looks at, eight bytes an entry. */
int32_t address_tag(const struct lower *l, bool write);

/* Emits the look-up in the TLB of an access (as in struct access_site) at the linear address in
 * HOST_ADDRESS: its entry's number into HOST_SPARE, the offset in the page into HOST_ADDRESS.
 * same: a register whose lower half is that of HOST_ADDRESS, or this itself. Returns the distance
 * of the jump where it is not there. */
uint8_t *address_find_entry(struct lower *l, uint32_t access, unsigned same);

/* site.c: a look-up in hot code. */
/* Whether the access has a site of its own, of which m is told. */
bool site_take(struct lower *l, struct missing_access *m);
/* Emits the look-up, as address_check; and what lies beside the block for it, after which m is
 * about a miss of the TLB. */
void site_look_up(struct lower *l, struct missing_access *m);
void site_beside(struct lower *l, struct missing_access *m);

/* crossing.c: before the last instruction, where it crosses the page's end. */
void lower_crossing(struct lower *l);

/* copy.c */
void lower_copy(struct lower *l);
void lower_lea(struct lower *l);

/* divide.c, bits.c */
void lower_divide(struct lower *l);
void lower_bit(struct lower *l);

/* vector.c */
void lower_vector(struct lower *l);
/* Emits: the unit's registers are the host's, or the instruction is the interpreter's. */
void vector_want(struct lower *l, uint8_t unit);

/* x87.c */
void lower_x87(struct lower *l);

/* string.c */
void lower_string(struct lower *l);

/* stack.c */
/* Emits: [HOST_ADDRESS + disp] = value, a word. Uses HOST_SPARE. */
void stack_store_imm(struct lower *l, int32_t disp, uint64_t value);
void lower_push(struct lower *l);
void lower_pop(struct lower *l);
void lower_leave(struct lower *l);

/* system.c */
void lower_cli(struct lower *l);
void lower_sti(struct lower *l);
void lower_pushf(struct lower *l);
void lower_rdtsc(struct lower *l);
void lower_rdtscp(struct lower *l);
void lower_cld(struct lower *l);
void lower_std(struct lower *l);
void lower_popf(struct lower *l);
void lower_swapgs(struct lower *l);
void lower_ac(struct lower *l);

/* handler.c */
void lower_handler(struct lower *l);
/* What lies beside the block for it. */
void lower_handler_sites(struct lower *l);

/* branch.c */
void lower_jmp(struct lower *l);
void lower_jcc(struct lower *l);
void lower_call(struct lower *l);
void lower_ret(struct lower *l);
/* The block ends, and the next instruction is in this page; or the interpreter does the next. */
void lower_fall(struct lower *l);
void lower_interpret(struct lower *l, uint64_t rip);
/* The jump with this distance leaves to the interpreter, for the instruction translated now. Its
 * flags are saved or dead. */
void lower_leaves(struct lower *l, uint8_t *distance);
/* What lies beside the block: misses, exits that are not linked. */
void lower_beside(struct lower *l);

/* lower.c: the whole, into the translator's code memory. False: it is full. */
bool lower_region(struct translator *t, const struct region *r, struct block *b);

/* A linear address of code as it is after EIP has wrapped around. */
static inline uint64_t lower_wrap(const struct lower *l, uint64_t linear)
{
	return l->narrow ? (uint32_t)linear : linear;
}

/* Displacements of what host code uses of struct cpu. */
static inline int32_t ctx_gpr(unsigned reg)
{
	return (int32_t)(offsetof(struct cpu, gpr) + reg * sizeof(uint64_t));
}

#define CTX(member) ((int32_t)offsetof(struct cpu, member))

#endif
