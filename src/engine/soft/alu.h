/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Arithmetic on the host: result and flags of a guest instruction come from
 * the same host instruction, so that undefined flags are the host's in every
 * engine.  The guest's arithmetic flags live in the form that LAHF and SETO
 * leave in AX: AH = SF ZF AF PF CF, AL = OF.
 *
 * alu_OP_SIZE(c, a, b) computes a OP b at SIZE bits and sets c->ax_flags.
 * Operations that leave flags alone, or undefined, or read them, run with the
 * guest's flags loaded (LOAD_FLAGS); the others overwrite all six.
 */
#ifndef ENGINE_SOFT_ALU_H
#define ENGINE_SOFT_ALU_H

#include "engine/soft/soft.h"

#define LOAD_FLAGS "addb $0x7f, %%al\n\tsahf\n\t"
#define SAVE_FLAGS "\n\tlahf\n\tseto %%al"

#define ALU_SIZES(M, ...)                                                      \
    M(8, uint8_t, "b", __VA_ARGS__)                                            \
    M(16, uint16_t, "w", __VA_ARGS__)                                          \
    M(32, uint32_t, "l", __VA_ARGS__)                                          \
    M(64, uint64_t, "q", __VA_ARGS__)
#define ALU_SIZES_16UP(M, ...)                                                 \
    M(16, uint16_t, "w", __VA_ARGS__)                                          \
    M(32, uint32_t, "l", __VA_ARGS__)                                          \
    M(64, uint64_t, "q", __VA_ARGS__)

/* a OP b, all flags written. */
#define ALU_SET(bits, T, sfx, name)                                            \
    static inline T alu_##name##_##bits(struct soft_cpu *c, T a, T b)          \
    {                                                                          \
        uint16_t ax;                                                           \
        __asm__(#name sfx " %2, %1" SAVE_FLAGS                                 \
                : "=a"(ax), "+&q"(a) : "q"(b) : "cc");                         \
        c->ax_flags = ax;                                                      \
        return a;                                                              \
    }
/* a OP b, flags loaded first. */
#define ALU_USE(bits, T, sfx, name)                                            \
    static inline T alu_##name##_##bits(struct soft_cpu *c, T a, T b)          \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        __asm__(LOAD_FLAGS #name sfx " %2, %1" SAVE_FLAGS                      \
                : "+&a"(ax), "+&q"(a) : "q"(b) : "cc");                        \
        c->ax_flags = ax;                                                      \
        return a;                                                              \
    }
/* OP a, flags loaded first; b is there so that all have one type. */
#define ALU_UNARY(bits, T, sfx, name)                                          \
    static inline T alu_##name##_##bits(struct soft_cpu *c, T a, T b)          \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        (void)b;                                                               \
        __asm__(LOAD_FLAGS #name sfx " %1" SAVE_FLAGS                          \
                : "+&a"(ax), "+&q"(a) : : "cc");                               \
        c->ax_flags = ax;                                                      \
        return a;                                                              \
    }
/* Shift or rotate of a by CL = b; the host masks the count as the guest's
 * CPU does, and leaves the flags alone for a count of 0. */
#define ALU_SHIFT(bits, T, sfx, name)                                          \
    static inline T alu_##name##_##bits(struct soft_cpu *c, T a, T b)          \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        __asm__(LOAD_FLAGS #name sfx " %%cl, %1" SAVE_FLAGS                    \
                : "+&a"(ax), "+&q"(a) : "c"(b) : "cc");                        \
        c->ax_flags = ax;                                                      \
        return a;                                                              \
    }
/* The short form by 1 has an encoding of its own, and OF is defined. */
#define ALU_SHIFT1(bits, T, sfx, name)                                         \
    static inline T alu_##name##1_##bits(struct soft_cpu *c, T a, T b)         \
    {                                                                          \
        uint16_t ax = c->ax_flags;                                             \
        (void)b;                                                               \
        __asm__(LOAD_FLAGS #name sfx " %1" SAVE_FLAGS                          \
                : "+&a"(ax), "+&q"(a) : : "cc");                               \
        c->ax_flags = ax;                                                      \
        return a;                                                              \
    }

ALU_SIZES(ALU_SET, add)
ALU_SIZES(ALU_SET, sub)
ALU_SIZES(ALU_SET, cmp)
ALU_SIZES(ALU_SET, and)
ALU_SIZES(ALU_SET, or)
ALU_SIZES(ALU_SET, xor)
ALU_SIZES(ALU_SET, test)
ALU_SIZES(ALU_USE, adc)
ALU_SIZES(ALU_USE, sbb)
ALU_SIZES(ALU_UNARY, inc)
ALU_SIZES(ALU_UNARY, dec)
ALU_SIZES(ALU_UNARY, neg)
ALU_SIZES(ALU_UNARY, not)
ALU_SIZES(ALU_SHIFT, rol)
ALU_SIZES(ALU_SHIFT, ror)
ALU_SIZES(ALU_SHIFT, rcl)
ALU_SIZES(ALU_SHIFT, rcr)
ALU_SIZES(ALU_SHIFT, shl)
ALU_SIZES(ALU_SHIFT, shr)
ALU_SIZES(ALU_SHIFT, sar)
ALU_SIZES(ALU_SHIFT1, rol)
ALU_SIZES(ALU_SHIFT1, ror)
ALU_SIZES(ALU_SHIFT1, rcl)
ALU_SIZES(ALU_SHIFT1, rcr)
ALU_SIZES(ALU_SHIFT1, shl)
ALU_SIZES(ALU_SHIFT1, shr)
ALU_SIZES(ALU_SHIFT1, sar)
ALU_SIZES_16UP(ALU_USE, bt)
ALU_SIZES_16UP(ALU_USE, bts)
ALU_SIZES_16UP(ALU_USE, btr)
ALU_SIZES_16UP(ALU_USE, btc)
ALU_SIZES_16UP(ALU_USE, bsf)
ALU_SIZES_16UP(ALU_USE, bsr)
ALU_SIZES_16UP(ALU_USE, imul)

/* a OP b with the type that tables and slow paths use. */
typedef uint64_t (*alu_fn)(struct soft_cpu *c, uint64_t a, uint64_t b);

/* Memory operand = OP(memory operand, b), any case: MMIO, crossing pages,
 * LOCK.  Returns SOFT_NEXT, SOFT_FAULT or SOFT_EXIT.  *old: value before, may be NULL. */
int alu_rmw_slow(struct soft_cpu *c, const struct insn *i, unsigned size, alu_fn fn, uint64_t b, uint64_t *old);

/* The same with a fast path for RAM. */
#define ALU_RMW(c, i, T, bits, op, bval)                                       \
    do {                                                                       \
        uint64_t la_;                                                          \
        int r_ = insn_linear(c, i, sizeof(T), true, &la_);                     \
        T *p_;                                                                 \
        if (unlikely(r_))                                                      \
            return r_;                                                         \
        p_ = tlb_write_ptr(c, la_, sizeof(T));                                 \
        if (unlikely(!p_))                                                     \
            return alu_rmw_slow(c, i, sizeof(T), wide_##op##_##bits, bval, NULL); \
        *(volatile T *)p_ = alu_##op##_##bits(c, *(volatile T *)p_, (T)(bval)); \
        return SOFT_NEXT;                                                      \
    } while (0)

#define ALU_WIDE(bits, T, sfx, name)                                           \
    static uint64_t wide_##name##_##bits(struct soft_cpu *c, uint64_t a, uint64_t b) \
    {                                                                          \
        return alu_##name##_##bits(c, (T)a, (T)b);                             \
    }

#define SIZE_INDEX(bytes) ((bytes) == 1 ? 0 : (bytes) == 2 ? 1 : (bytes) == 4 ? 2 : 3)

#endif
