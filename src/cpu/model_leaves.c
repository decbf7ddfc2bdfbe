/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The leaves of CPUID beside the feature bits: identification, caches,
 * topology (one package of ncpus cores with one thread each), XSAVE areas,
 * clocks, and the paravirtual leaves (SDM 2A CPUID; APM 3 E).
 */
#include "cpu/model_leaves.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "x86/x86.h"

#define CLFLUSH_BYTES 64u
#define MAX_BASIC     0x16u
#define MAX_EXT_INTEL 0x80000008u
#define MAX_EXT_AMD   0x80000021u
#define KVM_LEAVES    0x40000000u
#define KVM_TIMING    0x40000010u

static void add(struct model_maker *k, uint32_t leaf, struct cpuid_regs r)
{
    assert(k->m->nentries < ARRAY_SIZE(k->m->entries));
    k->m->entries[k->m->nentries++] = (struct cpuid_entry){ .leaf = leaf, .regs = r };
}

static void add_sub(struct model_maker *k, uint32_t leaf, uint32_t subleaf, struct cpuid_regs r)
{
    assert(k->m->nentries < ARRAY_SIZE(k->m->entries));
    k->m->entries[k->m->nentries++] =
        (struct cpuid_entry){ .leaf = leaf, .subleaf = subleaf, .by_subleaf = true, .regs = r };
}

unsigned model_core_bits(unsigned ncpus)
{
    unsigned bits = 0;

    while (1u << bits < ncpus)
        bits++;
    return bits;
}

/* ---- identification ------------------------------------------------------------ */

/* Family, model and stepping as leaf 1 has them: the host's, or a plausible
 * CPU of its vendor (EPYC 7003, Xeon of the second generation). */
static uint32_t signature(const struct model_maker *k)
{
    if (k->host)
        return host_cpuid(1, 0).eax;
    return k->m->amd ? 0x00a00f11 : 0x00050657;
}

static void add_identification(struct model_maker *k)
{
    const bool amd = k->m->amd;
    struct cpuid_regs id = host_cpuid(0, 0);
    unsigned threads = MIN(1u << model_core_bits(k->ncpus), 255u);

    id.eax = MAX_BASIC;
    add(k, 0, id);
    /* HTT: EBX[23:16] counts; ECX 31: a hypervisor. */
    if (k->ncpus > 1)
        k->f1_edx |= BIT(28);
    add(k, 1,
        (struct cpuid_regs){ .eax = signature(k),
                             .ebx = CLFLUSH_BYTES / 8 << 8 | threads << 16,
                             .ecx = k->f1_ecx | BIT(31),
                             .edx = k->f1_edx });
    /* Caches are in leaf 4, TLBs nowhere. */
    if (!amd)
        add(k, 2, (struct cpuid_regs){ .eax = 0x00feff01 });
    id.eax = amd ? MAX_EXT_AMD : MAX_EXT_INTEL;
    if (!amd)
        id.ebx = id.ecx = id.edx = 0;
    add(k, 0x80000000, id);
    if (amd) {
        /* Half of leaf 1's EDX once more; bit 1: CmpLegacy, bit 22: TOPOEXT. */
        k->f81_edx |= k->f1_edx & 0x0183f3ff;
        k->f81_ecx |= BIT(22) | (k->ncpus > 1 ? BIT(1) : 0);
    }
    add(k, 0x80000001,
        (struct cpuid_regs){ .eax = amd ? signature(k) : 0, .ecx = k->f81_ecx, .edx = k->f81_edx });
}

static void add_brand(struct model_maker *k)
{
    char s[49] = { 0 };
    struct cpuid_regs r;

    snprintf(s, sizeof(s), "Bulkhead CPU, model %s", k->m->name);
    for (unsigned i = 0; i < 3; i++) {
        memcpy(&r, s + i * 16, 16);
        add(k, 0x80000002 + i, r);
    }
}

/* ---- caches and topology -------------------------------------------------------- */

struct cache {
    uint8_t type; /* 1 data, 2 instruction, 3 unified */
    uint8_t level;
    uint16_t ways;
    uint32_t sets;
    bool shared; /* by all cores */
};

/* 32 KiB + 32 KiB, 512 KiB, 16 MiB. */
static const struct cache caches[] = { { 1, 1, 8, 64, false },
                                       { 2, 1, 8, 64, false },
                                       { 3, 2, 8, 1024, false },
                                       { 3, 3, 16, 16384, true } };

/* Leaf 4 and 0x8000001d have the same layout (EAX[31:26]: Intel only). */
static struct cpuid_regs cache_regs(const struct model_maker *k, unsigned n, uint32_t leaf)
{
    struct cpuid_regs r = { 0 };
    uint32_t cores = (1u << model_core_bits(k->ncpus)) - 1;
    bool shared;

    if (k->host)
        r = host_cpuid(leaf, n);
    if (!(r.eax & 0x1f) && n < ARRAY_SIZE(caches) && !(k->host && host_cpuid(leaf, 0).eax & 0x1f)) {
        const struct cache *c = &caches[n];

        r = (struct cpuid_regs){ .eax = c->type | c->level << 5 | BIT(8),
                                 .ebx = (CLFLUSH_BYTES - 1) | (c->ways - 1u) << 22,
                                 .ecx = c->sets - 1 };
    }
    if (!(r.eax & 0x1f))
        return (struct cpuid_regs){ 0 };
    shared = (r.eax >> 5 & 7) >= 3;
    r.eax = (r.eax & 0x3fff) | (shared ? k->ncpus - 1 : 0) << 14;
    if (leaf == 4)
        r.eax = (r.eax & 0x3fff) | (shared ? cores : 0) << 14 | MIN(cores, 63u) << 26;
    return r;
}

static void add_caches(struct model_maker *k)
{
    uint32_t leaf = k->m->amd ? 0x8000001d : 4;

    for (unsigned n = 0; n < 6; n++) {
        struct cpuid_regs r = cache_regs(k, n, leaf);

        add_sub(k, leaf, n, r);
        if (!(r.eax & 0x1f))
            break;
    }
    if (!k->m->amd) {
        add(k, 0x80000006, (struct cpuid_regs){ .ecx = 512u << 16 | 6 << 12 | CLFLUSH_BYTES });
        return;
    }
    /* TLBs of 64 entries, 32 KiB L1s; L2 512 KiB, L3 16 MiB (in 512 KiB). */
    add(k, 0x80000005,
        (struct cpuid_regs){
            .eax = 0xff40ff40, .ebx = 0xff40ff40, .ecx = 0x20080140, .edx = 0x20080140 });
    add(k, 0x80000006,
        (struct cpuid_regs){ .eax = 0x48006400,
                             .ebx = 0x68006400,
                             .ecx = 512u << 16 | 6 << 12 | 1 << 8 | CLFLUSH_BYTES,
                             .edx = 32u << 18 | 8 << 12 | 1 << 8 | CLFLUSH_BYTES });
}

static void add_topology(struct model_maker *k)
{
    unsigned bits = model_core_bits(k->ncpus);

    /* Level types: 1 SMT, 2 core; EDX (the APIC id) is the vCPU's. */
    add_sub(k, 0xb, 0, (struct cpuid_regs){ .eax = 0, .ebx = 1, .ecx = 0x100 });
    add_sub(k, 0xb, 1, (struct cpuid_regs){ .eax = bits, .ebx = k->ncpus, .ecx = 0x201 });
    if (k->m->amd)
        add(k, 0x8000001e, (struct cpuid_regs){ 0 });
}

/* ---- XSAVE ------------------------------------------------------------------------ */

static const uint16_t component_size[8] = { [2] = 256, [5] = 64, [6] = 512, [7] = 1024 };
#define XSAVE_FIRST 576u

/* Standard format: where the host has the component, since hardware-assisted
 * engines cannot have it elsewhere (SDM 1 13.4.3).  Only AVX-512, which the
 * model "host" alone has, lies in different places. */
static uint32_t component_offset(unsigned n)
{
    return n == 2 ? XSAVE_FIRST : host_cpuid(0xd, n).ebx;
}

uint32_t model_xsave_size(const struct cpu_model *m, uint64_t xcr0, bool compacted)
{
    uint32_t end = XSAVE_FIRST;

    for (unsigned n = 2; n < ARRAY_SIZE(component_size); n++) {
        const struct cpuid_regs c = cpu_model_lookup(m, 0xd, n);

        if (xcr0 >> n & 1)
            end = compacted ? end + c.eax : MAX(end, c.ebx + c.eax);
    }
    return end;
}

static void add_xsave(struct model_maker *k)
{
    const uint64_t mask = k->m->xcr0_mask;

    if (!mask)
        return;
    for (unsigned n = 2; n < ARRAY_SIZE(component_size); n++)
        if (mask >> n & 1)
            add_sub(k, 0xd, n,
                    (struct cpuid_regs){ .eax = component_size[n], .ebx = component_offset(n) });
    add_sub(k, 0xd, 0,
            (struct cpuid_regs){ .eax = (uint32_t)mask,
                                 .edx = (uint32_t)(mask >> 32),
                                 .ebx = XSAVE_FIRST,
                                 .ecx = model_xsave_size(k->m, mask, false) });
    add_sub(k, 0xd, 1, (struct cpuid_regs){ .eax = k->fd_1_eax, .ebx = XSAVE_FIRST });
}

/* ---- features outside the table ----------------------------------------------------- */

static void add_features(struct model_maker *k)
{
    const bool amd = k->m->amd;

    if (k->arat)
        add(k, 6, (struct cpuid_regs){ .eax = BIT(2) });
    /* EDX 29: IA32_ARCH_CAPABILITIES, which says what need not be mitigated. */
    add_sub(
        k, 7, 0,
        (struct cpuid_regs){
            .eax = 1, .ebx = k->f7_ebx, .ecx = k->f7_ecx, .edx = k->f7_edx | (amd ? 0 : BIT(29)) });
    add_sub(k, 7, 1, (struct cpuid_regs){ .eax = k->f7_1_eax });
    add(k, 0x80000007, (struct cpuid_regs){ .edx = k->invariant_tsc ? BIT(8) : 0 });
    /* EBX 2: error pointers are always saved; 26: SSB_NO, 29: BTC_NO (which
     * Linux reads for any vendor).  ECX: cores - 1, bits of their ids. */
    add(k, 0x80000008,
        (struct cpuid_regs){ .eax = k->m->phys_bits | 48 << 8,
                             .ebx = (k->clzero ? BIT(0) : 0) | (amd ? BIT(2) | BIT(26) : 0) |
                                    BIT(29),
                             .ecx = amd ? (k->ncpus - 1) | model_core_bits(k->ncpus) << 12 : 0 });
    /* EAX: LFENCE serializes (2), a null selector clears the base (6), SRSO_NO
     * (29); ECX: TSA_SQ_NO (1), TSA_L1_NO (2). */
    if (amd)
        add(k, 0x80000021,
            (struct cpuid_regs){ .eax = BIT(2) | BIT(6) | BIT(29), .ecx = BIT(1) | BIT(2) });
}

/* ---- clocks and paravirtual leaves ---------------------------------------------------- */

/* TSC = crystal * EBX / EAX with the crystal that also clocks the APIC timer.
 * Linux computes crystal_kHz * EBX in 32 bits, so EBX is kept below 2^32 / 10^6
 * and the fraction is the best one with that. */
static struct cpuid_regs tsc_ratio(uint64_t tsc_hz)
{
    const uint64_t max = UINT32_MAX / (CPU_APIC_HZ / 1000);
    struct cpuid_regs best = { .eax = 1, .ebx = 1, .ecx = CPU_APIC_HZ };
    uint64_t best_error = UINT64_MAX;

    for (uint64_t d = 1; d <= max; d++) {
        uint64_t n = mul_div(tsc_hz, d, CPU_APIC_HZ / 2), hz, error;

        n = (n + 1) / 2;
        if (n > max)
            break;
        hz = mul_div(CPU_APIC_HZ, n, d);
        error = hz > tsc_hz ? hz - tsc_hz : tsc_hz - hz;
        if (n && error < best_error) {
            best_error = error;
            best.eax = (uint32_t)d;
            best.ebx = (uint32_t)n;
        }
    }
    return best;
}

static void add_clocks(struct model_maker *k)
{
    uint32_t mhz = (uint32_t)MIN((k->m->tsc_hz + 500000) / 1000000, 0xffffu);

    add(k, 0x15, tsc_ratio(k->m->tsc_hz));
    add(k, 0x16, (struct cpuid_regs){ .eax = mhz, .ebx = mhz, .ecx = 100 });
}

/* KVM's signature (Linux, Documentation/virt/kvm/x86/cpuid.rst): clocksource
 * (0) and clocksource2 (3), which is stable across vCPUs (24); PV EOI (6). */
static void add_paravirtual(struct model_maker *k)
{
    struct cpuid_regs r = { .eax = KVM_TIMING };

    memcpy(&r.ebx, "KVMK", 4);
    memcpy(&r.ecx, "VMKV", 4);
    memcpy(&r.edx, "M\0\0\0", 4);
    add(k, KVM_LEAVES, r);
    add(k, KVM_LEAVES + 1, (struct cpuid_regs){ .eax = BIT(0) | BIT(3) | BIT(6) | BIT(24) });
    add(k, KVM_TIMING,
        (struct cpuid_regs){ .eax = (uint32_t)(k->m->tsc_hz / 1000), .ebx = CPU_APIC_HZ / 1000 });
}

void model_make_leaves(struct model_maker *k)
{
    add_identification(k);
    add_brand(k);
    add_caches(k);
    add_topology(k);
    add_features(k);
    add_xsave(k);
    add_clocks(k);
    add_paravirtual(k);
}
