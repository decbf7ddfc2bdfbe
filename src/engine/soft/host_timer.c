/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/soft/host_timer.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define NS_PER_SEC 1000000000u

static void on_signal(int sig, siginfo_t *info, void *context)
{
    _Atomic uint32_t *word = info->si_value.sival_ptr;

    (void)sig;
    (void)context;
    if (info->si_code == SI_TIMER && word)
        atomic_fetch_or(word, HOST_TIMER_BIT);
}

static void install_handler(void)
{
    struct sigaction sa = { .sa_sigaction = on_signal,
                            .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

    sigemptyset(&sa.sa_mask);
    sigaction(SIGRTMIN, &sa, NULL);
}

int host_timer_create(timer_t *timer, _Atomic uint32_t *word)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sigevent ev;

    pthread_once(&once, install_handler);
    memset(&ev, 0, sizeof(ev));
    ev.sigev_notify = SIGEV_THREAD_ID;
    ev.sigev_signo = SIGRTMIN;
    ev.sigev_value.sival_ptr = (void *)word;
    ev._sigev_un._tid = gettid();
    return timer_create(CLOCK_MONOTONIC, &ev, timer) ? -errno : 0;
}

void host_timer_set(timer_t timer, uint64_t ns)
{
    struct itimerspec spec = { 0 };

    spec.it_value.tv_sec = (time_t)(ns / NS_PER_SEC);
    /* Never 0: that would disarm. */
    spec.it_value.tv_nsec = (long)(ns % NS_PER_SEC) | 1;
    timer_settime(timer, TIMER_ABSTIME, &spec, NULL);
}
