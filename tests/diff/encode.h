/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes of an encoding with its registers and address filled in. */
#ifndef TESTS_DIFF_ENCODE_H
#define TESTS_DIFF_ENCODE_H

#include "diff.h"

struct encode_choice {
    struct enc e;
    uint8_t r, x, b;            /* fourth bits of reg, index and base or rm */
    uint8_t r2, x2, v2;         /* EVEX: fifth bits of reg, rm and vvvv */
    uint8_t seg, a67;           /* override byte or 0; address-size prefix */
    bool rex;                   /* a REX prefix even if empty */
    struct addr_bytes addr;     /* of a memory form */
    uint64_t imm;               /* what follows; the decoder says how much of it */
    uint32_t disp;
};

/* Writes up to 30 bytes (trailing ones may be too many); returns how many. */
unsigned encode(enum mode mode, const struct encode_choice *c, uint8_t *out);

#endif
