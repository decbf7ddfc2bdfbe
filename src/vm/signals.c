/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vm/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void make_set(sigset_t *set)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT };

    sigemptyset(set);
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(set, numbers[i]);
}

void signals_block(void)
{
    sigset_t set;

    make_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int signals_open(void)
{
    sigset_t set;
    int fd;

    make_set(&set);
    fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

enum signal_kind signals_read(int fd, int *number)
{
    struct signalfd_siginfo info;

    if (read(fd, &info, sizeof(info)) != sizeof(info))
        return SIGNAL_NONE;
    *number = (int)info.ssi_signo;
    switch (*number) {
    case SIGTSTP: return SIGNAL_SUSPEND;
    case SIGCONT: return SIGNAL_CONTINUE;
    default: return SIGNAL_END;
    }
}

void signals_suspend_self(void)
{
    kill(getpid(), SIGSTOP);
}
