/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t host_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

void vm_clock_init(struct vm_clock *c)
{
    *c = (struct vm_clock){ 0 };
}

uint64_t vm_clock_ns(const struct vm_clock *c)
{
    if (!c->running)
        return (uint64_t)c->stopped;
    return host_ns() + (uint64_t)c->offset;
}

void vm_clock_start(struct vm_clock *c)
{
    if (c->running)
        return;
    c->offset = c->stopped - (int64_t)host_ns();
    c->running = true;
}

void vm_clock_stop(struct vm_clock *c)
{
    c->stopped = (int64_t)vm_clock_ns(c);
    c->running = false;
}

void vm_clock_set(struct vm_clock *c, uint64_t ns)
{
    c->stopped = (int64_t)ns;
    c->offset = (int64_t)ns - (int64_t)host_ns();
}

uint64_t vm_clock_to_host(const struct vm_clock *c, uint64_t ns)
{
    return ns - (uint64_t)c->offset;
}
