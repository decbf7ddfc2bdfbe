/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is a state one that a CPU can be in?  Streams are hostile. */
#include <errno.h>
#include <stdarg.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

#define CR0_KNOWN                                                                              \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR4_KNOWN                                                                                 \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |     \
     CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_OSXSAVE | CR4_SMEP | \
     CR4_SMAP)
#define EFER_KNOWN (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)
#define RFLAGS_KNOWN                                                                             \
    (X86_FLAGS_ARITH | X86_FLAGS_FIXED | X86_TF | X86_IF | X86_DF | X86_IOPL | X86_NT | X86_RF | \
     X86_VM | X86_AC | X86_VIF | X86_VIP | X86_ID)
#define XCR0_KNOWN (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)
#define ATTR_KNOWN 0x1f0ffu
/* MXCSR with the misaligned exception mask of AMD (APM 1 4.2.2). */
#define MXCSR_KNOWN 0x2ffffu
#define LVT_KNOWN   0x7f7ffu

__attribute__((format(printf, 3, 4))) static int bad(char *err, size_t size, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(err, size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static int check_modes(const struct vcpu_state *s, char *err, size_t n)
{
    bool pg = s->cr0 & CR0_PG, lme = s->efer & EFER_LME, lma = s->efer & EFER_LMA;

    if (s->cr0 & ~CR0_KNOWN)
        return bad(err, n, "cr0 has reserved bits: %#llx", (unsigned long long)s->cr0);
    if (pg && !(s->cr0 & CR0_PE))
        return bad(err, n, "cr0: paging without protection");
    if ((s->cr0 & CR0_NW) && !(s->cr0 & CR0_CD))
        return bad(err, n, "cr0: NW without CD");
    if (s->cr4 & ~CR4_KNOWN)
        return bad(err, n, "cr4 has unknown bits: %#llx", (unsigned long long)s->cr4);
    if (s->efer & ~EFER_KNOWN)
        return bad(err, n, "efer has unknown bits: %#llx", (unsigned long long)s->efer);
    if (lma != (lme && pg))
        return bad(err, n, "efer: LMA is not LME and paging");
    if (lma && !(s->cr4 & CR4_PAE))
        return bad(err, n, "long mode without PAE");
    if ((s->cr4 & CR4_PCIDE) && !lma)
        return bad(err, n, "cr4: PCIDE outside long mode");
    if (s->cr8 > 15 || s->cr3 >> 52)
        return bad(err, n, "cr3 or cr8 has reserved bits");
    return 0;
}

static int check_flags(const struct vcpu_state *s, char *err, size_t n)
{
    if ((s->rflags & ~(uint64_t)RFLAGS_KNOWN) || !(s->rflags & X86_FLAGS_FIXED))
        return bad(err, n, "rflags has reserved bits: %#llx", (unsigned long long)s->rflags);
    if ((s->rflags & X86_VM) && (!(s->cr0 & CR0_PE) || (s->efer & EFER_LMA)))
        return bad(err, n, "rflags: VM outside legacy protected mode");
    if (s->dr6 >> 32 || s->dr7 >> 32)
        return bad(err, n, "dr6 or dr7 has reserved bits");
    if (!(s->xcr0 & XCR0_X87) || (s->xcr0 & ~XCR0_KNOWN) ||
        ((s->xcr0 & XCR0_AVX) && !(s->xcr0 & XCR0_SSE)) ||
        ((s->xcr0 & XCR0_AVX512) &&
         ((s->xcr0 & XCR0_AVX512) != XCR0_AVX512 || !(s->xcr0 & XCR0_AVX))))
        return bad(err, n, "xcr0 is no valid set: %#llx", (unsigned long long)s->xcr0);
    if (s->mxcsr & ~MXCSR_KNOWN)
        return bad(err, n, "mxcsr has reserved bits: %#x", s->mxcsr);
    if (s->fop & ~0x7ff)
        return bad(err, n, "fop has reserved bits");
    return 0;
}

static int check_segments(const struct vcpu_state *s, char *err, size_t n)
{
    static const char *const names[] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr" };
    uint32_t cs = s->seg[SEG_CS].attr;

    for (unsigned i = 0; i < SEG_COUNT; i++) {
        const struct seg_state *g = &s->seg[i];
        bool wide = i >= SEG_FS && (s->efer & EFER_LMA);

        if (g->attr & ~ATTR_KNOWN)
            return bad(err, n, "%s.attr has reserved bits: %#x", names[i], g->attr);
        if (wide ? !x86_canonical(g->base) : g->base >> 32)
            return bad(err, n, "%s.base is out of range", names[i]);
    }
    if ((cs & SEG_ATTR_UNUSABLE) || ((cs & SEG_ATTR_L) && (cs & SEG_ATTR_DB) && s->efer & EFER_LMA))
        return bad(err, n, "cs.attr is not one of a running CPU: %#x", cs);
    if (!x86_canonical(s->gdtr.base) || !x86_canonical(s->idtr.base))
        return bad(err, n, "gdtr.base or idtr.base is not canonical");
    if (!x86_canonical(s->rip))
        return bad(err, n, "rip is not canonical");
    return 0;
}

static bool memory_type(uint64_t t, bool pat)
{
    return t == 0 || t == 1 || (t >= 4 && t <= 6) || (pat && t == 7);
}

static bool memory_types(uint64_t v, bool pat)
{
    for (unsigned i = 0; i < 8; i++)
        if (!memory_type(v >> (i * 8) & 0xff, pat))
            return false;
    return true;
}

static int check_msrs(const struct vcpu_state *s, char *err, size_t n)
{
    if (!x86_canonical(s->lstar) || !x86_canonical(s->cstar) || !x86_canonical(s->kernel_gs_base) ||
        !x86_canonical(s->sysenter_esp) || !x86_canonical(s->sysenter_eip))
        return bad(err, n, "an address in an MSR is not canonical");
    if (!memory_types(s->pat, true))
        return bad(err, n, "pat has a reserved memory type: %#llx", (unsigned long long)s->pat);
    if ((s->mtrr_def_type & ~0xcffULL) || !memory_type(s->mtrr_def_type & 0xff, false))
        return bad(err, n, "mtrr_def_type has reserved bits");
    for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_fix); i++)
        if (!memory_types(s->mtrr_fix[i], false))
            return bad(err, n, "mtrr_fix has a reserved memory type");
    for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_base); i++)
        if ((s->mtrr_base[i] & 0xf00) || !memory_type(s->mtrr_base[i] & 0xff, false) ||
            (s->mtrr_mask[i] & 0x7ff))
            return bad(err, n, "mtrr_base or mtrr_mask has reserved bits");
    if (s->tsc_aux >> 32 || s->sfmask >> 32)
        return bad(err, n, "tsc_aux or sfmask has reserved bits");
    return 0;
}

static int check_lapic(const struct lapic_state *a, char *err, size_t n)
{
    const uint32_t lvts[] = { a->lvt_cmci,  a->lvt_timer, a->lvt_thermal, a->lvt_perf,
                              a->lvt_lint0, a->lvt_lint1, a->lvt_error };

    /* EXTD without EN is no mode (SDM 3A table 10-5). */
    if ((a->base & 0x2ff) || a->base >> 52 || (a->base & 0xc00) == 0x400)
        return bad(err, n, "lapic.base is not valid: %#llx", (unsigned long long)a->base);
    for (unsigned i = 0; i < ARRAY_SIZE(lvts); i++)
        if (lvts[i] & ~LVT_KNOWN)
            return bad(err, n, "an LVT entry of the local APIC has reserved bits: %#x", lvts[i]);
    if ((a->irr[0] | a->isr[0] | a->tmr[0]) & 0xffff)
        return bad(err, n, "lapic: vectors 0 to 15 cannot be pending");
    if (a->tpr > 0xff || (a->timer_dcr & ~0xbu) || a->svr > 0x1fff)
        return bad(err, n, "lapic: tpr, svr or timer_dcr has reserved bits");
    if (a->timer_deadline_ns > INT64_MAX)
        return bad(err, n, "lapic.timer_deadline_ns is out of range");
    return 0;
}

static int check_events(const struct vcpu_state *s, char *err, size_t n)
{
    if (s->mp_state > MP_SHUTDOWN)
        return bad(err, n, "mp_state %u is unknown", s->mp_state);
    if (s->shadows & ~(SHADOW_STI | SHADOW_MOV_SS | SHADOW_NMI))
        return bad(err, n, "shadows has unknown bits: %#x", s->shadows);
    return 0;
}

int vcpu_state_check(const struct vcpu_state *s, char *err, size_t err_size)
{
    int ret = check_modes(s, err, err_size);

    if (!ret)
        ret = check_flags(s, err, err_size);
    if (!ret)
        ret = check_segments(s, err, err_size);
    if (!ret)
        ret = check_msrs(s, err, err_size);
    if (!ret)
        ret = check_lapic(&s->lapic, err, err_size);
    if (!ret)
        ret = check_events(s, err, err_size);
    return ret;
}
