/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two-operand and one-operand arithmetic, shifts, and their LOCK forms. */
#include "engine/soft/op_int.h"

/* ---- read-modify-write, the slow ways ---------------------------------------- */

/* Compare-and-swap until it holds: the flags are those of the value that was
 * really replaced. */
#define LOCKED(T)                                                              \
    do {                                                                       \
        T seen = *(volatile T *)p, want;                                       \
        do {                                                                   \
            v = seen;                                                          \
            c->ax_flags = flags;                                               \
            want = (T)fn(c, v, b);                                             \
        } while (!__atomic_compare_exchange_n((T *)p, &seen, want, false,      \
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)); \
    } while (0)

static int locked_ram(struct soft_cpu *c, void *p, unsigned size, alu_fn fn, uint64_t b, uint64_t *old)
{
    uint16_t flags = c->ax_flags;
    uint64_t v;

    switch (size) {
    case 1: LOCKED(uint8_t); break;
    case 2: LOCKED(uint16_t); break;
    case 4: LOCKED(uint32_t); break;
    default: LOCKED(uint64_t); break;
    }
    if (old)
        *old = v;
    soft_wrote(c, p, size);
    return SOFT_NEXT;
}

static int plain_rmw(struct soft_cpu *c, uint64_t la, unsigned size, alu_fn fn, uint64_t b, uint64_t *old)
{
    uint16_t flags = c->ax_flags;
    uint64_t v;
    int r = soft_read_rmw(c, la, size, &v);

    if (r)
        return r;
    r = soft_write(c, la, size, fn(c, v, b));
    if (r)
        c->ax_flags = flags;
    if (old)
        *old = v;
    return r;
}

int alu_rmw_slow(struct soft_cpu *c, const struct insn *i, unsigned size, alu_fn fn, uint64_t b, uint64_t *old)
{
    bool lock = i->flags & INSN_LOCK;
    uint64_t la;
    int r = insn_linear(c, i, size, true, &la);
    void *p;

    if (r)
        return r;
    if (!lock)
        return plain_rmw(c, la, size, fn, b, old);
    p = (la & 63) + size <= 64 ? soft_ptr(c, la, size, ACCESS_WRITE, &r) : NULL;
    if (r)
        return r;
    if (p)
        return locked_ram(c, p, size, fn, b, old);
    soft_exclusive_begin(c);
    r = plain_rmw(c, la, size, fn, b, old);
    soft_exclusive_end(c);
    return r;
}

/* ---- forms: register/memory/immediate ------------------------------------------ */

#define REG(T, off) (*(T *)((uint8_t *)c->gpr + (off)))
/* A 32-bit result clears the upper half. */
#define SET_8(off, v) (REG(uint8_t, off) = (v))
#define SET_16(off, v) (REG(uint16_t, off) = (v))
#define SET_32(off, v) (REG(uint64_t, off) = (uint32_t)(v))
#define SET_64(off, v) (REG(uint64_t, off) = (v))

#define WRITING(bits, T, sfx, name)                                            \
    ALU_WIDE(bits, T, sfx, name)                                               \
    static int op_##name##_rr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        SET_##bits(i->reg, alu_##name##_##bits(c, REG(T, i->reg), REG(T, i->rm))); \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_ri_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        SET_##bits(i->reg, alu_##name##_##bits(c, REG(T, i->reg), (T)i->imm)); \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_rm_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sizeof(T), &v);                                \
        if (unlikely(r))                                                       \
            return r;                                                          \
        SET_##bits(i->reg, alu_##name##_##bits(c, REG(T, i->reg), (T)v));      \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_mr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        ALU_RMW(c, i, T, bits, name, REG(T, i->rm));                           \
    }                                                                          \
    static int op_##name##_mi_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        ALU_RMW(c, i, T, bits, name, i->imm);                                  \
    }                                                                          \
    static int op_##name##_lockr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        return alu_rmw_slow(c, i, sizeof(T), wide_##name##_##bits, REG(T, i->rm), NULL); \
    }                                                                          \
    static int op_##name##_locki_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        return alu_rmw_slow(c, i, sizeof(T), wide_##name##_##bits, i->imm, NULL); \
    }

/* CMP and TEST: nothing but flags. */
#define READING(bits, T, sfx, name)                                            \
    static int op_##name##_rr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        alu_##name##_##bits(c, REG(T, i->reg), REG(T, i->rm));                 \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_ri_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        alu_##name##_##bits(c, REG(T, i->reg), (T)i->imm);                     \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_rm_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sizeof(T), &v);                                \
        if (unlikely(r))                                                       \
            return r;                                                          \
        alu_##name##_##bits(c, REG(T, i->reg), (T)v);                          \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_mr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sizeof(T), &v);                                \
        if (unlikely(r))                                                       \
            return r;                                                          \
        alu_##name##_##bits(c, (T)v, REG(T, i->rm));                           \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_mi_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sizeof(T), &v);                                \
        if (unlikely(r))                                                       \
            return r;                                                          \
        alu_##name##_##bits(c, (T)v, (T)i->imm);                               \
        return SOFT_NEXT;                                                      \
    }

#define EACH4(p, form) { op_##p##_##form##_8, op_##p##_##form##_16, op_##p##_##form##_32, op_##p##_##form##_64 }

#define WRITING_OP(name)                                                       \
    ALU_SIZES(WRITING, name)                                                   \
    const struct int_forms forms_##name = {                                    \
        .rr = EACH4(name, rr), .ri = EACH4(name, ri), .rm = EACH4(name, rm),   \
        .mr = EACH4(name, mr), .mi = EACH4(name, mi),                          \
        .lockr = EACH4(name, lockr), .locki = EACH4(name, locki),              \
    };
#define READING_OP(name)                                                       \
    ALU_SIZES(READING, name)                                                   \
    const struct int_forms forms_##name = {                                    \
        .rr = EACH4(name, rr), .ri = EACH4(name, ri), .rm = EACH4(name, rm),   \
        .mr = EACH4(name, mr), .mi = EACH4(name, mi),                          \
    };

WRITING_OP(add)
WRITING_OP(or)
WRITING_OP(adc)
WRITING_OP(sbb)
WRITING_OP(and)
WRITING_OP(sub)
WRITING_OP(xor)
READING_OP(cmp)
READING_OP(test)

/* ---- one operand, and shifts: register or memory, count in CL or an immediate ---- */

#define UNARY(bits, T, sfx, name)                                              \
    ALU_WIDE(bits, T, sfx, name)                                               \
    static int op_##name##_ri_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        SET_##bits(i->reg, alu_##name##_##bits(c, REG(T, i->reg), (T)i->imm)); \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_mi_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        ALU_RMW(c, i, T, bits, name, i->imm);                                  \
    }
#define UNARY_LOCK(bits, T, sfx, name)                                         \
    static int op_##name##_locki_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        return alu_rmw_slow(c, i, sizeof(T), wide_##name##_##bits, 0, NULL);   \
    }
#define SHIFT_CL(bits, T, sfx, name)                                           \
    static int op_##name##_rr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        SET_##bits(i->reg, alu_##name##_##bits(c, REG(T, i->reg), *gpr8(c, CPU_RCX * 8))); \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_mr_##bits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        ALU_RMW(c, i, T, bits, name, *gpr8(c, CPU_RCX * 8));                   \
    }

#define UNARY_OP(name)                                                         \
    ALU_SIZES(UNARY, name)                                                     \
    ALU_SIZES(UNARY_LOCK, name)                                                \
    const struct int_forms forms_##name = {                                    \
        .ri = EACH4(name, ri), .mi = EACH4(name, mi), .locki = EACH4(name, locki), \
    };
#define SHIFT_OP(name)                                                         \
    ALU_SIZES(UNARY, name)                                                     \
    ALU_SIZES(UNARY, name##1)                                                  \
    ALU_SIZES(SHIFT_CL, name)                                                  \
    const struct int_forms forms_##name = {                                    \
        .ri = EACH4(name, ri), .mi = EACH4(name, mi),                          \
        .rr = EACH4(name, rr), .mr = EACH4(name, mr),                          \
        .r1 = EACH4(name##1, ri), .m1 = EACH4(name##1, mi),                    \
    };

UNARY_OP(inc)
UNARY_OP(dec)
UNARY_OP(neg)
UNARY_OP(not)
SHIFT_OP(rol)
SHIFT_OP(ror)
SHIFT_OP(rcl)
SHIFT_OP(rcr)
SHIFT_OP(shl)
SHIFT_OP(shr)
SHIFT_OP(sar)
