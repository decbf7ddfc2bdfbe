/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * INT n, INT1, INT3, INTO and IRET (SDM 2A).
 */
#include "engine/soft/seg.h"
#include "engine/soft/sysop.h"

static uint64_t next_rip(const struct soft_cpu *c, const struct insn *i)
{
    return (c->gpr[16] + i->len) & c->rip_mask;
}

int op_int(struct soft_cpu *c, const struct insn *i)
{
    return soft_interrupt(c, (uint8_t)i->imm, INT_SOFT, next_rip(c, i));
}

/* An exception-like #DB without a bit in DR6, and without a check of the
 * gate's DPL. */
int op_int1(struct soft_cpu *c, const struct insn *i)
{
    return soft_interrupt(c, VEC_DB, INT_1, next_rip(c, i));
}

int op_int3(struct soft_cpu *c, const struct insn *i)
{
    return soft_interrupt(c, VEC_BP, INT_BP_OF, next_rip(c, i));
}

int op_into(struct soft_cpu *c, const struct insn *i)
{
    if (!(soft_arith_flags(c) & X86_OF))
        return SOFT_NEXT;
    return soft_interrupt(c, VEC_OF, INT_BP_OF, next_rip(c, i));
}

/* ---- IRET ---------------------------------------------------------------------- */

struct iret {
    uint64_t rip, cs, flags, sp, ss;
    struct stack st;
    struct desc code;
    unsigned size;
};

/* Which flags the image may change (SDM 2A IRET: by operand size, CPL and IOPL
 * before the return). */
static uint64_t flags_mask(const struct soft_cpu *c, unsigned size)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_TF | X86_DF | X86_NT;

    if (size > 2)
        mask |= X86_RF | X86_AC | X86_ID;
    if (c->cpl <= soft_iopl(c))
        mask |= X86_IF;
    if (c->cpl == 0)
        mask |= X86_IOPL | (size > 2 ? X86_VIF | X86_VIP : 0);
    return mask;
}

static void set_flags(struct soft_cpu *c, uint64_t image, uint64_t mask)
{
    soft_set_rflags(c, (soft_get_rflags(c) & ~mask) | (image & mask));
}

/* NMIs are open again (3A 6.7.1). */
static void unblock_nmi(struct soft_cpu *c)
{
    if (unlikely(c->s.shadows & SHADOW_NMI)) {
        c->s.shadows &= (uint8_t)~SHADOW_NMI;
        soft_attention(c, ATT_EVENT);
    }
}

static int iret_real(struct soft_cpu *c, struct iret *t)
{
    uint64_t mask = flags_mask(c, t->size) & ~(uint64_t)(X86_VIF | X86_VIP);

    if (t->rip > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    stack_commit(c, &t->st);
    if (soft_v86(c))
        seg_load_v86(c, SEG_CS, (uint16_t)t->cs);
    else
        seg_load_real(c, SEG_CS, (uint16_t)t->cs);
    soft_rip(c) = t->rip;
    set_flags(c, t->flags, mask);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* Virtual-8086 mode with IOPL < 3 and CR4.VME, 16 bits: IF is VIF (3B 20.3.3). */
static int iret_vme(struct soft_cpu *c, struct iret *t)
{
    uint64_t mask = X86_FLAGS_ARITH | X86_DF | X86_NT | X86_TF | X86_VIF;

    if ((t->flags & X86_TF) || ((t->flags & X86_IF) && (c->rflags & X86_VIP)))
        return soft_gp0(c);
    if (t->rip > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    stack_commit(c, &t->st);
    seg_load_v86(c, SEG_CS, (uint16_t)t->cs);
    soft_rip(c) = t->rip;
    set_flags(c, t->flags | (t->flags & X86_IF ? X86_VIF : 0), mask);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* RETURN-TO-VIRTUAL-8086-MODE: CPL 0, 32 bits, VM set in the image. */
static int iret_to_v86(struct soft_cpu *c, struct iret *t)
{
    static const uint8_t order[] = { SEG_ES, SEG_DS, SEG_FS, SEG_GS };
    uint64_t sel[ARRAY_SIZE(order)];
    int r;

    if ((r = stack_pop(c, &t->st, 4, &t->sp)) || (r = stack_pop(c, &t->st, 4, &t->ss)))
        return r;
    for (unsigned n = 0; n < ARRAY_SIZE(order); n++)
        if ((r = stack_pop(c, &t->st, 4, &sel[n])))
            return r;
    if (t->rip > 0xffff)
        return soft_gp0(c);
    for (unsigned n = 0; n < ARRAY_SIZE(order); n++)
        seg_load_v86(c, order[n], (uint16_t)sel[n]);
    seg_load_v86(c, SEG_CS, (uint16_t)t->cs);
    seg_load_v86(c, SEG_SS, (uint16_t)t->ss);
    soft_rip(c) = t->rip;
    c->gpr[CPU_RSP] = (uint32_t)t->sp;
    c->cpl = 3;
    soft_set_rflags(c, t->flags);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* TASK-RETURN: NT is set; the back link names the task. */
static int iret_task(struct soft_cpu *c, uint64_t next)
{
    const struct seg_state *tr = &c->s.seg[SEG_TR];
    uint64_t link;
    uint32_t error;
    struct desc d;
    int r = soft_sys_read(c, (uint32_t)tr->base, 2, &link);

    if (r)
        return r;
    error = link & 0xfffc;
    if (selector_null((uint16_t)link) || (link & 4))
        return soft_raise_err(c, VEC_TS, error);
    r = desc_read(c, (uint16_t)link, VEC_TS, &d);
    if (r)
        return r;
    if (desc_s(d.raw) ||
        (desc_type(d.raw) != DESC_TSS16_BUSY && desc_type(d.raw) != DESC_TSS32_BUSY))
        return soft_raise_err(c, VEC_TS, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, error);
    r = task_switch(c, TASK_IRET, &d, next);
    return r ? r : SOFT_JUMP;
}

/* AMD reads SS before SP, and the flags before all: it shows in CR2. */
static int pop_stack(struct soft_cpu *c, struct iret *t)
{
    int r = c->vm->model->amd ? stack_peek(c, &t->st, t->size, t->size, &t->ss) : 0;

    if (r || (r = stack_pop(c, &t->st, t->size, &t->sp)))
        return r;
    return stack_pop(c, &t->st, t->size, &t->ss);
}

static int check_ss(struct soft_cpu *c, const struct iret *t, unsigned cpl, struct seg_state *ss)
{
    bool to64 = soft_lma(c) && desc_long(t->code.raw);

    if (selector_null((uint16_t)t->ss) && to64 && cpl != 3 && (t->ss & 3) == cpl) {
        seg_set_null(ss, (uint16_t)t->ss, cpl);
        return 0;
    }
    return seg_check_stack(c, (uint16_t)t->ss, cpl, VEC_GP, ss);
}

/* RETURN-TO-SAME-PRIVILEGE-LEVEL, RETURN-TO-OUTER-PRIVILEGE-LEVEL and, from
 * 64-bit code, always with SS:RSP. */
static int iret_protected(struct soft_cpu *c, struct iret *t)
{
    uint64_t mask = flags_mask(c, t->size);
    unsigned cpl = t->cs & 3;
    bool outer = cpl > c->cpl, with_stack = outer || c->code64;
    struct seg_state ss;
    /* AMD reads the outer stack before it looks at CS, as in 64-bit mode. */
    bool early = c->code64 || (c->vm->model->amd && cpl != c->cpl);
    int r;

    if (early && (r = pop_stack(c, t)))
        return r;
    r = seg_check_return(c, (uint16_t)t->cs, &t->code);
    if (unlikely(r))
        return r;
    if ((outer && !early && (r = pop_stack(c, t))) ||
        (with_stack && (r = check_ss(c, t, cpl, &ss))))
        return r;
    if ((r = code_check_target(c, t->code.raw, t->rip)) || (r = desc_set_accessed(c, &t->code)))
        return r;
    soft_rip(c) = t->rip;
    code_set(c, t->code.raw, t->code.selector, cpl);
    if (with_stack)
        c->s.seg[SEG_SS] = ss;
    else
        stack_commit(c, &t->st);
    set_flags(c, t->flags, mask);
    soft_mode_changed(c);
    if (with_stack)
        soft_set_sp(c, t->sp);
    if (outer)
        seg_drop_privileged(c);
    unblock_nmi(c);
    return SOFT_JUMP;
}

int op_iret(struct soft_cpu *c, const struct insn *i)
{
    struct iret t = { .st = stack_present(c), .size = i->osize };
    int r;

    if (unlikely((c->rflags & X86_NT) && soft_prot(c)))
        return soft_lma(c) ? soft_gp0(c) : iret_task(c, next_rip(c, i));
    if (unlikely(soft_v86(c)) && soft_iopl(c) < 3 && (!(c->s.cr4 & CR4_VME) || t.size != 2))
        return soft_gp0(c);
    if (c->vm->model->amd && (r = stack_peek(c, &t.st, 2 * t.size, t.size, &t.flags)))
        return r;
    if ((r = stack_pop(c, &t.st, t.size, &t.rip)) || (r = stack_pop(c, &t.st, t.size, &t.cs)) ||
        (r = stack_pop(c, &t.st, t.size, &t.flags)))
        return r;
    if (likely(soft_prot(c))) {
        if (unlikely((t.flags & X86_VM) && t.size == 4 && !c->cpl && !soft_lma(c)))
            r = iret_to_v86(c, &t);
        else
            return iret_protected(c, &t);
    } else if (soft_v86(c) && soft_iopl(c) < 3) {
        r = iret_vme(c, &t);
    } else {
        r = iret_real(c, &t);
    }
    if (r == SOFT_JUMP)
        unblock_nmi(c);
    return r;
}
