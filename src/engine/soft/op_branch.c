/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Near branches, the stack, flag bits. */
#include "engine/soft/op_int.h"

/* ---- stack in 64-bit mode: the inline way ------------------------------------------ */

static inline int push64(struct soft_cpu *c, uint64_t v)
{
    uint64_t sp = c->gpr[CPU_RSP] - 8;
    uint64_t *p = tlb_write_ptr(c, sp, 8);

    if (likely(p)) {
        *(volatile uint64_t *)p = v;
        c->gpr[CPU_RSP] = sp;
        return 0;
    }
    return soft_push(c, 8, v);
}

static inline int pop64(struct soft_cpu *c, uint64_t *v)
{
    uint64_t sp = c->gpr[CPU_RSP];
    const uint64_t *p = tlb_read_ptr(c, sp, 8);

    if (likely(p)) {
        *v = *(const volatile uint64_t *)p;
        c->gpr[CPU_RSP] = sp + 8;
        return 0;
    }
    return soft_pop(c, 8, v);
}

/* ---- branches ------------------------------------------------------------------------ */

static uint64_t next_ip(struct soft_cpu *c, const struct insn *i)
{
    return (soft_rip(c) + i->len) & c->rip_mask;
}

/* Target of a relative branch: cut to 16 bits with a 16-bit operand size. */
static uint64_t relative(struct soft_cpu *c, const struct insn *i)
{
    uint64_t ip = soft_rip(c) + i->len + i->imm;

    return i->osize == 8 ? ip : ip & size_mask(i->osize);
}

#define JCC(cc)                                                                \
    static int op_jcc64_##cc(struct soft_cpu *c, const struct insn *i)         \
    {                                                                          \
        if (!soft_condition(c, 0x##cc))                                        \
            return SOFT_NEXT;                                                  \
        return soft_branch(c, soft_rip(c) + i->len + i->imm);                  \
    }                                                                          \
    static int op_jcc_##cc(struct soft_cpu *c, const struct insn *i)           \
    {                                                                          \
        if (!soft_condition(c, 0x##cc))                                        \
            return SOFT_NEXT;                                                  \
        return soft_branch(c, relative(c, i));                                 \
    }
#define EACH_CC(M) M(0) M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(a) M(b) M(c) M(d) M(e) M(f)
EACH_CC(JCC)
#define NAME64(cc) op_jcc64_##cc,
#define NAME(cc) op_jcc_##cc,
const insn_fn fns_jcc64[16] = { EACH_CC(NAME64) };
const insn_fn fns_jcc[16] = { EACH_CC(NAME) };

int op_jmp_rel64(struct soft_cpu *c, const struct insn *i)
{
    return soft_branch(c, soft_rip(c) + i->len + i->imm);
}

int op_jmp_rel(struct soft_cpu *c, const struct insn *i)
{
    return soft_branch(c, relative(c, i));
}

static int target(struct soft_cpu *c, const struct insn *i, uint64_t *v)
{
    if (i->flags & INSN_MEM)
        return insn_load(c, i, i->osize, v);
    *v = gpr_get(c, i->rm, i->osize);
    return 0;
}

int op_jmp_ind(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = target(c, i, &v);

    return r ? r : soft_branch(c, v);
}

/* A target that is refused: AMD looks at the stack first (APM 3 CALL near). */
static int call_refused(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = (c->gpr[CPU_RSP] - i->osize) & c->ss_mask, la;
    int r = c->vm->model->amd ? soft_linear(c, SEG_SS, sp, i->osize, true, &la) : 0;

    if (!r && c->vm->model->amd)
        r = soft_probe(c, la, i->osize, ACCESS_WRITE);
    return r ? r : soft_gp0(c);
}

/* A call commits when the push is done: the target is checked first, and the
 * old rip comes back if the push fails. */
static int call(struct soft_cpu *c, const struct insn *i, uint64_t to)
{
    uint64_t rip = soft_rip(c), ret = next_ip(c, i);
    int r = soft_branch(c, to);

    if (unlikely(r != SOFT_JUMP))
        return call_refused(c, i);
    r = i->osize == 8 ? push64(c, ret) : soft_push(c, i->osize, ret);
    if (likely(!r))
        return SOFT_JUMP;
    soft_rip(c) = rip;
    return r;
}

int op_call_rel64(struct soft_cpu *c, const struct insn *i)
{
    return call(c, i, soft_rip(c) + i->len + i->imm);
}

int op_call_rel(struct soft_cpu *c, const struct insn *i)
{
    return call(c, i, relative(c, i));
}

int op_call_ind(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = target(c, i, &v);

    return r ? r : call(c, i, v);
}

int op_ret64(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], v;
    int r = pop64(c, &v);

    if (unlikely(r))
        return r;
    r = soft_branch(c, v);
    if (unlikely(r != SOFT_JUMP))
        c->gpr[CPU_RSP] = sp;
    else
        c->gpr[CPU_RSP] += (uint16_t)i->imm;
    return r;
}

int op_ret(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], v;
    int r = soft_pop(c, i->osize, &v);

    if (r)
        return r;
    r = soft_branch(c, v);
    if (r != SOFT_JUMP)
        c->gpr[CPU_RSP] = sp;
    else
        soft_set_sp(c, c->gpr[CPU_RSP] + (uint16_t)i->imm);
    return r;
}

int op_jcxz(struct soft_cpu *c, const struct insn *i)
{
    return gpr_get(c, CPU_RCX * 8, i->asize) ? SOFT_NEXT : soft_branch(c, relative(c, i));
}

int op_loop(struct soft_cpu *c, const struct insn *i)
{
    uint64_t count = (gpr_get(c, CPU_RCX * 8, i->asize) - 1) & size_mask(i->asize);
    bool zf = c->ax_flags & (X86_ZF << 8);
    bool taken = count && (i->vreg == 2 || zf == (i->vreg == 1));
    int r = SOFT_NEXT;

    if (taken) {
        r = soft_branch(c, relative(c, i));
        if (r != SOFT_JUMP)
            return r;
    }
    gpr_set(c, CPU_RCX * 8, i->asize, count);
    return r;
}

/* ---- PUSH, POP -------------------------------------------------------------------------- */

int op_push_r64(struct soft_cpu *c, const struct insn *i)
{
    return push64(c, *gpr64(c, i->reg));
}

int op_push_r(struct soft_cpu *c, const struct insn *i)
{
    return soft_push(c, i->osize, gpr_get(c, i->reg, i->osize));
}

int op_push_m(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = insn_load(c, i, i->osize, &v);

    return r ? r : soft_push(c, i->osize, v);
}

int op_push_i(struct soft_cpu *c, const struct insn *i)
{
    return soft_push(c, i->osize, i->imm);
}

int op_pop_r64(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = pop64(c, &v);

    if (likely(!r))
        *gpr64(c, i->reg) = v;
    return r;
}

int op_pop_r(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = soft_pop(c, i->osize, &v);

    if (!r)
        gpr_set(c, i->reg, i->osize, v);
    return r;
}

/* The address is computed with RSP already incremented (SDM 2B POP). */
int op_pop_m(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], v;
    int r = soft_pop(c, i->osize, &v);

    if (r)
        return r;
    r = insn_store(c, i, i->osize, v);
    if (r)
        c->gpr[CPU_RSP] = sp;
    return r;
}

int op_pusha(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], la;
    /* All or nothing: the far end first. */
    int r = soft_linear(c, SEG_SS, (sp - 8u * i->osize) & c->ss_mask, i->osize, true, &la);

    if (!r)
        r = soft_probe(c, la, i->osize, ACCESS_WRITE);
    for (unsigned n = 0; n < 8 && !r; n++)
        r = soft_push(c, i->osize, n == CPU_RSP ? sp : gpr_get(c, n * 8, i->osize));
    if (r)
        c->gpr[CPU_RSP] = sp;
    return r;
}

int op_popa(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], v[8];
    int r = 0;

    for (unsigned n = 8; n-- > 0 && !r;)
        r = soft_pop(c, i->osize, &v[n]);
    if (r) {
        c->gpr[CPU_RSP] = sp;
        return r;
    }
    for (unsigned n = 0; n < 8; n++)
        if (n != CPU_RSP)
            gpr_set(c, n * 8, i->osize, v[n]);
    return SOFT_NEXT;
}

/* The outer frame pointers of a nested ENTER. */
static int enter_levels(struct soft_cpu *c, const struct insn *i, unsigned level, uint64_t frame)
{
    uint64_t bp = c->gpr[CPU_RBP], la, v;
    int r = 0;

    for (unsigned n = 1; n < level && !r; n++) {
        bp -= i->osize;
        r = soft_linear(c, SEG_SS, bp & c->ss_mask, i->osize, false, &la);
        if (!r && !(r = soft_read(c, la, i->osize, &v)))
            r = soft_push(c, i->osize, v);
    }
    return r ? r : soft_push(c, i->osize, frame);
}

/* insn.imm: frame size; insn.vreg: nesting level. */
int op_enter(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], frame, end, la;
    unsigned level = i->vreg & 31;
    int r = soft_push(c, i->osize, gpr_get(c, CPU_RBP * 8, i->osize));

    frame = c->gpr[CPU_RSP];
    if (!r && level)
        r = enter_levels(c, i, level, frame);
    /* The new top of the stack must be writable (SDM 2A ENTER). */
    end = (c->gpr[CPU_RSP] - (uint16_t)i->imm) & c->ss_mask;
    if (!r)
        r = soft_linear(c, SEG_SS, end, 1, true, &la);
    if (!r)
        r = soft_align(c, la, i->osize);
    if (!r)
        r = soft_probe(c, la, 1, ACCESS_WRITE);
    if (r) {
        c->gpr[CPU_RSP] = sp;
        return r;
    }
    soft_set_sp(c, c->gpr[CPU_RSP] - (uint16_t)i->imm);
    gpr_set(c, CPU_RBP * 8, i->osize, frame);
    return SOFT_NEXT;
}

int op_leave(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sp = c->gpr[CPU_RSP], v;
    int r;

    soft_set_sp(c, c->gpr[CPU_RBP]);
    r = soft_pop(c, i->osize, &v);
    if (r)
        c->gpr[CPU_RSP] = sp;
    else
        gpr_set(c, CPU_RBP * 8, i->osize, v);
    return r;
}

int op_bound(struct soft_cpu *c, const struct insn *i)
{
    unsigned bits = i->osize * 8u;
    uint64_t la, lo, hi;
    int64_t v = (int64_t)(gpr_get(c, i->reg, i->osize) << (64 - bits)) >> (64 - bits);
    int r = insn_linear(c, i, i->osize * 2u, false, &la);

    if (r || (r = soft_read(c, la, i->osize, &lo)) || (r = soft_read(c, la + i->osize, i->osize, &hi)))
        return r;
    if (v < (int64_t)(lo << (64 - bits)) >> (64 - bits) || v > (int64_t)(hi << (64 - bits)) >> (64 - bits))
        return soft_raise(c, VEC_BR);
    return SOFT_NEXT;
}

/* ---- flag bits ----------------------------------------------------------------------------- */

int op_lahf(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    *gpr8(c, 1) = (uint8_t)(c->ax_flags >> 8) | 2;
    return SOFT_NEXT;
}

int op_sahf(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->ax_flags = (uint16_t)((*gpr8(c, 1) & 0xd5u) << 8 | 0x200u | (c->ax_flags & 1u));
    return SOFT_NEXT;
}

int op_clc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->ax_flags &= (uint16_t)~(X86_CF << 8);
    return SOFT_NEXT;
}

int op_stc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->ax_flags |= X86_CF << 8;
    return SOFT_NEXT;
}

int op_cmc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->ax_flags ^= X86_CF << 8;
    return SOFT_NEXT;
}

int op_cld(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->rflags &= ~(uint32_t)X86_DF;
    return SOFT_NEXT;
}

int op_std(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    c->rflags |= X86_DF;
    return SOFT_NEXT;
}

int op_salc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    *gpr8(c, 0) = c->ax_flags & (X86_CF << 8) ? 0xff : 0;
    return SOFT_NEXT;
}
