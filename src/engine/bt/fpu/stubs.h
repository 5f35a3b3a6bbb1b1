/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU's cache of stubs: copies of instructions in executable memory. */
#ifndef LODGE_ENGINE_BT_FPU_STUBS_H
#define LODGE_ENGINE_BT_FPU_STUBS_H

#include "engine/bt/fpu/fpu.h"

/* 0, or -errno with e set. Any thread. */
int stubs_new(struct fpu_stubs **stubs, struct err *e);
void stubs_free(struct fpu_stubs *s);

/* The stub of insn, made if it is not there. Valid until the next call. vCPU's thread. */
const void *stubs_find(struct fpu_stubs *s, const struct fpu_insn *insn);

/* If pc lies in a stub, the address of a RET instruction that ends it early; else 0.
 * Async-signal-safe. */
uintptr_t stubs_way_out(const struct fpu_stubs *s, uintptr_t pc);

#endif
