/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "chardev/term.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "base/util.h"

/* Of the process, since signal handlers and atexit have no argument. */
static struct termios term_saved;
static volatile sig_atomic_t term_is_raw;
static bool term_hooked;

void term_restore(void)
{
    int err = errno;

    if (term_is_raw) {
        term_is_raw = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &term_saved);
    }
    errno = err;
}

static void die_restored(int sig)
{
    term_restore();
    /* The default action, once the signal is unblocked.  An engine's handler
     * may be in front of this one, which SA_RESETHAND alone would leave. */
    signal(sig, SIG_DFL);
    raise(sig);
}

void term_hook_exits(void)
{
    static const int deadly[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS,
                                  SIGXCPU, SIGXFSZ };
    struct sigaction sa = { .sa_handler = die_restored, .sa_flags = (int)SA_RESETHAND };

    if (term_hooked)
        return;
    term_hooked = true;
    atexit(term_restore);
    for (size_t i = 0; i < ARRAY_SIZE(deadly); i++) {
        struct sigaction old;

        if (sigaction(deadly[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
            sigaction(deadly[i], &sa, NULL);
    }
}

int term_raw(void)
{
    struct termios t;

    if (!isatty(STDIN_FILENO) || tcgetpgrp(STDIN_FILENO) != getpgrp())
        return -ENOTTY;
    if (tcgetattr(STDIN_FILENO, &t) < 0)
        return -ENOTTY;
    if (!term_is_raw)
        term_saved = t;
    term_hook_exits();
    cfmakeraw(&t);
    t.c_oflag |= OPOST;
    term_is_raw = 1;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &t) < 0) {
        term_is_raw = 0;
        return -ENOTTY;
    }
    return 0;
}
