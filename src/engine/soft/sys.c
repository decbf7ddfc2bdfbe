/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System instructions that are not about segments, control registers or
 * transfers: flags, halting, CPUID, TSC, MSRs, caches (SDM 2A to 2D).
 */
#include "engine/soft/soft.h"
#include "engine/soft/sysop.h"

/* ---- flags ---------------------------------------------------------------- */

/* Does VIF stand for IF here (SDM 3B 20.3, 20.4)? */
static bool virtual_if(const struct soft_cpu *c)
{
    if (soft_v86(c))
        return c->s.cr4 & CR4_VME;
    return c->cpl == 3 && (c->s.cr4 & CR4_PVI);
}

int op_cli(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (likely(c->cpl <= soft_iopl(c)))
        c->rflags &= ~(uint32_t)X86_IF;
    else if (virtual_if(c))
        c->rflags &= ~(uint32_t)X86_VIF;
    else
        return soft_gp0(c);
    return SOFT_NEXT;
}

/* Interrupts stay shut for one more instruction, if they were shut (3A 6.8.1). */
int op_sti(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (likely(c->cpl <= soft_iopl(c))) {
        if (c->rflags & X86_IF)
            return SOFT_NEXT;
        c->rflags |= X86_IF;
        c->shadow = SHADOW_STI;
        soft_recheck_events(c);
        return SOFT_STOP;
    }
    if (!virtual_if(c) || (c->rflags & X86_VIP))
        return soft_gp0(c);
    c->rflags |= X86_VIF;
    return SOFT_NEXT;
}

int op_clac(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (unlikely(c->cpl))
        return soft_ud(c);
    c->rflags &= ~(uint32_t)X86_AC;
    soft_mode_changed(c);
    return SOFT_STOP;
}

int op_stac(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (unlikely(c->cpl))
        return soft_ud(c);
    c->rflags |= X86_AC;
    soft_mode_changed(c);
    return SOFT_STOP;
}

int op_pushf(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v = soft_get_rflags(c) & ~(uint64_t)(X86_VM | X86_RF);

    if (unlikely(soft_v86(c)) && soft_iopl(c) < 3) {
        if (!(c->s.cr4 & CR4_VME) || i->osize != 2)
            return soft_gp0(c);
        v = (v & ~(uint64_t)X86_IF) | X86_IOPL | (c->rflags & X86_VIF ? X86_IF : 0);
    }
    return soft_push(c, i->osize, v);
}

/* Virtual-8086 mode with IOPL < 3 (SDM 3B 20.3.2): IF is VIF, or #GP. */
static int popf_vme(struct soft_cpu *c, const struct insn *i)
{
    const uint64_t mask = X86_FLAGS_ARITH | X86_DF | X86_NT | X86_TF | X86_VIF;
    uint64_t v;
    int r;

    if (!(c->s.cr4 & CR4_VME) || i->osize != 2)
        return soft_gp0(c);
    r = soft_peek(c, 0, 2, &v);
    if (r)
        return r;
    if ((v & X86_TF) || ((v & X86_IF) && (c->rflags & X86_VIP)))
        return soft_gp0(c);
    soft_set_sp(c, c->gpr[CPU_RSP] + 2);
    v = (v & ~(uint64_t)X86_VIF) | (v & X86_IF ? X86_VIF : 0);
    soft_set_rflags(c, (soft_get_rflags(c) & ~mask) | (v & mask));
    return SOFT_STOP;
}

/* SDM 2B POPF, table 4-16. */
int op_popf(struct soft_cpu *c, const struct insn *i)
{
    uint32_t mask = X86_TF | X86_DF | X86_NT, now;
    uint64_t v;
    int r;

    if (unlikely(soft_v86(c)) && soft_iopl(c) < 3)
        return popf_vme(c, i);
    if (i->osize > 2)
        mask |= X86_AC | X86_ID;
    if (c->cpl <= soft_iopl(c))
        mask |= X86_IF;
    if (!c->cpl)
        mask |= X86_IOPL;
    r = soft_pop(c, i->osize, &v);
    if (unlikely(r))
        return r;
    now = (c->rflags & ~mask) | ((uint32_t)v & mask);
    /* To shut interrupts, and what only the flags themselves show, is quick. */
    if (likely(!((now ^ c->rflags) & (X86_TF | X86_AC)) && !(now & ~c->rflags & X86_IF))) {
        soft_set_arith_flags(c, (unsigned)v);
        c->rflags = now;
        return SOFT_NEXT;
    }
    soft_set_rflags(c, now | ((unsigned)v & X86_FLAGS_ARITH));
    return SOFT_STOP;
}

/* ---- halting ---------------------------------------------------------------- */

int op_hlt(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl)
        return soft_gp0(c);
    c->s.mp_state = MP_HALTED;
    return SOFT_STOP;
}

/* The address must be readable; it is not watched (see op_mwait). */
int op_monitor(struct soft_cpu *c, const struct insn *i)
{
    uint64_t la, v, off = gpr_get(c, CPU_RAX * 8, i->asize);
    int r;

    if (c->cpl)
        return soft_ud(c);
    if ((uint32_t)c->gpr[CPU_RCX])
        return soft_gp0(c);
    if ((r = soft_linear(c, i->seg, off, 1, false, &la)) || (r = soft_read(c, la, 1, &v)))
        return r;
    return SOFT_NEXT;
}

/* Software must expect MWAIT to end for no reason (SDM 2B MWAIT); MP_MWAIT
 * wakes at once or on events, as soft_events sees fit. */
int op_mwait(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (c->cpl)
        return soft_ud(c);
    if ((uint32_t)c->gpr[CPU_RCX] > 1)
        return soft_gp0(c);
    c->s.mp_state = MP_MWAIT;
    return SOFT_STOP;
}

/* ---- identification, time, MSRs ------------------------------------------------ */

int op_cpuid(struct soft_cpu *c, const struct insn *i)
{
    const struct cpuid_view view = { .apic_id = c->id,
                                     .cr4 = c->s.cr4,
                                     .xcr0 = c->s.xcr0,
                                     .apic_base = c->s.lapic.base,
                                     .misc_enable = c->s.misc_enable };
    struct cpuid_regs r =
        cpu_model_cpuid(c->vm->model, (uint32_t)c->gpr[CPU_RAX], (uint32_t)c->gpr[CPU_RCX], &view);

    (void)i;
    c->gpr[CPU_RAX] = r.eax;
    c->gpr[CPU_RBX] = r.ebx;
    c->gpr[CPU_RCX] = r.ecx;
    c->gpr[CPU_RDX] = r.edx;
    return SOFT_NEXT;
}

static void set_edx_eax(struct soft_cpu *c, uint64_t v)
{
    c->gpr[CPU_RAX] = (uint32_t)v;
    c->gpr[CPU_RDX] = v >> 32;
}

int op_rdtsc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    if (unlikely((c->s.cr4 & CR4_TSD) && c->cpl))
        return soft_gp0(c);
    set_edx_eax(c, soft_tsc(c));
    return SOFT_NEXT;
}

int op_rdtscp(struct soft_cpu *c, const struct insn *i)
{
    int r = op_rdtsc(c, i);

    if (r == SOFT_NEXT)
        c->gpr[CPU_RCX] = (uint32_t)c->s.tsc_aux;
    return r;
}

int op_rdpid(struct soft_cpu *c, const struct insn *i)
{
    c->gpr[i->rm / 8] = (uint32_t)c->s.tsc_aux;
    return SOFT_NEXT;
}

/* There are no performance counters: no index is valid. */
int op_rdpmc(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return soft_gp0(c);
}

int op_rdmsr(struct soft_cpu *c, const struct insn *i)
{
    uint64_t v;
    int r;

    (void)i;
    if (c->cpl)
        return soft_gp0(c);
    r = soft_rdmsr(c, (uint32_t)c->gpr[CPU_RCX], &v);
    if (r)
        return r;
    set_edx_eax(c, v);
    return SOFT_NEXT;
}

/* EFER, APIC base, TPR, FS base and others: leave the block. */
int op_wrmsr(struct soft_cpu *c, const struct insn *i)
{
    int r;

    (void)i;
    if (c->cpl)
        return soft_gp0(c);
    r = soft_wrmsr(c, (uint32_t)c->gpr[CPU_RCX], (uint32_t)c->gpr[CPU_RAX] | c->gpr[CPU_RDX] << 32);
    return r ? r : SOFT_STOP;
}

/* INVD, WBINVD: guest RAM is coherent. */
int op_wbinvd(struct soft_cpu *c, const struct insn *i)
{
    (void)i;
    return c->cpl ? soft_gp0(c) : SOFT_NEXT;
}
