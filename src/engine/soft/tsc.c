/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's time-stamp counter: TSC = VM clock ns * hz / 1e9 + tsc_base,
 * plus IA32_TSC_ADJUST of the vCPU (SDM 3B 17.17.3).
 *
 * One clock for all vCPUs, and one that stands while the VM is stopped: so it
 * never goes backwards, on any vCPU, through stop, save and load.
 */
#include "engine/soft/soft.h"

static uint64_t scale(const struct soft_vm *vm, uint64_t ns)
{
    const uint64_t hz = vm->model->tsc_hz;

    return hz == NSEC_PER_SEC ? ns : mul_div(ns, hz, NSEC_PER_SEC);
}

uint64_t soft_tsc_at(struct soft_cpu *c, uint64_t ns)
{
    return scale(c->vm, ns) + c->vm->tsc_base + c->s.tsc_adjust;
}

uint64_t soft_tsc(struct soft_cpu *c)
{
    return soft_tsc_at(c, soft_now(c));
}

/* The first ns at which soft_tsc is at least tsc; the past: 0; the far
 * future: INT64_MAX. */
uint64_t soft_tsc_to_ns(struct soft_cpu *c, uint64_t tsc)
{
    const uint64_t hz = c->vm->model->tsc_hz;
    uint64_t base = c->vm->tsc_base + c->s.tsc_adjust, n = tsc - base;
    unsigned __int128 ns;

    /* Before guest time 0: base has wrapped, or the guest set TSC ahead. */
    if (tsc < base && n > INT64_MAX)
        return 0;
    ns = ((unsigned __int128)n * NSEC_PER_SEC + hz - 1) / hz;
    return ns > INT64_MAX ? INT64_MAX : (uint64_t)ns;
}

void soft_tsc_load(struct soft_cpu *c, uint64_t tsc)
{
    if (c->vm->clock->running)
        return;
    c->vm->tsc_base = tsc - c->s.tsc_adjust - scale(c->vm, vm_clock_ns(c->vm->clock));
}
