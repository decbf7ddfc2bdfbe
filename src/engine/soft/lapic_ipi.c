/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between local APICs, and from devices (MSI): who is meant, and
 * posting to the inbox (SDM 3A 10.6, 10.11, 10.12.9; APM 2 16.5).
 *
 * The sender may be any thread: it reads of another APIC only what says where
 * messages go (base, LDR, DFR, SVR, TPR), each as one word.
 */
#include "engine/soft/lapic.h"

#include "base/log.h"

#define READ(x)         __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define X2_BROADCAST    0xffffffffu
#define XAPIC_BROADCAST 0xffu

struct message {
    uint32_t dest;
    bool x2; /* dest has 32 bits (sent by an x2APIC) */
    bool logical;
    bool level;
    uint8_t mode;
    uint8_t vector;
};

static void post_vector(struct soft_cpu *t, unsigned vector, bool level)
{
    _Atomic uint64_t *irr = level ? t->inbox.irr_level : t->inbox.irr_edge;

    atomic_fetch_or(&irr[vector / 64], 1ULL << (vector % 64));
    soft_attention(t, ATT_EVENT);
}

static void post(struct soft_cpu *t, const struct message *m)
{
    switch (m->mode) {
    case APIC_FIXED:
    case APIC_LOWEST: post_vector(t, m->vector, m->level); return;
    case APIC_NMI: atomic_store(&t->inbox.nmi, true); break;
    case APIC_INIT:
        atomic_store(&t->inbox.sipi, false);
        atomic_store(&t->inbox.init, true);
        break;
    case APIC_STARTUP:
        atomic_store(&t->inbox.sipi_vector, m->vector);
        atomic_store(&t->inbox.sipi, true);
        break;
    case APIC_EXTINT: atomic_store(&t->inbox.extint_msg, true); break;
    default:
        /* SMI: there is no system management mode. */
        log_guest(LOG_APIC, "message with delivery mode %u dropped", m->mode);
        return;
    }
    soft_attention(t, ATT_EVENT);
}

static bool matches_logical(const struct lapic_state *a, uint64_t base, const struct message *m)
{
    uint32_t ldr = READ(a->ldr), mda = m->dest & 0xff, id = ldr >> 24;

    if (base & APIC_BASE_EXTD)
        return ldr >> 16 == m->dest >> 16 && (ldr & m->dest & 0xffff);
    if (m->x2 && m->dest > 0xff)
        return false;
    if (READ(a->dfr) >> 28 == 0xf) /* flat model */
        return id & mda;
    return (mda >> 4 == 0xf || mda >> 4 == id >> 4) && (id & mda & 0xf);
}

static bool matches(const struct soft_cpu *t, const struct message *m)
{
    uint64_t base = READ(t->s.lapic.base);

    if (!(base & APIC_BASE_EN))
        return false;
    if (m->dest == (m->x2 ? X2_BROADCAST : XAPIC_BROADCAST))
        return true;
    return m->logical ? matches_logical(&t->s.lapic, base, m) : t->id == m->dest;
}

/* Lowest priority: the lowest TPR, then the lowest id. */
static struct soft_cpu *arbitrate(const struct soft_vm *vm, const struct message *m)
{
    struct soft_cpu *best = NULL;

    for (unsigned i = 0; i < vm->ncpus; i++) {
        struct soft_cpu *t = vm->cpus[i];

        if (!t || !matches(t, m) || !(READ(t->s.lapic.svr) & APIC_SVR_ENABLE))
            continue;
        if (!best || READ(t->s.lapic.tpr) < READ(best->s.lapic.tpr))
            best = t;
    }
    return best;
}

static void send(struct soft_vm *vm, const struct message *m)
{
    if (m->mode == APIC_LOWEST) {
        struct soft_cpu *t = arbitrate(vm, m);

        if (t)
            post(t, m);
        return;
    }
    if (!m->logical && m->dest < vm->ncpus) {
        if (vm->cpus[m->dest] && matches(vm->cpus[m->dest], m))
            post(vm->cpus[m->dest], m);
        return;
    }
    for (unsigned i = 0; i < vm->ncpus; i++)
        if (vm->cpus[i] && matches(vm->cpus[i], m))
            post(vm->cpus[i], m);
}

/* Shorthands 2 and 3: all, with and without the sender. */
static void send_all(struct soft_cpu *c, const struct message *m, bool self)
{
    for (unsigned i = 0; i < c->vm->ncpus; i++) {
        struct soft_cpu *t = c->vm->cpus[i];

        if (t && (self || t != c) && (READ(t->s.lapic.base) & APIC_BASE_EN))
            post(t, m);
    }
}

void lapic_send_icr(struct soft_cpu *c)
{
    const struct lapic_state *a = &c->s.lapic;
    const uint32_t icr = a->icr_low;
    const bool x2 = lapic_is_x2(a);
    /* IPIs are edges, whatever the trigger mode says (SDM 3A 10.6.1). */
    const struct message m = { .dest = x2 ? a->icr_high : a->icr_high >> 24,
                               .x2 = x2,
                               .logical = icr >> 11 & 1,
                               .mode = icr >> 8 & 7,
                               .vector = (uint8_t)icr };

    /* INIT level de-assert: not since the Pentium 4. */
    if (m.mode == APIC_INIT && (icr & 0xc000) == 0x8000)
        return;
    if (m.mode == 3 || m.mode == APIC_EXTINT) {
        log_guest(LOG_APIC, "ICR with reserved delivery mode: %#x", icr);
        return;
    }
    if (m.mode <= APIC_LOWEST && m.vector < 16) {
        lapic_error(c, APIC_ESR_SEND_VECTOR);
        return;
    }
    switch (icr >> 18 & 3) {
    case 0: send(c->vm, &m); break;
    case 1: post(c, &m); break;
    case 2: send_all(c, &m, true); break;
    case 3: send_all(c, &m, false); break;
    }
}

/* SDM 3A 10.11: address bits 19:12 destination, 3 redirection hint, 2 logical;
 * data bits 7:0 vector, 10:8 delivery mode, 15 level triggered. */
void lapic_msi(struct soft_vm *vm, uint64_t address, uint32_t data)
{
    struct message m = { .dest = address >> 12 & 0xff,
                         .logical = address >> 2 & 1,
                         .level = data >> 15 & 1,
                         .mode = data >> 8 & 7,
                         .vector = (uint8_t)data };

    if (address >> 20 != 0xfee) {
        log_guest(LOG_APIC, "MSI to %#llx dropped", (unsigned long long)address);
        return;
    }
    if (m.mode == APIC_FIXED && (address & 8))
        m.mode = APIC_LOWEST;
    send(vm, &m);
}

void lapic_lint1(struct soft_cpu *c)
{
    uint32_t lvt = READ(c->s.lapic.lvt_lint1);

    /* Without a local APIC the pin is NMI (SDM 3A 10.1). */
    if (READ(c->s.lapic.base) & APIC_BASE_EN)
        if ((lvt & APIC_LVT_MASKED) || APIC_LVT_MODE(lvt) != APIC_NMI)
            return;
    atomic_store(&c->inbox.nmi, true);
    soft_attention(c, ATT_EVENT);
}
