/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The local APIC's timer: one-shot, periodic, TSC-deadline (SDM 3A 10.5.4).
 *
 * Its state is a deadline on the VM clock; counts are derived from that.  A
 * POSIX timer per vCPU signals the vCPU's own thread, where the handler sets
 * ATT_TIMER, which is what both a running and a halted vCPU look at.  The host
 * timer may fire early or without need: lapic_timer_poll looks at the clock.
 */
#include "engine/soft/lapic.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/soft/host_timer.h"

#define TICK_NS (NSEC_PER_SEC / CPU_APIC_HZ)
/* A periodic timer of the guest interrupts us at most this often. */
#define MIN_PERIOD_NS 20000
/* The host timer is set no further ahead than this. */
#define MAX_AHEAD_NS (3600 * NSEC_PER_SEC)

enum { MODE_ONESHOT, MODE_PERIODIC, MODE_TSC_DEADLINE };

static unsigned timer_mode(const struct lapic_state *a)
{
    return a->lvt_timer >> 17 & 3;
}

/* ns a count takes: divide configuration register, bits 3, 1, 0. */
static uint64_t count_ns(const struct lapic_state *a)
{
    unsigned d = (a->timer_dcr & 3) | (a->timer_dcr >> 1 & 4);

    return TICK_NS * (d == 7 ? 1 : 2u << d);
}

/* ---- the host's timer ------------------------------------------------------ */

_Static_assert(HOST_TIMER_BIT == ATT_TIMER, "the handler sets attention");

/* A timer that signals the calling thread, which runs the vCPU. */
static bool have_host_timer(struct soft_cpu *c)
{
    int r;

    /* Not pthread_self: its values are used again after a thread has ended. */
    if (c->timer_created && c->timer_tid == gettid())
        return true;
    lapic_destroy(c);
    r = host_timer_create(&c->timer, &c->attention);
    if (r) {
        log_error(LOG_APIC,
                  "no host timer for vCPU %u (%s): its APIC timer stands still; "
                  "raise the limit of pending signals (ulimit -i)",
                  c->id, strerror(-r));
        return false;
    }
    c->timer_created = true;
    c->timer_tid = gettid();
    return true;
}

void lapic_destroy(struct soft_cpu *c)
{
    if (c->timer_created)
        timer_delete(c->timer);
    c->timer_created = false;
    c->timer_armed = 0;
}

/* Have the host signal at the deadline.  On the vCPU's thread only, which is
 * where all of this is called while it runs; else it does it when it enters. */
static void host_arm(struct soft_cpu *c, uint64_t now)
{
    uint64_t deadline = c->s.lapic.timer_deadline_ns, at = deadline;

    if (!deadline || c->timer_armed == deadline || !c->vm->clock->running || soft_playing(c))
        return;
    if (!atomic_load(&c->running)) {
        atomic_fetch_or(&c->attention, ATT_TIMER);
        return;
    }
    if (!have_host_timer(c))
        return;
    if (timer_mode(&c->s.lapic) == MODE_PERIODIC)
        at = MAX(at, now + MIN_PERIOD_NS);
    at = vm_clock_to_host(c->vm->clock, MIN(at, now + MAX_AHEAD_NS));
    host_timer_set(c->timer, at);
    c->timer_armed = deadline;
}

/* ---- the guest's timer ------------------------------------------------------ */

static void set_deadline(struct soft_cpu *c, uint64_t now, uint64_t deadline)
{
    c->s.lapic.timer_deadline_ns = deadline;
    if (deadline && deadline <= now)
        lapic_timer_poll(c);
    else
        host_arm(c, now);
}

static void expire(struct soft_cpu *c, uint64_t now)
{
    struct lapic_state *a = &c->s.lapic;
    uint64_t period = a->timer_icr * count_ns(a), deadline = a->timer_deadline_ns;

    a->timer_deadline_ns = 0;
    if (timer_mode(a) == MODE_TSC_DEADLINE)
        a->tsc_deadline = 0;
    else if (timer_mode(a) == MODE_PERIODIC && period)
        a->timer_deadline_ns = deadline + period * ((now - deadline) / period + 1);
    lapic_local(c, a->lvt_timer);
}

void lapic_timer_poll(struct soft_cpu *c)
{
    uint64_t now;

    if (!c->s.lapic.timer_deadline_ns)
        return;
    now = soft_now(c);
    if (now >= c->s.lapic.timer_deadline_ns)
        expire(c, now);
    host_arm(c, now);
}

void lapic_timer_start(struct soft_cpu *c, uint32_t initial_count)
{
    struct lapic_state *a = &c->s.lapic;
    uint64_t now = soft_now(c);

    if (timer_mode(a) == MODE_TSC_DEADLINE)
        return;
    a->timer_icr = initial_count;
    set_deadline(c, now, initial_count ? now + initial_count * count_ns(a) : 0);
}

uint32_t lapic_timer_count(struct soft_cpu *c)
{
    const struct lapic_state *a = &c->s.lapic;
    uint64_t now, left, period = a->timer_icr * count_ns(a);

    if (!a->timer_deadline_ns || timer_mode(a) == MODE_TSC_DEADLINE)
        return 0;
    now = soft_now(c);
    if (now < a->timer_deadline_ns)
        left = a->timer_deadline_ns - now;
    else if (timer_mode(a) == MODE_PERIODIC && period)
        left = period - (now - a->timer_deadline_ns) % period;
    else
        return 0;
    return (uint32_t)MIN((left + count_ns(a) - 1) / count_ns(a), UINT32_MAX);
}

/* A running count goes on at the new rate. */
void lapic_timer_set_divide(struct soft_cpu *c, uint32_t dcr)
{
    struct lapic_state *a = &c->s.lapic;
    uint32_t count = lapic_timer_count(c);
    uint64_t now = soft_now(c);

    a->timer_dcr = dcr & 0xb;
    if (count)
        set_deadline(c, now, now + count * count_ns(a));
}

/* Changing to or from TSC-deadline mode disarms (SDM 3A 10.5.4.1). */
void lapic_timer_set_lvt(struct soft_cpu *c, uint32_t lvt)
{
    struct lapic_state *a = &c->s.lapic;
    bool was = timer_mode(a) == MODE_TSC_DEADLINE;

    a->lvt_timer = lvt;
    if (was == (timer_mode(a) == MODE_TSC_DEADLINE))
        return;
    a->timer_icr = 0;
    a->tsc_deadline = 0;
    a->timer_deadline_ns = 0;
}

/* 0 disarms; a deadline in the past fires at once. */
static uint64_t tsc_deadline_ns(struct soft_cpu *c)
{
    return c->s.lapic.tsc_deadline ? MAX(soft_tsc_to_ns(c, c->s.lapic.tsc_deadline), 1u) : 0;
}

void lapic_timer_set_tsc_deadline(struct soft_cpu *c, uint64_t tsc)
{
    if (timer_mode(&c->s.lapic) != MODE_TSC_DEADLINE)
        return;
    c->s.lapic.tsc_deadline = tsc;
    set_deadline(c, soft_now(c), tsc_deadline_ns(c));
}

void lapic_rearm(struct soft_cpu *c)
{
    /* TSC and VM clock may have moved against each other. */
    if (timer_mode(&c->s.lapic) == MODE_TSC_DEADLINE)
        c->s.lapic.timer_deadline_ns = tsc_deadline_ns(c);
    soft_attention(c, ATT_TIMER);
}
