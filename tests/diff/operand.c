/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory operands.  A register that no instruction before has written still
 * has its initial value, which is ours to choose; so an address is made by
 * choosing registers, and if they are bound already, the displacement.
 */
#include "diff.h"

#include <string.h>

#include "base/util.h"
#include "cpu/state.h"

uint8_t *case_mem(struct test_case *t, uint64_t la, unsigned len)
{
    if (la >= LOW_BASE && la + len <= LOW_BASE + DATA_SIZE)
        return t->mem + (la - LOW_BASE);
    if (la >= DATA_BASE && la + len <= DATA_BASE + DATA_SIZE)
        return t->mem + (la - DATA_BASE);
    return NULL;
}

/* Where an access of len bytes should go: mostly inside, aligned or not, and
 * at each kind of edge. */
static uint64_t pick_target(struct rng *r, unsigned len, unsigned asize)
{
    uint64_t base = asize == 2 ? LOW_BASE : DATA_BASE;
    unsigned align = len >= 64 ? 64 : len >= 32 ? 32 : len >= 16 ? 16 : len >= 8 ? 8 : 4;
    unsigned room = len < DATA_RW ? DATA_RW - len : 0;
    unsigned part = len ? rnd_below(r, len) : 0;
    unsigned kind = rnd_below(r, 100);

    if (kind < 58)
        return base + (rnd_below(r, room + 1) & ~(align - 1));
    if (kind < 80)
        return base + rnd_below(r, room + 1);
    if (kind < 90)
        return base + 0x1000 * (1 + rnd_below(r, 2)) - part;
    if (kind < 92)
        return base - part;
    if (kind < 94)
        return base + DATA_RW - part;
    if (kind < 96)
        return base + DATA_SIZE - part;
    if (kind < 98)
        return base + DATA_RW + (rnd_below(r, 0x800) & ~(align - 1));
    return asize == 2 ? rnd_below(r, 0x10000) : rnd_pct(r, 50) ? CODE_BASE + rnd_below(r, CODE_SIZE) :
           value_int(r);
}

static bool reg_usable(const struct gen *g, unsigned reg)
{
    return g->use[reg] != REG_LOST;
}

static void shape16(struct gen *g, struct addr_bytes *a)
{
    a->mod = (uint8_t)rnd_below(g->r, 3);
    a->rm = (uint8_t)rnd_below(g->r, 8);
    a->disp_len = a->mod == 1 ? 1 : a->mod == 2 || a->rm == 6 ? 2 : 0;
}

static void absolute(struct gen *g, struct addr_bytes *a)
{
    a->mod = 0;
    a->rm = 5;
    a->disp_len = 4;
    if (g->t->mode == MODE_64) {
        a->rm = 4;
        a->has_sib = true;
        a->sib = 0x25;
        a->x = a->b = 0;
    }
}

/* A random address form; registers that are lost are avoided mostly. */
void operand_shape(struct gen *g, unsigned asize, bool vsib, struct addr_bytes *a)
{
    bool m64 = g->t->mode == MODE_64;

    memset(a, 0, sizeof(*a));
    if (asize == 2) {
        shape16(g, a);
        return;
    }
    for (unsigned try = 0; try < 12; try++) {
        unsigned base, index;

        a->b = m64 && rnd_pct(g->r, 40);
        a->x = m64 && rnd_pct(g->r, 40);
        a->mod = (uint8_t)rnd_below(g->r, 3);
        a->rm = vsib ? 4 : (uint8_t)rnd_below(g->r, 8);
        a->has_sib = a->rm == 4;
        a->sib = (uint8_t)rnd(g->r);
        a->disp_len = a->mod == 1 ? 1 : a->mod == 2 ? 4 : 0;
        base = (a->has_sib ? a->sib & 7u : a->rm) + 8u * a->b;
        index = (a->sib >> 3 & 7u) + 8u * a->x;
        if (a->mod == 0 && (base & 7) == 5) {
            a->disp_len = 4;
            base = 16;
        }
        if (base < 16 && !reg_usable(g, base))
            continue;
        if (a->has_sib && !vsib && index != 4 && !reg_usable(g, index))
            continue;
        return;
    }
    absolute(g, a);
    if (vsib) {
        a->rm = 4;
        a->has_sib = true;
        a->sib = 0x25;
    }
}

static int gpr_of(ZydisRegister r)
{
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        return ZydisRegisterGetId(r);
    default:
        return -1;
    }
}

/* Give a free register these low bits; the bits above stay as they are. */
static void set_low(struct gen *g, int reg, uint64_t v, unsigned asize)
{
    uint64_t mask = asize == 8 ? ~0ULL : asize == 4 ? 0xffffffff : 0xffff;
    uint64_t *p = &g->t->in.gpr[reg];

    *p = (*p & ~mask) | (v & mask);
    if (g->t->mode != MODE_64)
        *p = (uint32_t)*p;
    g->use[reg] = REG_FIXED;
}

static void set_small(struct gen *g, int reg)
{
    int v = (int)rnd_below(g->r, 64) - (rnd_pct(g->r, 25) ? 64 : 0);

    set_low(g, reg, (uint64_t)(int64_t)v, g->t->mode == MODE_64 ? 8 : 4);
}

static uint64_t segment_base(const struct gen *g, const ZydisDecodedOperand *op)
{
    if (op->mem.segment == ZYDIS_REGISTER_FS)
        return g->t->in.fs_base;
    if (op->mem.segment == ZYDIS_REGISTER_GS)
        return g->t->in.gs_base;
    return op->mem.segment == ZYDIS_REGISTER_CS && g->t->mode == MODE_16 ? CODE_BASE : 0;
}

/* Put v into the displacement if it is wide enough. */
static bool patch_disp(const struct decoded *d, uint8_t *bytes, uint64_t v, unsigned asize)
{
    unsigned size = d->z.raw.disp.size;

    if (size < 16 || (asize == 8 && (uint64_t)(int64_t)(int32_t)v != v))
        return false;
    memcpy(bytes + d->z.raw.disp.offset, &v, size / 8);
    return true;
}

static void spread_vsib(struct gen *g, const ZydisDecodedOperand *op, unsigned elem)
{
    unsigned n = (unsigned)ZydisRegisterGetId(op->mem.index) & 31;

    if (g->vec_lost[n])
        return;
    for (unsigned i = 0; i < 64; i += elem) {
        int64_t v = (int64_t)rnd_below(g->r, 256) - 128;

        if (rnd_pct(g->r, 2))
            v = (int64_t)value_int(g->r);
        memcpy(g->t->in.zmm[n] + i, &v, elem);
    }
}

/* Gathers and scatters say the index size by their names: ...D or ...Q. */
static unsigned vsib_elem(ZydisMnemonic m)
{
    const char *s = ZydisMnemonicGetString(m);
    const char *p = strstr(s, "gather");

    if (!p)
        p = strstr(s, "scatter");
    if (!p)
        return 4;
    p += p[0] == 'g' ? 6 : 7;
    if (p[0] == 'p' && p[1] == 'f' && p[2] >= '0' && p[2] <= '9')
        p += 3;
    return p[0] == 'q' ? 8 : 4;
}

/* Atomic: across cache lines kernels let a process wait 10 ms or more for each
 * ("split lock"), so these are kept inside one.  tests/guests has the others. */
static bool is_atomic(const struct decoded *d)
{
    return (d->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) || d->z.mnemonic == ZYDIS_MNEMONIC_XCHG;
}

/* Sum of the parts of an address that are bound; *free_reg the one to choose. */
static bool place_operand(struct gen *g, struct decoded *d, const ZydisDecodedOperand *op, uint8_t *bytes)
{
    unsigned asize = d->z.address_width / 8;
    unsigned len = op->size ? op->size / 8 : 64;
    uint64_t base_la = segment_base(g, op), target = pick_target(g->r, len, asize);
    uint64_t sum = (uint64_t)op->mem.disp.value;
    int base = gpr_of(op->mem.base), index = gpr_of(op->mem.index);
    unsigned scale = op->mem.scale ? op->mem.scale : 1;
    bool rip = op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP;

    if (is_atomic(d))
        target &= ~(uint64_t)(len - 1);
    /* An offset that is canonical only together with its segment's base: not here. */
    if (base_la && target >> 47)
        return false;
    target -= base_la;
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        spread_vsib(g, op, vsib_elem(d->z.mnemonic));
        index = -1;
    }
    if (rip)
        sum += CODE_BASE + g->t->entry + g->len + d->z.length;
    if (index >= 0 && base >= 0 && g->use[index] == REG_FREE && index != base)
        set_small(g, index);
    if (base >= 0 && base != index && g->use[base] == REG_FREE) {
        sum += index >= 0 ? g->t->in.gpr[index] * scale : 0;
        set_low(g, base, target - sum, asize);
        return true;
    }
    if (base < 0 && !rip && index >= 0 && g->use[index] == REG_FREE && !((target - sum) & (scale - 1))) {
        set_low(g, index, (target - sum) / scale, asize);
        return true;
    }
    sum += base >= 0 ? g->t->in.gpr[base] : 0;
    sum += index >= 0 ? g->t->in.gpr[index] * scale : 0;
    if ((base >= 0 && g->use[base] == REG_LOST) || (index >= 0 && g->use[index] == REG_LOST))
        return rnd_pct(g->r, 5);
    return patch_disp(d, bytes, target - sum + (uint64_t)op->mem.disp.value, asize) || rnd_pct(g->r, 10);
}

static bool moffs(const struct decoded *d)
{
    return d->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && d->z.opcode >= 0xa0 && d->z.opcode <= 0xa3;
}

bool operand_place(struct gen *g, struct decoded *d, uint8_t *bytes)
{
    for (unsigned i = 0; i < d->z.operand_count; i++) {
        ZydisDecodedOperand *op = &d->op[i];

        if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        /* Known gap: the engine counts the displacement from the instruction's
         * start in 32 bits. */
        if (op->mem.base == ZYDIS_REGISTER_RIP && op->mem.disp.value > 0x7ffffff0)
            return false;
        if (op->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue;
        if (moffs(d)) {
            unsigned asize = d->z.address_width / 8;
            uint64_t v = pick_target(g->r, op->size / 8, asize) - segment_base(g, op);

            memcpy(bytes + d->z.raw.disp.offset, &v, d->z.raw.disp.size / 8);
            continue;
        }
        if (op->mem.base == ZYDIS_REGISTER_RSP || op->mem.base == ZYDIS_REGISTER_ESP ||
            op->mem.base == ZYDIS_REGISTER_SP) {
            if (op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
                continue;       /* push, pop, call: the stack is where it is */
        }
        if (!place_operand(g, d, op, bytes))
            return false;
    }
    return true;
}
