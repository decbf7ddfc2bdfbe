/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * XSTATE_BV of a component in its initial configuration: hardware may set it
 * or not (SDM 1 13.6, XINUSE), and then saves the component or leaves it out.
 * The engine looks at the values and says "not in use".
 *
 * Where the host says "in use", its area is taken over if it holds nothing but
 * the initial configuration; all else is still compared.
 */
#include "native.h"

#include <string.h>

#include "base/util.h"
#include "x86/x86.h"

#define HEADER     512u
#define FIRST      576u
#define COMPACT    BIT(63)
#define COMPONENTS 8u
#define FCW_INIT   0x37fu
#define MXCSR_INIT 0x1f80u

struct region {
    unsigned at, size;
};

static uint64_t word(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, 8);
    return v;
}

static bool has_xsave(const struct test_case *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        switch (form_get(t->form[i])->key.mnemonic) {
        case ZYDIS_MNEMONIC_XSAVE:
        case ZYDIS_MNEMONIC_XSAVE64:
        case ZYDIS_MNEMONIC_XSAVEC:
        case ZYDIS_MNEMONIC_XSAVEC64:
        case ZYDIS_MNEMONIC_XSAVEOPT:
        case ZYDIS_MNEMONIC_XSAVEOPT64: return true;
        default: break;
        }
    }
    return false;
}

/* Where component n >= 2 lies; size 0: not there. */
static struct region extended(unsigned n, uint64_t xcomp)
{
    static const unsigned sizes[COMPONENTS] = { [2] = 256, [5] = 64, [6] = 512, [7] = 1024 };
    const struct native_layout *l = native_get_layout();
    const unsigned at[COMPONENTS] = { [2] = l->avx, [5] = l->opmask, [6] = l->zmmh, [7] = l->hi16 };
    unsigned end = FIRST;

    if (!(xcomp & COMPACT))
        return (struct region){ at[n], at[n] ? sizes[n] : 0 };
    for (unsigned i = 2; i < n; i++)
        end += xcomp >> i & 1 ? sizes[i] : 0;
    return (struct region){ end, xcomp >> n & 1 ? sizes[n] : 0 };
}

/* Eight bytes of the area as they are initially.  MXCSR_MASK is the host's. */
static uint64_t initial(unsigned at, uint64_t native)
{
    if (at == 0)
        return FCW_INIT;
    return at == 24 ? MXCSR_INIT | native >> 32 << 32 : 0;
}

static void take_over(const uint8_t *native, uint8_t *guest, struct region r)
{
    for (unsigned at = r.at; at < r.at + r.size; at += 8)
        if (word(native + at) == initial(at, word(native + at)))
            memcpy(guest + at, native + at, 8);
}

/* The area that may be at native and guest, of which room bytes are there. */
static void forget_area(const uint8_t *native, uint8_t *guest, unsigned room)
{
    const uint64_t xcomp = word(native + HEADER + 8);
    const uint64_t only_native = word(native + HEADER) & ~word(guest + HEADER);

    if (word(guest + HEADER) & ~word(native + HEADER) || !only_native ||
        only_native & ~native_xcr0())
        return;
    if (only_native & XCR0_X87) {
        take_over(native, guest, (struct region){ 0, 24 });
        take_over(native, guest, (struct region){ 32, 128 });
    }
    if (only_native & XCR0_SSE) {
        take_over(native, guest, (struct region){ 160, 256 });
        if (xcomp & COMPACT)
            take_over(native, guest, (struct region){ 24, 8 });
    }
    for (unsigned n = 2; n < COMPONENTS; n++) {
        const struct region r = extended(n, xcomp);

        if (only_native >> n & 1 && r.at + r.size <= room)
            take_over(native, guest, r);
    }
    memcpy(guest + HEADER, native + HEADER, 8);
}

void inuse_forget(const struct test_case *t, const uint8_t *native, uint8_t *guest)
{
    if (!has_xsave(t))
        return;
    for (unsigned at = 0; at + FIRST <= DATA_SIZE; at += 64)
        forget_area(native + at, guest + at, DATA_SIZE - at);
}
