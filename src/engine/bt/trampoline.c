/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Code that all translations share: entering and leaving, calling an
 * instruction's function, and indirect branches.
 */
#include "engine/bt/bt.h"

/* Guest registers that live in host registers. */
static const uint8_t resident[] = { H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI,
                                    H_R8, H_R12, H_R13, H_R14, H_R15 };

/* Flags last, since RAX carries them. */
static void save_guest(struct emit *e)
{
    for (unsigned n = 0; n < sizeof(resident); n++)
        emit_gs_store(e, resident[n], CTX_GPR(resident[n]));
    EMIT(e, 0x9f, 0x0f, 0x90, 0xc0);            /* lahf; seto al */
    emit8(e, 0x66);
    emit_gs(e, 0x89, H_RAX, CTX(ax_flags), false);
}

static void load_guest(struct emit *e)
{
    emit8(e, 0x66);
    emit_gs(e, 0x8b, H_RAX, CTX(ax_flags), false);
    EMIT(e, 0x04, 0x7f, 0x9e);                  /* add al, 7f; sahf */
    for (unsigned n = 0; n < sizeof(resident); n++)
        emit_gs_load(e, resident[n], CTX_GPR(resident[n]));
    emit_imm64(e, H_R9, BEXTR_PAGE);
}

/* C code may need thread-local storage: FS is the host's again. */
static void host_stack_and_fs(struct emit *e)
{
    emit_gs_load(e, H_RSP, CTX_WORD(W_HOST_RSP));
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
static uint8_t *emit_leave(struct emit *e)
{
    uint8_t *at = e->p;

    save_guest(e);
    emit_gs_store(e, H_R10, CTX_GPR(16));
    host_stack_and_fs(e);
    EMIT(e, 0x44, 0x89, 0xd8);                                             /* mov eax, r11d */
    emit_return(e);
    return at;
}

/* W_CONT and W_SITE are set: call slow(c, site); 0 goes on at W_CONT, another
 * result is enter's. */
static uint8_t *emit_slow(struct emit *e, int (*slow)(struct soft_cpu *c, uint64_t site))
{
    uint8_t *at = e->p, *out;

    save_guest(e);
    host_stack_and_fs(e);
    emit_gs_load(e, H_RDI, CTX_WORD(W_SELF));
    emit_gs_load(e, H_RSI, CTX_WORD(W_SITE));
    emit_imm64(e, H_RAX, (uint64_t)(uintptr_t)slow);
    EMIT(e, 0xff, 0xd0, 0x85, 0xc0);                                       /* call rax; test eax, eax */
    out = emit_jcc(e, 5);
    table_fs(e);
    load_guest(e);
    emit_gs(e, 0xff, 4, CTX_WORD(W_CONT), false);                          /* jmp [W_CONT] */
    emit_here(e, out);
    emit_return(e);
    return at;
}

/* R10: linear address of the target.  Flags stay. */
static uint8_t *emit_indirect(struct emit *e)
{
    uint8_t *at = e->p, *leave;

    emit_gs_store(e, H_RCX, CTX_WORD(W_RCX));
    /* pext r11, r10, gs:[W_JUMP_MASK] */
    EMIT(e, 0x65, 0xc4, 0x62, 0xaa, 0xf5, 0x1c, 0x25);
    emit32(e, (uint32_t)CTX_WORD(W_JUMP_MASK));
    emit_lea(e, H_R11, H_R11, H_R11, 0, 0);         /* entries of 32 bytes: * 2 ... */
    emit_lea(e, H_R11, H_R11, H_R11, 0, 0);         /* ... * 4, and * 8 below */
    emit_gs_load(e, H_R9, CTX_WORD(W_JUMPS));
    emit_lea(e, H_R11, H_R9, H_R11, 3, 0);
    emit_load(e, H_RCX, H_R11, 0);
    emit_lea(e, H_RCX, H_RCX, H_R10, 0, 0);
    emit_imm64(e, H_R9, BEXTR_PAGE);
    EMIT(e, 0xe3, 0x05);                            /* jrcxz over the jump */
    leave = emit_jmp(e);
    emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    emit_load(e, H_R10, H_R11, 16);
    emit_gs_store(e, H_R10, CTX_WORD(W_PAGE));
    EMIT(e, 0x41, 0xff, 0x63, 0x08);                /* jmp [r11 + 8] */
    emit_here(e, leave);
    emit_gs_load(e, H_RCX, CTX_WORD(W_RCX));
    emit_imm64(e, H_R11, LEAVE_DISPATCH);
    return at;
}

void bt_emit_trampolines(struct bt *bt, int (*slow)(struct soft_cpu *c, uint64_t site))
{
    struct emit e = { .p = bt->rw, .end = bt->rw + bt->code_size };
    uint8_t *enter = emit_enter(&e);

    bt->enter = (int (*)(struct soft_cpu *, const uint8_t *))(void *)(bt->rx + (enter - bt->rw));
    bt->slow = emit_slow(&e, slow);
    bt->indirect = emit_indirect(&e);
    bt->leave = emit_leave(&e);         /* indirect falls into it */
    bt->code_start = align_up((uint64_t)(e.p - bt->rw), 64);
    bt->code_used = bt->code_start;
}
