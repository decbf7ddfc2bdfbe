/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * For QEMU, by LD_PRELOAD: the monotonic clock, by which it runs the clocks of
 * its machine, goes SLOW_CLOCK times slower.  Its TSC keeps the host's pace,
 * and so is that much faster than the other clocks there.
 */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NSEC 1000000000LL

static long long begin, factor = 1;

static long long now(void)
{
    struct timespec t;

    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &t);
    return t.tv_sec * NSEC + t.tv_nsec;
}

__attribute__((constructor)) static void start(void)
{
    const char *text = getenv("SLOW_CLOCK");

    begin = now();
    if (text && atoi(text) > 0)
        factor = atoi(text);
}

/* libc's. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    long long ns;

    if (id != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, id, t);
    ns = begin + (now() - begin) / factor;
    t->tv_sec = ns / NSEC;
    t->tv_nsec = ns % NSEC;
    return 0;
}

/* libc's.  QEMU's main loop waits by it for the next timer: for as long by that clock. */
int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
    struct timespec t;

    if (timeout) {
        long long ns = timeout->tv_nsec * factor;

        t.tv_sec = timeout->tv_sec * factor + ns / NSEC;
        t.tv_nsec = ns % NSEC;
    }
    return (int)syscall(SYS_ppoll, fds, n, timeout ? &t : NULL, mask, _NSIG / 8);
}
