/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lodge says of a guest that crashed: one line, and the registers. The first
 * words are kept: what follows a crash (other vCPUs failing in turn) says less.
 */
#include <stdio.h>

#include "machine/machine_int.h"

/* At most this many vCPUs are dumped after a panic; the rest are halted or alike. */
#define DUMP_VCPUS 4

static void note_state(struct machine *m, struct machine_vcpu *v, struct buf *dump)
{
	struct vcpu_state state;
	struct err e = ERR_INIT;

	if (m->engine->get_state(v->engine_vcpu, &state, &e))
		buf_printf(dump, "vCPU %u: no registers: %s\n", v->id, e.text);
	else
		vcpu_state_dump(&state, v->id, dump);
}

static void note_instruction(const struct engine_detail *detail, struct buf *dump)
{
	if (!detail->insn_len)
		return;
	buf_printf(dump, "instruction:");
	for (unsigned i = 0; i < detail->insn_len && i < sizeof(detail->insn); i++)
		buf_printf(dump, " %02x", detail->insn[i]);
	buf_printf(dump, "\n");
}

void machine_note_vcpu(struct machine *m, struct machine_vcpu *v, const char *what,
		       const struct engine_detail *detail)
{
	struct buf dump = BUF_INIT;

	note_state(m, v, &dump);
	note_instruction(detail, &dump);
	pthread_mutex_lock(&m->lock);
	if (!m->text.len) {
		buf_printf(&m->text, "vCPU %u: %s%s%s", v->id, what, detail->text[0] ? ": " : "",
			   detail->text);
		buf_add(&m->dump, dump.data, dump.len);
	}
	pthread_mutex_unlock(&m->lock);
	buf_release(&dump);
}

void machine_note_panic(struct machine *m)
{
	struct buf dump = BUF_INIT;
	unsigned dumped = 0;

	for (unsigned i = 0; i < m->config.cpus && dumped < DUMP_VCPUS; i++) {
		struct vcpu_state state;

		if (m->engine->get_state(m->vcpus[i].engine_vcpu, &state, NULL) ||
		    state.activity != VCPU_RUNNING)
			continue;
		vcpu_state_dump(&state, i, &dump);
		dumped++;
	}
	pthread_mutex_lock(&m->lock);
	if (!m->text.len)
		buf_printf(&m->text, "the guest reported a panic");
	if (!m->dump.len)
		buf_add(&m->dump, dump.data, dump.len);
	pthread_mutex_unlock(&m->lock);
	buf_release(&dump);
}
