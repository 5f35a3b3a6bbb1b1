/* SPDX-License-Identifier: Apache-2.0 */
/* Groups not written yet: a line goes when its file comes, the file with the last. */
#include "engine/bt/interp/handlers.h"

#define NOT_YET(group)                           \
	interp_fn group(const struct insn *insn) \
	{                                        \
		(void)insn;                      \
		return NULL;                     \
	}

NOT_YET(interp_arithmetic)
NOT_YET(interp_move)
NOT_YET(interp_bit)
NOT_YET(interp_atomic)
NOT_YET(interp_branch)
NOT_YET(interp_string)
NOT_YET(interp_port)
