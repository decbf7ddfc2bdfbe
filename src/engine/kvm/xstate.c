/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * x87, SSE, AVX and AVX-512 registers: component by component into and out of
 * KVM's XSAVE image, whose offsets are those of the host's leaf 0xD (SDM 1
 * 13.4).  A component whose bit is clear in XSTATE_BV is in its initial state.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

/* Offsets in the legacy area (SDM 1 table 10-2) and the header. */
enum {
    X_FCW = 0,
    X_FSW = 2,
    X_FTW = 4,
    X_FOP = 6,
    X_FIP = 8,
    X_FDP = 16,
    X_MXCSR = 24,
    X_ST = 32,
    X_XMM = 160,
    X_BV = 512
};
#define MXCSR_INIT 0x1f80u
#define FCW_INIT   0x37fu

struct area {
    uint8_t *image;
    size_t size;
};

static int area_init(struct vcpu *v, struct area *a)
{
    int size = kvm_has(v->vm->fd, KVM_CAP_XSAVE2);

    a->size = MAX((size_t)MAX(size, 0), sizeof(struct kvm_xsave));
    a->image = aligned_alloc(64, align_up(a->size, 64));
    if (!a->image)
        return -ENOMEM;
    memset(a->image, 0, a->size);
    return 0;
}

static int area_fetch(struct vcpu *v, struct area *a)
{
    return kvm_ioctl(v->fd, a->size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE,
                     a->image);
}

/* The place of a component, or NULL. */
static uint8_t *component(const struct area *a, unsigned n, size_t want)
{
    uint32_t size, offset, ecx, edx;

    __cpuid_count(0xd, n, size, offset, ecx, edx);
    return size >= want && offset + want <= a->size ? a->image + offset : NULL;
}

#define GET(field, at) memcpy(&(field), a->image + (at), sizeof(field))
#define PUT(field, at) memcpy(a->image + (at), &(field), sizeof(field))

static void get_legacy(const struct area *a, struct vcpu_state *s, uint64_t bv)
{
    s->fcw = FCW_INIT;
    GET(s->mxcsr, X_MXCSR);
    if (bv & XCR0_X87) {
        GET(s->fcw, X_FCW);
        GET(s->fsw, X_FSW);
        GET(s->ftw, X_FTW);
        GET(s->fop, X_FOP);
        s->fop &= 0x7ff;
        GET(s->fip, X_FIP);
        GET(s->fdp, X_FDP);
        for (unsigned n = 0; n < 8; n++) {
            GET(s->st_mant[n], X_ST + 16 * n);
            GET(s->st_exp[n], X_ST + 16 * n + 8);
        }
    }
    if (bv & XCR0_SSE)
        GET(s->xmm, X_XMM);
    else if (!(bv & XCR0_AVX))
        s->mxcsr = MXCSR_INIT;
}

static void get_extended(const struct area *a, struct vcpu_state *s, uint64_t bv)
{
    const struct {
        unsigned n;
        void *to;
        size_t size;
    } parts[] = { { 2, s->ymmh, sizeof(s->ymmh) },
                  { 5, s->opmask, sizeof(s->opmask) },
                  { 6, s->zmmh, sizeof(s->zmmh) },
                  { 7, s->hi16_zmm, sizeof(s->hi16_zmm) } };

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        const uint8_t *from = bv >> parts[i].n & 1 ? component(a, parts[i].n, parts[i].size) : NULL;

        if (from)
            memcpy(parts[i].to, from, parts[i].size);
    }
}

/* *s is zero where a component is in its initial state. */
int kvm_xstate_get(struct vcpu *v, struct vcpu_state *s)
{
    struct kvm_xcrs xcrs;
    struct area a;
    uint64_t bv;
    int rc = area_init(v, &a);

    if (rc < 0)
        return rc;
    rc = area_fetch(v, &a);
    if (rc == 0) {
        memcpy(&bv, a.image + X_BV, sizeof(bv));
        get_legacy(&a, s, bv);
        get_extended(&a, s, bv);
    }
    free(a.image);
    s->xcr0 = XCR0_X87;
    if (rc == 0 && kvm_ioctl(v->fd, KVM_GET_XCRS, &xcrs) == 0)
        for (unsigned i = 0; i < xcrs.nr_xcrs; i++)
            if (xcrs.xcrs[i].xcr == 0)
                s->xcr0 = xcrs.xcrs[i].value;
    return rc;
}

static void put_legacy(const struct area *a, const struct vcpu_state *s)
{
    memset(a->image, 0, 512);
    PUT(s->fcw, X_FCW);
    PUT(s->fsw, X_FSW);
    PUT(s->ftw, X_FTW);
    PUT(s->fop, X_FOP);
    PUT(s->fip, X_FIP);
    PUT(s->fdp, X_FDP);
    PUT(s->mxcsr, X_MXCSR);
    for (unsigned n = 0; n < 8; n++) {
        PUT(s->st_mant[n], X_ST + 16 * n);
        PUT(s->st_exp[n], X_ST + 16 * n + 8);
    }
    PUT(s->xmm, X_XMM);
}

static bool all_zero(const void *p, size_t n)
{
    const uint8_t *b = p;

    return n == 0 || (!b[0] && !memcmp(b, b + 1, n - 1));
}

/* Components beyond SSE; returns the bits that are in the image. */
static uint64_t put_extended(const struct area *a, const struct vcpu_state *s, uint64_t mask)
{
    const struct {
        unsigned n;
        const void *from;
        size_t size;
    } parts[] = { { 2, s->ymmh, sizeof(s->ymmh) },
                  { 5, s->opmask, sizeof(s->opmask) },
                  { 6, s->zmmh, sizeof(s->zmmh) },
                  { 7, s->hi16_zmm, sizeof(s->hi16_zmm) } };
    uint64_t bv = 0;

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        uint8_t *to = mask >> parts[i].n & 1 && !all_zero(parts[i].from, parts[i].size)
                          ? component(a, parts[i].n, parts[i].size)
                          : NULL;

        if (to) {
            memcpy(to, parts[i].from, parts[i].size);
            bv |= BIT(parts[i].n);
        }
    }
    return bv;
}

int kvm_xstate_set(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_xcrs xcrs = { .nr_xcrs = 1, .xcrs = { { .xcr = 0, .value = s->xcr0 } } };
    struct area a;
    uint64_t bv;
    int rc = area_init(v, &a);

    if (rc < 0)
        return rc;
    put_legacy(&a, s);
    bv = XCR0_X87 | XCR0_SSE | put_extended(&a, s, v->vm->xcr0_mask);
    memcpy(a.image + X_BV, &bv, sizeof(bv));
    rc = kvm_ioctl(v->fd, KVM_SET_XSAVE, a.image);
    free(a.image);
    /* A model without XSAVE has no XCR0 to set. */
    if (rc == 0 && v->vm->xcr0_mask)
        rc = kvm_ioctl(v->fd, KVM_SET_XCRS, &xcrs);
    return rc;
}
