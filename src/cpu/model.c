/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Models: which features a guest sees, and what CPUID answers.
 *
 * The table of features says for each where CPUID reports it, from which
 * psABI level on a model has it, and who makes it work: features that the
 * engine's own functions provide are there on any host; others run the host's
 * instruction and need the host.  What is not in the table is hidden: MONITOR,
 * the PMU, VMX and SVM, XSAVES, PKU, LAM, CET, LA57, TSX, MPX, AMX, RDPRU.
 */
#include "cpu/model.h"

#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "cpu/model_leaves.h"
#include "x86/x86.h"

#define APIC_BASE_EN            BIT(11)
#define MISC_ENABLE_LIMIT_CPUID BIT(22)
#define MISC_ENABLE_XD_DISABLE  BIT(34)

enum { EAX, EBX, ECX, EDX };
/* From which model on. */
enum level { NEVER, BASE, V2, V3, HOST };
enum maker { ENGINE, CPU };

struct feature {
    enum cpu_feature id;
    uint32_t leaf;
    uint8_t subleaf, reg, bit;
    uint8_t level, maker;
    const char *name;
};

/* clang-format off */
static const struct feature features[] = {
#define X(f, leaf, sub, reg, bit, level, maker) { F_##f, leaf, sub, reg, bit, level, maker, #f }
    X(FPU, 1, 0, EDX, 0, BASE, CPU), X(VME, 1, 0, EDX, 1, BASE, ENGINE),
    X(DE, 1, 0, EDX, 2, BASE, ENGINE), X(PSE, 1, 0, EDX, 3, BASE, ENGINE),
    X(TSC, 1, 0, EDX, 4, BASE, ENGINE), X(MSR, 1, 0, EDX, 5, BASE, ENGINE),
    X(PAE, 1, 0, EDX, 6, BASE, ENGINE), X(MCE, 1, 0, EDX, 7, BASE, ENGINE),
    X(CX8, 1, 0, EDX, 8, BASE, CPU), X(APIC, 1, 0, EDX, 9, BASE, ENGINE),
    X(SEP, 1, 0, EDX, 11, BASE, ENGINE), X(MTRR, 1, 0, EDX, 12, BASE, ENGINE),
    X(PGE, 1, 0, EDX, 13, BASE, ENGINE), X(MCA, 1, 0, EDX, 14, BASE, ENGINE),
    X(CMOV, 1, 0, EDX, 15, BASE, CPU), X(PAT, 1, 0, EDX, 16, BASE, ENGINE),
    X(PSE36, 1, 0, EDX, 17, BASE, ENGINE), X(CLFSH, 1, 0, EDX, 19, BASE, ENGINE),
    X(MMX, 1, 0, EDX, 23, BASE, CPU), X(FXSR, 1, 0, EDX, 24, BASE, ENGINE),
    X(SSE, 1, 0, EDX, 25, BASE, CPU), X(SSE2, 1, 0, EDX, 26, BASE, CPU),
    X(SSE3, 1, 0, ECX, 0, V2, CPU), X(PCLMUL, 1, 0, ECX, 1, HOST, CPU),
    X(MONITOR, 1, 0, ECX, 3, NEVER, ENGINE), X(SSSE3, 1, 0, ECX, 9, V2, CPU),
    X(FMA, 1, 0, ECX, 12, V3, CPU), X(CX16, 1, 0, ECX, 13, V2, CPU),
    X(PCID, 1, 0, ECX, 17, BASE, ENGINE), X(SSE41, 1, 0, ECX, 19, V2, CPU),
    X(SSE42, 1, 0, ECX, 20, V2, CPU), X(X2APIC, 1, 0, ECX, 21, BASE, ENGINE),
    X(MOVBE, 1, 0, ECX, 22, V3, ENGINE), X(POPCNT, 1, 0, ECX, 23, V2, CPU),
    X(TSC_DEADLINE, 1, 0, ECX, 24, BASE, ENGINE), X(AES, 1, 0, ECX, 25, HOST, CPU),
    X(XSAVE, 1, 0, ECX, 26, V3, CPU), X(AVX, 1, 0, ECX, 28, V3, CPU),
    X(F16C, 1, 0, ECX, 29, V3, CPU), X(RDRAND, 1, 0, ECX, 30, HOST, CPU),
    X(FSGSBASE, 7, 0, EBX, 0, BASE, ENGINE), X(TSC_ADJUST, 7, 0, EBX, 1, BASE, ENGINE),
    X(BMI1, 7, 0, EBX, 3, V3, CPU), X(AVX2, 7, 0, EBX, 5, V3, CPU),
    X(FDP_ON_FAULT, 7, 0, EBX, 6, HOST, CPU), X(NO_FCS_FDS, 7, 0, EBX, 13, HOST, CPU),
    X(SMEP, 7, 0, EBX, 7, BASE, ENGINE), X(BMI2, 7, 0, EBX, 8, V3, CPU),
    X(ERMS, 7, 0, EBX, 9, BASE, ENGINE), X(INVPCID, 7, 0, EBX, 10, BASE, ENGINE),
    X(AVX512F, 7, 0, EBX, 16, HOST, CPU), X(AVX512DQ, 7, 0, EBX, 17, HOST, CPU),
    X(RDSEED, 7, 0, EBX, 18, HOST, CPU), X(ADX, 7, 0, EBX, 19, HOST, CPU),
    X(SMAP, 7, 0, EBX, 20, BASE, ENGINE), X(AVX512IFMA, 7, 0, EBX, 21, HOST, CPU),
    X(CLFLUSHOPT, 7, 0, EBX, 23, HOST, CPU), X(CLWB, 7, 0, EBX, 24, HOST, CPU),
    X(AVX512CD, 7, 0, EBX, 28, HOST, CPU), X(SHA, 7, 0, EBX, 29, HOST, CPU),
    X(AVX512BW, 7, 0, EBX, 30, HOST, CPU), X(AVX512VL, 7, 0, EBX, 31, HOST, CPU),
    X(AVX512VBMI, 7, 0, ECX, 1, HOST, CPU), X(UMIP, 7, 0, ECX, 2, BASE, ENGINE),
    X(AVX512VBMI2, 7, 0, ECX, 6, HOST, CPU), X(GFNI, 7, 0, ECX, 8, HOST, CPU),
    X(VAES, 7, 0, ECX, 9, HOST, CPU), X(VPCLMUL, 7, 0, ECX, 10, HOST, CPU),
    X(AVX512VNNI, 7, 0, ECX, 11, HOST, CPU), X(AVX512BITALG, 7, 0, ECX, 12, HOST, CPU),
    X(AVX512VPOPCNTDQ, 7, 0, ECX, 14, HOST, CPU), X(RDPID, 7, 0, ECX, 22, HOST, CPU),
    X(FSRM, 7, 0, EDX, 4, BASE, ENGINE), X(AVX512BF16, 7, 1, EAX, 5, HOST, CPU),
    X(XSAVEOPT, 0xd, 1, EAX, 0, V3, ENGINE), X(XSAVEC, 0xd, 1, EAX, 1, V3, ENGINE),
    X(XGETBV1, 0xd, 1, EAX, 2, V3, ENGINE), X(ARAT, 6, 0, EAX, 2, BASE, ENGINE),
    X(LAHF, 0x80000001, 0, ECX, 0, BASE, ENGINE), X(ABM, 0x80000001, 0, ECX, 5, V3, CPU),
    X(SSE4A, 0x80000001, 0, ECX, 6, HOST, CPU), X(MISALIGNSSE, 0x80000001, 0, ECX, 7, HOST, CPU),
    X(PREFETCHW, 0x80000001, 0, ECX, 8, HOST, CPU),
    X(SYSCALL, 0x80000001, 0, EDX, 11, BASE, ENGINE), X(NX, 0x80000001, 0, EDX, 20, BASE, ENGINE),
    X(MMXEXT, 0x80000001, 0, EDX, 22, HOST, CPU), X(PDPE1GB, 0x80000001, 0, EDX, 26, BASE, ENGINE),
    X(RDTSCP, 0x80000001, 0, EDX, 27, BASE, ENGINE), X(LM, 0x80000001, 0, EDX, 29, BASE, ENGINE),
    X(INVARIANT_TSC, 0x80000007, 0, EDX, 8, BASE, ENGINE),
    X(CLZERO, 0x80000008, 0, EBX, 0, HOST, CPU),
#undef X
};
/* clang-format on */
_Static_assert(ARRAY_SIZE(features) == F_COUNT, "each feature has its row");

struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r = { 0 };

    if ((unsigned)__get_cpuid_max(leaf & 0x80000000, NULL) >= leaf)
        __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

static uint32_t reg_of(const struct cpuid_regs *r, unsigned reg)
{
    return reg == EAX ? r->eax : reg == EBX ? r->ebx : reg == ECX ? r->ecx : r->edx;
}

/* XCR0 of the host: what its OS lets a process use. */
static uint64_t host_xcr0(void)
{
    uint32_t low, high;

    if (!(host_cpuid(1, 0).ecx & BIT(27))) /* OSXSAVE */
        return 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low | (uint64_t)high << 32;
}

static bool is_avx512(enum cpu_feature f)
{
    return f >= F_AVX512F && f <= F_AVX512BF16;
}

/* Has the host what this feature needs?  AVX state is the host OS's matter. */
static bool host_has(const struct feature *f, uint64_t xcr0)
{
    const struct cpuid_regs r = host_cpuid(f->leaf, f->subleaf);

    if (f->maker == ENGINE)
        return true;
    if (is_avx512(f->id) && (~xcr0 & (XCR0_AVX512 | XCR0_AVX | XCR0_SSE)))
        return false;
    switch (f->id) {
    case F_AVX:
    case F_AVX2:
    case F_FMA:
    case F_F16C:
    case F_VAES:
    case F_VPCLMUL:
        if (~xcr0 & (XCR0_AVX | XCR0_SSE))
            return false;
        break;
    default: break;
    }
    return reg_of(&r, f->reg) >> f->bit & 1;
}

static void feature_set(struct cpu_model *m, enum cpu_feature f)
{
    m->features[f / 64] |= 1ULL << (f % 64);
}

/* Features without their prerequisites are no use, and would let instructions
 * through that touch state which is not there. */
static void drop_dependents(struct cpu_model *m)
{
    bool avx = cpu_has(m, F_AVX) && cpu_has(m, F_XSAVE);
    bool avx512 = avx && cpu_has(m, F_AVX512F) && cpu_has(m, F_AVX512BW) && cpu_has(m, F_AVX512VL);

    for (unsigned i = 0; i < F_COUNT; i++) {
        bool needs_avx = i == F_AVX || i == F_AVX2 || i == F_FMA || i == F_F16C || i == F_VAES ||
                         i == F_VPCLMUL;
        bool needs_xsave = i == F_XSAVEOPT || i == F_XSAVEC || i == F_XGETBV1;

        if ((is_avx512(i) && !avx512) || (needs_avx && !avx) ||
            (needs_xsave && !cpu_has(m, F_XSAVE)))
            m->features[i / 64] &= ~(1ULL << (i % 64));
    }
}

/* The word of CPUID that a feature is in. */
static uint32_t *word_of(struct model_maker *k, const struct feature *f)
{
    switch (f->leaf) {
    case 1: return f->reg == ECX ? &k->f1_ecx : &k->f1_edx;
    case 7:
        return f->subleaf      ? &k->f7_1_eax
               : f->reg == EBX ? &k->f7_ebx
               : f->reg == ECX ? &k->f7_ecx
                               : &k->f7_edx;
    case 0xd: return &k->fd_1_eax;
    case 0x80000001: return f->reg == ECX ? &k->f81_ecx : &k->f81_edx;
    default: return NULL;
    }
}

static void make_words(struct model_maker *k)
{
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];
        uint32_t *word = word_of(k, f);

        if (word && cpu_has(k->m, f->id))
            *word |= 1u << f->bit;
    }
    k->clzero = cpu_has(k->m, F_CLZERO);
    k->invariant_tsc = cpu_has(k->m, F_INVARIANT_TSC);
    k->arat = cpu_has(k->m, F_ARAT);
}

static void set_xcr0_mask(struct cpu_model *m)
{
    m->xcr0_mask = 0;
    if (cpu_has(m, F_XSAVE))
        m->xcr0_mask = XCR0_X87 | XCR0_SSE | (cpu_has(m, F_AVX) ? XCR0_AVX : 0) |
                       (cpu_has(m, F_AVX512F) ? XCR0_AVX512 : 0);
}

static int choose_features(struct cpu_model *m, enum level level, char *err, int err_size)
{
    uint64_t xcr0 = host_xcr0();

    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];

        if (f->level == NEVER || f->level > level)
            continue;
        if (host_has(f, xcr0)) {
            feature_set(m, f->id);
        } else if (level != HOST) {
            snprintf(err, (size_t)err_size,
                     "this host's CPU lacks %s, which the CPU model %s has; "
                     "use --cpu host",
                     f->name, m->name);
            return -EINVAL;
        }
    }
    drop_dependents(m);
    set_xcr0_mask(m);
    return 0;
}

static bool host_is_amd(void)
{
    struct cpuid_regs r = host_cpuid(0, 0);

    return r.ebx == signature_AMD_ebx || r.ebx == 0x6f677948; /* "Hygo" */
}

int cpu_model_init(struct cpu_model *m, const char *name, unsigned ncpus, uint64_t tsc_hz,
                   char *err, int err_size)
{
    static const struct {
        const char *name;
        enum level level;
    } models[] = { { "host", HOST }, { "x86-64-v2", V2 }, { "x86-64-v3", V3 } };
    struct model_maker k = { .m = m, .ncpus = ncpus };
    enum level level = NEVER;
    int ret;

    memset(m, 0, sizeof(*m));
    for (unsigned i = 0; i < ARRAY_SIZE(models); i++)
        if (!strcmp(name, models[i].name))
            level = models[i].level;
    if (level == NEVER) {
        snprintf(err, (size_t)err_size,
                 "unknown CPU model '%.40s': use host, x86-64-v2 or x86-64-v3", name);
        return -EINVAL;
    }
    snprintf(m->name, sizeof(m->name), "%s", name);
    m->amd = host_is_amd();
    m->tsc_hz = tsc_hz;
    /* 46 bits: what Linux and others need no five-level paging for. */
    m->phys_bits = host_cpuid(0x80000008, 0).eax & 0xff;
    m->phys_bits = m->phys_bits < 36 ? 36 : MIN(m->phys_bits, 46u);
    ret = choose_features(m, level, err, err_size);
    if (ret)
        return ret;
    k.host = level == HOST;
    make_words(&k);
    model_make_leaves(&k);
    return 0;
}

/* ---- cutting ---------------------------------------------------------------- */

static struct cpuid_entry *find_word(struct cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->nentries; i++) {
        struct cpuid_entry *e = &m->entries[i];

        if (e->leaf == leaf && (!e->by_subleaf || e->subleaf == subleaf))
            return e;
    }
    return NULL;
}

static uint32_t *word_in(struct cpuid_entry *e, unsigned reg)
{
    struct cpuid_regs *r = &e->regs;

    return reg == EAX ? &r->eax : reg == EBX ? &r->ebx : reg == ECX ? &r->ecx : &r->edx;
}

/* Leaf 0xD after xcr0_mask. */
static void cut_xsave(struct cpu_model *m)
{
    struct cpuid_entry *e = find_word(m, 0xd, 0);

    if (!e)
        return;
    e->regs.eax = (uint32_t)m->xcr0_mask;
    e->regs.ecx = m->xcr0_mask ? model_xsave_size(m, m->xcr0_mask, false) : 0;
    for (unsigned n = 2; n < 32; n++) {
        e = find_word(m, 0xd, n);
        if (e && !(m->xcr0_mask >> n & 1))
            e->regs = (struct cpuid_regs){ 0 };
    }
}

void cpu_model_mask(struct cpu_model *m, uint32_t leaf, uint32_t subleaf, unsigned reg,
                    uint32_t keep)
{
    const uint64_t xcr0_mask = m->xcr0_mask;
    struct cpuid_entry *e = find_word(m, leaf, subleaf);

    if (!e || !(*word_in(e, reg) & ~keep))
        return;
    *word_in(e, reg) &= keep;
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];

        if (f->leaf == leaf && f->subleaf == subleaf && f->reg == reg && !(keep >> f->bit & 1))
            m->features[f->id / 64] &= ~(1ULL << (f->id % 64));
    }
    drop_dependents(m);
    set_xcr0_mask(m);
    for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
        const struct feature *f = &features[i];

        e = find_word(m, f->leaf, f->subleaf);
        if (e && !cpu_has(m, f->id))
            *word_in(e, f->reg) &= ~(1u << f->bit);
    }
    if (m->xcr0_mask != xcr0_mask)
        cut_xsave(m);
}

/* ---- answers ---------------------------------------------------------------- */

static const struct cpuid_entry *find(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    for (unsigned i = 0; i < m->nentries; i++) {
        const struct cpuid_entry *e = &m->entries[i];

        if (e->leaf == leaf && (!e->by_subleaf || e->subleaf == subleaf))
            return e;
    }
    return NULL;
}

/* The highest leaf of the range that leaf lies in. */
static uint32_t range_max(const struct cpu_model *m, uint32_t leaf)
{
    uint32_t base = leaf >> 28 == 4 ? 0x40000000 : leaf & 0x80000000;
    const struct cpuid_entry *e = find(m, base, 0);

    return e ? e->regs.eax : 0;
}

/* Beyond a range's end Intel answers as for the highest basic leaf, AMD with
 * zeroes (SDM 2A CPUID, "INPUT EAX"; APM 3 E.1). */
struct cpuid_regs cpu_model_lookup(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf)
{
    const struct cpuid_entry *e;

    if (leaf > range_max(m, leaf)) {
        if (m->amd)
            return (struct cpuid_regs){ 0 };
        leaf = range_max(m, 0);
    }
    e = find(m, leaf, subleaf);
    return e ? e->regs : (struct cpuid_regs){ 0 };
}

static void patch_features(const struct cpu_model *m, const struct cpuid_view *v,
                           struct cpuid_regs *r)
{
    r->ebx |= v->apic_id << 24;
    if (!(v->apic_base & APIC_BASE_EN))
        r->edx &= ~(uint32_t)BIT(9);
    if ((v->cr4 & CR4_OSXSAVE) && cpu_has(m, F_XSAVE))
        r->ecx |= BIT(27);
}

struct cpuid_regs cpu_model_cpuid(const struct cpu_model *m, uint32_t leaf, uint32_t subleaf,
                                  const struct cpuid_view *v)
{
    struct cpuid_regs r = cpu_model_lookup(m, leaf, subleaf);

    switch (leaf) {
    case 0:
        if (!m->amd && (v->misc_enable & MISC_ENABLE_LIMIT_CPUID))
            r.eax = 2;
        break;
    case 1: patch_features(m, v, &r); break;
    case 0xb:
        if (subleaf > 1)
            r.ecx = subleaf & 0xff;
        r.edx = v->apic_id;
        break;
    case 0xd:
        if (subleaf == 0 && m->xcr0_mask)
            r.ebx = model_xsave_size(m, v->xcr0, false);
        else if (subleaf == 1 && cpu_has(m, F_XSAVEC))
            r.ebx = model_xsave_size(m, v->xcr0, true);
        break;
    case 0x80000001:
        if (m->amd && !(v->apic_base & APIC_BASE_EN))
            r.edx &= ~(uint32_t)BIT(9);
        if (!m->amd && (v->misc_enable & MISC_ENABLE_XD_DISABLE))
            r.edx &= ~(uint32_t)BIT(20);
        break;
    case 0x8000001e:
        if (m->amd) {
            r.eax = v->apic_id;
            r.ebx |= v->apic_id & 0xff;
        }
        break;
    }
    return r;
}
