/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Branches, the ends of blocks, and the stack. */
#include "engine/bt/item.h"

/* Instructions are counted in R9; no flag changes. */
static void emit_count(struct translation *t, unsigned n)
{
    if (n)
        emit_lea(&t->e, H_R9, H_R9, -1, 0, (int32_t)(n << COUNT_SHIFT));
}

/* ---- leaving a block ---------------------------------------------------------------------- */

/* R10: target; site: W_SITE of a branch, or 0. */
static void look_up(struct translation *t, uint32_t site)
{
    unsigned n = t->nmisses++;

    if (!t->saved)
        bt_emit_flags_away(t);
    t->misses[n].site = site;
    t->misses[n].at = bt_emit_indirect(&t->e);
    t->saved = false;
}

void bt_emit_jump(struct translation *t, unsigned n)
{
    emit_count(t, n);
    look_up(t, 0);
}

/* R10: target.  The site lets the dispatcher take back a branch whose target
 * is not canonical. */
static void exit_indirect(struct translation *t, struct item *i, unsigned n)
{
    const struct site *s = i->naccess ? i->access[i->naccess - 1].site : bt_new_site(t, i);

    emit_count(t, n);
    look_up(t, bt_site_id(t, s));
}

static void far_exit(struct translation *t, int64_t target, uint32_t site)
{
    emit_gs_load(&t->e, H_R10, CTX_WORD(W_PAGE));
    emit_lea_code(&t->e, H_R10, H_R10, -1, 0, (int32_t)target);
    look_up(t, site);
}

void bt_emit_far_exit(struct translation *t, int64_t target)
{
    far_exit(t, target, 0);
}

/* The W_SITE of an exit: of a branch that is taken, its own. */
static uint32_t site_of_exit(const struct item *i, int64_t target)
{
    if ((i->kind != K_JMP && i->kind != K_CALL && i->kind != K_JCC) ||
        target != i->offset + i->insn.len + i->op[0].imm.value.s)
        return 0;
    return MISS_DIRECT | (i->kind == K_CALL ? MISS_CALL : 0) | i->offset;
}

static bool in_page(int64_t target)
{
    return target >= 0 && target < (int64_t)MEM_PAGE_SIZE;
}

void bt_emit_exit(struct translation *t, struct item *i, unsigned n, int64_t target, bool plain)
{
    struct emit *e = &t->e;

    emit_count(t, n);
    if (in_page(target) && t->b.nlinks < BT_LINKS) {
        unsigned flags = plain ? LINK_PLAIN : target <= i->offset ? LINK_BACK : 0;

        emit_within(e, EMIT_JMP);
        t->links[t->b.nlinks++] = (struct link){ .patch = bt_place(t, emit_jmp(e)),
                                                 .target = (uint16_t)((unsigned)target | flags) };
        return;
    }
    far_exit(t, target, site_of_exit(i, target));
}

static void emit_misses(struct translation *t)
{
    struct emit *e = &t->e;

    for (unsigned n = 0; n < t->nmisses; n++) {
        emit_here(e, t->misses[n].at);
        emit_imm64(e, H_R11, t->misses[n].site);
        emit_patch(emit_jmp(e), t->bt->miss);
    }
}

void bt_emit_links(struct translation *t)
{
    struct emit *e = &t->e;

    emit_misses(t);
    t->b.stubs = bt_place(t, e->p);
    for (unsigned n = 0; n < t->b.nlinks; n++) {
        emit_here(e, t->start + t->links[n].patch);
        emit_imm64(e, H_R11, BT_ID(bt_meta_next(t->bt), n));    /* BT_STUB_BYTES with the jump */
        emit_patch(emit_jmp(e), t->bt->link);
    }
}

/* ---- the stack ------------------------------------------------------------------------------- */

static void add_rsp(struct translation *t, int32_t by)
{
    emit_lea_code(&t->e, H_RSP, H_RSP, -1, 0, by);
}

/* MOV [at], reg */
static void emit_store(struct translation *t, struct item *i, unsigned reg, const struct place *at)
{
    bt_access_here(t, i);
    emit_mem_w(&t->e, 0x89, reg, (int)at->base, at->index == H_RSP ? -1 : (int)at->index, 0, at->disp,
               !t->e.code32);
}

static void emit_fetch(struct translation *t, struct item *i, unsigned reg, const struct place *at)
{
    bt_access_here(t, i);
    emit_mem_w(&t->e, 0x8b, reg, (int)at->base, (int)at->index, 0, at->disp, !t->e.code32);
}

/* An access of the stack that has the shared probe, has no use for RSP itself,
 * and knows t->stack? */
static bool only_moves(const struct item *i, int shared)
{
    bool operand = i->kind == K_PUSH_REG || i->kind == K_POP;

    return i->shared >= 0 && i->shared == shared && !(operand && bt_reg(&i->op[0]) == H_RSP) &&
           (operand || i->kind == K_PUSH_IMM || i->kind == K_RET);
}

/* Push or pop.  Where more of them follow RSP waits, since none of them can
 * fault: their probe is behind them. */
static void move_stack(struct translation *t, const struct item *i, int32_t by)
{
    t->stack += by;
    if (i + 1 < t->items + t->n && i->shared >= 0 && only_moves(i + 1, i->shared))
        return;
    add_rsp(t, t->stack);
    t->stack = 0;
}

static void push_down(struct translation *t, const struct item *i)
{
    move_stack(t, i, -(int32_t)t->word);
}

/* The top of the stack after a push. */
static void emit_stack_top(struct translation *t, struct item *i, struct place *at)
{
    bt_emit_stack(t, i, H_RSP, t->stack - (int32_t)t->word, true, at);
}

/* Push a word of the context: the value behind R11 must wait for the probe. */
static void push_context(struct translation *t, struct item *i, int32_t word)
{
    struct place at;

    emit_stack_top(t, i, &at);
    bt_emit_free_r11(t, &at);
    emit_gs_load(&t->e, H_R11, word);
    emit_store(t, i, H_R11, &(struct place){ .base = H_R10, .index = H_RSP });
    push_down(t, i);
}

static void push_imm(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    struct place at;

    emit_stack_top(t, i, &at);
    bt_access_here(t, i);
    emit8(e, 0x40 | !e->code32 << 3 | (at.index >> 3) << 1 | at.base >> 3);
    emit8(e, 0xc7);                             /* mov qword or dword [at], imm32 */
    emit_sib(e, 0, at.base, at.index, at.disp);
    emit32(e, (uint32_t)i->op[0].imm.value.u);
    push_down(t, i);
}

static void push_reg(struct translation *t, struct item *i)
{
    unsigned reg = bt_reg(&i->op[0]);
    struct place at;

    if (bt_in_context(reg)) {
        push_context(t, i, CTX_GPR(reg));
        return;
    }
    emit_stack_top(t, i, &at);
    emit_store(t, i, reg, &at);
    push_down(t, i);
}

static void push_mem(struct translation *t, struct item *i)
{
    struct place at;

    if (!bt_emit_operand(t, i, &i->op[0], t->word, 0, false, &at)) {
        bt_emit_function(t, i);
        return;
    }
    emit_fetch(t, i, H_R10, &at);
    emit_gs_store(&t->e, H_R10, CTX_WORD(W_TARGET));
    push_context(t, i, CTX_WORD(W_TARGET));
}

static void pop(struct translation *t, struct item *i)
{
    unsigned reg = bt_reg(&i->op[0]);
    struct place at;

    bt_emit_stack(t, i, H_RSP, t->stack, false, &at);
    if (bt_in_context(reg)) {
        emit_fetch(t, i, H_R10, &at);
        emit_gs_store(&t->e, H_R10, CTX_GPR(reg));
    } else {
        emit_fetch(t, i, reg, &at);
    }
    if (reg != H_RSP)
        move_stack(t, i, (int32_t)t->word);
}

static void leave(struct translation *t, struct item *i)
{
    struct place at;

    bt_emit_stack(t, i, H_RBP, 0, false, &at);
    emit_fetch(t, i, H_R10, &at);
    emit_lea_code(&t->e, H_RSP, H_RBP, -1, 0, (int32_t)t->word);
    emit_mov(&t->e, H_RBP, H_R10);
}

void bt_emit_push_pop(struct translation *t, struct item *i)
{
    switch (i->kind) {
    case K_PUSH_REG: push_reg(t, i); break;
    case K_PUSH_IMM: push_imm(t, i); break;
    case K_PUSH_MEM: push_mem(t, i); break;
    case K_POP: pop(t, i); break;
    default: leave(t, i);
    }
    i->cont = t->e.p;
    i->held = t->held;
}

/* ---- branches ---------------------------------------------------------------------------------- */

static int64_t behind(const struct item *i)
{
    return i->offset + i->insn.len;
}

static int64_t branch_target(const struct item *i)
{
    return behind(i) + i->op[0].imm.value.s;
}

/* Push the address behind the instruction. */
static void push_return(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;
    struct place at;

    emit_stack_top(t, i, &at);
    bt_emit_free_r11(t, &at);
    emit_gs_load(e, H_R11, CTX_WORD(W_PAGE));
    emit_lea_code(e, H_R11, H_R11, -1, 0, (int32_t)behind(i));
    emit_store(t, i, H_R11, &(struct place){ .base = H_R10, .index = H_RSP });
    push_down(t, i);
}

/* R10 = target of an indirect branch; false: by function. */
static bool branch_operand(struct translation *t, struct item *i)
{
    const ZydisDecodedOperand *a = &i->op[0];
    struct emit *e = &t->e;
    struct place at;

    if (a->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        if (bt_in_context(bt_reg(a)))
            emit_gs_load(e, H_R10, CTX_GPR(bt_reg(a)));
        else
            emit_mov_code(e, H_R10, bt_reg(a));
        return true;
    }
    if (!bt_emit_operand(t, i, a, t->word, 0, false, &at))
        return false;
    emit_fetch(t, i, H_R10, &at);
    return true;
}

static void call_indirect(struct translation *t, struct item *i, unsigned n)
{
    bool memory = i->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;

    if (memory) {
        if (!branch_operand(t, i)) {
            bt_emit_function(t, i);
            return;
        }
        emit_gs_store(&t->e, H_R10, CTX_WORD(W_TARGET));
    }
    push_return(t, i);
    if (memory)
        emit_gs_load(&t->e, H_R10, CTX_WORD(W_TARGET));
    else
        branch_operand(t, i);
    exit_indirect(t, i, n);
}

static void ret(struct translation *t, struct item *i, unsigned n)
{
    struct place at;

    bt_emit_stack(t, i, H_RSP, t->stack, false, &at);
    emit_fetch(t, i, H_R10, &at);
    move_stack(t, i, (int32_t)t->word + (int32_t)(uint16_t)i->insn.imm);
    exit_indirect(t, i, n);
}

static void jcc(struct translation *t, struct item *i, unsigned n)
{
    bool last = n == t->n;

    bt_emit_flags_for(t, i);
    t->saved = false;
    emit_within(&t->e, EMIT_JCC);
    i->side = emit_jcc(&t->e, i->z.opcode & 15);
    if (last)
        bt_emit_exit(t, i, n, behind(i), false);
}

void bt_emit_side(struct translation *t, struct item *i, unsigned n)
{
    t->saved = false;
    emit_here(&t->e, i->side);
    bt_emit_exit(t, i, n, branch_target(i), false);
}

void bt_emit_branch(struct translation *t, struct item *i, unsigned n)
{
    switch (i->kind) {
    case K_JCC:
        jcc(t, i, n);
        break;
    case K_JMP:
        if (in_page(branch_target(i)))
            bt_emit_flags(t, i->live_out);
        bt_emit_exit(t, i, n, branch_target(i), false);
        break;
    case K_CALL:
        push_return(t, i);
        if (in_page(branch_target(i)))
            bt_emit_flags(t, X86_FLAGS_ARITH);
        bt_emit_exit(t, i, n, branch_target(i), false);
        break;
    case K_JMP_IND:
        if (!branch_operand(t, i))
            bt_emit_function(t, i);
        else
            exit_indirect(t, i, n);
        break;
    case K_CALL_IND:
        call_indirect(t, i, n);
        break;
    default:
        ret(t, i, n);
    }
}
