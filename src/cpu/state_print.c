/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Registers for people, in the layout that QEMU's users know. */
#include <inttypes.h>

#include "base/util.h"
#include "cpu/state.h"
#include "x86/x86.h"

static bool is_code64(const struct vcpu_state *s)
{
    return (s->efer & EFER_LMA) && (s->seg[SEG_CS].attr & SEG_ATTR_L);
}

static unsigned cpl(const struct vcpu_state *s)
{
    if (!(s->cr0 & CR0_PE))
        return 0;
    return s->rflags & X86_VM ? 3 : s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
}

static void print_gprs(const struct vcpu_state *s, FILE *f)
{
    static const char *const names[] = { "AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI" };
    static const uint8_t order[] = { CPU_RAX, CPU_RBX, CPU_RCX, CPU_RDX,
                                     CPU_RSI, CPU_RDI, CPU_RBP, CPU_RSP };

    if (!is_code64(s)) {
        for (unsigned i = 0; i < 8; i++)
            fprintf(f, "E%s=%08x%c", names[order[i]], (uint32_t)s->gpr[order[i]],
                    i % 4 == 3 ? '\n' : ' ');
        return;
    }
    for (unsigned i = 0; i < 8; i++)
        fprintf(f, "R%s=%016" PRIx64 "%c", names[order[i]], s->gpr[order[i]],
                i % 4 == 3 ? '\n' : ' ');
    for (unsigned i = 8; i < 16; i++)
        fprintf(f, "R%-2u=%016" PRIx64 "%c", i, s->gpr[i], i % 4 == 3 ? '\n' : ' ');
}

static void print_flags(const struct vcpu_state *s, FILE *f)
{
    static const char *const mp[] = { "", " HLT=1", " WAIT-SIPI=1", " MWAIT=1", " SHUTDOWN=1" };
    static const struct {
        uint32_t bit;
        char letter;
    } flags[] = { { X86_DF, 'D' }, { X86_OF, 'O' }, { X86_SF, 'S' }, { X86_ZF, 'Z' },
                  { X86_AF, 'A' }, { X86_PF, 'P' }, { X86_CF, 'C' } };

    fprintf(f,
            is_code64(s) ? "RIP=%016" PRIx64 " RFL=%08" PRIx64 " ["
                         : "EIP=%08" PRIx64 " EFL=%08" PRIx64 " [",
            s->rip, s->rflags);
    for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
        fputc(s->rflags & flags[i].bit ? flags[i].letter : '-', f);
    fprintf(f, "] CPL=%u IF=%d SHADOWS=%x%s\n", cpl(s), !!(s->rflags & X86_IF), s->shadows,
            s->mp_state < ARRAY_SIZE(mp) ? mp[s->mp_state] : " ?");
}

static void print_segments(const struct vcpu_state *s, FILE *f)
{
    static const char *const names[] = { "ES ", "CS ", "SS ", "DS ", "FS ", "GS ", "LDT", "TR " };

    for (unsigned i = 0; i < SEG_COUNT; i++)
        fprintf(f, "%s=%04x %016" PRIx64 " %08x %05x DPL=%u%s\n", names[i], s->seg[i].selector,
                s->seg[i].base, s->seg[i].limit, s->seg[i].attr,
                s->seg[i].attr >> SEG_ATTR_DPL_SHIFT & 3,
                s->seg[i].attr & SEG_ATTR_UNUSABLE ? " unusable" : "");
    fprintf(f, "GDT=     %016" PRIx64 " %08x\n", s->gdtr.base, s->gdtr.limit);
    fprintf(f, "IDT=     %016" PRIx64 " %08x\n", s->idtr.base, s->idtr.limit);
}

static void print_system(const struct vcpu_state *s, FILE *f)
{
    fprintf(f,
            "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64 " CR8=%" PRIx64
            "\n",
            s->cr0, s->cr2, s->cr3, s->cr4, s->cr8);
    for (unsigned i = 0; i < 4; i++)
        fprintf(f, "DR%u=%016" PRIx64 "%c", i, s->dr[i], i == 3 ? '\n' : ' ');
    fprintf(f, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\n", s->dr6, s->dr7);
    fprintf(f, "EFER=%016" PRIx64 " XCR0=%" PRIx64 " TSC=%" PRIu64 " INSNS=%" PRIu64 "\n", s->efer,
            s->xcr0, s->tsc, s->insn_count);
    fprintf(f, "STAR=%016" PRIx64 " LSTAR=%016" PRIx64 " KGSBASE=%016" PRIx64 "\n", s->star,
            s->lstar, s->kernel_gs_base);
}

/* Vectors 255 to 0. */
static void print_vectors(const char *name, const uint32_t bits[8], FILE *f)
{
    fprintf(f, "%s=", name);
    for (unsigned i = 8; i-- > 0;)
        fprintf(f, "%08x%c", bits[i], i ? ' ' : '\n');
}

static void print_lapic(const struct lapic_state *a, FILE *f)
{
    fprintf(f, "APIC base=%" PRIx64 " id=%x svr=%x tpr=%x timer=%x lint0=%x lint1=%x\n", a->base,
            a->id, a->svr, a->tpr, a->lvt_timer, a->lvt_lint0, a->lvt_lint1);
    print_vectors("IRR", a->irr, f);
    print_vectors("ISR", a->isr, f);
    fprintf(f, "APIC timer at %" PRIu64 " ns, TSC deadline %" PRIu64 "\n", a->timer_deadline_ns,
            a->tsc_deadline);
}

static void print_fpu(const struct vcpu_state *s, FILE *f)
{
    fprintf(f, "FCW=%04x FSW=%04x FTW=%02x MXCSR=%08x\n", s->fcw, s->fsw, s->ftw, s->mxcsr);
    for (unsigned i = 0; i < 8; i++)
        fprintf(f, "FPR%u=%016" PRIx64 " %04x%c", i, s->st_mant[i], s->st_exp[i],
                i % 2 ? '\n' : ' ');
    for (unsigned i = 0; i < (is_code64(s) ? 16u : 8u); i++)
        fprintf(f, "XMM%02u=%016" PRIx64 "%016" PRIx64 "%c", i, s->xmm[i][1], s->xmm[i][0],
                i % 2 ? '\n' : ' ');
}

void vcpu_state_print(const struct vcpu_state *s, FILE *f)
{
    print_gprs(s, f);
    print_flags(s, f);
    print_segments(s, f);
    print_system(s, f);
    print_lapic(&s->lapic, f);
    print_fpu(s, f);
}
