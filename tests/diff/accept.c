/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the software engines' tables accept: anything that does not become #UD. */
#include "diff.h"

#include "engine/soft/decode.h"

bool accept_insn(const struct cpu_model *model, enum mode mode, const uint8_t *bytes, unsigned n)
{
    struct insn insn;

    return soft_decode(model, mode | MODE_PROT, bytes, n, &insn) <= DECODE_END && insn.fn != op_ud &&
           insn.fn != op_too_long;
}
