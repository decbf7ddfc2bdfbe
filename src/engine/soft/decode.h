/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Decoding: Zydis says what an instruction is, the rows below say whether it
 * is legal here and which function runs it.  An instruction without a row is
 * #UD.
 */
#ifndef ENGINE_SOFT_DECODE_H
#define ENGINE_SOFT_DECODE_H

#include <Zydis/Zydis.h>

#include "engine/soft/soft.h"

/* c->mode_key: what decoding depends on. */
#define MODE_BITS 3u            /* 0: 16-bit code, 1: 32-bit, 2: 64-bit */
#define MODE_PROT 4u            /* protected mode (not real, not V86) */

struct lower {
    const struct cpu_model *model;
    unsigned mode;              /* mode_key */
    const ZydisDecodedInstruction *z;
    const ZydisDecodedOperand *op;      /* all operands, z->operand_count */
    const uint8_t *bytes;
    struct insn *insn;          /* filled by the generic part before lower() */
    const struct insn_row *row;
    bool end;                   /* set by lower(): ends the block, as ROW_END */
};

struct insn_row {
    ZydisMnemonic mnemonic;
    /* Either: the function itself (generic fields suffice), or a chooser that
     * sets insn->fn (and what else is special); false: #UD. */
    insn_fn fn;
    bool (*lower)(struct lower *l);
    const void *arg;            /* for lower: tables of functions by size and form */
    uint16_t flags;             /* ROW_* */
    uint8_t feature;            /* enum cpu_feature that must be there; 0 (FPU): always */
};
#define ROW_NO64 (1u << 0)      /* #UD in 64-bit mode */
#define ROW_ONLY64 (1u << 1)
#define ROW_PROT (1u << 2)      /* #UD in real and virtual-8086 mode */
#define ROW_LOCK (1u << 3)      /* LOCK allowed with a memory destination */
#define ROW_CPL0 (1u << 4)      /* #GP(0) at CPL > 0 (checked at run time) */
#define ROW_END (1u << 5)       /* ends the block (branches, mode changes, HLT, ...) */

/* The tables, each ended by a row with mnemonic ZYDIS_MNEMONIC_INVALID. */
extern const struct insn_row soft_rows_int[];    /* decode_int.c: integer, branches, strings, I/O */
extern const struct insn_row soft_rows_sys[];    /* rows of sys.c, far.c, seg.c */
extern const struct insn_row soft_rows_simd[];   /* SSE..AVX-512, MMX */
extern const struct insn_row soft_rows_x87[];    /* x87, FXSAVE, XSAVE */

/* Row of a mnemonic, or NULL. */
const struct insn_row *soft_row(ZydisMnemonic m);

enum decode_result { DECODE_OK, DECODE_END, DECODE_MORE };
/*
 * Decode one instruction from n bytes (1 to 15) for this mode.  DECODE_OK, or
 * DECODE_END (OK, and it ends a block), or DECODE_MORE: n is too small.
 * Illegal instructions are lowered to a function that raises #UD, and those of
 * more than 15 bytes to one that raises #GP.  Thread-safe.
 */
enum decode_result soft_decode(const struct cpu_model *model, unsigned mode, const uint8_t *bytes,
                               unsigned n, struct insn *insn);

/* Byte offset of a general register into soft_cpu.gpr (none: GPR_ZERO); the
 * number of any other register. */
uint8_t soft_reg_number(ZydisRegister r);
uint8_t soft_segment_number(ZydisRegister r);      /* SEG_*; SEG_DS for none */

/* Forms of mnemonics that the integer rows own and sys.c's files implement
 * (decode_sys.c): MOV, PUSH and POP with segment, control and debug registers;
 * far JMP, CALL and RET. */
bool soft_lower_mov_special(struct lower *l);
bool soft_lower_far(struct lower *l);

/* The same, and what Zydis said: z and op (ZYDIS_MAX_OPERAND_COUNT) are valid
 * only if *known is set. */
enum decode_result soft_decode_full(const struct cpu_model *model, unsigned mode, const uint8_t *bytes,
                                    unsigned n, struct insn *insn, ZydisDecodedInstruction *z,
                                    ZydisDecodedOperand *op, bool *known);

/* Functions that raise. */
int op_ud(struct soft_cpu *c, const struct insn *i);
int op_too_long(struct soft_cpu *c, const struct insn *i);

#endif
