/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC: registers, interrupt acceptance and priority, xAPIC and
 * x2APIC access (SDM 3A 10; APM 2 16).
 *
 * All registers belong to the vCPU's thread.  Others post interrupts to the
 * inbox, from where lapic_take_inbox moves them to IRR.
 */
#include "engine/soft/lapic.h"

#include "base/log.h"

#define VERSION      0x50014u /* version 0x14, LVT entries 0 to 5, no EOI suppression */
#define SVR_WRITABLE 0x3ffu   /* vector, enable, focus checking */

/* A word that senders on other threads read. */
#define PUBLISH(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELAXED)

/* ---- vectors ---------------------------------------------------------------- */

static int highest(const uint32_t bits[8])
{
    for (int i = 7; i >= 0; i--)
        if (bits[i])
            return i * 32 + 31 - __builtin_clz(bits[i]);
    return -1;
}

static bool test_vector(const uint32_t bits[8], unsigned v)
{
    return bits[v / 32] >> (v % 32) & 1;
}

static void accept_vector(struct soft_cpu *c, unsigned v, bool level)
{
    struct lapic_state *a = &c->s.lapic;
    uint32_t bit = 1u << (v % 32);

    a->irr[v / 32] |= bit;
    if (level)
        a->tmr[v / 32] |= bit;
    else
        a->tmr[v / 32] &= ~bit;
}

/* Error bit, and the LVT's interrupt for the first one after each write to
 * ESR, which arms it again (SDM 3A 10.5.3). */
void lapic_error(struct soft_cpu *c, uint32_t bit)
{
    struct lapic_state *a = &c->s.lapic;
    bool armed = !(a->esr_pending & bit);

    a->esr_pending |= bit;
    if (armed)
        lapic_local(c, a->lvt_error);
}

void lapic_local(struct soft_cpu *c, uint32_t lvt)
{
    if (lvt & APIC_LVT_MASKED)
        return;
    switch (APIC_LVT_MODE(lvt)) {
    case APIC_FIXED:
        if ((lvt & 0xff) >= 16) {
            accept_vector(c, lvt & 0xff, false);
            atomic_fetch_or(&c->attention, ATT_EVENT);
        } else if (lvt != c->s.lapic.lvt_error) {
            lapic_error(c, APIC_ESR_RECEIVE_VECTOR);
        } else {
            c->s.lapic.esr_pending |= APIC_ESR_RECEIVE_VECTOR;
        }
        break;
    case APIC_NMI:
        c->s.nmi_pending = true;
        atomic_fetch_or(&c->attention, ATT_EVENT);
        break;
    default: break;
    }
}

static bool inbox_holds(struct soft_inbox *in)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < 4; i++)
        any |= atomic_load_explicit(&in->irr_edge[i], memory_order_relaxed) |
               atomic_load_explicit(&in->irr_level[i], memory_order_relaxed);
    return any != 0;
}

static uint64_t take(_Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed) ? atomic_exchange(word, 0) : 0;
}

/* A software-disabled APIC takes no fixed interrupts (SDM 3A 10.4.7.2); the
 * vectors 0 to 15 are an error. */
void lapic_take_inbox(struct soft_cpu *c)
{
    const struct lapic_state *a = &c->s.lapic;
    const bool enabled = (a->base & APIC_BASE_EN) && (a->svr & APIC_SVR_ENABLE);

    if (!soft_input(c, TAPE_INBOX, inbox_holds(&c->inbox)))
        return;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t edge = soft_input(c, TAPE_VECTORS, take(&c->inbox.irr_edge[i]));
        uint64_t level = soft_input(c, TAPE_VECTORS, take(&c->inbox.irr_level[i])), all;

        all = enabled ? edge | level : 0;
        if (i == 0 && (all & 0xffff)) {
            lapic_error(c, APIC_ESR_RECEIVE_VECTOR);
            all &= ~0xffffULL;
        }
        for (; all; all &= all - 1) {
            unsigned n = (unsigned)__builtin_ctzll(all);

            accept_vector(c, i * 64 + n, level >> n & 1);
        }
    }
}

void lapic_poll(struct soft_cpu *c)
{
    lapic_take_inbox(c);
    lapic_timer_poll(c);
}

bool lapic_has_irr(const struct soft_cpu *c)
{
    const uint32_t *irr = c->s.lapic.irr;

    return irr[0] | irr[1] | irr[2] | irr[3] | irr[4] | irr[5] | irr[6] | irr[7];
}

/* Processor priority (SDM 3A 10.8.3.1). */
static uint32_t ppr(const struct lapic_state *a)
{
    int isrv = highest(a->isr);

    if (isrv < 0 || a->tpr >> 4 >= (uint32_t)isrv >> 4)
        return a->tpr;
    return (uint32_t)isrv & 0xf0;
}

static void clear_isr(struct lapic_state *a, unsigned v)
{
    a->isr[v / 32] &= ~(1u << (v % 32));
}

/* The guest may have ended the interrupt in service by PV EOI. */
static void sync_pv_eoi(struct soft_cpu *c)
{
    int v;

    if (likely(!c->pv_eoi) || !pv_eoi_taken(c))
        return;
    v = highest(c->s.lapic.isr);
    if (v >= 0)
        clear_isr(&c->s.lapic, (unsigned)v);
}

void lapic_withdraw_pv_eoi(struct soft_cpu *c)
{
    sync_pv_eoi(c);
    if (c->pv_eoi)
        pv_eoi_cancel(c);
}

int lapic_pending(struct soft_cpu *c)
{
    const struct lapic_state *a = &c->s.lapic;
    int v;

    if (!(a->base & APIC_BASE_EN))
        return -1;
    sync_pv_eoi(c);
    v = highest(a->irr);
    if (v < 0)
        return -1;
    /* It waits for an EOI that we have to hear of, or comes on top. */
    lapic_withdraw_pv_eoi(c);
    return (uint32_t)v >> 4 > ppr(a) >> 4 ? v : -1;
}

/* Does the board want to know of this vector's EOI? */
static bool eoi_exits(const struct soft_cpu *c, unsigned v)
{
    return test_vector(c->s.lapic.tmr, v) && atomic_load(&c->vm->eoi_exits[v / 64]) >> (v % 64) & 1;
}

int lapic_acknowledge(struct soft_cpu *c)
{
    struct lapic_state *a = &c->s.lapic;
    int v = lapic_pending(c);

    if (v < 0)
        return a->svr & 0xff;
    a->irr[v / 32] &= ~(1u << (v % 32));
    if (highest(a->isr) < 0 && !lapic_has_irr(c) && !eoi_exits(c, (unsigned)v))
        pv_eoi_offer(c);
    a->isr[v / 32] |= 1u << (v % 32);
    return v;
}

bool lapic_accepts_extint(struct soft_cpu *c)
{
    const struct lapic_state *a = &c->s.lapic;

    return !(a->base & APIC_BASE_EN) ||
           (!(a->lvt_lint0 & APIC_LVT_MASKED) && APIC_LVT_MODE(a->lvt_lint0) == APIC_EXTINT);
}

/* The I/O APIC hears of it before ISR changes: the exit comes first, and the
 * EOI is done when the instruction is executed again. */
static int write_eoi(struct soft_cpu *c)
{
    struct lapic_state *a = &c->s.lapic;
    int v;

    lapic_withdraw_pv_eoi(c);
    v = highest(a->isr);
    if (v < 0)
        return 0;
    if (eoi_exits(c, (unsigned)v)) {
        int r = soft_io_eoi(c, (uint8_t)v);

        if (r)
            return r;
    }
    clear_isr(a, (unsigned)v);
    soft_recheck_events(c);
    return 0;
}

/* ---- reset ------------------------------------------------------------------- */

void lapic_reset(struct soft_cpu *c, bool init)
{
    lapic_state_reset(&c->s.lapic, c->id, c->id == 0, init);
    c->timer_armed = 0;
    c->pv_eoi = false;
}

/* Mode transitions (SDM 3A 10.12.5, figure 10-27). */
static int write_base(struct soft_cpu *c, uint64_t v)
{
    struct lapic_state *a = &c->s.lapic;
    const uint64_t mode = APIC_BASE_EN | APIC_BASE_EXTD, old = a->base & mode, next = v & mode;
    const uint64_t allowed = mode | APIC_BASE_BSP |
                             (size_mask(8) >> (64 - c->vm->model->phys_bits) & MEM_PAGE_MASK);

    if ((v & ~allowed) || next == APIC_BASE_EXTD || ((next & APIC_BASE_EXTD) && !old) ||
        (old == mode && next == APIC_BASE_EN) ||
        ((next & APIC_BASE_EXTD) && !soft_has(c, F_X2APIC)))
        return soft_gp0(c);
    lapic_withdraw_pv_eoi(c);
    if (!old && next)
        lapic_state_reset(a, c->id, v & APIC_BASE_BSP, true);
    PUBLISH(a->base, v);
    if (old != mode && next == mode) {
        a->id = c->id;
        PUBLISH(a->ldr, (c->id >> 4) << 16 | 1u << (c->id & 15));
    }
    if (next != old)
        soft_recheck_events(c);
    /* The register page has moved, or has come or gone. */
    soft_flush_all(c);
    return 0;
}

/* ---- registers ------------------------------------------------------------------ */

/* LVT entries with the bits that software writes. */
static uint32_t *lvt_entry(struct lapic_state *a, unsigned reg, uint32_t *writable)
{
    switch (reg) {
    case APIC_LVT_TIMER: *writable = 0x700ff; return &a->lvt_timer;
    case APIC_LVT_THERMAL: *writable = 0x107ff; return &a->lvt_thermal;
    case APIC_LVT_PERF: *writable = 0x107ff; return &a->lvt_perf;
    case APIC_LVT_LINT0: *writable = 0x1a7ff; return &a->lvt_lint0;
    case APIC_LVT_LINT1: *writable = 0x1a7ff; return &a->lvt_lint1;
    case APIC_LVT_ERROR: *writable = 0x100ff; return &a->lvt_error;
    default: return NULL;
    }
}

/* False: reserved, or write-only. */
static bool read_reg(struct soft_cpu *c, unsigned reg, uint32_t *v)
{
    struct lapic_state *a = &c->s.lapic;
    uint32_t mask, *lvt = lvt_entry(a, reg, &mask);

    sync_pv_eoi(c);
    if (lvt) {
        *v = *lvt;
        return true;
    }
    switch (reg) {
    case APIC_ID: *v = a->id; break;
    case APIC_VERSION: *v = VERSION; break;
    case APIC_TPR: *v = a->tpr; break;
    case APIC_APR:
    case APIC_PPR: *v = ppr(a); break;
    case APIC_RRD: *v = 0; break;
    case APIC_LDR: *v = a->ldr; break;
    case APIC_DFR: *v = a->dfr; break;
    case APIC_SVR: *v = a->svr; break;
    case APIC_ISR ... APIC_ISR + 7: *v = a->isr[reg - APIC_ISR]; break;
    case APIC_TMR ... APIC_TMR + 7: *v = a->tmr[reg - APIC_TMR]; break;
    case APIC_IRR ... APIC_IRR + 7: *v = a->irr[reg - APIC_IRR]; break;
    case APIC_ESR: *v = a->esr; break;
    case APIC_ICR: *v = a->icr_low; break;
    case APIC_ICR_HIGH: *v = a->icr_high; break;
    case APIC_TIMER_ICR: *v = a->timer_icr; break;
    case APIC_TIMER_CCR: *v = lapic_timer_count(c); break;
    case APIC_TIMER_DCR: *v = a->timer_dcr; break;
    case APIC_EOI: *v = 0; return lapic_is_x2(a) ? false : true;
    default: *v = 0; return false;
    }
    return true;
}

static void write_lvt(struct soft_cpu *c, unsigned reg, uint32_t v)
{
    struct lapic_state *a = &c->s.lapic;
    uint32_t writable, *lvt = lvt_entry(a, reg, &writable);

    v &= writable;
    if (reg == APIC_LVT_TIMER && !soft_has(c, F_TSC_DEADLINE))
        v &= ~(uint32_t)BIT(18);
    if (!(a->svr & APIC_SVR_ENABLE))
        v |= APIC_LVT_MASKED;
    if (reg == APIC_LVT_TIMER)
        lapic_timer_set_lvt(c, v);
    else
        PUBLISH(*lvt, v);
    /* ExtINT may be let in now. */
    if (reg == APIC_LVT_LINT0)
        soft_recheck_events(c);
}

/* Software disable masks the LVT; what is in IRR and ISR stays. */
static void write_svr(struct soft_cpu *c, uint32_t v)
{
    struct lapic_state *a = &c->s.lapic;
    uint32_t mask, *lvt;

    lapic_take_inbox(c);
    PUBLISH(a->svr, v & SVR_WRITABLE);
    if (v & APIC_SVR_ENABLE)
        return;
    for (unsigned reg = APIC_LVT_TIMER; reg <= APIC_LVT_ERROR; reg++) {
        lvt = lvt_entry(a, reg, &mask);
        PUBLISH(*lvt, *lvt | APIC_LVT_MASKED);
    }
}

static void write_tpr(struct soft_cpu *c, uint32_t v)
{
    PUBLISH(c->s.lapic.tpr, v & 0xff);
    soft_recheck_events(c);
}

/* 0, SOFT_EXIT, or -1: reserved, or read-only. */
static int write_reg(struct soft_cpu *c, unsigned reg, uint32_t v)
{
    struct lapic_state *a = &c->s.lapic;

    switch (reg) {
    case APIC_TPR: write_tpr(c, v); return 0;
    case APIC_EOI: return write_eoi(c);
    case APIC_LDR: PUBLISH(a->ldr, v & 0xff000000); return 0;
    case APIC_DFR: PUBLISH(a->dfr, v | 0x0fffffff); return 0;
    case APIC_SVR: write_svr(c, v); return 0;
    case APIC_ESR:
        a->esr = a->esr_pending;
        a->esr_pending = 0;
        return 0;
    case APIC_ICR:
        a->icr_low = v & 0xccfff & ~(uint32_t)BIT(12);
        lapic_send_icr(c);
        return 0;
    case APIC_ICR_HIGH: a->icr_high = v & 0xff000000; return 0;
    case APIC_LVT_TIMER ... APIC_LVT_ERROR: write_lvt(c, reg, v); return 0;
    case APIC_TIMER_ICR: lapic_timer_start(c, v); return 0;
    case APIC_TIMER_DCR: lapic_timer_set_divide(c, v); return 0;
    /* Read-only: a write is dropped without an error. */
    case APIC_ID:
    case APIC_VERSION:
    case APIC_APR:
    case APIC_PPR:
    case APIC_RRD:
    case APIC_ISR ... APIC_ISR + 7:
    case APIC_TMR ... APIC_TMR + 7:
    case APIC_IRR ... APIC_IRR + 7:
    case APIC_TIMER_CCR: return 0;
    default: return -1;
    }
}

/* ---- xAPIC: a page of registers, 32 bits at each 16 bytes -------------------------- */

int lapic_mmio_read(struct soft_cpu *c, unsigned off, unsigned size, uint64_t *v)
{
    uint32_t reg = 0;

    if (!read_reg(c, off >> 4, &reg))
        lapic_error(c, APIC_ESR_REGISTER);
    /* Other widths are undefined (SDM 3A 10.4.1): bytes of the register, and
     * zeroes behind it. */
    *v = off % 16 < 4 ? reg >> (off % 16 * 8) : 0;
    *v &= size_mask(size);
    return 0;
}

int lapic_mmio_write(struct soft_cpu *c, unsigned off, unsigned size, uint64_t v)
{
    int r;

    if (off % 16 || size < 4) {
        log_guest(LOG_APIC, "%u-byte write to offset %#x dropped", size, off);
        return 0;
    }
    /* What it sends to itself comes right behind the instruction. */
    c->block_end = NULL;
    r = write_reg(c, off >> 4, (uint32_t)v);
    if (r >= 0)
        return r;
    lapic_error(c, APIC_ESR_REGISTER);
    return 0;
}

/* ---- x2APIC: MSRs (SDM 3A 10.12.1.2, table 10-6) ------------------------------------ */

/* Reserved bits of a writable register; all ones: not writable. */
static uint64_t x2_reserved(unsigned reg)
{
    struct lapic_state none;
    uint32_t writable;

    if (lvt_entry(&none, reg, &writable))
        /* Delivery status and remote IRR are read-only, not reserved. */
        return ~(writable | BIT(12) | BIT(14));
    switch (reg) {
    case APIC_TPR: return ~0xffULL;
    case APIC_SVR: return ~(uint64_t)SVR_WRITABLE;
    case APIC_TIMER_ICR: return ~0xffffffffULL;
    case APIC_TIMER_DCR: return ~0xbULL;
    case APIC_ICR: return 0xfff32000;
    case APIC_SELF_IPI: return ~0xffULL;
    default: return ~0ULL;
    }
}

static int x2_read(struct soft_cpu *c, unsigned reg, uint64_t *v)
{
    uint32_t low;

    if (reg == APIC_APR || reg == APIC_RRD || reg == APIC_DFR || reg == APIC_ICR_HIGH ||
        !read_reg(c, reg, &low))
        return soft_gp0(c);
    *v = low;
    if (reg == APIC_ICR)
        *v |= (uint64_t)c->s.lapic.icr_high << 32;
    return 0;
}

static int x2_write(struct soft_cpu *c, unsigned reg, uint64_t v)
{
    struct lapic_state *a = &c->s.lapic;

    if (reg == APIC_EOI || reg == APIC_ESR)
        return v ? soft_gp0(c) : write_reg(c, reg, 0);
    if (x2_reserved(reg) == ~0ULL || (v & x2_reserved(reg)))
        return soft_gp0(c);
    if (reg == APIC_SELF_IPI) {
        if (v < 16)
            lapic_error(c, APIC_ESR_SEND_VECTOR);
        else if (a->svr & APIC_SVR_ENABLE)
            accept_vector(c, (unsigned)v, false);
        atomic_fetch_or(&c->attention, ATT_EVENT);
        return 0;
    }
    if (reg == APIC_ICR)
        a->icr_high = (uint32_t)(v >> 32);
    return write_reg(c, reg, (uint32_t)v);
}

int lapic_rdmsr(struct soft_cpu *c, uint32_t msr, uint64_t *v)
{
    switch (msr) {
    case MSR_APIC_BASE: *v = c->s.lapic.base; return 0;
    case MSR_TSC_DEADLINE:
        *v = c->s.lapic.tsc_deadline;
        return soft_has(c, F_TSC_DEADLINE) ? 0 : soft_gp0(c);
    }
    if (msr - MSR_X2APIC > 0xff || !lapic_is_x2(&c->s.lapic))
        return soft_gp0(c);
    return x2_read(c, msr - MSR_X2APIC, v);
}

int lapic_wrmsr(struct soft_cpu *c, uint32_t msr, uint64_t v)
{
    switch (msr) {
    case MSR_APIC_BASE: return write_base(c, v);
    case MSR_TSC_DEADLINE:
        if (!soft_has(c, F_TSC_DEADLINE))
            return soft_gp0(c);
        lapic_timer_set_tsc_deadline(c, v);
        return 0;
    }
    if (msr - MSR_X2APIC > 0xff || !lapic_is_x2(&c->s.lapic))
        return soft_gp0(c);
    return x2_write(c, msr - MSR_X2APIC, v);
}

uint64_t lapic_get_cr8(struct soft_cpu *c)
{
    return c->s.lapic.tpr >> 4;
}

void lapic_set_cr8(struct soft_cpu *c, uint64_t v)
{
    write_tpr(c, (uint32_t)(v << 4));
}
