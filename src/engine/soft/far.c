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

    if (t->offset > c->s.seg[SEG_CS].limit)
        return soft_gp0(c);
    if (t->call) {
        r = push_return(c, &st, t->size, t->next);
        if (r)
            return r;
        stack_commit(c, &st);
    }
    if (soft_v86(c))
        seg_load_v86(c, SEG_CS, t->selector);
    else
        seg_load_real(c, SEG_CS, t->selector);
    seg_changed(c, SEG_CS);
    soft_rip(c) = t->offset;
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* To a code segment of the same privilege, named directly or by a gate. */
static int transfer_same(struct soft_cpu *c, const struct transfer *t, struct desc *d,
                         uint64_t offset)
{
    struct stack st = stack_present(c);
    int r = code_check_target(c, d->raw, offset);

    if (!r)
        r = desc_set_accessed(c, d);
    if (!r && t->call)
        r = push_return(c, &st, t->size, t->next);
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
    return transfer_same(c, t, d, t->offset);
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

/* m16:16, m16:32, m16:64; AMD has no m16:64 (APM 3 CALL far). */
static int transfer_mem(struct soft_cpu *c, const struct insn *i, bool call)
{
    unsigned size = i->osize == 8 && c->vm->model->amd ? 4 : i->osize;
    struct transfer t = { .size = size,
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

/* RETURN-TO-OUTER-PRIVILEGE-LEVEL: st stands above CS. */
static int ret_outer(struct soft_cpu *c, struct stack *st, unsigned size, uint64_t rip,
                     struct desc *d, uint64_t imm)
{
    unsigned cpl = d->selector & 3;
    uint64_t sp, sel;
    struct seg_state ss;
    bool to64 = soft_lma(c) && desc_long(d->raw);
    int r;

    st->sp = (st->sp + imm) & st->mask;
    if ((r = stack_pop(c, st, size, &sp)) || (r = stack_pop(c, st, size, &sel)))
        return r;
    if (selector_null((uint16_t)sel) && to64 && cpl != 3 && (sel & 3) == cpl)
        seg_set_null(&ss, (uint16_t)sel, cpl);
    else if ((r = seg_check_stack(c, (uint16_t)sel, cpl, VEC_GP, &ss)))
        return r;
    if ((r = code_check_target(c, d->raw, rip)) || (r = desc_set_accessed(c, d)))
        return r;
    code_set(c, d->raw, d->selector, cpl);
    c->s.seg[SEG_SS] = ss;
    soft_rip(c) = rip;
    soft_mode_changed(c);
    soft_set_sp(c, sp + imm);
    seg_drop_privileged(c);
    return SOFT_JUMP;
}

int op_ret_far(struct soft_cpu *c, const struct insn *i)
{
    struct stack st = stack_present(c);
    uint64_t rip, sel, imm = i->imm & 0xffff;
    struct desc d;
    int r;

    if ((r = stack_pop(c, &st, i->osize, &rip)) || (r = stack_pop(c, &st, i->osize, &sel)))
        return r;
    if (!soft_prot(c))
        return ret_real(c, &st, rip, (uint16_t)sel, imm);
    r = seg_check_return(c, (uint16_t)sel, &d);
    if (r)
        return r;
    if ((sel & 3) > c->cpl)
        return ret_outer(c, &st, i->osize, rip, &d, imm);
    if ((r = code_check_target(c, d.raw, rip)) || (r = desc_set_accessed(c, &d)))
        return r;
    st.sp += imm;
    stack_commit(c, &st);
    code_set(c, d.raw, d.selector, c->cpl);
    soft_rip(c) = rip;
    soft_mode_changed(c);
    return SOFT_JUMP;
}
