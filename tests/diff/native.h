/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TESTS_DIFF_NATIVE_H
#define TESTS_DIFF_NATIVE_H

#include "diff.h"

/* Where the host's XSAVE area has its components (0: not there). */
struct native_layout {
    uint64_t xcr0;              /* of the components that we know */
    uint64_t others;            /* that only the host has: MPX, PKRU, AMX */
    uint32_t avx, opmask, zmmh, hi16;
};

struct native_shm {
    volatile uint32_t current;  /* case that runs */
    volatile uint32_t tick;     /* case that ran at the last timer tick */
    volatile bool started;
    uint32_t count;
    struct test_case cases[BATCH];
    struct outcome out[BATCH];
};

/* xstate.c; the latter two run in the signal handler. */
void xstate_layout(struct native_layout *l);
void xstate_take(const struct native_layout *l, const uint8_t *area, struct regs *o);
void xstate_put(const struct native_layout *l, uint8_t *area, const struct regs *in);

#endif
