/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The whole state of a vCPU, in and out.  What the engine keeps apart (hot
 * registers, flags in two parts, SIMD registers, pending events) is put
 * together here, and taken apart again.
 */
#include "engine/soft/soft.h"

#define SHADOW_INSN (SHADOW_STI | SHADOW_MOV_SS)
#define DR6_FIXED   0xffff0ff0ULL
#define DR7_FIXED   0x400ULL

/* An event whose delivery has to go on, or a #DB that is due. */
static void get_pending(const struct soft_cpu *c, struct vcpu_state *s)
{
    struct soft_exc x = c->delivering;

    if (!c->in_delivery) {
        if (s->exception_pending || !c->db_pending)
            return;
        x = (struct soft_exc){ .vector = VEC_DB, .payload = c->db_pending };
    }
    s->exception_pending = true;
    s->exception_vector = x.vector;
    s->exception_has_error = x.has_error;
    s->exception_error = x.error;
    s->exception_payload = x.payload;
}

void soft_get_state(struct soft_cpu *c, struct vcpu_state *s)
{
    soft_events_collect(c);
    *s = c->s;
    for (unsigned n = 0; n < ARRAY_SIZE(s->gpr); n++)
        s->gpr[n] = c->gpr[n];
    s->rip = soft_rip(c);
    s->rflags = soft_get_rflags(c);
    s->cr8 = lapic_get_cr8(c);
    s->shadows = (c->s.shadows & SHADOW_NMI) | (c->shadow & SHADOW_INSN);
    s->tsc = soft_tsc_at(c, vm_clock_ns(c->vm->clock));
    s->insn_count = c->insn_count;
    get_pending(c, s);
    soft_fpu_get(c, s);
}

/* As VMX has it: the DPL of SS, which is right even between a change of
 * CR0.PE and the far jump behind it. */
static uint8_t cpl_of(const struct vcpu_state *s)
{
    if (!(s->cr0 & CR0_PE))
        return 0;
    if (s->rflags & X86_VM)
        return 3;
    return s->seg[SEG_SS].attr >> SEG_ATTR_DPL_SHIFT & 3;
}

int soft_set_state(struct soft_cpu *c, const struct vcpu_state *s, char *err, size_t err_size)
{
    int r = vcpu_state_check(s, err, err_size);

    if (r)
        return r;
    c->s = *s;
    for (unsigned n = 0; n < ARRAY_SIZE(s->gpr); n++)
        c->gpr[n] = s->gpr[n];
    c->gpr[GPR_ZERO / 8] = 0;
    soft_rip(c) = s->rip;
    c->cpl = cpl_of(s);
    c->s.dr6 |= DR6_FIXED;
    c->s.dr7 |= DR7_FIXED;
    c->s.cr0 |= CR0_ET;
    c->s.shadows = s->shadows & SHADOW_NMI;
    c->shadow = s->shadows & SHADOW_INSN;
    c->insn_count = s->insn_count;
    c->in_delivery = false;
    c->pv_eoi = false;
    c->db_pending = 0;
    if (s->exception_pending && s->exception_vector == VEC_DB && (s->shadows & SHADOW_MOV_SS)) {
        /* Held back until the instruction behind MOV SS has retired. */
        c->db_pending = s->exception_payload;
        c->s.exception_pending = c->s.exception_has_error = false;
        c->s.exception_vector = 0;
        c->s.exception_error = 0;
        c->s.exception_payload = 0;
    }
    c->block_end = NULL;
    soft_set_arith_flags(c, (unsigned)s->rflags & X86_FLAGS_ARITH);
    c->rflags = ((uint32_t)s->rflags & ~(uint32_t)X86_FLAGS_ARITH) | X86_FLAGS_FIXED;
    soft_fpu_set(c, s);
    c->code64 = false; /* derive all */
    soft_mode_changed(c);
    soft_flush_all(c);
    soft_tsc_load(c, s->tsc);
    soft_events_loaded(c);
    /* kvmclock is written when the clock starts: the A20 gate may still be
     * another one. */
    return 0;
}
