/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Stacks: the present one, and those that a transfer is about to make the
 * present one (SDM 3A 5.8.5, 6.12.1, 6.14.2).
 */
#include "engine/soft/seg.h"

int soft_push(struct soft_cpu *c, unsigned size, uint64_t v)
{
    uint64_t sp = (c->gpr[CPU_RSP] - size) & c->ss_mask, la;
    int r = soft_linear(c, SEG_SS, sp, size, true, &la);
    void *p;

    if (unlikely(r))
        return r;
    p = size == 8 ? tlb_write_ptr(c, la, 8) : NULL;
    if (likely(p))
        *(volatile uint64_t *)p = v;
    else if ((r = soft_write(c, la, size, v)))
        return r;
    soft_set_sp(c, sp);
    return 0;
}

int soft_peek(struct soft_cpu *c, unsigned off, unsigned size, uint64_t *v)
{
    uint64_t la;
    int r = soft_linear(c, SEG_SS, (c->gpr[CPU_RSP] + off) & c->ss_mask, size, false, &la);

    return r ? r : soft_read(c, la, size, v);
}

int soft_pop(struct soft_cpu *c, unsigned size, uint64_t *v)
{
    uint64_t la;
    int r = soft_linear(c, SEG_SS, c->gpr[CPU_RSP] & c->ss_mask, size, false, &la);
    const void *p;

    if (unlikely(r))
        return r;
    p = size == 8 ? tlb_read_ptr(c, la, 8) : NULL;
    if (likely(p))
        *v = *(const volatile uint64_t *)p;
    else if ((r = soft_read(c, la, size, v)))
        return r;
    soft_set_sp(c, c->gpr[CPU_RSP] + size);
    return 0;
}

struct stack stack_present(struct soft_cpu *c)
{
    return (struct stack){ .ss = c->code64 ? NULL : &c->s.seg[SEG_SS],
                           .sp = c->gpr[CPU_RSP] & c->ss_mask,
                           .mask = c->ss_mask };
}

static int stack_la(struct soft_cpu *c, const struct stack *st, unsigned size, bool write,
                    uint64_t *la)
{
    if (st->ss)
        return seg_linear(c, st->ss, SEG_SS, st->error, st->sp, size, write, la);
    if (unlikely(!x86_canonical(st->sp) || !x86_canonical(st->sp + size - 1)))
        return soft_raise_err(c, VEC_SS, st->error);
    *la = st->sp;
    return 0;
}

int stack_push(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t v)
{
    uint64_t la;
    int r;

    st->sp = (st->sp - size) & st->mask;
    r = stack_la(c, st, size, true, &la);
    if (unlikely(r))
        return r;
    return st->sys ? soft_sys_write(c, la, size, v) : soft_write(c, la, size, v);
}

int stack_peek(struct soft_cpu *c, const struct stack *st, unsigned off, unsigned size, uint64_t *v)
{
    struct stack at = *st;

    at.sp = (at.sp + off) & at.mask;
    return stack_pop(c, &at, size, v);
}

int stack_pop(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t *v)
{
    uint64_t la;
    int r = stack_la(c, st, size, false, &la);

    if (unlikely(r))
        return r;
    st->sp = (st->sp + size) & st->mask;
    return st->sys ? soft_sys_read(c, la, size, v) : soft_read(c, la, size, v);
}

void stack_commit(struct soft_cpu *c, const struct stack *st)
{
    if (st->mask == 0xffff)
        *gpr16(c, CPU_RSP * 8) = (uint16_t)st->sp;
    else
        c->gpr[CPU_RSP] = st->sp & st->mask;
}

/* SDM 3A 5.8.5 steps 1 to 4; errors are #TS (SDM 3A 6.15 vector 10). */
int stack_inner(struct soft_cpu *c, unsigned cpl, struct seg_state *ss, struct stack *st)
{
    const struct seg_state *tr = &c->s.seg[SEG_TR];
    bool wide = (tr->attr & SEG_ATTR_TYPE & ~TSS_BUSY) == DESC_TSS32;
    unsigned size = wide ? 4 : 2, off = size + cpl * 2 * size;
    uint64_t sp, sel;
    int r;

    if (off + (wide ? 5 : 3) > tr->limit)
        return soft_raise_err(c, VEC_TS, tr->selector & 0xfffc);
    r = soft_sys_read(c, (uint32_t)(tr->base + off), size, &sp);
    if (!r)
        r = soft_sys_read(c, (uint32_t)(tr->base + off + size), 2, &sel);
    if (!r)
        r = seg_check_stack(c, (uint16_t)sel, cpl, VEC_TS, ss);
    if (r)
        return r;
    *st = (struct stack){ .ss = ss,
                          .sp = sp & stack_mask(ss),
                          .mask = stack_mask(ss),
                          .sys = true,
                          .error = sel & 0xfffc };
    return 0;
}

/* SDM 3A 6.14.2, 6.14.5, figure 7-11. */
int stack_inner64(struct soft_cpu *c, unsigned cpl, unsigned ist, struct stack *st)
{
    const struct seg_state *tr = &c->s.seg[SEG_TR];
    unsigned off = ist ? 0x24 + (ist - 1) * 8 : 4 + cpl * 8;
    int r;

    if (unlikely(off + 7 > tr->limit))
        return soft_raise_err(c, VEC_TS, tr->selector & 0xfffc);
    *st = (struct stack){ .mask = ~0ULL, .sys = true };
    r = soft_sys_read(c, tr->base + off, 8, &st->sp);
    if (unlikely(!r && !x86_canonical(st->sp)))
        return soft_raise_err(c, VEC_SS, 0);
    return r;
}
