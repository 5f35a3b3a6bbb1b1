/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/bt/translate/access.h"

#include <assert.h>
#include <string.h>

#include "core/x86/vcpu_state.h"
#include "engine/bt/cpu.h"
#include "engine/bt/translate/kind.h"
#include "engine/bt/translate/lower.h"

#define NOTHING 0 /* the number of a register that is not there */

/* What a register holds: the value with a number, and a constant. */
struct value {
	uint32_t number;
	uint64_t constant;
};

/* What the addresses of a group have in common. */
struct key {
	uint32_t base, index; /* numbers */
	uint8_t shift;
	uint8_t seg; /* SEG_FS, SEG_GS, or SEG_DS for all without a base */
};

/* The number of what two values, the second shifted, add up to. */
struct sum {
	uint32_t base, index;
	uint32_t number;
	uint8_t shift;
};

struct analysis {
	const struct region *r;
	bool plain;
	unsigned word; /* bytes of an address, and of what the stack moves */
	struct accesses *out;
	struct value reg[GPR_COUNT];
	uint32_t last_number;
	unsigned open;               /* groups from here on take accesses */
	unsigned branches;           /* conditional ones that have been met */
	unsigned born[ACCESSES_MAX]; /* of groups: how many had been met */
	struct key key[ACCESSES_MAX];
	struct sum sum[REGION_MAX];
	unsigned sums;
};

static void renew(struct analysis *a, unsigned reg)
{
	a->reg[reg] = (struct value){.number = ++a->last_number};
}

/* Whatever was known is not any more. */
static void forget(struct analysis *a)
{
	for (unsigned reg = 0; reg < GPR_COUNT; reg++)
		renew(a, reg);
	a->open = a->out->groups;
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->base == b->base && a->index == b->index && a->shift == b->shift &&
	       a->seg == b->seg;
}

/* Makes the group's range one that access is in. False: it would be too long. */
static bool extend(struct access_group *g, const struct access *access)
{
	int64_t from = (int64_t)(access->constant - g->low);
	int64_t to = from + access->size;

	if (from < -ACCESS_RANGE || to > ACCESS_RANGE)
		return false;
	to = MAX(to, (int64_t)g->bytes);
	from = MIN(from, 0);
	if (to - from > ACCESS_RANGE)
		return false;
	g->low += (uint64_t)from;
	g->bytes = (uint16_t)(to - from);
	return true;
}

/* The next access: in a group that it shares the key with, or one of its own. */
static void add(struct analysis *a, const struct access *access, const struct key *key)
{
	struct accesses *out = a->out;
	unsigned n = out->count++, g = out->groups;

	assert(n < ACCESSES_MAX);
	while (key && !a->plain && g-- > a->open) {
		struct access_group *group = &out->group[g];

		if (!same_key(&a->key[g], key))
			continue;
		/* It may be that the write will not be done, and the page not be writable. */
		if (access->write && !group->write && a->born[g] != a->branches)
			break;
		if (!extend(group, access))
			break;
		group->last = (uint8_t)n;
		group->write |= access->write;
		out->at[n] = *access;
		out->at[n].group = (uint8_t)g;
		return;
	}
	g = out->groups++;
	a->born[g] = a->branches;
	a->key[g] = key ? *key : (struct key){.base = ++a->last_number};
	out->group[g] = (struct access_group){
		.low = access->constant,
		.bytes = access->size,
		.first = (uint8_t)n,
		.last = (uint8_t)n,
		.write = access->write,
		.window = WINDOW_NONE,
	};
	out->at[n] = *access;
	out->at[n].group = (uint8_t)g;
}

static struct value value_of(const struct analysis *a, unsigned reg)
{
	return reg < GPR_COUNT ? a->reg[reg] : (struct value){.number = NOTHING};
}

/* Whether the operand is to be looked up by itself. Offsets in FS and GS are checked each time
 * (address.c), but constant ones. */
static bool is_alone(const struct analysis *a, const struct insn *insn, unsigned size)
{
	const struct insn_mem *m = &insn->mem;
	bool based = m->base < GPR_COUNT || m->index < GPR_COUNT;

	if (insn->addr_size != a->word)
		return true;
	if (m->seg >= SEG_FS && (based || (a->word == 4 && address_wraps(insn, size))))
		return true;
	return a->word == 8 &&
	       (m->disp >= INT32_MAX - ACCESS_RANGE || m->disp <= INT32_MIN + ACCESS_RANGE);
}

/* By the instruction's memory operand. */
static void add_operand(struct analysis *a, unsigned n, unsigned size, bool write)
{
	const struct region_insn *i = &a->r->insn[n];
	const struct insn_mem *m = &i->insn.mem;
	struct value base = value_of(a, m->base), index = value_of(a, m->index);
	uint64_t disp = a->word == 4 ? (uint64_t)(int32_t)m->disp : (uint64_t)m->disp;
	struct access access = {
		.insn = (uint8_t)n,
		.size = (uint8_t)size,
		.write = write,
		.constant = base.constant + (index.constant << m->shift) + disp,
	};
	struct key key = {
		.base = base.number,
		.index = index.number,
		.shift = m->shift,
		.seg = m->seg >= SEG_FS ? m->seg : SEG_DS,
	};

	if (m->base == MEM_REG_RIP)
		access.constant += i->linear + i->insn.len;
	add(a, &access, is_alone(a, &i->insn, size) ? NULL : &key);
}

static void add_stack(struct analysis *a, unsigned n, unsigned reg, int32_t disp, bool write)
{
	struct access access = {
		.insn = (uint8_t)n,
		.size = (uint8_t)a->word,
		.write = write,
		.constant = a->reg[reg].constant + (uint64_t)(int64_t)disp,
	};
	struct key key = {.base = a->reg[reg].number, .seg = SEG_DS};

	add(a, &access, &key);
}

static const struct insn_operand *memory_operand(const struct insn *insn)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_MEM)
			return &insn->operand[n];
	return NULL;
}

/* A whole register and a constant are added up in it. */
static bool is_sum(const struct insn *insn, unsigned word, uint64_t *constant)
{
	const struct insn_operand *o = insn->operand;

	if (insn->op_size != word || o[0].kind != OPERAND_GPR || o[0].size != word)
		return false;
	switch (insn->op) {
	case OP_INC:
		*constant = 1;
		return true;
	case OP_DEC:
		*constant = UINT64_MAX;
		return true;
	case OP_ADD:
	case OP_SUB:
		*constant = insn->op == OP_ADD ? insn->imm : -insn->imm;
		return insn->operands > 1 && o[1].kind == OPERAND_IMM;
	default:
		return false;
	}
}

/* Writes nothing but the operands that it names. */
static bool names_all(const struct insn *insn)
{
	switch (insn->op) {
	case OP_ADD:
	case OP_OR:
	case OP_ADC:
	case OP_SBB:
	case OP_AND:
	case OP_SUB:
	case OP_XOR:
	case OP_CMP:
	case OP_TEST:
	case OP_NOT:
	case OP_NEG:
	case OP_INC:
	case OP_DEC:
	case OP_ROL:
	case OP_ROR:
	case OP_SHL:
	case OP_SHR:
	case OP_SAR:
	case OP_SHLD:
	case OP_SHRD:
	case OP_MOV:
	case OP_MOVZX:
	case OP_MOVSX:
	case OP_MOVSXD:
	case OP_LEA:
	case OP_BSWAP:
	case OP_CMOVCC:
	case OP_SETCC:
	case OP_BT:
	case OP_BTS:
	case OP_BTR:
	case OP_BTC:
	case OP_RORX:
	case OP_ANDN:
	case OP_SHLX:
	case OP_SHRX:
	case OP_SARX:
	case OP_POPCNT:
	case OP_LZCNT:
	case OP_TZCNT:
	case OP_BSF:
	case OP_BSR:
		return true;
	case OP_IMUL:
		return insn->operands > 1;
	case OP_NATIVE: /* not PCMPESTRI and its kin: opcodes 60 to 63 */
		return (insn->bytes[insn->at.opcode] & 0xfc) != 0x60;
	default:
		return false;
	}
}

/* base + (index << shift): the same number for the same numbers. Of 64 bits. */
static struct value sum_of(struct analysis *a, struct value base, struct value index, uint8_t shift)
{
	struct value v = {.constant = base.constant + (index.constant << shift)};
	struct sum *s = a->sum;

	while (s < a->sum + a->sums &&
	       (s->base != base.number || s->index != index.number || s->shift != shift))
		s++;
	if (s == a->sum + a->sums) {
		*s = (struct sum){base.number, index.number, ++a->last_number, shift};
		a->sums++;
	}
	v.number = s->number;
	return v;
}

/* A register and another, in it. */
static bool is_sum_of_registers(const struct insn *insn)
{
	const struct insn_operand *o = insn->operand;

	return insn->op == OP_ADD && insn->op_size == 8 && o[0].kind == OPERAND_GPR &&
	       o[1].kind == OPERAND_GPR;
}

/* LEA of an index, and perhaps a base. */
static bool is_indexed(const struct insn *insn)
{
	return insn->op == OP_LEA && insn->op_size == 8 && insn->addr_size == 8 &&
	       insn->mem.index < GPR_COUNT &&
	       (insn->mem.base < GPR_COUNT || insn->mem.base == MEM_REG_NONE);
}

/* What the registers hold behind an instruction that is copied, or LEA. */
static void follow(struct analysis *a, const struct insn *insn)
{
	const struct insn_operand *o = insn->operand;
	const struct insn_mem *m = &insn->mem;
	uint64_t constant;

	if (is_sum(insn, a->word, &constant)) {
		a->reg[o[0].reg].constant += constant;
		return;
	}
	if (insn->op == OP_MOV && o[0].kind == OPERAND_GPR && o[1].kind == OPERAND_GPR &&
	    o[0].size == a->word) {
		a->reg[o[0].reg] = a->reg[o[1].reg];
		return;
	}
	if (insn->op == OP_LEA && insn->op_size == a->word && insn->addr_size == a->word &&
	    m->base < GPR_COUNT && m->index == MEM_REG_NONE) {
		a->reg[o[0].reg] = a->reg[m->base];
		a->reg[o[0].reg].constant += (uint64_t)m->disp;
		return;
	}
	if (a->word == 8 && is_sum_of_registers(insn)) {
		a->reg[o[0].reg] = sum_of(a, a->reg[o[0].reg], a->reg[o[1].reg], 0);
		return;
	}
	if (a->word == 8 && is_indexed(insn)) {
		a->reg[o[0].reg] = sum_of(a, value_of(a, m->base), a->reg[m->index], m->shift);
		a->reg[o[0].reg].constant += (uint64_t)m->disp;
		return;
	}
	for (unsigned n = 0; n < insn->operands; n++)
		if (o[n].kind == OPERAND_GPR && o[n].write)
			renew(a, o[n].reg);
	if (names_all(insn))
		return;
	renew(a, GPR_RAX);
	renew(a, GPR_RCX);
	renew(a, GPR_RDX);
	renew(a, GPR_RBX);
}

static void analyse_copy(struct analysis *a, unsigned n)
{
	const struct insn *insn = &a->r->insn[n].insn;
	const struct insn_operand *mem = memory_operand(insn);

	if (mem)
		add_operand(a, n, mem->size, mem->write);
	follow(a, insn);
}

static void analyse_branch(struct analysis *a, unsigned n, enum kind kind)
{
	if (a->r->insn[n].insn.operand[0].kind == OPERAND_MEM && kind != KIND_RET)
		add_operand(a, n, a->word, false);
	if (kind == KIND_CALL)
		add_stack(a, n, GPR_RSP, -(int32_t)a->word, true);
	if (kind == KIND_RET)
		add_stack(a, n, GPR_RSP, 0, false);
}

static void analyse(struct analysis *a, unsigned n)
{
	const struct insn *insn = &a->r->insn[n].insn;
	enum kind kind = (enum kind)a->r->insn[n].kind;

	switch (kind) {
	case KIND_NOP:
		return;
	case KIND_VECTOR:
	case KIND_X87:
		if (insn->op == OP_LDMXCSR || insn->op == OP_FLDCW)
			forget(a);
		else
			analyse_copy(a, n);
		return;
	case KIND_COPY:
		analyse_copy(a, n);
		return;
	case KIND_LEA:
		follow(a, insn);
		return;
	case KIND_PUSH:
		if (insn->operand[0].kind == OPERAND_MEM)
			add_operand(a, n, a->word, false);
		add_stack(a, n, GPR_RSP, -(int32_t)a->word, true);
		a->reg[GPR_RSP].constant -= a->word;
		return;
	case KIND_POP:
		add_stack(a, n, GPR_RSP, 0, false);
		a->reg[GPR_RSP].constant += a->word;
		renew(a, insn->operand[0].reg);
		return;
	case KIND_LEAVE:
		add_stack(a, n, GPR_RBP, 0, false);
		a->reg[GPR_RSP] = a->reg[GPR_RBP];
		a->reg[GPR_RSP].constant += a->word;
		renew(a, GPR_RBP);
		return;
	case KIND_JCC:
		a->branches++;
		return;
	case KIND_JMP:
	case KIND_CALL:
	case KIND_RET:
		analyse_branch(a, n, kind);
		return;
	default:
		forget(a);
	}
}

static bool names(const struct insn *insn, unsigned reg)
{
	for (unsigned n = 0; n < insn->operands; n++)
		if (insn->operand[n].kind == OPERAND_GPR && insn->operand[n].reg == reg)
			return true;
	return false;
}

static bool disturbs(const struct region_insn *i)
{
	const struct insn *insn = &i->insn;

	switch (i->kind) {
	case KIND_LEA:
		return names(insn, HOST_ADDRESS) || insn->mem.base == HOST_ADDRESS ||
		       insn->mem.index == HOST_ADDRESS;
	case KIND_COPY:
	case KIND_VECTOR:
		return !insn->has_mem && names(insn, HOST_ADDRESS);
	case KIND_X87:
		return insn->has_mem ? is_stolen(insn->mem.base) && is_stolen(insn->mem.index)
				     : names(insn, HOST_ADDRESS);
	case KIND_CALL:
		return insn->operand[0].kind != OPERAND_REL;
	default:
		return false;
	}
}

/* Which registers an instruction has to ask for. */
static uint8_t units_of(const struct region_insn *i)
{
	uint8_t units = 0;

	if (i->insn.unit == UNIT_SSE)
		units = VECTORS_SSE;
	if (i->insn.unit == UNIT_AVX)
		units = VECTORS_AVX;
	return i->kind == KIND_X87 ? units | VECTORS_X87 : units;
}

static bool is_handled(const struct region_insn *i)
{
	return i->kind == KIND_HANDLER || i->kind == KIND_HANDLER_ONCE || i->kind == KIND_STRING;
}

/* The region's first instruction of its unit, or the first behind one that a handler does, which
 * asks for vector registers first. */
static bool asks_for_vectors(const struct region *r, unsigned n)
{
	uint8_t units = units_of(&r->insn[n]);

	while (units && n-- > 0) {
		if (is_handled(&r->insn[n]))
			return true;
		units &= (uint8_t)~units_of(&r->insn[n]);
	}
	return units;
}

bool access_disturbs(const struct region *r, unsigned n)
{
	return disturbs(&r->insn[n]) || asks_for_vectors(r, n) || (r->crosses && n + 1 == r->count);
}

/* Whether the group's address will have to be taken from memory for one of its accesses. */
static bool is_interrupted(const struct analysis *a, const struct access_group *g)
{
	const struct accesses *out = a->out;
	unsigned group = out->at[g->first].group;

	for (unsigned n = g->first + 1u; n < g->last; n++)
		if (out->at[n].group != group)
			return true;
	for (unsigned n = out->at[g->first].insn + 1u; n <= out->at[g->last].insn; n++)
		if (access_disturbs(a->r, n))
			return true;
	return false;
}

/* Gives places in memory to those that want one; where there is none, accesses are by
 * themselves from there on (address.c). */
static void give_windows(struct analysis *a)
{
	unsigned until[NATIVE_WINDOWS] = {0}; /* the access behind which it is free */

	for (unsigned g = 0; g < a->out->groups; g++) {
		struct access_group *group = &a->out->group[g];

		if (group->first == group->last || !is_interrupted(a, group))
			continue;
		for (unsigned w = 0; w < NATIVE_WINDOWS; w++) {
			if (until[w] > group->first)
				continue;
			until[w] = group->last + 1u;
			group->window = (uint8_t)w;
			break;
		}
	}
}

void access_analyse(const struct cpu *cpu, const struct region *r, bool plain, struct accesses *out)
{
	struct analysis a = {
		.r = r,
		.plain = plain,
		.word = cpu->mode == CPU_LONG ? 8 : 4,
		.out = out,
	};

	out->count = out->groups = 0;
	forget(&a);
	for (unsigned n = 0; n < r->count; n++)
		analyse(&a, n);
	give_windows(&a);
}
