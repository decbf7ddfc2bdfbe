/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The XSAVE area in a signal frame (SDM 1 13.4, standard format). */
#include "native.h"

#include <cpuid.h>

#include "x86/x86.h"

#define COMPONENTS (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)

void xstate_layout(struct native_layout *l)
{
    unsigned a, b, c, d;
    uint32_t *const field[] = {&l->avx, &l->opmask, &l->zmmh, &l->hi16};
    static const unsigned component[] = {2, 5, 6, 7};

    __asm__("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    l->xcr0 = a & COMPONENTS;
    l->others = a & ~COMPONENTS;
    for (unsigned i = 0; i < 4; i++) {
        __cpuid_count(0xd, component[i], a, b, c, d);
        *field[i] = l->xcr0 >> component[i] & 1 ? b : 0;
    }
}

/* No libc here: see native.c. */
static void copy(void *dst, const void *src, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(dst), "+S"(src), "+c"(n) : : "memory");
}

static void zero(void *dst, size_t n)
{
    __asm__ volatile("rep stosb" : "+D"(dst), "+c"(n) : "a"(0) : "memory");
}

/* A component whose bit in XSTATE_BV is clear is in its initial state. */
static void take(const uint8_t *area, uint32_t offset, unsigned bit, unsigned at, void *dst, unsigned n)
{
    uint64_t bv;

    copy(&bv, area + 512, 8);
    if (offset && bv >> bit & 1)
        copy(dst, area + offset + at, n);
    else
        zero(dst, n);
}

void xstate_take(const struct native_layout *l, const uint8_t *area, struct regs *o)
{
    uint64_t bv;

    copy(&bv, area + 512, 8);
    copy(&o->fcw, area, 2);
    copy(&o->fsw, area + 2, 2);
    copy(&o->ftw, area + 4, 1);
    copy(&o->fop, area + 6, 2);
    copy(&o->fip, area + 8, 8);
    copy(&o->fdp, area + 16, 8);
    copy(&o->mxcsr, area + 24, 4);
    for (unsigned i = 0; i < 8; i++)
        take(area, 32 + 16 * i, 0, 0, o->st[i], 10);
    if (!(bv & XCR0_X87)) {
        o->fcw = 0x37f;
        o->fsw = o->fop = 0;
        o->ftw = 0;
        o->fip = o->fdp = 0;
    }
    for (unsigned i = 0; i < 16; i++) {
        take(area, 160, 1, 16 * i, o->zmm[i], 16);
        take(area, l->avx, 2, 16 * i, o->zmm[i] + 16, 16);
        take(area, l->zmmh, 6, 32 * i, o->zmm[i] + 32, 32);
        take(area, l->hi16, 7, 64 * i, o->zmm[16 + i], 64);
    }
    take(area, l->opmask, 5, 0, o->k, 64);
}

void xstate_put(const struct native_layout *l, uint8_t *area, const struct regs *in)
{
    zero(area, 416);
    copy(area, &in->fcw, 2);
    copy(area + 2, &in->fsw, 2);
    copy(area + 4, &in->ftw, 1);
    copy(area + 6, &in->fop, 2);
    copy(area + 8, &in->fip, 8);
    copy(area + 16, &in->fdp, 8);
    copy(area + 24, &in->mxcsr, 4);
    for (unsigned i = 0; i < 8; i++)
        copy(area + 32 + 16 * i, in->st[i], 10);
    for (unsigned i = 0; i < 16; i++) {
        copy(area + 160 + 16 * i, in->zmm[i], 16);
        if (l->avx)
            copy(area + l->avx + 16 * i, in->zmm[i] + 16, 16);
        if (l->zmmh)
            copy(area + l->zmmh + 32 * i, in->zmm[i] + 32, 32);
        if (l->hi16)
            copy(area + l->hi16 + 64 * i, in->zmm[16 + i], 64);
    }
    if (l->opmask)
        copy(area + l->opmask, in->k, 64);
    copy(area + 512, &l->xcr0, 8);
}
