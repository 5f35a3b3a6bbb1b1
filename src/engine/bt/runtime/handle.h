/* SPDX-License-Identifier: Apache-2.0 */
/* An instruction of a translated block, done by the interpreter's handler. */
#ifndef LODGE_ENGINE_BT_RUNTIME_HANDLE_H
#define LODGE_ENGINE_BT_RUNTIME_HANDLE_H

#include <stdint.h>

struct cpu;
struct handler_site;

/* For the gate, with all registers in struct cpu and the status flags in native.flags, as after
 * it: does the instruction and says where host code goes on; NULL: translated code is left, at
 * cpu->rip. Raises what the instruction raises: then translated code has been left. */
const uint8_t *handle(struct cpu *cpu, const struct handler_site *site);

#endif
