/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host CPU and kernel must offer, and what the CPU does where manuals
 * leave it open; apart because <elf.h> and x86.h both name a PF_W. */
#include "engine/bt/host.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/auxv.h>

/* AT_HWCAP2 bit 1: the kernel lets user mode use FSGSBASE. */
#define HWCAP2_FSGSBASE 2

bool bt_host_fits(void)
{
    return __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           (getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE);
}

/* The instruction on RDX (and RCX) with flags as LAHF and SETO have them. */
#define WITH_FLAGS(insn)                                                                        \
    __asm__ volatile("addb $0x7f, %%al; sahf; " insn "; lahf; seto %%al"                        \
                     : "+a"(flags), "+d"(a), "+c"(b)                                            \
                     :                                                                          \
                     : "cc")

static unsigned run(enum host_flags what, uint64_t a, uint64_t b, unsigned flags)
{
    switch (what) {
    case HOST_LOGIC: WITH_FLAGS("testq %%rcx, %%rdx"); break;
    case HOST_SHIFT_LEFT: WITH_FLAGS("shlq $5, %%rdx"); break;
    case HOST_SHIFT_RIGHT: WITH_FLAGS("shrl $3, %%edx"); break;
    case HOST_SHIFT_ARITHMETIC: WITH_FLAGS("sarq $7, %%rdx"); break;
    case HOST_SHIFT_DOUBLE: WITH_FLAGS("shldq $9, %%rcx, %%rdx"); break;
    case HOST_MULTIPLY: WITH_FLAGS("imulq %%rcx, %%rdx"); break;
    case HOST_SCAN: WITH_FLAGS("bsfq %%rdx, %%rcx; seto %%al; bsrq %%rdx, %%rcx"); break;
    case HOST_BIT_FIELDS: WITH_FLAGS("blsrq %%rdx, %%rcx"); break;
    default: break;
    }
    return flags & 0xd501;
}

static bool fixed[HOST_FLAGS_COUNT];

/* Operands decide (also in ways that were not met here: then both inputs give
 * the same); so try many. */
static void find_fixed(void)
{
    for (unsigned w = 0; w < HOST_FLAGS_COUNT; w++) {
        uint64_t a = 0x9e3779b97f4a7c15ULL, b = 1;

        fixed[w] = true;
        for (unsigned n = 0; n < 256 && fixed[w]; n++) {
            fixed[w] = run((enum host_flags)w, a >> (n & 63), b, 0) ==
                       run((enum host_flags)w, a >> (n & 63), b, 0xd501);
            a = a * 0x5851f42d4c957f2dULL + 1;
            b += a >> 7;
        }
    }
}

bool bt_host_flags_fixed(enum host_flags what)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_fixed);
    return fixed[what];
}
