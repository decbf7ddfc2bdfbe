/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Moves, exchanges, conditions. */
#include "engine/soft/op_int.h"

#define REG(T, off) (*(T *)((uint8_t *)c->gpr + (off)))
#define SET_8(off, v) (REG(uint8_t, off) = (uint8_t)(v))
#define SET_16(off, v) (REG(uint16_t, off) = (uint16_t)(v))
#define SET_32(off, v) (REG(uint64_t, off) = (uint32_t)(v))
#define SET_64(off, v) (REG(uint64_t, off) = (uint64_t)(v))

#define MOV(bits, T, sfx, ...)                                                 \
    static int op_mov_rr_##bits(struct soft_cpu *c, const struct insn *i)      \
    {                                                                          \
        SET_##bits(i->reg, REG(T, i->rm));                                     \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_mov_ri_##bits(struct soft_cpu *c, const struct insn *i)      \
    {                                                                          \
        SET_##bits(i->reg, i->imm);                                            \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_mov_rm_##bits(struct soft_cpu *c, const struct insn *i)      \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sizeof(T), &v);                                \
        if (unlikely(r))                                                       \
            return r;                                                          \
        SET_##bits(i->reg, v);                                                 \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_mov_mr_##bits(struct soft_cpu *c, const struct insn *i)      \
    {                                                                          \
        return insn_store(c, i, sizeof(T), REG(T, i->rm));                     \
    }                                                                          \
    static int op_mov_mi_##bits(struct soft_cpu *c, const struct insn *i)      \
    {                                                                          \
        return insn_store(c, i, sizeof(T), (T)i->imm);                         \
    }
ALU_SIZES(MOV, )

#define EACH4(form) { op_mov_##form##_8, op_mov_##form##_16, op_mov_##form##_32, op_mov_##form##_64 }
const struct int_forms forms_mov = {
    .rr = EACH4(rr), .ri = EACH4(ri), .rm = EACH4(rm), .mr = EACH4(mr), .mi = EACH4(mi),
};

/* MOVZX, MOVSX, MOVSXD: from S (in insn.rm or memory) to bits. */
#define EXTEND(name, S, sbytes, dbits)                                         \
    static int op_##name##_##dbits(struct soft_cpu *c, const struct insn *i)   \
    {                                                                          \
        SET_##dbits(i->reg, REG(S, i->rm));                                    \
        return SOFT_NEXT;                                                      \
    }                                                                          \
    static int op_##name##_m_##dbits(struct soft_cpu *c, const struct insn *i) \
    {                                                                          \
        uint64_t v;                                                            \
        int r = insn_load(c, i, sbytes, &v);                                   \
        if (unlikely(r))                                                       \
            return r;                                                          \
        SET_##dbits(i->reg, (S)v);                                             \
        return SOFT_NEXT;                                                      \
    }
#define EXTENDS(name, S, sbytes)                                               \
    EXTEND(name, S, sbytes, 16)                                                \
    EXTEND(name, S, sbytes, 32)                                                \
    EXTEND(name, S, sbytes, 64)                                                \
    const insn_fn fns_##name[4] = { NULL, op_##name##_16, op_##name##_32, op_##name##_64 }; \
    const insn_fn fns_##name##_m[4] = { NULL, op_##name##_m_16, op_##name##_m_32, op_##name##_m_64 };
EXTENDS(movzx8, uint8_t, 1)
EXTENDS(movzx16, uint16_t, 2)
EXTENDS(movsx8, int8_t, 1)
EXTENDS(movsx16, int16_t, 2)
EXTENDS(movsxd, int32_t, 4)

int op_lea64(struct soft_cpu *c, const struct insn *i)
{
    c->gpr[i->reg / 8] = *gpr64(c, i->base) + (*gpr64(c, i->index) << i->scale) + (uint64_t)(int64_t)i->disp;
    return SOFT_NEXT;
}

int op_lea(struct soft_cpu *c, const struct insn *i)
{
    gpr_set(c, i->reg, i->osize, insn_offset(c, i));
    return SOFT_NEXT;
}

int op_nop(struct soft_cpu *c, const struct insn *i)
{
    (void)c;
    (void)i;
    return SOFT_NEXT;
}

int op_xchg_rr(struct soft_cpu *c, const struct insn *i)
{
    uint64_t a = gpr_get(c, i->reg, i->osize), b = gpr_get(c, i->rm, i->osize);

    gpr_set(c, i->reg, i->osize, b);
    gpr_set(c, i->rm, i->osize, a);
    return SOFT_NEXT;
}

static uint64_t take_second(struct soft_cpu *c, uint64_t a, uint64_t b)
{
    (void)c;
    (void)a;
    return b;
}

/* XCHG with memory is locked with or without the prefix. */
int op_xchg_m(struct soft_cpu *c, const struct insn *i)
{
    struct insn locked = *i;
    uint64_t old;
    int r;

    locked.flags |= INSN_LOCK;
    r = alu_rmw_slow(c, &locked, i->osize, take_second, gpr_get(c, i->reg, i->osize), &old);
    if (!r)
        gpr_set(c, i->reg, i->osize, old);
    return r;
}

#define ADD_WIDE(bits, T, sfx, ...) ALU_WIDE(bits, T, sfx, add)
#define CMP_WIDE(bits, T, sfx, ...) ALU_WIDE(bits, T, sfx, cmp)
ALU_SIZES(ADD_WIDE, )
ALU_SIZES(CMP_WIDE, )
static const alu_fn wide_add[4] = { wide_add_8, wide_add_16, wide_add_32, wide_add_64 };
static const alu_fn wide_cmp[4] = { wide_cmp_8, wide_cmp_16, wide_cmp_32, wide_cmp_64 };

int op_xadd(struct soft_cpu *c, const struct insn *i)
{
    alu_fn add = wide_add[SIZE_INDEX(i->osize)];
    uint64_t b = gpr_get(c, i->reg, i->osize), old;
    int r;

    if (!(i->flags & INSN_MEM)) {
        old = gpr_get(c, i->rm, i->osize);
        gpr_set(c, i->reg, i->osize, old);
        gpr_set(c, i->rm, i->osize, add(c, old, b));
        return SOFT_NEXT;
    }
    r = alu_rmw_slow(c, i, i->osize, add, b, &old);
    if (!r)
        gpr_set(c, i->reg, i->osize, old);
    return r;
}

/* What CMPXCHG stores: b if the accumulator matches, else the old value; the
 * flags are those of CMP accumulator, old. */
#define CMPXCHG_STEP(bits, T, ...)                                             \
    static uint64_t cmpxchg_##bits(struct soft_cpu *c, uint64_t old, uint64_t b) \
    {                                                                          \
        wide_cmp_##bits(c, REG(T, 0), old);                                    \
        return REG(T, 0) == (T)old ? b : old;                                  \
    }
CMPXCHG_STEP(8, uint8_t)
CMPXCHG_STEP(16, uint16_t)
CMPXCHG_STEP(32, uint32_t)
CMPXCHG_STEP(64, uint64_t)

int op_cmpxchg(struct soft_cpu *c, const struct insn *i)
{
    static const alu_fn steps[4] = { cmpxchg_8, cmpxchg_16, cmpxchg_32, cmpxchg_64 };
    unsigned size = i->osize;
    uint64_t b = gpr_get(c, i->reg, size), acc = gpr_get(c, 0, size), old;
    int r = 0;

    if (i->flags & INSN_MEM) {
        r = alu_rmw_slow(c, i, size, steps[SIZE_INDEX(size)], b, &old);
    } else {
        old = gpr_get(c, i->rm, size);
        wide_cmp[SIZE_INDEX(size)](c, acc, old);
        if (acc == old) {
            gpr_set(c, i->rm, size, b);
        } else if (size == 4) {
            /* Is a 32-bit destination written either way?  Intel: yes, AMD: no. */
            uint64_t dst = *gpr64(c, i->rm), eax = acc;

            __asm__("cmpxchgl %k2, %k0" : "+r"(dst), "+a"(eax) : "r"(b) : "cc");
            *gpr64(c, i->rm) = dst;
        }
    }
    if (!r && acc != old)
        gpr_set(c, 0, size, old);
    return r;
}

static bool swap_pair(void *p, unsigned half, uint64_t old[2], const uint64_t want[2])
{
    if (half == 4) {
        uint64_t o = old[0] | old[1] << 32, w = want[0] | want[1] << 32;
        bool ok = __atomic_compare_exchange_n((uint64_t *)p, &o, w, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);

        old[0] = (uint32_t)o;
        old[1] = o >> 32;
        return ok;
    } else {
        bool ok;

        __asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(ok), "+m"(*(unsigned __int128 *)p), "+a"(old[0]), "+d"(old[1])
                         : "b"(want[0]), "c"(want[1]) : "memory");
        return ok;
    }
}

/* Not in one piece of RAM: alone. */
static int pair_slow(struct soft_cpu *c, uint64_t la, unsigned half, uint64_t old[2], uint64_t want[2], bool *same)
{
    uint64_t seen[2];
    int r;

    if ((r = soft_read_rmw(c, la, half, &seen[0])) || (r = soft_read_rmw(c, la + half, half, &seen[1])))
        return r;
    *same = seen[0] == old[0] && seen[1] == old[1];
    if ((r = soft_write(c, la, half, *same ? want[0] : seen[0])) ||
        (r = soft_write(c, la + half, half, *same ? want[1] : seen[1])))
        return r;
    old[0] = seen[0];
    old[1] = seen[1];
    return 0;
}

/* CMPXCHG8B and CMPXCHG16B: always a locked cycle here. */
int op_cmpxchg_pair(struct soft_cpu *c, const struct insn *i)
{
    unsigned half = i->osize;
    uint64_t old[2] = { gpr_get(c, CPU_RAX * 8, half), gpr_get(c, CPU_RDX * 8, half) };
    uint64_t want[2] = { gpr_get(c, CPU_RBX * 8, half), gpr_get(c, CPU_RCX * 8, half) };
    uint64_t la;
    bool same = false;
    int r = insn_linear(c, i, half * 2, true, &la);
    void *p;

    if (r)
        return r;
    if (half == 8 && (la & 15))
        return soft_gp0(c);
    if ((r = soft_align(c, la, half * 2)))
        return r;
    p = (la & 63) + half * 2 <= 64 ? soft_ptr(c, la, half * 2, ACCESS_WRITE, &r) : NULL;
    if (r)
        return r;
    if (p) {
        same = swap_pair(p, half, old, want);
        soft_wrote(c, p, half * 2);
    } else {
        soft_exclusive_begin(c);
        r = pair_slow(c, la, half, old, want, &same);
        soft_exclusive_end(c);
        if (r)
            return r;
    }
    c->ax_flags = (uint16_t)((c->ax_flags & ~(X86_ZF << 8)) | (same ? X86_ZF << 8 : 0));
    if (!same) {
        gpr_set(c, CPU_RAX * 8, half, old[0]);
        gpr_set(c, CPU_RDX * 8, half, old[1]);
    }
    return SOFT_NEXT;
}

/* The offset stands in the instruction, as wide as the address size. */
static int moffs_linear(struct soft_cpu *c, const struct insn *i, bool write, uint64_t *la)
{
    uint64_t off = i->asize == 8 ? i->imm : i->imm & size_mask(i->asize);

    return soft_linear(c, i->seg, off, i->osize, write, la);
}

int op_mov_load_moffs(struct soft_cpu *c, const struct insn *i)
{
    uint64_t la, v;
    int r = moffs_linear(c, i, false, &la);

    if (!r && !(r = soft_read(c, la, i->osize, &v)))
        gpr_set(c, i->reg, i->osize, v);
    return r;
}

int op_mov_store_moffs(struct soft_cpu *c, const struct insn *i)
{
    uint64_t la;
    int r = moffs_linear(c, i, true, &la);

    return r ? r : soft_write(c, la, i->osize, gpr_get(c, i->reg, i->osize));
}

static uint64_t swap_bytes(uint64_t v, unsigned size)
{
    return __builtin_bswap64(v) >> (64 - 8 * size);
}

int op_movbe(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r;

    if (i->vreg)        /* to memory */
        return insn_store(c, i, i->osize, swap_bytes(gpr_get(c, i->reg, i->osize), i->osize));
    r = insn_load(c, i, i->osize, &v);
    if (!r)
        gpr_set(c, i->reg, i->osize, swap_bytes(v, i->osize));
    return r;
}

int op_bswap(struct soft_cpu *c, const struct insn *i)
{
    /* With a 16-bit operand undefined; CPUs give 0. */
    if (i->osize == 2)
        *gpr16(c, i->reg) = 0;
    else
        gpr_set(c, i->reg, i->osize, swap_bytes(gpr_get(c, i->reg, i->osize), i->osize));
    return SOFT_NEXT;
}

int op_xlat(struct soft_cpu *c, const struct insn *i)
{
    uint64_t off = gpr_get(c, CPU_RBX * 8, i->asize) + *gpr8(c, 0), la, v;
    int r = soft_linear(c, i->seg, off & size_mask(i->asize), 1, false, &la);

    if (!r && !(r = soft_read(c, la, 1, &v)))
        *gpr8(c, 0) = (uint8_t)v;
    return r;
}

bool soft_condition(const struct soft_cpu *c, unsigned cc)
{
    unsigned f = c->ax_flags >> 8, of = c->ax_flags & 1, v;

    switch (cc >> 1) {
    case 0: v = of; break;
    case 1: v = f & X86_CF; break;
    case 2: v = f & X86_ZF; break;
    case 3: v = f & (X86_CF | X86_ZF); break;
    case 4: v = f & X86_SF; break;
    case 5: v = f & X86_PF; break;
    case 6: v = !!(f & X86_SF) != of; break;
    default: v = (f & X86_ZF) || !!(f & X86_SF) != of; break;
    }
    return !!v != (cc & 1);
}

int op_setcc(struct soft_cpu *c, const struct insn *i)
{
    *gpr8(c, i->reg) = soft_condition(c, i->vreg);
    return SOFT_NEXT;
}

int op_setcc_m(struct soft_cpu *c, const struct insn *i)
{
    return insn_store(c, i, 1, soft_condition(c, i->vreg));
}

/* The source is read, and a 32-bit destination zero-extended, either way. */
int op_cmovcc(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r = 0;

    if (i->flags & INSN_MEM)
        r = insn_load(c, i, i->osize, &v);
    else
        v = gpr_get(c, i->rm, i->osize);
    if (!r)
        gpr_set(c, i->reg, i->osize, soft_condition(c, i->vreg) ? v : gpr_get(c, i->reg, i->osize));
    return r;
}
