/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM 2B; APM 3 for where AMD differs:
 * SYSCALL outside 64-bit mode, SYSENTER not in long mode).
 */
#include "engine/soft/seg.h"
#include "engine/soft/sysop.h"

/* CS and SS as these instructions load them: flat, no descriptor is read. */
static void set_flat(struct soft_cpu *c, uint16_t cs, uint16_t ss, bool code64, unsigned cpl)
{
    c->s.seg[SEG_CS] = (struct seg_state){ .limit = 0xffffffff,
                                           .selector = cs,
                                           .attr = SEG_FLAT_CODE | (code64 ? SEG_ATTR_L : SEG_ATTR_DB) |
                                                   cpl << SEG_ATTR_DPL_SHIFT };
    c->s.seg[SEG_SS] = (struct seg_state){ .limit = 0xffffffff,
                                           .selector = ss,
                                           .attr = SEG_FLAT_DATA | cpl << SEG_ATTR_DPL_SHIFT };
    c->cpl = (uint8_t)cpl;
}

int op_syscall(struct soft_cpu *c, const struct insn *i)
{
    uint64_t next = soft_rip(c) + i->len;
    uint16_t cs = (uint16_t)(c->s.star >> 32) & 0xfffc;

    if (unlikely(!(c->s.efer & EFER_SCE) || (!c->code64 && !c->vm->model->amd)))
        return soft_ud(c);
    if (likely(soft_lma(c))) {
        uint64_t flags = soft_get_rflags(c) & ~(uint64_t)X86_RF;

        soft_rip(c) = c->code64 ? c->s.lstar : c->s.cstar;
        c->gpr[CPU_RCX] = c->code64 ? next : (uint32_t)next;
        c->gpr[CPU_R11] = flags;
        flags &= ~c->s.sfmask;
        soft_set_arith_flags(c, (unsigned)flags);
        c->rflags = ((uint32_t)flags & ~(uint32_t)X86_FLAGS_ARITH) | X86_FLAGS_FIXED;
        set_flat(c, cs, (uint16_t)(cs + 8), true, 0);
    } else {
        if (!soft_pe(c))
            return soft_ud(c);
        c->gpr[CPU_RCX] = (uint32_t)next;
        soft_rip(c) = (uint32_t)c->s.star;
        c->rflags &= ~(uint32_t)(X86_VM | X86_IF | X86_RF);
        set_flat(c, cs, (uint16_t)(cs + 8), false, 0);
    }
    /* A TF that SFMASK cleared makes no trap behind SYSCALL itself. */
    c->step = c->step && (c->rflags & X86_TF);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

/* SS gets the attributes that Intel loads; AMD keeps what was there, which
 * nothing can rely on and systems work around. */
int op_sysret(struct soft_cpu *c, const struct insn *i)
{
    bool to64 = i->osize == 8, amd = c->vm->model->amd;
    uint16_t base = (uint16_t)(c->s.star >> 48);
    uint16_t ss = (uint16_t)(base + 8) | 3;

    if (unlikely(!(c->s.efer & EFER_SCE) || (!c->code64 && !amd) || !soft_pe(c)))
        return soft_ud(c);
    if (unlikely(c->cpl))
        return soft_gp0(c);
    /* Intel faults here, in ring 0; on AMD the fetch in ring 3 faults. */
    if (unlikely(to64 && !amd && !x86_canonical(c->gpr[CPU_RCX])))
        return soft_gp0(c);
    soft_rip(c) = to64 ? c->gpr[CPU_RCX] : (uint32_t)c->gpr[CPU_RCX];
    set_flat(c, (uint16_t)(to64 ? base + 16 : base) | 3, ss, to64, 3);
    soft_set_rflags(c, soft_lma(c) ? c->gpr[CPU_R11] & 0x3c7fd7 : soft_get_rflags(c) | X86_IF);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

int op_sysenter(struct soft_cpu *c, const struct insn *i)
{
    bool lma = soft_lma(c);
    uint16_t cs = (uint16_t)c->s.sysenter_cs & 0xfffc;

    (void)i;
    if (lma && c->vm->model->amd)
        return soft_ud(c);
    if (!soft_pe(c) || !cs)
        return soft_gp0(c);
    c->rflags &= ~(uint32_t)(X86_VM | X86_IF | X86_RF);
    c->gpr[CPU_RSP] = lma ? c->s.sysenter_esp : (uint32_t)c->s.sysenter_esp;
    soft_rip(c) = lma ? c->s.sysenter_eip : (uint32_t)c->s.sysenter_eip;
    set_flat(c, cs, (uint16_t)(cs + 8), lma, 0);
    soft_mode_changed(c);
    return SOFT_JUMP;
}

int op_sysexit(struct soft_cpu *c, const struct insn *i)
{
    bool to64 = i->osize == 8;
    uint16_t cs = (uint16_t)c->s.sysenter_cs & 0xfffc;
    uint64_t rip = c->gpr[CPU_RDX], rsp = c->gpr[CPU_RCX];

    if (soft_lma(c) && c->vm->model->amd && !c->cpl) /* Zen 4 looks at CPL first */
        return soft_ud(c);
    if (!soft_pe(c) || !cs || c->cpl)
        return soft_gp0(c);
    if (to64 && (!x86_canonical(rip) || !x86_canonical(rsp)))
        return soft_gp0(c);
    cs = (uint16_t)(cs + (to64 ? 32 : 16)) | 3;
    soft_rip(c) = to64 ? rip : (uint32_t)rip;
    c->gpr[CPU_RSP] = to64 ? rsp : (uint32_t)rsp;
    set_flat(c, cs, (uint16_t)(cs + 8), to64, 3);
    soft_mode_changed(c);
    return SOFT_JUMP;
}
