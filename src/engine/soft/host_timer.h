/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A host timer that sets a bit in a word from a signal handler on the thread
 * that made it.  All the handler does is one atomic OR.
 */
#ifndef ENGINE_SOFT_HOST_TIMER_H
#define ENGINE_SOFT_HOST_TIMER_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

#define HOST_TIMER_BIT 4u

/* A CLOCK_MONOTONIC timer for the calling thread; each expiry sets
 * HOST_TIMER_BIT in *word and interrupts the thread's system call.  0 or a
 * negative errno. */
int host_timer_create(timer_t *timer, _Atomic uint32_t *word);
/* One expiry at this time (CLOCK_MONOTONIC ns); at once if it has passed. */
void host_timer_set(timer_t timer, uint64_t ns);

#endif
