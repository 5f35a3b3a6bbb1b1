/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How blocks end.
 *
 * A direct jump becomes a jump to the target's block, once that is there (block.h).
 * Backward ones look whether the vCPU is wanted elsewhere (cpu->native.poll), and so do
 * indirect ones: every loop has one of these.
 *
 * An indirect jump looks its target up in a table of the context, which the runtime
 * keeps, and asks it for what is not there. What it has no code for, the interpreter does; so it
 * is for the interpreter to find a target that is not canonical, or in no page.
 */
#include "engine/bt/mmu/tlb.h"
#include "engine/bt/translate/lower.h"

#define JUMP_SHIFT 4

_Static_assert(sizeof(struct jump) == 1u << JUMP_SHIFT, "the shift makes an offset");

/* CMP byte gs:[poll], 0. */
static void emit_poll(struct emit *e)
{
	static const uint8_t cmp_byte[] = {0x65, 0x80, 0x3c, 0x25};

	emit_bytes(e, cmp_byte, sizeof(cmp_byte));
	emit_le(e, 4, (uint32_t)CTX(native.poll));
	emit_byte(e, 0);
}

static bool is_near(const struct lower *l, uint64_t target)
{
	return !((target ^ l->r->linear) & ~MASK(12));
}

static bool is_backward(const struct lower *l, uint64_t target)
{
	return target <= l->i->linear;
}

/* The next exit of the block, a jump with this distance. Flags are where they are now. */
static void add_exit(struct lower *l, uint64_t target, uint8_t *distance)
{
	unsigned n = l->exits++;

	l->unlinked[n] = (struct unlinked_exit){.save_flags = l->flags_host && !l->flags_saved};
	l->b->exit[n] = (struct block_exit){
		.target = target,
		.gpa = l->b->gpa,
		.distance = distance,
		.context = l->b->context % BLOCK_PLAIN,
		.far = !l->flags_host && l->flags_saved,
	};
}

/* To another page: only while translations are those of when it was linked. */
static void go_far(struct lower *l, uint64_t target)
{
	int32_t zone = (int32_t)block_zone(l->b->context, target);
	unsigned n = l->exits;
	uint8_t *guard, *guarded;

	flags_clobber(l, FLAGS_STATUS);
	emit_ctx_imm32(l->e, EMIT_CMP_IMM, 4, CTX(native.epoch[0]) + zone * 4, 0);
	guard = l->e->at - 4;
	guarded = emit_jcc(l->e, EMIT_NOT_EQUAL);
	add_exit(l, target, emit_jmp(l->e));
	l->b->exit[n].far = true;
	l->b->exit[n].guard = guard;
	l->unlinked[n].guarded = guarded;
}

/* Back to target, or out if the vCPU is wanted elsewhere. */
static void go_back(struct lower *l, uint64_t target)
{
	uint8_t *wanted;

	flags_clobber(l, l->i->live);
	emit_poll(l->e);
	if (is_near(l, target)) {
		add_exit(l, target, emit_jcc(l->e, EMIT_EQUAL));
		wanted = emit_jmp(l->e);
	} else {
		wanted = emit_jcc(l->e, EMIT_NOT_EQUAL);
		go_far(l, target);
	}
	l->polled[l->polled_count].target = target;
	l->polled[l->polled_count++].distance = wanted;
}

/* The block ends with a jump to target. */
static void go(struct lower *l, uint64_t target)
{
	if (is_backward(l, target)) {
		go_back(l, target);
		return;
	}
	if (is_near(l, target))
		add_exit(l, target, emit_jmp(l->e));
	else
		go_far(l, target);
}

static uint64_t next_linear(const struct lower *l)
{
	return lower_wrap(l, l->i->linear + l->i->insn.len);
}

/* Of a direct branch. */
static uint64_t target_linear(const struct lower *l)
{
	return lower_wrap(l, next_linear(l) + l->i->insn.imm);
}

/* The place in the jump table of the address in HOST_ADDRESS: its offset, into HOST_SPARE. */
static void find_jump(struct lower *l)
{
	emit_reg(l->e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(l->e, EMIT_AND_IMM, 4, HOST_SPARE, JUMP_ENTRIES - 1);
	emit_shift(l->e, true, 4, HOST_SPARE, JUMP_SHIFT);
}

/* The same, and whether it is there: else the runtime looks for it, or this leaves to the
 * interpreter. Flags are saved, and nothing of the instruction has been done. */
static void look_up(struct lower *l)
{
	struct emit *e = l->e;

	flags_clobber(l, FLAGS_STATUS);
	emit_poll(e);
	lower_leaves(l, emit_jcc(e, EMIT_NOT_EQUAL));
	l->missing_jump.retry = emit_here(e);
	find_jump(l);
	emit_ctx_index(e, EMIT_CMP, 8, HOST_ADDRESS, HOST_SPARE,
		       l->jumps + (int32_t)offsetof(struct jump, linear));
	l->missing_jump.distance = emit_jcc(e, EMIT_NOT_EQUAL);
}

/* To what look_up found, with RSP moved. HOST_ADDRESS has the address, HOST_SPARE its place. */
static void go_indirect(struct lower *l, int32_t pop)
{
	if (pop)
		emit_lea_disp(l->e, l->word, GPR_RSP, GPR_RSP, pop);
	emit_jmp_ctx_index(l->e, HOST_SPARE, l->jumps + (int32_t)offsetof(struct jump, far));
}

/* The target of an indirect JMP or CALL into HOST_ADDRESS. */
static void indirect_target(struct lower *l)
{
	const struct insn_operand *o = &l->i->insn.operand[0];
	int32_t disp;

	if (o->kind == OPERAND_MEM) {
		disp = address_reach_operand(l);
		emit_mem_disp(l->e, EMIT_MOV, l->word, HOST_ADDRESS, HOST_ADDRESS, disp);
		l->held = NULL;
		return;
	}
	l->held = NULL;
	if (is_stolen(o->reg))
		emit_ctx(l->e, EMIT_MOV, 8, HOST_ADDRESS, ctx_gpr(o->reg));
	else
		emit_reg(l->e, EMIT_MOV, l->word, HOST_ADDRESS, o->reg);
}

void lower_jmp(struct lower *l)
{
	if (l->i->insn.operand[0].kind == OPERAND_REL) {
		go(l, target_linear(l));
		return;
	}
	indirect_target(l);
	look_up(l);
	go_indirect(l, 0);
}

/* Out of a region of several turns, by the exit of the branch in the first of them: the jump there
 * is taken for the same reason. */
static void go_out_as_before(struct lower *l, unsigned n, unsigned cond)
{
	emit_jcc_to(l->e, cond, l->way_out[n].jump);
	l->unlinked[l->way_out[n].exit].save_flags |= l->flags_host && !l->flags_saved;
}

/* A conditional branch out of the middle of the block. */
static void go_out(struct lower *l)
{
	unsigned n = (unsigned)(l->i - l->r->insn), turn = l->r->turn;
	bool last = turn && n % turn == turn - 1; /* of its turn: another begins if it is taken */
	unsigned cond = l->i->insn.cond ^ (last ? 1u : 0u);

	if (turn && n >= turn) {
		go_out_as_before(l, n % turn, cond);
		return;
	}
	l->way_out[n].exit = l->exits;
	l->way_out[n].jump = emit_here(l->e);
	add_exit(l, lower_wrap(l, region_way_out(l->r, l->i)), emit_jcc(l->e, cond));
}

void lower_jcc(struct lower *l)
{
	uint64_t target = target_linear(l);
	bool flags_host, flags_saved;
	uint8_t *taken;

	flags_need(l);
	if (!region_ends(l->r, l->i)) {
		go_out(l);
		return;
	}
	if (l->r->turn) {
		go_out_as_before(l, l->r->turn - 1, l->i->insn.cond ^ 1u);
		go(l, target);
		return;
	}
	if (is_backward(l, target) && is_near(l, next_linear(l))) {
		add_exit(l, next_linear(l), emit_jcc(l->e, l->i->insn.cond ^ 1));
		go(l, target);
		return;
	}
	taken = emit_jcc(l->e, l->i->insn.cond);
	flags_host = l->flags_host;
	flags_saved = l->flags_saved;
	if (is_near(l, target) && !is_backward(l, target)) {
		add_exit(l, target, taken);
		go(l, next_linear(l));
		return;
	}
	go(l, next_linear(l));
	emit_patch(l->e, taken);
	l->flags_host = flags_host;
	l->flags_saved = flags_saved;
	go(l, target);
}

void lower_call(struct lower *l)
{
	bool direct = l->i->insn.operand[0].kind == OPERAND_REL;
	int32_t disp;

	if (!direct) {
		indirect_target(l);
		look_up(l);
		emit_ctx(l->e, EMIT_MOV_TO, 8, HOST_ADDRESS, CTX(native.scratch));
	}
	disp = address_reach_stack(l, GPR_RSP, -l->word);
	stack_store_imm(l, disp, next_linear(l));
	if (direct) {
		emit_lea_disp(l->e, l->word, GPR_RSP, GPR_RSP, -l->word);
		go(l, target_linear(l));
		return;
	}
	emit_ctx(l->e, EMIT_MOV, 8, HOST_ADDRESS, CTX(native.scratch));
	find_jump(l);
	go_indirect(l, -l->word);
}

void lower_ret(struct lower *l)
{
	const struct insn *insn = &l->i->insn;
	bool popping = insn->operands && insn->operand[0].kind == OPERAND_IMM;

	int32_t disp = address_reach_stack(l, GPR_RSP, 0);

	emit_mem_disp(l->e, EMIT_MOV, l->word, HOST_ADDRESS, HOST_ADDRESS, disp);
	look_up(l);
	go_indirect(l, l->word + (popping ? (int32_t)(insn->imm & 0xffff) : 0));
}

void lower_fall(struct lower *l)
{
	go(l, lower_wrap(l, l->r->linear + l->r->bytes));
}

static void interpret(struct lower *l, uint64_t rip)
{
	emit_set(l->e, HOST_ADDRESS, rip);
	emit_jmp_to(l->e, l->t->gates.interpret);
}

void lower_interpret(struct lower *l, uint64_t rip)
{
	flags_save(l);
	interpret(l, rip);
}

void lower_leaves(struct lower *l, uint8_t *distance)
{
	l->leaving[l->leaving_count++] = (struct leaving){distance, l->i->linear};
}

static void leave(struct lower *l, enum translated_exit reason, uint64_t number)
{
	emit_set(l->e, HOST_ADDRESS, reason);
	emit_set(l->e, HOST_SPARE, number);
	emit_jmp_to(l->e, l->t->gates.leave);
}

/* To a gate, with R11 the struct access_site behind the jump. */
static void go_to_gate(struct lower *l, const uint8_t *gate, const struct missing_access *m)
{
	static const uint8_t lea_r11_behind_jmp[] = {0x4c, 0x8d, 0x1d, 5, 0, 0, 0};
	struct emit *e = l->e;
	struct access_site site;

	emit_bytes(e, lea_r11_behind_jmp, sizeof(lea_r11_behind_jmp));
	emit_jmp_to(e, gate);
	site = (struct access_site){
		.retry = (int32_t)(m->retry - emit_here(e)),
		.done = (int32_t)(m->done - emit_here(e)),
		.access = m->access,
		.rip = m->rip,
	};
	emit_bytes(e, &site, sizeof(site));
}

/* On with the plain block of the instruction. */
static void go_plain(struct lower *l, const struct missing_access *m)
{
	struct emit *e = l->e;
	int32_t jump = l->t->jumps_at[l->b->context + BLOCK_PLAIN] +
		       (int32_t)(m->rip % JUMP_ENTRIES_PLAIN * sizeof(struct jump));

	emit_set(e, HOST_SPARE, m->rip);
	emit_ctx(e, EMIT_CMP, 8, HOST_SPARE, jump + (int32_t)offsetof(struct jump, linear));
	emit_set(e, HOST_ADDRESS, EXIT_PLAIN);
	emit_jcc_to(e, EMIT_NOT_EQUAL, l->t->gates.leave);
	emit_jmp_ctx(e, jump + (int32_t)offsetof(struct jump, far));
}

/* The same, if the range is in two pages. */
static void go_plain_across(struct lower *l, const struct missing_access *m)
{
	struct emit *e = l->e;
	uint8_t *one_page;

	emit_reg(e, EMIT_MOV, 4, HOST_SPARE, HOST_ADDRESS);
	emit_imm(e, EMIT_AND_IMM, 4, HOST_SPARE, GUEST_PAGE_SIZE - 1);
	emit_imm(e, EMIT_CMP_IMM, 4, HOST_SPARE,
		 (int32_t)(GUEST_PAGE_SIZE - (m->access & ACCESS_SIZE)));
	one_page = emit_jcc(e, EMIT_NOT_ABOVE);
	go_plain(l, m);
	emit_patch(e, one_page);
}

static void miss(struct lower *l, struct missing_access *m)
{
	struct emit *e = l->e;

	if (m->sited)
		site_beside(l, m);
	emit_patch(e, m->distance);
	if (m->access & ACCESS_EARLY) {
		go_plain(l, m);
		return;
	}
	emit_ctx_scaled(e, EMIT_ADD, 8, HOST_ADDRESS, HOST_SPARE,
			address_tag(l, m->access & ACCESS_WRITE));
	if (m->access & ACCESS_SHARED)
		go_plain_across(l, m);
	go_to_gate(l, l->t->gates.fill, m);
}

static void want_vectors(struct lower *l, const struct vectors_wanted *w)
{
	struct missing_access m = {.retry = w->retry, .access = w->unit, .rip = w->rip};

	emit_patch(l->e, w->distance);
	go_to_gate(l, w->unit == VECTORS_X87 ? l->t->gates.x87 : l->t->gates.vectors, &m);
}

static void miss_jump(struct lower *l)
{
	struct missing_access m = {
		.retry = l->missing_jump.retry,
		.rip = l->r->insn[l->r->count - 1].linear,
	};

	emit_patch(l->e, l->missing_jump.distance);
	go_to_gate(l, l->t->gates.jump, &m);
}

static void unlinked(struct lower *l, unsigned n)
{
	struct block_exit *exit = &l->b->exit[n];

	exit->unlinked = emit_here(l->e);
	emit_patch(l->e, exit->distance);
	if (l->unlinked[n].guarded)
		emit_patch(l->e, l->unlinked[n].guarded);
	l->flags_host = l->unlinked[n].save_flags;
	l->flags_saved = false;
	flags_save(l);
	leave(l, EXIT_LINK, (uintptr_t)exit);
}

/* Where the entries lead when the page has been written. */
static void dead(struct lower *l)
{
	l->b->dead_near = emit_here(l->e);
	l->flags_host = l->r->live;
	l->flags_saved = false;
	flags_save(l);
	l->b->dead_far = emit_here(l->e);
	leave(l, EXIT_GO, l->b->linear);
}

void lower_beside(struct lower *l)
{
	for (unsigned n = 0; n < l->missing_count; n++)
		miss(l, &l->missing[n]);
	for (unsigned n = 0; n < l->wanted_count; n++)
		want_vectors(l, &l->wanted[n]);
	if (l->missing_jump.distance)
		miss_jump(l);
	for (unsigned n = 0; n < l->leaving_count; n++) {
		emit_patch(l->e, l->leaving[n].distance);
		if (n + 1 == l->leaving_count || l->leaving[n + 1].rip != l->leaving[n].rip)
			interpret(l, l->leaving[n].rip);
	}
	for (unsigned n = 0; n < l->polled_count; n++) {
		emit_patch(l->e, l->polled[n].distance);
		leave(l, EXIT_GO, l->polled[n].target);
	}
	for (unsigned n = 0; n < l->exits; n++)
		unlinked(l, n);
	dead(l);
	l->b->host_bytes = (uint16_t)(emit_here(l->e) - l->b->far);
	lower_handler_sites(l);
}
