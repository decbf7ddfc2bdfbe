/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SIMD instructions that are functions: MXCSR, state, fences, cache control. */
#include "engine/soft/simd.h"

#include <emmintrin.h>
#include <string.h>

static int op_ldmxcsr(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = simd_check(c, i->osize);

    if (!r)
        r = insn_load(c, i, 4, &v);
    if (r)
        return r;
    if (v & ~(uint64_t)simd_mxcsr_valid(c))
        return soft_gp0(c);
    *fpu_mxcsr(c) = (uint32_t)v;
    return SOFT_NEXT;
}

static int op_stmxcsr(struct soft_cpu *c, const struct insn *i)
{
    int r = simd_check(c, i->osize);

    if (!r)
        r = insn_store(c, i, 4, *fpu_mxcsr(c));
    return r ? r : SOFT_NEXT;
}

/* AMD's EMMS sets TOP to 0, as all MMX instructions do; Intel's is the
 * exception among them (SDM 1 9.5.1).  Ask the host. */
static bool emms_clears_top(void)
{
    uint16_t fsw;

    __asm__("fninit; fincstp; emms; fnstsw %0; fninit" : "=m"(fsw));
    return !(fsw >> FSW_TOP_SHIFT & 7);
}

static int op_emms(struct soft_cpu *c, const struct insn *i)
{
    int r = simd_check(c, CHECK_MMX);

    (void)i;
    if (r)
        return r;
    if (emms_clears_top())
        simd_enter_mmx(c);
    simd_enter_mmx(c);          /* TOP 0 (SDM 3A table 13-1) */
    *fpu_ftw(c) = 0;
    return SOFT_NEXT;
}

/* In 32-bit modes only registers 0 to 7 are cleared (SDM 2C VZEROALL). */
static int op_vzeroupper(struct soft_cpu *c, const struct insn *i)
{
    if (simd_check(c, CHECK_VEX))
        return SOFT_FAULT;
    for (unsigned n = 0; n < (i->flags & INSN_CODE64 ? 16u : 8u); n++)
        memset(c->fpu.zmm[n] + 16, 0, 48);
    return SOFT_NEXT;
}

static int op_vzeroall(struct soft_cpu *c, const struct insn *i)
{
    if (simd_check(c, CHECK_VEX))
        return SOFT_FAULT;
    memset(c->fpu.zmm[0], 0, i->flags & INSN_CODE64 ? 16 * 64 : 8 * 64);
    return SOFT_NEXT;
}

static int op_lfence(struct soft_cpu *c, const struct insn *i)
{
    (void)c, (void)i;
    _mm_lfence();
    return SOFT_NEXT;
}

static int op_sfence(struct soft_cpu *c, const struct insn *i)
{
    (void)c, (void)i;
    _mm_sfence();
    return SOFT_NEXT;
}

static int op_mfence(struct soft_cpu *c, const struct insn *i)
{
    (void)c, (void)i;
    _mm_mfence();
    return SOFT_NEXT;
}

static int op_movnti(struct soft_cpu *c, const struct insn *i)
{
    int r = insn_store(c, i, i->osize, gpr_get(c, i->reg, i->osize));

    return r ? r : SOFT_NEXT;
}

/* The faults of a byte's load (SDM 2A CLFLUSH), and nothing else: our host
 * memory is coherent. */
static int op_clflush(struct soft_cpu *c, const struct insn *i)
{
    uint64_t la;
    int r = insn_linear(c, i, 1, false, &la);

    if (!r)
        r = soft_probe(c, la, 1, ACCESS_READ);
    return r ? r : SOFT_NEXT;
}

static int op_prefetch(struct soft_cpu *c, const struct insn *i)
{
    (void)c, (void)i;
    return SOFT_NEXT;
}

/* ---- SSE4A (APM 4 EXTRQ, INSERTQ) ------------------------------------------------ */

/* The upper half of the result is undefined; CPUs clear it. */
static void put_field(struct soft_cpu *c, unsigned reg, uint64_t v)
{
    memcpy(c->fpu.zmm[reg], &v, 8);
    memset(c->fpu.zmm[reg] + 8, 0, 8);
}

static uint64_t field_mask(unsigned len)
{
    len &= 63;
    return len ? (1ULL << len) - 1 : ~0ULL;
}

static int extrq(struct soft_cpu *c, unsigned reg, unsigned len, unsigned index)
{
    uint64_t v;

    if (simd_check(c, CHECK_SSE))
        return SOFT_FAULT;
    memcpy(&v, c->fpu.zmm[reg], 8);
    v = v >> (index & 63) & field_mask(len);
    put_field(c, reg, v);
    return SOFT_NEXT;
}

static int insertq(struct soft_cpu *c, unsigned reg, unsigned from, unsigned len, unsigned index)
{
    uint64_t v, field;

    if (simd_check(c, CHECK_SSE))
        return SOFT_FAULT;
    memcpy(&v, c->fpu.zmm[reg], 8);
    memcpy(&field, c->fpu.zmm[from], 8);
    v &= ~(field_mask(len) << (index & 63));
    v |= (field & field_mask(len)) << (index & 63);
    put_field(c, reg, v);
    return SOFT_NEXT;
}

/* imm: length | index << 8 */
static int op_extrq_imm(struct soft_cpu *c, const struct insn *i)
{
    return extrq(c, i->rm, i->imm & 0xff, i->imm >> 8 & 0xff);
}

static int op_insertq_imm(struct soft_cpu *c, const struct insn *i)
{
    return insertq(c, i->reg, i->rm, i->imm & 0xff, i->imm >> 8 & 0xff);
}

static int op_extrq(struct soft_cpu *c, const struct insn *i)
{
    return extrq(c, i->reg, c->fpu.zmm[i->rm][0], c->fpu.zmm[i->rm][1]);
}

static int op_insertq(struct soft_cpu *c, const struct insn *i)
{
    return insertq(c, i->reg, i->rm, c->fpu.zmm[i->rm][8], c->fpu.zmm[i->rm][9]);
}

static insn_fn choose_sse4a(struct lower *l)
{
    bool extract = l->z->mnemonic == ZYDIS_MNEMONIC_EXTRQ;
    unsigned imms = 0, v[2] = { 0, 0 };

    for (unsigned n = 0; n < l->z->operand_count; n++)
        if (l->op[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && imms < 2)
            v[imms++] = (uint8_t)l->op[n].imm.value.u;
    if (imms == 2) {
        l->insn->imm = v[0] | v[1] << 8;
        return extract ? op_extrq_imm : op_insertq_imm;
    }
    return imms ? NULL : extract ? op_extrq : op_insertq;
}

/* ---- choice ------------------------------------------------------------------------- */

static insn_fn choose(struct lower *l)
{
    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR: return op_ldmxcsr;
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR: return op_stmxcsr;
    case ZYDIS_MNEMONIC_EMMS: return op_emms;
    case ZYDIS_MNEMONIC_VZEROUPPER: return op_vzeroupper;
    case ZYDIS_MNEMONIC_VZEROALL: return op_vzeroall;
    case ZYDIS_MNEMONIC_LFENCE: return op_lfence;
    case ZYDIS_MNEMONIC_SFENCE: return op_sfence;
    case ZYDIS_MNEMONIC_MFENCE: return op_mfence;
    case ZYDIS_MNEMONIC_MOVNTI: return op_movnti;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB: return op_clflush;
    case ZYDIS_MNEMONIC_EXTRQ:
    case ZYDIS_MNEMONIC_INSERTQ: return choose_sse4a(l);
    default: return op_prefetch;
    }
}

static bool is_prefetch(const struct lower *l)
{
    return l->z->meta.category == ZYDIS_CATEGORY_PREFETCH || l->z->mnemonic == ZYDIS_MNEMONIC_PREFETCHWT1;
}

bool simd_misc_lower(struct lower *l)
{
    struct insn *i = l->insn;

    /* Prefetches are hints: those that a CPU does not know are NOPs. */
    if (!is_prefetch(l) && (!simd_encoding_legal(l) || !simd_feature(l)))
        return false;
    i->fn = choose(l);
    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_STMXCSR: i->osize = CHECK_SSE; break;
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR: i->osize = CHECK_VEX; break;
    case ZYDIS_MNEMONIC_MOVNTI: i->osize = l->z->raw.rex.W ? 8 : 4; break;
    default: break;
    }
    return i->fn != NULL;
}
