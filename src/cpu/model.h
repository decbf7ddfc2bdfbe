/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * CPU models: what CPUID answers and, from that, which features exist.
 *
 * A model is a table of CPUID leaves made once for a VM: from the host CPU
 * ("host") or from the psABI level (x86-64-v2, x86-64-v3), cut to what the
 * engine can run, plus the paravirtual leaves at 0x40000000.
 */
#ifndef CPU_MODEL_H
#define CPU_MODEL_H

#include <stdbool.h>
#include <stdint.h>

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

struct cpuid_entry {
    uint32_t leaf, subleaf;
    bool by_subleaf;              /* subleaf is significant */
    struct cpuid_regs regs;
};

/* Clock of the local APIC's timer, and the crystal of leaf 0x15. */
#define CPU_APIC_HZ 1000000000ULL

/* Feature bits that the engines ask for, one bit each in features[]. */
enum cpu_feature {
    F_FPU, F_VME, F_DE, F_PSE, F_TSC, F_MSR, F_PAE, F_MCE, F_CX8, F_APIC, F_SEP, F_MTRR, F_PGE,
    F_MCA, F_CMOV, F_PAT, F_PSE36, F_CLFSH, F_MMX, F_FXSR, F_SSE, F_SSE2,
    F_SSE3, F_PCLMUL, F_MONITOR, F_SSSE3, F_FMA, F_CX16, F_PCID, F_SSE41, F_SSE42, F_X2APIC,
    F_MOVBE, F_POPCNT, F_TSC_DEADLINE, F_AES, F_XSAVE, F_AVX, F_F16C, F_RDRAND,
    F_FSGSBASE, F_TSC_ADJUST, F_BMI1, F_AVX2, F_SMEP, F_BMI2, F_ERMS, F_INVPCID, F_RDSEED, F_ADX,
    F_SMAP, F_CLFLUSHOPT, F_CLWB, F_SHA, F_UMIP, F_RDPID, F_GFNI, F_VAES, F_VPCLMUL, F_FSRM,
    F_AVX512F, F_AVX512DQ, F_AVX512IFMA, F_AVX512CD, F_AVX512BW, F_AVX512VL, F_AVX512VBMI,
    F_AVX512VBMI2, F_AVX512VNNI, F_AVX512BITALG, F_AVX512VPOPCNTDQ, F_AVX512BF16,
    F_XSAVEOPT, F_XSAVEC, F_XGETBV1,
    F_LAHF, F_ABM, F_SSE4A, F_MISALIGNSSE, F_PREFETCHW, F_SYSCALL, F_NX, F_PDPE1GB, F_RDTSCP, F_LM,
    F_INVARIANT_TSC, F_CLZERO, F_MMXEXT, F_ARAT, F_FDP_ON_FAULT, F_NO_FCS_FDS,
    F_COUNT
};

struct cpu_model {
    char name[16];
    bool amd;                     /* vendor AMD or Hygon; else treated as Intel */
    struct cpuid_entry entries[96];
    unsigned nentries;
    uint64_t features[(F_COUNT + 63) / 64];
    uint64_t xcr0_mask;           /* XCR0 bits that exist */
    unsigned phys_bits;
    uint64_t tsc_hz;
};

static inline bool cpu_has(const struct cpu_model *m, enum cpu_feature f)
{
    return m->features[f / 64] >> (f % 64) & 1;
}

/* Fill *m for model name and ncpus, cut to what software engines run.
 * tsc_hz: frequency of the guest TSC.  Returns 0, or -EINVAL with a message
 * that names the known models or the feature that the host lacks. */
int cpu_model_init(struct cpu_model *m, const char *name, unsigned ncpus, uint64_t tsc_hz,
                   char *err, int err_size);
/* Clear the bits of a feature word (reg: 0 EAX to 3 EDX) that are not in
 * keep, and what cannot be without them: for engines that cannot run them. */
void cpu_model_mask(struct cpu_model *m, uint32_t leaf, uint32_t subleaf, unsigned reg,
                    uint32_t keep);
/* CPUID as the table says; the caller patches what depends on the vCPU's
 * state (cpu_model_cpuid does all of it).  Out-of-range leaves answer as the
 * vendor's CPUs do (SDM 2A CPUID, APM 3 E.3). */
struct cpuid_regs cpu_model_lookup(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf);

struct cpuid_view {
    uint32_t apic_id;
    uint64_t cr4, xcr0, apic_base, misc_enable;
};
struct cpuid_regs cpu_model_cpuid(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf,
                                  const struct cpuid_view *v);

#endif
