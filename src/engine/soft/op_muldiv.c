/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiplication, division, sign extension, BCD. */
#include "engine/soft/op_int.h"

static int source(struct soft_cpu *c, const struct insn *i, uint64_t *v)
{
    if (i->flags & INSN_MEM)
        return insn_load(c, i, i->osize, v);
    *v = gpr_get(c, i->rm, i->osize);
    return 0;
}

/* MUL, IMUL, DIV and IDIV with one operand: (R)DX:(R)AX, or AX for bytes. */
#define HOST_WIDE(bits, T, sfx, name)                                          \
    static void host_##name##_##bits(struct soft_cpu *c, uint64_t src)         \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        uint64_t lo = *gpr64(c, CPU_RAX * 8), hi = *gpr64(c, CPU_RDX * 8);     \
        __asm__(LOAD_FLAGS "mov %[lo], %%rax\n\t" #name sfx " %[s]\n\t"        \
                "mov %%rax, %[lo]" SAVE_FLAGS                                  \
                : "+&a"(ax), [lo] "+&r"(lo), "+&d"(hi) : [s] "r"((T)src) : "cc"); \
        c->ax_flags = ax;                                                      \
        gpr_set(c, CPU_RAX * 8, bits / 8, lo);                                 \
        gpr_set(c, CPU_RDX * 8, bits / 8, hi);                                 \
    }
#define HOST_BYTE(name)                                                        \
    static void host_##name##_8(struct soft_cpu *c, uint64_t src)              \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        uint64_t lo = *gpr64(c, CPU_RAX * 8);                                  \
        __asm__(LOAD_FLAGS "mov %[lo], %%rax\n\t" #name "b %[s]\n\t"           \
                "mov %%rax, %[lo]" SAVE_FLAGS                                  \
                : "+&a"(ax), [lo] "+&r"(lo) : [s] "q"((uint8_t)src) : "cc");   \
        c->ax_flags = ax;                                                      \
        *gpr16(c, CPU_RAX * 8) = (uint16_t)lo;                                 \
    }
#define HOST_ONE_OPERAND(name)                                                 \
    ALU_SIZES_16UP(HOST_WIDE, name)                                            \
    HOST_BYTE(name)
HOST_ONE_OPERAND(mul)
HOST_ONE_OPERAND(imul)
HOST_ONE_OPERAND(div)
HOST_ONE_OPERAND(idiv)

typedef void (*mul_fn)(struct soft_cpu *c, uint64_t src);
static const mul_fn muls[4] = { host_mul_8, host_mul_16, host_mul_32, host_mul_64 };
static const mul_fn imuls[4] = { host_imul_8, host_imul_16, host_imul_32, host_imul_64 };

static int multiply(struct soft_cpu *c, const struct insn *i, const mul_fn *fns)
{
    uint64_t v;
    int r = source(c, i, &v);

    if (!r)
        fns[SIZE_INDEX(i->osize)](c, v);
    return r;
}

int op_mul(struct soft_cpu *c, const struct insn *i)
{
    return multiply(c, i, muls);
}

int op_imul1(struct soft_cpu *c, const struct insn *i)
{
    return multiply(c, i, imuls);
}

/* IMUL r, r/m and IMUL r, r/m, imm (insn.vreg: has an immediate). */
int op_imul2(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v, b;
    int r = source(c, i, &v);

    if (r)
        return r;
    b = i->vreg ? i->imm : gpr_get(c, i->reg, i->osize);
    if (i->osize == 2)
        *gpr16(c, i->reg) = alu_imul_16(c, (uint16_t)b, (uint16_t)v);
    else if (i->osize == 4)
        *gpr64(c, i->reg) = alu_imul_32(c, (uint32_t)b, (uint32_t)v);
    else
        *gpr64(c, i->reg) = alu_imul_64(c, b, v);
    return SOFT_NEXT;
}

/* Division: checked here so that the host's never faults; then the host's own
 * instruction, for its flags.  SDM 2A DIV: #DE on 0 or overflow. */

/* Dividend as a 128-bit number. */
static unsigned __int128 dividend(struct soft_cpu *c, unsigned size)
{
    if (size == 1)
        return *gpr16(c, CPU_RAX * 8);
    return (unsigned __int128)gpr_get(c, CPU_RDX * 8, size) << (8 * size) | gpr_get(c, CPU_RAX * 8, size);
}

static __int128 sign_extend(unsigned __int128 v, unsigned bits)
{
    return (__int128)(v << (128 - bits)) >> (128 - bits);
}

int op_div(struct soft_cpu *c, const struct insn *i)
{
    static const mul_fn fns[4] = { host_div_8, host_div_16, host_div_32, host_div_64 };
    uint64_t v;
    int r = source(c, i, &v);

    if (r)
        return r;
    if (!v || dividend(c, i->osize) / v > size_mask(i->osize))
        return soft_raise(c, VEC_DE);
    fns[SIZE_INDEX(i->osize)](c, v);
    return SOFT_NEXT;
}

int op_idiv(struct soft_cpu *c, const struct insn *i)
{
    static const mul_fn fns[4] = { host_idiv_8, host_idiv_16, host_idiv_32, host_idiv_64 };
    unsigned bits = i->osize * 8u;
    __int128 n, d, q;
    uint64_t v;
    int r = source(c, i, &v);

    if (r)
        return r;
    n = sign_extend(dividend(c, i->osize), 2 * bits);
    d = sign_extend(v, bits);
    if (!d || (d == -1 && n == sign_extend((unsigned __int128)1 << (2 * bits - 1), 2 * bits)))
        return soft_raise(c, VEC_DE);
    q = n / d;
    if (q != sign_extend((unsigned __int128)q, bits))
        return soft_raise(c, VEC_DE);
    fns[SIZE_INDEX(i->osize)](c, v);
    return SOFT_NEXT;
}

int op_cbw(struct soft_cpu *c, const struct insn *i)
{
    if (i->osize == 2)
        *gpr16(c, 0) = (uint16_t)(int8_t)*gpr8(c, 0);
    else if (i->osize == 4)
        c->gpr[0] = (uint32_t)(int16_t)*gpr16(c, 0);
    else
        c->gpr[0] = (uint64_t)(int32_t)*gpr32(c, 0);
    return SOFT_NEXT;
}

int op_cwd(struct soft_cpu *c, const struct insn *i)
{
    uint64_t sign = gpr_get(c, 0, i->osize) >> (8 * i->osize - 1) & 1;

    gpr_set(c, CPU_RDX * 8, i->osize, sign ? ~0ULL : 0);
    return SOFT_NEXT;
}

/*
 * BCD adjustments have no 64-bit encoding, so they are computed here.  SDM 2A
 * defines CF and AF (and SF, ZF, PF of DAA, DAS, AAM, AAD); the undefined
 * ones follow the CPUs: those of the addition or the result, OF 0.
 */
static unsigned result_flags(uint8_t v)
{
    return (v & 0x80 ? X86_SF : 0u) | (v ? 0u : X86_ZF) | (__builtin_parity(v) ? 0u : X86_PF);
}

static int ascii_adjust(struct soft_cpu *c, int sign)
{
    unsigned f = soft_arith_flags(c);
    uint16_t ax = *gpr16(c, 0);
    bool carry = (ax & 15) > 9 || (f & X86_AF);

    if (carry)
        ax = (uint16_t)(ax + sign * 0x106);
    ax &= 0xff0f;
    *gpr16(c, 0) = ax;
    soft_set_arith_flags(c, result_flags((uint8_t)ax) | (carry ? X86_CF | X86_AF : 0u));
    return SOFT_NEXT;
}

int op_aaa(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return ascii_adjust(c, 1);
}

int op_aas(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return ascii_adjust(c, -1);
}

int op_aam(struct soft_cpu *c, const struct insn *i)
{
    uint8_t base = (uint8_t)i->imm, al = *gpr8(c, 0);

    if (!base)
        return soft_raise(c, VEC_DE);
    *gpr16(c, 0) = (uint16_t)((al / base) << 8 | (al % base));
    soft_set_arith_flags(c, result_flags(al % base));
    return SOFT_NEXT;
}

int op_aad(struct soft_cpu *c, const struct insn *i)
{
    uint8_t al = *gpr8(c, 0), ah = *gpr8(c, 1);

    al = (uint8_t)(al + ah * (uint8_t)i->imm);
    *gpr16(c, 0) = al;
    soft_set_arith_flags(c, result_flags(al));
    return SOFT_NEXT;
}

static int decimal_adjust(struct soft_cpu *c, int sign)
{
    unsigned f = soft_arith_flags(c), out = 0;
    uint8_t al = *gpr8(c, 0), old = al;
    bool carry = old > 0x99 || (f & X86_CF);

    if ((al & 15) > 9 || (f & X86_AF)) {
        /* DAS: a borrow of this step sets CF too (SDM 2A DAS). */
        if (sign < 0 && al < 6)
            out |= X86_CF;
        al = (uint8_t)(al + sign * 6);
        out |= X86_AF;
    }
    if (carry) {
        al = (uint8_t)(al + sign * 0x60);
        out |= X86_CF;
    }
    *gpr8(c, 0) = al;
    soft_set_arith_flags(c, out | result_flags(al));
    return SOFT_NEXT;
}

int op_daa(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return decimal_adjust(c, 1);
}

int op_das(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return decimal_adjust(c, -1);
}
