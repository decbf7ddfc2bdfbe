/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * REP MOVS and REP STOS inline, where all of a run lies in one page on each
 * side: the host's instruction on the host's addresses.  Backward runs, longer
 * ones and those whose pages the tables do not know are the function's, which
 * goes page by page.
 *
 * The host's instruction cannot fault: both sides have been touched before it,
 * by instructions with a site and before anything has changed.
 */
#include "engine/bt/item.h"

static unsigned shift_of(const struct item *i)
{
    return (unsigned)__builtin_ctz(i->insn.osize);
}

static bool is_movs(const struct item *i)
{
    return (i->z.opcode & 0xfe) == 0xa4;
}

bool bt_string_fits(const struct item *i)
{
    const ZydisDecodedInstruction *z = &i->z;
    unsigned seg = soft_segment_number(i->op[1].mem.segment);

    if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || z->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT ||
        z->address_width != 64 || !(i->insn.flags & INSN_REP))
        return false;
    if ((z->opcode & 0xfe) == 0xaa)
        return true;
    return is_movs(i) && seg != SEG_FS && seg != SEG_GS;
}

/* Cold unless the run goes forward and 1 <= RCX <= the most iterations at once. */
static void test_run(struct emit *e, struct memop *m)
{
    EMIT(e, 0x65, 0xf7, 0x04, 0x25);            /* test dword gs:[rflags], DF */
    emit32(e, (uint32_t)CTX(rflags));
    emit32(e, X86_DF);
    m->cold[m->ncold++] = emit_jcc(e, 5);
    emit_lea(e, H_R11, H_RCX, -1, 0, -1);
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
    emit_mov(e, H_R10, reg);
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

void bt_emit_string(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    bool movs = is_movs(i);

    bt_emit_save_flags(t, i);
    if (movs) {
        emit_side(t, i, H_RSI, false);
        emit_gs_store(e, H_R11, CTX_WORD(W_TARGET));
    }
    emit_side(t, i, H_RDI, true);
    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    emit_lea(e, H_RDI, H_RDI, H_R11, 0, 0);
    if (movs) {
        emit_gs_load(e, H_R10, CTX_WORD(W_TARGET));
        emit_lea(e, H_RSI, H_RSI, H_R10, 0, 0);
    }
    emit_rep(e, i);
    emit_rr(e, 0x29, H_R11, H_RDI);             /* sub rdi, r11 */
    if (movs)
        emit_rr(e, 0x29, H_R10, H_RSI);         /* sub rsi, r10 */
    /* The block counts the last iteration. */
    emit_gs_load(e, H_R10, CTX_WORD(W_RCX));
    EMIT(e, 0x49, 0xff, 0xca);                  /* dec r10 */
    EMIT(e, 0x49, 0xc1, 0xe2, COUNT_SHIFT);     /* shl r10, 16 */
    emit_lea(e, H_R9, H_R9, H_R10, 0, 0);
    t->held = i->held = -1;
    i->cont = e->p;
}
