/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SIMD instructions in translated code: the guest's registers stay in the
 * context; each instruction loads its operands into fixed host registers, is
 * executed with the encoding that the stubs use (engine/soft/simd.h: memory
 * at [rdi], a general register in rax), and stores its result.
 *
 * Only forms without MXCSR, masks and MMX; the others are functions.
 */
#include "engine/soft/simd.h"

#include "engine/bt/bt.h"

#define INLINE_FLAGS (SO_LOAD | SO_STORE | SO_FLAGS | SO_IMM | SO_ALIGN)

bool bt_simd_fits(const struct insn *i, unsigned mode)
{
    const struct simd_op *op = i->aux;

    if ((op->flags & ~(INLINE_FLAGS | (op->size ? 0 : SO_SHA))) ||
        (op->extra != EXTRA_NONE && op->extra != EXTRA_XMM0) || (op->size && (op->size & (op->size - 1))))
        return false;
    if ((op->flags & (SO_LOAD | SO_STORE)) ? !op->size : op->size != 0)
        return false;
    /* A move by its store form was lowered with its registers exchanged. */
    if (op->dst == SLOT_RM && i->fn != simd_run && i->fn != simd_run_reg)
        return false;
    if (op->dst == SLOT_EXTRA)
        return false;
    for (unsigned s = 0; s < SLOT_COUNT; s++)
        if (op->regs[s] == REGS_MMX || (op->regs[s] == REGS_GPR && op->size))
            return false;
    switch (op->check) {
    case CHECK_SSE: return mode & BT_MODE_SSE;
    case CHECK_VEX: return mode & BT_MODE_AVX;
    case CHECK_EVEX: return mode & BT_MODE_AVX512;
    default: return false;
    }
}

static unsigned number(const struct insn *i, unsigned slot)
{
    return slot == SLOT_REG ? i->reg : slot == SLOT_RM ? i->rm : i->vreg & 31u;
}

static int32_t place(const struct insn *i, unsigned slot)
{
    const struct simd_op *op = i->aux;

    return (int32_t)(op->off[slot] + (number(i, slot) << op->shift[slot])) - CTX_BIAS;
}

/* ModRM and SIB of an absolute address, after the opcode. */
static void emit_absolute(struct emit *e, unsigned reg, int32_t disp)
{
    emit8(e, reg << 3 | 4);
    emit8(e, 0x25);
    emit32(e, (uint32_t)disp);
}

/* MOVUPS of 16, 32 or 64 bytes: opcode 0x10 loads, 0x11 stores. */
static void emit_vector(struct emit *e, unsigned opcode, unsigned reg, int32_t disp, unsigned width, bool legacy)
{
    emit8(e, 0x65);
    if (legacy)
        EMIT(e, 0x0f);
    else if (width == 64)
        EMIT(e, 0x62, 0xf1, 0x7c, 0x48);
    else if (width == 32)
        EMIT(e, 0xc4, 0xe1, 0x7c);
    else
        EMIT(e, 0xc4, 0xe1, 0x78);
    emit8(e, opcode);
    emit_absolute(e, reg, disp);
}

/* KMOVQ. */
static void emit_mask(struct emit *e, unsigned opcode, unsigned reg, int32_t disp)
{
    EMIT(e, 0x65, 0xc4, 0xe1, 0xf8);
    emit8(e, opcode);
    emit_absolute(e, reg, disp);
}

static bool has_gpr(const struct simd_op *op, unsigned *slot)
{
    for (*slot = 0; *slot < SLOT_EXTRA; ++*slot)
        if (op->regs[*slot] == REGS_GPR)
            return true;
    return false;
}

static bool in_context(unsigned r)
{
    return r >= H_R9 && r <= H_R11;
}

void bt_emit_simd_load(struct emit *e, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    unsigned gpr;

    if (op->size) {
        emit_gs_store(e, H_RDI, CTX_WORD(W_SIMD_RDI));
        emit_lea(e, H_RDI, H_R10, H_R11, 0, 0);
    }
    if (has_gpr(op, &gpr)) {
        unsigned r = number(i, gpr) / 8;

        emit_gs_store(e, H_RAX, CTX_WORD(W_SIMD_RAX));
        if (in_context(r))
            emit_gs_load(e, H_RAX, CTX_GPR(r));
        else if (r != H_RAX)
            emit_mov(e, H_RAX, r);
    }
    if (op->extra == EXTRA_XMM0)
        emit_vector(e, 0x10, simd_slot_number(op, SLOT_EXTRA), CTX(fpu.zmm[0]), op->vl,
                    op->check == CHECK_SSE);
    for (unsigned s = 0; s < SLOT_EXTRA; s++) {
        unsigned reg = simd_slot_number(op, s);

        if (!(op->load >> s & 1))
            continue;
        if (op->regs[s] == REGS_VECTOR)
            emit_vector(e, 0x10, reg, place(i, s), op->vl, op->check == CHECK_SSE);
        else if (op->regs[s] == REGS_MASK)
            emit_mask(e, 0x90, reg, place(i, s));
    }
}

void bt_emit_simd_op(struct emit *e, const struct insn *i)
{
    const struct simd_op *op = i->aux;

    emit_bytes(e, op->code, op->code_len);
    if (op->flags & SO_IMM)
        emit8(e, i->osize);
}

/* VEX clears what is above the result: the rest of 512 bits too. */
static void store_vector(struct emit *e, const struct insn *i, const struct simd_op *op)
{
    unsigned reg = simd_slot_number(op, op->dst);
    int32_t at = place(i, op->dst);

    if (op->check == CHECK_SSE) {
        emit_vector(e, 0x11, reg, at, 16, true);
    } else if (op->check == CHECK_EVEX) {
        emit_vector(e, 0x11, reg, at, 64, false);
    } else {
        emit_vector(e, 0x11, reg, at, 32, false);
        if (simd_host_avx512()) {
            EMIT(e, 0xc4, 0xe1, 0x78, 0x57, 0xc0);      /* vxorps xmm0, xmm0, xmm0 */
            emit_vector(e, 0x11, 0, at + 32, 32, false);
        }
    }
}

void bt_emit_simd_store(struct emit *e, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    unsigned gpr;

    if (op->dst != SLOT_COUNT && op->regs[op->dst] == REGS_VECTOR)
        store_vector(e, i, op);
    else if (op->dst != SLOT_COUNT && op->regs[op->dst] == REGS_MASK)
        emit_mask(e, 0x91, simd_slot_number(op, op->dst), place(i, op->dst));
    if (op->size)
        emit_gs_load(e, H_RDI, CTX_WORD(W_SIMD_RDI));
    if (!has_gpr(op, &gpr))
        return;
    if (op->dst == gpr)
        emit_mov(e, H_R11, H_RAX);
    emit_gs_load(e, H_RAX, CTX_WORD(W_SIMD_RAX));
    if (op->dst == gpr) {
        unsigned r = number(i, gpr) / 8;

        if (in_context(r))
            emit_gs_store(e, H_R11, CTX_GPR(r));
        else
            emit_mov(e, r, H_R11);
    }
}

void bt_emit_simd_undo(struct emit *e, const struct insn *i)
{
    const struct simd_op *op = i->aux;

    if (op->size)
        emit_gs_load(e, H_RDI, CTX_WORD(W_SIMD_RDI));
}
