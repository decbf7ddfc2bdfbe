/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's page, both ways, and its timer.
 *
 * KVM's timer goes by the host's clock.  While the VM clock stands it is off,
 * and what it would do is in vcpu->timer; when the clock starts it is set for
 * what is left.  KVM does not tell a one-shot timer that has expired from one
 * whose interrupt is still on its way: it counts as due then (so does KVM when
 * it takes a page), for an interrupt too many is harmless and a lost one not.
 */
#include <string.h>

#include "base/util.h"
#include "engine/kvm/kvm.h"
#include "x86/x86.h"

#define APIC_BASE_EN   BIT(11)
#define APIC_BASE_EXTD BIT(10)
#define LVT_MASKED     BIT(16)
#define TICK_NS        (NSEC_PER_SEC / CPU_APIC_HZ)

/* Offsets of registers (SDM 3A table 10-1). */
enum {
    R_ID = 0x20,
    R_TPR = 0x80,
    R_LDR = 0xd0,
    R_DFR = 0xe0,
    R_SVR = 0xf0,
    R_ISR = 0x100,
    R_TMR = 0x180,
    R_IRR = 0x200,
    R_ESR = 0x280,
    R_CMCI = 0x2f0,
    R_ICR = 0x300,
    R_ICR2 = 0x310,
    R_TIMER = 0x320,
    R_THERMAL = 0x330,
    R_PERF = 0x340,
    R_LINT0 = 0x350,
    R_LINT1 = 0x360,
    R_ERROR = 0x370,
    R_TMICT = 0x380,
    R_TMCCT = 0x390,
    R_TDCR = 0x3e0
};
enum { MODE_ONESHOT, MODE_PERIODIC, MODE_TSC_DEADLINE };

static const struct {
    unsigned reg;
    size_t offset;
} regs[] = {
#define R(reg, field)                            \
    {                                            \
        reg, offsetof(struct lapic_state, field) \
    }
    R(R_TPR, tpr),         R(R_LDR, ldr),
    R(R_DFR, dfr),         R(R_SVR, svr),
    R(R_ESR, esr),         R(R_ICR, icr_low),
    R(R_ICR2, icr_high),   R(R_CMCI, lvt_cmci),
    R(R_TIMER, lvt_timer), R(R_THERMAL, lvt_thermal),
    R(R_PERF, lvt_perf),   R(R_LINT0, lvt_lint0),
    R(R_LINT1, lvt_lint1), R(R_ERROR, lvt_error),
    R(R_TDCR, timer_dcr),
#undef R
};

static uint32_t reg_get(const struct kvm_lapic_state *p, unsigned reg)
{
    uint32_t v;

    memcpy(&v, p->regs + reg, sizeof(v));
    return v;
}

static void reg_put(struct kvm_lapic_state *p, unsigned reg, uint32_t v)
{
    memcpy(p->regs + reg, &v, sizeof(v));
}

static uint32_t *field(const struct lapic_state *a, unsigned i)
{
    return (uint32_t *)(uintptr_t)((const char *)a + regs[i].offset);
}

static bool is_x2(uint64_t base)
{
    return (base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}

/* ---- the timer ------------------------------------------------------------------ */

static unsigned timer_mode(uint32_t lvt)
{
    return lvt >> 17 & 3;
}

static uint64_t count_ns(uint32_t dcr)
{
    unsigned d = (dcr & 3) | (dcr >> 1 & 4);

    return TICK_NS * (d == 7 ? 1 : 2u << d);
}

/* When the guest's TSC reaches a value; at least 1. */
static uint64_t tsc_to_ns(struct vcpu *v, uint64_t tsc)
{
    uint64_t now = kvm_vm_ns(v->vm), at = kvm_tsc(v), left = tsc > at ? tsc - at : 0;

    left = MIN(left, (uint64_t)INT64_MAX / NSEC_PER_SEC);
    return MAX(now + mul_div(left, NSEC_PER_SEC, v->vm->config.model->tsc_hz), 1);
}

/* What the timer is at, from a page of KVM's. */
static void timer_from_page(struct vcpu *v, const struct kvm_lapic_state *p, struct kvm_timer *t)
{
    const uint32_t lvt = reg_get(p, R_TIMER), left = reg_get(p, R_TMCCT);
    const uint64_t now = kvm_vm_ns(v->vm);

    *t = (struct kvm_timer){ .icr = reg_get(p, R_TMICT) };
    if (timer_mode(lvt) == MODE_TSC_DEADLINE) {
        t->tsc_deadline = kvm_msr_read(v, MSR_TSC_DEADLINE);
        if (t->tsc_deadline)
            t->deadline_ns = tsc_to_ns(v, t->tsc_deadline);
    } else if (left) {
        t->deadline_ns = now + left * count_ns(reg_get(p, R_TDCR));
    } else if (t->icr && timer_mode(lvt) == MODE_ONESHOT) {
        t->deadline_ns = MAX(now, 1);
    } else if (t->icr) {
        t->deadline_ns = now + t->icr * count_ns(reg_get(p, R_TDCR));
    }
}

/* Counts into the page; KVM starts the timer from them when it takes it. */
static void timer_to_page(struct vcpu *v, struct kvm_lapic_state *p, const struct kvm_timer *t)
{
    const uint64_t now = kvm_vm_ns(v->vm), unit = count_ns(reg_get(p, R_TDCR));
    const bool armed = t->deadline_ns && timer_mode(reg_get(p, R_TIMER)) != MODE_TSC_DEADLINE;
    uint64_t left = t->deadline_ns > now ? (t->deadline_ns - now) / unit : 0;

    reg_put(p, R_TMICT, armed ? t->icr : 0);
    reg_put(p, R_TMCCT, armed ? (uint32_t)MAX(MIN(left, t->icr), 1) : 0);
}

static void set_tsc_deadline(struct vcpu *v, const struct kvm_lapic_state *p,
                             const struct kvm_timer *t)
{
    if (timer_mode(reg_get(p, R_TIMER)) == MODE_TSC_DEADLINE)
        kvm_msr_write(v, MSR_TSC_DEADLINE, t->deadline_ns ? t->tsc_deadline : 0);
}

void kvm_lapic_hold(struct vcpu *v)
{
    const struct kvm_timer none = { .held = true };
    struct kvm_lapic_state p;

    if (v->timer.held || kvm_ioctl(v->fd, KVM_GET_LAPIC, &p) < 0)
        return;
    timer_from_page(v, &p, &v->timer);
    v->timer.held = true;
    timer_to_page(v, &p, &none);
    set_tsc_deadline(v, &p, &none);
    kvm_ioctl(v->fd, KVM_SET_LAPIC, &p);
}

void kvm_lapic_release(struct vcpu *v)
{
    struct kvm_lapic_state p;

    if (!v->timer.held || kvm_ioctl(v->fd, KVM_GET_LAPIC, &p) < 0)
        return;
    v->timer.held = false;
    timer_to_page(v, &p, &v->timer);
    kvm_ioctl(v->fd, KVM_SET_LAPIC, &p);
    set_tsc_deadline(v, &p, &v->timer);
}

/* ---- the page ----------------------------------------------------------------------- */

int kvm_lapic_get(struct vcpu *v, struct vcpu_state *s)
{
    struct lapic_state *a = &s->lapic;
    struct kvm_timer t = v->timer;
    struct kvm_lapic_state p;
    int rc = kvm_ioctl(v->fd, KVM_GET_LAPIC, &p);

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        *field(a, (unsigned)i) = reg_get(&p, regs[i].reg);
    /* In x2APIC mode too KVM shows the id in the upper byte. */
    a->id = reg_get(&p, R_ID) >> (is_x2(a->base) ? 24 : 0);
    a->timer_dcr &= 0xb;
    a->lvt_cmci = a->lvt_cmci ? a->lvt_cmci : LVT_MASKED;
    for (unsigned i = 0; i < 8; i++) {
        a->isr[i] = reg_get(&p, R_ISR + 16 * i);
        a->tmr[i] = reg_get(&p, R_TMR + 16 * i);
        a->irr[i] = reg_get(&p, R_IRR + 16 * i);
    }
    if (!t.held)
        timer_from_page(v, &p, &t);
    a->timer_icr = t.icr;
    a->timer_deadline_ns = t.deadline_ns;
    a->tsc_deadline = t.tsc_deadline;
    return 0;
}

int kvm_lapic_set(struct vcpu *v, const struct vcpu_state *s)
{
    const struct lapic_state *a = &s->lapic;
    const struct kvm_timer t = { .held = !v->vm->config.clock->running,
                                 .icr = a->timer_icr,
                                 .deadline_ns = a->timer_deadline_ns,
                                 .tsc_deadline = a->tsc_deadline };
    const struct kvm_timer none = { .held = true };
    struct kvm_lapic_state p;
    int rc = kvm_ioctl(v->fd, KVM_GET_LAPIC, &p); /* the version */

    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
        reg_put(&p, regs[i].reg, *field(a, (unsigned)i));
    reg_put(&p, R_ID, a->id << (is_x2(a->base) ? 24 : 0));
    for (unsigned i = 0; i < 8; i++) {
        reg_put(&p, R_ISR + 16 * i, a->isr[i]);
        reg_put(&p, R_TMR + 16 * i, a->tmr[i]);
        reg_put(&p, R_IRR + 16 * i, a->irr[i]);
    }
    v->timer = t;
    timer_to_page(v, &p, t.held ? &none : &t);
    rc = kvm_ioctl(v->fd, KVM_SET_LAPIC, &p);
    if (rc == 0)
        set_tsc_deadline(v, &p, t.held ? &none : &t);
    return rc;
}
