/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The moves that programs are full of, in C: without a stub they are a copy
 * between guest memory and the register file.  Vectors of 16 bytes are moved
 * by one host access, as the guest's would be.
 */
#include "engine/soft/simd.h"

#include <emmintrin.h>
#include <string.h>

static void copy16(void *to, const void *from)
{
    _mm_storeu_si128(to, _mm_loadu_si128(from));
}

/* ---- full vectors -------------------------------------------------------------- */

static inline int load16(struct soft_cpu *c, const struct insn *i, unsigned align)
{
    uint64_t la;
    const void *p;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    if (unlikely(insn_linear(c, i, 16, false, &la)))
        return simd_bad_address(c, i, align + (align > 0), SOFT_FAULT);
    if (unlikely(la & align))
        return soft_gp0(c);
    p = tlb_read_ptr(c, la, 16);
    if (unlikely(!p)) {
        int r = soft_read_bytes(c, la, c->fpu.zmm[i->reg], 16);
        return r ? r : SOFT_NEXT;
    }
    copy16(c->fpu.zmm[i->reg], p);
    return SOFT_NEXT;
}

static inline int store16(struct soft_cpu *c, const struct insn *i, unsigned align)
{
    uint64_t la;
    void *p;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    if (unlikely(insn_linear(c, i, 16, true, &la)))
        return simd_bad_address(c, i, align + (align > 0), SOFT_FAULT);
    if (unlikely(la & align))
        return soft_gp0(c);
    p = tlb_write_ptr(c, la, 16);
    if (unlikely(!p)) {
        int r = soft_write_bytes(c, la, c->fpu.zmm[i->reg], 16);
        return r ? r : SOFT_NEXT;
    }
    copy16(p, c->fpu.zmm[i->reg]);
    return SOFT_NEXT;
}

static int op_movups_load(struct soft_cpu *c, const struct insn *i) { return load16(c, i, 0); }
static int op_movaps_load(struct soft_cpu *c, const struct insn *i) { return load16(c, i, 15); }
static int op_movups_store(struct soft_cpu *c, const struct insn *i) { return store16(c, i, 0); }
static int op_movaps_store(struct soft_cpu *c, const struct insn *i) { return store16(c, i, 15); }

static int op_movaps_reg(struct soft_cpu *c, const struct insn *i)
{
    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    copy16(c->fpu.zmm[i->reg], c->fpu.zmm[i->rm]);
    return SOFT_NEXT;
}

/* VEX, 16 or 32 bytes: op->size; the rest of the register is cleared. */
static void put_vector(uint8_t *reg, const uint8_t *from, unsigned size)
{
    __m128i zero = _mm_setzero_si128();

    copy16(reg, from);
    if (size == 32)
        copy16(reg + 16, from + 16);
    else
        _mm_storeu_si128((void *)(reg + 16), zero);
    _mm_storeu_si128((void *)(reg + 32), zero);
    _mm_storeu_si128((void *)(reg + 48), zero);
}

static int op_vmov_load(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    uint8_t bounce[32];
    const void *p;
    uint64_t la;
    int r;

    if (unlikely(simd_check(c, CHECK_VEX)))
        return SOFT_FAULT;
    if (unlikely(insn_linear(c, i, op->size, false, &la)))
        return simd_bad_address(c, i, op->align, SOFT_FAULT);
    if (unlikely(op->align && (la & (op->align - 1u))))
        return soft_gp0(c);
    p = tlb_read_ptr(c, la, op->size);
    if (unlikely(!p)) {
        r = soft_read_bytes(c, la, bounce, op->size);
        if (r)
            return r;
        p = bounce;
    }
    put_vector(c->fpu.zmm[i->reg], p, op->size);
    return SOFT_NEXT;
}

static int op_vmov_store(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;
    uint64_t la;
    uint8_t *p;
    int r;

    if (unlikely(simd_check(c, CHECK_VEX)))
        return SOFT_FAULT;
    if (unlikely(insn_linear(c, i, op->size, true, &la)))
        return simd_bad_address(c, i, op->align, SOFT_FAULT);
    if (unlikely(op->align && (la & (op->align - 1u))))
        return soft_gp0(c);
    p = tlb_write_ptr(c, la, op->size);
    if (unlikely(!p)) {
        r = soft_write_bytes(c, la, c->fpu.zmm[i->reg], op->size);
        return r ? r : SOFT_NEXT;
    }
    copy16(p, c->fpu.zmm[i->reg]);
    if (op->size == 32)
        copy16(p + 16, c->fpu.zmm[i->reg] + 16);
    return SOFT_NEXT;
}

static int op_vmov_reg(struct soft_cpu *c, const struct insn *i)
{
    const struct simd_op *op = i->aux;

    if (unlikely(simd_check(c, CHECK_VEX)))
        return SOFT_FAULT;
    put_vector(c->fpu.zmm[i->reg], c->fpu.zmm[i->rm], op->vl);
    return SOFT_NEXT;
}

/* ---- scalars, SSE -------------------------------------------------------------------- */

/* Into the low quadword, the next one cleared: MOVD, MOVQ, MOVSS, MOVSD. */
static inline int load_scalar(struct soft_cpu *c, const struct insn *i, unsigned size)
{
    uint64_t v[2] = { 0, 0 };
    int r;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    r = insn_load(c, i, size, v);
    if (unlikely(r))
        return r;
    memcpy(c->fpu.zmm[i->reg], v, 16);
    return SOFT_NEXT;
}

static inline int store_part(struct soft_cpu *c, const struct insn *i, unsigned at, unsigned size)
{
    uint64_t v = 0;
    int r;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    memcpy(&v, c->fpu.zmm[i->reg] + at, size);
    r = insn_store(c, i, size, v);
    return unlikely(r) ? r : SOFT_NEXT;
}

static inline int load_half(struct soft_cpu *c, const struct insn *i, unsigned at)
{
    uint64_t v;
    int r;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    r = insn_load(c, i, 8, &v);
    if (unlikely(r))
        return r;
    memcpy(c->fpu.zmm[i->reg] + at, &v, 8);
    return SOFT_NEXT;
}

static int op_load4(struct soft_cpu *c, const struct insn *i) { return load_scalar(c, i, 4); }
static int op_load8(struct soft_cpu *c, const struct insn *i) { return load_scalar(c, i, 8); }
static int op_store4(struct soft_cpu *c, const struct insn *i) { return store_part(c, i, 0, 4); }
static int op_store8(struct soft_cpu *c, const struct insn *i) { return store_part(c, i, 0, 8); }
static int op_store8_high(struct soft_cpu *c, const struct insn *i) { return store_part(c, i, 8, 8); }
static int op_load_low(struct soft_cpu *c, const struct insn *i) { return load_half(c, i, 0); }
static int op_load_high(struct soft_cpu *c, const struct insn *i) { return load_half(c, i, 8); }

static inline int from_gpr(struct soft_cpu *c, const struct insn *i, unsigned size)
{
    uint64_t v[2] = { 0, 0 };

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    v[0] = gpr_get(c, i->rm, size);
    memcpy(c->fpu.zmm[i->reg], v, 16);
    return SOFT_NEXT;
}

static inline int to_gpr(struct soft_cpu *c, const struct insn *i, unsigned size)
{
    uint64_t v = 0;

    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    memcpy(&v, c->fpu.zmm[i->reg], size);
    gpr_set(c, i->rm, 8, v);
    return SOFT_NEXT;
}

static int op_from_gpr4(struct soft_cpu *c, const struct insn *i) { return from_gpr(c, i, 4); }
static int op_from_gpr8(struct soft_cpu *c, const struct insn *i) { return from_gpr(c, i, 8); }
static int op_to_gpr4(struct soft_cpu *c, const struct insn *i) { return to_gpr(c, i, 4); }
static int op_to_gpr8(struct soft_cpu *c, const struct insn *i) { return to_gpr(c, i, 8); }

static int op_pxor_reg(struct soft_cpu *c, const struct insn *i)
{
    if (unlikely(simd_check(c, CHECK_SSE)))
        return SOFT_FAULT;
    _mm_storeu_si128((void *)c->fpu.zmm[i->reg],
                     _mm_xor_si128(_mm_loadu_si128((void *)c->fpu.zmm[i->reg]),
                                   _mm_loadu_si128((void *)c->fpu.zmm[i->rm])));
    return SOFT_NEXT;
}

/* ---- choice ------------------------------------------------------------------------------ */

static insn_fn choose_scalar(const struct lower *l, const struct simd_op *op)
{
    bool gpr = op->regs[SLOT_RM] == REGS_GPR, load = op->flags & SO_LOAD, store = op->flags & SO_STORE;

    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_MOVD:
    case ZYDIS_MNEMONIC_MOVQ:
        if (gpr && op->dst == SLOT_REG)
            return l->z->raw.rex.W ? op_from_gpr8 : op_from_gpr4;
        if (gpr)
            return l->z->raw.rex.W ? op_to_gpr8 : op_to_gpr4;
        /* fallthrough */
    case ZYDIS_MNEMONIC_MOVSS:
    case ZYDIS_MNEMONIC_MOVSD:
        return load ? (op->size == 8 ? op_load8 : op_load4) :
               store ? (op->size == 8 ? op_store8 : op_store4) : NULL;
    case ZYDIS_MNEMONIC_MOVLPS:
    case ZYDIS_MNEMONIC_MOVLPD:
        return load ? op_load_low : store ? op_store8 : NULL;
    case ZYDIS_MNEMONIC_MOVHPS:
    case ZYDIS_MNEMONIC_MOVHPD:
        return load ? op_load_high : store ? op_store8_high : NULL;
    case ZYDIS_MNEMONIC_PXOR:
    case ZYDIS_MNEMONIC_XORPS:
    case ZYDIS_MNEMONIC_XORPD:
        return load ? NULL : op_pxor_reg;
    default:
        return NULL;
    }
}

static bool is_full_move(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_MOVAPS: case ZYDIS_MNEMONIC_MOVAPD: case ZYDIS_MNEMONIC_MOVDQA:
    case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_MOVNTPS: case ZYDIS_MNEMONIC_MOVNTPD: case ZYDIS_MNEMONIC_MOVNTDQ:
    case ZYDIS_MNEMONIC_MOVNTDQA: case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVUPS: case ZYDIS_MNEMONIC_VMOVUPD: case ZYDIS_MNEMONIC_VMOVDQU:
    case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD: case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA: case ZYDIS_MNEMONIC_VLDDQU:
        return true;
    default:
        return false;
    }
}

static void swap_operands(struct insn *i)
{
    uint8_t reg = i->reg;

    i->reg = i->rm;
    i->rm = reg;
}

bool simd_move_lower(struct lower *l, const struct simd_op *op)
{
    bool load = op->flags & SO_LOAD, store = op->flags & SO_STORE, full = is_full_move(l->z->mnemonic);
    struct insn *i = l->insn;

    if (op->check == CHECK_VEX && full) {
        i->fn = load ? op_vmov_load : store ? op_vmov_store : op_vmov_reg;
    } else if (op->check == CHECK_SSE && full) {
        i->fn = load ? (op->align ? op_movaps_load : op_movups_load) :
                store ? (op->align ? op_movaps_store : op_movups_store) : op_movaps_reg;
    } else if (op->check == CHECK_SSE) {
        insn_fn fn = choose_scalar(l, op);
        if (!fn)
            return false;
        i->fn = fn;
        return true;
    } else {
        return false;
    }
    if (!load && !store && op->dst == SLOT_RM)
        swap_operands(i);
    return true;
}
