/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef ENGINE_SOFT_UNDEFINED_H
#define ENGINE_SOFT_UNDEFINED_H

#include <stdbool.h>

#include <Zydis/Zydis.h>

/* Does this CPU make all flags that the manual leaves undefined here from the
 * operands alone, and not leave them as they were?  Any thread. */
bool soft_sets_undefined(const ZydisDecodedInstruction *z);

#endif
