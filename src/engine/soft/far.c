/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Far CALL, JMP and RET (SDM 2A CALL and JMP, 2B RET; 3A 5.8).  As in all
 * transfers, registers change only when nothing can fault any more.
 */
#include "engine/soft/seg.h"
#include "engine/soft/sysop.h"

struct transfer {
    uint16_t selector;
    uint64_t offset;
    unsigned size; /* of a push: 2, 4, 8 */
    bool call;
    bool gate;     /* through a call gate */
    uint64_t next; /* where a call returns to */
};

static int push_return(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t next)
{
    int r = stack_push(c, st, size, c->s.seg[SEG_CS].selector);

    return r ? r : stack_push(c, st, size, next);
}

/* Real and virtual-8086 mode. */
static int transfer_real(struct soft_cpu *c, const struct transfer *t)
{
    struct stack st = stack_present(c);
    int r;

    if (t->call && (r = push_return(c, &st, t->size, t->next)))
        return r;
    if (t->offset > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    if (t->call)
        stack_commit(c, &st);
    if (soft_v86(c))
        seg_load_v86(c, SEG_CS, t->selector);
    else
        seg_load_real(c, SEG_CS, t->selector);
    seg_changed(c, SEG_CS);
    soft_rip(c) = t->offset;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* The present stack as the code segment of descriptor raw sees it: through a
 * call gate, and on AMD always, CS is loaded before the pushes (APM 3 CALL). */
static struct stack stack_after(struct soft_cpu *c, uint64_t raw)
{
    const struct seg_state *ss = &c->s.seg[SEG_SS];
    struct stack st = stack_present(c);

    if (soft_lma(c) && desc_long(raw) == !c->code64) {
        st.ss = c->code64 ? ss : NULL;
        st.mask = c->code64 ? stack_mask(ss) : ~0ULL;
        st.sp = c->gpr[CPU_RSP] & st.mask;
    }
    return st;
}

/* To a code segment of the same privilege, named directly or by a gate. */
static int transfer_same(struct soft_cpu *c, const struct transfer *t, struct desc *d,
                         uint64_t offset)
{
    struct stack st = t->gate || c->vm->model->amd ? stack_after(c, d->raw) : stack_present(c);
    int r = desc_set_accessed(c, d);

    /* #SS and #PF of the pushes come before #GP of the target (SDM 2A CALL). */
    if (!r && t->call)
        r = push_return(c, &st, t->size, t->next);
    if (!r)
        r = code_check_target(c, d->raw, offset);
    if (r)
        return r;
    if (t->call)
        stack_commit(c, &st);
    code_set(c, d->raw, d->selector, c->cpl);
    soft_rip(c) = offset;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

static int transfer_code(struct soft_cpu *c, const struct transfer *t, struct desc *d)
{
    uint32_t error = t->selector & 0xfffc;
    unsigned dpl = desc_dpl(d->raw);

    if (!desc_is_code(d->raw))
        return soft_raise_err(c, VEC_GP, error);
    if (soft_lma(c) && desc_long(d->raw) && desc_big(d->raw))
        return soft_raise_err(c, VEC_GP, error);
    if (desc_conforming(d->raw) ? dpl > c->cpl : (t->selector & 3) > c->cpl || dpl != c->cpl)
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(d->raw))
        return soft_raise_err(c, VEC_NP, error);
    /* m16:64 to a segment that is not of 64 bits: Intel's CPUs drop the upper half. */
    return transfer_same(c, t, d, desc_long(d->raw) || c->vm->model->amd ? t->offset : (uint32_t)t->offset);
}

/* ---- call gates (3A 5.8.4, 5.8.5) ------------------------------------------- */

/* Parameters lie on the old stack above its pointer. */
static int copy_parameters(struct soft_cpu *c, struct stack *to, unsigned n, unsigned size)
{
    struct stack from = stack_present(c);
    uint64_t args[31];
    int r = 0;

    for (unsigned k = 0; !r && k < n; k++)
        r = stack_pop(c, &from, size, &args[k]);
    while (!r && n--)
        r = stack_push(c, to, size, args[n]);
    return r;
}

static int gate_inner(struct soft_cpu *c, const struct transfer *t, const struct desc *gate,
                      struct desc *d, uint64_t offset)
{
    bool lma = soft_lma(c);
    unsigned cpl = desc_dpl(d->raw), n = (unsigned)(gate->raw >> 32) & 31;
    struct seg_state ss;
    struct stack st;
    int r = lma ? stack_inner64(c, cpl, 0, &st) : stack_inner(c, cpl, &ss, &st);

    if (lma)
        seg_set_null(&ss, (uint16_t)cpl, cpl);
    if (!r)
        r = code_check_target(c, d->raw, offset);
    if (!r)
        r = desc_set_accessed(c, d);
    if (!r)
        r = stack_push(c, &st, t->size, c->s.seg[SEG_SS].selector);
    if (!r)
        r = stack_push(c, &st, t->size, c->gpr[CPU_RSP]);
    if (!r && !lma)
        r = copy_parameters(c, &st, n, t->size);
    if (!r)
        r = push_return(c, &st, t->size, t->next);
    if (r)
        return r;
    c->s.seg[SEG_SS] = ss;
    stack_commit(c, &st);
    code_set(c, d->raw, d->selector, cpl);
    soft_rip(c) = offset;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

static int transfer_gate(struct soft_cpu *c, struct transfer *t, const struct desc *gate)
{
    uint16_t selector = gate_selector(gate->raw);
    uint64_t offset = gate_offset(gate->raw);
    uint32_t high = 0, error = selector & 0xfffc;
    struct desc d;
    bool inner;
    int r = soft_lma(c) ? desc_read_upper(c, gate, VEC_GP, &high) : 0;

    if (r)
        return r;
    if (selector_null(selector))
        return soft_gp0(c);
    r = desc_read(c, selector, VEC_GP, &d);
    if (r)
        return r;
    if (!desc_is_code(d.raw) || desc_dpl(d.raw) > c->cpl)
        return soft_raise_err(c, VEC_GP, error);
    if (!t->call && !desc_conforming(d.raw) && desc_dpl(d.raw) != c->cpl)
        return soft_raise_err(c, VEC_GP, error);
    if (soft_lma(c) && (!desc_long(d.raw) || desc_big(d.raw)))
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(d.raw))
        return soft_raise_err(c, VEC_NP, error);
    t->gate = true;
    t->size = soft_lma(c) ? 8 : desc_type(gate->raw) == DESC_CALL32 ? 4 : 2;
    offset = t->size == 2 ? offset & 0xffff : offset | (uint64_t)high << 32;
    inner = t->call && !desc_conforming(d.raw) && desc_dpl(d.raw) < c->cpl;
    return inner ? gate_inner(c, t, gate, &d, offset) : transfer_same(c, t, &d, offset);
}

static int transfer_system(struct soft_cpu *c, struct transfer *t, struct desc *d)
{
    enum task_source source = t->call ? TASK_CALL : TASK_JMP;
    uint32_t error = t->selector & 0xfffc;
    unsigned type = desc_type(d->raw), dpl = desc_dpl(d->raw);
    bool lma = soft_lma(c), tss = type == DESC_TSS16 || type == DESC_TSS32;
    int r;

    if (type != DESC_CALL32 && (lma || (!tss && type != DESC_CALL16 && type != DESC_TASK_GATE)))
        return soft_raise_err(c, VEC_GP, error);
    if (dpl < c->cpl || dpl < (t->selector & 3) || (tss && (t->selector & 4)))
        return soft_raise_err(c, VEC_GP, error);
    if (!desc_present(d->raw))
        return soft_raise_err(c, VEC_NP, error);
    if (type == DESC_CALL16 || type == DESC_CALL32)
        return transfer_gate(c, t, d);
    r = tss ? task_switch(c, source, d, t->next)
            : task_gate(c, source, gate_selector(d->raw), t->next);
    return r ? r : SOFT_JUMP;
}

static int transfer(struct soft_cpu *c, struct transfer *t)
{
    struct desc d;
    int r;

    if (t->size == 2) {
        t->offset &= 0xffff;
        t->next &= 0xffff;
    }
    if (!soft_prot(c))
        return transfer_real(c, t);
    if (selector_null(t->selector))
        return soft_gp0(c);
    r = desc_read(c, t->selector, VEC_GP, &d);
    if (r)
        return r;
    return desc_s(d.raw) ? transfer_code(c, t, &d) : transfer_system(c, t, &d);
}

static int transfer_imm(struct soft_cpu *c, const struct insn *i, bool call)
{
    struct transfer t = { .selector = (uint16_t)(i->imm >> 32),
                          .offset = (uint32_t)i->imm,
                          .size = i->osize,
                          .call = call,
                          .next = (soft_rip(c) + i->len) & c->rip_mask };

    return transfer(c, &t);
}

/* m16:16, m16:32, m16:64; AMD has no m16:64, but pushes by operand size. */
static int transfer_mem(struct soft_cpu *c, const struct insn *i, bool call)
{
    unsigned size = i->osize == 8 && c->vm->model->amd ? 4 : i->osize;
    struct transfer t = { .size = i->osize,
                          .call = call,
                          .next = (soft_rip(c) + i->len) & c->rip_mask };
    uint64_t la, sel;
    int r = insn_linear(c, i, size + 2, false, &la);

    if (!r)
        r = soft_read(c, la, size, &t.offset);
    if (!r)
        r = soft_read(c, soft_lma(c) ? la + size : (uint32_t)(la + size), 2, &sel);
    if (r)
        return r;
    t.selector = (uint16_t)sel;
    return transfer(c, &t);
}

int op_call_far(struct soft_cpu *c, const struct insn *i)
{
    return transfer_imm(c, i, true);
}

int op_jmp_far(struct soft_cpu *c, const struct insn *i)
{
    return transfer_imm(c, i, false);
}

int op_call_far_mem(struct soft_cpu *c, const struct insn *i)
{
    return transfer_mem(c, i, true);
}

int op_jmp_far_mem(struct soft_cpu *c, const struct insn *i)
{
    return transfer_mem(c, i, false);
}

/* ---- RET far ------------------------------------------------------------------- */

static int ret_real(struct soft_cpu *c, struct stack *st, uint64_t rip, uint16_t selector,
                    uint64_t imm)
{
    if (rip > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    st->sp += imm;
    stack_commit(c, st);
    if (soft_v86(c))
        seg_load_v86(c, SEG_CS, selector);
    else
        seg_load_real(c, SEG_CS, selector);
    soft_rip(c) = rip;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

struct far_ret {
    uint64_t rip, cs, sp, ss;
    struct stack st; /* above what was popped */
    unsigned size;
    uint64_t imm;
};

static int pop_outer_stack(struct soft_cpu *c, struct far_ret *t)
{
    int r;

    t->st.sp = (t->st.sp + t->imm) & t->st.mask;
    if (c->vm->model->amd && (r = stack_peek(c, &t->st, t->size, t->size, &t->ss)))
        return r;
    r = stack_pop(c, &t->st, t->size, &t->sp);
    return r ? r : stack_pop(c, &t->st, t->size, &t->ss);
}

/* RETURN-TO-OUTER-PRIVILEGE-LEVEL */
static int ret_outer(struct soft_cpu *c, struct far_ret *t, struct desc *d)
{
    unsigned cpl = t->cs & 3;
    uint16_t sel = (uint16_t)t->ss;
    struct seg_state ss;
    int r;

    if (selector_null(sel) && soft_lma(c) && desc_long(d->raw) && cpl != 3 && (sel & 3) == cpl)
        seg_set_null(&ss, sel, cpl);
    else if ((r = seg_check_stack(c, sel, cpl, VEC_GP, &ss)))
        return r;
    if ((r = code_check_target(c, d->raw, t->rip)) || (r = desc_set_accessed(c, d)))
        return r;
    code_set(c, d->raw, d->selector, cpl);
    c->s.seg[SEG_SS] = ss;
    soft_rip(c) = t->rip;
    soft_mode_changed(c);
    soft_set_sp(c, t->sp + t->imm);
    seg_drop_privileged(c);
    return SOFT_JUMP;
}

/* AMD reads CS first, and the outer stack before it looks at CS (APM 3 RETF);
 * Intel checks CS first (SDM 2B RET). */
static int ret_protected(struct soft_cpu *c, struct far_ret *t)
{
    bool amd = c->vm->model->amd;
    unsigned rpl = t->cs & 3;
    struct desc d;
    int r;

    if (amd && rpl != c->cpl && (r = pop_outer_stack(c, t)))
        return r;
    r = seg_check_return(c, (uint16_t)t->cs, &d);
    if (!r && !amd && rpl != c->cpl)
        r = pop_outer_stack(c, t);
    if (r)
        return r;
    if (rpl != c->cpl)
        return ret_outer(c, t, &d);
    if ((r = code_check_target(c, d.raw, t->rip)) || (r = desc_set_accessed(c, &d)))
        return r;
    t->st.sp += t->imm;
    stack_commit(c, &t->st);
    code_set(c, d.raw, d.selector, c->cpl);
    soft_rip(c) = t->rip;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

int op_ret_far(struct soft_cpu *c, const struct insn *i)
{
    struct far_ret t = { .st = stack_present(c), .size = i->osize, .imm = i->imm & 0xffff };
    int r;

    if (c->vm->model->amd && (r = stack_peek(c, &t.st, t.size, t.size, &t.cs)))
        return r;
    if ((r = stack_pop(c, &t.st, t.size, &t.rip)) || (r = stack_pop(c, &t.st, t.size, &t.cs)))
        return r;
    if (!soft_prot(c))
        return ret_real(c, &t.st, t.rip, (uint16_t)t.cs, t.imm);
    return ret_protected(c, &t);
}
