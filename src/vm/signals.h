/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Signals of the process, as a file descriptor. */
#ifndef VM_SIGNALS_H
#define VM_SIGNALS_H

enum signal_kind { SIGNAL_NONE, SIGNAL_END, SIGNAL_SUSPEND, SIGNAL_CONTINUE };

/* Before the first thread is made: block what signals_read gives; ignore
 * SIGPIPE. */
void signals_block(void);
/* A non-blocking descriptor that is readable when one is pending, or a
 * negative errno. */
int signals_open(void);
enum signal_kind signals_read(int fd, int *number);
/* Stop this process until SIGCONT. */
void signals_suspend_self(void);

#endif
