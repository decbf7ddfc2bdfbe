/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "encode.h"

#include <string.h>

static unsigned put_legacy(enum mode mode, const struct encode_choice *c, uint8_t *p)
{
    unsigned n = 0;
    uint8_t rex = (uint8_t)(c->e.w << 3 | c->r << 2 | c->x << 1 | c->b);

    if (mode == MODE_64 && (rex || c->rex))
        p[n++] = 0x40 | rex;
    if (c->e.map)
        p[n++] = 0x0f;
    if (c->e.map > 1)
        p[n++] = c->e.map == 2 ? 0x38 : 0x3a;
    return n;
}

/* SDM 2A 2.3.5; the two-byte form where it can say the same. */
static unsigned put_vex(enum mode mode, const struct encode_choice *c, uint8_t *p)
{
    uint8_t low = (uint8_t)((~c->e.vvvv & 15) << 3 | c->e.l << 2 | c->e.pp);
    bool inverted = mode != MODE_64;    /* R and X must read as 1: else it is LES or LDS */

    if (c->e.map == 1 && !c->e.w && !c->x && !c->b && c->rex) {
        p[0] = 0xc5;
        p[1] = (uint8_t)((c->r && !inverted ? 0 : 0x80) | low);
        return 2;
    }
    p[0] = 0xc4;
    p[1] = (uint8_t)((c->r && !inverted ? 0 : 0x80) | (c->x && !inverted ? 0 : 0x40) |
                     (c->b ? 0 : 0x20) | c->e.map);
    p[2] = (uint8_t)(c->e.w << 7 | low);
    return 3;
}

/* SDM 2A 2.7.1. */
static unsigned put_evex(enum mode mode, const struct encode_choice *c, uint8_t *p)
{
    bool m64 = mode == MODE_64;
    uint8_t x = c->e.reg_form ? c->x2 : c->x;

    p[0] = 0x62;
    p[1] = (uint8_t)((c->r && m64 ? 0 : 0x80) | (x && m64 ? 0 : 0x40) | (c->b && m64 ? 0 : 0x20) |
                     (c->r2 && m64 ? 0 : 0x10) | c->e.map);
    p[2] = (uint8_t)(c->e.w << 7 | (~c->e.vvvv & 15) << 3 | 4 | c->e.pp);
    p[3] = (uint8_t)(c->e.z << 7 | c->e.l << 5 | c->e.b << 4 | (c->v2 && m64 ? 0 : 8) | c->e.aaa);
    return 4;
}

unsigned encode(enum mode mode, const struct encode_choice *c, uint8_t *out)
{
    unsigned n = 0;

    if (c->seg)
        out[n++] = c->seg;
    if (c->a67)
        out[n++] = 0x67;
    if (c->e.lock)
        out[n++] = 0xf0;
    if (c->e.p66)
        out[n++] = 0x66;
    if (c->e.rep)
        out[n++] = c->e.rep;
    n += c->e.kind == ENC_LEGACY ? put_legacy(mode, c, out + n) :
         c->e.kind == ENC_VEX ? put_vex(mode, c, out + n) : put_evex(mode, c, out + n);
    out[n++] = c->e.opcode;
    if (c->e.has_modrm) {
        uint8_t mod = c->e.reg_form ? 3 : c->addr.mod;
        uint8_t rm = c->e.reg_form ? c->e.rm : c->addr.rm;

        out[n++] = (uint8_t)(mod << 6 | c->e.reg << 3 | rm);
        if (!c->e.reg_form && c->addr.has_sib)
            out[n++] = c->addr.sib;
        if (!c->e.reg_form) {
            memcpy(out + n, &c->disp, 4);
            n += c->addr.disp_len;
        }
    }
    memcpy(out + n, &c->imm, 8);
    return n + 8;
}
