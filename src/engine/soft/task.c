/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Task switches (SDM 3A 7.3), outside long mode.
 *
 * What can fault in the old task (reading the new TSS, writing the old one)
 * comes first.  Then the registers change, and the segments are loaded and
 * checked in the new task: a fault there is the new task's, with its rip.
 */
#include "engine/soft/seg.h"

#define DR6_BT BIT(15)

/* Offsets in a TSS (figures 7-2 and 7-10). */
struct tss_format {
    uint8_t word; /* bytes of a register */
    uint8_t ip, flags, gpr, segs, nsegs, seg_step, ldt;
    uint32_t limit; /* least */
};
static const struct tss_format tss16 = { .word = 2,
                                         .ip = 0x0e,
                                         .flags = 0x10,
                                         .gpr = 0x12,
                                         .segs = 0x22,
                                         .nsegs = 4,
                                         .seg_step = 2,
                                         .ldt = 0x2a,
                                         .limit = 0x2b };
static const struct tss_format tss32 = { .word = 4,
                                         .ip = 0x20,
                                         .flags = 0x24,
                                         .gpr = 0x28,
                                         .segs = 0x48,
                                         .nsegs = 6,
                                         .seg_step = 4,
                                         .ldt = 0x60,
                                         .limit = 0x67 };
#define TSS32_CR3  0x1c
#define TSS32_TRAP 0x64

static const struct tss_format *format_of(unsigned type)
{
    return type & 8 ? &tss32 : &tss16;
}

struct task {
    uint64_t ip, flags, gpr[8], seg[6], ldt, cr3, trap;
};

static int tss_read(struct soft_cpu *c, const struct tss_format *f, uint32_t base, struct task *t)
{
    int r;

    *t = (struct task){ .cr3 = c->s.cr3 };
    if ((r = soft_sys_read(c, base + f->ip, f->word, &t->ip)) ||
        (r = soft_sys_read(c, base + f->flags, f->word, &t->flags)) ||
        (r = soft_sys_read(c, base + f->ldt, 2, &t->ldt)))
        return r;
    for (unsigned n = 0; n < 8; n++)
        if ((r = soft_sys_read(c, base + f->gpr + n * f->word, f->word, &t->gpr[n])))
            return r;
    for (unsigned n = 0; n < f->nsegs; n++)
        if ((r = soft_sys_read(c, base + f->segs + n * f->seg_step, 2, &t->seg[n])))
            return r;
    if (f == &tss32) {
        r = soft_sys_read(c, base + TSS32_TRAP, 2, &t->trap);
        if (!r && (c->s.cr0 & CR0_PG))
            r = soft_sys_read(c, base + TSS32_CR3, 4, &t->cr3);
    }
    return r;
}

/* The dynamic fields of the task that is left. */
static int tss_write(struct soft_cpu *c, const struct tss_format *f, uint32_t base, uint64_t rip,
                     uint64_t flags)
{
    int r;

    if ((r = soft_sys_write(c, base + f->ip, f->word, rip)) ||
        (r = soft_sys_write(c, base + f->flags, f->word, flags)))
        return r;
    for (unsigned n = 0; n < 8; n++)
        if ((r = soft_sys_write(c, base + f->gpr + n * f->word, f->word, c->gpr[n])))
            return r;
    for (unsigned n = 0; n < f->nsegs; n++)
        if ((r = soft_sys_write(c, base + f->segs + n * f->seg_step, 2, c->s.seg[n].selector)))
            return r;
    return 0;
}

/* ---- in the new task -------------------------------------------------------- */

static int load_ldt(struct soft_cpu *c, uint16_t selector)
{
    uint32_t error = selector & 0xfffc;
    struct desc d;
    int r;

    if (selector_null(selector))
        return 0;
    if (selector & 4)
        return soft_raise_err(c, VEC_TS, error);
    r = desc_read(c, selector, VEC_TS, &d);
    if (r)
        return r;
    if (desc_s(d.raw) || desc_type(d.raw) != DESC_LDT || !desc_present(d.raw))
        return soft_raise_err(c, VEC_TS, error);
    desc_to_seg(d.raw, selector, &c->s.seg[SEG_LDTR]);
    return 0;
}

static int load_cs(struct soft_cpu *c, uint16_t selector)
{
    uint32_t error = selector & 0xfffc;
    struct desc d;
    int r;

    if (selector_null(selector))
        return soft_raise_err(c, VEC_TS, 0);
    r = desc_read(c, selector, VEC_TS, &d);
    if (r)
        return r;
    if (!desc_is_code(d.raw) ||
        (desc_conforming(d.raw) ? desc_dpl(d.raw) > c->cpl : desc_dpl(d.raw) != c->cpl))
        return soft_raise_err(c, VEC_TS, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, error);
    r = desc_set_accessed(c, &d);
    if (r)
        return r;
    code_set(c, d.raw, selector, c->cpl);
    soft_mode_changed(c);
    return 0;
}

/* Table 7-1: the checks and their exceptions. */
static int load_segments(struct soft_cpu *c, const struct task *t)
{
    static const uint8_t data[] = { SEG_DS, SEG_ES, SEG_FS, SEG_GS };
    int r = load_ldt(c, (uint16_t)t->ldt);

    if (r || soft_v86(c))
        return r;
    r = load_cs(c, (uint16_t)t->seg[SEG_CS]);
    if (!r)
        r = seg_check_stack(c, (uint16_t)t->seg[SEG_SS], c->cpl, VEC_TS, &c->s.seg[SEG_SS]);
    for (unsigned n = 0; n < ARRAY_SIZE(data) && !r; n++)
        r = seg_check_data(c, (uint16_t)t->seg[data[n]], VEC_TS, &c->s.seg[data[n]]);
    soft_mode_changed(c);
    return r;
}

/* All registers become the new task's; segments have their selectors only,
 * but in virtual-8086 mode. */
static void commit(struct soft_cpu *c, const struct tss_format *f, const struct task *t)
{
    if (f == &tss32 && (c->s.cr0 & CR0_PG)) {
        c->s.cr3 = t->cr3;
        soft_switch_space(c, false);
    }
    c->s.cr0 |= CR0_TS;
    c->s.dr7 &= ~0x155ULL; /* L0 to L3 and LE are a task's own (3B 17.2.4) */
    for (unsigned n = 0; n < 8; n++)
        c->gpr[n] = t->gpr[n];
    soft_rip(c) = t->ip;
    soft_set_rflags(c, t->flags);
    c->cpl = soft_v86(c) ? 3 : t->seg[SEG_CS] & 3;
    seg_set_null(&c->s.seg[SEG_LDTR], (uint16_t)t->ldt, 0);
    for (unsigned n = SEG_ES; n <= SEG_GS; n++) {
        if (soft_v86(c))
            seg_load_v86(c, n, (uint16_t)t->seg[n]);
        else if (n == SEG_CS) /* there is always a CS; its hidden part follows */
            c->s.seg[n].selector = (uint16_t)t->seg[n];
        else
            seg_set_null(&c->s.seg[n], (uint16_t)t->seg[n], c->cpl);
    }
    soft_mode_changed(c);
}

int task_switch(struct soft_cpu *c, enum task_source source, struct desc *d, uint64_t next_rip)
{
    struct seg_state old = c->s.seg[SEG_TR], new;
    const struct tss_format *from = format_of(old.attr & SEG_ATTR_TYPE);
    const struct tss_format *to = format_of(desc_type(d->raw));
    uint64_t flags = soft_get_rflags(c);
    struct task t;
    int r;

    desc_to_seg(d->raw, d->selector, &new);
    if (new.limit < to->limit)
        return soft_raise_err(c, VEC_TS, d->selector & 0xfffc);
    if (source == TASK_IRET)
        flags &= ~(uint64_t)X86_NT;
    if ((r = tss_read(c, to, (uint32_t) new.base, &t)) ||
        (r = tss_write(c, from, (uint32_t)old.base, next_rip, flags)))
        return r;
    if (source == TASK_CALL) {
        if ((r = soft_sys_write(c, (uint32_t) new.base, 2, old.selector)))
            return r;
        t.flags |= X86_NT;
    } else if ((r = desc_clear_busy(c, old.selector))) {
        return r;
    }
    if (source != TASK_IRET && (r = desc_set_type(c, d, TSS_BUSY)))
        return r;
    new.attr |= TSS_BUSY;
    c->s.seg[SEG_TR] = new;
    commit(c, to, &t);
    r = load_segments(c, &t);
    if (r)
        return r;
    if (t.ip > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    if (t.trap & 1)
        c->db_pending |= DR6_BT;
    return 0;
}

int task_gate(struct soft_cpu *c, enum task_source source, uint16_t tss, uint64_t next_rip)
{
    uint32_t error = tss & 0xfffc;
    struct desc d;
    int r;

    if (tss & 4)
        return soft_raise_err(c, VEC_GP, error);
    r = desc_read(c, tss, VEC_GP, &d);
    if (r)
        return r;
    if (desc_s(d.raw) || (desc_type(d.raw) != DESC_TSS16 && desc_type(d.raw) != DESC_TSS32))
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, error);
    return task_switch(c, source, &d, next_rip);
}
