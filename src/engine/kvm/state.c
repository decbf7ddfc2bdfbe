/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * struct vcpu_state, both ways.
 *
 * An interrupt that KVM has taken from the local APIC and not yet delivered is
 * given back to the APIC in the state: as if it had not been acknowledged.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

#define SEGMENTS(s, k)                                                                 \
    const struct {                                                                     \
        unsigned n;                                                                    \
        struct kvm_segment *k;                                                         \
    } segments[] = { { SEG_ES, &(s).es },    { SEG_CS, &(s).cs }, { SEG_SS, &(s).ss }, \
                     { SEG_DS, &(s).ds },    { SEG_FS, &(s).fs }, { SEG_GS, &(s).gs }, \
                     { SEG_LDTR, &(s).ldt }, { SEG_TR, &(s).tr } }

/* KVM orders them as the encoding's low registers differ: by name. */
static void get_general(const struct kvm_regs *r, struct vcpu_state *s)
{
    const uint64_t gpr[16] = { r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
                               r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15 };

    memcpy(s->gpr, gpr, sizeof(gpr));
    s->rip = r->rip;
    s->rflags = r->rflags;
}

static int set_general(struct vcpu *v, const struct vcpu_state *s)
{
    const uint64_t *g = s->gpr;
    struct kvm_regs r = {
        .rax = g[CPU_RAX],
        .rcx = g[CPU_RCX],
        .rdx = g[CPU_RDX],
        .rbx = g[CPU_RBX],
        .rsp = g[CPU_RSP],
        .rbp = g[CPU_RBP],
        .rsi = g[CPU_RSI],
        .rdi = g[CPU_RDI],
        .r8 = g[8],
        .r9 = g[9],
        .r10 = g[10],
        .r11 = g[11],
        .r12 = g[12],
        .r13 = g[13],
        .r14 = g[14],
        .r15 = g[15],
        .rip = s->rip,
        .rflags = s->rflags,
    };

    return kvm_ioctl(v->fd, KVM_SET_REGS, &r);
}

/* ---- segments and control registers ------------------------------------------------ */

static struct seg_state seg_from(const struct kvm_segment *k)
{
    return (struct seg_state){
        .base = k->base,
        .limit = k->limit,
        .selector = k->selector,
        .attr = (k->type & SEG_ATTR_TYPE) | (k->s ? SEG_ATTR_S : 0) |
                (uint32_t)(k->dpl & 3) << SEG_ATTR_DPL_SHIFT | (k->present ? SEG_ATTR_P : 0) |
                (k->avl ? SEG_ATTR_AVL : 0) | (k->l ? SEG_ATTR_L : 0) | (k->db ? SEG_ATTR_DB : 0) |
                (k->g ? SEG_ATTR_G : 0) | (k->unusable ? SEG_ATTR_UNUSABLE : 0),
    };
}

static struct kvm_segment seg_to(const struct seg_state *g)
{
    const uint32_t a = g->attr;
    const bool unusable = a & SEG_ATTR_UNUSABLE;

    return (struct kvm_segment){
        .base = g->base,
        .limit = g->limit,
        .selector = g->selector,
        .type = a & SEG_ATTR_TYPE,
        .present = !unusable && (a & SEG_ATTR_P),
        .dpl = a >> SEG_ATTR_DPL_SHIFT & 3,
        .db = !!(a & SEG_ATTR_DB),
        .s = !!(a & SEG_ATTR_S),
        .l = !!(a & SEG_ATTR_L),
        .g = !!(a & SEG_ATTR_G),
        .avl = !!(a & SEG_ATTR_AVL),
        .unusable = unusable,
    };
}

static void get_special(struct kvm_sregs *k, struct vcpu_state *s)
{
    SEGMENTS(*k, k);

    for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
        s->seg[segments[i].n] = seg_from(segments[i].k);
    s->gdtr = (struct table_state){ .base = k->gdt.base, .limit = k->gdt.limit };
    s->idtr = (struct table_state){ .base = k->idt.base, .limit = k->idt.limit };
    s->cr0 = k->cr0;
    s->cr2 = k->cr2;
    s->cr3 = k->cr3;
    s->cr4 = k->cr4;
    s->cr8 = k->cr8;
    s->efer = k->efer;
    s->lapic.base = k->apic_base;
}

static int set_special(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_sregs k;
    int rc = kvm_ioctl(v->fd, KVM_GET_SREGS, &k);
    SEGMENTS(k, k);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
        *segments[i].k = seg_to(&s->seg[segments[i].n]);
    /* Outside long mode L of a descriptor means nothing, and KVM refuses it. */
    if (!(s->efer & EFER_LMA))
        k.cs.l = 0;
    k.gdt.base = s->gdtr.base;
    k.gdt.limit = s->gdtr.limit;
    k.idt.base = s->idtr.base;
    k.idt.limit = s->idtr.limit;
    k.cr0 = s->cr0;
    k.cr2 = s->cr2;
    if (s->exception_pending && s->exception_vector == VEC_PF)
        k.cr2 = s->exception_payload;
    k.cr3 = s->cr3;
    k.cr4 = s->cr4;
    k.cr8 = s->cr8;
    k.efer = s->efer;
    k.apic_base = s->lapic.base;
    memset(k.interrupt_bitmap, 0, sizeof(k.interrupt_bitmap));
    return kvm_ioctl(v->fd, KVM_SET_SREGS, &k);
}

static int get_debug(struct vcpu *v, struct vcpu_state *s)
{
    struct kvm_debugregs d;
    int rc = kvm_ioctl(v->fd, KVM_GET_DEBUGREGS, &d);

    if (rc < 0)
        return rc;
    memcpy(s->dr, d.db, sizeof(s->dr));
    s->dr6 = d.dr6;
    s->dr7 = d.dr7;
    return 0;
}

static int set_debug(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_debugregs d = { .dr6 = s->dr6, .dr7 = s->dr7 };

    memcpy(d.db, s->dr, sizeof(d.db));
    if (s->exception_pending && s->exception_vector == VEC_DB)
        d.dr6 |= s->exception_payload;
    return kvm_ioctl(v->fd, KVM_SET_DEBUGREGS, &d);
}

/* ---- events ---------------------------------------------------------------------------- */

/* The vector in service that KVM is delivering goes back to IRR. */
static bool unacknowledge(struct lapic_state *a, unsigned vector)
{
    const uint32_t bit = 1u << (vector % 32);

    if (!(a->isr[vector / 32] & bit))
        return false;
    a->isr[vector / 32] &= ~bit;
    a->irr[vector / 32] |= bit;
    return true;
}

static void get_exception(const struct kvm_vcpu_events *e, struct vcpu_state *s)
{
    if (e->exception.injected || e->exception.pending) {
        s->exception_pending = true;
        s->exception_vector = e->exception.nr;
        s->exception_has_error = e->exception.has_error_code;
        s->exception_error = e->exception.error_code;
        s->exception_payload = e->exception_has_payload    ? e->exception_payload
                               : e->exception.nr == VEC_PF ? s->cr2
                                                           : 0;
    } else if (e->interrupt.injected && !unacknowledge(&s->lapic, e->interrupt.nr)) {
        s->exception_pending = true;
        s->exception_vector = e->interrupt.nr;
    }
}

static int get_events(struct vcpu *v, struct vcpu_state *s)
{
    struct kvm_vcpu_events e;
    struct kvm_mp_state mp;
    int rc = kvm_ioctl(v->fd, KVM_GET_MP_STATE, &mp);

    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_VCPU_EVENTS, &e);
    if (rc < 0)
        return rc;
    switch (mp.mp_state) {
    case KVM_MP_STATE_HALTED: s->mp_state = MP_HALTED; break;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
    case KVM_MP_STATE_SIPI_RECEIVED: s->mp_state = MP_WAIT_SIPI; break;
    default: s->mp_state = MP_RUNNABLE; break;
    }
    if (v->shutdown)
        s->mp_state = MP_SHUTDOWN;
    s->sipi_pending = mp.mp_state == KVM_MP_STATE_SIPI_RECEIVED;
    s->sipi_vector = s->sipi_pending ? (uint8_t)e.sipi_vector : 0;
    s->init_pending = e.flags & KVM_VCPUEVENT_VALID_SMM && e.smi.latched_init;
    s->smi_pending = e.flags & KVM_VCPUEVENT_VALID_SMM && e.smi.pending;
    s->shadows = (e.interrupt.shadow & KVM_X86_SHADOW_INT_STI ? SHADOW_STI : 0) |
                 (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? SHADOW_MOV_SS : 0) |
                 (e.nmi.masked && !e.nmi.injected ? SHADOW_NMI : 0);
    s->nmi_pending = e.nmi.pending || e.nmi.injected;
    s->extint_request = atomic_load(&v->extint);
    get_exception(&e, s);
    return 0;
}

static int set_mp_state(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_mp_state mp = { .mp_state = KVM_MP_STATE_RUNNABLE };

    if (s->mp_state == MP_HALTED)
        mp.mp_state = KVM_MP_STATE_HALTED;
    else if (s->mp_state == MP_WAIT_SIPI)
        mp.mp_state = s->sipi_pending ? KVM_MP_STATE_SIPI_RECEIVED : KVM_MP_STATE_INIT_RECEIVED;
    v->shutdown = s->mp_state == MP_SHUTDOWN;
    return kvm_ioctl(v->fd, KVM_SET_MP_STATE, &mp);
}

/* External interrupts have vectors from 32 on, but for those of a PIC that
 * the firmware has set up; which one it was no state tells. */
static void set_delivery(struct kvm_vcpu_events *e, const struct vcpu_state *s)
{
    if (!s->exception_pending)
        return;
    if (s->exception_vector >= 32) {
        e->interrupt.injected = 1;
        e->interrupt.nr = s->exception_vector;
        return;
    }
    e->exception.injected = 1;
    e->exception.nr = s->exception_vector;
    e->exception.has_error_code = s->exception_has_error;
    e->exception.error_code = s->exception_error;
}

static int set_events(struct vcpu *v, const struct vcpu_state *s)
{
    struct kvm_vcpu_events e = {
        .flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SIPI_VECTOR |
                 KVM_VCPUEVENT_VALID_SHADOW,
        .nmi.pending = s->nmi_pending,
        .nmi.masked = !!(s->shadows & SHADOW_NMI),
        .sipi_vector = s->sipi_vector,
        .interrupt.shadow = (s->shadows & SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) |
                            (s->shadows & SHADOW_MOV_SS ? KVM_X86_SHADOW_INT_MOV_SS : 0),
    };

    if (s->init_pending) {
        e.flags |= KVM_VCPUEVENT_VALID_SMM;
        e.smi.latched_init = 1;
    }
    set_delivery(&e, s);
    return kvm_ioctl(v->fd, KVM_SET_VCPU_EVENTS, &e);
}

/* ---- all of it ------------------------------------------------------------------------------ */

void kvm_vcpu_get_state(struct vcpu *v, struct vcpu_state *s)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs;
    int rc;

    kvm_vcpu_collect(v);
    memset(s, 0, sizeof(*s));
    rc = kvm_ioctl(v->fd, KVM_GET_REGS, &regs);
    if (rc == 0)
        rc = kvm_ioctl(v->fd, KVM_GET_SREGS, &sregs);
    if (rc == 0) {
        get_general(&regs, s);
        get_special(&sregs, s);
        rc = kvm_xstate_get(v, s);
    }
    if (rc == 0) {
        kvm_msrs_get(v, s);
        rc = kvm_lapic_get(v, s);
    }
    if (rc == 0)
        rc = get_debug(v, s);
    if (rc == 0)
        rc = get_events(v, s);
    if (rc < 0)
        log_error(LOG_CPU, "KVM does not give the state of CPU %u: %s", v->id, strerror(-rc));
    s->tsc = kvm_tsc(v);
    s->insn_count = v->insn_count;
}

int kvm_vcpu_set_state(struct vcpu *v, const struct vcpu_state *s, char *err, size_t err_size)
{
    static const struct {
        const char *what;
        int (*set)(struct vcpu *v, const struct vcpu_state *s);
    } steps[] = {
        { "segments and control registers", set_special },
        { "general registers", set_general },
        { "floating-point and vector registers", kvm_xstate_set },
        { "MSRs", kvm_msrs_set },
        { "local APIC", kvm_lapic_set },
        { "debug registers", set_debug },
        { "run state", set_mp_state },
        { "pending events", set_events },
    };
    int rc = vcpu_state_check(s, err, err_size);

    if (rc < 0)
        return rc;
    v->open = CPU_EXIT_NONE;
    v->insn_count = s->insn_count;
    atomic_fetch_and(&v->wants, ~(uint32_t)WANT_NMI);
    kvm_tsc_set(v, s->tsc); /* before the timer that may go by it */
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        rc = steps[i].set(v, s);
        if (rc < 0) {
            snprintf(err, err_size, "KVM does not take the %s: %s", steps[i].what, strerror(-rc));
            return rc;
        }
    }
    v->kr->ready_for_interrupt_injection = 0;
    kvm_vcpu_extint(v, s->extint_request);
    return 0;
}
