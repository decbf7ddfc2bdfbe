/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The event loop of a VM process: file descriptors, timers, posted calls.
 *
 * Every callback runs on the loop's thread with the loop's lock held (the
 * device lock of the machine, given at creation), so that devices need no
 * locks of their own: a vCPU takes the same lock to dispatch an exit.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <pthread.h>
#include <stdint.h>

#include "base/clock.h"

struct loop;
struct loop_timer;

typedef void (*loop_fd_fn)(void *opaque, int fd, uint32_t epoll_events);
typedef void (*loop_fn)(void *opaque);

/* lock: held around each callback; borrowed.  clock: of the timers; borrowed.
 * Returns 0 or a negative errno. */
int loop_create(struct loop **loop, pthread_mutex_t *lock, const struct vm_clock *clock);
void loop_destroy(struct loop *loop);

/* Watch fd (borrowed) for EPOLLIN etc.; at most one watch for each fd.
 * Call with the lock held or before loop_run. */
int loop_fd_add(struct loop *loop, int fd, uint32_t epoll_events, loop_fd_fn fn, void *opaque);
int loop_fd_modify(struct loop *loop, int fd, uint32_t epoll_events);
void loop_fd_remove(struct loop *loop, int fd);

/* Timers in guest nanoseconds (vm_clock); they do not run while it stands. */
int loop_timer_create(struct loop *loop, struct loop_timer **timer, loop_fn fn, void *opaque);
void loop_timer_destroy(struct loop_timer *timer);
/* One shot at guest time ns (at once if in the past); any thread with the lock held. */
void loop_timer_set(struct loop_timer *timer, uint64_t ns);
void loop_timer_cancel(struct loop_timer *timer);

/* Called around the lock, on the loop's thread; before loop_run. */
void loop_set_gate(struct loop *loop, void (*enter)(void *opaque), void (*leave)(void *opaque),
                   void *opaque);
/* Run fn on the loop's thread soon; any thread, lock held or not.  Never
 * dropped: returns 0 or -ENOMEM. */
int loop_post(struct loop *loop, loop_fn fn, void *opaque);
/* The VM clock was started, stopped or set: look at the timers again.  With
 * the lock held or before loop_run. */
void loop_clock_changed(struct loop *loop);

/* Dispatch until loop_stop; the calling thread becomes the loop's thread. */
void loop_run(struct loop *loop);
/* Make loop_run return; any thread, also a signal handler. */
void loop_stop(struct loop *loop);

#endif
