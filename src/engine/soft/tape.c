/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Recording and playing a vCPU's inputs and stops (cpu/tape.h). */
#include "engine/soft/blocks.h"

uint64_t soft_tape_input(struct soft_cpu *c, enum tape_input what, uint64_t v)
{
    v = c->tape->input(c->tape, what, v);
    soft_tape_crowded(c);
    return v;
}

void soft_tape_crowded(struct soft_cpu *c)
{
    if (c->tape && c->tape->crowded)
        atomic_fetch_or(&c->attention, ATT_EVENT);
}

bool soft_tape_point(struct soft_cpu *c, enum tape_stop what, uint64_t known)
{
    struct vcpu_state s;
    struct tape_point p = { .count = c->insn_count, .deliveries = c->deliveries, .regs = c->gpr,
                            .flags = soft_get_rflags(c), .known = known };

    if (what != TAPE_BLOCK) {
        soft_get_state(c, &s);
        p.state = &s;
    }
    return c->tape->point(c->tape, what, &p);
}

/* RF: whether it goes before or behind the block's start is the engine's matter. */
void soft_tape_block(struct soft_cpu *c, uint64_t known)
{
    soft_tape_point(c, TAPE_BLOCK, (known | ~(uint64_t)X86_FLAGS_ARITH) & ~(uint64_t)X86_RF);
}

static void clock_changed(struct soft_cpu *c)
{
    lapic_rearm(c);
    kvmclock_update(c);
}

void soft_tape_clock(struct soft_cpu *c)
{
    if (c->tape->playing)
        return;         /* it changes when it did for the guest that was recorded */
    soft_tape_point(c, TAPE_CLOCK, ~0ULL);
    clock_changed(c);
}

static int leave(struct soft_cpu *c, enum cpu_exit why)
{
    c->run->exit = why;
    return SOFT_EXIT;
}

/* The state is that of the recording: do what happened there. */
static int do_stop(struct soft_cpu *c, enum tape_stop what)
{
    int r;

    switch (what) {
    case TAPE_EVENTS:
        r = soft_events(c);
        /* That somebody stopped the machine is not repeated. */
        return r && c->run->exit == CPU_EXIT_INTR ? 0 : r;
    case TAPE_CLOCK: clock_changed(c); return 0;
    default: return 0;
    }
}

/* Own events wait for ever: those of the tape come instead. */
static bool kicked(struct soft_cpu *c)
{
    uint32_t bits = atomic_load(&c->attention);

    if (likely(!bits))
        return false;
    bits = atomic_fetch_and(&c->attention, ATT_CODE | ATT_FLUSH);
    soft_take_flushes(c);
    return bits & ATT_KICK;
}

int soft_tape_piece(struct soft_cpu *c, int (*piece)(struct soft_cpu *c))
{
    struct cpu_tape *t = c->tape;
    const uint64_t end = c->run->stop_count, now = c->insn_count;
    enum tape_stop what = t->next;
    bool runs = c->s.mp_state == MP_RUNNABLE;

    if (kicked(c) || atomic_load(&c->run->immediate_exit))
        return leave(c, CPU_EXIT_INTR);
    if (t->over)
        return leave(c, CPU_EXIT_TAPE);
    if (end && now >= end)
        return leave(c, CPU_EXIT_COUNT);
    if (runs && now < t->next_count) {
        c->stop_count = end ? MIN(end, t->next_count) : t->next_count;
        return piece(c);
    }
    /* An event that no instruction retires before: a fault, a trap. */
    if (runs && now == t->next_count && c->deliveries < t->next_deliveries)
        return soft_run_limited(c, 1);
    if (!soft_tape_point(c, what, ~0ULL))
        return leave(c, CPU_EXIT_TAPE);
    return do_stop(c, what);
}
