/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Flags that manuals leave undefined.  Both software engines take them from the
 * host's instruction.  Most CPUs make them from the operands alone, so the
 * flags before are dead; whether this one does is tried once.
 */
#include "engine/soft/undefined.h"

#include <pthread.h>
#include <stdint.h>

/* Kinds of instructions that leave some flags undefined. */
enum host_flags { HOST_LOGIC, HOST_SHIFT_LEFT, HOST_SHIFT_RIGHT, HOST_SHIFT_ARITHMETIC, HOST_SHIFT_DOUBLE,
                  HOST_MULTIPLY, HOST_SCAN, HOST_BIT_FIELDS, HOST_FLAGS_COUNT };

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

static bool is_fixed(enum host_flags what)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, find_fixed);
    return fixed[what];
}

bool soft_sets_undefined(const ZydisDecodedInstruction *z)
{
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_AND:
    case ZYDIS_MNEMONIC_OR:
    case ZYDIS_MNEMONIC_XOR:
    case ZYDIS_MNEMONIC_TEST: return is_fixed(HOST_LOGIC);
    case ZYDIS_MNEMONIC_SHL: return is_fixed(HOST_SHIFT_LEFT);
    case ZYDIS_MNEMONIC_SHR: return is_fixed(HOST_SHIFT_RIGHT);
    case ZYDIS_MNEMONIC_SAR: return is_fixed(HOST_SHIFT_ARITHMETIC);
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD: return is_fixed(HOST_SHIFT_DOUBLE);
    case ZYDIS_MNEMONIC_IMUL: return z->operand_count_visible > 1 && is_fixed(HOST_MULTIPLY);
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR: return is_fixed(HOST_SCAN);
    case ZYDIS_MNEMONIC_ANDN:
    case ZYDIS_MNEMONIC_BLSI:
    case ZYDIS_MNEMONIC_BLSMSK:
    case ZYDIS_MNEMONIC_BLSR:
    case ZYDIS_MNEMONIC_BZHI:
    case ZYDIS_MNEMONIC_BEXTR:
    case ZYDIS_MNEMONIC_TZCNT:
    case ZYDIS_MNEMONIC_LZCNT: return is_fixed(HOST_BIT_FIELDS);
    default: return false;
    }
}
