/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that all translations share: entering and leaving, calling an
 * instruction's function, and indirect branches.
 */
#include "engine/bt/bt.h"

/* Guest registers that live in host registers. */
static const uint8_t resident[] = { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
                                    H_R8, H_R12, H_R13, H_R14, H_R15 };

/* Flags last, since RAX carries them; then the count. */
static void save_guest(struct emit *e)
{
    for (unsigned n = 0; n < sizeof(resident); n++)
        emit_gs_store(e, resident[n], CTX_GPR(resident[n]));
    EMIT(e, 0x9f, 0x0f, 0x90, 0xc0);            /* lahf; seto al */
    emit8(e, 0x66);
    emit_gs(e, 0x89, H_RAX, CTX(ax_flags), false);
    EMIT(e, 0x49, 0xc1, 0xe9, COUNT_SHIFT);     /* shr r9, 16 */
    emit_gs(e, 0x01, H_R9, CTX(insn_count), true);  /* add gs:[insn_count], r9 */
}

static void load_guest(struct emit *e)
{
    emit8(e, 0x66);
    emit_gs(e, 0x8b, H_RAX, CTX(ax_flags), false);
    EMIT(e, 0x04, 0x7f, 0x9e);                  /* add al, 7f; sahf */
    for (unsigned n = 0; n < sizeof(resident); n++)
        emit_gs_load(e, resident[n], CTX_GPR(resident[n]));
    emit_imm64(e, H_R9, BT_CONTROL(e));
}

/* C code may need thread-local storage: FS is the host's again. */
static void host_stack_and_fs(const struct bt *bt, struct emit *e)
{
    emit_gs_load(e, H_RSP, CTX_WORD(W_HOST_RSP));
    bt_emit_spill(bt, e);
    emit_gs_load(e, H_RCX, CTX_WORD(W_HOST_FS));
    EMIT(e, 0xf3, 0x48, 0x0f, 0xae, 0xd1);      /* wrfsbase rcx */
}

static void table_fs(struct emit *e)
{
    emit_gs_load(e, H_RCX, CTX_WORD(W_RTABLE));
    EMIT(e, 0xf3, 0x48, 0x0f, 0xae, 0xd1);      /* wrfsbase rcx */
}

/* int enter(c in RDI, code in RSI): callee-saved registers on the stack. */
static uint8_t *emit_enter(struct emit *e)
{
    uint8_t *at = e->p;

    EMIT(e, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);   /* push rbx, rbp, r12-r15 */
    EMIT(e, 0x48, 0x83, 0xec, 0x08);                                       /* sub rsp, 8 */
    emit_load(e, H_RAX, H_RDI, (int32_t)(offsetof(struct soft_cpu, words) + W_WTABLE * 8));
    EMIT(e, 0xf3, 0x48, 0x0f, 0xae, 0xd8);                                 /* wrgsbase rax */
    emit_gs_store(e, H_RSP, CTX_WORD(W_HOST_RSP));
    emit_mov(e, H_R11, H_RSI);
    table_fs(e);
    load_guest(e);
    EMIT(e, 0x41, 0xff, 0xe3);                                             /* jmp r11 */
    return at;
}

static void emit_return(struct emit *e)
{
    EMIT(e, 0x48, 0x83, 0xc4, 0x08);                                       /* add rsp, 8 */
    EMIT(e, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* R10: guest RIP; R11D: enum leave, the result of enter. */
static uint8_t *emit_leave(const struct bt *bt, struct emit *e)
{
    uint8_t *at = e->p;

    save_guest(e);
    emit_gs_store(e, H_R10, CTX_GPR(16));
    host_stack_and_fs(bt, e);
    EMIT(e, 0x44, 0x89, 0xd8);                                             /* mov eax, r11d */
    emit_return(e);
    return at;
}

/* R10 = linear address of R11, an offset in the page. */
static uint8_t *emit_out(const struct bt *bt, struct emit *e)
{
    uint8_t *at = e->p;

    emit_gs_load(e, H_R10, CTX_WORD(W_PAGE));
    emit_lea(e, H_R10, H_R10, H_R11, 0, 0);
    emit_imm64(e, H_R11, LEAVE_ATTENTION);
    emit_patch(emit_jmp(e), bt->leave);
    return at;
}

/* R11: the argument, for slow the id of the site.  Go on where the function
 * says, with vectors and x87 state live (LIVE_X87), or return LEAVE_FUNCTION. */
static uint8_t *emit_slow(const struct bt *bt, struct emit *e, bt_call slow, unsigned live)
{
    uint8_t *at = e->p, *out;

    save_guest(e);
    host_stack_and_fs(bt, e);
    emit_gs_load(e, H_RDI, CTX_WORD(W_SELF));
    emit_mov(e, H_RSI, H_R11);
    emit_imm64(e, H_RAX, (uint64_t)(uintptr_t)slow);
    EMIT(e, 0xff, 0xd0, 0x48, 0x85, 0xc0);                                 /* call rax; test rax, rax */
    out = emit_jcc(e, 4);
    emit_gs_store(e, H_RAX, CTX_WORD(W_CONT));
    table_fs(e);
    bt_emit_load_live(bt, e, live);
    load_guest(e);
    emit_gs(e, 0xff, 4, CTX_WORD(W_CONT), false);                          /* jmp [W_CONT] */
    emit_here(e, out);
    emit_imm64(e, H_RAX, LEAVE_FUNCTION);
    emit_return(e);
    return at;
}

#define JUMP(way, field) ((int32_t)((way) * sizeof(struct bt_jump) + offsetof(struct bt_jump, field)))
_Static_assert(sizeof(((struct bt_jumps *)0)->set[0]) == 32, "the shift below");

/* R11 = R10's set in the jump table.  R9's low bits are 12, the shift of a page. */
static void emit_jump_set(struct emit *e)
{
    EMIT(e, 0xc4, 0x42, 0xb3, 0xf7, 0xda);          /* shrx r11, r10, r9 */
    EMIT(e, 0x45, 0x01, 0xd3);                      /* add r11d, r10d */
    EMIT(e, 0x41, 0x81, 0xe3);                      /* and r11d, sets - 1 */
    emit32(e, BT_JUMP_SETS - 1);
    EMIT(e, 0x41, 0xc1, 0xe3, 0x05);                /* shl r11d, 5 */
    emit_gs(e, 0x03, H_R11, CTX_WORD(W_JUMPS), true);   /* add r11, gs:[W_JUMPS] */
}

/* Jump if it is not R10 that stands there. */
static uint8_t *emit_other(struct emit *e, int32_t target)
{
    emit_within(e, 4 + EMIT_JCC);
    emit_mem(e, 0x3b, H_R10, H_R11, -1, 0, target); /* cmp r10, [r11 + target] */
    return emit_jcc(e, 5);
}

/* R11: set whose first place has R10. */
static void emit_jump_on(struct emit *e)
{
    EMIT(e, 0x49, 0x81, 0xe2, 0x00, 0xf0, 0xff, 0xff);  /* and r10, -4096 */
    emit_gs_store(e, H_R10, CTX_WORD(W_PAGE));
    emit_within(e, 4);
    EMIT(e, 0x41, 0xff, 0x63, JUMP(0, entry));      /* jmp [r11 + entry] */
}

uint8_t *bt_emit_indirect(struct emit *e)
{
    uint8_t *miss;

    emit_jump_set(e);
    miss = emit_other(e, JUMP(0, target));
    emit_jump_on(e);
    return miss;
}

/* Exchange the words at R11 + a and R11 + b. */
static void emit_exchange(struct emit *e, int32_t a, int32_t b)
{
    emit_load(e, H_RAX, H_R11, a);
    emit_load(e, H_RCX, H_R11, b);
    emit_mem(e, 0x89, H_RCX, H_R11, -1, 0, a);
    emit_mem(e, 0x89, H_RAX, H_R11, -1, 0, b);
}

/* R10: target.  Look in the second place. */
static void emit_second(struct emit *e)
{
    uint8_t *miss;

    emit_jump_set(e);
    miss = emit_other(e, JUMP(1, target));
    emit_gs_store(e, H_RAX, CTX_WORD(W_RAX));
    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    emit_exchange(e, JUMP(0, target), JUMP(1, target));
    emit_exchange(e, JUMP(0, entry), JUMP(1, entry));
    emit_gs_load(e, H_RAX, CTX_WORD(W_RAX));
    emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    emit_jump_on(e);
    emit_here(e, miss);
}

/* Flags are in W_FLAGS; R10: target, R11: id of the branch's site, or 0. */
static void emit_miss(struct bt *bt, struct emit *e, bt_call miss)
{
    bt->miss = e->p;
    emit_gs_store(e, H_R10, CTX_GPR(16));
    emit_gs_store(e, H_R11, CTX_WORD(W_SITE));
    emit_second(e);
    bt_emit_restore_flags(e);
    emit_slow(bt, e, miss, 0);
}

/* Calls of functions; in front of each, the same with flags in W_FLAGS. */
static void emit_functions(struct bt *bt, struct emit *e, bt_call function)
{
    for (unsigned live = 0; live < LIVE_COUNT; live++) {
        bt->slow[1][live] = e->p;
        bt_emit_restore_flags(e);
        bt->slow[0][live] = emit_slow(bt, e, function, live);
    }
}

void bt_emit_trampolines(struct bt *bt, const struct cpu_model *model, const struct bt_calls_of_code *calls)
{
    struct emit e = { .p = bt->rw, .end = bt->rw + bt->code_size, .hashed = bt->hashed };
    uint8_t *enter = emit_enter(&e);

    bt_emit_vector_stubs(bt, &e, model);
    bt->enter = (int (*)(struct soft_cpu *, const uint8_t *))(void *)(bt->rx + (enter - bt->rw));
    emit_functions(bt, &e, calls->function);
    bt->record = emit_slow(bt, &e, calls->record, 0);
    emit_miss(bt, &e, calls->miss);
    bt->link = emit_slow(bt, &e, calls->link, 0);
    for (unsigned size = 2; size <= 8; size *= 2)
        for (unsigned write = 0; write < 2; write++) {
            bt->unaligned[BT_UNALIGNED(size, write)] = e.p;
            bt_emit_shared_unaligned(&e, size, write);
        }
    bt->leave = emit_leave(bt, &e);
    bt->out = emit_out(bt, &e);
    bt_cache_begin(bt, e.p);
}
