/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Random and edge values for registers and memory. */
#include "diff.h"

#include <string.h>

#include "cpu/state.h"
#include "x86/x86.h"

/* splitmix64: any seed is good, one addition a step. */
uint64_t rnd(struct rng *r)
{
    uint64_t z = r->s += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static const uint64_t edges[] = {
    0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 0x7e, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x100,
    0x7ffe, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff, 0x10000,
    0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff, 0x100000000,
    0x7ffffffffffffffe, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000001,
    0xfffffffffffffffe, 0xffffffffffffffff, 0xffffffff80000000, 0xffffffff7fffffff,
    0xffffffffffff8000, 0xffffffffffffff80, 0x0101010101010101, 0x5555555555555555,
    0xaaaaaaaaaaaaaaaa, 0x8080808080808080, 0x7f7f7f7f7f7f7f7f, 0x99, 0x9999, 0x0a, 0x9a,
    SEL_CS32, SEL_DATA, SEL_CS64, SEL_CS16,
};

static const uint32_t floats[] = {
    0x00000000, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, /* 0, 1, infinity */
    0x7fc00000, 0xffc00000, 0x7f800001, 0xffbfffff, 0x7fc12345,             /* QNaN, SNaN */
    0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, /* denormal, min, max */
    0x3f000000, 0x3fc00000, 0x40200000, 0x4b000000, 0x4b7fffff, 0x4f000000, 0xcf000000, 0x4effffff,
    0x5f000000, 0xdf000000, 0x33800000, 0x38800000, 0x477fe000, 0x477ff000, 0x3effffff,
};

static const uint64_t doubles[] = {
    0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0xbff0000000000000,
    0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000,
    0x7ff0000000000001, 0xfff7ffffffffffff, 0x7ff8000012345678, 0x0000000000000001,
    0x8000000000000001, 0x000fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff,
    0xffefffffffffffff, 0x3fe0000000000000, 0x3ff8000000000000, 0x4004000000000000,
    0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000000000, 0xc1e0000000200000,
    0x43e0000000000000, 0xc3e0000000000000, 0x4330000000000000, 0x47efffffe0000000,
    0x47effffff0000000, 0x36a0000000000000, 0x3810000000000000, 0x3fdfffffffffffff,
};

static const struct {
    uint16_t se;
    uint64_t mant;
} extendeds[] = {
    {0x0000, 0}, {0x8000, 0}, {0x3fff, 1ULL << 63}, {0xbfff, 1ULL << 63}, {0x4000, 0xc90fdaa22168c235},
    {0x7fff, 1ULL << 63}, {0xffff, 1ULL << 63}, {0x7fff, 3ULL << 62}, {0xffff, 3ULL << 62},
    {0x7fff, 0x8000000000000001}, {0xffff, 0xbfffffffffffffff},  /* signalling */
    {0x0000, 1}, {0x8000, 0x7fffffffffffffff},                   /* denormal */
    {0x0000, 1ULL << 63}, {0x0000, 0xffffffffffffffff},          /* pseudo-denormal */
    {0x0001, 1ULL << 63}, {0x7ffe, 0xffffffffffffffff}, {0xfffe, 0xffffffffffffffff},
    {0x3fff, 0}, {0x4010, 0x7fffffffffffffff},                   /* unnormal: unsupported */
    {0x7fff, 0}, {0x7fff, 0x4000000000000000},                   /* pseudo-infinity, pseudo-NaN */
    {0x401d, 0xffffffff00000000}, {0x401e, 1ULL << 63}, {0xc01e, 1ULL << 63}, {0x400d, 0xfffe000000000000},
    {0x403d, 0xffffffffffffffff}, {0x403e, 1ULL << 63}, {0xc03e, 1ULL << 63}, {0x403a, 0xde0b6b3a763fffff},
    {0x3ffe, 1ULL << 63}, {0xbffe, 1ULL << 63}, {0x3ffd, 0xaaaaaaaaaaaaaaab}, {0x403e, 0x8000000000000001},
    {0x3f80, 1ULL << 63}, {0x407e, 0xffffffffffffffff}, {0x43fe, 0xffffffffffffffff}, {0x3bff, 1ULL << 63},
};

#define PICK(r, a) ((a)[rnd_below(r, sizeof(a) / sizeof((a)[0]))])

uint64_t value_int(struct rng *r)
{
    uint64_t v = PICK(r, edges);

    switch (rnd_below(r, 10)) {
    case 0: case 1: case 2: case 3: return v;
    case 4: return rnd_below(r, 64);
    case 5: return 1ULL << rnd_below(r, 64);
    case 6: return (uint32_t)rnd(r);
    case 7: return v ^ rnd(r) << 32;
    case 8: return ~v;
    default: return rnd(r);
    }
}

void value_st(struct rng *r, uint8_t st[16])
{
    unsigned i = rnd_below(r, sizeof(extendeds) / sizeof(extendeds[0]));
    uint64_t mant = extendeds[i].mant;
    uint16_t se = extendeds[i].se;

    if (rnd_pct(r, 40)) {       /* an ordinary number */
        mant = rnd(r) | 1ULL << 63;
        se = (uint16_t)(0x3fff - 70 + rnd_below(r, 140)) | (uint16_t)(rnd(r) & 0x8000);
        if (rnd_pct(r, 50))
            mant &= ~0ULL << rnd_below(r, 64);
    } else if (rnd_pct(r, 5)) { /* anything */
        mant = rnd(r);
        se = (uint16_t)rnd(r);
    }
    memset(st, 0, 16);
    memcpy(st, &mant, 8);
    memcpy(st + 8, &se, 2);
}

static uint64_t chunk(struct rng *r, unsigned kind)
{
    uint64_t v;

    switch (kind) {
    case 0: return rnd(r);
    case 1: v = PICK(r, floats); return v | (uint64_t)PICK(r, floats) << 32;
    case 2: return PICK(r, doubles);
    case 3: v = (uint32_t)value_int(r); return v | value_int(r) << 32;
    case 4: {   /* floats and doubles of ordinary size */
        v = (rnd(r) & 0x87ffffff87ffffff) | 0x3c0000003c000000;
        return v;
    }
    case 5: return (rnd(r) & 0x801fffffffffffff) | (uint64_t)(0x3f0 + rnd_below(r, 32)) << 52;
    default: return value_int(r);
    }
}

void value_vector(struct rng *r, uint8_t *p, unsigned len)
{
    unsigned kind = rnd_below(r, 8);

    for (unsigned i = 0; i < len; i += 8) {
        uint64_t v = chunk(r, kind == 7 ? rnd_below(r, 7) : kind);

        memcpy(p + i, &v, 8);
    }
}

/* Most of memory is never read: only a part gets the dear values. */
void value_memory(struct rng *r, uint8_t *p, unsigned len)
{
    for (unsigned i = 0; i < len; i += 64) {
        if (rnd_pct(r, 30)) {
            value_vector(r, p + i, 64);
            continue;
        }
        for (unsigned j = 0; j < 64; j += 8) {
            uint64_t v = rnd(r);

            memcpy(p + i + j, &v, 8);
        }
    }
}

static void value_x87(struct rng *r, struct regs *in)
{
    in->fcw = 0x37f;
    if (rnd_pct(r, 50))
        in->fcw = (uint16_t)(0x7f | (rnd(r) & 0xf00));
    if (rnd_pct(r, 12))
        in->fcw = (uint16_t)((rnd(r) & 0x1f3f) | 0x40);
    in->fsw = (uint16_t)(rnd(r) & 0x7f00);
    if (rnd_pct(r, 30))
        in->fsw |= rnd(r) & 0x7f;
    /* ES and B follow from the rest. */
    if (in->fsw & ~in->fcw & 0x3f) {
        if (rnd_pct(r, 70))
            in->fsw &= (uint16_t)~0x3f;
        else
            in->fsw |= 0x8080;
    }
    in->ftw = (uint8_t)(rnd_pct(r, 40) ? 0xff : rnd_pct(r, 20) ? 0 : rnd(r));
    for (unsigned i = 0; i < 8; i++)
        value_st(r, in->st[i]);
}

void value_regs(struct rng *r, struct regs *in, enum mode mode)
{
    memset(in, 0, sizeof(*in));
    for (unsigned i = 0; i < 16; i++)
        in->gpr[i] = mode == MODE_64 ? value_int(r) : i < 8 ? (uint32_t)value_int(r) : 0;
    in->rflags = (rnd(r) & (X86_FLAGS_ARITH | X86_DF)) | X86_IF | X86_FLAGS_FIXED;
    if (rnd_pct(r, 50))
        in->rflags &= ~(uint64_t)X86_DF;
    if (rnd_pct(r, 2))
        in->rflags |= X86_AC;
    if (rnd_pct(r, 1))
        in->rflags |= X86_TF;
    for (unsigned i = 0; i < DS_COUNT; i++)
        in->sel[i] = SEL_DATA;
    in->sel[DS_FS] = in->sel[DS_GS] = 0;
    in->sel[DS_CS] = mode == MODE_64 ? SEL_CS64 : mode == MODE_32 ? SEL_CS32 : SEL_CS16;
    if (mode == MODE_64 && rnd_pct(r, 50))
        in->sel[DS_DS] = in->sel[DS_ES] = 0;
    in->fs_base = rnd_below(r, 0x4000);
    in->gs_base = mode == MODE_64 && rnd_pct(r, 20) ? 0x7ffffffe0000 : DATA_BASE - rnd_below(r, 64);

    value_x87(r, in);
    in->mxcsr = 0x1f80;
    if (rnd_pct(r, 50))
        in->mxcsr |= (uint32_t)rnd(r) & 0xe07f;     /* FZ, RC, DAZ, flags */
    if (rnd_pct(r, 12))
        in->mxcsr &= (uint32_t)rnd(r) | ~0x1f80u;   /* unmasked */
    for (unsigned i = 0; i < 8; i++)
        in->k[i] = value_int(r);
    for (unsigned i = 0; i < (mode == MODE_64 ? 32 : 8); i++)
        value_vector(r, in->zmm[i], 64);
}
