/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between model.c (features) and model_leaves.c (everything else in CPUID). */
#ifndef CPU_MODEL_LEAVES_H
#define CPU_MODEL_LEAVES_H

#include "cpu/model.h"

struct model_maker {
    struct cpu_model *m;
    unsigned ncpus;
    bool host; /* model "host": caches and signature are the host's */
    /* Feature words, from the table in model.c. */
    uint32_t f1_ecx, f1_edx, f7_ebx, f7_ecx, f7_edx, f7_1_eax, fd_1_eax;
    uint32_t f81_ecx, f81_edx;
    bool clzero, invariant_tsc, arat;
};

struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf);

/* All leaves into m->entries. */
void model_make_leaves(struct model_maker *k);
/* Size of an XSAVE area (SDM 1 13.4.3, 13.4.4). */
uint32_t model_xsave_size(const struct cpu_model *m, uint64_t xcr0, bool compacted);
/* Bits of an APIC id below the package. */
unsigned model_core_bits(unsigned ncpus);

#endif
