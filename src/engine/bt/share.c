/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared probes: accesses through the same base register that lie close
 * together, such as pushes, pops and fields of a structure, are checked at
 * once by the first of them.  If that fails (a page ends between them, or the
 * tables do not know the page), the guest goes on in a block without shared
 * probes, so the check needs no path of its own for each access.
 *
 * The addend of the page stays in W_SHARED and mostly in R11.  It is good until
 * the next function call in the block: functions may drop rights, and a cold
 * path in between leaves the block if one did (bt.c).
 */
#include "engine/bt/item.h"

#include "engine/soft/simd.h"

/* Most bytes between the ends of accesses that share. */
#define SPAN_MAX 512

/* An access that can share. */
struct candidate {
    unsigned base, size;
    int32_t disp;
    bool write;
};

/* The accesses through one register, as far as the walk has come. */
struct open {
    int first;                  /* item; -1: none */
    unsigned count;
    int64_t moved;              /* the register now - its value at the first */
    int64_t low, high;
    bool write;
};

static bool stack_access(const struct item *i, struct candidate *a, unsigned word)
{
    *a = (struct candidate){ .base = H_RSP, .size = word };
    switch (i->kind) {
    case K_PUSH_REG:
    case K_PUSH_IMM:
    case K_CALL:
        a->write = true;
        a->disp = -(int32_t)word;
        return true;
    case K_POP:
    case K_RET:
        return true;
    case K_LEAVE:
        a->base = H_RBP;
        return true;
    default:
        return false;
    }
}

/* A general register as wide as addresses are? */
static bool is_word(ZydisRegister r, unsigned word)
{
    return ZydisRegisterGetClass(r) == (word == 8 ? ZYDIS_REGCLASS_GPR64 : ZYDIS_REGCLASS_GPR32);
}

/* The form [base + disp] without anything that wants a check of its own. */
static bool candidate(const struct item *i, struct candidate *a, unsigned word)
{
    const ZydisDecodedOperand *m = bt_memory_operand(i);
    const struct simd_op *op = i->insn.aux;
    unsigned seg;

    if (stack_access(i, a, word))
        return true;
    if ((i->kind != K_GENERIC && i->kind != K_VEX && i->kind != K_SIMD) || !m)
        return false;
    seg = soft_segment_number(m->mem.segment);
    if (seg == SEG_FS || seg == SEG_GS || i->z.address_width != 8 * word ||
        m->mem.disp.value != (int32_t)m->mem.disp.value || m->mem.index != ZYDIS_REGISTER_NONE ||
        !is_word(m->mem.base, word))
        return false;
    /* Exchanges are atomic: across cache lines they need more than a page. */
    if ((i->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) || i->z.mnemonic == ZYDIS_MNEMONIC_XCHG ||
        i->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B || i->z.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B)
        return false;
    *a = (struct candidate){ .base = soft_reg_number(m->mem.base) / 8u, .disp = (int32_t)m->mem.disp.value };
    if (i->kind == K_SIMD) {
        a->size = op->size;
        a->write = op->flags & SO_STORE;
        return !op->align;
    }
    a->size = m->size / 8;
    a->write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    return true;
}

/* Does the item add a constant to the register (and do nothing else to it)? */
static bool moves_by(const struct item *i, unsigned reg, unsigned word, int64_t *by)
{
    const ZydisDecodedOperand *a = &i->op[0], *m = &i->op[1];

    *by = 0;
    if (reg == H_RSP && (i->kind == K_PUSH_REG || i->kind == K_PUSH_IMM || i->kind == K_PUSH_MEM || i->kind == K_CALL))
        *by = -(int64_t)word;
    else if (reg == H_RSP && (i->kind == K_POP && bt_reg(a) != H_RSP))
        *by = word;
    else if (i->kind == K_LEA && i->z.operand_width == 8 * word && bt_reg(a) == reg &&
             i->z.address_width == 8 * word && is_word(m->mem.base, word) &&
             bt_reg(a) * 8 == soft_reg_number(m->mem.base) && m->mem.index == ZYDIS_REGISTER_NONE)
        *by = m->mem.disp.value;
    else if (i->kind == K_GENERIC && i->z.operand_width == 8 * word && a->type == ZYDIS_OPERAND_TYPE_REGISTER &&
             bt_reg(a) == reg && i->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
             (i->z.mnemonic == ZYDIS_MNEMONIC_ADD || i->z.mnemonic == ZYDIS_MNEMONIC_SUB))
        *by = i->z.mnemonic == ZYDIS_MNEMONIC_ADD ? i->op[1].imm.value.s : -i->op[1].imm.value.s;
    else
        return false;
    if (word == 4)              /* modulo 2^32 */
        *by = (int32_t)*by;
    return true;
}

static bool is_gpr(const ZydisDecodedOperand *op)
{
    ZydisRegisterClass k;

    if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
        return false;
    k = ZydisRegisterGetClass(op->reg.value);
    return k == ZYDIS_REGCLASS_GPR64 || k == ZYDIS_REGCLASS_GPR32 || k == ZYDIS_REGCLASS_GPR16 ||
           k == ZYDIS_REGCLASS_GPR8;
}

/* Enough of them: give the accesses their probe. */
static void close(struct translation *t, struct open *o, const unsigned *by_item, unsigned base)
{
    unsigned left = o->count;

    if (o->first >= 0 && o->count > 1 && t->nshared < BT_SHARED) {
        t->shared[t->nshared] = (struct shared_probe){ .low = (int32_t)o->low, .high = (int32_t)o->high,
                                                       .write = o->write };
        for (unsigned n = (unsigned)o->first; n < t->n && left; n++)
            if (by_item[n] == base + 1) {
                t->items[n].shared = (int)t->nshared;
                left--;
            }
        t->nshared++;
    }
    o->first = -1;
}

static void add(struct translation *t, struct open *o, unsigned n, const struct candidate *a, unsigned *by_item)
{
    int64_t low = a->disp, high = low + a->size;

    if (o->first >= 0) {
        low = MIN(o->low, o->moved + low);
        high = MAX(o->high, o->moved + high);
        if (high - low > SPAN_MAX || low < INT32_MIN || high > INT32_MAX)
            close(t, o, by_item, a->base);
    }
    if (o->first < 0) {
        *o = (struct open){ .first = (int)n };
        low = a->disp;
        high = low + a->size;
    }
    o->low = low;
    o->high = high;
    o->write |= a->write;
    o->count++;
    by_item[n] = a->base + 1;
}

/* What the item does to the registers that accesses go through. */
static void follow(struct translation *t, struct open *open, const struct item *i, unsigned *by_item)
{
    for (unsigned n = 0; n < i->z.operand_count; n++) {
        unsigned r;
        int64_t by;

        if (!(i->op[n].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) || !is_gpr(&i->op[n]))
            continue;
        r = bt_reg(&i->op[n]);
        if (open[r].first >= 0 && moves_by(i, r, t->word, &by))
            open[r].moved += by;
        else
            close(t, &open[r], by_item, r);
    }
}

void bt_share(struct translation *t)
{
    struct open open[16];
    unsigned by_item[BT_BLOCK_MAX] = { 0 };     /* base register + 1 of the access that may share */

    t->nshared = 0;
    for (unsigned r = 0; r < 16; r++)
        open[r].first = -1;
    for (unsigned n = 0; n < t->n; n++) {
        struct item *i = &t->items[n];
        struct candidate a;

        i->shared = -1;
        if (t->mode & BT_MODE_PLAIN)
            continue;
        if (candidate(i, &a, t->word))
            add(t, &open[a.base], n, &a, by_item);
        if (i->kind == K_FUNCTION || i->kind == K_SYSTEM || i->kind == K_STRING)
            for (unsigned r = 0; r < 16; r++)
                close(t, &open[r], by_item, r);
        else
            follow(t, open, i, by_item);
    }
    for (unsigned r = 0; r < 16; r++)
        close(t, &open[r], by_item, r);
}
