/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The software engine: an x86-64 machine in user space, on any x86-64 Linux host,
 * with no help from the processor or the kernel and no privileges.
 */
#ifndef LODGE_ENGINE_BT_BT_H
#define LODGE_ENGINE_BT_BT_H

#include "core/engine.h"

extern const struct engine_ops bt_engine;

/* The same with the interpreter alone, the reference; and with each translated block held against
 * the interpreter, at the cost of both, where a difference ends lodge. */
extern const struct engine_ops bt_engine_eager; /* "bt,eager": translates at first sight */
extern const struct engine_ops bt_engine_hot;   /* "bt,hot": ... and as hot code */
extern const struct engine_ops bt_engine_interp;
extern const struct engine_ops bt_engine_check;

#endif
