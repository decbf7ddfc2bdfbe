/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The controlling terminal in raw mode, and its old mode back on every way
 * out: exit(), a deadly signal of our own, stop and continue.
 */
#ifndef CHARDEV_TERM_H
#define CHARDEV_TERM_H

/* Make the terminal on stdin raw (output processing stays, so that our own
 * lines look right).  Does nothing if stdin is no terminal or if we are not
 * in its foreground group.  Returns 0 if it is raw now, -ENOTTY if not. */
int term_raw(void);
/* Give the terminal its old mode back.  Async-signal-safe. */
void term_restore(void);

/* Makes deadly signals and exit() restore the terminal first; term_raw does
 * so itself.  To be called before an engine sets handlers of its own, which
 * pass on what is not theirs: where somebody has one, none is set. */
void term_hook_exits(void);

#endif
