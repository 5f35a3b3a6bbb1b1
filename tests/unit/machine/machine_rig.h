/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole machine for tests: the fake engine (tests/unit/core) runs a program of its
 * own instructions, which lies at the PVH entry of a tiny vmlinux.
 *
 *	struct buf p = BUF_INIT;
 *	struct rig r;
 *
 *	rig_out(&p, 4, 0xf4, 1);
 *	rig_init(&r, &p);
 *	rig_start(&r);
 *	rig_ends(&r, MACHINE_DEBUG_EXIT);
 *	rig_release(&r);
 */
#ifndef LODGE_TESTS_MACHINE_RIG_H
#define LODGE_TESTS_MACHINE_RIG_H

#include "base/buf.h"
#include "core/engine.h"
#include "machine/machine.h"

#define RIG_MEMORY (32ULL << 20)

struct rig {
	char *kernel;
	struct engine_ops engine; /* the fake one: tests replace entries before machine_new */
	struct machine_config config;
	struct machine *machine;
	struct machine_result result; /* of rig_ends */
};

/* A kernel file with the program at its entry, which is released; unlink and free it. */
char *rig_kernel(struct buf *program);

/* Configures a machine of one vCPU; the program is released. */
void rig_init(struct rig *r, struct buf *program);

/* machine_new and machine_start, which must succeed. */
void rig_start(struct rig *r);

/* Waits for the end, which must be this one. */
void rig_ends(struct rig *r, enum machine_end end);

/* Frees the machine, if there is one, and the kernel. */
void rig_release(struct rig *r);

/* Whether fd becomes readable within the time. */
bool rig_readable(int fd, int timeout_ms);

/* How many descriptors this process has open. */
unsigned rig_descriptors(void);

/* Programs. They use RAX and RCX; RBX is at the start what the boot protocol says. */
void rig_out(struct buf *program, unsigned size, uint16_t port, uint32_t value);
void rig_store(struct buf *program, unsigned size, uint32_t address, uint32_t value);
/* Jumps over the next count instructions unless the 8 bytes at address are value. */
void rig_unless(struct buf *program, uint32_t address, int32_t value, int32_t count);
void rig_spin(struct buf *program);
void rig_poweroff(struct buf *program);
void rig_triple_fault(struct buf *program);

/* Instructions that rig_out and rig_store take. */
#define RIG_OUT_INSNS   2
#define RIG_STORE_INSNS 3

#endif
