/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL and SYSRET in 64-bit mode: from a program's code to the kernel's and
 * back, with the tables and the jump table of the other side, without C.
 *
 * Each is what its function (soft/sysenter.c) does in the usual case.  It goes
 * to that function, before anything has changed, if flags ask for more, or if
 * what it needs of the other side does not stand ready (note_sides in bt.c).
 */
#include "engine/bt/system.h"
#include "engine/soft/seg.h"

/* Of the image in R11 what SYSRET takes to RFLAGS, and what its function has to see to. */
#define RETURN_FLAGS (X86_IF | X86_DF | X86_IOPL | X86_NT | X86_ID)
#define RETURN_FUNCTION (X86_TF | X86_AC | X86_VIF | X86_VIP)

enum kind bt_syscall_kind(const struct item *i, unsigned mode)
{
    bool user = mode & BT_MODE_USER;

    if (bt_mode32(mode))
        return K_FUNCTION;
    if (i->z.mnemonic == ZYDIS_MNEMONIC_SYSCALL)
        return user ? K_SYSCALL : K_FUNCTION;
    return !user && i->insn.osize == 8 ? K_SYSRET : K_FUNCTION;
}

/* ---- host instructions ------------------------------------------------------------------- */

/* AND (extension 4) or OR (1) of R10D or R11D with an immediate */
static void emit_alu(struct emit *e, unsigned extension, unsigned reg, uint32_t imm)
{
    EMIT(e, 0x41, 0x81);
    emit8(e, 0xc0 | extension << 3 | (reg & 7));
    emit32(e, imm);
}

/* The low bytes of R10 or R11 to gs:[disp]: opcode 0x88 for one, 0x89 for 4, or for 2 behind 0x66. */
static void emit_store_low(struct emit *e, unsigned opcode, unsigned reg, int32_t disp)
{
    EMIT(e, 0x65, 0x44);
    emit8(e, opcode);
    emit8(e, 0x04 | (reg & 7) << 3);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
}

/* MOV dword gs:[disp], imm32 */
static void emit_store_imm(struct emit *e, int32_t disp, uint32_t imm)
{
    EMIT(e, 0x65, 0xc7, 0x04, 0x25);
    emit32(e, (uint32_t)disp);
    emit32(e, imm);
}

/* ---- the parts ----------------------------------------------------------------------------- */

/* SYSCALL is enabled, and the other side is ready? */
static void emit_checks(struct emit *e, struct item *i)
{
    EMIT(e, 0x65, 0xf6, 0x04, 0x25);            /* test byte gs:[efer], SCE */
    emit32(e, (uint32_t)CTX(s.efer));
    emit8(e, EFER_SCE);
    bt_cold_if(e, i, 4);
    emit_gs_load(e, H_R10, CTX(drops));
    emit_gs(e, 0x3b, H_R10, CTX_WORD(W_SIDES_DROPS), true);
    bt_cold_if(e, i, 5);
}

/* R10D: the new flags; arithmetic ones go to W_FLAGS, and of the others these
 * to c->rflags.  R11 changes. */
static void emit_new_flags(struct emit *e, uint32_t others)
{
    emit_mov(e, H_R11, H_R10);
    emit_alu(e, 4, H_R11, X86_FLAGS_ARITH);
    emit_store_low(e, 0x88, H_R11, CTX_WORD(W_FLAGS) + 1);
    EMIT(e, 0x41, 0xc1, 0xeb, 0x0b);            /* shr r11d, 11: OF */
    emit_store_low(e, 0x88, H_R11, CTX_WORD(W_FLAGS));
    emit_alu(e, 4, H_R10, others);
    emit_alu(e, 1, H_R10, X86_FLAGS_FIXED);
    emit_store_low(e, 0x89, H_R10, CTX(rflags));
}

/* R10: STAR, shifted so that CS is at this distance. */
static void emit_flat(struct emit *e, unsigned seg, int distance, unsigned cpl)
{
    const int32_t at = CTX(s.seg) + (int32_t)(seg * sizeof(struct seg_state));

    emit_lea(e, H_R11, H_R10, -1, 0, distance);
    emit_alu(e, cpl ? 1 : 4, H_R11, cpl ? cpl : ~3u);   /* or, and */
    emit8(e, 0x66);
    emit_store_low(e, 0x89, H_R11, at + (int32_t)offsetof(struct seg_state, selector));
    emit_gs_imm(e, at + (int32_t)offsetof(struct seg_state, base), 0);
    emit_store_imm(e, at + (int32_t)offsetof(struct seg_state, limit), UINT32_MAX);
    emit_store_imm(e, at + (int32_t)offsetof(struct seg_state, attr),
                   (seg == SEG_CS ? SEG_FLAT_CODE | SEG_ATTR_L : SEG_FLAT_DATA) | cpl << SEG_ATTR_DPL_SHIFT);
}

static void emit_move(struct emit *e, int32_t from, int32_t to)
{
    emit_gs_load(e, H_R10, from);
    emit_gs_store(e, H_R10, to);
}

/* CPL, tables and jump table of the other side. */
static void emit_cross(struct emit *e, unsigned cpl)
{
    EMIT(e, 0x65, 0xc6, 0x04, 0x25);            /* mov byte gs:[cpl], imm8 */
    emit32(e, (uint32_t)CTX(cpl));
    emit8(e, cpl);
    emit_move(e, CTX_WORD(cpl ? W_USER_GEN : W_KERNEL_GEN), CTX(fetch_gen));
    emit_move(e, CTX_WORD(cpl ? W_USER_JUMPS : W_KERNEL_JUMPS), CTX_WORD(W_JUMPS));
    bt_emit_view(e, cpl ? W_USER_VIEW : W_AC_VIEWS);
}

/* ---- the instructions ----------------------------------------------------------------------- */

static void emit_syscall(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    bt_emit_full_flags(e);                      /* R11D */
    emit_gs(e, 0x8b, H_R10, CTX(s.sfmask), false);
    EMIT(e, 0xc4, 0x42, 0x28, 0xf2, 0xd3);      /* andn r10d, r10d, r11d */
    EMIT(e, 0x41, 0xf7, 0xc2);                  /* test r10d, AC: the kernel's other view */
    emit32(e, X86_AC);
    bt_cold_if(e, i, 5);
    emit_gs_store(e, H_R11, CTX_GPR(H_R11));
    emit_new_flags(e, ~X86_FLAGS_ARITH);
    emit_gs_load(e, H_RCX, CTX_WORD(W_PAGE));
    emit_lea(e, H_RCX, H_RCX, -1, 0, i->offset + i->insn.len);
    emit_gs_load(e, H_R10, CTX(s.star));
    EMIT(e, 0x49, 0xc1, 0xea, 0x20);            /* shr r10, 32 */
    emit_flat(e, SEG_CS, 0, 0);
    emit_flat(e, SEG_SS, 8, 0);
    emit_cross(e, 0);
    emit_gs_load(e, H_R10, CTX(s.lstar));       /* WRMSR sees to it that it is canonical */
}

/* A target that is not canonical faults here or there (SDM, APM): by function. */
static void emit_sysret(struct translation *t, struct item *i)
{
    struct emit *e = &t->e;

    emit_mov(e, H_R10, H_RCX);
    bt_cold_unless_canonical(e, i);
    emit_gs_load(e, H_R10, CTX_GPR(H_R11));
    EMIT(e, 0x41, 0xf7, 0xc2);                  /* test r10d, imm32 */
    emit32(e, RETURN_FUNCTION);
    bt_cold_if(e, i, 5);
    bt_cold_unless_zero(e, i, CTX(event_waiting));  /* IF may let it in */
    emit_new_flags(e, RETURN_FLAGS);
    emit_gs_load(e, H_R10, CTX(s.star));
    EMIT(e, 0x49, 0xc1, 0xea, 0x30);            /* shr r10, 48 */
    emit_flat(e, SEG_CS, 16, 3);
    emit_flat(e, SEG_SS, 8, 3);
    emit_cross(e, 3);
    emit_mov(e, H_R10, H_RCX);
}

void bt_emit_syscall(struct translation *t, struct item *i, unsigned n)
{
    if (!t->saved)
        bt_emit_flags_away(t);
    bt_emit_trap(t, i);                         /* room for cold jumps */
    emit_checks(&t->e, i);
    if (i->kind == K_SYSCALL)
        emit_syscall(t, i);
    else
        emit_sysret(t, i);
    bt_emit_jump(t, n);
}
