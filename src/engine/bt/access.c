/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's memory and flags in emitted code.
 *
 * Probes change flags.  Where the guest's are live they are saved in W_FLAGS
 * at the first probe, and given back when an instruction needs them: t->saved
 * says where they are at this point of the code.  t->held says which shared
 * probe's addend is in R11; whoever uses R11 otherwise forgets it.
 */
#include "engine/bt/item.h"

/* ---- flags ------------------------------------------------------------------------------ */

void bt_emit_flags_away(struct translation *t)
{
    struct emit *e = &t->e;

    emit_mov(e, H_R11, H_RAX);
    EMIT(e, 0x9f, 0x0f, 0x90, 0xc0);            /* lahf; seto al */
    emit_gs_store(e, H_RAX, CTX_WORD(W_FLAGS));
    emit_mov(e, H_RAX, H_R11);
    t->held = -1;
    t->saved = true;
}

void bt_emit_save_flags(struct translation *t, const struct item *i)
{
    if (i->live && !t->saved)
        bt_emit_flags_away(t);
}

void bt_emit_restore_flags(struct emit *e)
{
    emit_gs_store(e, H_RAX, CTX_WORD(W_RAX));
    emit_gs_load(e, H_RAX, CTX_WORD(W_FLAGS));
    EMIT(e, 0x04, 0x7f, 0x9e);                  /* add al, 7f; sahf */
    emit_gs_load(e, H_RAX, CTX_WORD(W_RAX));
}

void bt_emit_restore_entry(struct emit *e)
{
    emit_mov(e, H_R11, H_RAX);
    emit_gs_load(e, H_RAX, CTX_WORD(W_FLAGS));
    EMIT(e, 0x04, 0x7f, 0x9e);                  /* add al, 7f; sahf */
    emit_mov(e, H_RAX, H_R11);
}

void bt_emit_flags(struct translation *t, uint32_t live)
{
    if (t->saved && live)
        bt_emit_restore_flags(&t->e);
    t->saved = false;
}

void bt_emit_flags_for(struct translation *t, const struct item *i)
{
    /* What it leaves alone survives in W_FLAGS if it leaves all alone. */
    if (!t->saved || (!i->reads && !i->writes))
        return;
    bt_emit_flags(t, i->reads | (i->live_out & ~i->kills));
}

/* ---- functions ----------------------------------------------------------------------------- */

struct site *bt_new_site(struct translation *t, const struct item *i)
{
    struct site *s = &t->sites[t->b.nsites++];
    unsigned index = (unsigned)(i - t->items);

    *s = (struct site){ .offset = i->offset, .index = (uint8_t)index,
                        .kind = (uint8_t)(bt_live_behind(t, index) << SITE_LIVE_SHIFT) };
    if (i->kind == K_RET) {
        s->kind |= SITE_RET;
        s->cont = (uint16_t)i->insn.imm;
    } else if (i->kind == K_CALL_IND) {
        s->kind |= SITE_CALL;
    }
    return s;
}

static void emit_call(struct translation *t, const struct site *s)
{
    emit_imm64(&t->e, H_R11, bt_site_id(t, s));
    emit_patch(emit_jmp(&t->e), t->bt->slow[!!(s->kind & SITE_SAVED)][s->kind >> SITE_LIVE_SHIFT]);
}

void bt_emit_function(struct translation *t, struct item *i)
{
    struct site *s = bt_new_site(t, i);

    bt_emit_flags(t, X86_FLAGS_ARITH);
    s->kind = (uint8_t)((s->kind & ~SITE_BRANCH) | SITE_FUNCTION);
    s->host = t->b.nfunctions;
    t->functions[t->b.nfunctions++] = (struct bt_function){ .insn = i->insn, .mnemonic = (uint16_t)i->z.mnemonic };
    emit_call(t, s);
    s->cont = bt_place(t, t->e.p);
    t->held = -1;
}

/* ---- accesses --------------------------------------------------------------------------------- */

struct bt_access *bt_new_access(struct translation *t, struct item *i)
{
    struct bt_access *a = &i->access[i->naccess++];

    *a = (struct bt_access){ .site = bt_new_site(t, i) };
    return a;
}

/* The probe of an access whose flags are saved. */
static struct bt_access *probe(struct translation *t, struct item *i, unsigned reg, unsigned size, unsigned align,
                               bool write)
{
    struct bt_access *a = bt_new_access(t, i);

    a->mem = (struct memop){ .reg = reg, .size = size, .align = align, .write = write };
    bt_emit_probe(&t->e, &a->mem);
    t->held = -1;
    a->saved = t->saved;
    a->held = -1;
    a->hot = t->e.p;
    return a;
}

void bt_emit_access(struct translation *t, struct item *i, unsigned size, unsigned align, bool write)
{
    bt_emit_save_flags(t, i);
    probe(t, i, H_R10, size, align, write);
}

/* The same where a guest register has it. */
static void access_at(struct translation *t, struct item *i, unsigned reg, unsigned size, unsigned align, bool write,
                      struct place *at)
{
    bt_emit_save_flags(t, i);
    probe(t, i, reg, size, align, write);
    *at = (struct place){ .base = reg, .index = H_R11 };
}

static bool is_based(const ZydisDecodedOperand *m)
{
    unsigned seg = soft_segment_number(m->mem.segment);

    return seg == SEG_FS || seg == SEG_GS;
}

/* Is the address just what a host register has? */
static bool is_register(const struct translation *t, const ZydisDecodedOperand *m, unsigned address_width)
{
    return !t->e.code32 && address_width == 64 && !is_based(m) && !m->mem.disp.value &&
           m->mem.index == ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(m->mem.base) == ZYDIS_REGCLASS_GPR64 &&
           !bt_in_context(soft_reg_number(m->mem.base) / 8u);
}

/* The first access checks for all; then R11 = addend. */
static void use_shared(struct translation *t, struct item *i, unsigned base)
{
    struct shared_probe *g = &t->shared[i->shared];
    struct emit *e = &t->e;
    struct memop m = { .size = (unsigned)(g->high - g->low), .write = g->write };

    if (!g->made) {
        if (bt_in_context(base))
            emit_gs_load(e, H_R10, CTX_GPR(base));
        emit_lea_code(e, H_R10, bt_in_context(base) ? H_R10 : (int)base, -1, 0, g->low);
        bt_emit_save_flags(t, i);
        bt_emit_shared_probe(e, &m);
        i->fail = m.cold[0];
        i->fail2 = m.cold[1];
        i->fail_saved = t->saved;
        emit_gs_store(e, H_R11, CTX_WORD(W_SHARED + i->shared));
        g->made = true;
    } else if (t->held != i->shared) {
        emit_gs_load(e, H_R11, CTX_WORD(W_SHARED + i->shared));
    }
    t->held = i->shared;
}

static void shared_access(struct translation *t, struct item *i, unsigned base, int32_t disp, struct place *at)
{
    struct bt_access *a;

    use_shared(t, i, base);
    a = bt_new_access(t, i);
    a->saved = t->saved;
    a->held = t->held;
    a->hot = t->e.p;
    if (t->e.code32) {          /* the sum wraps at 2^32, the addend's page does not */
        emit_lea_code(&t->e, H_R10, (int)base, -1, 0, disp);
        *at = (struct place){ .base = H_R10, .index = H_R11 };
        return;
    }
    if (bt_in_context(base))
        emit_gs_load(&t->e, H_R10, CTX_GPR(base));
    *at = (struct place){ .base = bt_in_context(base) ? H_R10 : base, .index = H_R11, .disp = disp };
}

/*
 * 32-bit code, segments FS and GS: their base may be any, but there is no limit
 * to check, or bt_emit_segment sees to it.  What is left is an operand that
 * goes beyond offset 2^32: with registers, all that are not aligned are cold.
 */
static bool based_operand(struct translation *t, struct item *i, const ZydisDecodedOperand *m, unsigned size,
                          unsigned align, bool write)
{
    bool constant = m->mem.base == ZYDIS_REGISTER_NONE && m->mem.index == ZYDIS_REGISTER_NONE;
    struct emit *e = &t->e;
    uint8_t *cold = NULL;
    struct bt_access *a;

    if (constant && (uint32_t)m->mem.disp.value > UINT32_MAX - (size - 1))
        return false;
    bt_emit_address(e, m, 32, 0);
    bt_emit_save_flags(t, i);
    if (!constant && size > 1) {
        EMIT(e, 0x41, 0xf6, 0xc2);              /* test r10b, size - 1 */
        emit8(e, size - 1);
        cold = emit_jcc(e, 5);
    }
    bt_emit_segment(e, soft_segment_number(m->mem.segment));
    a = probe(t, i, H_R10, size, align, write);
    if (cold)
        a->mem.cold[a->mem.ncold++] = cold;
    return true;
}

/* Relative to the page of the code, where in a page an operand lies is known. */
static bool is_inside(const struct item *i, const ZydisDecodedOperand *m, unsigned size, unsigned align)
{
    uint64_t at = (i->offset + i->insn.len + (uint64_t)m->mem.disp.value) % MEM_PAGE_SIZE;

    return m->mem.base == ZYDIS_REGISTER_RIP && !is_based(m) && at + size <= MEM_PAGE_SIZE &&
           !(align && at % align);
}

bool bt_emit_operand(struct translation *t, struct item *i, const ZydisDecodedOperand *m, unsigned size,
                     unsigned align, bool write, struct place *at)
{
    if (i->shared >= 0) {
        shared_access(t, i, soft_reg_number(m->mem.base) / 8u, (int32_t)m->mem.disp.value, at);
        return true;
    }
    t->held = -1;
    *at = (struct place){ .base = H_R10, .index = H_R11 };
    if (t->e.code32 && is_based(m))
        return based_operand(t, i, m, size, align, write);
    if (is_register(t, m, i->z.address_width)) {
        access_at(t, i, soft_reg_number(m->mem.base) / 8u, size, align, write, at);
        return true;
    }
    if (!bt_emit_address(&t->e, m, i->z.address_width, i->offset + i->insn.len))
        return false;
    if (is_inside(i, m, size, align))
        bt_emit_access(t, i, 1, 0, write);
    else
        bt_emit_access(t, i, size, align, write);
    return true;
}

void bt_emit_stack(struct translation *t, struct item *i, unsigned reg, int32_t disp, bool write, struct place *at)
{
    if (i->shared >= 0) {
        shared_access(t, i, reg, disp, at);
        return;
    }
    if (!disp && !t->e.code32) {
        access_at(t, i, reg, t->word, 0, write, at);
        return;
    }
    emit_lea_code(&t->e, H_R10, (int)reg, -1, 0, disp);
    bt_emit_access(t, i, t->word, 0, write);
    *at = (struct place){ .base = H_R10, .index = H_R11 };
}

void bt_emit_free_r11(struct translation *t, struct place *at)
{
    emit_lea(&t->e, H_R10, (int)at->base, (int)at->index, 0, at->disp);
    t->held = -1;
}

void bt_access_here(struct translation *t, struct item *i)
{
    i->access[i->naccess - 1].site->host = bt_place(t, t->e.p);
}

void bt_emit_trap(struct translation *t, struct item *i)
{
    struct bt_access *a = bt_new_access(t, i);

    a->saved = t->saved;
    a->held = -1;
    bt_access_here(t, i);
}

/* ---- cold paths -------------------------------------------------------------------------------- */

static void cold_access(struct translation *t, struct item *i, struct bt_access *a)
{
    struct emit *e = &t->e;
    struct site *s = a->site;

    if (a->saved)
        s->kind |= SITE_SAVED;
    if (a->mem.size && a->mem.unaligned)
        bt_emit_unaligned(e, &a->mem, a->hot);
    if (!a->mem.ncold)      /* a host fault goes to the function by itself (on_fault) */
        return;
    for (unsigned n = 0; n < a->mem.ncold; n++)
        emit_here(e, a->mem.cold[n]);
    emit_call(t, s);
    if (!i->cont)
        return;
    s->cont = bt_place(t, i->cont);
    if (i->held >= 0) {
        s->cont = bt_place(t, e->p);
        emit_gs_load(e, H_R11, CTX_WORD(W_SHARED + i->held));
        emit_patch(emit_jmp(e), i->cont);
    }
}

void bt_emit_cold(struct translation *t, struct item *i)
{
    if (i->fail) {
        emit_here(&t->e, i->fail);
        emit_here(&t->e, i->fail2);
        t->saved = i->fail_saved;
        bt_emit_flags(t, i->live);
        bt_emit_exit(t, i, (unsigned)(i - t->items), i->offset, true);
    }
    for (unsigned n = 0; n < i->naccess; n++)
        cold_access(t, i, &i->access[n]);
}
