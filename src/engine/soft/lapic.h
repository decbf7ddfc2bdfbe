/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The local APIC's own: shared by lapic.c, lapic_ipi.c and lapic_timer.c. */
#ifndef ENGINE_SOFT_LAPIC_H
#define ENGINE_SOFT_LAPIC_H

#include "engine/soft/soft.h"

/* IA32_APIC_BASE (SDM 3A 10.4.4, 10.12.1). */
#define APIC_BASE_BSP  BIT(8)
#define APIC_BASE_EXTD BIT(10)
#define APIC_BASE_EN   BIT(11)

/* clang-format off */
/* Registers by number: MMIO offset / 16 = x2APIC MSR - 0x800. */
enum lapic_reg {
    APIC_ID = 0x02, APIC_VERSION = 0x03, APIC_TPR = 0x08, APIC_APR = 0x09, APIC_PPR = 0x0a,
    APIC_EOI = 0x0b, APIC_RRD = 0x0c, APIC_LDR = 0x0d, APIC_DFR = 0x0e, APIC_SVR = 0x0f,
    APIC_ISR = 0x10, APIC_TMR = 0x18, APIC_IRR = 0x20, APIC_ESR = 0x28, APIC_ICR = 0x30,
    APIC_ICR_HIGH = 0x31, APIC_LVT_TIMER = 0x32, APIC_LVT_THERMAL = 0x33, APIC_LVT_PERF = 0x34,
    APIC_LVT_LINT0 = 0x35, APIC_LVT_LINT1 = 0x36, APIC_LVT_ERROR = 0x37, APIC_TIMER_ICR = 0x38,
    APIC_TIMER_CCR = 0x39, APIC_TIMER_DCR = 0x3e, APIC_SELF_IPI = 0x3f,
};
/* clang-format on */

#define APIC_SVR_ENABLE    BIT(8)
#define APIC_LVT_MASKED    BIT(16)
#define APIC_LVT_MODE(lvt) ((lvt) >> 8 & 7)
enum { APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_NMI = 4, APIC_INIT, APIC_STARTUP, APIC_EXTINT };

/* ESR (SDM 3A 10.5.3). */
#define APIC_ESR_SEND_VECTOR    BIT(5)
#define APIC_ESR_RECEIVE_VECTOR BIT(6)
#define APIC_ESR_REGISTER       BIT(7)

static inline bool lapic_is_x2(const struct lapic_state *a)
{
    return (a->base & (APIC_BASE_EN | APIC_BASE_EXTD)) == (APIC_BASE_EN | APIC_BASE_EXTD);
}

/* Inbox to IRR; on the vCPU's thread or while it does not run. */
void lapic_take_inbox(struct soft_cpu *c);
bool lapic_has_irr(const struct soft_cpu *c);
/* An interrupt from a local source, as its LVT entry says. */
void lapic_local(struct soft_cpu *c, uint32_t lvt);
void lapic_error(struct soft_cpu *c, uint32_t bit);

/* What the guest did about an offer of PV EOI; then, if it still stands, take
 * it back: the guest will write EOI. */
void lapic_withdraw_pv_eoi(struct soft_cpu *c);

/* pv_eoi.c, for lapic.c: make an offer; did the guest take the one that
 * stands; take it back. */
void pv_eoi_offer(struct soft_cpu *c);
bool pv_eoi_taken(struct soft_cpu *c);
void pv_eoi_cancel(struct soft_cpu *c);

/* lapic_ipi.c: send what ICR holds, dest in the sender's format. */
void lapic_send_icr(struct soft_cpu *c);

/* lapic_timer.c */
void lapic_timer_poll(struct soft_cpu *c);
void lapic_timer_start(struct soft_cpu *c, uint32_t initial_count);
void lapic_timer_set_lvt(struct soft_cpu *c, uint32_t lvt);
void lapic_timer_set_divide(struct soft_cpu *c, uint32_t dcr);
uint32_t lapic_timer_count(struct soft_cpu *c);
void lapic_timer_set_tsc_deadline(struct soft_cpu *c, uint64_t tsc);

#endif
