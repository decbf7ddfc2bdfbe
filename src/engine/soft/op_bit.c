/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bit tests and scans, double shifts, counts, BMI1/2, ADX, CRC32, random numbers. */
#include "engine/soft/op_int.h"

static int source(struct soft_cpu *c, const struct insn *i, uint64_t *v)
{
    if (i->flags & INSN_MEM)
        return insn_load(c, i, i->osize, v);
    *v = gpr_get(c, i->rm, i->osize);
    return 0;
}

/* ---- BT, BTS, BTR, BTC ------------------------------------------------------------ */

#define BT_WIDE(bits, T, sfx, ...)                                             \
    ALU_WIDE(bits, T, sfx, bt)                                                 \
    ALU_WIDE(bits, T, sfx, bts)                                                \
    ALU_WIDE(bits, T, sfx, btr)                                                \
    ALU_WIDE(bits, T, sfx, btc)
ALU_SIZES_16UP(BT_WIDE, )

static const alu_fn bit_fns[4][4] = {
    { NULL, wide_bt_16, wide_bt_32, wide_bt_64 },
    { NULL, wide_bts_16, wide_bts_32, wide_bts_64 },
    { NULL, wide_btr_16, wide_btr_32, wide_btr_64 },
    { NULL, wide_btc_16, wide_btc_32, wide_btc_64 },
};

/* insn.vreg: which; insn.reg: GPR_ZERO if the bit offset is an immediate.  A
 * register offset reaches beyond the operand: bit strings (SDM 2A BT). */
int op_bt(struct soft_cpu *c, const struct insn *i)
{
    alu_fn fn = bit_fns[i->vreg][SIZE_INDEX(i->osize)];
    uint64_t off = i->reg == GPR_ZERO ? i->imm : gpr_get(c, i->reg, i->osize), v;
    struct insn moved = *i;
    int r;

    if (!(i->flags & INSN_MEM)) {
        v = fn(c, gpr_get(c, i->rm, i->osize), off);
        if (i->vreg)
            gpr_set(c, i->rm, i->osize, v);
        return SOFT_NEXT;
    }
    if (i->reg != GPR_ZERO) {
        /* Signed bit offset to a displacement in whole operands, through the scratch slot. */
        int64_t bits = i->osize == 2 ? (int16_t)off : i->osize == 4 ? (int32_t)off : (int64_t)off;

        bits >>= i->osize == 2 ? 4 : i->osize == 4 ? 5 : 6;
        c->gpr[GPR_SCRATCH / 8] = (*gpr64(c, i->index) << i->scale) + (uint64_t)(bits * i->osize);
        moved.index = GPR_SCRATCH;
        moved.scale = 0;
    }
    off &= i->osize * 8u - 1;
    if (i->vreg) {
        r = alu_rmw_slow(c, &moved, i->osize, fn, off, NULL);
    } else {
        r = insn_load(c, &moved, i->osize, &v);
        if (!r)
            fn(c, v, off);
    }
    return r;
}

/* ---- scans and counts ----------------------------------------------------------------- */

/* OP r, r/m for 16, 32 and 64 bits by the host's instruction, flags loaded,
 * the destination's old value in place (BSF of 0 leaves it). */
#define HOST_OP(bits, T, sfx, name)                                            \
    static uint64_t host_##name##_##bits(struct soft_cpu *c, uint64_t dst, uint64_t src) \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        T d = (T)dst;                                                          \
        __asm__(LOAD_FLAGS #name sfx " %2, %1" SAVE_FLAGS                      \
                : "+&a"(ax), "+&r"(d) : "r"((T)src) : "cc");                   \
        c->ax_flags = ax;                                                      \
        return d;                                                              \
    }
#define UNARY(name)                                                            \
    ALU_SIZES_16UP(HOST_OP, name)                                              \
    int op_##name(struct soft_cpu *c, const struct insn *i)                    \
    {                                                                          \
        static const alu_fn fns[4] = { NULL, host_##name##_16, host_##name##_32, host_##name##_64 }; \
        uint64_t v;                                                            \
        int r = source(c, i, &v);                                              \
        if (!r)                                                                \
            gpr_set(c, i->reg, i->osize, fns[SIZE_INDEX(i->osize)](c, gpr_get(c, i->reg, i->osize), v)); \
        return r;                                                              \
    }
UNARY(tzcnt)
UNARY(lzcnt)
UNARY(popcnt)

/* BSF and BSR of 0: the destination stays as it is, all 64 bits of it
 * (APM 3; Intel documents the same since SDM 082). */
static int bit_scan(struct soft_cpu *c, const struct insn *i, const alu_fn *fns)
{
    uint64_t v, d;
    int r = source(c, i, &v);

    if (r)
        return r;
    d = fns[SIZE_INDEX(i->osize)](c, gpr_get(c, i->reg, i->osize), v);
    if (v)
        gpr_set(c, i->reg, i->osize, d);
    return SOFT_NEXT;
}

#define SCAN_WIDE(bits, T, sfx, ...)                                           \
    ALU_WIDE(bits, T, sfx, bsf)                                                \
    ALU_WIDE(bits, T, sfx, bsr)
ALU_SIZES_16UP(SCAN_WIDE, )

int op_bsf(struct soft_cpu *c, const struct insn *i)
{
    static const alu_fn fns[4] = { NULL, wide_bsf_16, wide_bsf_32, wide_bsf_64 };

    return bit_scan(c, i, fns);
}

int op_bsr(struct soft_cpu *c, const struct insn *i)
{
    static const alu_fn fns[4] = { NULL, wide_bsr_16, wide_bsr_32, wide_bsr_64 };

    return bit_scan(c, i, fns);
}

/* ---- double shifts ----------------------------------------------------------------------- */

#define DOUBLE_SHIFT(bits, T, sfx, name)                                       \
    static uint64_t name##_##bits(struct soft_cpu *c, uint64_t a, uint64_t b, uint8_t count) \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        T d = (T)a;                                                            \
        __asm__(LOAD_FLAGS #name sfx " %%cl, %2, %1" SAVE_FLAGS                \
                : "+&a"(ax), "+&r"(d) : "r"((T)b), "c"(count) : "cc");         \
        c->ax_flags = ax;                                                      \
        return d;                                                              \
    }
ALU_SIZES_16UP(DOUBLE_SHIFT, shld)
ALU_SIZES_16UP(DOUBLE_SHIFT, shrd)

typedef uint64_t (*dshift_fn)(struct soft_cpu *c, uint64_t a, uint64_t b, uint8_t count);

/* insn.vreg: the count is an immediate, else CL. */
static int double_shift(struct soft_cpu *c, const struct insn *i, dshift_fn fn)
{
    uint8_t count = i->vreg ? (uint8_t)i->imm : *gpr8(c, CPU_RCX * 8);
    uint64_t b = gpr_get(c, i->reg, i->osize), v, la;
    uint16_t flags = c->ax_flags;
    int r;

    if (!(i->flags & INSN_MEM)) {
        gpr_set(c, i->rm, i->osize, fn(c, gpr_get(c, i->rm, i->osize), b, count));
        return SOFT_NEXT;
    }
    if ((r = insn_linear(c, i, i->osize, true, &la)) || (r = soft_read_rmw(c, la, i->osize, &v)))
        return r;
    r = soft_write(c, la, i->osize, fn(c, v, b, count));
    if (r)
        c->ax_flags = flags;
    return r;
}

int op_shld(struct soft_cpu *c, const struct insn *i)
{
    static const dshift_fn fns[4] = { NULL, shld_16, shld_32, shld_64 };

    return double_shift(c, i, fns[SIZE_INDEX(i->osize)]);
}

int op_shrd(struct soft_cpu *c, const struct insn *i)
{
    static const dshift_fn fns[4] = { NULL, shrd_16, shrd_32, shrd_64 };

    return double_shift(c, i, fns[SIZE_INDEX(i->osize)]);
}

/* ---- CRC32: insn.osize is the destination's, insn.vreg the source's size --------------------- */

int op_crc32(struct soft_cpu *c, const struct insn *i)
{
    uint64_t crc = *gpr32(c, i->reg), v;
    int r = 0;

    if (i->flags & INSN_MEM)
        r = insn_load(c, i, i->vreg, &v);
    else
        v = gpr_get(c, i->rm, i->vreg);
    if (r)
        return r;
    switch (i->vreg) {
    case 1: __asm__("crc32b %1, %k0" : "+r"(crc) : "q"((uint8_t)v)); break;
    case 2: __asm__("crc32w %1, %k0" : "+r"(crc) : "r"((uint16_t)v)); break;
    case 4: __asm__("crc32l %1, %k0" : "+r"(crc) : "r"((uint32_t)v)); break;
    default: __asm__("crc32q %1, %0" : "+r"(crc) : "r"(v)); break;
    }
    *gpr64(c, i->reg) = (uint32_t)crc;
    return SOFT_NEXT;
}

/* ---- ADX ------------------------------------------------------------------------------------- */

HOST_OP(32, uint32_t, "l", adcx)
HOST_OP(64, uint64_t, "q", adcx)
HOST_OP(32, uint32_t, "l", adox)
HOST_OP(64, uint64_t, "q", adox)

static int add_extended(struct soft_cpu *c, const struct insn *i, alu_fn fn)
{
    uint64_t v;
    int r = source(c, i, &v);

    if (!r)
        gpr_set(c, i->reg, i->osize, fn(c, gpr_get(c, i->reg, i->osize), v));
    return r;
}

int op_adcx(struct soft_cpu *c, const struct insn *i)
{
    return add_extended(c, i, i->osize == 8 ? host_adcx_64 : host_adcx_32);
}

int op_adox(struct soft_cpu *c, const struct insn *i)
{
    return add_extended(c, i, i->osize == 8 ? host_adox_64 : host_adox_32);
}

/* ---- BMI1 and BMI2: destination insn.reg, first or second source insn.vreg, r/m ---------------- */

/* d = OP(a, b) in AT&T order "op b, a, d". */
#define BMI3(bits, T, sfx, name)                                               \
    static uint64_t host_##name##_##bits(struct soft_cpu *c, uint64_t a, uint64_t b) \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        T d;                                                                   \
        __asm__(LOAD_FLAGS #name sfx " %3, %2, %1" SAVE_FLAGS                  \
                : "+&a"(ax), "=&r"(d) : "r"((T)a), "r"((T)b) : "cc");          \
        c->ax_flags = ax;                                                      \
        return d;                                                              \
    }
/* rm is the last source in Intel syntax: ANDN, PDEP, PEXT. */
#define BMI_RM_LAST(name)                                                      \
    BMI3(32, uint32_t, "l", name)                                              \
    BMI3(64, uint64_t, "q", name)                                              \
    int op_##name(struct soft_cpu *c, const struct insn *i)                    \
    {                                                                          \
        uint64_t v, a = gpr_get(c, i->vreg, i->osize);                         \
        int r = source(c, i, &v);                                              \
        if (!r)                                                                \
            gpr_set(c, i->reg, i->osize, (i->osize == 8 ? host_##name##_64 : host_##name##_32)(c, a, v)); \
        return r;                                                              \
    }
/* rm is the first source: BEXTR, BZHI, SARX, SHLX, SHRX. */
#define BMI_RM_FIRST(name)                                                     \
    BMI3(32, uint32_t, "l", name)                                              \
    BMI3(64, uint64_t, "q", name)                                              \
    int op_##name(struct soft_cpu *c, const struct insn *i)                    \
    {                                                                          \
        uint64_t v, b = gpr_get(c, i->vreg, i->osize);                         \
        int r = source(c, i, &v);                                              \
        if (!r)                                                                \
            gpr_set(c, i->reg, i->osize, (i->osize == 8 ? host_##name##_64 : host_##name##_32)(c, v, b)); \
        return r;                                                              \
    }
BMI_RM_LAST(andn)
BMI_RM_LAST(pdep)
BMI_RM_LAST(pext)
BMI_RM_FIRST(bextr)
BMI_RM_FIRST(bzhi)
BMI_RM_FIRST(sarx)
BMI_RM_FIRST(shlx)
BMI_RM_FIRST(shrx)

/* BLSI, BLSR, BLSMSK: the destination is VEX.vvvv. */
#define BMI_LOWEST(name)                                                       \
    HOST_OP(32, uint32_t, "l", name)                                           \
    HOST_OP(64, uint64_t, "q", name)                                           \
    int op_##name(struct soft_cpu *c, const struct insn *i)                    \
    {                                                                          \
        uint64_t v;                                                            \
        int r = source(c, i, &v);                                              \
        if (!r)                                                                \
            gpr_set(c, i->vreg, i->osize, (i->osize == 8 ? host_##name##_64 : host_##name##_32)(c, 0, v)); \
        return r;                                                              \
    }
BMI_LOWEST(blsi)
BMI_LOWEST(blsr)
BMI_LOWEST(blsmsk)

/* MULX and RORX touch no flags. */
int op_mulx(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    unsigned __int128 p;
    int r = source(c, i, &v);

    if (r)
        return r;
    p = (unsigned __int128)v * gpr_get(c, CPU_RDX * 8, i->osize);
    gpr_set(c, i->vreg, i->osize, (uint64_t)p);
    gpr_set(c, i->reg, i->osize, (uint64_t)(p >> (8 * i->osize)));
    return SOFT_NEXT;
}

int op_rorx(struct soft_cpu *c, const struct insn *i)
{
    unsigned bits = i->osize * 8u, n = i->imm & (bits - 1);
    uint64_t v;
    int r = source(c, i, &v);

    if (!r)
        gpr_set(c, i->reg, i->osize, n ? v >> n | v << (bits - n) : v);
    return r;
}

/* ---- random numbers ------------------------------------------------------------------------------ */

/* CF says whether there was one; the other flags are 0 (SDM 2B RDRAND). */
static int random_number(struct soft_cpu *c, const struct insn *i, bool seed)
{
    unsigned long long v = 0;
    unsigned char ok;

    if (seed)
        __asm__ volatile("rdseed %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    else
        __asm__ volatile("rdrand %0; setc %1" : "=r"(v), "=qm"(ok) : : "cc");
    ok = soft_input(c, TAPE_RANDOM_OK, ok) != 0;
    v = soft_input(c, TAPE_RANDOM, v);
    gpr_set(c, i->rm, i->osize, ok ? v : 0);
    soft_set_arith_flags(c, ok ? X86_CF : 0);
    return SOFT_NEXT;
}

int op_rdrand(struct soft_cpu *c, const struct insn *i)
{
    return random_number(c, i, false);
}

int op_rdseed(struct soft_cpu *c, const struct insn *i)
{
    return random_number(c, i, true);
}
