/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands of which only parts are accessed: masked and packed loads
 * and stores, MASKMOV, gathers and scatters.  Elements that the mask disables
 * are never touched, so they cannot fault.
 */
#include "engine/soft/simd.h"

#include <string.h>

static uint64_t low_bits(unsigned n)
{
    return n >= 64 ? ~0ULL : (1ULL << n) - 1;
}

/* One bit for each element of the memory operand. */
uint64_t simd_mask(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    unsigned n = op->size / op->elem;
    uint64_t mask = ~0ULL;

    if (op->flags & SO_VMASK) {
        const uint8_t *v = c->fpu.zmm[i->vreg & 31];
        mask = 0;
        for (unsigned e = 0; e < n; e++)
            mask |= (uint64_t)(v[(e + 1) * op->elem - 1] >> 7) << e;
    } else if (op->extra == EXTRA_MASK) {
        mask = c->fpu.k[i->vreg >> 5];
    }
    return mask & low_bits(n);
}

static uint64_t cut(const struct insn *i, uint64_t off)
{
    return i->asize == 8 ? off : i->asize == 4 ? (uint32_t)off : (uint16_t)off;
}

/* Linear address of the element at off bytes behind the operand's start. */
static int element_linear(struct soft_cpu *c, const struct insn *i, uint64_t off, unsigned size,
                          bool write, uint64_t *la)
{
    return soft_linear(c, i->seg, cut(i, off), size, write, la);
}

/* Of a masked operand: its parts do not wrap at 4 GiB, but VMASKMOV's do. */
static int lane_linear(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, uint64_t off,
                       bool write, uint64_t *la)
{
    if (op->flags & SO_VMASK)
        return element_linear(c, i, off, op->elem, write, la);
    if (!c->code64 && off + op->elem - 1 > 0xffffffff)
        return soft_raise_err(c, i->seg == SEG_SS ? VEC_SS : VEC_GP, 0);
    return soft_linear(c, i->seg, off, op->elem, write, la);
}

/* The address if the operand needs no checks but the TLB's, for the fast paths. */
static bool flat_linear(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, uint64_t *la)
{
    return (i->flags & INSN_FLAT) && !insn_linear(c, i, op->size, false, la);
}

/* Alignment counts whatever the mask is, says SDM 2A table 2-45, class E1; but
 * CPUs of both vendors access nothing if it is empty. */
static int check_align(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, uint64_t mask)
{
    uint64_t la;

    if (!mask || !op->align)
        return 0;
    if (insn_linear(c, i, op->size, op->flags & SO_STORE, &la))
        return simd_bad_address(c, i, op->align, SOFT_FAULT);
    return la & (op->align - 1u) ? soft_gp0(c) : 0;
}

static int load_elements(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                         uint64_t mask, uint8_t *bounce)
{
    uint64_t off = insn_offset(c, i), la, v;
    int r;

    memset(bounce, 0, 64);
    for (; mask; mask &= mask - 1) {
        unsigned e = (unsigned)__builtin_ctzll(mask) * op->elem;
        r = lane_linear(c, i, op, off + e, false, &la);
        if (!r)
            r = soft_read(c, la, op->elem, &v);
        if (r)
            return r;
        memcpy(bounce + e, &v, op->elem);
    }
    return 0;
}

/* A broadcast reads those elements that go to an enabled one of the result. */
static uint64_t spread_mask(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    uint64_t mask = c->fpu.k[i->vreg >> 5] & low_bits(op->lanes), m = 0;
    unsigned n = op->size / op->elem;

    for (; mask; mask >>= n)
        m |= mask & low_bits(n);
    return m;
}

/* One bit for each element of memory that is accessed.  Compress and expand:
 * as many as the mask has bits, next to each other. */
static uint64_t access_mask(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    uint64_t mask = op->flags & SO_SPREAD ? spread_mask(c, i, op) : simd_mask(c, i, op);

    return op->flags & SO_PACK ? low_bits((unsigned)__builtin_popcountll(mask)) : mask;
}

/* Alignment checking (#AC) of a masked operand, where a mask register leaves any
 * of it: Intel's CPUs look at the whole one, whatever is enabled. */
static int check_whole(struct soft_cpu *c, const struct insn *i, const struct simd_op *op, uint64_t mask)
{
    uint64_t la;
    int r;

    if (!mask || c->vm->model->amd || op->flags & SO_VMASK)
        return 0;
    r = lane_linear(c, i, op, insn_offset(c, i), op->flags & SO_STORE, &la);
    return r ? r : soft_align(c, la, op->size);
}

static int load_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                       uint8_t *bounce, void **mem)
{
    uint64_t la, mask = access_mask(c, i, op);
    int r = check_align(c, i, op, mask);

    if (r)
        return r;
    if (flat_linear(c, i, op, &la)) {
        *mem = tlb_read_ptr(c, la, op->size);
        if (*mem)
            return 0;
    }
    *mem = bounce;
    r = check_whole(c, i, op, mask);
    return r ? r : load_elements(c, i, op, mask, bounce);
}

/* VMASKMOV, VPMASKMOV, gathers and scatters do not check alignment; with a mask
 * register AMD's CPUs check each element, Intel's operands below 16 bytes. */
static bool unchecked(const struct soft_cpu *c, const struct simd_op *op)
{
    return op->flags & SO_VMASK || (!c->vm->model->amd && op->size >= 16);
}

static uint32_t ac_off(struct soft_cpu *c, bool off)
{
    uint32_t ac = off ? c->rflags & X86_AC : 0;

    c->rflags &= ~ac;
    return ac;
}

int simd_load_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                     uint8_t *bounce, void **mem)
{
    uint32_t ac = ac_off(c, unchecked(c, op));
    int r = load_masked(c, i, op, bounce, mem);

    c->rflags |= ac;
    return r;
}

/* Faults of a store, before anything is computed. */
int simd_probe_store(struct soft_cpu *c, const struct insn *i, const struct simd_op *op)
{
    bool masked = op->flags & (SO_SUPPRESS | SO_VMASK | SO_PACK);
    uint64_t mask = masked ? access_mask(c, i, op) : 0, off = insn_offset(c, i), la;
    int r = 0;

    if (masked)
        r = check_align(c, i, op, mask);
    if (!r && (!masked || (op->flags & SO_WHOLE))) {
        r = insn_linear(c, i, op->size, true, &la);
        if (!r && op->align && (la & (op->align - 1u)))
            r = soft_gp0(c);
        if (!r)
            r = soft_align(c, la, op->size);
        if (!r)
            r = soft_probe(c, la, op->size, ACCESS_WRITE);
    }
    if (!r)
        r = check_whole(c, i, op, mask);
    for (; mask && !r; mask &= mask - 1) {
        r = lane_linear(c, i, op, off + (unsigned)__builtin_ctzll(mask) * op->elem, true, &la);
        if (!r && c->vm->model->amd)
            r = soft_align(c, la, op->elem);
        if (!r)
            r = soft_probe(c, la, op->elem, ACCESS_WRITE);
    }
    return r;
}

static int store_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                        const uint8_t *bounce)
{
    uint64_t mask = access_mask(c, i, op), off = insn_offset(c, i), la, v;
    int r = simd_probe_store(c, i, op);

    for (; mask && !r; mask &= mask - 1) {
        unsigned e = (unsigned)__builtin_ctzll(mask) * op->elem;
        v = 0;
        memcpy(&v, bounce + e, op->elem);
        r = lane_linear(c, i, op, off + e, true, &la);
        if (!r)
            r = soft_write(c, la, op->elem, v);
    }
    return r;
}

int simd_store_masked(struct soft_cpu *c, const struct insn *i, const struct simd_op *op,
                      const uint8_t *bounce)
{
    uint32_t ac = ac_off(c, unchecked(c, op));
    int r = store_masked(c, i, op, bounce);

    c->rflags |= ac;
    return r;
}

/* ---- MASKMOVQ, MASKMOVDQU ---------------------------------------------------------- */

/* The destination is DS:rDI (segment overridable). */
static int maskmov(struct soft_cpu *c, const struct insn *i, const uint8_t *src, const uint8_t *mask,
                   unsigned len)
{
    uint64_t off = insn_offset(c, i), la;
    int r = 0;

    /* CPUs fault whatever the mask is; the manuals leave it open. */
    for (unsigned n = 0; n < len; n++) {
        r = element_linear(c, i, off + n, 1, true, &la);
        if (!r && !n)
            r = soft_align(c, la, 8);
        if (!r)
            r = soft_probe(c, la, 1, ACCESS_WRITE);
        if (r)
            return r;
    }
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned n = 0; n < len; n++) {
            if (!(mask[n] & 0x80))
                continue;
            r = element_linear(c, i, off + n, 1, true, &la);
            if (!r)
                r = pass ? soft_write(c, la, 1, src[n]) : soft_probe(c, la, 1, ACCESS_WRITE);
            if (r)
                return r;
        }
    }
    return SOFT_NEXT;
}

static int op_maskmovdqu(struct soft_cpu *c, const struct insn *i)
{
    if (simd_check(c, CHECK_SSE))
        return SOFT_FAULT;
    return maskmov(c, i, c->fpu.zmm[i->reg], c->fpu.zmm[i->rm], 16);
}

static int op_vmaskmovdqu(struct soft_cpu *c, const struct insn *i)
{
    if (simd_check(c, CHECK_VEX))
        return SOFT_FAULT;
    return maskmov(c, i, c->fpu.zmm[i->reg], c->fpu.zmm[i->rm], 16);
}

static int op_maskmovq(struct soft_cpu *c, const struct insn *i)
{
    unsigned top = *fpu_fsw(c) >> FSW_TOP_SHIFT & 7;
    int r = simd_check(c, CHECK_MMX);

    if (!r && c->vm->model->amd)    /* whether it faults or not */
        simd_enter_mmx(c), top = 0;
    if (!r)
        r = maskmov(c, i, fpu_st(c, (i->reg - top) & 7), fpu_st(c, (i->rm - top) & 7), 8);
    if (r == SOFT_NEXT)
        simd_enter_mmx(c);
    return r;
}

static unsigned segment(ZydisRegister r)
{
    switch (r) {
    case ZYDIS_REGISTER_ES: return SEG_ES;
    case ZYDIS_REGISTER_CS: return SEG_CS;
    case ZYDIS_REGISTER_SS: return SEG_SS;
    case ZYDIS_REGISTER_FS: return SEG_FS;
    case ZYDIS_REGISTER_GS: return SEG_GS;
    default: return SEG_DS;
    }
}

bool maskmov_lower(struct lower *l)
{
    struct insn *i = l->insn;

    if (!simd_encoding_legal(l) || !simd_feature(l))
        return false;
    i->base = CPU_RDI * 8;
    i->index = GPR_ZERO;
    i->disp = 0;
    i->flags = (uint16_t)((i->flags | INSN_MEM) & ~INSN_FLAT);
    for (unsigned n = 0; n < l->z->operand_count; n++)
        if (l->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            i->seg = (uint8_t)segment(l->op[n].mem.segment);
    i->fn = l->z->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? op_maskmovq :
            l->z->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ? op_maskmovdqu : op_vmaskmovdqu;
    return true;
}

/* ---- gathers and scatters --------------------------------------------------------------- */

/* In insn: reg: data; rm: index vector; vreg: VEX: mask vector, EVEX: mask
 * register; osize: index bytes | element bytes << 4; disp, scale, base, seg as
 * usual; imm: elements | EVEX << 8. */
#define VSIB_EVEX 0x100u

static unsigned vsib_count(const struct insn *i) { return i->imm & 0xff; }
static unsigned vsib_elem(const struct insn *i) { return i->osize >> 4; }

static uint64_t vsib_offset(struct soft_cpu *c, const struct insn *i, unsigned n)
{
    const uint8_t *index = c->fpu.zmm[i->rm];
    int64_t x;

    if ((i->osize & 0xf) == 8) {
        memcpy(&x, index + 8 * n, 8);
    } else {
        int32_t x32;
        memcpy(&x32, index + 4 * n, 4);
        x = x32;
    }
    return *gpr64(c, i->base) + ((uint64_t)x << i->scale) + (uint64_t)(int64_t)i->disp;
}

static uint64_t vsib_mask(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = vsib_elem(i), count = vsib_count(i);
    uint64_t mask = 0;

    if (i->imm & VSIB_EVEX)
        return c->fpu.k[i->vreg] & low_bits(count);
    for (unsigned n = 0; n < count; n++)
        mask |= (uint64_t)(c->fpu.zmm[i->vreg][(n + 1) * size - 1] >> 7) << n;
    return mask;
}

/* Elements below done are done: clear their mask; all done: clear all of it. */
static void vsib_progress(struct soft_cpu *c, const struct insn *i, unsigned done)
{
    unsigned size = vsib_elem(i);
    bool all = done == vsib_count(i);

    if (i->imm & VSIB_EVEX)
        c->fpu.k[i->vreg] &= all ? 0 : ~low_bits(done);
    else
        memset(c->fpu.zmm[i->vreg], 0, all ? 64 : done * size);
}

static int gather(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = vsib_elem(i), count = vsib_count(i), n;
    uint64_t mask = vsib_mask(c, i), la, v;
    uint8_t result[64];
    int r = 0;

    memcpy(result, c->fpu.zmm[i->reg], 64);
    for (n = 0; n < count; n++) {
        if (!(mask >> n & 1))
            continue;
        r = element_linear(c, i, vsib_offset(c, i, n), size, false, &la);
        if (!r)
            r = soft_read(c, la, size, &v);
        if (r)
            break;
        memcpy(result + n * size, &v, size);
    }
    if (r == SOFT_EXIT)
        return r;               /* executed again from its start */
    /* A fault leaves what is to its right done (SDM 2C VGATHERDPS). */
    if (!r)
        memset(result + count * size, 0, 64 - count * size);
    memcpy(c->fpu.zmm[i->reg], result, 64);
    vsib_progress(c, i, n);
    return r ? r : SOFT_NEXT;
}

static int vsib_run(struct soft_cpu *c, const struct insn *i, int (*fn)(struct soft_cpu *, const struct insn *))
{
    uint32_t ac = ac_off(c, true);
    int r = fn(c, i);

    c->rflags |= ac;
    return r;
}

static int op_gather_vex(struct soft_cpu *c, const struct insn *i)
{
    return simd_check(c, CHECK_VEX) ? SOFT_FAULT : vsib_run(c, i, gather);
}

static int op_gather_evex(struct soft_cpu *c, const struct insn *i)
{
    return simd_check(c, CHECK_EVEX) ? SOFT_FAULT : vsib_run(c, i, gather);
}

static int scatter(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = vsib_elem(i), count = vsib_count(i), n;
    uint64_t mask = vsib_mask(c, i), la, v = 0;
    int r = 0;


    for (n = 0; n < count; n++) {
        if (!(mask >> n & 1))
            continue;
        memcpy(&v, c->fpu.zmm[i->reg] + n * size, size);
        r = element_linear(c, i, vsib_offset(c, i, n), size, true, &la);
        if (!r)
            r = soft_write(c, la, size, v);
        if (r)
            break;
    }
    if (r == SOFT_EXIT)
        return r;
    vsib_progress(c, i, n);
    return r ? r : SOFT_NEXT;
}

static int op_scatter(struct soft_cpu *c, const struct insn *i)
{
    return simd_check(c, CHECK_EVEX) ? SOFT_FAULT : vsib_run(c, i, scatter);
}

/* Sizes from the mnemonic: the letter before the type is the index's. */
static bool vsib_sizes(ZydisMnemonic m, unsigned *index, unsigned *elem)
{
    static const struct { ZydisMnemonic m; uint8_t index, elem; } rows[] = {
        { ZYDIS_MNEMONIC_VGATHERDPS, 4, 4 }, { ZYDIS_MNEMONIC_VGATHERDPD, 4, 8 },
        { ZYDIS_MNEMONIC_VGATHERQPS, 8, 4 }, { ZYDIS_MNEMONIC_VGATHERQPD, 8, 8 },
        { ZYDIS_MNEMONIC_VPGATHERDD, 4, 4 }, { ZYDIS_MNEMONIC_VPGATHERDQ, 4, 8 },
        { ZYDIS_MNEMONIC_VPGATHERQD, 8, 4 }, { ZYDIS_MNEMONIC_VPGATHERQQ, 8, 8 },
        { ZYDIS_MNEMONIC_VSCATTERDPS, 4, 4 }, { ZYDIS_MNEMONIC_VSCATTERDPD, 4, 8 },
        { ZYDIS_MNEMONIC_VSCATTERQPS, 8, 4 }, { ZYDIS_MNEMONIC_VSCATTERQPD, 8, 8 },
        { ZYDIS_MNEMONIC_VPSCATTERDD, 4, 4 }, { ZYDIS_MNEMONIC_VPSCATTERDQ, 4, 8 },
        { ZYDIS_MNEMONIC_VPSCATTERQD, 8, 4 }, { ZYDIS_MNEMONIC_VPSCATTERQQ, 8, 8 },
    };

    for (unsigned n = 0; n < ARRAY_SIZE(rows); n++) {
        if (rows[n].m == m) {
            *index = rows[n].index;
            *elem = rows[n].elem;
            return true;
        }
    }
    return false;
}

static bool vsib_lower(struct lower *l)
{
    const ZydisDecodedOperand *mem = NULL;
    bool evex = l->z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;
    struct insn *i = l->insn;
    unsigned index, elem, vl = l->z->avx.vector_length / 8, count;

    if (!simd_encoding_legal(l) || !simd_feature(l) || !vsib_sizes(l->z->mnemonic, &index, &elem))
        return false;
    for (unsigned n = 0; n < l->z->operand_count; n++)
        if (l->op[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
            mem = &l->op[n];
    if (!mem || (evex && !l->z->raw.evex.aaa))
        return false;
    count = vl / MAX(index, elem);
    i->rm = (uint8_t)ZydisRegisterGetId(mem->mem.index);
    i->index = GPR_ZERO;
    if (evex)
        i->vreg = l->z->raw.evex.aaa;
    i->osize = (uint8_t)(index | elem << 4);
    i->imm = count | (evex ? VSIB_EVEX : 0);
    i->flags &= (uint16_t)~INSN_FLAT;
    return true;
}

bool gather_lower(struct lower *l)
{
    struct insn *i = l->insn;
    bool evex = l->z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX;

    if (!vsib_lower(l))
        return false;
    /* #UD if the registers are not distinct (SDM 2C VGATHERDPS). */
    if (i->reg == i->rm || (!evex && (i->vreg == i->reg || i->vreg == i->rm)))
        return false;
    i->fn = evex ? op_gather_evex : op_gather_vex;
    return true;
}

bool scatter_lower(struct lower *l)
{
    if (!vsib_lower(l))
        return false;
    l->insn->fn = op_scatter;
    return true;
}
