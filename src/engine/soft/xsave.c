/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * FXSAVE, FXRSTOR and the XSAVE family (SDM 1 10.5, 13), and the FPU's part
 * of struct vcpu_state.
 *
 * Functions rather than native execution: the host would store its own
 * instruction pointers and offsets.  Components other than x87, SSE, AVX and
 * AVX-512 are hidden from guests.
 */
#include "engine/soft/simd.h"

#include <string.h>

#define LEGACY_SIZE 512u
#define HEADER_SIZE 64u
#define AREA_SIZE (LEGACY_SIZE + HEADER_SIZE)
#define AREA_MAX 4096u
#define COMPONENTS 8u
#define MXCSR_AT 24u
#define XMM_AT 160u

static unsigned nregs(const struct insn *i)
{
    return i->flags & INSN_CODE64 ? 16 : 8;
}

/* ---- legacy region ------------------------------------------------------------------- */

/* AMD's CPUs give the error pointers only if an error is pending; with
 * XSaveErPtr (leaf 0x80000008 EBX bit 2) they store zeros instead, without it
 * nothing, and then do not restore them either (APM 2 11.4.4.3). */
static bool amd_old(const struct soft_cpu *c)
{
    return c->vm->model->amd && !(cpu_model_lookup(c->vm->model, 0x80000008, 0).ebx & 4);
}

/* Bytes 0 to 23 and 32 to 159.  wide: the 64-bit form. */
static void x87_to_image(struct soft_cpu *c, uint8_t *p, bool wide)
{
    bool pending = *fpu_fsw(c) & FSW_ES;
    uint8_t zero[18] = { 0 };

    memcpy(p, c->fpu.fx, 6);
    p[5] = 0;
    memcpy(p + 32, fpu_st(c, 0), 128);
    if (c->vm->model->amd && !pending) {
        if (!amd_old(c))
            memcpy(p + 6, zero, 18);
        return;
    }
    memcpy(p + 6, c->fpu.fx + 6, 18);
    if (wide)
        return;
    memcpy(p + 12, &c->fpu.fcs, 2);
    memcpy(p + 14, zero, 2);
    memcpy(p + 20, &c->fpu.fds, 2);
    memcpy(p + 22, zero, 2);
}

/* How much of its 64 bits a pointer keeps is the CPU's own: AMD's keep 57,
 * Intel's all of the operand's and 48 of the instruction's. */
static void shorten_pointers(struct soft_cpu *c)
{
    const unsigned n = c->vm->model->amd ? 64 - 57 : 64 - 48;
    int64_t fip = (int64_t)(*fpu_fip(c) << n) >> n;

    *fpu_fip(c) = (uint64_t)fip;
    if (c->vm->model->amd)
        *fpu_fdp(c) = (uint64_t)((int64_t)(*fpu_fdp(c) << n) >> n);
}

static void x87_from_image(struct soft_cpu *c, const uint8_t *p, bool wide)
{
    uint16_t fop, fcs, fds;

    memcpy(c->fpu.fx, p, 5);
    c->fpu.fx[5] = 0;
    for (unsigned n = 0; n < 8; n++) {
        memset(fpu_st(c, n), 0, 16);
        memcpy(fpu_st(c, n), p + 32 + 16 * n, 10);
    }
    x87_normalise(c);
    if (amd_old(c) && !(*fpu_fsw(c) & FSW_ES))
        return;
    memcpy(&fop, p + 6, 2);
    *fpu_fop(c) = fop & 0x7ff;
    memcpy(fpu_fip(c), p + 8, 8);
    memcpy(fpu_fdp(c), p + 16, 8);
    c->fpu.fcs = c->fpu.fds = 0;
    if (wide) {
        shorten_pointers(c);
        return;
    }
    memcpy(&fcs, p + 12, 2);
    memcpy(&fds, p + 20, 2);
    x87_set_selectors(c, fcs, fds);
    *fpu_fip(c) &= 0xffffffffu;
    *fpu_fdp(c) &= 0xffffffffu;
}

static void mxcsr_to_image(struct soft_cpu *c, uint8_t *p)
{
    uint32_t v[2] = { *fpu_mxcsr(c), simd_mxcsr_valid(c) };

    memcpy(p + MXCSR_AT, v, 8);
}

static void xmm_to_image(struct soft_cpu *c, const struct insn *i, uint8_t *p)
{
    for (unsigned n = 0; n < nregs(i); n++)
        memcpy(p + XMM_AT + 16 * n, c->fpu.zmm[n], 16);
}

static void xmm_from_image(struct soft_cpu *c, const struct insn *i, const uint8_t *p)
{
    for (unsigned n = 0; n < nregs(i); n++)
        memcpy(c->fpu.zmm[n], p + XMM_AT + 16 * n, 16);
}

static int image_linear(struct soft_cpu *c, const struct insn *i, unsigned size, unsigned align,
                        bool write, uint64_t *la)
{
    int r = insn_linear(c, i, size, write, la);

    if (r)
        return simd_bad_address(c, i, align, r);
    if (align == 16)            /* FXSAVE, FXRSTOR: #AC before #GP */
        r = soft_align(c, *la, 4);
    if (r)
        return r;
    return *la & (align - 1) ? soft_gp0(c) : 0;
}

/* ---- FXSAVE, FXRSTOR --------------------------------------------------------------------- */

static int fx_check(struct soft_cpu *c)
{
    return c->s.cr0 & (CR0_EM | CR0_TS) ? soft_raise(c, VEC_NM) : 0;
}

static int op_fxsave(struct soft_cpu *c, const struct insn *i)
{
    unsigned size = XMM_AT + 16 * nregs(i);
    uint8_t image[LEGACY_SIZE];
    uint64_t la;
    int r = fx_check(c);

    if (!r)
        r = image_linear(c, i, LEGACY_SIZE, 16, true, &la);
    if (!r)
        r = soft_probe(c, la, LEGACY_SIZE, ACCESS_WRITE);
    if (!r && amd_old(c))
        r = soft_read_bytes(c, la, image, LEGACY_SIZE);
    if (r)
        return r;
    x87_to_image(c, image, i->osize == 8);
    mxcsr_to_image(c, image);
    xmm_to_image(c, i, image);
    r = soft_write_bytes(c, la, image, size);
    return r ? r : SOFT_NEXT;
}

static int op_fxrstor(struct soft_cpu *c, const struct insn *i)
{
    uint8_t image[LEGACY_SIZE];
    uint32_t mxcsr;
    uint64_t la;
    int r = fx_check(c);

    if (!r)
        r = image_linear(c, i, LEGACY_SIZE, 16, false, &la);
    if (!r)
        r = soft_read_bytes(c, la, image, LEGACY_SIZE);
    if (r)
        return r;
    memcpy(&mxcsr, image + MXCSR_AT, 4);
    if (mxcsr & ~simd_mxcsr_valid(c))
        return soft_gp0(c);
    x87_from_image(c, image, i->osize == 8);
    *fpu_mxcsr(c) = mxcsr;
    xmm_from_image(c, i, image);
    return SOFT_NEXT;
}

bool fxsave_lower(struct lower *l)
{
    struct insn *i = l->insn;

    i->osize = l->z->raw.rex.W && (l->mode & MODE_BITS) == 2 ? 8 : 4;
    i->fn = l->z->mnemonic == ZYDIS_MNEMONIC_FXSAVE || l->z->mnemonic == ZYDIS_MNEMONIC_FXSAVE64 ?
            op_fxsave : op_fxrstor;
    return true;
}

/* ---- components ------------------------------------------------------------------------------- */

static bool all_zero(const void *p, size_t len)
{
    const uint8_t *b = p;

    return !len || (!b[0] && !memcmp(b, b + 1, len - 1));
}

struct xregs {
    uint32_t offset, size;      /* standard form */
    bool align;                 /* compacted form: at 64 bytes */
};

static struct xregs component(struct soft_cpu *c, unsigned n)
{
    struct cpuid_regs r = cpu_model_lookup(c->vm->model, 0xd, n);

    return (struct xregs){ r.ebx, r.eax, r.ecx & 2 };
}

/* Bytes between the guest's registers and one extended component. */
static unsigned part(struct soft_cpu *c, unsigned n, unsigned reg, uint8_t **p)
{
    switch (n) {
    case 2: *p = c->fpu.zmm[reg] + 16; return reg < 16 ? 16 : 0;
    case 5: *p = (uint8_t *)&c->fpu.k[reg & 7]; return reg < 8 ? 8 : 0;
    case 6: *p = c->fpu.zmm[reg] + 32; return reg < 16 ? 32 : 0;
    case 7: *p = c->fpu.zmm[16 + (reg & 15)]; return reg < 16 ? 64 : 0;
    default: return 0;
    }
}

/* Registers that this mode reaches: 32-bit code has YMM, ZMM 0 to 7 and no
 * ZMM16 to 31 (SDM 1 13.5). */
static unsigned part_count(const struct insn *i, unsigned n)
{
    if (n == 5)
        return 8;
    return i->flags & INSN_CODE64 ? 16 : n == 7 ? 0 : 8;
}

enum copy { COPY_OUT, COPY_IN, COPY_INIT };

static void copy_component(struct soft_cpu *c, const struct insn *i, unsigned n, uint8_t *area, enum copy how)
{
    for (unsigned reg = 0, at = 0; reg < part_count(i, n); reg++) {
        uint8_t *p = NULL;
        unsigned len = part(c, n, reg, &p);

        if (!len)
            continue;
        if (how == COPY_OUT)
            memcpy(area + at, p, len);
        else if (how == COPY_IN)
            memcpy(p, area + at, len);
        else
            memset(p, 0, len);
        at += len;
    }
}

/* A component in its initial configuration is not in use, whatever made it so.
 * CPUs may say that it is, and do by rules of their own (SDM 1 13.6): AMD's of
 * x87 until an XRSTOR has initialised it, Intel's of most. */
static bool x87_in_use(struct soft_cpu *c)
{
    return *fpu_fcw(c) != 0x37f || *fpu_fsw(c) || *fpu_ftw(c) || *fpu_fop(c) || *fpu_fip(c) ||
           *fpu_fdp(c) || !all_zero(fpu_st(c, 0), 128);
}

static uint64_t in_use(struct soft_cpu *c, uint64_t which)
{
    uint64_t bits = 0;

    if ((which & XCR0_X87) && x87_in_use(c))
        bits |= XCR0_X87;
    for (unsigned n = 0; (which & XCR0_SSE) && n < 16; n++)
        if (!all_zero(c->fpu.zmm[n], 16))
            bits |= XCR0_SSE;
    for (unsigned n = 2; n < COMPONENTS; n++) {
        for (unsigned reg = 0; (which >> n & 1) && reg < 16; reg++) {
            uint8_t *p = NULL;
            unsigned len = part(c, n, reg, &p);
            if (len && !all_zero(p, len)) {
                bits |= BIT(n);
                break;
            }
        }
    }
    return bits;
}

static uint64_t requested(const struct soft_cpu *c)
{
    return (c->gpr[CPU_RDX] << 32 | (uint32_t)c->gpr[CPU_RAX]) & c->s.xcr0;
}

static int xsave_check(struct soft_cpu *c)
{
    if (!(c->s.cr4 & CR4_OSXSAVE))
        return soft_ud(c);
    return c->s.cr0 & CR0_TS ? soft_raise(c, VEC_NM) : 0;
}

/* Where each component of xcomp lies; returns the size of the area. */
static unsigned layout(struct soft_cpu *c, uint64_t which, bool compact, unsigned at[COMPONENTS],
                       unsigned size[COMPONENTS])
{
    unsigned end = AREA_SIZE;

    for (unsigned n = 2; n < COMPONENTS; n++) {
        struct xregs x;
        at[n] = size[n] = 0;
        if (!(which >> n & 1))
            continue;
        x = component(c, n);
        at[n] = !compact ? x.offset : x.align ? (unsigned)align_up(end, 64) : end;
        size[n] = x.size;
        if (at[n] + size[n] > AREA_MAX)
            size[n] = at[n] = 0;        /* a model that is not ours */
        if (at[n] + size[n] > end)
            end = at[n] + size[n];
    }
    return end;
}

/* ---- XSAVE, XSAVEOPT, XSAVEC ---------------------------------------------------------------- */

enum { SAVE_ALL, SAVE_OPT, SAVE_COMPACT };

/* The legacy region, and only what belongs to the components: the rest of the
 * guest's memory stays as it is. */
static int save_legacy(struct soft_cpu *c, const struct insn *i, uint64_t la, uint64_t save, bool mxcsr)
{
    uint8_t image[LEGACY_SIZE];
    int r = 0;

    if (save & XCR0_X87) {
        if (amd_old(c))
            r = soft_read_bytes(c, la, image, 32);
        if (r)
            return r;
        x87_to_image(c, image, i->osize == 8);
        r = soft_write_bytes(c, la, image, 24);
        if (!r)
            r = soft_write_bytes(c, la + 32, image + 32, 128);
    }
    if (!r && mxcsr) {
        mxcsr_to_image(c, image);
        r = soft_write_bytes(c, la + MXCSR_AT, image + MXCSR_AT, 8);
    }
    if (!r && (save & XCR0_SSE)) {
        xmm_to_image(c, i, image);
        r = soft_write_bytes(c, la + XMM_AT, image + XMM_AT, 16 * nregs(i));
    }
    return r;
}

static int save_extended(struct soft_cpu *c, const struct insn *i, uint64_t la, uint64_t save,
                         const unsigned at[COMPONENTS], const unsigned size[COMPONENTS])
{
    uint8_t buf[1024];

    for (unsigned n = 2; n < COMPONENTS; n++) {
        unsigned len = n == 5 ? 64 : part_count(i, n) * (n == 2 ? 16 : n == 6 ? 32 : 64);
        int r;
        if (!(save >> n & 1) || !size[n] || !len)
            continue;
        copy_component(c, i, n, buf, COPY_OUT);
        r = soft_write_bytes(c, la + at[n], buf, MIN(len, size[n]));
        if (r)
            return r;
    }
    return 0;
}

static int save_header(struct soft_cpu *c, uint64_t la, uint64_t rfbm, uint64_t used, unsigned how)
{
    uint64_t h[2];
    int r;

    if (how == SAVE_COMPACT) {
        h[0] = used;
        h[1] = rfbm | BIT(63);
        return soft_write_bytes(c, la + LEGACY_SIZE, h, 16);
    }
    r = soft_read_bytes(c, la + LEGACY_SIZE, h, 8);
    if (r)
        return r;
    h[0] = (h[0] & ~rfbm) | used;
    return soft_write_bytes(c, la + LEGACY_SIZE, h, 8);
}

static int xsave(struct soft_cpu *c, const struct insn *i, unsigned how)
{
    uint64_t rfbm = requested(c), used, la;
    unsigned at[COMPONENTS], size[COMPONENTS], end;
    bool mxcsr;
    int r = xsave_check(c);

    if (r)
        return r;
    end = layout(c, rfbm, how == SAVE_COMPACT, at, size);
    r = image_linear(c, i, end, 64, true, &la);
    if (!r)
        r = soft_probe(c, la, end, ACCESS_WRITE);
    if (r)
        return r;
    used = in_use(c, rfbm);
    /* SDM 1 13.10: with XSAVEC, MXCSR counts as part of component 1. */
    if (how == SAVE_COMPACT && (rfbm & XCR0_SSE) && *fpu_mxcsr(c) != MXCSR_DEFAULT)
        used |= XCR0_SSE;
    mxcsr = how == SAVE_COMPACT ? used & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
    r = save_legacy(c, i, la, how == SAVE_ALL ? rfbm : used, mxcsr);
    if (!r)
        r = save_extended(c, i, la, how == SAVE_ALL ? rfbm : used, at, size);
    if (!r)
        r = save_header(c, la, rfbm, used, how);
    return r ? r : SOFT_NEXT;
}

static int op_xsave(struct soft_cpu *c, const struct insn *i) { return xsave(c, i, SAVE_ALL); }
static int op_xsaveopt(struct soft_cpu *c, const struct insn *i) { return xsave(c, i, SAVE_OPT); }
static int op_xsavec(struct soft_cpu *c, const struct insn *i) { return xsave(c, i, SAVE_COMPACT); }

/* ---- XRSTOR --------------------------------------------------------------------------------------- */

/* SDM 1 13.8.1, 13.8.2 */
static bool header_ok(const struct soft_cpu *c, const uint64_t h[8])
{
    if (h[1] & BIT(63)) {
        if (!soft_has(c, F_XSAVEC) || (h[1] & ~BIT(63) & ~c->s.xcr0) || (h[0] & ~h[1]) || (h[0] & BIT(63)))
            return false;
        return all_zero(&h[2], 48);
    }
    return !(h[0] & ~c->s.xcr0) && !h[1] && !h[2];
}

static void restore_legacy(struct soft_cpu *c, const struct insn *i, const uint8_t *image, uint64_t rfbm,
                           uint64_t have)
{
    if (rfbm & have & XCR0_X87) {
        x87_from_image(c, image, i->osize == 8);
    } else if (rfbm & XCR0_X87) {
        x87_init(c);
        memset(fpu_st(c, 0), 0, 128);
    }
    if (rfbm & have & XCR0_SSE)
        xmm_from_image(c, i, image);
    for (unsigned n = 0; (rfbm & ~have & XCR0_SSE) && n < nregs(i); n++)
        memset(c->fpu.zmm[n], 0, 16);
}

/* What MXCSR becomes: with the standard form it is loaded whatever XSTATE_BV
 * says (SDM 1 13.8.1), with the compacted one it belongs to component 1. */
static bool new_mxcsr(struct soft_cpu *c, const uint8_t *image, uint64_t rfbm, uint64_t have, bool compact,
                      uint32_t *mxcsr)
{
    *mxcsr = *fpu_mxcsr(c);
    if (compact) {
        if (!(rfbm & XCR0_SSE))
            return true;
        if (!(have & XCR0_SSE)) {
            *mxcsr = MXCSR_DEFAULT;
            return true;
        }
    } else if (!(rfbm & (XCR0_SSE | XCR0_AVX))) {
        return true;
    }
    memcpy(mxcsr, image + MXCSR_AT, 4);
    return !(*mxcsr & ~simd_mxcsr_valid(c));
}

static int op_xrstor(struct soft_cpu *c, const struct insn *i)
{
    uint64_t rfbm = requested(c), h[8], la;
    unsigned at[COMPONENTS], size[COMPONENTS], end;
    uint8_t area[AREA_MAX];
    uint32_t mxcsr;
    bool compact;
    int r = xsave_check(c);

    if (!r)
        r = image_linear(c, i, AREA_SIZE, 64, false, &la);
    if (!r)
        r = soft_read_bytes(c, la, area, AREA_SIZE);
    if (r)
        return r;
    memcpy(h, area + LEGACY_SIZE, sizeof(h));
    if (!header_ok(c, h))
        return soft_gp0(c);
    compact = h[1] & BIT(63);
    end = layout(c, compact ? h[1] & ~BIT(63) : rfbm & h[0], compact, at, size);
    if (end > AREA_SIZE) {
        r = image_linear(c, i, end, 64, false, &la);
        if (!r)
            r = soft_read_bytes(c, la + AREA_SIZE, area + AREA_SIZE, end - AREA_SIZE);
        if (r)
            return r;
    }
    if (!new_mxcsr(c, area, rfbm, h[0], compact, &mxcsr))
        return soft_gp0(c);
    restore_legacy(c, i, area, rfbm, h[0]);
    *fpu_mxcsr(c) = mxcsr;
    for (unsigned n = 2; n < COMPONENTS; n++)
        if (rfbm >> n & 1)
            copy_component(c, i, n, area + at[n], h[0] >> n & 1 && size[n] ? COPY_IN : COPY_INIT);
    return SOFT_NEXT;
}

bool xsave_lower(struct lower *l)
{
    struct insn *i = l->insn;

    i->osize = l->z->raw.rex.W && (l->mode & MODE_BITS) == 2 ? 8 : 4;
    switch (l->z->mnemonic) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64: i->fn = op_xsave; break;
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64: i->fn = op_xsavec; break;
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64: i->fn = op_xsaveopt; break;
    default: i->fn = op_xrstor; break;
    }
    return true;
}

/* ---- struct vcpu_state ------------------------------------------------------------------------------- */

/* SDM 3A table 9-1: RESET clears everything and leaves FCW 0x40; INIT keeps it. */
void soft_fpu_reset(struct soft_cpu *c, bool init)
{
    if (init)
        return;
    memset(&c->fpu, 0, sizeof(c->fpu));
    *fpu_fcw(c) = 0x40;
    *fpu_ftw(c) = 0xff;         /* tags 0x5555: all zero, none empty */
    *fpu_mxcsr(c) = MXCSR_DEFAULT;
}

void soft_fpu_get(const struct soft_cpu *cc, struct vcpu_state *s)
{
    struct soft_cpu *c = (struct soft_cpu *)(uintptr_t)cc;     /* the accessors are for both */

    s->fcw = *fpu_fcw(c);
    s->fsw = *fpu_fsw(c);
    s->ftw = *fpu_ftw(c);
    s->fop = *fpu_fop(c);
    s->fip = *fpu_fip(c);
    s->fdp = *fpu_fdp(c);
    s->fcs = c->fpu.fcs;
    s->fds = c->fpu.fds;
    s->mxcsr = *fpu_mxcsr(c);
    for (unsigned n = 0; n < 8; n++) {
        memcpy(&s->st_mant[n], fpu_st(c, n), 8);
        memcpy(&s->st_exp[n], fpu_st(c, n) + 8, 2);
        s->opmask[n] = c->fpu.k[n];
    }
    for (unsigned n = 0; n < 16; n++) {
        memcpy(s->xmm[n], c->fpu.zmm[n], 16);
        memcpy(s->ymmh[n], c->fpu.zmm[n] + 16, 16);
        memcpy(s->zmmh[n], c->fpu.zmm[n] + 32, 32);
        memcpy(s->hi16_zmm[n], c->fpu.zmm[16 + n], 64);
    }
}

void soft_fpu_set(struct soft_cpu *c, const struct vcpu_state *s)
{
    memset(&c->fpu, 0, sizeof(c->fpu));
    *fpu_fcw(c) = s->fcw;
    *fpu_fsw(c) = s->fsw;
    *fpu_ftw(c) = s->ftw;
    *fpu_fop(c) = s->fop & 0x7ff;
    *fpu_fip(c) = s->fip;
    *fpu_fdp(c) = s->fdp;
    c->fpu.fcs = s->fcs;
    c->fpu.fds = s->fds;
    /* A state from elsewhere must not make the host's FXRSTOR fault. */
    *fpu_mxcsr(c) = s->mxcsr & simd_mxcsr_valid(c);
    for (unsigned n = 0; n < 8; n++) {
        memcpy(fpu_st(c, n), &s->st_mant[n], 8);
        memcpy(fpu_st(c, n) + 8, &s->st_exp[n], 2);
        c->fpu.k[n] = s->opmask[n];
    }
    for (unsigned n = 0; n < 16; n++) {
        memcpy(c->fpu.zmm[n], s->xmm[n], 16);
        memcpy(c->fpu.zmm[n] + 16, s->ymmh[n], 16);
        memcpy(c->fpu.zmm[n] + 32, s->zmmh[n], 32);
        memcpy(c->fpu.zmm[16 + n], s->hi16_zmm[n], 64);
    }
    x87_normalise(c);
}
