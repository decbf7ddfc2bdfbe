/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * String instructions forwards, inline: MOVS, STOS, LODS and SCAS without REP,
 * and REP MOVS and REP STOS where all of a run lies in one page on each side.
 * With the direction flag set they are the function's, before anything has
 * changed.
 *
 * A run is the host's instruction on the host's addresses.  Longer ones and
 * those whose pages the tables do not know are the function's, which goes page
 * by page.  The host's instruction cannot fault: both sides have been touched
 * before it, by instructions with a site and before anything has changed.
 */
#include "engine/bt/item.h"

#include "engine/soft/op_int.h"

static unsigned shift_of(const struct item *i)
{
    return (unsigned)__builtin_ctz(i->insn.osize);
}

static bool is_movs(const struct item *i)
{
    return i->insn.fn == op_movs;
}

bool bt_string_fits(const struct item *i, bool code32)
{
    insn_fn fn = i->insn.fn;

    if (i->insn.asize != (code32 ? 4 : 8) || (i->insn.flags & INSN_REPNE) || i->insn.seg == SEG_FS ||
        i->insn.seg == SEG_GS)
        return false;
    return fn == op_movs || fn == op_stos || (!(i->insn.flags & INSN_REP) && (fn == op_lods || fn == op_scas));
}

/* Cold if it goes backwards. */
static uint8_t *test_direction(struct emit *e)
{
    EMIT(e, 0x65, 0xf7, 0x04, 0x25);            /* test dword gs:[rflags], DF */
    emit32(e, (uint32_t)CTX(rflags));
    emit32(e, X86_DF);
    return emit_jcc(e, 5);
}

/* ---- runs ------------------------------------------------------------------------------- */

/* Cold unless the run goes forward and 1 <= RCX <= the most iterations at once. */
static void test_run(struct emit *e, struct memop *m)
{
    m->cold[m->ncold++] = test_direction(e);
    emit_lea_code(e, H_R11, H_RCX, -1, 0, -1);
    emit_gs(e, 0x3b, H_R11, CTX(rep_limit), true);      /* cmp r11, gs:[rep_limit] */
    m->cold[m->ncold++] = emit_jcc(e, 3);
}

/* R11 = the addend of the page of the run at a register, which has been touched. */
static void emit_side(struct translation *t, struct item *i, unsigned reg, bool write)
{
    struct bt_access *a = bt_new_access(t, i);
    struct emit *e = &t->e;

    a->saved = t->saved;
    a->held = -1;
    a->mem = (struct memop){ .size = i->insn.osize, .write = write };
    if (i->naccess == 1)
        test_run(e, &a->mem);
    emit_mov_code(e, H_R10, reg);
    bt_emit_run_probe(e, &a->mem, shift_of(i));
    bt_access_here(t, i);
    EMIT(e, 0x43, 0x80, 0x3c, 0x1a, 0x00);      /* cmp byte [r10 + r11], 0 */
}

static void emit_rep(struct emit *e, const struct item *i)
{
    if (i->insn.osize == 2)
        emit8(e, 0x66);
    emit8(e, 0xf3);
    if (i->insn.osize == 8)
        emit8(e, 0x48);
    emit8(e, i->z.opcode);
}

/* The upper half of a register that 32-bit code has changed. */
static void emit_cut(struct emit *e, unsigned reg)
{
    if (e->code32)
        emit_mov_code(e, reg, reg);
}

/* To the host's address, and back. */
static void emit_there(struct emit *e, unsigned reg, unsigned addend)
{
    emit_cut(e, reg);
    emit_lea(e, reg, (int)reg, (int)addend, 0, 0);
}

static void emit_back(struct emit *e, unsigned reg, unsigned addend)
{
    emit_rr(e, 0x29, addend, reg);              /* sub reg, addend */
    emit_cut(e, reg);
}

static void emit_run(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    bool movs = is_movs(i);

    if (movs) {
        emit_side(t, i, H_RSI, false);
        emit_gs_store(e, H_R11, CTX_WORD(W_TARGET));
    }
    emit_side(t, i, H_RDI, true);
    emit_cut(e, H_RCX);
    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    emit_there(e, H_RDI, H_R11);
    if (movs) {
        emit_gs_load(e, H_R10, CTX_WORD(W_TARGET));
        emit_there(e, H_RSI, H_R10);
    }
    emit_rep(e, i);
    emit_back(e, H_RDI, H_R11);
    if (movs)
        emit_back(e, H_RSI, H_R10);
    /* The block counts the last iteration. */
    emit_gs_load(e, H_R10, CTX_WORD(W_RCX));
    EMIT(e, 0x49, 0xff, 0xca);                  /* dec r10 */
    EMIT(e, 0x49, 0xc1, 0xe2, COUNT_SHIFT);     /* shl r10, 16 */
    emit_lea(e, H_R9, H_R9, H_R10, 0, 0);
}

/* ---- single elements ----------------------------------------------------------------------- */

/* The probe of [reg]; cold: one more jump to its cold path, or NULL. */
static void emit_access(struct translation *t, struct item *i, unsigned reg, bool write, uint8_t *cold)
{
    struct memop *m = &i->access[i->naccess].mem;

    emit_mov_code(&t->e, H_R10, reg);
    bt_emit_access(t, i, i->insn.osize, 0, write);
    if (cold)
        m->cold[m->ncold++] = cold;
}

/* The form of an opcode (even: of bytes) for elements of this size. */
static void emit_element(struct translation *t, struct item *i, unsigned opcode, unsigned reg, unsigned index)
{
    const unsigned size = i->insn.osize;
    struct emit *e = &t->e;

    bt_access_here(t, i);
    if (size == 2)
        emit8(e, 0x66);
    emit8(e, 0x41 | (size == 8) << 3 | (reg >> 3) << 2 | (index >> 3) << 1);
    emit8(e, opcode | (size > 1));
    emit_sib(e, reg, H_R10, index, 0);          /* [r10 + index] */
}

static void emit_step(struct translation *t, const struct item *i, unsigned reg)
{
    emit_lea_code(&t->e, reg, (int)reg, -1, 0, i->insn.osize);
}

static void emit_movs(struct translation *t, struct item *i, uint8_t *down)
{
    struct emit *e = &t->e;
    struct place at = { .base = H_R10, .index = H_R11 };

    emit_access(t, i, H_RSI, false, down);
    emit_element(t, i, 0x8a, H_R11, H_R11);
    emit_gs_store(e, H_R11, CTX_WORD(W_TARGET));
    emit_access(t, i, H_RDI, true, NULL);
    bt_emit_free_r11(t, &at);
    emit_gs_load(e, H_R11, CTX_WORD(W_TARGET));
    emit_element(t, i, 0x88, H_R11, H_RSP);     /* no index */
    emit_step(t, i, H_RSI);
    emit_step(t, i, H_RDI);
}

static void emit_single(struct translation *t, struct item *i)
{
    uint8_t *down = test_direction(&t->e);

    if (i->insn.fn == op_movs) {
        emit_movs(t, i, down);
    } else if (i->insn.fn == op_lods) {
        emit_access(t, i, H_RSI, false, down);
        emit_element(t, i, 0x8a, H_RAX, H_R11);
        emit_step(t, i, H_RSI);
    } else {
        emit_access(t, i, H_RDI, i->insn.fn == op_stos, down);
        bt_emit_flags_for(t, i);
        emit_element(t, i, i->insn.fn == op_stos ? 0x88 : 0x3a, H_RAX, H_R11);
        emit_step(t, i, H_RDI);
    }
}

void bt_emit_string(struct translation *t, struct item *i)
{
    bt_emit_save_flags(t, i);
    if (i->insn.flags & INSN_REP)
        emit_run(t, i);
    else
        emit_single(t, i);
    t->held = i->held = -1;
    i->cont = t->e.p;
}
