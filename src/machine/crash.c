/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lodge says of a guest that crashed: one line, and the registers. The first
 * words are kept: what follows a crash (other vCPUs failing in turn) says less.
 */
#include <stdlib.h>
#include <string.h>

#include "machine/machine_int.h"
#include "machine/pstore_record.h"

/* At most this many vCPUs are dumped after a panic; the rest are halted or alike. */
#define DUMP_VCPUS 4

/* A guest's words are cut to this length. */
#define REASON_MAX 240

static void note_state(struct machine_vcpu *v, struct buf *dump)
{
	struct vcpu_state state;
	struct err e = ERR_INIT;

	if (machine_get_state(v, &state, &e))
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

	note_state(v, &dump);
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

/* The reason in a kernel's last words: what follows "Kernel panic - not syncing: " on its line. */
static void note_reason(struct machine *m, const char *log)
{
	static const char mark[] = "Kernel panic - not syncing: ";
	const char *reason = strstr(log, mark);

	pthread_mutex_lock(&m->lock);
	if (reason && !m->text.len) {
		reason += strlen(mark);
		buf_printf(&m->text, "the guest's kernel panicked: ");
		for (; *reason >= 0x20 && *reason < 0x7f && m->text.len < REASON_MAX; reason++)
			buf_add(&m->text, reason, 1);
	}
	pthread_mutex_unlock(&m->lock);
}

bool machine_note_record(struct machine *m, const uint8_t *record, size_t len)
{
	struct pstore_record *words = malloc(sizeof(*words));
	bool panic = words && pstore_record_read(words, record, len) == PSTORE_PANIC;

	if (panic)
		note_reason(m, words->text);
	free(words);
	return panic;
}

void machine_note_panic(struct machine *m)
{
	struct buf dump = BUF_INIT;
	unsigned dumped = 0;

	for (unsigned i = 0; i < m->config.cpus && dumped < DUMP_VCPUS; i++) {
		struct vcpu_state state;

		if (machine_get_state(&m->vcpus[i], &state, NULL) || state.activity != VCPU_RUNNING)
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
