/* SPDX-License-Identifier: Apache-2.0 */
/* The status flags between cpu->rflags and cpu->native.flags, whose form LAHF and SETO give: SF,
 * ZF, AF, PF and CF in the high byte, OF in the low one. */
#ifndef LODGE_ENGINE_BT_RUNTIME_SAVED_FLAGS_H
#define LODGE_ENGINE_BT_RUNTIME_SAVED_FLAGS_H

#include "engine/bt/cpu.h"
#include "engine/bt/translate/region.h"

#define SAVED_BYTE (FLAGS_STATUS & 0xffu)

/* For translated code, which is entered next. */
static inline void saved_flags_out(struct cpu *cpu)
{
	cpu->native.flags = (uint32_t)((cpu->rflags & SAVED_BYTE) << 8 |
				       (cpu->rflags & RFLAGS_OF ? 1 : 0));
}

/* From translated code, which has been left. */
static inline void saved_flags_in(struct cpu *cpu)
{
	cpu->rflags = (cpu->rflags & ~(uint64_t)FLAGS_STATUS) |
		      (cpu->native.flags >> 8 & SAVED_BYTE) |
		      (cpu->native.flags & 1 ? RFLAGS_OF : 0);
}

#endif
