/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Instructions that load, store and examine segment registers and the
 * descriptor-table registers (SDM 2A, 2B, 2D; 3A 2.4, 5.10).
 */
#include <string.h>

#include "engine/soft/seg.h"
#include "engine/soft/sysop.h"

/* User-mode instruction prevention (SDM 3A 2.5, CR4.UMIP). */
static bool umip(const struct soft_cpu *c)
{
    return (c->s.cr4 & CR4_UMIP) && c->cpl;
}

/* A selector to a register of operand size, or to 16 bits of memory. */
static int store_selector(struct soft_cpu *c, const struct insn *i, uint16_t selector)
{
    if (i->flags & INSN_MEM)
        return insn_store(c, i, 2, selector);
    gpr_set(c, i->rm, i->osize, selector);
    return SOFT_NEXT;
}

static int load_word(struct soft_cpu *c, const struct insn *i, uint64_t *v)
{
    if (i->flags & INSN_MEM)
        return insn_load(c, i, 2, v);
    *v = *gpr16(c, i->rm);
    return 0;
}

/* MOV and POP of SS shield the next instruction (SDM 3A 6.8.3). */
static int loaded(struct soft_cpu *c, unsigned seg)
{
    if (seg == SEG_SS)
        c->shadow = SHADOW_MOV_SS;
    return SOFT_STOP;
}

int op_mov_from_sreg(struct soft_cpu *c, const struct insn *i)
{
    return store_selector(c, i, c->s.seg[i->reg].selector);
}

int op_mov_to_sreg(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = load_word(c, i, &v);

    if (!r)
        r = soft_load_seg(c, i->reg, (uint16_t)v);
    return r ? r : loaded(c, i->reg);
}

/* Intel's CPUs write only 16 of the 32 bits (SDM 2, PUSH), AMD's all. */
int op_push_sreg(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v = c->s.seg[i->reg].selector, sp = (c->gpr[CPU_RSP] - i->osize) & c->ss_mask, la;
    int r;

    if (i->osize != 4 || c->vm->model->amd)
        return soft_push(c, i->osize, v);
    r = soft_linear(c, SEG_SS, sp, 2, true, &la);
    if (!r)
        r = soft_write(c, la, 2, v);
    if (!r)
        soft_set_sp(c, sp);
    return r;
}

int op_pop_sreg(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v, sp = c->gpr[CPU_RSP] + i->osize;
    struct seg_state old = c->s.seg[SEG_SS];
    int r = soft_peek(c, 0, i->osize, &v);

    if (!r)
        r = soft_load_seg(c, i->reg, (uint16_t)v);
    if (r)
        return r;
    /* POP SS: the pointer moves on the old stack's terms. */
    if (i->reg != SEG_SS || c->code64)
        soft_set_sp(c, sp);
    else if (old.attr & SEG_ATTR_DB)
        c->gpr[CPU_RSP] = (uint32_t)sp;
    else
        *gpr16(c, CPU_RSP * 8) = (uint16_t)sp;
    return loaded(c, i->reg);
}

/* LDS, LES, LFS, LGS, LSS: offset, then selector. */
int op_load_far_ptr(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = i->osize == 8 && c->vm->model->amd ? 4 : i->osize;
    uint64_t la, off, sel;
    int r = insn_linear(c, i, size + 2, false, &la);

    if (!r)
        r = soft_read(c, la, size, &off);
    if (!r)
        r = soft_read(c, soft_lma(c) ? la + size : (uint32_t)(la + size), 2, &sel);
    if (!r)
        r = soft_load_seg(c, i->vreg, (uint16_t)sel);
    if (r)
        return r;
    gpr_set(c, i->reg, i->osize, off);
    return SOFT_STOP;
}

/* ---- LDTR and TR ---------------------------------------------------------------- */

int op_sldt(struct soft_cpu *c, const struct insn *i)
{
    return umip(c) ? soft_gp0(c) : store_selector(c, i, c->s.seg[SEG_LDTR].selector);
}

int op_str(struct soft_cpu *c, const struct insn *i)
{
    return umip(c) ? soft_gp0(c) : store_selector(c, i, c->s.seg[SEG_TR].selector);
}

/* The checked descriptor of an LDT or TSS with its 64-bit base. */
static int system_segment(struct soft_cpu *c, struct desc *d, struct seg_state *s)
{
    uint32_t high = 0;
    int r = soft_lma(c) ? desc_read_upper(c, d, VEC_GP, &high) : 0;

    if (r)
        return r;
    desc_to_seg(d->raw, d->selector, s);
    s->base |= (uint64_t)high << 32;
    return x86_canonical(s->base) ? 0 : soft_raise_err(c, VEC_GP, d->selector & 0xfffc);
}

int op_lldt(struct soft_cpu *c, const struct insn *i)
{
    struct seg_state s;
    struct desc d;
    uint64_t sel;
    int r;

    if (c->cpl)
        return soft_gp0(c);
    if ((r = load_word(c, i, &sel)))
        return r;
    if (selector_null((uint16_t)sel)) {
        seg_set_null(&c->s.seg[SEG_LDTR], (uint16_t)sel, 0);
        c->s.seg[SEG_LDTR].attr |= DESC_LDT;
        return SOFT_NEXT;
    }
    if (sel & 4)
        return soft_raise_err(c, VEC_GP, sel & 0xfffc);
    if ((r = desc_read(c, (uint16_t)sel, VEC_GP, &d)))
        return r;
    if (desc_s(d.raw) || desc_type(d.raw) != DESC_LDT)
        return soft_raise_err(c, VEC_GP, sel & 0xfffc);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, sel & 0xfffc);
    if ((r = system_segment(c, &d, &s)))
        return r;
    c->s.seg[SEG_LDTR] = s;
    return SOFT_NEXT;
}

int op_ltr(struct soft_cpu *c, const struct insn *i)
{
    struct seg_state s;
    struct desc d;
    uint64_t sel;
    int r;

    if (c->cpl)
        return soft_gp0(c);
    if ((r = load_word(c, i, &sel)))
        return r;
    if (selector_null((uint16_t)sel))
        return soft_gp0(c);
    if (sel & 4)
        return soft_raise_err(c, VEC_GP, sel & 0xfffc);
    if ((r = desc_read(c, (uint16_t)sel, VEC_GP, &d)))
        return r;
    if (desc_s(d.raw) ||
        (desc_type(d.raw) != DESC_TSS32 && (soft_lma(c) || desc_type(d.raw) != DESC_TSS16)))
        return soft_raise_err(c, VEC_GP, sel & 0xfffc);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, sel & 0xfffc);
    if ((r = system_segment(c, &d, &s)) || (r = desc_set_type(c, &d, TSS_BUSY)))
        return r;
    s.attr |= TSS_BUSY;
    c->s.seg[SEG_TR] = s;
    return SOFT_NEXT;
}

/* ---- LAR, LSL, VERR, VERW, ARPL --------------------------------------------------- */

static void set_zf(struct soft_cpu *c, bool zf)
{
    soft_set_arith_flags(c, (soft_arith_flags(c) & ~(unsigned)X86_ZF) | (zf ? X86_ZF : 0));
}

/* Read what the operand names.  1: a descriptor is there; 0: none, ZF is
 * clear; else SOFT_FAULT or SOFT_EXIT of a memory access. */
enum look { LOOK_NONE = -1, LOOK_OK = -2 };

static int look_up(struct soft_cpu *c, const struct insn *i, struct desc *d)
{
    const struct seg_state *ldt = &c->s.seg[SEG_LDTR];
    uint64_t sel;
    uint32_t limit;
    int r = load_word(c, i, &sel);

    if (r)
        return r;
    limit = sel & 4 ? ldt->limit : c->s.gdtr.limit;
    if (selector_null((uint16_t)sel) || (sel & 0xfff8) + 7 > limit ||
        ((sel & 4) && (ldt->attr & SEG_ATTR_UNUSABLE)))
        return LOOK_NONE;
    r = desc_read(c, (uint16_t)sel, VEC_GP, d);
    return r ? r : LOOK_OK;
}

/* DPL against CPL and RPL; conforming code is open to all. */
static bool visible(const struct soft_cpu *c, const struct desc *d)
{
    if (desc_is_code(d->raw) && desc_conforming(d->raw))
        return true;
    return desc_dpl(d->raw) >= MAX(c->cpl, d->selector & 3);
}

/* SDM 2A LAR, LSL: system types that they know. */
static bool type_known(const struct soft_cpu *c, uint64_t raw, bool lsl)
{
    static const uint16_t lar32 = BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(9) | BIT(11) |
                                  BIT(12);
    static const uint16_t lsl32 = BIT(1) | BIT(2) | BIT(3) | BIT(9) | BIT(11);
    static const uint16_t lar64 = BIT(2) | BIT(9) | BIT(11) | BIT(12);
    static const uint16_t lsl64 = BIT(2) | BIT(9) | BIT(11);
    uint16_t known = soft_lma(c) ? (lsl ? lsl64 : lar64) : (lsl ? lsl32 : lar32);

    return desc_s(raw) || (known >> desc_type(raw) & 1);
}

static int examine(struct soft_cpu *c, const struct insn *i, bool lsl)
{
    struct desc d;
    int r = look_up(c, i, &d);
    bool ok;

    if (r != LOOK_OK && r != LOOK_NONE)
        return r;
    ok = r == LOOK_OK && type_known(c, d.raw, lsl) && visible(c, &d);
    if (ok)
        gpr_set(c, i->reg, i->osize, lsl ? desc_limit(d.raw) : d.raw >> 32 & 0x00ffff00);
    set_zf(c, ok);
    return SOFT_NEXT;
}

int op_lar(struct soft_cpu *c, const struct insn *i)
{
    return examine(c, i, false);
}

int op_lsl(struct soft_cpu *c, const struct insn *i)
{
    return examine(c, i, true);
}

int op_verr(struct soft_cpu *c, const struct insn *i)
{
    struct desc d;
    int r = look_up(c, i, &d);

    if (r != LOOK_OK && r != LOOK_NONE)
        return r;
    set_zf(c, r == LOOK_OK && desc_s(d.raw) && visible(c, &d) &&
                  (desc_type(d.raw) & (TYPE_CODE | TYPE_RW)) != TYPE_CODE);
    return SOFT_NEXT;
}

int op_verw(struct soft_cpu *c, const struct insn *i)
{
    struct desc d;
    int r = look_up(c, i, &d);

    if (r != LOOK_OK && r != LOOK_NONE)
        return r;
    set_zf(c, r == LOOK_OK && desc_writable(d.raw) && visible(c, &d));
    return SOFT_NEXT;
}

int op_arpl(struct soft_cpu *c, const struct insn *i)
{
    unsigned rpl = *gpr16(c, i->reg) & 3;
    uint64_t la = 0, v = *gpr16(c, i->rm);
    int r = 0;

    /* Written only if it changes: the read is no part of a write. */
    if (i->flags & INSN_MEM) {
        r = insn_linear(c, i, 2, false, &la);
        if (!r)
            r = soft_read(c, la, 2, &v);
    }
    if (r)
        return r;
    if ((v & 3) >= rpl) {
        set_zf(c, false);
        return SOFT_NEXT;
    }
    v = (v & ~3ULL) | rpl;
    if (!(i->flags & INSN_MEM))
        *gpr16(c, i->rm) = (uint16_t)v;
    else if ((r = insn_store(c, i, 2, v)))
        return r;
    set_zf(c, true);
    return SOFT_NEXT;
}

/* ---- GDTR and IDTR ------------------------------------------------------------------ */

static int load_table(struct soft_cpu *c, const struct insn *i, struct table_state *t)
{
    unsigned size = c->code64 ? 10 : 6;
    uint8_t image[10] = { 0 };
    uint64_t la, base;
    uint16_t limit;
    int r;

    if (c->cpl)
        return soft_gp0(c);
    if ((r = insn_linear(c, i, size, false, &la)) || (r = soft_read_bytes(c, la, image, size)))
        return r;
    memcpy(&limit, image, 2);
    memcpy(&base, image + 2, 8);
    if (!c->code64 && i->osize == 2)
        base &= 0xffffff;
    if (!x86_canonical(base))
        return soft_gp0(c);
    *t = (struct table_state){ .base = base, .limit = limit };
    return SOFT_NEXT;
}

static int store_table(struct soft_cpu *c, const struct insn *i, const struct table_state *t)
{
    unsigned size = c->code64 ? 10 : 6;
    uint8_t image[10];
    uint64_t la;
    int r;

    if (umip(c))
        return soft_gp0(c);
    memcpy(image, &t->limit, 2);
    memcpy(image + 2, &t->base, 8);
    r = insn_linear(c, i, size, true, &la);
    return r ? r : soft_write_bytes(c, la, image, size);
}

int op_lgdt(struct soft_cpu *c, const struct insn *i)
{
    return load_table(c, i, &c->s.gdtr);
}

int op_lidt(struct soft_cpu *c, const struct insn *i)
{
    return load_table(c, i, &c->s.idtr);
}

int op_sgdt(struct soft_cpu *c, const struct insn *i)
{
    return store_table(c, i, &c->s.gdtr);
}

int op_sidt(struct soft_cpu *c, const struct insn *i)
{
    return store_table(c, i, &c->s.idtr);
}

/* ---- bases of FS and GS (SDM 2B RDFSBASE, SWAPGS) ------------------------------------- */

int op_swapgs(struct soft_cpu *c, const struct insn *i)
{
    uint64_t base = c->s.seg[SEG_GS].base;

    (void)i;
    if (unlikely(c->cpl))
        return soft_gp0(c);
    c->s.seg[SEG_GS].base = c->s.kernel_gs_base;
    c->s.kernel_gs_base = base;
    return SOFT_NEXT;
}

/* A 66 prefix changes nothing: 32 bits without REX.W. */
static unsigned base_size(const struct insn *i)
{
    return i->osize == 8 ? 8 : 4;
}

static int read_base(struct soft_cpu *c, const struct insn *i, unsigned seg)
{
    if (unlikely(!(c->s.cr4 & CR4_FSGSBASE)))
        return soft_ud(c);
    gpr_set(c, i->rm, base_size(i), c->s.seg[seg].base);
    return SOFT_NEXT;
}

static int write_base(struct soft_cpu *c, const struct insn *i, unsigned seg)
{
    uint64_t base = gpr_get(c, i->rm, base_size(i));

    if (unlikely(!(c->s.cr4 & CR4_FSGSBASE)))
        return soft_ud(c);
    if (unlikely(!x86_canonical(base)))
        return soft_gp0(c);
    c->s.seg[seg].base = base;
    return SOFT_NEXT;
}

int op_rdfsbase(struct soft_cpu *c, const struct insn *i)
{
    return read_base(c, i, SEG_FS);
}

int op_rdgsbase(struct soft_cpu *c, const struct insn *i)
{
    return read_base(c, i, SEG_GS);
}

int op_wrfsbase(struct soft_cpu *c, const struct insn *i)
{
    return write_base(c, i, SEG_FS);
}

int op_wrgsbase(struct soft_cpu *c, const struct insn *i)
{
    return write_base(c, i, SEG_GS);
}
