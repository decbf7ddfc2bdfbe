/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Character devices of the host: where the bytes of a serial port go to and
 * come from.  A backend never knows which device uses it.
 *
 * All functions and all callbacks run with the machine's device lock held
 * (the loop's), except create and destroy, which may also be called while no
 * loop and no vCPU runs.
 */
#ifndef CHARDEV_CHARDEV_H
#define CHARDEV_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop/loop.h"

struct chardev;

/* The device's side.  Each function may be NULL. */
struct chardev_handler {
    /* Bytes for the guest; never more than can_receive() said. */
    void (*receive)(void *opaque, const uint8_t *data, size_t n);
    /* How many bytes the guest's side takes now; NULL: any number. */
    size_t (*can_receive)(void *opaque);
    /* There is room again after a chardev_write that was cut short. */
    void (*writable)(void *opaque);
    void *opaque;
    /* A break condition on the line. */
    void (*receive_break)(void *opaque);
};

/* Replaces the handler (copied); NULL removes it.  Input waits meanwhile. */
void chardev_set_handler(struct chardev *cd, const struct chardev_handler *handler);
/* Returns the bytes taken and never blocks; if fewer than n, writable() is
 * called later. */
size_t chardev_write(struct chardev *cd, const void *data, size_t n);
/* fn gets the bytes that are taken, too; NULL: nobody does. */
void chardev_set_tap(struct chardev *cd, void (*fn)(void *opaque, const void *data, size_t n),
                     void *opaque);
/* The guest can receive again. */
void chardev_receive_ready(struct chardev *cd);

/* What the keys of the stdio console ask for (Ctrl-A x, c); opaque is given back. */
struct chardev_console {
    void (*quit)(void *opaque);
    /* The monitor gained or lost the keyboard. */
    void (*monitor_focus)(void *opaque, bool on);
    /* Keys for the monitor while it has the keyboard. */
    void (*monitor_input)(void *opaque, const uint8_t *data, size_t n);
    void *opaque;
};

/* Checks "none", "stdio", "file:PATH" or "unix:PATH" without opening anything.
 * Returns 0 or -EINVAL with a message in err. */
int chardev_check(const char *spec, char *err, size_t err_size);
/* Opens what spec says.  console (copied) is for stdio only and may be NULL.
 * loop is borrowed.  Returns 0 or a negative errno with a message in err.
 * SIGPIPE must be ignored by the process. */
int chardev_create(struct chardev **cd, struct loop *loop, const char *spec,
                   const struct chardev_console *console, char *err, size_t err_size);
/* Output that was taken is still written out, for at most two seconds. */
void chardev_destroy(struct chardev *cd);

/* Is it the stdio console?  Only that one has a monitor. */
bool chardev_is_stdio(const struct chardev *cd);
/* Takes the keyboard from the monitor, as Ctrl-A c does.  stdio only. */
void chardev_monitor_leave(struct chardev *cd);

#endif
