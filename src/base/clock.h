/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VM clock: nanoseconds of guest time.  It stands still while the VM is
 * stopped and goes on from its saved value after a load, so that devices can
 * keep deadlines in it.  The guest's TSC is derived from the same clock.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NSEC_PER_SEC 1000000000ULL

struct vm_clock {
    int64_t offset;   /* guest ns = host ns + offset while running */
    int64_t stopped;  /* guest ns while stopped */
    bool running;
};

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t host_ns(void);
/* CLOCK_REALTIME in nanoseconds. */
uint64_t wall_ns(void);

/* A stopped clock at guest time 0. */
void vm_clock_init(struct vm_clock *c);
/* Readers may be on any thread; start, stop and set only while no vCPU runs. */
uint64_t vm_clock_ns(const struct vm_clock *c);
void vm_clock_start(struct vm_clock *c);
void vm_clock_stop(struct vm_clock *c);
void vm_clock_set(struct vm_clock *c, uint64_t ns);
/* The host's CLOCK_MONOTONIC time of a guest time, for timers. */
uint64_t vm_clock_to_host(const struct vm_clock *c, uint64_t ns);

#endif
