/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A QEMU plugin that counts the instructions of the emulated machine (L1) and of the guest within
 * it (L2), told apart, without a single instruction more being executed in either.
 *
 *	L1 user		an address in the lower half, outside the guest
 *	L1 kernel	an address in the upper half, outside the guest
 *	guest		whatever runs between VMRUN and the return behind it
 *
 * Each translated instruction gets an inline increment of the counter it belongs to.  Which one
 * that is can be settled when it is translated: QEMU keeps blocks of the guest and of L1 apart (the
 * "guest mode" flag is part of a block's key), and `in_guest` says which is running at that moment.
 * It is set by every VMRUN (0f 01 d8) and cleared by the instruction behind it, where the processor
 * resumes after an exit: such a block always begins there.
 *
 * A user-space exit is an exit after which L1 executes in user mode before it enters the guest
 * again.  (With one vCPU thread and one CPU that is KVM_RUN returning; a preemption by another
 * process would be counted as well, but in a counting run there is none.)
 *
 * At each mark (mark.h), and before the first VMRUN behind MARK_START, a line with all counters is
 * appended to the file given as out=PATH: the event's name and the values in the order of `names`.
 *
 * Only for one CPU: the counters are plain memory.  The interface is QEMU's plugin API version 1
 * (QEMU 4.2 to 8.2; docs/devel/tcg-plugins.rst).  Debian packages no header for it, so what is used
 * of it is declared here.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "mark.h"

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;

enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0 };

typedef void tb_translated(uint64_t id, struct qemu_plugin_tb *tb);
typedef void executed(unsigned int cpu, void *data);

void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, tb_translated *callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, executed *callback, int flags,
					  void *data);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, executed *callback,
					    int flags, void *data);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int operation,
						void *counter, uint64_t value);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);

#define EXPORT __attribute__((visibility("default")))

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);

enum { USER, KERNEL, GUEST, ENTRIES, USER_EXITS, SYSCALLS, COUNTERS };

static const char names[] = "# event user kernel guest entries user_exits syscalls\n";

static uint64_t counters[COUNTERS];
static uint64_t behind_vmrun;
static int in_guest;
static int exited;      /* out of the guest, and not in user mode since */
static int first_entry; /* still to come */
static FILE *out;

static void report(const char *event)
{
	fprintf(out, "%s", event);
	for (int i = 0; i < COUNTERS; i++)
		fprintf(out, " %llu", (unsigned long long)counters[i]);
	fprintf(out, "\n");
	fflush(out);
}

static void on_mark(unsigned int cpu, void *data)
{
	char event[16];

	(void)cpu;
	snprintf(event, sizeof(event), "mark-%u", (unsigned int)(uintptr_t)data);
	report(event);
	if ((uintptr_t)data == MARK_START)
		first_entry = 1;
}

static void on_vmrun(unsigned int cpu, void *data)
{
	(void)cpu;
	behind_vmrun = (uintptr_t)data;
	if (first_entry)
		report("first-entry");
	first_entry = 0;
	in_guest = 1;
	exited = 0;
	counters[ENTRIES]++;
}

static void on_exit(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	in_guest = 0;
	exited = 1;
}

static void on_user(unsigned int cpu, void *data)
{
	(void)cpu;
	(void)data;
	counters[USER_EXITS] += (uint64_t)exited;
	exited = 0;
}

static int mark_number(const uint8_t *bytes, size_t size)
{
	static const uint8_t head[] = {0x0f, 0x1f, 0x84, 0x00};
	static const uint8_t tail[] = {0x44, 0x4f, 0x4c};

	if (size != 8 || memcmp(bytes, head, sizeof(head)) || memcmp(bytes + 5, tail, sizeof(tail)))
		return -1;
	return bytes[4];
}

static void instrument(struct qemu_plugin_insn *insn, int counter)
{
	const uint8_t *bytes = qemu_plugin_insn_data(insn);
	size_t size = qemu_plugin_insn_size(insn);
	uint64_t address = qemu_plugin_insn_vaddr(insn);
	int mark = mark_number(bytes, size);

	qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &counters[counter], 1);
	if (mark >= 0)
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, CB_NO_REGS,
						       (void *)(uintptr_t)mark);
	if (counter == KERNEL && size == 3 && !memcmp(bytes, "\x0f\x01\xd8", 3))
		qemu_plugin_register_vcpu_insn_exec_cb(insn, on_vmrun, CB_NO_REGS,
						       (void *)(uintptr_t)(address + 3));
	if (counter == USER && size == 2 && !memcmp(bytes, "\x0f\x05", 2))
		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64,
							   &counters[SYSCALLS], 1);
}

static void on_translation(uint64_t id, struct qemu_plugin_tb *tb)
{
	uint64_t address = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0));
	size_t count = qemu_plugin_tb_n_insns(tb);
	int resumed = behind_vmrun && address == behind_vmrun;
	int counter;

	(void)id;
	if (resumed)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_exit, CB_NO_REGS, NULL);
	if (in_guest && !resumed)
		counter = GUEST;
	else
		counter = address >> 63 ? KERNEL : USER;
	if (counter == USER)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_user, CB_NO_REGS, NULL);
	for (size_t i = 0; i < count; i++)
		instrument(qemu_plugin_tb_get_insn(tb, i), counter);
}

int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	(void)info;
	if (argc != 1 || strncmp(argv[0], "out=", 4))
		return -1;
	out = fopen(argv[0] + 4, "w");
	if (!out)
		return -1;
	fputs(names, out);
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
	return 0;
}
